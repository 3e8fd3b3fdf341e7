"""Rows of delimited text, with the types of its columns found by a pass over the whole file."""

from __future__ import annotations

import csv
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from orthant.datasets.sources.files import numbered_lines
from orthant.datasets.sources.rows import RowBlock, RowSource, parse_json
from orthant.datasets.sources.tables import check_columns
from orthant.errors import InputError, message

__all__ = ["ColumnType", "csv_source"]

ColumnType = Literal["str", "int", "float", "bool"]

_INT = re.compile(r"-?(?:0|[1-9][0-9]*)").fullmatch
_FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_BOOLS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


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
                "repair the line, or pass quote=None (--quote '') when quotes are ordinary characters",
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
