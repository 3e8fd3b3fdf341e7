"""MaxSim, the score between two sets of vectors: for each query vector its best dot product, summed.

The NumPy twin forms tiles of dot products by BLAS and takes maxima over them; the kernel keeps four query vectors in
registers and never stores a product. Both add in float32 within a dot product and in float64 over query vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.kernels.distances import TILE_BYTES
from orthant.kernels.rows import plain, uses_kernel
from orthant.threads import map_ranges
from orthant.types import FloatArray

__all__ = ["GROUP", "maxsim_scores"]

GROUP = "maxsim"
_SUMS = {"reassoc", "contract", "nsz"}
_WORK_PER_THREAD = 1 << 22
Offsets = npt.NDArray[np.int64]


def _examples() -> Iterator[tuple[Any, ...]]:
    rows, offsets = plain(np.zeros((1, 1), np.float32)), plain(np.zeros(2, np.int64))
    yield rows, offsets, rows, offsets, np.zeros((1, 1), np.float32)


@kernel(fastmath=_SUMS)
def _best_of_four(Q: Any, i: Any, D: Any, first: Any, last: Any) -> Any:
    """Sum over four query vectors of their best dot product with the rows of one document."""
    low = np.float32(-np.inf)
    best_a, best_b, best_c, best_d = low, low, low, low
    for j in range(first, last):
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for t in range(D.shape[1]):
            value = D[j, t]
            a += Q[i, t] * value
            b += Q[i + 1, t] * value
            c += Q[i + 2, t] * value
            d += Q[i + 3, t] * value
        best_a, best_b = max(best_a, a), max(best_b, b)
        best_c, best_d = max(best_c, c), max(best_d, d)
    return np.float64(best_a) + np.float64(best_b) + np.float64(best_c) + np.float64(best_d)


@kernel(fastmath=_SUMS)
def _best_of_one(Q: Any, i: Any, D: Any, first: Any, last: Any) -> Any:
    best = np.float32(-np.inf)
    for j in range(first, last):
        total = np.float32(0)
        for t in range(D.shape[1]):
            total += Q[i, t] * D[j, t]
        best = max(best, total)
    return np.float64(best)


@kernel(group=GROUP, examples=_examples)
def _maxsim_range(Q: Any, q_offsets: Any, D: Any, d_offsets: Any, out: Any) -> None:
    for document in range(len(d_offsets) - 1):
        first, last = d_offsets[document], d_offsets[document + 1]
        for query in range(len(q_offsets) - 1):
            i, end = q_offsets[query], q_offsets[query + 1]
            total = np.float64(0)
            while i + 4 <= end:
                total += _best_of_four(Q, i, D, first, last)
                i += 4
            while i < end:
                total += _best_of_one(Q, i, D, first, last)
                i += 1
            out[query, document] = total


def _maxsim_tiles(Q: FloatArray, q_offsets: Offsets, D: FloatArray, d_offsets: Offsets, out: FloatArray) -> None:
    documents = len(d_offsets) - 1
    budget = max(1, TILE_BYTES // (4 * len(Q)))
    begin = 0
    while begin < documents:
        # As many whole documents as fit a tile, one at least.
        fitting = int(np.searchsorted(d_offsets, d_offsets[begin] + budget, side="right")) - 1
        end = min(max(fitting, begin + 1), documents)
        first, last = d_offsets[begin], d_offsets[end]
        products = np.matmul(D[first:last], Q.T)
        best = np.maximum.reduceat(products, d_offsets[begin:end] - first, axis=0)
        out[:, begin:end] = np.add.reduceat(best.astype(np.float64), q_offsets[:-1], axis=1).T
        begin = end


def maxsim_scores(
    Q: FloatArray,
    q_offsets: Offsets,
    D: FloatArray,
    d_offsets: Offsets,
    *,
    threads: int | None = None,
    compiled: bool | None = None,
) -> FloatArray:
    """Return the MaxSim score of every query with every document.

    Parameters
    ----------
    Q : ndarray of shape (A, d), float32, C-contiguous
        Vectors of all queries back to back.
    q_offsets : ndarray of shape (q + 1,), int64
        Query i has rows ``q_offsets[i]`` to ``q_offsets[i + 1]``, one at least.
    D : ndarray of shape (B, d), float32, C-contiguous
        Vectors of all documents back to back; may be memory-mapped.
    d_offsets : ndarray of shape (n + 1,), int64
        As for the queries; they need not begin at 0.
    threads : int, optional
        Parts that documents are split into at most; left out, all that the process may use.
    compiled : bool, optional
        True and False force the kernel or NumPy; left out, the quicker of those that are ready.

    Returns
    -------
    ndarray of shape (q, n), float32
        ``sum_i max_j <q_i, d_j>``; larger is closer.

    Notes
    -----
    Cost: A B d multiplications; a thread needs a tile of 4 MiB in NumPy, nothing in the kernel.

    References
    ----------
    O. Khattab, M. Zaharia: ColBERT, arXiv:2004.12832, section 3.3.

    Examples
    --------
    >>> Q = np.eye(2, dtype=np.float32)
    >>> D = np.array([[1, 0], [0.5, 0.5], [0, 3]], dtype=np.float32)
    >>> maxsim_scores(Q, np.array([0, 2]), D, np.array([0, 2, 3])).tolist()
    [[1.5, 3.0]]
    """
    documents = len(d_offsets) - 1
    out = np.empty((len(q_offsets) - 1, documents), dtype=np.float32)
    if not out.size:
        return out
    rows = int(d_offsets[-1] - d_offsets[0])
    work = len(Q) * rows * Q.shape[1]
    chosen = uses_kernel(GROUP, compiled, work)

    def run(start: int, stop: int) -> None:
        offsets = d_offsets[start : stop + 1]
        # Each part has columns of its own.
        part = np.empty((len(out), stop - start), dtype=np.float32)
        if chosen:
            _maxsim_range(plain(Q), plain(q_offsets), plain(D), plain(offsets), part)
        else:
            _maxsim_tiles(Q, q_offsets, D, offsets, part)
        out[:, start:stop] = part

    minimum = max(1, documents * _WORK_PER_THREAD // max(1, work))
    map_ranges(run, documents, threads=threads, minimum=minimum)
    return out
