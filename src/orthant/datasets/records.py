"""Records that users bring: one reader for files, folders and tables, and a check that runs before anything is stored.

``scan_records`` walks a whole source with the very code that reads it, so what it lets pass can be read.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from orthant.datasets.record_batches import IdRule, RecordReader, Records, RecordSchema
from orthant.datasets.sources.delimited import ColumnType, csv_source
from orthant.datasets.sources.files import (
    RecordFormat,
    detect_format,
    folder_source,
    jsonl_source,
    parquet_source,
)
from orthant.datasets.sources.rows import RowSource
from orthant.datasets.sources.tables import table_source
from orthant.errors import InputError, message
from orthant.validate import check_choice, check_count, check_path

__all__ = ["RecordSchema", "Records", "ScanReport", "read_records", "scan_records"]

_ID_FIELDS = ("_id", "id")
_TEXT_FIELDS = ("title", "text")


@dataclass(frozen=True)
class ScanReport:
    """What a full pass over a source found; nothing was wrong with it.

    Attributes
    ----------
    name : str
        The source.
    records : int
        Records.
    without_text : int
        Records whose text is missing.
    characters : int
        Characters of text, over all records.
    vectors : dict of str to int
        Vectors per space.
    dims : dict of str to int
        Dimension per space.
    fields : dict of str to int
        How many records carry each metadata field.
    schema : RecordSchema
        How the fields were understood.
    seconds : float
        Wall-clock seconds of the pass.
    """

    name: str
    records: int
    without_text: int
    characters: int
    vectors: Mapping[str, int]
    dims: Mapping[str, int]
    fields: Mapping[str, int]
    schema: RecordSchema
    seconds: float


def read_records(
    source: Any,
    *,
    id_field: str | None = None,
    text_fields: str | Sequence[str] | None = None,
    vector_field: str | Mapping[str, str] | None = None,
    metadata_fields: Sequence[str] | None = None,
    metadata_field: str | None = None,
    ids: IdRule = "field",
    format: RecordFormat | None = None,
    types: Mapping[str, ColumnType] | None = None,
    delimiter: str | None = None,
    quote: str | None = '"',
    batch_size: int = 4096,
    encoding: str = "utf-8",
) -> Iterator[Records]:
    r"""Read records from a file, a folder or a table in memory, batch by batch.

    Use it for whatever a user brings: JSON lines (.jsonl, .ndjson), CSV and TSV with a header, each plain or .gz;
    Parquet; a folder of .txt and .md files; a pandas, Arrow or Polars table; a list or iterator of dicts. Call
    ``scan_records`` first when nothing may be stored unless the whole source is sound. For bare matrices use
    ``read_vectors``.

    Parameters
    ----------
    source : str, Path, DataFrame, Table, or iterable of dict
        What to read. A str is always a path.
    id_field : str, optional
        Field with the ids. Left out, ``"_id"`` or else ``"id"``. Strings stand as they are, whole numbers become
        their decimal digits; anything else is refused.
    text_fields : str or sequence of str, optional
        Fields of the text, joined by a line break; missing and empty ones are left out, and a record with none of
        them has the text None. Left out, ``"title"`` and ``"text"``, whichever exist. ``()`` reads no text.
    vector_field : str or mapping of str to str, optional
        Field with a vector per record, or space to field; the space is called like the field when not given.
    metadata_fields : sequence of str, optional
        Fields to keep as metadata; may repeat a text field, such as the title. Left out, every field that is
        neither id, text nor vector.
    metadata_field : str, optional
        The one field that holds all metadata as an object (or as JSON text), as ``write_jsonl`` writes it.
    ids : {"field", "hash", "number"}, default "field"
        ``"hash"`` makes ids from text and metadata (stable under reordering; equal records share one), ``"number"``
        counts records from 0 (changes when the source is reordered).
    format : {"jsonl", "csv", "tsv", "parquet", "folder"}, optional
        Format of a path; left out, told from its ending.
    types : mapping of str to {"str", "int", "float", "bool"}, optional
        Types of CSV and TSV columns. For the others one pass over the file decides: a column is numeric when every
        non-empty cell is a plain number (no leading zeros or plus signs, within 64 bits), else text. Id and text
        columns stay text; empty cells are missing.
    delimiter : str, optional
        Cell separator of CSV and TSV; left out, a comma or a tab.
    quote : str or None, default '"'
        Quote character of CSV and TSV; None when quotes are ordinary characters.
    batch_size : int, default 4096
        Records per batch at most. Small costs time per batch; large costs memory, batch_size x record size.
    encoding : str, default "utf-8"
        Encoding of text files; a byte-order mark is dropped.

    Yields
    ------
    Records
        Batches of 1 to ``batch_size`` records. In tables None and NaN mean a missing field; a JSON null is kept.

    Raises
    ------
    NotFoundError
        No such path.
    InputError
        Anything malformed, with file and line; an unknown field or format; a setting that has no effect here.
    MissingExtraError
        Parquet or an Arrow stream without pyarrow.

    Notes
    -----
    Arguments are checked, and the first 1,000 records looked at, on the call; the rest is read while iterating.
    Fields named here must appear among those. Repeated ids are found by ``scan_records``, not here.

    Examples
    --------
    >>> rows = [{"id": 7, "title": "Dune", "text": "Sand.", "year": 1965}, {"id": 8, "text": "Ice."}]
    >>> batch = next(read_records(rows))
    >>> batch.ids, batch.texts, batch.metadata
    (['7', '8'], ['Dune\nSand.', 'Ice.'], [{'year': 1965}, {}])
    """
    reader = _open(
        source,
        _Fields(id_field, text_fields, vector_field, metadata_fields, metadata_field, ids),
        _FileOptions(format, types, delimiter, quote, encoding),
        batch_size,
    )
    return (records for _, records in reader.batches())


def scan_records(
    source: Any,
    *,
    id_field: str | None = None,
    text_fields: str | Sequence[str] | None = None,
    vector_field: str | Mapping[str, str] | None = None,
    metadata_fields: Sequence[str] | None = None,
    metadata_field: str | None = None,
    ids: IdRule = "field",
    format: RecordFormat | None = None,
    types: Mapping[str, ColumnType] | None = None,
    delimiter: str | None = None,
    quote: str | None = '"',
    batch_size: int = 4096,
    encoding: str = "utf-8",
) -> ScanReport:
    """Check a whole source before any of it is stored: syntax, encoding, ids, repeats, texts, vectors.

    Use it in front of every write that must be all or nothing. It makes the pass that ``read_records`` makes, with
    the same arguments, keeps nothing, and refuses repeated ids as well.

    Parameters
    ----------
    source : str, Path, DataFrame, Table, or iterable of dict
        As for ``read_records``; not a one-time iterator, which the pass would use up.
    id_field : str, optional
        As for ``read_records``.
    text_fields : str or sequence of str, optional
        As for ``read_records``.
    vector_field : str or mapping of str to str, optional
        As for ``read_records``.
    metadata_fields : sequence of str, optional
        As for ``read_records``.
    metadata_field : str, optional
        As for ``read_records``.
    ids : {"field", "hash", "number"}, default "field"
        As for ``read_records``.
    format : {"jsonl", "csv", "tsv", "parquet", "folder"}, optional
        As for ``read_records``.
    types : mapping of str to {"str", "int", "float", "bool"}, optional
        As for ``read_records``.
    delimiter : str, optional
        As for ``read_records``.
    quote : str or None, default '"'
        As for ``read_records``.
    batch_size : int, default 4096
        As for ``read_records``.
    encoding : str, default "utf-8"
        As for ``read_records``.

    Returns
    -------
    ScanReport
        Counts and how the fields were understood.

    Raises
    ------
    NotFoundError
        No such path.
    InputError
        The first thing that is wrong, with its place; for a repeated id, both places.
    MissingExtraError
        Parquet or an Arrow stream without pyarrow.

    Notes
    -----
    Cost: one reading pass (CSV without ``types``: two), and 8 bytes per record in memory. A file that changes
    between scan and read is not noticed.

    Examples
    --------
    >>> scan_records([{"id": "a", "text": "one"}, {"id": "b", "text": None}]).without_text
    1
    """
    reader = _open(
        source,
        _Fields(id_field, text_fields, vector_field, metadata_fields, metadata_field, ids),
        _FileOptions(format, types, delimiter, quote, encoding),
        batch_size,
    )
    if not reader.source.repeatable:
        raise InputError(
            message("a source that can be read only once", "one that can be read twice", "pass a list, table or file")
        )
    return _scan(reader)


def _scan(reader: RecordReader) -> ScanReport:
    started = time.perf_counter()
    hashes = array("q")
    without_text = characters = 0
    fields: dict[str, int] = {}
    vectors = dict.fromkeys(reader.schema.vector_fields, 0)
    for _, records in reader.batches():
        hashes.extend(map(hash, records.ids))
        for text in records.texts:
            if text is None:
                without_text += 1
            else:
                characters += len(text)
        for values in records.metadata:
            for name in values:
                fields[name] = fields.get(name, 0) + 1
        for space in vectors:
            vectors[space] += int(records.has_vector(space).sum())
    _check_repeats(reader, np.frombuffer(hashes, dtype=np.int64))
    return ScanReport(
        name=reader.source.name,
        records=len(hashes),
        without_text=without_text,
        characters=characters,
        vectors=vectors,
        dims=dict(reader.dims),
        fields=fields,
        schema=reader.schema,
        seconds=time.perf_counter() - started,
    )


def _check_repeats(reader: RecordReader, hashes: npt.NDArray[np.int64]) -> None:
    """Find repeated ids from their hashes; only suspects are read a second time, so memory stays at 8 bytes per id."""
    values, counts = np.unique(hashes, return_counts=True)
    suspects = set(values[counts > 1].tolist())
    if not suspects:
        return
    seen: dict[str, int] = {}
    for block, records in reader.batches():
        for number, key in zip(block.numbers, records.ids, strict=True):
            if hash(key) not in suspects:
                continue
            if key in seen:
                place = reader.source.place
                remedy = "keep one of them" if reader.schema.ids == "field" else "pass ids='number', or drop the copy"
                raise InputError(
                    f"{place(number)}: "
                    + message(f"id {key!r}, as in {place(seen[key])}", "an id of its own for every record", remedy)
                )
            seen[key] = number


@dataclass(frozen=True)
class _Fields:
    id_field: str | None
    text_fields: str | Sequence[str] | None
    vector_field: str | Mapping[str, str] | None
    metadata_fields: Sequence[str] | None
    metadata_field: str | None
    ids: IdRule


@dataclass(frozen=True)
class _FileOptions:
    format: RecordFormat | None
    types: Mapping[str, ColumnType] | None
    delimiter: str | None
    quote: str | None
    encoding: str


def _open(source: Any, fields: _Fields, options: _FileOptions, batch_size: int) -> RecordReader:
    batch_size = check_count(batch_size, name="batch_size")
    rows = _row_source(source, options)
    return RecordReader(rows, _resolve(rows, fields), batch_size)


def _row_source(source: Any, options: _FileOptions) -> RowSource:
    given = {
        "format": options.format is not None,
        "encoding": options.encoding != "utf-8",
        "types": options.types is not None,
        "delimiter": options.delimiter is not None,
        "quote": options.quote != '"',
    }
    if not isinstance(source, (str, os.PathLike)):
        _refuse_idle(given, (), "a table in memory")
        return table_source(source)
    path = check_path(source, name="source")
    if options.format is None:
        kind = detect_format(path)
    else:
        kind = check_choice(options.format, get_args(RecordFormat), name="format")  # type: ignore[assignment]
    if kind == "parquet":
        _refuse_idle(given, ("format",), "a Parquet file")
        return parquet_source(path)
    if kind in ("csv", "tsv"):
        return csv_source(
            path,
            encoding=options.encoding,
            delimiter=options.delimiter or ("\t" if kind == "tsv" else ","),
            quote=options.quote,
            types=options.types,
        )
    _refuse_idle(given, ("format", "encoding"), f"the format {kind!r}")
    if kind == "folder":
        return folder_source(path, encoding=options.encoding)
    return jsonl_source(path, encoding=options.encoding)


def _refuse_idle(given: Mapping[str, bool], allowed: Iterable[str], what: str) -> None:
    for name in given.keys() - set(allowed):
        if given[name]:
            raise InputError(message(f"{name}= for {what}", "a setting that has an effect there", f"leave {name} out"))


def _resolve(source: RowSource, fields: _Fields) -> RecordSchema:
    """Decide from the source's fields what is id, text, vector and metadata."""
    ids: IdRule = check_choice(fields.ids, get_args(IdRule), name="ids")  # type: ignore[assignment]
    if ids != "field" and fields.id_field is not None:
        raise InputError(message(f"id_field with ids={ids!r}", "one of the two", "leave id_field out"))
    if fields.metadata_field is not None and fields.metadata_fields is not None:
        raise InputError(message("metadata_field and metadata_fields", "one of the two", "leave one out"))
    vectors = _vector_fields(fields.vector_field)
    named = [name for name in (fields.id_field, fields.metadata_field, *vectors.values()) if name is not None]
    # An empty source has no fields to check names against.
    if source.fields:
        for name in named:
            _check_field(source, name)
        for name in fields.metadata_fields or () if source.complete else ():
            _check_field(source, name)
    id_field = fields.id_field
    if ids == "field" and id_field is None:
        id_field = next((name for name in _ID_FIELDS if name in source.fields), None)
        if id_field is None and source.fields:
            raise InputError(
                f"{source.name}: "
                + message(
                    f"no field '_id' or 'id' among {_listed(source.fields)}",
                    "an id for every record",
                    "name it with id_field=, or ask for ids='hash' or ids='number'",
                )
            )
    return RecordSchema(
        id_field=(id_field or _ID_FIELDS[0]) if ids == "field" else None,
        text_fields=_text_fields(source, fields.text_fields, bool(vectors)),
        vector_fields=vectors,
        metadata_fields=None if fields.metadata_fields is None else tuple(fields.metadata_fields),
        metadata_field=fields.metadata_field,
        ids=ids,
    )


def _vector_fields(vector_field: str | Mapping[str, str] | None) -> dict[str, str]:
    if vector_field is None:
        return {}
    if isinstance(vector_field, str):
        return {vector_field: vector_field}
    return dict(vector_field)


def _text_fields(source: RowSource, asked: str | Sequence[str] | None, has_vectors: bool) -> tuple[str, ...]:
    if asked is None:
        found = tuple(name for name in _TEXT_FIELDS if name in source.fields)
        if found or has_vectors or not source.fields:
            # A later record may carry the field that the first ones lack.
            return found if source.complete else _TEXT_FIELDS
        raise InputError(
            f"{source.name}: "
            + message(
                f"no field 'title' or 'text' among {_listed(source.fields)}",
                "a field to read as text",
                "name it with text_fields= (--text-field NAME), or pass text_fields=() (--text-field '') for records "
                "without text",
            )
        )
    names = (asked,) if isinstance(asked, str) else tuple(asked)
    known = [name for name in names if name in source.fields]
    if names and source.fields and (not known or (source.complete and len(known) < len(names))):
        _check_field(source, next(name for name in names if name not in source.fields))
    return names


def _check_field(source: RowSource, name: str) -> None:
    if name not in source.fields:
        raise InputError(
            f"{source.name}: " + message(f"field {name!r}", f"one of {_listed(source.fields)}", "correct the name")
        )


def _listed(names: Sequence[str], shown: int = 12) -> str:
    return ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
