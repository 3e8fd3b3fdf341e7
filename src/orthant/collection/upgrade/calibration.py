"""Scores of two generations of vectors in one list, by the records that have both.

A score of the new encoder and a score of the old vectors have no common unit, and how they relate changes from query to
query. Records that were encoded again still have their old vector, so for one query their best new scores are shifted
and stretched to the mean and the spread of their best old ones. A new score then competes with the old scores of the
other records, which are less certain: where the two disagree, few records encoded again would fall behind many that are
not. So a record that has both is scored by both, and the new score weighs as much as records were encoded again. With
none encoded again that is the old order, with all of them the new order.
"""

from __future__ import annotations

import numpy as np

from orthant.types import FloatArray

__all__ = ["blend", "calibrated", "tail"]

_LEAST, _MOST = 20, 220


def tail(share: float, count: int) -> int:
    """Return how many of the best scores tell how two kinds of scores relate.

    Parameters
    ----------
    share : float
        Part of all records that was encoded again.
    count : int
        Records that have both vectors.

    Returns
    -------
    int
        About as many of them as are among the best two hundred of all.
    """
    return min(count, _LEAST + int((_MOST - _LEAST) * share))


def calibrated(scores: FloatArray, fresh: FloatArray, older: FloatArray) -> FloatArray:
    """Return new scores in the unit of the older ones.

    Parameters
    ----------
    scores : ndarray of shape (q, m), float32
        By the new vectors.
    fresh, older : ndarray of shape (q, t), float32
        Best scores of the same queries by the new and by the older vectors, of records that have both.

    Returns
    -------
    ndarray of shape (q, m), float32
        Increasing in the scores; constant where ``fresh`` has no spread.
    """
    if not fresh.shape[1] or not older.shape[1]:
        return np.array(scores, dtype=np.float32)
    a, b = fresh.astype(np.float64), older.astype(np.float64)
    spread = a.std(axis=1, keepdims=True)
    # Where all best scores are one, their differences are rounding.
    slope = np.where(spread > 1e-6, b.std(axis=1, keepdims=True) / np.maximum(spread, 1e-6), 0.0)
    # An order must be left even where the older scores are all one.
    slope = np.maximum(slope, 1e-6)
    return (b.mean(axis=1, keepdims=True) + slope * (scores - a.mean(axis=1, keepdims=True))).astype(np.float32)


def blend(fresh: FloatArray, older: FloatArray, encoded: np.ndarray) -> FloatArray:
    """Return one score for every record and query, some records being encoded again.

    Parameters
    ----------
    fresh : ndarray of shape (q, n), float32
        Scores by the new encoder's vectors.
    older : ndarray of shape (q, n), float32
        Scores by the older vectors.
    encoded : ndarray of shape (n,), bool
        Which records were encoded again.

    Returns
    -------
    ndarray of shape (q, n), float32
        In the unit of ``older``.

    Examples
    --------
    >>> import numpy as np
    >>> fresh, older = np.array([[9.0, 8.0, 0.0]]), np.array([[0.2, 0.9, 0.5]])
    >>> blend(fresh, older, np.array([True, True, False])).astype(float).round(2).tolist()
    [[0.67, 0.43, 0.5]]
    """
    out = np.array(older, dtype=np.float32)
    at = np.flatnonzero(encoded)
    if len(at):
        share = len(at) / len(encoded)
        size = tail(share, len(at))
        own = calibrated(fresh[:, at], _best(fresh[:, at], size), _best(older[:, at], size))
        out[:, at] = share * own + (1 - share) * out[:, at]
    return out


def _best(scores: FloatArray, size: int) -> FloatArray:
    return -np.partition(-scores, size - 1, axis=1)[:, :size]
