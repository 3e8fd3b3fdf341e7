"""Where k-means begins: rows drawn far from one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.clustering.nearest import GROUP
from orthant.kernels.compiling import kernel
from orthant.kernels.rows import plain, uses_kernel
from orthant.types import FloatArray

__all__ = ["spread_rows"]

# Drawing from more rows than this for each centroid changes the outcome by less than another seed does.
_ROWS_PER_CENTROID = 16
_FEWEST_ROWS = 8192
# Trials cost as much as all that is drawn; with so many centroids a bad one is soon made good by its neighbours.
_MOST_WITH_TRIALS = 1024


def _shorten_examples() -> Iterator[tuple[Any, ...]]:
    floats, wide = np.zeros(1, np.float32), np.zeros(1)
    yield np.zeros((1, 1), np.float32), plain(floats), plain(floats), np.float32(0), plain(wide), np.zeros((1, 1))


# No fused operations and no other order: the NumPy twin must give the same bits.
@kernel(group=GROUP, examples=_shorten_examples)
def _shorten(products: Any, own: Any, squares: Any, rounding: Any, distances: Any, out: Any) -> None:
    two = np.float32(2.0)
    for t in range(products.shape[0]):
        row, kept = products[t], out[t]
        for i in range(row.shape[0]):
            both = own[t] + squares[i]
            left = both - two * row[i]
            if left <= rounding * both:
                left = np.float32(0.0)
            before = distances[i]
            kept[i] = before if before <= left or before != before else np.float64(left)


def spread_rows(
    X: FloatArray,
    k: int,
    *,
    rng: np.random.Generator,
    weights: npt.NDArray[np.float64] | None = None,
    compiled: bool | None = None,
) -> FloatArray:
    """Draw k rows, each with a probability that grows with its squared distance to those drawn before.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows, more than k.
    k : int
        How many to draw.
    rng : numpy.random.Generator
        Where the randomness comes from.
    weights : ndarray of shape (n,), float64, optional
        Factors of the probabilities, not negative.
    compiled : bool, optional
        True and False force the kernel or NumPy for what follows the matrix products. Both draw the same rows.

    Returns
    -------
    ndarray of shape (k, d), float32
        Rows of X. Where fewer than k differ, the last ones repeat the first.

    Notes
    -----
    Greedy k-means++: of ``2 + ln k`` rows drawn, the one that leaves the smallest sum of squared distances is kept;
    beyond 1,024 centroids the first drawn is. Of large sets a sample of 16 k rows, at least 8,192, is looked at.
    Cost: O(k m d ln k) for a sample of m rows.

    References
    ----------
    Arthur, Vassilvitskii: k-means++: the advantages of careful seeding. SODA 2007, sections 2 and 7.
    """
    most = max(_FEWEST_ROWS, _ROWS_PER_CENTROID * k)
    if len(X) > most:
        chosen = np.sort(rng.choice(len(X), most, replace=False))
        X, weights = X[chosen], None if weights is None else weights[chosen]
    mass = np.ones(len(X)) if weights is None else weights
    centred = X - X.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = np.einsum("nd,nd->n", centred, centred)
    trials = 2 + int(np.log(k)) if k <= _MOST_WITH_TRIALS else 1
    drawn = np.empty(k, dtype=np.int64)
    drawn[0] = _draw(mass, rng, 1)[0]
    distances = _shorter(centred, squares, drawn[:1], np.full(len(X), np.inf), compiled)[0]
    for i in range(1, k):
        if not distances.any():
            drawn[i:] = drawn[0]
            break
        candidates = _draw(mass * distances, rng, trials)
        shorter = _shorter(centred, squares, candidates, distances, compiled)
        best = int(np.argmin(shorter @ mass))
        drawn[i], distances = candidates[best], shorter[best]
    return X[drawn]


def _draw(mass: npt.NDArray[np.float64], rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    total = np.cumsum(mass)
    if total[-1] <= 0:
        return rng.integers(len(mass), size=count)
    return np.minimum(np.searchsorted(total, rng.random(count) * total[-1], side="right"), len(mass) - 1)


def _shorter(
    centred: FloatArray,
    squares: FloatArray,
    rows: npt.NDArray[np.int64],
    distances: npt.NDArray[np.float64],
    compiled: bool | None,
) -> npt.NDArray[np.float64]:
    """Return, for each of some rows, the distances that are left where it is drawn: those to it, where shorter."""
    products = centred[rows] @ centred.T
    # What is left of the distance of a row to its like is rounding, and must not be drawn from.
    rounding = np.float32(4 * centred.shape[1] * np.finfo(np.float32).eps)
    if uses_kernel(GROUP, compiled, products.size):
        found = np.empty(products.shape)
        _shorten(products, plain(squares[rows]), plain(squares), rounding, plain(distances), found)
        return found
    sums = squares[rows, None] + squares
    out = sums - 2 * products
    out[out <= rounding * sums] = 0
    return np.minimum(out.astype(np.float64), distances)
