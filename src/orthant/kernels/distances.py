"""Scores between vectors: fast tiles with a certified error bound, and exact scores of chosen pairs.

Larger is closer everywhere: dot product, cosine, or minus the squared Euclidean distance. A tile is one BLAS call, so
its rounding depends on how the library blocks the sum; ``tile_bound`` covers every order of summation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.row_products import dot_rows
from orthant.types import FloatArray, Metric

__all__ = [
    "TILE_BYTES",
    "exact_scores",
    "inverse_norms",
    "norms",
    "pair_scores",
    "row_chunks",
    "row_scale",
    "tile_bound",
    "tile_scores",
    "to_float32",
]

Float64Array = npt.NDArray[np.float64]

TILE_BYTES = 4 << 20
"""Bytes of one working array: small enough that a tile and its temporaries stay within 32 MiB."""

_FLOAT32 = np.finfo(np.float32)


def row_chunks(count: int, row_bytes: int, budget_bytes: int = TILE_BYTES) -> Iterator[tuple[int, int]]:
    """Cut ``range(count)`` into parts whose rows fit a budget.

    Parameters
    ----------
    count : int
        Rows in all.
    row_bytes : int
        Bytes that one row takes.
    budget_bytes : int, default 4 MiB
        Bytes per part; a part holds at least one row.

    Yields
    ------
    tuple of (int, int)
        Start and stop.
    """
    step = max(1, budget_bytes // max(1, row_bytes))
    for start in range(0, count, step):
        yield start, min(start + step, count)


def norms(X: FloatArray) -> Float64Array:
    """Return the Euclidean norm of each row, accumulated in float64.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Vectors; may be memory-mapped.

    Returns
    -------
    ndarray of shape (n,), float64
        The norms.
    """
    out = np.empty(len(X), dtype=np.float64)
    for start, stop in row_chunks(len(X), X.shape[1] * 8):
        part = X[start:stop].astype(np.float64)
        np.sqrt(np.einsum("ij,ij->i", part, part), out=out[start:stop])
    return out


def inverse_norms(X: FloatArray) -> FloatArray:
    """Return one over the norm of each row; rows of norm zero give infinity.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Vectors.

    Returns
    -------
    ndarray of shape (n,), float32
        The factors that turn a dot product with a unit vector into a cosine.
    """
    with np.errstate(divide="ignore", over="ignore"):
        return (1.0 / norms(X)).astype(np.float32)


def row_scale(row_norms: Float64Array, metric: Metric) -> FloatArray:
    """Return what a tile of this metric needs to know of each row besides the vector.

    Parameters
    ----------
    row_norms : ndarray of shape (n,), float64
        Euclidean norms.
    metric : {"dot", "cosine", "l2"}
        The score.

    Returns
    -------
    ndarray of shape (n,), float32
        The inverse norm for cosine, the squared norm for l2, the norm for dot.
    """
    with np.errstate(divide="ignore", over="ignore"):
        if metric == "cosine":
            return (1.0 / row_norms).astype(np.float32)
        if metric == "l2":
            return (row_norms * row_norms).astype(np.float32)
        return row_norms.astype(np.float32)


def tile_scores(
    Q: npt.NDArray[Any], X: npt.NDArray[Any], scale: npt.NDArray[Any] | None, metric: Metric
) -> npt.NDArray[Any]:
    """Return all scores of a tile by one matrix product, in the dtype of its arguments.

    Parameters
    ----------
    Q : ndarray of shape (q, d), float32 or float64
        Queries; unit vectors for cosine.
    X : ndarray of shape (m, d), same dtype
        Rows.
    scale : ndarray of shape (m,) or None
        ``row_scale`` of the rows. None computes it here, in the dtype of X; dot needs none.
    metric : {"dot", "cosine", "l2"}
        The score.

    Returns
    -------
    ndarray of shape (q, m)
        Scores within ``tile_bound`` of the truth.
    """
    # A single query goes through gemv: one pass over the rows, nothing packed or copied.
    out = dot_rows(X, Q[0])[None, :] if len(Q) == 1 else np.matmul(Q, X.T)
    if metric == "dot":
        return out
    if scale is None:
        squared = np.einsum("ij,ij->i", X, X)
        scale = 1.0 / np.sqrt(squared) if metric == "cosine" else squared
    if metric == "cosine":
        out *= scale
        return out
    out *= 2
    out -= scale
    out -= np.einsum("ij,ij->i", Q, Q)[:, None]
    return out


def tile_bound(
    query_norms: Float64Array, largest_norm: float, dim: int, metric: Metric, dtype: npt.DTypeLike = np.float32
) -> Float64Array:
    """Bound how far ``tile_scores`` can be from the truth, for each query.

    Parameters
    ----------
    query_norms : ndarray of shape (q,), float64
        Norms of the queries; ignored for cosine.
    largest_norm : float
        Largest norm among the rows of the tile; ignored for cosine.
    dim : int
        Dimension.
    metric : {"dot", "cosine", "l2"}
        The score.
    dtype : dtype, default float32
        Precision of the tile.

    Returns
    -------
    ndarray of shape (q,), float64
        Absolute error at most.

    Notes
    -----
    A sum of d products in any order is within ``d u |q| |x|`` of the truth to first order, u being half the machine
    epsilon. The constants leave room for the rounding of norms, of the scale and of the final operations.
    """
    u = float(np.finfo(dtype).eps) / 2
    if metric == "cosine":
        return np.full(len(query_norms), (dim + 16) * u * 1.01)
    product = query_norms * largest_norm
    if metric == "dot":
        return (dim + 8) * u * 1.01 * product
    return 2.02 * (dim + 8) * u * product + 8 * u * (query_norms + largest_norm) ** 2


def pair_scores(A: npt.NDArray[Any], B: npt.NDArray[Any], metric: Metric) -> Float64Array:
    """Return the score of row i of A with row i of B in float64, by the defining formula.

    Parameters
    ----------
    A, B : ndarray of shape (m, d), float32
        Rows to compare; zero rows have no cosine.
    metric : {"dot", "cosine", "l2"}
        The score.

    Returns
    -------
    ndarray of shape (m,), float64
        Scores; a row's value does not depend on its place.
    """
    a, b = A.astype(np.float64), B.astype(np.float64)
    if metric == "l2":
        a -= b
        return -np.einsum("ij,ij->i", a, a)
    out = np.einsum("ij,ij->i", a, b)
    if metric == "cosine":
        out /= np.sqrt(np.einsum("ij,ij->i", a, a)) * np.sqrt(np.einsum("ij,ij->i", b, b))
    return out


def exact_scores(Q: FloatArray, X: FloatArray, metric: Metric) -> FloatArray:
    """Return every score of a small set of rows, exact to float32 rounding.

    Parameters
    ----------
    Q : ndarray of shape (q, d), float32
        Queries.
    X : ndarray of shape (m, d), float32
        Rows; meant for few, since each pair is computed on its own.
    metric : {"dot", "cosine", "l2"}
        The score.

    Returns
    -------
    ndarray of shape (q, m), float32
        The scores.
    """
    out = np.empty((len(Q), len(X)), dtype=np.float32)
    for i, query in enumerate(Q):
        for start, stop in row_chunks(len(X), X.shape[1] * 16):
            part = X[start:stop]
            out[i, start:stop] = to_float32(pair_scores(np.broadcast_to(query, part.shape), part, metric))
    return out


def to_float32(scores: Float64Array) -> FloatArray:
    """Round scores to float32, keeping them finite.

    Parameters
    ----------
    scores : ndarray of float64
        Scores of real pairs.

    Returns
    -------
    ndarray of float32
        Clipped to the finite range, since -inf means "no neighbour".
    """
    return np.clip(scores, _FLOAT32.min, _FLOAT32.max).astype(np.float32)
