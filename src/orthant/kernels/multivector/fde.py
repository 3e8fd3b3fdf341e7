"""Sets of vectors folded into cells: what falls into a cell is added up or averaged, repetition by repetition.

Bits and projections of all tokens come from two matrix products; the kernel then walks each set once and adds into the
row that belongs to it, so nothing of size sets x cells x tokens exists. The NumPy twin sorts tokens by cell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.kernels.rows import plain, uses_kernel
from orthant.threads import map_ranges
from orthant.types import FloatArray

__all__ = ["GROUP", "Folding", "cell_numbers", "fold_sets"]

GROUP = "fde"
_CHUNK_BYTES = 8 << 20
_PART_VALUES = 1 << 20
Offsets = npt.NDArray[np.int64]
Cells = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Folding:
    """The random parts of an encoding, the same for both sides.

    Attributes
    ----------
    repetitions, bits, inner : int
        Partitions, hyperplanes of each, and columns of a cell.
    planes : ndarray of shape (d, repetitions * bits), float32
        Normals of the hyperplanes.
    projection : ndarray of shape (d, repetitions * inner), float32, or None
        What is added into cells; None adds the vectors themselves (inner = d).
    targets : ndarray of shape (D,), int64, or None
        Count sketch: where each of the D = repetitions * 2^bits * inner columns goes.
    signs : ndarray, float32, or None
        Of shape (D,) with ``targets``; of shape (D, final), a dense projection; None keeps all columns.
    final : int
        Columns of the result.
    """

    repetitions: int
    bits: int
    inner: int
    planes: FloatArray
    projection: FloatArray | None
    targets: npt.NDArray[np.int64] | None
    signs: FloatArray | None
    final: int


def _examples() -> Iterator[tuple[Any, ...]]:
    cells, rows = plain(np.zeros((1, 1), np.int32)), plain(np.zeros((1, 1, 1), np.float32))
    yield cells, rows, plain(np.array([0, 1])), True, True, np.zeros((1, 1, 1, 1), np.float32)


@kernel
def _differing_bits(a: Any, b: Any) -> Any:
    rest, count = a ^ b, 0
    while rest:
        rest &= rest - 1
        count += 1
    return count


@kernel(group=GROUP, examples=_examples)
def _fold_range(cells: Any, rows: Any, offsets: Any, mean: Any, fill: Any, out: Any) -> None:
    width = out.shape[3]
    counts = np.zeros(out.shape[2], np.int64)
    for item in range(len(offsets) - 1):
        first, last = offsets[item], offsets[item + 1]
        for r in range(out.shape[1]):
            source = r if rows.shape[1] > 1 else 0
            counts[:] = 0
            for t in range(first, last):
                cell = cells[t, r]
                counts[cell] += 1
                for j in range(width):
                    out[item, r, cell, j] += rows[t, source, j]
            for cell in range(len(counts)):
                if counts[cell] > 1 and mean:
                    for j in range(width):
                        out[item, r, cell, j] /= np.float32(counts[cell])
                if counts[cell] == 0 and fill and last > first:
                    best, least = first, 64
                    for t in range(first, last):
                        apart = _differing_bits(cells[t, r], cell)
                        if apart < least:
                            best, least = t, apart
                    for j in range(width):
                        out[item, r, cell, j] = rows[best, source, j]


def _fold_sorted(cells: Cells, rows: FloatArray, offsets: Offsets, mean: bool, fill: bool, out: FloatArray) -> None:
    """Do with NumPy what ``_fold_range`` does."""
    items, repetitions, count, _ = out.shape
    lengths = np.diff(offsets)
    owner = np.repeat(np.arange(items), lengths)
    position = np.arange(len(cells)) - np.repeat(offsets[:-1] - offsets[0], lengths)
    numbers = np.arange(count, dtype=np.int64)
    filled = np.flatnonzero(lengths)
    for r in range(repetitions):
        source = rows[:, r if rows.shape[1] > 1 else 0]
        keys = owner * count + cells[:, r]
        order = np.argsort(keys, kind="stable")
        present, first, sizes = np.unique(keys[order], return_index=True, return_counts=True)
        if len(present):
            sums = np.add.reduceat(source[order], first, axis=0)
            if mean:
                sums /= sizes[:, None].astype(np.float32)
            out[present // count, r, present % count] = sums
        if fill and len(filled):
            # Distance first, then the place in the set: the smallest is the first of the nearest tokens.
            apart = np.bitwise_count(cells[:, r, None].astype(np.int64) ^ numbers)
            ranked = apart.astype(np.int64) * (int(lengths.max()) + 1) + position[:, None]
            starts = (offsets[:-1] - offsets[0])[filled]
            chosen = np.minimum.reduceat(ranked, starts, axis=0) % (int(lengths.max()) + 1)
            empty = np.ones((items, count), dtype=bool)
            empty[present // count, present % count] = False
            at, cell = np.nonzero(empty[filled])
            out[filled[at], r, cell] = source[starts[at] + chosen[at, cell]]


def cell_numbers(values: FloatArray, planes: FloatArray, bits: int) -> Cells:
    """Return the cell of each vector in each partition.

    Parameters
    ----------
    values : ndarray of shape (T, d), float32
        Vectors.
    planes : ndarray of shape (d, repetitions * bits), float32
        Normals, those of one partition side by side.
    bits : int
        Hyperplanes of a partition; 0 makes one cell.

    Returns
    -------
    ndarray of shape (T, max(1, repetitions)), int32
        Bit j is set where the product with the j-th normal is above 0.
    """
    if not bits:
        return np.zeros((len(values), 1), dtype=np.int32)
    above = (values @ planes > 0).reshape(len(values), -1, bits)
    powers = (1 << np.arange(bits)).astype(np.int32)
    return np.ascontiguousarray((above * powers).sum(axis=2, dtype=np.int32))


def fold_sets(
    values: FloatArray,
    offsets: Offsets,
    folding: Folding,
    *,
    mean: bool,
    fill: bool,
    threads: int | None = None,
    compiled: bool | None = None,
) -> FloatArray:
    """Return one vector per set.

    Parameters
    ----------
    values : ndarray of shape (T, d), float32
        Vectors of all sets back to back.
    offsets : ndarray of shape (n + 1,), int64
        Set i has rows ``offsets[i]`` to ``offsets[i + 1]``.
    folding : Folding
        Partitions and projections.
    mean : bool
        Average what falls into a cell, as documents do, in place of adding it up, as queries do.
    fill : bool
        Give an empty cell the vector of the set whose cell differs in the fewest bits, the first of several.
    threads : int, optional
        Parts at most; the result is the same for any.
    compiled : bool, optional
        True and False force the kernel or NumPy.

    Returns
    -------
    ndarray of shape (n, folding.final), float32
        The encodings.

    Notes
    -----
    Cost: O(T d repetitions (bits + inner)) for the products and O(T repetitions inner) to fold; filling compares each
    empty cell with each vector of its set. Working memory: 8 MiB and one row at least, for each thread.
    """
    out = np.zeros((len(offsets) - 1, folding.final), dtype=np.float32)
    width = folding.repetitions * (1 << folding.bits) * folding.inner
    chosen = uses_kernel(GROUP, compiled, len(values) * folding.repetitions * folding.inner)

    def run(start: int, stop: int) -> None:
        for a, b in _chunks(offsets, start, stop, 4 * folding.repetitions * folding.inner, 4 * width):
            out[a:b] = _project(_fold(values, offsets[a : b + 1], folding, mean, fill, chosen), folding)

    work = max(1, len(values) * folding.repetitions * folding.inner)
    map_ranges(run, len(out), threads=threads, minimum=max(1, len(out) * _PART_VALUES // work))
    return out


def _chunks(offsets: Offsets, start: int, stop: int, token_bytes: int, row_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield as many sets as fit the working memory, one at least."""
    while start < stop:
        end, room = start + 1, _CHUNK_BYTES - row_bytes
        room -= int(offsets[end] - offsets[start]) * token_bytes
        while end < stop and room > 0:
            room -= row_bytes + int(offsets[end + 1] - offsets[end]) * token_bytes
            end += 1
        yield start, end
        start = end


def _fold(values: FloatArray, offsets: Offsets, folding: Folding, mean: bool, fill: bool, kernel: bool) -> FloatArray:
    part = np.ascontiguousarray(values[offsets[0] : offsets[-1]])
    local = offsets - offsets[0]
    repetitions = folding.repetitions
    cells = cell_numbers(part, folding.planes, folding.bits)
    if cells.shape[1] != repetitions:
        cells = np.zeros((len(part), repetitions), dtype=np.int32)
    projected = part if folding.projection is None else part @ folding.projection
    rows = projected.reshape(len(part), -1, folding.inner)
    out = np.zeros((len(local) - 1, repetitions, 1 << folding.bits, folding.inner), dtype=np.float32)
    filling = fill and folding.bits > 0
    if kernel:
        _fold_range(plain(cells), plain(rows), plain(local), mean, filling, out)
    else:
        _fold_sorted(cells, rows, local, mean, filling, out)
    return out.reshape(len(out), -1)


def _project(rows: FloatArray, folding: Folding) -> FloatArray:
    if folding.signs is None:
        return rows
    if folding.targets is None:
        return np.asarray(rows @ folding.signs, dtype=np.float32)
    order = np.argsort(folding.targets, kind="stable")
    present, first = np.unique(folding.targets[order], return_index=True)
    out = np.zeros((len(rows), folding.final), dtype=np.float32)
    out[:, present] = np.add.reduceat((rows * folding.signs)[:, order], first, axis=1)
    return out
