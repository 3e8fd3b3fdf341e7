"""Scores of two generations of vectors in one list, by the quantiles of the records that have both.

A score of the new encoder and a score of the old vectors have no common unit, and how they relate changes from query to
query. Records that were encoded again still have their old vector, so for one query the best of them by the new scores
takes the place of the best of them by the old ones, the second that of the second, and so on. Records that were not
encoded again keep their own. With none encoded again that is the old order, with all of them the new order.
"""

from __future__ import annotations

import numpy as np

from orthant.types import FloatArray

__all__ = ["blend", "placed"]


def placed(ranks: FloatArray, reference: FloatArray, *, share: float = 1.0) -> FloatArray:
    """Return the scores that belong to ranks, read off a list of reference scores.

    Parameters
    ----------
    ranks : ndarray of shape (m,)
        Ranks among the records encoded again, 0 for the best.
    reference : ndarray of shape (r,), float32
        Best scores of the same query by the older vectors, non-increasing.
    share : float, default 1.0
        Reference records per ranked record, where the two sets differ in size.

    Returns
    -------
    ndarray of shape (m,), float32
        Non-increasing in the ranks. Beyond the reference scores fall on evenly below its last.
    """
    places = np.asarray(ranks, dtype=np.float64) * share
    if not len(reference):
        return (-places).astype(np.float32)
    knots = np.arange(len(reference), dtype=np.float64)
    out = np.interp(places, knots, reference.astype(np.float64))
    beyond = np.maximum(places - knots[-1], 0.0)
    step = (float(reference[0]) - float(reference[-1])) / max(len(reference) - 1, 1)
    return (out - beyond * max(step, 1e-6)).astype(np.float32)


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
    >>> blend(fresh, older, np.array([True, True, False])).astype(float).round(1).tolist()
    [[0.9, 0.2, 0.5]]
    """
    out = np.array(older, dtype=np.float32)
    at = np.flatnonzero(encoded)
    if len(at):
        order = np.argsort(-fresh[:, at], axis=1, kind="stable")
        values = -np.sort(-older[:, at], axis=1)
        moved = np.empty_like(out[:, at])
        np.put_along_axis(moved, order, values.astype(np.float32), axis=1)
        out[:, at] = moved
    return out
