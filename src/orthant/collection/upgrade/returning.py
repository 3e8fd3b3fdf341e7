"""Going back to the old encoder: records that were written without it get its vectors before the new ones go."""

from __future__ import annotations

from typing import Any

from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.collection.upgrade.cutover import fill
from orthant.collection.upgrade.running import encode_batch
from orthant.collection.upgrade.state import UpgradeState
from orthant.kernels import bitmaps
from orthant.types import IdArray

__all__ = ["encode_for_former", "newer_only"]

_BATCH = 256


def newer_only(generation: Generation, state: UpgradeState) -> IdArray:
    """Return the rows that a rollback of a committed upgrade would leave without any vector.

    Parameters
    ----------
    generation : Generation
        The current one.
    state : UpgradeState
        The open upgrade.

    Returns
    -------
    ndarray of shape (n,), int64
        Ascending: a vector of the new encoder, none of the old one. Empty before the commit.
    """
    if not state.committed:
        return bitmaps.to_rows(generation.live[:0])
    words = len(generation.live)
    fresh, former = (
        bitmaps.resize(generation.spaces[name].rows_bitmap(), words) for name in (state.fresh, state.former)
    )
    return bitmaps.to_rows(generation.live & fresh & ~former)


def encode_for_former(store: Store, encoder: Any | None, state: UpgradeState) -> dict[str, str]:
    """Encode by the old encoder what only the new one has encoded, and name what stays without.

    Parameters
    ----------
    store : Store
        The writer; free for other calls between two batches.
    encoder : Encoder, optional
        The old one; left out, nothing can be encoded.
    state : UpgradeState
        The open upgrade, committed.

    Returns
    -------
    dict of str to str
        Records that have no vector of the old encoder, by id, with the reason.
    """
    lost: dict[str, str] = {}
    tried: set[int] = set()
    while True:
        now = store.refreshed()
        rows = newer_only(now, state)
        rows = rows[[row not in tried for row in rows.tolist()]]
        if not len(rows):
            return lost
        if encoder is None:
            with store.database.reading() as connection:
                found = tables.fetch_records(connection, store.database, rows.tolist())
            return {record[0]: "the old encoder is not at hand" for record in found.values()}
        rows = rows[:_BATCH]
        tried |= set(rows.tolist())
        good, X, bad = encode_batch(store, encoder, now, state.former, rows)
        lost |= bad
        fill(store, state.former, good, X)
