"""Rows from objects in memory: lists of dicts, iterators, pandas, Arrow and Polars tables.

Tables are recognised by what they offer, so none of those libraries is imported here unless the caller already did.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from orthant.datasets.sources.rows import RowBlock, RowSource, VectorColumn
from orthant.errors import DimensionError, DtypeError, InputError, MissingExtraError, message

__all__ = ["PEEKED_RECORDS", "arrow_block", "check_columns", "import_arrow", "table_source"]

PEEKED_RECORDS = 1000


def table_source(source: Any) -> RowSource:
    """Recognise an in-memory source of rows.

    Parameters
    ----------
    source : DataFrame, Table, or iterable of mappings
        pandas and Polars frames, pyarrow tables and batches, anything with ``__arrow_c_stream__``, a list of
        dicts, or an iterator of dicts.

    Returns
    -------
    RowSource
        The rows.

    Raises
    ------
    InputError
        Nothing of the above.
    MissingExtraError
        An Arrow stream without pyarrow.
    """
    if isinstance(source, (Mapping, bytes, bytearray)):
        raise InputError(message(f"one {type(source).__name__}", "a list of records", "write [record]"))
    if hasattr(source, "to_batches") and hasattr(source, "to_pylist"):
        return _arrow_source(source.schema.names, source.to_batches, "row", repeatable=True)
    if hasattr(source, "to_pylist") and hasattr(source, "schema"):
        return _arrow_source(source.schema.names, lambda **_: iter([source]), "row", repeatable=True)
    if hasattr(source, "to_dicts") and hasattr(source, "iter_slices"):
        return _polars_source(source)
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return _pandas_source(source)
    if hasattr(source, "collect_schema"):
        raise InputError(message("a lazy frame", "a frame with rows", "call .collect() first"))
    if hasattr(source, "__arrow_c_stream__"):
        reader = import_arrow().RecordBatchReader.from_stream(source)
        return _arrow_source(reader.schema.names, lambda **_: iter(reader), "row", repeatable=False)
    if isinstance(source, Iterable):
        return _iterable_source(source)
    raise InputError(
        message(
            f"records as {type(source).__name__}",
            "a path, a list or iterator of dicts, or a pandas, Arrow or Polars table",
            "pass one of these",
        )
    )


def import_arrow() -> Any:
    """Return the pyarrow module, or say which extra brings it.

    Returns
    -------
    module
        pyarrow.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(
            message("Arrow or Parquet data without pyarrow", "pyarrow", "pip install 'orthant[arrow]'")
        ) from error
    return pyarrow


def check_columns(names: Iterable[Any], place: str) -> tuple[str, ...]:
    """Return column names as strings, or name the first that is empty, repeated or not a string.

    Parameters
    ----------
    names : iterable
        Column names.
    place : str
        The table, for the error.

    Returns
    -------
    tuple of str
        The names.

    Raises
    ------
    InputError
        A name is unusable.
    """
    out: list[str] = []
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name:
            raise InputError(
                f"{place}: "
                + message(f"column {i} named {name!r}", "a non-empty string", "name every column; drop index columns")
            )
        if name in out:
            raise InputError(f"{place}: " + message(f"two columns {name!r}", "distinct names", "rename one of them"))
        out.append(name)
    return tuple(out)


def _place(unit: str) -> Callable[[int], str]:
    return lambda number: f"{unit} {number} (counted from 0)"


def _arrow_source(names: list[str], batches: Callable[..., Iterable[Any]], unit: str, *, repeatable: bool) -> RowSource:
    fields = check_columns(names, "the Arrow table")
    place = _place(unit)

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        start = 0
        for batch in batches(max_chunksize=batch_size):
            for a in range(0, batch.num_rows, batch_size):
                part = batch.slice(a, batch_size)
                yield arrow_block(part, start, vectors, place)
                start += part.num_rows

    return RowSource(
        "the Arrow table",
        fields,
        complete=True,
        repeatable=repeatable,
        nulls=True,
        json=False,
        blocks=blocks,
        place=place,
    )


def arrow_block(batch: Any, start: int, vectors: frozenset[str], place: Callable[[int], str]) -> RowBlock:
    """Turn an Arrow record batch into rows, with vector columns taken straight from its buffers.

    Parameters
    ----------
    batch : pyarrow.RecordBatch
        The rows.
    start : int
        Number of its first row.
    vectors : frozenset of str
        Columns that hold vectors.
    place : callable of int
        Names a row in an error.

    Returns
    -------
    RowBlock
        Rows without the vector columns, and these as arrays.

    Raises
    ------
    InputError
        A value that Python cannot hold.
    DimensionError, DtypeError
        A vector column that is not a list of numbers of one length.
    """
    kept = [name for name in batch.schema.names if name not in vectors]
    try:
        rows = batch.select(kept).to_pylist() if kept else [{} for _ in range(batch.num_rows)]
    except ValueError as error:
        raise InputError(
            f"{place(start)} or one of the {batch.num_rows - 1} after it: "
            + message(f"a value that Python cannot hold ({error})", "plain values", "cast the column first")
        ) from error
    columns = {
        name: _arrow_vectors(batch.column(name), name, lambda i: place(start + i))
        for name in batch.schema.names
        if name in vectors
    }
    return RowBlock(rows, range(start, start + batch.num_rows), columns)


def _arrow_vectors(column: Any, name: str, place: Callable[[int], str]) -> VectorColumn:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not any(
        check(kind.value_type) for check in (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)
    ):
        raise DtypeError(message(f"column {name!r} of type {kind}", "a list of numbers", "name another vector column"))
    mask = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)
    present = column.drop_null()
    flat = present.flatten()
    if not len(present):
        return mask, np.zeros((0, 0), dtype=np.float32)
    lengths = np.asarray(pc.list_value_length(present).to_numpy(zero_copy_only=False))
    rows = np.flatnonzero(mask)
    if (lengths != lengths[0]).any():
        bad = int(np.flatnonzero(lengths != lengths[0])[0])
        raise DimensionError(
            f"{place(int(rows[bad]))}: "
            + message(f"{lengths[bad]} numbers in {name!r}", f"{lengths[0]}", "repair the vector")
        )
    if flat.null_count:
        bad = int(np.flatnonzero(flat.is_null().to_numpy(zero_copy_only=False))[0]) // int(lengths[0])
        raise DtypeError(
            f"{place(int(rows[bad]))}: " + message(f"a null inside {name!r}", "numbers only", "repair the vector")
        )
    return mask, flat.to_numpy(zero_copy_only=False).reshape(len(present), int(lengths[0]))


def _polars_source(frame: Any) -> RowSource:
    fields = check_columns(frame.columns, "the frame")

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        start = 0
        for part in frame.iter_slices(batch_size):
            rows = part.to_dicts()
            yield RowBlock(rows, range(start, start + len(rows)))
            start += len(rows)

    return RowSource(
        "the frame", fields, complete=True, repeatable=True, nulls=True, json=False, blocks=blocks, place=_place("row")
    )


def _pandas_source(frame: Any) -> RowSource:
    # A named index is a column the user thinks of as one, most often the id.
    indexed = any(name is not None for name in frame.index.names)
    index_names = list(frame.index.names) if indexed else []
    fields = check_columns([*index_names, *frame.columns], "the frame")

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        for start in range(0, len(frame), batch_size):
            part = frame.iloc[start : start + batch_size]
            rows = (part.reset_index() if indexed else part).to_dict("records")
            yield RowBlock(rows, range(start, start + len(rows)))

    return RowSource(
        "the frame", fields, complete=True, repeatable=True, nulls=True, json=False, blocks=blocks, place=_place("row")
    )


def _iterable_source(source: Iterable[Any]) -> RowSource:
    iterator = iter(source)
    repeatable = iterator is not source
    place = _place("record")
    peeked = list(itertools.islice(iterator, PEEKED_RECORDS))
    first = [_as_row(row, place, i) for i, row in enumerate(peeked)]
    fields = tuple(dict.fromkeys(key for row in first for key in row if isinstance(key, str)))

    def blocks(batch_size: int, texts: frozenset[str], vectors: frozenset[str]) -> Iterator[RowBlock]:
        rows = iter(source) if repeatable else itertools.chain(peeked, iterator)
        start = 0
        while part := list(itertools.islice(rows, batch_size)):
            block = [_as_row(row, place, start + i) for i, row in enumerate(part)]
            yield RowBlock(block, range(start, start + len(block)))
            start += len(block)

    return RowSource(
        "the records",
        fields,
        complete=False,
        repeatable=repeatable,
        nulls=False,
        json=False,
        blocks=blocks,
        place=place,
    )


def _as_row(row: Any, place: Callable[[int], str], number: int) -> dict[str, Any]:
    if type(row) is dict:
        return row
    if isinstance(row, Mapping):
        return dict(row)
    raise InputError(
        f"{place(number)}: "
        + message(f"a {type(row).__name__}", "a dict of field to value", "turn each record into a dict")
    )
