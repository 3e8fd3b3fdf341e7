"""Recall of neighbour lists against exact ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, message
from orthant.validate import check_count, check_fraction

__all__ = ["recall_at_k", "recall_per_query"]

# Elements of the (queries, k, k) comparison held at once.
_BLOCK_ELEMENTS = 4_000_000


def recall_at_k(
    found_ids: npt.ArrayLike,
    true_ids: npt.ArrayLike,
    *,
    k: int | None = None,
    found_scores: npt.ArrayLike | None = None,
    true_scores: npt.ArrayLike | None = None,
    tolerance: float = 0.0,
) -> float:
    """Mean share of the true k nearest neighbours that a search returned; the figure for approximate indexes.

    Parameters
    ----------
    found_ids : array-like of int, shape (q, f)
        What the search returned, best first; -1 where there was none.
    true_ids : array-like of int, shape (q, t)
        Exact neighbours, best first; -1 where fewer exist.
    k : int, optional
        Columns used of both; defaults to the columns of ``true_ids``. More than it has is refused.
    found_scores, true_scores : array-like of float, shapes of the ids, optional
        Given both, ties count: a found id is right when its score reaches the k-th true score. Larger is closer.
        Use exact scores, not those of compressed codes.
    tolerance : float, default 0.0
        Score difference taken as a tie, relative to the size of the k-th true score, up to 1. Rounding between two
        ways of computing float32 scores needs about 1e-6; too large, and worse neighbours count.

    Returns
    -------
    float
        Mean over the queries that have a true neighbour.

    Raises
    ------
    DtypeError, DimensionError, NonFiniteError
        Ids that are not integers, shapes that do not fit, NaN scores.
    InputError
        No query has a true neighbour, k beyond the ground truth, or only one of the score arrays.

    Examples
    --------
    >>> recall_at_k([[1, 9], [4, -1]], [[1, 2], [4, -1]])
    0.75
    >>> recall_at_k([[9]], [[1]], found_scores=[[0.5]], true_scores=[[0.5]])
    1.0
    """
    values = recall_per_query(
        found_ids, true_ids, k=k, found_scores=found_scores, true_scores=true_scores, tolerance=tolerance
    )
    if np.isnan(values).all():
        raise InputError(
            message("ground truth without a neighbour", "at least one query that has one", "check true_ids")
        )
    return float(np.nanmean(values))


def recall_per_query(
    found_ids: npt.ArrayLike,
    true_ids: npt.ArrayLike,
    *,
    k: int | None = None,
    found_scores: npt.ArrayLike | None = None,
    true_scores: npt.ArrayLike | None = None,
    tolerance: float = 0.0,
) -> npt.NDArray[np.float64]:
    """Share of the true k nearest neighbours returned, query by query; for tails and paired tests.

    Parameters
    ----------
    found_ids, true_ids : array-like of int, shapes (q, f) and (q, t)
        As in `recall_at_k`. An id found twice counts once.
    k : int, optional
        Columns used; defaults to the columns of ``true_ids``.
    found_scores, true_scores : array-like of float, optional
        As in `recall_at_k`.
    tolerance : float, default 0.0
        As in `recall_at_k`.

    Returns
    -------
    ndarray of shape (q,), float64
        NaN where a query has no true neighbour: nothing was there to be found.

    Raises
    ------
    DtypeError, DimensionError, NonFiniteError, InputError
        As in `recall_at_k`.

    Notes
    -----
    Cost O(q k^2) comparisons, in blocks of bounded memory.

    Examples
    --------
    >>> recall_per_query([[1, 9], [4, -1]], [[1, 2], [-1, -1]]).tolist()
    [0.5, nan]
    """
    found, truth = _id_table(found_ids, "found_ids"), _id_table(true_ids, "true_ids")
    if len(found) != len(truth):
        raise DimensionError(
            message(f"{len(found)} rows of found_ids", f"{len(truth)}, as in true_ids", "pass the same queries")
        )
    k = truth.shape[1] if k is None else check_count(k, name="k", maximum=truth.shape[1])
    if (found_scores is None) != (true_scores is None):
        raise InputError(message("one of found_scores and true_scores", "both or neither", "pass the other one too"))
    found, truth = found[:, :k], truth[:, :k]
    right = np.zeros(found.shape, dtype=bool)
    step = max(1, _BLOCK_ELEMENTS // max(1, found.shape[1] * k))
    for start in range(0, len(found), step):
        rows = slice(start, start + step)
        right[rows] = (found[rows, :, None] == truth[rows, None, :]).any(2)
    if found_scores is not None and true_scores is not None:
        scores = _score_table(found_scores, found_ids, "found_scores")[:, :k]
        right |= scores >= _threshold(_score_table(true_scores, true_ids, "true_scores")[:, :k], truth, tolerance)
    right &= (found >= 0) & ~_repeats(found)
    existing = (truth >= 0).sum(1)
    hits = np.minimum(right.sum(1), existing)
    return np.divide(hits, existing, out=np.full(len(found), np.nan), where=existing > 0)


def _threshold(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.int64], tolerance: float) -> Any:
    worst = np.where(truth >= 0, scores, np.inf).min(1, initial=np.inf)
    tolerance = check_fraction(tolerance, name="tolerance")
    return (worst - tolerance * np.where(np.isfinite(worst), np.abs(worst), 0.0))[:, None]


def _repeats(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    order = np.argsort(ids, axis=1, kind="stable")
    ordered = np.take_along_axis(ids, order, 1)
    out = np.zeros(ids.shape, dtype=bool)
    np.put_along_axis(out, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], 1)
    return out


def _id_table(ids: npt.ArrayLike, name: str) -> npt.NDArray[np.int64]:
    table = np.asarray(ids)
    if table.ndim != 2:
        raise DimensionError(message(f"{name} of shape {table.shape}", "shape (q, k)", "pass one row per query"))
    if table.dtype.kind not in "iu" and table.size:
        raise DtypeError(message(f"{name} of dtype {table.dtype}", "integers", "pass index ids"))
    return table.astype(np.int64)


def _score_table(scores: npt.ArrayLike, ids: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    table = np.asarray(scores, dtype=np.float64)
    if table.shape != np.shape(ids):
        raise DimensionError(
            message(f"{name} of shape {table.shape}", f"{np.shape(ids)}, as its ids", "pass one score per id")
        )
    if np.isnan(table).any():
        raise NonFiniteError(message(f"NaN in {name}", "numbers", "repair the scores"))
    return table
