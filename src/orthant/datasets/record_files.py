"""Rows from files: JSON lines, delimited text, Parquet, and a folder of text files.

Every failure of the disk, the compression, the encoding or the syntax becomes an error that names file and line.
"""

from __future__ import annotations

import codecs
import csv
import datetime
import gzip
import io
import itertools
import os
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

from orthant.datasets.rows import RowBlock, RowSource, parse_json
from orthant.datasets.tables import PEEKED_RECORDS, arrow_block, check_columns, import_arrow
from orthant.errors import InputError, NotFoundError, message

__all__ = [
    "ColumnType",
    "RecordFormat",
    "csv_source",
    "detect_format",
    "folder_source",
    "jsonl_source",
    "open_binary",
    "parquet_source",
]

RecordFormat = Literal["jsonl", "csv", "tsv", "parquet", "folder"]
ColumnType = Literal["str", "int", "float", "bool"]

_SUFFIXES: dict[str, RecordFormat] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_TEXT_SUFFIXES = frozenset({".txt", ".md"})
_INT = re.compile(r"-?(?:0|[1-9][0-9]*)").fullmatch
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_BOOLS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


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


def csv_source(
    path: Path,
    *,
    encoding: str,
    delimiter: str,
    quote: str | None,
    types: Mapping[str, ColumnType] | None,
) -> RowSource:
    """Rows of delimited text with a header; see ``read_records`` for how types are found.

    Parameters
    ----------
    path : Path
        Plain or .gz.
    encoding : str
        Its encoding.
    delimiter : str
        One character.
    quote : str or None
        Quote character; None reads every character as it stands.
    types : mapping of str to {"str", "int", "float", "bool"}, optional
        Declared columns; the others are inferred by a first pass over the file.

    Returns
    -------
    RowSource
        Lines counted from 1.

    Raises
    ------
    InputError
        No header, unusable column names, an unknown name in ``types``, or a malformed line.
    """

    def place(number: int) -> str:
        return f"{path}, line {number}"

    def lines() -> Iterator[tuple[int, list[str]]]:
        return _csv_lines(path, encoding, delimiter, quote)

    header = next(lines(), None)
    if header is None:
        raise InputError(f"{path}: " + message("an empty file", "a header line", "write the column names first"))
    fields = check_columns(header[1], str(path))
    declared = _check_types(types, fields, str(path))

    def checked() -> Iterator[tuple[int, list[str]]]:
        for number, cells in itertools.islice(lines(), 1, None):
            if len(cells) != len(fields):
                raise InputError(
                    f"{place(number)}: "
                    + message(f"{len(cells)} cells", f"{len(fields)}, as in the header", "repair or quote the line")
                )
            yield number, cells

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        kinds = dict.fromkeys(texts | vectors, "str") | declared
        open_columns = [name for name in fields if name not in kinds]
        if open_columns:
            kinds |= _infer_types(checked(), fields, open_columns)
        converters = [_CONVERTERS[kinds[name]] for name in fields]
        rows = checked()
        while part := list(itertools.islice(rows, batch_size)):
            yield _csv_block(part, fields, converters, vectors, place)

    return RowSource(
        str(path), fields, complete=True, repeatable=True, nulls=True, json=False, blocks=blocks, place=place
    )


def _csv_lines(path: Path, encoding: str, delimiter: str, quote: str | None) -> Iterator[tuple[int, list[str]]]:
    # The limit is a process-wide guard of the csv module (128 KiB); long documents exceed it, so it is only raised.
    csv.field_size_limit(max(csv.field_size_limit(), min(sys.maxsize, 2**31 - 1)))
    quoting: Literal[0, 3] = csv.QUOTE_NONE if quote is None else csv.QUOTE_MINIMAL
    lines = (line for _, line in numbered_lines(path, encoding))
    try:
        reader = csv.reader(lines, delimiter=delimiter, quotechar=quote, quoting=quoting, strict=True)
    except TypeError as error:
        raise InputError(
            message(f"delimiter={delimiter!r}, quote={quote!r}", "one character each", "correct them")
        ) from error
    start = 1
    try:
        for cells in reader:
            if cells:
                yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{path}, line {start}: "
            + message(
                f"delimited text that cannot be split ({error})",
                "quotes that open and close around a whole cell",
                "repair the line, or pass quote=None when quotes are ordinary characters",
            )
        ) from None


def _check_types(types: Mapping[str, ColumnType] | None, fields: tuple[str, ...], place: str) -> dict[str, ColumnType]:
    for name, kind in (types or {}).items():
        if name not in fields:
            raise InputError(
                f"{place}: " + message(f"types for column {name!r}", f"one of {', '.join(fields)}", "correct the name")
            )
        if kind not in _CONVERTERS:
            raise InputError(message(f"type {kind!r} for column {name!r}", "'str', 'int', 'float' or 'bool'", "pick"))
    return dict(types or {})


def _infer_types(
    lines: Iterator[tuple[int, list[str]]], fields: tuple[str, ...], names: list[str]
) -> dict[str, ColumnType]:
    """Call a column int or float when every non-empty cell of the file parses so, else str."""
    # A column leaves `numeric` at its first cell that is no number; columns of nothing but empty cells stay str.
    numeric: dict[int, ColumnType | None] = {fields.index(name): None for name in names}
    wide: set[int] = set()
    for _, cells in lines:
        for j in list(numeric):
            cell = cells[j]
            if not cell:
                continue
            if _INT(cell):
                size = abs(int(cell)) if len(cell) <= 20 else 2**64
                if size >= 2**63:
                    del numeric[j]
                    continue
                if size > 2**53:
                    wide.add(j)
                numeric[j] = numeric[j] or "int"
            elif _FLOAT(cell) and abs(float(cell)) != float("inf"):
                numeric[j] = "float"
            else:
                del numeric[j]
        if not numeric:
            break
    found: dict[str, ColumnType] = dict.fromkeys(names, "str")
    for j, kind in numeric.items():
        # Integers beyond 2**53 would lose digits as floats.
        if kind is not None and not (kind == "float" and j in wide):
            found[fields[j]] = kind
    return found


def _parse_bool(cell: str) -> bool:
    return _BOOLS[cell.strip().lower()]


_CONVERTERS: dict[str, Callable[[str], Any] | None] = {"str": None, "int": int, "float": float, "bool": _parse_bool}


def _csv_block(
    part: list[tuple[int, list[str]]],
    fields: tuple[str, ...],
    converters: list[Callable[[str], Any] | None],
    vectors: frozenset[str],
    place: Callable[[int], str],
) -> RowBlock:
    rows: list[dict[str, Any]] = []
    converted = [(name, convert) for name, convert in zip(fields, converters, strict=True) if convert is not None]
    for number, cells in part:
        # An empty cell is a missing value.
        row: dict[str, Any] = {name: cell for name, cell in zip(fields, cells, strict=True) if cell}
        for name, convert in converted:
            if name in row:
                try:
                    row[name] = convert(row[name])
                except (ValueError, KeyError):
                    kind = "bool" if convert is _parse_bool else getattr(convert, "__name__", "value")
                    raise InputError(
                        f"{place(number)}: "
                        + message(f"{row[name]!r} in column {name!r}", f"{kind}, as declared", "correct cell or type")
                    ) from None
        for name in vectors:
            if name in row:
                try:
                    row[name] = parse_json(row[name])
                except InputError as error:
                    raise type(error)(f"{place(number)}: {error}") from None
        rows.append(row)
    return RowBlock(rows, [number for number, _ in part])


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
            except (pa.ArrowException, OSError) as error:
                raise unreadable(error) from error

    with open_binary(path) as handle:
        try:
            names = pq.ParquetFile(handle).schema_arrow.names
        except (pa.ArrowException, OSError) as error:
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
        raise InputError(
            message(f"{path}, with no .txt or .md file below it", "at least one", "name a record file inside it")
        )

    def read(name: str) -> dict[str, Any]:
        file = path / name
        with open_binary(file) as handle:
            data, status = handle.read(), os.fstat(handle.fileno())
        try:
            text = data.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise InputError(
                f"{file}: " + message(f"bytes that are not {encoding} ({error})", f"{encoding} text", "convert it")
            ) from None
        modified = datetime.datetime.fromtimestamp(status.st_mtime, tz=datetime.UTC).isoformat(timespec="seconds")
        return {
            "_id": name,
            "text": text,
            "path": name,
            "suffix": file.suffix.lower(),
            "size": len(data),
            "modified": modified,
        }

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        for start in range(0, len(names), batch_size):
            part = names[start : start + batch_size]
            yield RowBlock([read(name) for name in part], range(start, start + len(part)))

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
