"""Files of word vectors as other tools write them: word2vec text and binary, fastText .vec, GloVe."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, message
from orthant.types import FloatArray
from orthant.validate import check_choice, check_count

__all__ = ["FORMATS", "read_word_vectors", "write_word_vectors"]

FORMATS = ("text", "binary", "glove")
_LONGEST_WORD = 1 << 16


def write_word_vectors(path: str | Path, words: Sequence[str], vectors: FloatArray, *, format: str) -> None:
    """Write one of the formats; a reader sees the old file or the new one.

    Parameters
    ----------
    path : str or Path
        The file; ``.gz`` at its end compresses it.
    words : sequence of str, length V
        Without blanks.
    vectors : ndarray of shape (V, d), float32
        Text keeps nine digits, so that float32 comes back to the bit.
    format : {"text", "binary", "glove"}
        The last has no header.

    Raises
    ------
    InputError
        A word that is empty or has a blank in it.
    """
    bad = next((word for word in words if not word or any(c in word for c in " \n\r\t")), None)
    if bad is not None:
        raise InputError(
            message(f"the word {bad!r}", "words without blanks, which end them in these files", "replace the blank")
        )
    header = b"" if format == "glove" else f"{len(words)} {vectors.shape[1]}\n".encode()
    if format == "binary":
        rows = vectors.astype("<f4")
        body = b"".join(word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(words, rows, strict=True))
    else:
        body = b"".join(
            (word + " " + " ".join(f"{x:.9g}" for x in row) + "\n").encode()
            for word, row in zip(words, vectors.tolist(), strict=True)
        )
    data = header + body
    write_bytes_atomically(path, gzip.compress(data, mtime=0) if str(path).endswith(".gz") else data)


def read_word_vectors(
    path: str | Path, *, format: str | None = None, limit: int | None = None
) -> tuple[list[str], FloatArray]:
    """Read one of the formats.

    Parameters
    ----------
    path : str or Path
        The file.
    format : {"text", "binary", "glove"}, optional
        Left out, it is told from the file.
    limit : int, optional
        Words at most.

    Returns
    -------
    words : list of str
        Distinct; of a word that occurs twice the first vector is kept. Bytes that are not UTF-8 are replaced.
    vectors : ndarray of shape (V, d), float32
        One row per word.

    Raises
    ------
    NotFoundError
        No such file.
    StoreCorruptedError
        A file that ends early, is none of these, or has rows of different lengths.
    """
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(message(f"no file {path}", "a file of word vectors", "check the path"))
    if format is not None:
        check_choice(format, FORMATS, name="format")
    most = None if limit is None else check_count(limit, name="limit")
    with _opened(path) as handle:
        first = handle.readline(1 << 24)
        header = _header(first)
        if format == "glove" or (format is None and header is None):
            found = _text_rows(path, _with(first, handle), None)
        elif header is None:
            raise _damaged(path, "a first line that is no header", "two numbers")
        elif format == "binary" or (format is None and _looks_binary(handle.peek(1 << 16)[: 1 << 16])):
            found = _binary_rows(path, handle, header)
        else:
            found = _promised(path, _text_rows(path, iter(handle), header[1]), header[0])
        words: dict[str, None] = {}
        rows: list[FloatArray] = []
        for word, row in found:
            if word not in words:
                words[word] = None
                rows.append(row)
            if most is not None and len(rows) == most:
                break
    if not rows:
        raise _damaged(path, "no words", "at least one")
    return list(words), np.stack(rows)


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def _header(line: bytes) -> tuple[int, int] | None:
    parts = line.split()
    if len(parts) != 2 or not all(part.isdigit() for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _looks_binary(data: bytes) -> bool:
    """Text has no control characters; vectors as bytes are without any only by a rare accident."""
    return any(byte < 9 or 13 < byte < 32 for byte in data)


def _with(first: bytes, handle: IO[bytes]) -> Iterator[bytes]:
    yield first
    yield from handle


def _text_rows(path: Path, lines: Iterator[bytes], dim: int | None) -> Iterator[tuple[str, FloatArray]]:
    for line in lines:
        parts = line.rstrip(b" \r\n").split(b" ")
        if parts == [b""]:
            continue
        dim = len(parts) - 1 if dim is None else dim
        # A few published files have words with blanks in them; the numbers are counted from the end.
        word, numbers = b" ".join(parts[:-dim]), parts[-dim:]
        try:
            row = np.array(numbers, dtype=np.float64).astype(np.float32)
        except ValueError as error:
            raise _damaged(path, f"a row that begins {line[:40]!r}", f"a word and {dim} numbers") from error
        if not word or len(row) != dim or not np.isfinite(row).all():
            raise _damaged(path, f"a row that begins {line[:40]!r}", f"a word and {dim} finite numbers")
        yield word.decode("utf-8", errors="replace"), row


def _promised(path: Path, rows: Iterator[tuple[str, FloatArray]], count: int) -> Iterator[tuple[str, FloatArray]]:
    number = 0
    for row in rows:
        number += 1
        yield row
    if number < count:
        raise _damaged(path, f"an end after {number} of {count} words", "all that the header promises")


def _binary_rows(path: Path, handle: IO[bytes], header: tuple[int, int]) -> Iterator[tuple[str, FloatArray]]:
    count, dim = header
    for number in range(count):
        letters = bytearray()
        while (letter := handle.read(1)) not in (b" ", b""):
            # Some writers end rows by a line break, others do not.
            if letter != b"\n":
                letters += letter
            if len(letters) > _LONGEST_WORD:
                raise _damaged(path, f"a word {number} without an end", "a blank behind each word")
        data = handle.read(4 * dim)
        if len(data) != 4 * dim:
            raise _damaged(path, f"an end after {number} of {count} words", "all that the header promises")
        row = np.frombuffer(data, dtype="<f4").astype(np.float32)
        if not letters or not np.isfinite(row).all():
            raise _damaged(path, f"row {number}", f"a word and {dim} finite numbers")
        yield bytes(letters).decode("utf-8", errors="replace"), row


def _damaged(path: Path, given: str, expected: str) -> StoreCorruptedError:
    return StoreCorruptedError(message(f"{path} with {given}", expected, "get the file again, or name its format"))
