"""Export to files that other programs read, and import without loss."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from orthant.collection.adding import given_vectors
from orthant.collection.columns.where import Predicate, parse_where
from orthant.collection.snapshots.archive import is_archive, unpacked, write_archive
from orthant.collection.spaces import SpaceDefinition
from orthant.collection.sparse.state import SparseDefinition
from orthant.collection.sparse.tables import fetch_vectors
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.segments import SegmentMissingError
from orthant.collection.storage.store import Store
from orthant.datasets.export import records_table, write_export, write_parquet
from orthant.datasets.imports import read_export
from orthant.datasets.record_batches import Records
from orthant.datasets.sources.tables import import_arrow
from orthant.errors import EncoderMismatchError, InputError, message
from orthant.kernels import bitmaps
from orthant.types import FloatArray, Ragged
from orthant.validate import check_choice

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = ["ExportReport", "ImportReport", "export", "import_export", "stored_batches", "to_arrow"]

_BATCH = 4096


@dataclass(frozen=True)
class ExportReport:
    """What an export holds.

    Attributes
    ----------
    path : str
        Where it is.
    format : str
        ``"folder"``, ``"parquet"`` or ``"archive"``.
    records : int
        Records written.
    spaces : dict of str to dict
        Definitions of the spaces whose vectors went along.
    """

    path: str
    format: str
    records: int
    spaces: dict[str, dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)


@dataclass(frozen=True)
class ImportReport:
    """What an import brought.

    Attributes
    ----------
    path : str
        Where it came from.
    records : int
        Records written.
    replaced : int
        How many of them existed before.
    vectors : dict of str to int
        Vectors written, by space.
    """

    path: str
    records: int
    replaced: int
    vectors: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)


@contextmanager
def _held_view(store: Store) -> Iterator[tuple[sqlite3.Connection, Generation]]:
    while True:
        with store.view() as (connection, generation):
            try:
                for space in generation.spaces.values():
                    space.hold()
            except SegmentMissingError:
                if store.refreshed().number == generation.number:
                    raise
                continue
            yield connection, generation
            return


def stored_batches(store: Store, *, predicate: Predicate | None = None, vectors: bool = True) -> Iterator[Records]:
    """Yield records with their vectors, as of one commit.

    Parameters
    ----------
    store : Store
        The opened store.
    predicate : Predicate, optional
        Which records; None takes all.
    vectors : bool, default True
        Read the vectors too.

    Yields
    ------
    Records
        A NaN row stands for a record without a vector, an empty one for a record without tokens.
    """
    with _held_view(store) as (connection, generation):
        live = generation.live
        rows = bitmaps.to_rows(live if predicate is None else generation.columns.evaluate(predicate, live=live).bitmap)
        for begin in range(0, len(rows), _BATCH):
            part = rows[begin : begin + _BATCH]
            found = tables.fetch_records(connection, store.database, part.tolist())
            matrices: dict[str, FloatArray | Ragged] = {}
            for name, space in generation.spaces.items() if vectors else ():
                if space.definition.kind == "tokens":
                    matrices[name] = space.tokens_of(part)[1]
                    continue
                present, X = space.vectors_of(part)
                whole = np.full((len(part), space.definition.dim), np.nan, dtype=np.float32)
                whole[present] = X
                matrices[name] = whole
            ids, texts, metadata = (list(column) for column in zip(*(found[row] for row in part.tolist()), strict=True))
            terms = {name: _terms(store, connection, name, part.tolist()) for name in generation.sparse if vectors}
            yield Records(ids, texts, metadata, matrices, terms or None)


def _terms(store: Store, connection: sqlite3.Connection, name: str, rows: list[int]) -> list[dict[str, Any] | None]:
    found = fetch_vectors(connection, store.database, name, rows)
    plain = {row: {"indices": v.indices.tolist(), "values": v.values.tolist()} for row, v in found.items()}
    return [plain.get(row) for row in rows]


def export(store: Store, path: Path, *, format: Literal["folder", "parquet", "archive"] | None) -> ExportReport:
    """Write a collection to a folder, a Parquet file or an archive.

    Parameters
    ----------
    store : Store
        The opened store.
    path : Path
        A new folder, or a file.
    format : {"folder", "parquet", "archive"}, optional
        Default: by the ending.

    Returns
    -------
    ExportReport
        What was written.
    """
    chosen = format or {".parquet": "parquet", ".zip": "archive"}.get(path.suffix, "folder")
    check_choice(chosen, ("folder", "parquet", "archive"), name="format")
    if path.exists() and (path.is_file() or any(path.iterdir())):
        raise InputError(message(f"{path}, which exists", "a new path", "choose another, or delete it first"))
    spaces = {name: asdict(space.definition) for name, space in store.refreshed().spaces.items()}
    sparse = {name: asdict(state.definition) for name, state in store.refreshed().sparse.items()}
    details = {"source": "orthant collection"}
    if chosen == "parquet":
        if sparse:
            given = f"a Parquet export of weighted terms (space {next(iter(sparse))!r})"
            raise InputError(message(given, "a folder or an archive", "write to a path without .parquet"))
        count = write_parquet(path, stored_batches(store), spaces=spaces, details=details)
    else:
        write = write_archive if chosen == "archive" else write_export
        count = write(path, stored_batches(store), spaces=spaces, sparse=sparse, details=details)
    return ExportReport(str(path), chosen, count, spaces | sparse)


def to_arrow(store: Store, *, where: Mapping[str, Any] | None, vectors: bool) -> Any:
    """Return records as an Arrow table; see ``Collection.to_arrow``.

    Parameters
    ----------
    store : Store
        The opened store.
    where : mapping or None
        A where-expression; None takes every record.
    vectors : bool
        Take the vectors along.

    Returns
    -------
    pyarrow.Table
        One row per record, in insertion order.
    """
    import_arrow()
    predicate = None if where is None else parse_where(where)
    spaces = {name: asdict(space.definition) for name, space in store.refreshed().spaces.items()} if vectors else {}
    batches = stored_batches(store, predicate=predicate, vectors=vectors)
    return records_table(batches, spaces=spaces)


def import_export(collection: Collection, path: Path, *, vectors: bool, progress: bool) -> ImportReport:
    """Write an export's records into a collection.

    Parameters
    ----------
    collection : Collection
        Where to.
    path : Path
        The export.
    vectors : bool
        Keep the exported vectors rather than encode anew.
    progress : bool
        Show a bar.

    Returns
    -------
    ImportReport
        What was written.
    """
    if is_archive(path):
        with unpacked(path) as folder:
            return replace(import_export(collection, folder, vectors=vectors, progress=progress), path=str(path))
    source = read_export(path)
    if vectors:
        _match_spaces(collection, {name: _definition(name, space) for name, space in source.spaces.items()})
        _match_sparse(collection, {name: _sparse_definition(name, space) for name, space in source.sparse.items()})
    replaced, records = 0, 0
    counts: dict[str, int] = {}
    with collection.bulk(progress=progress):
        for batch in source.batches(_BATCH):
            given = given_vectors(batch) or {} if vectors else None
            if given is not None:
                # A space that no record of this batch has must not be encoded anew either.
                given |= {name: [None] * len(batch) for name in source.spaces if name not in given}
                given |= {name: (batch.sparse or {}).get(name, [None] * len(batch)) for name in source.sparse}
            report = collection.upsert(
                batch.ids, texts=batch.texts, metadata=batch.metadata, vectors=given, progress=progress
            )
            records += report.records
            replaced += report.replaced
            for name, count in report.vectors.items():
                counts[name] = counts.get(name, 0) + count
    return ImportReport(str(path), records, replaced, counts)


def _definition(name: str, space: Any) -> SpaceDefinition:
    known = {key: space[key] for key in SpaceDefinition.__dataclass_fields__ if key in space}
    return SpaceDefinition(**{**known, "name": name}).validated()


def _sparse_definition(name: str, space: Any) -> SparseDefinition:
    known = {key: space[key] for key in SparseDefinition.__dataclass_fields__ if key in space}
    return SparseDefinition(**{**known, "name": name}).validated()


def _match_sparse(collection: Collection, wanted: dict[str, SparseDefinition]) -> None:
    held = collection.sparse_spaces
    for name, definition in wanted.items():
        if name not in held:
            collection.adopt_space(definition)
        elif (held[name].dim, held[name].fingerprint) != (definition.dim, definition.fingerprint):
            raise EncoderMismatchError(
                f"Got an export whose sparse space {name!r} has {definition.dim} terms by {definition.fingerprint}; "
                f"expected {held[name].dim} by {held[name].fingerprint}, as stored. Import into a new collection, or "
                "pass vectors=False (on the command line --encode-again) to encode the texts with this collection's "
                "encoder."
            )


def _match_spaces(collection: Collection, wanted: dict[str, SpaceDefinition]) -> None:
    held = collection.spaces
    for name, definition in wanted.items():
        if name not in held:
            continue
        same = (held[name].dim, held[name].metric, held[name].fingerprint, held[name].kind)
        if same != (definition.dim, definition.metric, definition.fingerprint, definition.kind):
            raise EncoderMismatchError(
                f"Got an export whose space {name!r} is {definition.dim}-dimensional {definition.metric} by "
                f"{definition.fingerprint}; expected {held[name].dim}-dimensional {held[name].metric} by "
                f"{held[name].fingerprint}, as stored. Import into a new collection, or pass vectors=False (on the "
                "command line --encode-again) to encode the texts with this collection's encoder."
            )
    for name, definition in wanted.items():
        if name not in held:
            collection.adopt_space(definition)
