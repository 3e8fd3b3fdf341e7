"""The nearest centroid of each row: one matrix product, and float64 for the rows that its rounding could decide.

A product in float32 has the distances to about seven digits, and in whatever order the library adds. Rows whose best
two centroids lie closer than the error bound are compared again in float64, so that the label of a row does not depend
on the rows beside it, on threads, or on the library: the torch modules that train codebooks find the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.kernels.distances import row_chunks
from orthant.kernels.rows import plain, uses_kernel
from orthant.threads import map_ranges
from orthant.types import FloatArray, IdArray

__all__ = ["GROUP", "nearest", "squared_errors"]

GROUP = "clustering"
"""The group of kernels that k-means uses."""

_TILE_BYTES = 1 << 20
_SMALLEST_TILE = 64
_PAIR_BYTES = 4 << 20
_PART_WORK = 1 << 20
_LARGEST = np.finfo(np.float32).max
_U = float(np.finfo(np.float32).eps) / 2


def _pick_examples() -> Iterator[tuple[Any, ...]]:
    floats, flags = np.zeros(1, np.float32), np.zeros(1, np.bool_)
    yield np.zeros((1, 1), np.float32), plain(floats), plain(floats), np.zeros(1, np.int64), flags


@kernel(group=GROUP, examples=_pick_examples, fastmath={"nnan", "nsz"})
def _pick_range(products: Any, half: Any, slack: Any, labels: Any, unsure: Any) -> None:
    for i in range(products.shape[0]):
        row = products[i]
        best = np.float32(np.inf)
        for k in range(row.shape[0]):
            row[k] = half[k] - row[k]
            best = min(best, row[k])
        limit = best + slack[i]
        # Every loop without a way out early, so that all are vectorised: where one is close, the sum is its number.
        close, place = np.int32(0), np.int32(0)
        for k in range(row.shape[0]):
            if row[k] <= limit:
                close += np.int32(1)
                place += np.int32(k)
        labels[i] = place
        # A row so long that its squares overflow has a bound that is infinite, and sums that compare with nothing.
        unsure[i] = close != 1 or slack[i] > _LARGEST


def _pick(products: FloatArray, half: FloatArray, slack: FloatArray) -> tuple[IdArray, npt.NDArray[np.bool_]]:
    """Do with NumPy what ``_pick_range`` does."""
    np.subtract(half, products, out=products)
    labels = products.argmin(axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        limit = products[np.arange(len(products)), labels] + slack
        return labels, ((products <= limit[:, None]).sum(axis=1) != 1) | (slack > _LARGEST)


class _Frame:
    """Centroids about their mean and scaled by a power of two, where products lose the fewest digits."""

    def __init__(self, centroids: FloatArray) -> None:
        self.centroids = centroids
        self.shift = centroids.mean(axis=0, dtype=np.float64).astype(np.float32)
        with np.errstate(over="ignore"):
            moved = centroids - self.shift
        largest = float(np.abs(moved).max())
        exponent = np.frexp(largest)[1] if 0 < largest < np.inf else 0
        self.scale = np.float32(2.0 ** float(np.clip(-exponent, -126, 126)))
        self.moved = np.ascontiguousarray((moved * self.scale).T)
        squares = np.einsum("dk,dk->k", self.moved, self.moved, dtype=np.float64)
        self.half = (squares / 2).astype(np.float32)
        self.longest = float(np.sqrt(squares.max()))

    def products(self, rows: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Products with all centroids, and how far apart two half distances must be to be told apart."""
        with np.errstate(over="ignore", invalid="ignore"):
            moved = rows - self.shift
            moved *= self.scale
            lengths = np.sqrt(np.einsum("nd,nd->n", moved, moved))
            slack = 2.02 * (rows.shape[1] + 8) * _U * self.longest * (lengths + self.longest)
            return moved @ self.moved, np.maximum(slack, np.finfo(np.float32).tiny).astype(np.float32)


def nearest(
    X: FloatArray, centroids: FloatArray, *, threads: int | None = None, compiled: bool | None = None
) -> IdArray:
    """Return the centroid nearest to each row in Euclidean distance; the first of several equally near ones.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Finite rows.
    centroids : ndarray of shape (k, d), float32
        Finite centroids, at least one.
    threads : int, optional
        Parts at most; left out, the default. The labels are the same for any.
    compiled : bool, optional
        True and False force the kernel or NumPy for what follows the matrix product. Both give the same labels.

    Returns
    -------
    ndarray of shape (n,), int64
        Labels from 0 to k - 1, those of distances in float64.

    Notes
    -----
    ``|x - c|^2 / 2 = |x|^2 / 2 + (|c|^2 / 2 - <x, c>)``, about the mean of the centroids. The bracket is off by at most
    ``(d + 8) u |c| (|x| + |c|)``, u being half the machine epsilon; rows with a second centroid within twice that
    of the best are decided by sums of squared differences in float64.
    Cost: O(n k d) in one BLAS call for each tile, 1 MiB for each thread.
    """
    labels = np.empty(len(X), dtype=np.int64)
    frame = _Frame(centroids)

    def part(start: int, stop: int) -> None:
        for a, b in row_chunks(stop - start, 4 * len(centroids), max(_TILE_BYTES, _SMALLEST_TILE * 4 * len(centroids))):
            _label_tile(X[start + a : start + b], frame, labels[start + a : start + b], compiled)

    map_ranges(part, len(X), threads=threads, minimum=max(1, _PART_WORK // centroids.size))
    return labels


def _label_tile(rows: FloatArray, frame: _Frame, out: IdArray, compiled: bool | None) -> None:
    products, slack = frame.products(rows)
    if uses_kernel(GROUP, compiled, products.size):
        unsure = np.empty(len(rows), dtype=np.bool_)
        _pick_range(products, plain(frame.half), plain(slack), out, unsure)
    else:
        out[:], unsure = _pick(products, frame.half, slack)
    if unsure.any():
        again = np.flatnonzero(unsure)
        # ``products`` holds half distances by now; what is not finite is compared with every centroid.
        with np.errstate(invalid="ignore", over="ignore"):
            limit = products[again].min(axis=1) + slack[again]
            close = ~(products[again] > limit[:, None]) | (slack[again] > _LARGEST)[:, None]
        out[again] = _nearest_of(rows[again], frame.centroids, close)


def _nearest_of(rows: FloatArray, centroids: FloatArray, close: npt.NDArray[np.bool_]) -> IdArray:
    """Return the nearest among the centroids that ``close`` (rows by centroids) marks, in float64."""
    at, candidate = np.nonzero(close)
    distances = np.empty(len(at), dtype=np.float64)
    for a, b in row_chunks(len(at), 16 * rows.shape[1], _PAIR_BYTES):
        difference = rows[at[a:b]].astype(np.float64) - centroids[candidate[a:b]]
        np.einsum("nd,nd->n", difference, difference, out=distances[a:b])
    first = np.searchsorted(at, np.arange(len(rows)))
    least = np.minimum.reduceat(distances, first)
    hits = np.flatnonzero(distances == least[at])
    return candidate[hits[np.searchsorted(at[hits], np.arange(len(rows)))]]


def squared_errors(X: FloatArray, centroids: FloatArray, labels: IdArray) -> npt.NDArray[np.float64]:
    """Return the squared distance of each row to its centroid.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    centroids : ndarray of shape (k, d), float32
        Centroids.
    labels : ndarray of shape (n,), int64
        A centroid for each row.

    Returns
    -------
    ndarray of shape (n,), float64
        Sums of squared differences.
    """
    out = np.empty(len(X), dtype=np.float64)
    for start, stop in row_chunks(len(X), X.shape[1] * 16, _PAIR_BYTES):
        difference = X[start:stop].astype(np.float64) - centroids[labels[start:stop]]
        np.einsum("nd,nd->n", difference, difference, out=out[start:stop])
    return out
