"""k-means: Lloyd's iterations on all rows, or on small batches of very many."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.clustering.nearest import GROUP, nearest, squared_errors
from orthant.kernels.clustering.seeding import spread_rows
from orthant.kernels.compiling import kernel
from orthant.kernels.rows import plain, uses_kernel
from orthant.threads import map_ranges
from orthant.types import FloatArray, IdArray

__all__ = ["Clustering", "cluster_sums", "kmeans"]

_PART_VALUES = 1 << 20
# A centroid of a batch run that gets less than this share of a fair part is moved elsewhere.
_STARVED = 0.01


@dataclass(frozen=True)
class Clustering:
    """What k-means found.

    Attributes
    ----------
    centroids : ndarray of shape (k, d), float32
        Means of the clusters.
    labels : ndarray of shape (n,), int64
        The nearest centroid of each row.
    counts : ndarray of shape (k,), int64
        Rows of each cluster; 0 only where fewer than k rows differ, or the iterations ended on an empty one.
    inertia : float
        Sum of squared distances of the rows to their centroids, times the weights.
    iterations : int
        Passes over the rows.
    converged : bool
        False where the iterations ended first.
    """

    centroids: FloatArray
    labels: IdArray
    counts: IdArray
    inertia: float
    iterations: int
    converged: bool


def _examples() -> Iterator[tuple[Any, ...]]:
    labels, weights = plain(np.zeros(1, np.int64)), plain(np.ones(1))
    yield plain(np.zeros((1, 1), np.float32)), labels, weights, 0, 1, np.zeros((1, 1))


@kernel(group=GROUP, examples=_examples)
def _sum_range(X: Any, labels: Any, weights: Any, first: Any, last: Any, sums: Any) -> None:
    # Rows in order within every column, and no fused operations: the NumPy twin must give the same bits.
    for i in range(X.shape[0]):
        row = sums[labels[i]]
        for j in range(first, last):
            row[j] += weights[i] * np.float64(X[i, j])


def cluster_sums(
    X: FloatArray,
    labels: IdArray,
    k: int,
    *,
    weights: npt.NDArray[np.float64] | None = None,
    threads: int | None = None,
    compiled: bool | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the weighted sum of the rows of each cluster, and the weight of each cluster.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    labels : ndarray of shape (n,), int64
        Cluster of each row, from 0 to k - 1.
    k : int
        Number of clusters.
    weights : ndarray of shape (n,), float64, optional
        Weight of each row; left out, 1.
    threads : int, optional
        Parts at most. The sums are the same to the last bit for any, since columns are split and not rows.
    compiled : bool, optional
        True and False force the kernel or NumPy. Both give the same bits.

    Returns
    -------
    sums : ndarray of shape (k, d), float64
        Sums in the order of the rows.
    mass : ndarray of shape (k,), float64
        Sums of weights.
    """
    mass = np.bincount(labels, weights=weights, minlength=k).astype(np.float64)
    sums = np.zeros((k, X.shape[1]), dtype=np.float64)
    if uses_kernel(GROUP, compiled, X.size):
        rows, own = plain(X), plain(labels)
        factors = plain(np.ones(len(X)) if weights is None else weights)
        columns = max(8, _PART_VALUES // max(1, len(X)))
        map_ranges(
            lambda a, b: _sum_range(rows, own, factors, a, b, sums), X.shape[1], threads=threads, minimum=columns
        )
        return sums, mass
    for j in range(X.shape[1]):
        column = X[:, j].astype(np.float64)
        sums[:, j] = np.bincount(labels, weights=column if weights is None else column * weights, minlength=k)
    return sums, mass


def kmeans(
    X: FloatArray,
    k: int,
    *,
    seed: int | np.random.Generator = 0,
    weights: npt.NDArray[np.float64] | None = None,
    initial: FloatArray | None = None,
    iterations: int = 50,
    tolerance: float = 1e-4,
    batch_rows: int | None = None,
    threads: int | None = None,
) -> Clustering:
    """Find k centroids that are near to all rows in squared distance.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Finite rows, at least one.
    k : int
        Number of centroids. With as many as there are rows or more, the rows themselves are returned, and after them
        copies of the last one that are nearest to nothing.
    seed : int or numpy.random.Generator, default 0
        Of the first centroids and of the batches.
    weights : ndarray of shape (n,), float64, optional
        Weight of each row, finite, not negative, not all 0; left out, 1.
    initial : ndarray of shape (k, d), float32, optional
        First centroids; left out, ``spread_rows`` draws them.
    iterations : int, default 50
        Passes over the rows at most. Below 10 the centroids are still moving; beyond 100 little changes.
    tolerance : float, default 1e-4
        Ends when the squared movement of all centroids together falls to this share of the mean variance of a column.
        0 runs until no label changes.
    batch_rows : int, optional
        Rows drawn for each update, from k on. Left out, every update sees all rows, which is exact and for up to some
        hundred thousand rows fast enough. A batch of 10 k or more comes within a few percent in a pass or two.
    threads : int, optional
        Left out, the default. The result is the same for any.

    Returns
    -------
    Clustering
        Labels are those of the centroids returned.

    Notes
    -----
    Lloyd's step takes each row to its nearest centroid and each centroid to the weighted mean of its rows, summed in
    float64. A centroid without rows takes the row farthest from its own, weights considered, in place of dying. In
    batches, a centroid moves to the mean of all rows that it was ever given.
    Cost: O(n k d) for each iteration, and ``O(k m d ln k)`` for the first centroids, m being at most 16 k.

    References
    ----------
    Lloyd: Least squares quantization in PCM. IEEE Transactions on Information Theory 28, 1982.
    Sculley: Web-scale k-means clustering. WWW 2010, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.repeat(np.float32([[0, 0], [10, 0], [0, 10]]), 20, axis=0)
    >>> found = kmeans(X, 3)
    >>> found.inertia, found.counts.tolist()
    (0.0, [20, 20, 20])
    """
    if k >= len(X) and initial is None:
        return _result(X, np.concatenate([X, np.repeat(X[-1:], k - len(X), axis=0)]), weights, 0, True, threads)
    rng = np.random.default_rng(seed)
    first = spread_rows(X, k, rng=rng, weights=weights) if initial is None else initial
    if batch_rows is not None and batch_rows < len(X):
        return _in_batches(X, first, rng, weights, iterations, tolerance, batch_rows, threads)
    centroids, labels = first, nearest(X, first, threads=threads)
    least = tolerance * _variance(X, weights)
    done, converged = 0, False
    while done < iterations and not converged:
        moved = _lloyd_step(X, centroids, labels, weights, threads)
        shift = float(((moved.astype(np.float64) - centroids) ** 2).sum())
        before, centroids = labels, moved
        labels = nearest(X, centroids, threads=threads)
        done, converged = done + 1, shift <= least or np.array_equal(before, labels)
    return _result(X, centroids, weights, done, converged, threads, labels)


def _variance(X: FloatArray, weights: npt.NDArray[np.float64] | None) -> float:
    mean = np.average(X, axis=0, weights=weights)
    return float(np.mean([np.average((X[:, j] - mean[j]) ** 2, weights=weights) for j in range(X.shape[1])]))


def _lloyd_step(
    X: FloatArray,
    centroids: FloatArray,
    labels: IdArray,
    weights: npt.NDArray[np.float64] | None,
    threads: int | None,
) -> FloatArray:
    sums, mass = cluster_sums(X, labels, len(centroids), weights=weights, threads=threads)
    empty = np.flatnonzero(mass == 0)
    if len(empty):
        labels = _given_rows(X, centroids, labels, weights, empty)
        sums, mass = cluster_sums(X, labels, len(centroids), weights=weights, threads=threads)
    out = centroids.copy()
    filled = mass > 0
    out[filled] = sums[filled] / mass[filled, None]
    return out


def _given_rows(
    X: FloatArray,
    centroids: FloatArray,
    labels: IdArray,
    weights: npt.NDArray[np.float64] | None,
    empty: IdArray,
) -> IdArray:
    """Return labels in which the empty clusters own the rows that are farthest from their centroids."""
    distances = squared_errors(X, centroids, labels)
    if weights is not None:
        distances = distances * weights
    farthest = np.argsort(-distances, kind="stable")[: len(empty)]
    farthest = farthest[distances[farthest] > 0]
    out = labels.copy()
    out[farthest] = empty[: len(farthest)]
    return out


def _in_batches(
    X: FloatArray,
    first: FloatArray,
    rng: np.random.Generator,
    weights: npt.NDArray[np.float64] | None,
    iterations: int,
    tolerance: float,
    batch_rows: int,
    threads: int | None,
) -> Clustering:
    k, per_pass = len(first), -(-len(X) // batch_rows)
    centroids, seen = first.astype(np.float64), np.zeros(len(first))
    least = tolerance * _variance(X, weights)
    done, converged = 0, False
    while done < iterations and not converged:
        before = centroids.copy()
        for _ in range(per_pass):
            drawn = rng.integers(len(X), size=batch_rows)
            rows, own = X[drawn], None if weights is None else weights[drawn]
            labels = nearest(rows, centroids.astype(np.float32), threads=threads)
            sums, mass = cluster_sums(rows, labels, k, weights=own, threads=threads)
            seen += mass
            moving = mass > 0
            centroids[moving] += (sums[moving] - mass[moving, None] * centroids[moving]) / seen[moving, None]
        starved = np.flatnonzero(seen < _STARVED * seen.sum() / k)
        if len(starved):
            # From the last batch, as if these centroids had just been drawn.
            far = np.argsort(-squared_errors(rows, centroids.astype(np.float32), labels), kind="stable")
            starved = starved[: len(far)]
            centroids[starved], seen[starved] = rows[far[: len(starved)]], seen.sum() / k / 10
        done, converged = done + 1, not len(starved) and float(((centroids - before) ** 2).sum()) <= least
    return _result(X, centroids.astype(np.float32), weights, done, converged, threads)


def _result(
    X: FloatArray,
    centroids: FloatArray,
    weights: npt.NDArray[np.float64] | None,
    iterations: int,
    converged: bool,
    threads: int | None,
    labels: IdArray | None = None,
) -> Clustering:
    labels = nearest(X, centroids, threads=threads) if labels is None else labels
    errors = squared_errors(X, centroids, labels)
    inertia = float(errors.sum() if weights is None else errors @ weights)
    return Clustering(centroids, labels, np.bincount(labels, minlength=len(centroids)), inertia, iterations, converged)
