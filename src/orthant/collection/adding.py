"""Adding whole sources: files, folders and tables, checked from end to end before the first record is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.collection.columns.table import Columns, check_fields
from orthant.collection.ingest import by_space, check_ids, prepare_batch
from orthant.collection.spaces import SpaceDefinition
from orthant.datasets.record_batches import Records
from orthant.datasets.records import read_records, scan_records
from orthant.datasets.sources.tables import import_arrow
from orthant.datasets.vector_files import read_vectors
from orthant.errors import DimensionError, InputError, message
from orthant.types import Metric, Ragged
from orthant.validate import as_vectors, check_count, check_path

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = ["AddReport", "add_source", "add_vector_file"]

_SCAN_ROWS = 16_384


@dataclass(frozen=True)
class AddReport:
    """What adding a source did.

    Attributes
    ----------
    records : int
        Records written.
    replaced : int
        How many of them existed before.
    vectors : dict of str to int
        Vectors written, by space.
    without_vector : dict of str to int
        Records that got no vector, by space.
    truncated_items, truncated_tokens : int
        Texts longer than the encoder's window and the tokens that were not seen.
    seconds : dict of str to float
        Wall-clock seconds: ``scan`` (the check beforehand), ``read``, ``check``, ``encode``, ``commit`` and
        ``graph`` (building or extending the graphs, at the end).
    """

    records: int
    replaced: int
    vectors: dict[str, int]
    without_vector: dict[str, int]
    truncated_items: int
    truncated_tokens: int
    seconds: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)


def add_source(
    collection: Collection,
    source: Any,
    *,
    id_field: str | None = None,
    text_fields: str | Sequence[str] | None = None,
    vector_field: str | Mapping[str, str] | None = None,
    metadata_fields: Sequence[str] | None = None,
    metadata_field: str | None = None,
    ids: Literal["field", "hash", "number"] = "field",
    format: Any = None,
    types: Any = None,
    delimiter: str | None = None,
    quote: str | None = '"',
    encoding: str = "utf-8",
    batch_size: int = 4096,
    advance: Callable[[int], None] | None = None,
) -> AddReport:
    """Read a source and upsert it batch by batch; see ``Collection.add`` for the settings.

    Parameters
    ----------
    collection : Collection
        Where to.
    source : str, Path, DataFrame, Table, or iterable of dict
        What to read.
    id_field, text_fields, vector_field, metadata_fields, metadata_field, ids
        As for ``orthant.datasets.read_records``.
    format, types, delimiter, quote, encoding, batch_size
        As for ``orthant.datasets.read_records``.
    advance : callable of int, optional
        Told how many further records are stored.

    Returns
    -------
    AddReport
        Counts and seconds.
    """
    settings: dict[str, Any] = {
        "id_field": id_field,
        "text_fields": text_fields,
        "vector_field": vector_field,
        "metadata_fields": metadata_fields,
        "metadata_field": metadata_field,
        "ids": ids,
        "format": format,
        "types": types,
        "delimiter": delimiter,
        "quote": quote,
        "encoding": encoding,
        "batch_size": batch_size,
    }
    seconds = dict.fromkeys(("scan", "read", "check", "encode", "commit", "graph"), 0.0)
    # An iterator can be read once only: it is held whole, so that it is checked whole.
    if hasattr(source, "read_all"):
        source = source.read_all()
    elif hasattr(source, "__next__"):
        source = list(source)
    elif hasattr(source, "__arrow_c_stream__") and not hasattr(source, "shape"):
        # A capsule may give its stream only once.
        source = import_arrow().table(source)
    scanned = scan_records(source, **settings)
    seconds["scan"] = scanned.seconds
    if scanned.records > batch_size:
        # One batch is all or nothing by itself; before several, each is checked against the collection.
        began = time.perf_counter()
        _rehearse(collection, source, settings)
        seconds["scan"] += time.perf_counter() - began
    total = {"records": 0, "replaced": 0, "truncated_items": 0, "truncated_tokens": 0}
    vectors: dict[str, int] = {}
    without: dict[str, int] = {}
    began = time.perf_counter()
    with collection.bulk():
        for batch in read_records(source, **settings):
            seconds["read"] += time.perf_counter() - began
            given = given_vectors(batch)
            report = collection.upsert(batch.ids, texts=batch.texts, metadata=batch.metadata, vectors=given)
            for name in total:
                total[name] += getattr(report, name)
            stages = report.seconds
            for counts, more in ((vectors, report.vectors), (without, report.without_vector), (seconds, stages)):
                for name, value in more.items():
                    counts[name] = counts.get(name, 0) + value  # type: ignore[assignment]
            if advance is not None:
                advance(report.records)
            began = time.perf_counter()
    seconds["graph"] += time.perf_counter() - began
    return AddReport(**total, vectors=vectors, without_vector=without, seconds=seconds)


def add_vector_file(
    collection: Collection,
    path: str | Path | npt.ArrayLike,
    *,
    space: str,
    metric: Metric = "cosine",
    id_prefix: str = "",
    ids: Sequence[str] | None = None,
    batch_size: int = 4096,
    advance: Callable[[int], None] | None = None,
) -> AddReport:
    """Upsert the rows of a vector file as records without text; see ``Collection.add_vectors`` for the settings.

    Parameters
    ----------
    collection : Collection
        Where to.
    path : str, Path, or array-like of shape (n, dim)
        As for ``orthant.datasets.read_vectors``, or the vectors themselves.
    space : str
        The vector space.
    metric : str, default "cosine"
        Its score, should it not exist yet.
    id_prefix : str, default ""
        In front of the row number.
    ids : sequence of str, optional
        One id per row instead.
    batch_size : int, default 4096
        Records per commit.
    advance : callable of int, optional
        Told how many further records are stored.

    Returns
    -------
    AddReport
        Counts and seconds.
    """
    began = time.perf_counter()
    check_count(batch_size, name="batch_size")
    if isinstance(path, str | Path):
        name = str(check_path(path, name="path"))
        X = read_vectors(name)
    else:
        name, X = "vectors", as_vectors(path, name="vectors")
    keys = [f"{id_prefix}{i}" for i in range(len(X))] if ids is None else check_ids(ids)
    if len(keys) != len(X):
        raise DimensionError(message(f"{len(keys)} ids for {len(X)} vectors", "one each", "align the ids"))
    held = collection.spaces.get(space)
    dim = X.shape[1] if held is None else held.dim
    nonzero = (metric if held is None else held.metric) == "cosine"
    # Everything is looked at before the first row is written.
    for begin in range(0, len(X), _SCAN_ROWS):
        part = X[begin : begin + _SCAN_ROWS]
        as_vectors(part, dim=dim, name=f"{name}, rows {begin} to {begin + len(part) - 1}", nonzero=nonzero)
    seconds = dict.fromkeys(("scan", "read", "check", "encode", "commit", "graph"), 0.0)
    seconds["scan"] = time.perf_counter() - began
    replaced = 0
    with collection.bulk():
        for begin in range(0, len(X), batch_size):
            end = begin + batch_size
            report = collection.upsert(keys[begin:end], vectors={space: np.asarray(X[begin:end])})
            replaced += report.replaced
            for stage, value in report.seconds.items():
                seconds[stage] += value
            if advance is not None:
                advance(report.records)
        began = time.perf_counter()
    seconds["graph"] += time.perf_counter() - began
    return AddReport(len(keys), replaced, {space: len(keys)}, {}, 0, 0, seconds)


def _rehearse(collection: Collection, source: Any, settings: Mapping[str, Any]) -> None:
    """Refuse what the collection would refuse in a later batch, before the first one is written."""
    rehearsal, first = Rehearsal(collection), 1
    for batch in read_records(source, **settings):
        try:
            rehearsal.check(batch)
        except InputError as error:
            _blame(rehearsal, source, batch, first)
            raise type(error)(f"{_name(source)}, records {first} to {first + len(batch) - 1}: {error}") from error
        first += len(batch)


def _blame(rehearsal: Rehearsal, source: Any, batch: Records, first: int) -> None:
    for i in range(len(batch)):
        one = slice(i, i + 1)
        vectors = {name: X[one] for name, X in (batch.vectors or {}).items()}
        try:
            rehearsal.check(Records(batch.ids[one], batch.texts[one], batch.metadata[one], vectors or None))
        except InputError as error:
            raise type(error)(f"{_name(source)}, record {first + i}: {error}") from error


def _name(source: Any) -> str:
    return str(source) if isinstance(source, (str, Path)) else f"a source of type {type(source).__name__}"


class Rehearsal:
    """Checks batches as ``upsert`` would, without encoding or writing.

    Parameters
    ----------
    collection : Collection
        Where the batches are to go.
    """

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._spaces = dict(collection.spaces)
        self._fields = set(collection._store.generation.columns.names)

    def check(self, batch: Records) -> None:
        """Raise what ``upsert`` would raise for a batch.

        Parameters
        ----------
        batch : Records
            The next batch.

        Raises
        ------
        InputError
            Anything that is not acceptable.
        """
        given, _ = by_space(given_vectors(batch), "default")
        for definition, _ in self._collection._missing_space(given):
            if isinstance(definition, SpaceDefinition):
                self._spaces.setdefault(definition.name, definition)
        prepared = prepare_batch(batch.ids, batch.texts, batch.metadata, given, spaces=self._spaces, encoders=None)
        columns = Columns.empty().with_batch(np.arange(len(batch)), prepared.batch.metadata)
        check_fields(self._fields, columns.names)
        self._fields |= columns.names


def given_vectors(batch: Records) -> dict[str, Any] | None:
    """Return a batch's vectors as ``upsert`` takes them, None where a record has none.

    Parameters
    ----------
    batch : Records
        A NaN row stands for a record without a vector.

    Returns
    -------
    dict of str to (ndarray, Ragged or list), or None
        By space; None when the batch brings no vectors.
    """
    if not batch.vectors:
        return None
    out: dict[str, Any] = {}
    for name, X in batch.vectors.items():
        if isinstance(X, Ragged):
            out[name] = X
            continue
        mask = batch.has_vector(name)
        out[name] = X if bool(np.all(mask)) else [x if has else None for x, has in zip(X, mask.tolist(), strict=True)]
    return out
