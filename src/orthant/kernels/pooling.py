"""Weighted sums of table rows over bags of tokens: a NumPy twin and a Numba kernel with the same result.

Each distinct token of a bag counts ``count ** power`` times; the sum is what a mean would be up to a factor that
normalising removes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.types import FloatArray

__all__ = ["pool_bags", "pool_range"]


def pool_bags(
    ids: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[Any],
    scales: FloatArray,
    power: float,
) -> FloatArray:
    """Sum table rows over each bag with NumPy only, for small batches that must not wait for a compiler.

    Parameters
    ----------
    ids : ndarray of shape (T,), int32
        Rows of the table, bag after bag; negative entries are skipped.
    offsets : ndarray of shape (n + 1,), int64
        Bag i is ``ids[offsets[i]:offsets[i + 1]]``.
    table : ndarray of shape (V, d), float32 or int8
        One row per token.
    scales : ndarray of shape (V,), float32
        Factor of each row.
    power : float
        Exponent on the count of a repeated token: 1 gives the plain sum, 0 counts each token once.

    Returns
    -------
    ndarray of shape (n, d), float32
        One sum per bag; zeros where a bag holds no token.

    Notes
    -----
    Cost: O(T log T + T d) time, O(T d) temporary memory.
    """
    bags = len(offsets) - 1
    out = np.zeros((bags, table.shape[1]), dtype=np.float32)
    owners = np.repeat(np.arange(bags, dtype=np.int64), np.diff(offsets))
    known = ids >= 0
    keys, counts = np.unique(owners[known] * len(table) + ids[known], return_counts=True)
    if len(keys) == 0:
        return out
    owners, rows = np.divmod(keys, len(table))
    weights = scales[rows] * _powers(counts, power)
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    out[owners[starts]] = np.add.reduceat(table[rows] * weights[:, None], starts, axis=0)
    return out


def _powers(counts: npt.NDArray[np.int64], power: float) -> FloatArray:
    """Raise counts to a power in float32, with one formula for both twins."""
    return np.power(counts.astype(np.float64), power).astype(np.float32)


def _examples() -> Iterable[tuple[Any, ...]]:
    for dtype in (np.float32, np.int8):
        ids, offsets, counts = np.zeros(1, np.int32), np.zeros(2, np.int64), np.zeros(1, np.int32)
        yield ids, offsets, np.zeros((1, 1), dtype), np.zeros(1, np.float32), 0.5, counts, np.zeros((1, 1), np.float32)


# Fused multiply-adds only: each column is still summed in token order, so a batch changes nothing.
@kernel(fastmath={"contract"}, group="encode", examples=_examples)
def pool_range(
    ids: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    table: npt.NDArray[Any],
    scales: FloatArray,
    power: float,
    counts: npt.NDArray[np.int32],
    out: FloatArray,
) -> None:
    """Sum table rows over each bag, compiled, for batches that are worth a compiler.

    Parameters
    ----------
    ids, offsets, table, scales, power
        As in ``pool_bags``.
    counts : ndarray of shape (V,), int32
        Scratch; zero on entry and on return.
    out : ndarray of shape (n, d), float32
        Filled.

    Notes
    -----
    Cost: O(T d) time and no temporary memory; compiling takes about a second once, then the cache is read.
    """
    dim = table.shape[1]
    for bag in range(len(offsets) - 1):
        begin, end = offsets[bag], offsets[bag + 1]
        for position in range(begin, end):
            if ids[position] >= 0:
                counts[ids[position]] += 1
        for column in range(dim):
            out[bag, column] = 0.0
        for position in range(begin, end):
            row = ids[position]
            # The first occurrence adds for all of them and clears the count, so later ones are passed over.
            if row >= 0 and counts[row] > 0:
                repeats = counts[row]
                counts[row] = 0
                weight = scales[row]
                if repeats > 1:
                    weight = np.float32(weight * np.float32(np.float64(repeats) ** power))
                for column in range(dim):
                    out[bag, column] += weight * np.float32(table[row, column])
