"""Candidates read from disk, those that can still be among the best, in turns, and ordered by their vectors.

Codes are off by amounts that the vectors read so far tell. A candidate whose code would have to be off by far more than
those is not read: it would not be among the best.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.index.tiers.light import Light
from orthant.index.tiers.row_files import Reads
from orthant.kernels.distances import exact_scores, row_chunks
from orthant.kernels.topk import kth_largest, top_k_pairs
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["ranked"]

BoolArray = npt.NDArray[np.bool_]

_FIRST, _BEYOND, _TURN = 20, 10, 24
"""Candidates of the first turn at least, and beyond those wanted; and of every later one at most."""

_ROUNDING = 1e-6


def ranked(
    state: Light,
    queries: FloatArray,
    near: IdArray,
    told: FloatArray,
    *,
    k: int,
    metric: Metric,
    readers: int,
    sure: float,
) -> tuple[tuple[IdArray, FloatArray, npt.NDArray[np.int64]], int, Reads]:
    """Read candidates of some queries, each row once, and order them by their vectors.

    Parameters
    ----------
    state : Light
        The snapshot.
    queries : ndarray of shape (q, dim), float32
        Queries.
    near : ndarray of shape (q, c), int64
        Rows, best codes first; -1 for none.
    told : ndarray of shape (q, c), float32
        Scores of their codes, but for what is the same for all rows of a query.
    k : int
        How many are wanted.
    metric : {"dot", "cosine", "l2"}
        The score.
    readers : int
        Direct reads under way at a time.
    sure : float
        Standard deviations that a code may be off by; infinity reads all in one turn.

    Returns
    -------
    found : tuple of ndarray
        Ids, scores and counts, as ``top_k_pairs`` gives.
    compared : int
        Pairs of a query and a vector.
    reads : Reads
        What reading cost.

    Notes
    -----
    A row is read when ``told + m + sure * s`` reaches the k-th best score so far, m and s being mean and standard
    deviation of what codes were off by among the rows read for the query.
    """
    exact = np.full(near.shape, -np.inf, dtype=np.float32)
    unread, spent = near >= 0, Reads()
    turn = unread.copy()
    if np.isfinite(sure):
        turn[:, max(_FIRST, k + _BEYOND) :] = False
    rows, vectors = np.zeros(0, np.int64), np.zeros((0, state.rows.dim), np.float32)
    while turn.any():
        fresh = np.unique(near[turn])
        if len(queries) > 1:
            # What another query read before; a query by itself never asks for a row again.
            fresh = np.setdiff1d(fresh, rows, assume_unique=True)
        more, cost = state.rows.read(fresh, readers=readers)
        spent += cost
        rows, vectors = (fresh, more) if len(queries) == 1 or not len(rows) else _merged((rows, vectors), (fresh, more))
        for i in np.flatnonzero(turn.any(axis=1)):
            at = np.searchsorted(rows, near[i, turn[i]])
            # In parts, so that float64 copies stay small.
            parts = row_chunks(len(at), vectors.shape[1] * 16)
            exact[i, turn[i]] = np.concatenate(
                [exact_scores(queries[i : i + 1], vectors[at[a:b]], metric)[0] for a, b in parts]
            )
        unread &= ~turn
        turn = _possible(told, exact, unread, near >= 0, k, sure) if unread.any() else unread
    number, column = np.nonzero((near >= 0) & ~unread)
    names = state.ids[near[number, column]]
    found = top_k_pairs(number, names, exact[number, column], count=len(queries), k=k)
    return found, len(number), spent


def _merged(one: tuple[IdArray, FloatArray], two: tuple[IdArray, FloatArray]) -> tuple[IdArray, FloatArray]:
    rows = np.concatenate([one[0], two[0]])
    order = np.argsort(rows)
    return rows[order], np.concatenate([one[1], two[1]])[order]


def _possible(
    told: FloatArray, exact: FloatArray, unread: BoolArray, real: BoolArray, k: int, sure: float
) -> BoolArray:
    """Return the next candidates of each query that can be among the k best, some at a time."""
    done = real & ~unread
    off = np.zeros(told.shape)
    np.subtract(exact, told, out=off, where=done)
    count = np.maximum(done.sum(axis=1), 1)
    mean = off.sum(axis=1) / count
    spread = np.sqrt(np.maximum((off * off).sum(axis=1) / count - mean * mean, 0.0))
    least = kth_largest(exact, k).astype(np.float64)
    least -= _ROUNDING * np.abs(np.where(np.isfinite(least), least, 0.0))
    out: BoolArray = unread & (told + (mean + sure * spread)[:, None] >= least[:, None])
    return out & (np.cumsum(out, axis=1) <= _TURN)
