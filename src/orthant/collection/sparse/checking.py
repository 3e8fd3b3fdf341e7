"""Verifying the stored vectors of sparse spaces, and encoding again what is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orthant.collection.sparse import tables as sparse_tables
from orthant.collection.sparse.state import SparseState
from orthant.collection.storage import tables
from orthant.collection.storage.store import Store
from orthant.encoders.sparse.rows import SparseRows, as_sparse_rows
from orthant.types import IdArray

__all__ = ["SparseFinding", "check_space"]


@dataclass(frozen=True)
class SparseFinding:
    """What is wrong with a sparse space.

    Attributes
    ----------
    what : str
        In words.
    repairable : bool
        Its texts can be encoded again.
    repaired : bool
        Whether that was done.
    """

    what: str
    repairable: bool
    repaired: bool


def check_space(
    store: Store, name: str, records: IdArray, encoder_of: Callable[[str], Any] | None
) -> tuple[int, SparseFinding | None]:
    """Compare every stored vector of a space with its checksum, its record and its posting lists.

    Parameters
    ----------
    store : Store
        The opened store; with the writer's place held for a repair.
    name : str
        The space.
    records : ndarray of shape (n,), int64
        Ascending rows of all records.
    encoder_of : callable or None
        Gives the encoder, for a repair.

    Returns
    -------
    vectors : int
        Sound vectors.
    finding : SparseFinding or None
        None when all is well.
    """
    with store.view() as (connection, generation):
        held = generation.sparse[name]
        count = sparse_tables.committed(connection, store.database).get(name, 0)
        whole = sparse_tables.read_whole(connection, held, count=count)
    sound, indexed = whole.index.rows(), held.index.rows()
    orphans = sound[~np.isin(sound, records)]
    # What the posting lists have and the table lacks was lost since; what is damaged is still named.
    lost = {*whole.damaged, *indexed[~np.isin(indexed, sound)].tolist()}
    lost &= set(records.tolist())
    strange = sorted(whole.damaged.difference(records.tolist()))
    wrong_index = held.problem is None and not np.array_equal(sound, indexed)
    if whole.problem is None and not len(orphans) and not wrong_index:
        return len(sound), None
    what = f"{len(sound) - len(orphans)} sound vectors where {count} were committed"
    repairable = held.definition.fingerprint is not None
    if encoder_of is None:
        return len(sound), SparseFinding(what, repairable, False)
    gone = np.concatenate([orphans, np.array(strange, dtype=np.int64)])
    known = whole.missing == len(whole.damaged) or lost
    told = _mend(store, whole, sorted(lost) if known else None, records, gone, encoder_of)
    now = store.generation.sparse[name]
    return len(now.index), SparseFinding(what + told, repairable, now.problem is None)


def _mend(
    store: Store,
    whole: SparseState,
    lost: list[int] | None,
    records: IdArray,
    gone: IdArray,
    encoder_of: Callable[[str], Any],
) -> str:
    """Encode the texts of lost rows, or of all rows without a vector where nothing tells which; commit the outcome."""
    name, dim = whole.definition.name, whole.definition.dim
    known = lost is not None
    if lost is None:
        lost = records[~np.isin(records, whole.index.rows())].tolist()
    fresh: dict[int, Any] = {}
    told = ""
    if whole.definition.fingerprint is None and lost:
        told = "; they were brought by the user: write these records again"
    elif lost:
        with store.view() as (connection, _):
            found = tables.fetch_records(connection, store.database, lost)
        texts = {row: found[row][1] for row in lost if row in found and found[row][1]}
        rows = as_sparse_rows(
            encoder_of(name).encode_sparse(list(texts.values()), role="document"), dim=dim, name="encoded again"
        )
        fresh = {row: rows[i] for i, row in enumerate(texts)}
        told = f"; {len(fresh)} texts encoded again"
    order = np.array(sorted(fresh), dtype=np.int64)
    vectors = SparseRows.of([fresh[row] for row in order.tolist()], dim)
    index = whole.index.without(gone).with_batch(order, vectors)
    damaged = whole.damaged.difference(fresh, gone.tolist())
    left = len(set(lost).difference(fresh)) if known else len(damaged)
    if not known and whole.definition.fingerprint is None:
        left = whole.missing
    state = replace(whole, index=index, missing=left, damaged=damaged)
    now = store.generation

    def write(connection: sqlite3.Connection) -> None:
        sparse_tables.delete_rows(connection, name, gone.tolist())
        sparse_tables.insert_vectors(connection, name, order, vectors)

    store.publish(replace(now, number=now.number + 1, sparse={**now.sparse, name: state}, _indexes={}), write)
    return told
