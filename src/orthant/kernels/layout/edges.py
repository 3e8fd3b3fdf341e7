"""Weighted edges from lists of neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.types import IdArray

__all__ = ["neighbour_edges"]

_STEPS = 48


def neighbour_edges(
    neighbours: IdArray, distances: npt.NDArray[np.float64]
) -> tuple[IdArray, IdArray, npt.NDArray[np.float32]]:
    """Return an edge for every pair of which one is a neighbour of the other.

    Parameters
    ----------
    neighbours : ndarray of shape (n, k), int64
        Positions of the nearest others, nearest first; -1 where there are fewer.
    distances : ndarray of shape (n, k), float64
        To them, not negative, not falling.

    Returns
    -------
    heads, tails : ndarray of shape (m,), int64
        Ends of the edges, every pair once with ``heads < tails``, in ascending order.
    weights : ndarray of shape (m,), float32
        In (0, 1].

    Notes
    -----
    The weight of j for i is ``exp(-(d_ij - d_i1) / s_i)`` with ``s_i`` such that the weights of i sum to ``log2 k``, so
    that dense and sparse regions get edges of like strength; two directions join as ``u + v - u v``. Cost: O(n k).

    References
    ----------
    L. McInnes, J. Healy, J. Melville: UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction,
    arXiv:1802.03426, section 3.1.

    Examples
    --------
    >>> heads, tails, weights = neighbour_edges(np.array([[1], [0], [1]]), np.array([[1.0], [1.0], [2.0]]))
    >>> heads.tolist(), tails.tolist()
    ([0, 1], [1, 2])
    """
    n, k = neighbours.shape
    known = neighbours >= 0
    above = np.where(known, np.maximum(distances - distances[:, :1], 0.0), np.inf)
    target = np.log2(max(2, k))
    low, high = np.full(n, 1e-12), np.full(n, max(1e-9, float(np.max(distances[known], initial=1.0))) * 64.0)
    for _ in range(_STEPS):
        middle = np.sqrt(low * high)
        large = np.exp(-above / middle[:, None]).sum(axis=1) > target
        high, low = np.where(large, middle, high), np.where(large, low, middle)
    weights = np.where(known, np.exp(-above / np.sqrt(low * high)[:, None]), 0.0)
    rows = np.repeat(np.arange(n, dtype=np.int64), k).reshape(n, k)
    used = known & (weights > 1e-4) & (rows != neighbours)
    first, second, each = rows[used], neighbours[used], weights[used]
    keys = np.minimum(first, second) * n + np.maximum(first, second)
    pairs, where = np.unique(keys, return_inverse=True)
    # One minus the product of what both directions leave open: u + v - u v.
    missed = np.ones(len(pairs))
    np.multiply.at(missed, where.ravel(), 1.0 - each)
    return pairs // n, pairs % n, (1.0 - missed).astype(np.float32)
