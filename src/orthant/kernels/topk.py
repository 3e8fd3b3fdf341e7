"""The k best of many scores, with ties broken by the smaller id.

Absent entries are id -1 with score -inf; results are padded to k columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.types import FloatArray, IdArray
from orthant.validate import check_count

__all__ = ["check_answers", "kth_largest", "merge_top_k", "rank_within", "top_k", "top_k_pairs"]

_ANSWER_BYTES, _MOST_PADDING = 12, 1 << 30
"""An id and a score; what rows may be padded to where there are fewer than k answers."""


def check_answers(k: Any, *, queries: int, held: int) -> int:
    """Return how many answers each query gets columns for.

    Parameters
    ----------
    k : int
        As it was given.
    queries : int
        How many there are.
    held : int
        Items that could be answers.

    Returns
    -------
    int
        k.

    Raises
    ------
    InputError
        Not an integer of at least 1, or far more than there are: a gigabyte of padding serves nobody, and takes the
        process with it where memory is short.
    """
    wanted = check_count(k, name="k")
    if wanted > held and wanted * max(1, queries) * _ANSWER_BYTES > _MOST_PADDING:
        given = f"k={wanted} for {queries} queries of {held} items"
        raise InputError(message(given, "answers that fit 1 GiB where there are fewer items", f"pass k={max(1, held)}"))
    return wanted


def kth_largest(scores: npt.NDArray[Any], k: int) -> npt.NDArray[Any]:
    """Return the k-th largest value of each row without sorting it.

    Parameters
    ----------
    scores : ndarray of shape (q, n), float
        Scores without NaN.
    k : int
        At least 1.

    Returns
    -------
    ndarray of shape (q,)
        -inf where a row has fewer than k entries.
    """
    n = scores.shape[1]
    if n < k:
        return np.full(len(scores), -np.inf, dtype=scores.dtype)
    return np.partition(scores, n - k, axis=1)[:, n - k]


def rank_within(groups: IdArray) -> IdArray:
    """Return each element's place within its run of equal values.

    Parameters
    ----------
    groups : ndarray of shape (m,), int64
        Ascending group numbers.

    Returns
    -------
    ndarray of shape (m,), int64
        0, 1, 2 ... restarting with each group.
    """
    positions = np.arange(len(groups), dtype=np.int64)
    return positions - np.searchsorted(groups, groups, side="left")


def top_k_pairs(
    queries: IdArray, ids: IdArray, scores: FloatArray, *, count: int, k: int
) -> tuple[IdArray, FloatArray, npt.NDArray[np.int64]]:
    """Choose each query's k best from a flat list of (query, id, score).

    Parameters
    ----------
    queries : ndarray of shape (m,), int64
        Query number of each entry, in any order.
    ids : ndarray of shape (m,), int64
        Ids, distinct within a query; negative ones are ignored.
    scores : ndarray of shape (m,), float32
        Scores without NaN.
    count : int
        Number of queries.
    k : int
        Columns of the result.

    Returns
    -------
    ids : ndarray of shape (count, k), int64
        Best first, equal scores by the smaller id; -1 where there was none.
    scores : ndarray of shape (count, k), float32
        Non-increasing; -inf where there was none.
    counts : ndarray of shape (count,), int64
        Real entries per row.
    """
    real = ids >= 0
    if not real.all():
        queries, ids, scores = queries[real], ids[real], scores[real]
    order = np.lexsort((ids, -scores, queries))
    group = queries[order]
    rank = rank_within(group)
    chosen = rank < k
    order, group, rank = order[chosen], group[chosen], rank[chosen]
    out_ids = np.full((count, k), -1, dtype=np.int64)
    out_scores = np.full((count, k), -np.inf, dtype=np.float32)
    out_ids[group, rank] = ids[order]
    out_scores[group, rank] = scores[order]
    return out_ids, out_scores, np.bincount(group, minlength=count).astype(np.int64, copy=False)


def top_k(
    scores: FloatArray, k: int, *, ids: IdArray | None = None
) -> tuple[IdArray, FloatArray, npt.NDArray[np.int64]]:
    """Return the k best of each row of a score matrix.

    Parameters
    ----------
    scores : ndarray of shape (q, n), float32
        Scores without NaN; -inf marks a column that must not be returned.
    k : int
        Columns of the result, at least 1.
    ids : ndarray of shape (n,), int64, optional
        Ids of the columns. Left out, the column numbers.

    Returns
    -------
    tuple of ndarray
        As ``top_k_pairs``: ids (q, k) int64, scores (q, k) float32, counts (q,) int64.

    Notes
    -----
    Cost O(q n + q k log k): a selection per row, then a sort of what reaches the k-th score.
    """
    q, n = scores.shape
    floor = np.maximum(kth_largest(scores, k), np.finfo(np.float32).min)
    flat = np.flatnonzero(scores >= floor[:, None])
    rows, columns = np.divmod(flat, max(1, n))
    names = columns if ids is None else ids[columns]
    return top_k_pairs(rows, names, scores.reshape(-1)[flat], count=q, k=k)


def merge_top_k(
    parts: Sequence[tuple[IdArray, FloatArray]], k: int
) -> tuple[IdArray, FloatArray, npt.NDArray[np.int64]]:
    """Merge padded partial results over disjoint id sets into one.

    Parameters
    ----------
    parts : sequence of (ids, scores)
        Arrays of shape (q, any), padded with -1 and -inf; at least one part.
    k : int
        Columns of the result.

    Returns
    -------
    tuple of ndarray
        As ``top_k_pairs``.
    """
    ids = np.concatenate([part[0] for part in parts], axis=1)
    scores = np.concatenate([part[1] for part in parts], axis=1)
    queries = np.repeat(np.arange(len(ids), dtype=np.int64), ids.shape[1])
    return top_k_pairs(queries, ids.reshape(-1), scores.reshape(-1), count=len(ids), k=k)
