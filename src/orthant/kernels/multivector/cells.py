"""MaxSim where tokens are known by their cells only: the best table entry for each query vector, summed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.kernels.rows import plain, uses_kernel
from orthant.types import FloatArray

__all__ = ["GROUP", "cell_scores"]

GROUP = "cells"
_CHUNK_VALUES = 1 << 20


def _examples() -> Iterator[tuple[Any, ...]]:
    table, cells, spans = np.zeros((1, 1), np.float32), np.zeros(1, np.int32), np.array([[0, 1]])
    yield plain(table), plain(np.ones(1, np.bool_)), plain(cells), plain(spans), np.zeros(1, np.float32)


@kernel(group=GROUP, examples=_examples)
def _score_range(table: Any, kept: Any, cells: Any, spans: Any, out: Any) -> None:
    width = table.shape[1]
    best = np.empty(width, np.float32)
    for i in range(len(spans)):
        best[:] = np.float32(0.0)
        for t in range(spans[i, 0], spans[i, 1]):
            cell = cells[t]
            if kept[cell]:
                for j in range(width):
                    best[j] = max(best[j], table[cell, j])
        total = np.float32(0.0)
        for j in range(width):
            total += best[j]
        out[i] = total


def cell_scores(
    table: FloatArray,
    kept: npt.NDArray[np.bool_],
    cells: npt.NDArray[np.int32],
    spans: npt.NDArray[np.int64],
    *,
    compiled: bool | None = None,
) -> FloatArray:
    """Return the score of a query with each set, every token standing at the centroid of its cell.

    Parameters
    ----------
    table : ndarray of shape (K, m), float32
        Dot product of each centroid with each of the m query vectors.
    kept : ndarray of shape (K,), bool
        Cells that count; tokens of others are passed over.
    cells : ndarray of shape (T,), int32
        Cell of each token.
    spans : ndarray of shape (n, 2), int64
        Set i has the tokens ``spans[i, 0]`` to ``spans[i, 1]``, one at least.
    compiled : bool, optional
        True and False force the kernel or NumPy.

    Returns
    -------
    ndarray of shape (n,), float32
        ``sum_j max(0, max over kept tokens of table[cell, j])``.

    Notes
    -----
    Cost: m comparisons for each token of a kept cell, none for the others.
    """
    out = np.zeros(len(spans), dtype=np.float32)
    lengths = spans[:, 1] - spans[:, 0]
    if uses_kernel(GROUP, compiled, int(lengths.sum()) * table.shape[1]):
        _score_range(plain(table), plain(kept), plain(cells), plain(spans), out)
        return out
    floor = np.where(kept[:, None], np.maximum(table, 0), np.float32(0))
    ends = np.cumsum(lengths)
    begin = 0
    while begin < len(spans):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _CHUNK_VALUES // table.shape[1], side="right")))
        starts = ends[begin:end] - lengths[begin:end] - before
        places = np.repeat(spans[begin:end, 0] - starts, lengths[begin:end]) + np.arange(int(ends[end - 1]) - before)
        out[begin:end] = np.maximum.reduceat(floor[cells[places]], starts, axis=0).sum(axis=1)
        begin = end
    return out
