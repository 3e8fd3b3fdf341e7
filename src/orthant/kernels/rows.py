"""Scores of queries against stored rows in float32, float16 or uint8, by portable kernels and by NumPy.

Queries are float32 and sums are float32. float16 rows come as their bits, since Numba knows no half precision on a
processor: exponent and fraction are moved into a float32, and one factor at the end restores the scale, exactly for
every finite half, subnormal ones included.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.kernels.distances import norms, row_chunks, row_scale, tile_scores
from orthant.kernels.warmup import ensure_compiling, is_ready
from orthant.types import FloatArray, Metric

__all__ = [
    "dot_half",
    "dot_row",
    "plain",
    "row_scores",
    "squared_distance",
    "squared_distance_half",
    "squared_distances",
    "uses_kernel",
]

# Products of one call: below the first NumPy is as fast, from the second on a compiler is worth starting.
_WORTH_A_KERNEL = 1 << 14
_WORTH_A_COMPILER = 1 << 22
# A batch of queries shares the conversion of a tile and goes through one matrix product.
_BATCH = 8
_SUMS = {"reassoc", "contract", "nsz"}


def uses_kernel(group: str, compiled: bool | None, work: int) -> bool:
    """Choose between a kernel and NumPy, so that no call waits for a compiler.

    Parameters
    ----------
    group : str
        The kernel's group.
    compiled : bool or None
        The caller's wish; True waits for the compiler.
    work : int
        Products or values of the call.

    Returns
    -------
    bool
        Without a wish, True where the group is compiled and the work is not tiny. A large call starts the
        compiler behind it, once.
    """
    if compiled is not None or work < _WORTH_A_KERNEL:
        return bool(compiled)
    if is_ready(group):
        return True
    if work >= _WORTH_A_COMPILER:
        ensure_compiling(group)
    return False


def _examples() -> Iterator[tuple[Any, ...]]:
    Q, out = plain(np.zeros((1, 1), np.float32)), np.zeros((1, 1), np.float32)
    for dtype in (np.float32, np.uint8):
        yield Q, plain(np.zeros((1, 1), dtype)), out


def _half_examples() -> Iterator[tuple[Any, ...]]:
    Q, out = plain(np.zeros((1, 1), np.float32)), np.zeros((1, 1), np.float32)
    yield Q, plain(np.zeros((1, 1), np.float16)), out


@kernel(fastmath=_SUMS)
def dot_row(q: Any, x: Any) -> Any:
    """Return the dot product of a float32 query with one row.

    Parameters
    ----------
    q : ndarray of shape (d,), float32
        The query.
    x : ndarray of shape (d,), float32 or uint8
        The row.

    Returns
    -------
    float32
        The sum, in any order.
    """
    total = np.float32(0.0)
    for j in range(q.shape[0]):
        total += q[j] * np.float32(x[j])
    return total


@kernel(fastmath=_SUMS)
def squared_distance(q: Any, x: Any) -> Any:
    """Return the squared Euclidean distance of a float32 query and one row.

    Parameters
    ----------
    q : ndarray of shape (d,), float32
        The query.
    x : ndarray of shape (d,), float32 or uint8
        The row.

    Returns
    -------
    float32
        The sum of squared differences, in any order.
    """
    total = np.float32(0.0)
    for j in range(q.shape[0]):
        difference = q[j] - np.float32(x[j])
        total += difference * difference
    return total


@kernel(fastmath=_SUMS)
def dot_half(q: Any, x: Any) -> Any:
    """Return the dot product of a float32 query with one float16 row.

    Parameters
    ----------
    q : ndarray of shape (d,), float32
        The query.
    x : ndarray of shape (d,), uint16
        Bits of the row's finite float16 values.

    Returns
    -------
    float32
        The sum, in any order.
    """
    total = np.float32(0.0)
    for j in range(q.shape[0]):
        half = np.int32(x[j])
        bits = np.int32(((half & 0x8000) << 16) | ((half & 0x7FFF) << 13))
        total += q[j] * (bits.view(np.float32) * np.float32(2.0**112))
    return total


@kernel(fastmath=_SUMS)
def squared_distance_half(q: Any, x: Any) -> Any:
    """Return the squared Euclidean distance of a float32 query and one float16 row.

    Parameters
    ----------
    q : ndarray of shape (d,), float32
        The query.
    x : ndarray of shape (d,), uint16
        Bits of the row's finite float16 values.

    Returns
    -------
    float32
        The sum of squared differences, in any order.
    """
    total = np.float32(0.0)
    for j in range(q.shape[0]):
        half = np.int32(x[j])
        bits = np.int32(((half & 0x8000) << 16) | ((half & 0x7FFF) << 13))
        difference = q[j] - bits.view(np.float32) * np.float32(2.0**112)
        total += difference * difference
    return total


@kernel(group="rows", examples=_examples)
def _dot_range(Q: Any, X: Any, out: Any) -> None:
    for i in range(X.shape[0]):
        for query in range(Q.shape[0]):
            out[query, i] = dot_row(Q[query], X[i])


@kernel(group="rows", examples=_examples)
def _distance_range(Q: Any, X: Any, out: Any) -> None:
    for i in range(X.shape[0]):
        for query in range(Q.shape[0]):
            out[query, i] = squared_distance(Q[query], X[i])


@kernel(group="rows", examples=_half_examples)
def _dot_half_range(Q: Any, X: Any, out: Any) -> None:
    for i in range(X.shape[0]):
        for query in range(Q.shape[0]):
            out[query, i] = dot_half(Q[query], X[i])


@kernel(group="rows", examples=_half_examples)
def _distance_half_range(Q: Any, X: Any, out: Any) -> None:
    for i in range(X.shape[0]):
        for query in range(Q.shape[0]):
            out[query, i] = squared_distance_half(Q[query], X[i])


def plain(X: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only base-class view, so that a kernel is compiled once for maps, frozen and writable arrays.

    Parameters
    ----------
    X : ndarray of any shape
        Any C-contiguous array; float16 comes back as its bits.

    Returns
    -------
    ndarray of the same shape
        A view, or a copy where X was not C-contiguous.
    """
    view = np.ascontiguousarray(X).view()
    if view.dtype == np.float16:
        view = view.view(np.uint16)
    view.flags.writeable = False
    return view


def squared_distances(Q: FloatArray, X: FloatArray, *, compiled: bool | None = None) -> FloatArray:
    """Return squared distances as sums of squared differences, which near vectors survive without cancellation.

    Parameters
    ----------
    Q : ndarray of shape (q, d), float32
        Queries.
    X : ndarray of shape (n, d), float32, float16 or uint8
        Finite rows.
    compiled : bool, optional
        True and False force the kernel or NumPy.

    Returns
    -------
    ndarray of shape (q, n), float32
        The distances.
    """
    out = np.empty((len(Q), len(X)), dtype=np.float32)
    if uses_kernel("rows", compiled, len(Q) * X.size):
        run = _distance_half_range if X.dtype == np.float16 else _distance_range
        run(plain(Q), plain(X), out)
        return out
    for start, stop in row_chunks(len(X), X.shape[1] * 4):
        tile = np.asarray(X[start:stop], dtype=np.float32)
        for query, row in zip(Q, out, strict=True):
            difference = tile - query
            np.einsum("ij,ij->i", difference, difference, out=row[start:stop])
    return out


def row_scores(
    Q: FloatArray, X: npt.NDArray[Any], metric: Metric, *, scale: FloatArray | None = None, compiled: bool | None = None
) -> FloatArray:
    """Score queries against rows stored in float32, float16 or uint8.

    Parameters
    ----------
    Q : ndarray of shape (q, d), float32
        Queries; unit vectors for cosine.
    X : ndarray of shape (n, d), float32, float16 or uint8
        Finite rows.
    metric : {"dot", "cosine", "l2"}
        The score.
    scale : ndarray of shape (n,), float32, optional
        ``row_scale`` of the rows; left out, it is computed for each call. Rows of norm zero score 0 under cosine.
    compiled : bool, optional
        True and False force the kernel or NumPy; left out, few queries over much data take the kernel.

    Returns
    -------
    ndarray of shape (q, n), float32
        Scores, larger is closer, within ``tile_bound`` of the truth.

    Notes
    -----
    Cost O(q n d): one pass over X for each query in the kernel, one for each tile of NumPy.
    """
    if len(Q) >= _BATCH and metric != "l2" and compiled is None:
        compiled = False
    if metric == "cosine" and scale is None:
        scale = row_scale(norms(X), "cosine")
    if metric == "cosine" and scale is not None:
        scale = np.where(np.isfinite(scale), scale, np.float32(0))
    out = np.empty((len(Q), len(X)), dtype=np.float32)
    if not uses_kernel("rows", compiled, len(Q) * X.size):
        for start, stop in row_chunks(len(X), X.shape[1] * 4):
            part = scale[start:stop] if scale is not None and metric != "dot" else None
            tile = np.asarray(X[start:stop], dtype=np.float32)
            out[:, start:stop] = tile_scores(Q, tile, part, metric)
        return out
    if metric == "l2":
        return -squared_distances(Q, X, compiled=True)
    run = _dot_half_range if X.dtype == np.float16 else _dot_range
    run(plain(Q), plain(X), out)
    return out * scale if metric == "cosine" and scale is not None else out
