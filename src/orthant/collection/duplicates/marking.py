"""Marks on duplicates: a metadata field written, or taken away again, in one commit that changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from orthant.collection.columns.where import parse_where
from orthant.collection.ingest import prepare_batch
from orthant.collection.sparse.tables import fetch_vectors
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.encoders.sparse.rows import SparseRows
from orthant.errors import InputError, message
from orthant.kernels import bitmaps

__all__ = ["FIELD", "delete_records", "mark_records", "unmark_all", "unmark_records"]

FIELD = "duplicate_of"
"""The metadata field that names the record a duplicate belongs to."""

Found = dict[int, tuple[str, str | None, dict[str, Any]]]


def mark_records(
    store: Store, kept_of: Mapping[str, str], rows: Mapping[str, int], *, field: str = FIELD
) -> dict[str, int]:
    """Write the id of the kept record into the metadata of each duplicate.

    Parameters
    ----------
    store : Store
        Where they lie.
    kept_of : mapping of str to str
        Duplicate to kept record.
    rows : mapping of str to int
        Row of every id of both kinds, as they were compared.
    field : str, default "duplicate_of"
        The field.

    Returns
    -------
    dict of str to int
        New rows of the duplicates.

    Raises
    ------
    InputError
        A record changed since it was compared, or has the field already; nothing was written.
    """
    check_field(field)
    with store.writer() as now:
        found = _unchanged(store, {key: rows[key] for pair in kept_of.items() for key in pair})
        held = [key for key, _, metadata in found.values() if field in metadata]
        if held:
            raise InputError(
                message(
                    f"{len(held)} of these records with a field {field!r} already, such as {held[0]!r}",
                    "a field that none of them has",
                    "unmark earlier duplicates, leave them out with where, or use another field",
                )
            )
        marked = {row: (key, text, metadata | {field: kept_of[key]}) for row, (key, text, metadata) in found.items()
                  if key in kept_of}  # fmt: skip
        return _rewrite(store, now, marked)


def unmark_records(
    store: Store, kept_of: Mapping[str, str], rows: Mapping[str, int], *, field: str = FIELD
) -> dict[str, int]:
    """Take the marks away that ``mark_records`` wrote.

    Parameters
    ----------
    store, kept_of, rows, field
        As for ``mark_records``; rows as it returned them.

    Returns
    -------
    dict of str to int
        New rows of the records that had a mark.

    Raises
    ------
    InputError
        A record changed since; nothing was written.
    """
    check_field(field)
    with store.writer() as now:
        found = _unchanged(store, {key: rows[key] for key in kept_of})
        return _rewrite(store, now, _without(found, field, lambda key, value: value == kept_of[key]))


def unmark_all(store: Store, *, field: str = FIELD) -> int:
    """Take a mark away from every record that has it.

    Parameters
    ----------
    store : Store
        Where they lie.
    field : str, default "duplicate_of"
        The field; whatever text it holds goes.

    Returns
    -------
    int
        Records changed.
    """
    check_field(field)
    predicate = parse_where({_literal(field): {"exists": True}})
    with store.writer() as now:
        rows = bitmaps.to_rows(now.columns.evaluate(predicate, live=now.live).bitmap).tolist()
        with store.database.reading() as connection:
            found = tables.fetch_records(connection, store.database, rows)
        return len(_rewrite(store, now, _without(found, field, lambda _, value: isinstance(value, str))))


def delete_records(store: Store, kept_of: Mapping[str, str], rows: Mapping[str, int]) -> int:
    """Remove the duplicates; the kept records must still be there.

    Parameters
    ----------
    store, kept_of, rows
        As for ``mark_records``.

    Returns
    -------
    int
        Records removed.

    Raises
    ------
    InputError
        A record changed since it was compared; nothing was removed.
    """
    with store.writer():
        _unchanged(store, {key: rows[key] for pair in kept_of.items() for key in pair})
        return store.commit(remove_ids=list(kept_of)).removed


def check_field(field: str) -> None:
    """Refuse a name that a mark cannot have.

    Parameters
    ----------
    field : str
        The name.

    Raises
    ------
    InputError
        Empty, no text, or with a dot, which would mean a nested field.
    """
    if not isinstance(field, str) or not field or "." in field:
        raise InputError(message(f"field={field!r}", "the name of a top-level field", "use a name without a dot"))


def _literal(field: str) -> str:
    # A leading dot keeps names such as "not" from being read as operators.
    return f".{field}"


def _without(found: Found, field: str, wanted: Callable[[str, Any], bool]) -> Found:
    return {
        row: (key, text, {name: value for name, value in metadata.items() if name != field})
        for row, (key, text, metadata) in found.items()
        if field in metadata and wanted(key, metadata[field])
    }


def _unchanged(store: Store, rows: Mapping[str, int]) -> Found:
    # A replaced record gets a new row, so rows tell whether a record is still the one that was compared.
    with store.database.reading() as connection:
        found = tables.fetch_records(connection, store.database, list(rows.values()))
    changed = [key for key, row in rows.items() if row not in found]
    if changed:
        raise InputError(
            message(
                f"{len(changed)} records that were changed or deleted since the comparison, such as {changed[0]!r}",
                "records as they were compared",
                "look for duplicates again",
            )
        )
    return found


def _rewrite(store: Store, now: Generation, records: Found) -> dict[str, int]:
    """Write records anew with other metadata, and the vectors that they have, in one commit."""
    if not records:
        return {}
    rows: Sequence[int] = sorted(records)
    ids = [records[row][0] for row in rows]
    texts, metadata = [records[row][1] for row in rows], [records[row][2] for row in rows]
    prepared = prepare_batch(ids, texts, metadata, {}, spaces={}, encoders=None)
    for name, space in now.spaces.items():
        positions, X = space.stored(np.array(rows, dtype=np.int64))
        if len(positions):
            prepared.batch.vectors[name] = (positions, X)
    with store.database.reading() as connection:
        for name, state in now.sparse.items():
            kept = fetch_vectors(connection, store.database, name, rows)
            places = np.array([i for i, row in enumerate(rows) if row in kept], dtype=np.int64)
            vectors = SparseRows.of([kept[rows[i]] for i in places.tolist()], state.definition.dim)
            prepared.batch.sparse[name] = (places, vectors)
    store.commit(prepared.batch)
    return {key: now.next_row + i for i, key in enumerate(ids)}
