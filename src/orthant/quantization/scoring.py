"""What the scalar quantizers share: work in parts over threads, cosines, fitting checks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.kernels.distances import norms, row_chunks, to_float32
from orthant.threads import map_ranges
from orthant.types import CodeArray, FloatArray, Metric
from orthant.validate import as_vectors, check_metric

__all__ = ["as_queries", "as_training", "cosines", "score_codes"]

# Products below which a part is not worth a thread.
_PART_WORK = 1 << 20


def as_training(X: npt.ArrayLike) -> FloatArray:
    """Return vectors to fit on, of which there must be at least one.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Vectors.

    Returns
    -------
    ndarray of shape (n, d), float32
        The vectors.

    Raises
    ------
    InputError
        No rows, or what ``as_vectors`` refuses.
    """
    matrix = as_vectors(X)
    if not len(matrix):
        raise InputError(message("0 vectors to fit on", "at least one", "pass a sample of your vectors"))
    return matrix


def as_queries(Q: npt.ArrayLike, dim: int, metric: Metric) -> FloatArray:
    """Return queries that this metric can score.

    Parameters
    ----------
    Q : array-like of shape (q, d)
        Queries.
    dim : int
        Columns required.
    metric : {"dot", "cosine", "l2"}
        The score; checked here.

    Returns
    -------
    ndarray of shape (q, d), float32
        The queries, at unit length for cosine.

    Raises
    ------
    InputError
        Another metric, a zero query under cosine, or what ``as_vectors`` refuses.
    """
    queries = as_vectors(Q, dim=dim, name="queries", nonzero=check_metric(metric) == "cosine")
    if metric == "cosine":
        return (queries / norms(queries)[:, None]).astype(np.float32)
    return queries


def score_codes(
    score: Callable[[CodeArray], npt.NDArray[np.float64]], codes: CodeArray, *, queries: int, dim: int
) -> FloatArray:
    """Score all codes in parts, one part for each thread that pays.

    Parameters
    ----------
    score : callable
        Gives float64 scores of shape (q, m) for m codes.
    codes : ndarray of shape (n, code_size), uint8
        Codes.
    queries : int
        q.
    dim : int
        Dimension, which sizes the parts.

    Returns
    -------
    ndarray of shape (q, n), float32
        Finite scores.
    """
    out = np.empty((queries, len(codes)), dtype=np.float32)

    def part(start: int, stop: int) -> None:
        # A part is cut again, so that float64 sums of a block stay within the caches.
        for a, b in row_chunks(stop - start, 8 * max(1, queries)):
            out[:, start + a : start + b] = to_float32(score(codes[start + a : start + b]))

    if queries and len(codes):
        map_ranges(part, len(codes), minimum=max(1, _PART_WORK // (queries * dim)))
    return out


def cosines(dots: npt.NDArray[np.float64], squared_norms: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Turn dot products with unit queries into cosines.

    Parameters
    ----------
    dots : ndarray of shape (q, n), float64
        Dot products with what codes stand for; changed in place.
    squared_norms : ndarray of shape (n,), float64
        Squared distances of what codes stand for from the origin.

    Returns
    -------
    ndarray of shape (q, n), float64
        Cosines; 0 for a code without direction.
    """
    lengths = np.sqrt(squared_norms)
    lengths[lengths == 0] = np.inf
    dots /= lengths
    return dots
