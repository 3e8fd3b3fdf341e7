"""Maximal marginal relevance: take what is relevant and unlike what was taken before."""

from __future__ import annotations

import numpy as np

from orthant.types import FloatArray, IdArray

__all__ = ["mmr", "unit_rows"]


def unit_rows(X: FloatArray) -> FloatArray:
    """Return rows scaled to length 1; a zero row stays zero.

    Parameters
    ----------
    X : ndarray of shape (m, dim), float32
        Vectors.

    Returns
    -------
    ndarray of shape (m, dim), float32
        Copies.
    """
    lengths = np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    return (X / np.where(lengths > 0, lengths, 1.0)).astype(np.float32)


def mmr(relevance: FloatArray, X: FloatArray, *, diversity: float) -> tuple[IdArray, FloatArray]:
    """Order candidates by maximal marginal relevance.

    Parameters
    ----------
    relevance : ndarray of shape (m,), float32
        In [0, 1].
    X : ndarray of shape (m, dim), float32
        Unit vectors, or zero for a candidate that has none and so is like no other.
    diversity : float
        From 0, which orders by relevance, to 1, which only avoids likeness; 1 minus the lambda of the paper.

    Returns
    -------
    order : ndarray of shape (m,), int64
        Candidates in the order in which they are taken; ties go to the earlier candidate.
    values : ndarray of shape (m,), float32
        In that order, what each was worth when it was taken.

    Notes
    -----
    Taken next: ``argmax_i (1 - diversity) * relevance_i - diversity * max_j <x_i, x_j>`` over all j taken before, the
    maximum being 0 for the first. A prefix of the order does not depend on how much of it is used. Cost: m^2 dim.

    References
    ----------
    J. Carbonell, J. Goldstein: The use of MMR, diversity-based reranking for reordering documents and producing
    summaries, SIGIR 1998, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    >>> mmr(np.array([1, 0.9, 0.5], dtype=np.float32), X, diversity=0.5)[0].tolist()
    [0, 2, 1]
    """
    count = len(relevance)
    base = (1.0 - diversity) * relevance.astype(np.float64)
    likeness = X.astype(np.float64) @ X.astype(np.float64).T
    nearest = np.zeros(count)
    free = np.ones(count, dtype=bool)
    order = np.zeros(count, dtype=np.int64)
    values = np.zeros(count, dtype=np.float32)
    for step in range(count):
        worth = np.where(free, base - diversity * nearest, -np.inf)
        best = int(np.argmax(worth))
        order[step], values[step] = best, worth[best]
        free[best] = False
        nearest = likeness[best] if step == 0 else np.maximum(nearest, likeness[best])
    return order, values
