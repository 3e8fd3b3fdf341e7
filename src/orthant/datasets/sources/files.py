"""Rows from files: JSON lines, delimited text, Parquet, and a folder of text files.

Every failure of the disk, the compression, the encoding or the syntax becomes an error that names file and line.
"""

from __future__ import annotations

import codecs
import datetime
import gzip
import io
import itertools
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from orthant.datasets.sources.rows import RowBlock, RowSource, parse_json
from orthant.datasets.sources.tables import PEEKED_RECORDS, arrow_block, check_columns, import_arrow
from orthant.errors import InputError, NotFoundError, message

__all__ = [
    "RecordFormat",
    "detect_format",
    "folder_source",
    "jsonl_source",
    "numbered_lines",
    "open_binary",
    "parquet_source",
]

RecordFormat = Literal["jsonl", "csv", "tsv", "parquet", "folder"]

_SUFFIXES: dict[str, RecordFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_TEXT_SUFFIXES = frozenset({".txt", ".md"})
_OTHER_FILES = "name a record file inside it; documents of other kinds are for add_documents (--documents)"


def detect_format(path: Path) -> RecordFormat:
    """Tell a record file's format from its name, or a folder from its being one.

    Parameters
    ----------
    path : Path
        File or folder.

    Returns
    -------
    {"jsonl", "csv", "tsv", "parquet", "folder"}
        The format.

    Raises
    ------
    NotFoundError
        Nothing is there.
    InputError
        An ending that says nothing.
    """
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise NotFoundError(message(f"no file at {path}", "a record file or a folder", "check the path"))
    name = path.name.lower().removesuffix(".gz")
    for suffix, kind in _SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    raise InputError(
        message(
            f"{path}, whose ending is unknown",
            ".jsonl, .ndjson, .csv or .tsv (each also with .gz), .parquet, or a folder of .txt and .md files",
            "rename the file or pass format='jsonl', 'csv', 'tsv' or 'parquet'",
        )
    )


def open_binary(path: Path) -> BinaryIO:
    """Open a file for reading bytes, unpacked when its name ends in .gz.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    binary file
        To be closed by the caller.

    Raises
    ------
    NotFoundError
        It does not exist.
    InputError
        It is a folder or may not be read.
    """
    try:
        handle = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise NotFoundError(message(f"no file at {path}", "a file", "check the path")) from error
    except IsADirectoryError as error:
        raise InputError(message(f"{path}, which is a folder", "a file", "name a file inside it")) from error
    except OSError as error:
        raise InputError(
            message(f"{path}, which cannot be opened ({error.strerror})", "a readable file", "check its permissions")
        ) from error
    if path.name.lower().endswith(".gz"):
        # GzipFile iterates lines in Python; the buffer around it does so in C. Closing it closes all three.
        member = gzip.GzipFile(fileobj=handle)
        member.myfileobj = handle  # type: ignore[assignment]
        return io.BufferedReader(member, 1 << 18)  # type: ignore[arg-type, return-value]
    return handle


def numbered_lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Yield line number (from 1) and text, line ends kept and a byte-order mark dropped.

    Parameters
    ----------
    path : Path
        The file, plain or .gz.
    encoding : str
        Name of its encoding.

    Yields
    ------
    (int, str)
        The lines.

    Raises
    ------
    InputError
        Bytes outside the encoding, or damaged compression.
    """
    try:
        codec = codecs.lookup(encoding)
    except LookupError as error:
        raise InputError(message(f"encoding={encoding!r}", "a text encoding such as 'utf-8'", "correct it")) from error
    number = 0
    with open_binary(path) as handle:
        try:
            if "\n".encode(encoding) == b"\n":
                for number, line in enumerate(handle, 1):
                    if number == 1 and codec.name == "utf-8" and line.startswith(codecs.BOM_UTF8):
                        line = line[len(codecs.BOM_UTF8) :]
                    yield number, line.decode(encoding)
            else:
                for number, text in enumerate(io.TextIOWrapper(handle, encoding=encoding, newline="\n"), 1):
                    yield number, text
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}, line {max(number, 1)}: "
                + message(
                    f"bytes that are not {encoding} ({error.reason} at byte {error.start})",
                    f"{encoding} text",
                    "convert the file to UTF-8 or pass its encoding",
                )
            ) from None
        except (EOFError, zlib.error, OSError) as error:
            raise InputError(
                f"{path}, after line {number}: "
                + message(f"data that cannot be read ({error})", "a whole file", "copy or compress it again")
            ) from error


def jsonl_source(path: Path, *, encoding: str) -> RowSource:
    """Rows of a file with one JSON object per line; blank lines are skipped.

    Parameters
    ----------
    path : Path
        Plain or .gz.
    encoding : str
        Its encoding.

    Returns
    -------
    RowSource
        Lines counted from 1.

    Raises
    ------
    InputError
        A line that is not UTF-8, not JSON or not an object.
    """

    def place(number: int) -> str:
        return f"{path}, line {number}"

    def numbered_rows() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in numbered_lines(path, encoding):
            if not line or line.isspace():
                continue
            try:
                row = parse_json(line)
                if type(row) is not dict:
                    raise InputError(
                        message(f"a JSON {_json_kind(row)}", "one JSON object per line", "wrap the line's value in {}")
                    )
            except InputError as error:
                raise type(error)(f"{place(number)}: {error}") from None
            yield number, row

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        rows = numbered_rows()
        while part := list(itertools.islice(rows, batch_size)):
            yield RowBlock([row for _, row in part], [number for number, _ in part])

    peeked = itertools.islice(numbered_rows(), PEEKED_RECORDS)
    fields = tuple(dict.fromkeys(key for _, row in peeked for key in row))
    return RowSource(
        str(path), fields, complete=False, repeatable=True, nulls=False, json=True, blocks=blocks, place=place
    )


def _json_kind(value: Any) -> str:
    names = {list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
    return names.get(type(value), "value")


def parquet_source(path: Path) -> RowSource:
    """Rows of a Parquet file, read one row group's batch at a time.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    RowSource
        Rows counted from 0.

    Raises
    ------
    InputError
        Not a Parquet file, or a damaged one.
    MissingExtraError
        pyarrow is not installed.
    """
    import_arrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    def place(number: int) -> str:
        return f"{path}, row {number} (counted from 0)"

    def unreadable(error: Exception) -> InputError:
        return InputError(
            f"{path}: " + message(f"data that is not Parquet ({error})", "a whole Parquet file", "copy the file again")
        )

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        start = 0
        with open_binary(path) as handle:
            try:
                for batch in pq.ParquetFile(handle, page_checksum_verification=True).iter_batches(batch_size):
                    yield arrow_block(batch, start, vectors, place)
                    start += batch.num_rows
            except InputError:
                raise
            except (pa.ArrowException, OSError, ValueError) as error:
                raise unreadable(error) from error

    with open_binary(path) as handle:
        try:
            names = pq.ParquetFile(handle).schema_arrow.names
        except (pa.ArrowException, OSError, ValueError) as error:
            raise unreadable(error) from error
    fields = check_columns(names, str(path))
    return RowSource(
        str(path), fields, complete=True, repeatable=True, nulls=True, json=False, blocks=blocks, place=place
    )


def folder_source(path: Path, *, encoding: str) -> RowSource:
    """One record per .txt or .md file below a folder, in the order of their paths.

    Parameters
    ----------
    path : Path
        The folder; hidden files and folders below it are left out.
    encoding : str
        The files' encoding.

    Returns
    -------
    RowSource
        Rows with ``_id`` and ``path`` (relative, POSIX), ``text``, ``suffix``, ``size`` (bytes) and ``modified``
        (ISO 8601, UTC).

    Raises
    ------
    InputError
        Not a folder, no such file below it, or a file that cannot be decoded.
    """
    if not path.is_dir():
        raise InputError(message(f"{path}, which is no folder", "a folder of text files", "pass the file's format"))
    names = sorted(
        name
        for file in path.rglob("*")
        if file.suffix.lower() in _TEXT_SUFFIXES and file.is_file()
        for name in [file.relative_to(path).as_posix()]
        if not any(part.startswith(".") for part in name.split("/"))
    )
    if not names:
        raise InputError(message(f"{path}, with no .txt or .md file below it", "at least one", _OTHER_FILES))

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        for start in range(0, len(names), batch_size):
            part = names[start : start + batch_size]
            yield RowBlock([_read_text_file(path, name, encoding) for name in part], range(start, start + len(part)))

    fields = ("_id", "text", "path", "suffix", "size", "modified")
    return RowSource(
        str(path),
        fields,
        complete=True,
        repeatable=True,
        nulls=False,
        json=False,
        blocks=blocks,
        place=lambda number: str(path / names[number]),
    )


def _read_text_file(root: Path, name: str, encoding: str) -> dict[str, Any]:
    file = root / name
    with open_binary(file) as handle:
        data, status = handle.read(), os.fstat(handle.fileno())
    try:
        text = data.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise InputError(
            f"{file}: " + message(f"bytes that are not {encoding} ({error})", f"{encoding} text", "convert it")
        ) from None
    try:
        modified = datetime.datetime.fromtimestamp(status.st_mtime, tz=datetime.UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        # Some archives leave times beyond the calendar.
        modified = ""
    return {
        "_id": name,
        "text": text,
        "path": name,
        "suffix": file.suffix.lower(),
        "size": len(data),
        "modified": modified,
    }
