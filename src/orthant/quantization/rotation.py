"""The rotation before product quantization: parts with as much variance each, and as little in common."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.kernels.clustering.kmeans import kmeans
from orthant.threads import map_tasks
from orthant.types import FloatArray

__all__ = ["balanced_directions", "optimised_rotation", "rotate"]

_ROWS = 16_384
_ROUNDS = 12
_STEPS = 2


def rotate(X: FloatArray, rotation: FloatArray, mean: FloatArray) -> FloatArray:
    """Return ``(x - mean) R`` for each row, rounded once.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    rotation : ndarray of shape (d, d), float32
        R.
    mean : ndarray of shape (d,), float32
        Subtracted first.

    Returns
    -------
    ndarray of shape (n, d), float32
        Computed in float64, so that whoever computes the same elsewhere gets the same floats, and the same codes.
    """
    return ((X.astype(np.float64) - mean) @ rotation.astype(np.float64)).astype(np.float32)


def balanced_directions(covariance: npt.NDArray[np.float64], m: int) -> npt.NDArray[np.float64]:
    """Return the principal directions, dealt out so that the m parts have about equal products of variances.

    Parameters
    ----------
    covariance : ndarray of shape (d, d), float64
        Covariance of the vectors.
    m : int
        Parts; divides d.

    Returns
    -------
    ndarray of shape (d, d), float64
        Orthonormal columns; part j has columns j d / m and the d / m - 1 after it.

    References
    ----------
    Ge, He, Ke, Sun: Optimized product quantization. IEEE TPAMI 36(4), 2014, section 3.2.
    """
    energies, directions = np.linalg.eigh(covariance)
    size = len(covariance) // m
    logs = np.log(np.maximum(energies, max(float(energies.max()), 1e-300) * 1e-12))
    filled: list[list[int]] = [[] for _ in range(m)]
    sums = np.zeros(m)
    for i in np.argsort(-energies, kind="stable"):
        open_parts = [j for j in range(m) if len(filled[j]) < size]
        part = min(open_parts, key=lambda j: (sums[j], j))
        filled[part].append(int(i))
        # Above 0 for the largest, so that a part with one direction more counts as fuller.
        sums[part] += logs[i] - logs.min()
    return directions[:, [i for part in filled for i in part]]


def optimised_rotation(
    X: FloatArray, *, m: int, entries: int, seed: int
) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
    """Find a rotation and codebooks for it, in turns, that lose little together.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Vectors.
    m : int
        Parts; divides d.
    entries : int
        Codes for each part.
    seed : int
        Of the rows looked at and of the first codebooks.

    Returns
    -------
    rotation : ndarray of shape (d, d), float32
        R, orthonormal to rounding.
    mean : ndarray of shape (d,), float32
        Subtracted before.
    codebooks : list of ndarray of shape (entries, d / m), float32
        Where the final k-means may begin.

    Notes
    -----
    Begins with ``balanced_directions``. In each round every codebook takes two steps of k-means on ``Y = X R``; then R
    becomes the orthogonal matrix with the smallest ``|X R - Y'|``, Y' being Y after the codes: U V^T for the singular
    vectors of ``X^T Y' = U S V^T``. 12 rounds on at most 16,384 rows.

    References
    ----------
    Ge, He, Ke, Sun: Optimized product quantization. IEEE TPAMI 36(4), 2014, section 3.1.
    """
    rng = np.random.default_rng([seed, m])
    rows = X if len(X) <= _ROWS else X[np.sort(rng.choice(len(X), _ROWS, replace=False))]
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = rows - mean
    size = X.shape[1] // m
    rotation = balanced_directions(centred.T.astype(np.float64) @ centred.astype(np.float64) / len(rows), m)
    books: list[FloatArray | None] = [None] * m

    def refined(j: int) -> tuple[FloatArray, FloatArray]:
        part = np.ascontiguousarray(turned[:, j * size : (j + 1) * size])
        found = kmeans(part, entries, seed=np.random.default_rng([seed, j]), initial=books[j], iterations=_STEPS)
        return found.centroids, found.centroids[found.labels]

    for _ in range(_ROUNDS):
        turned = centred @ rotation.astype(np.float32)
        results = map_tasks(refined, range(m))
        books = [book for book, _ in results]
        coded = np.concatenate([values for _, values in results], axis=1)
        left, _, right = np.linalg.svd((centred.T @ coded).astype(np.float64))
        rotation = left @ right
    return rotation.astype(np.float32), mean, [book for book in books if book is not None]
