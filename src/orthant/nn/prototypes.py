"""Fixed directions for classes: orthonormal, simplex and equiangular unit vectors, made with NumPy alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import check_count, check_fraction

__all__ = ["equiangular_prototypes", "orthonormal_prototypes", "simplex_prototypes", "welch_bound"]

Wide = npt.NDArray[np.float64]

_BLOCK = 1024
_FIRST_RATE = 0.3
_SMALLEST_RATE = 1e-4


def welch_bound(n: int, dim: int) -> float:
    """Return the smallest largest cosine that n unit vectors in ``dim`` dimensions can have.

    Parameters
    ----------
    n : int
        Vectors, at least 2.
    dim : int
        Dimensions, at least 1.

    Returns
    -------
    float
        0 where n is at most ``dim``. A bound: not every value at or above it can be reached.

    Raises
    ------
    InputError
        n below 2 or ``dim`` below 1.

    Notes
    -----
    ``max |<w_i, w_j>| >= sqrt((n - d) / (d (n - 1)))`` for n > d.

    References
    ----------
    Welch: Lower bounds on the maximum cross correlation of signals. IEEE Transactions on Information Theory 20, 1974.

    Examples
    --------
    >>> round(welch_bound(200, 100), 4)
    0.0709
    """
    n, dim = check_count(n, name="n", minimum=2), check_count(dim, name="dim")
    return 0.0 if n <= dim else float(np.sqrt((n - dim) / (dim * (n - 1))))


def orthonormal_prototypes(n: int, dim: int, *, seed: int = 0) -> FloatArray:
    """Return n mutually orthogonal unit vectors in a random orientation.

    Use them where there are at most as many classes as dimensions; beyond, see `simplex_prototypes` (one more) and
    `equiangular_prototypes`.

    Parameters
    ----------
    n : int
        Vectors, from 1 to ``dim``.
    dim : int
        Dimensions.
    seed : int, default 0
        Of the orientation.

    Returns
    -------
    ndarray of shape (n, dim), float32
        Rows of unit length, pairwise cosine 0.

    Raises
    ------
    InputError
        More vectors than dimensions.

    Notes
    -----
    The Q of a Gaussian matrix. Cost: O(dim n^2).

    Examples
    --------
    >>> W = orthonormal_prototypes(3, 8)
    >>> bool(abs(W @ W.T - np.eye(3)).max() < 1e-6)
    True
    """
    n, dim = check_count(n, name="n"), check_count(dim, name="dim")
    if n > dim:
        raise InputError(
            message(
                f"n={n} orthonormal prototypes in dim={dim}",
                f"at most {dim}",
                "raise dim, or use equiangular_prototypes with a largest cosine",
            )
        )
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, n)))
    return np.ascontiguousarray(basis.T, dtype=np.float32)


def simplex_prototypes(n: int, dim: int | None = None) -> FloatArray:
    """Return the n corners of a regular simplex: every pair of classes equally, and as far as possible, apart.

    Give it more corners than there are classes today: the spare ones keep their places for classes to come, and what
    was learned for the old ones stays comparable.

    Parameters
    ----------
    n : int
        Corners, at least 2.
    dim : int, optional
        Dimensions, at least n - 1, which is the default; further ones are zero.

    Returns
    -------
    ndarray of shape (n, dim), float32
        Rows of unit length, pairwise cosine -1 / (n - 1).

    Raises
    ------
    InputError
        More corners than the dimension allows.

    Notes
    -----
    The rows of the identity in n - 1 dimensions and ``(1 - sqrt(n)) / (n - 1)`` times the vector of ones, minus their
    mean, at unit length. Cost: O(n^2).

    References
    ----------
    Biondi et al.: Stationary Representations: Optimally Approximating Compatibility and Implications for Improved
    Model Replacements. arXiv 2405.02581, section 3.

    Examples
    --------
    >>> W = simplex_prototypes(5)
    >>> W.shape, bool(abs(W @ W.T - np.eye(5) * 1.25 + 0.25).max() < 1e-6)
    ((5, 4), True)
    """
    n = check_count(n, name="n", minimum=2)
    dim = n - 1 if dim is None else check_count(dim, name="dim")
    if dim < n - 1:
        raise InputError(
            message(
                f"n={n} simplex prototypes in dim={dim}",
                f"at most {dim + 1}",
                f"use dim={n - 1} or more, or equiangular_prototypes with a largest cosine",
            )
        )
    corners = np.vstack([np.eye(n - 1), np.full((1, n - 1), (1 - np.sqrt(n)) / (n - 1))])
    corners -= corners.mean(axis=0)
    out = np.zeros((n, dim), dtype=np.float32)
    out[:, : n - 1] = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    return out


def equiangular_prototypes(n: int, dim: int, max_cosine: float, *, seed: int = 0, steps: int = 20_000) -> FloatArray:
    """Return n unit vectors no two of which have an absolute cosine above a limit: many classes in few dimensions.

    Up to ``dim`` vectors are orthonormal and ``dim + 1`` are a simplex, both exact. More are spread by optimisation.

    Parameters
    ----------
    n : int
        Vectors, at least 2.
    dim : int
        Dimensions, at least 2.
    max_cosine : float
        Largest absolute cosine of a pair, below 1. Too small cannot be reached: `welch_bound` is the floor, and
        10 % above it is usually found. Too large leaves classes that look alike.
    seed : int, default 0
        Of the start.
    steps : int, default 20_000
        Steps after which the search gives up.

    Returns
    -------
    ndarray of shape (n, dim), float32
        Rows of unit length; largest absolute cosine of a pair at most ``max_cosine`` (to 1e-6).

    Raises
    ------
    InputError
        ``max_cosine`` below the Welch bound or not below 1, or not reached within ``steps``; the error says how far
        the search came.

    Notes
    -----
    Gradient steps on ``1/2 sum_{i<j} max(0, |<w_i, w_j>| - a)^2`` on the sphere, from normalised Gaussian rows, until
    the largest product is at most a. The step is halved whenever the sum grows. Rows are handled 1,024 at a time, so
    memory is O(1024 n). Cost: O(n^2 dim) per step.

    References
    ----------
    Shen et al.: Equiangular Basis Vectors. arXiv 2303.11637, section 3.2.

    Examples
    --------
    >>> W = equiangular_prototypes(40, 16, 0.4)
    >>> bool(abs(W @ W.T - np.eye(40)).max() <= 0.4 + 1e-6)
    True
    """
    n, dim = check_count(n, name="n", minimum=2), check_count(dim, name="dim", minimum=2)
    check_count(steps, name="steps")
    max_cosine = check_fraction(max_cosine, name="max_cosine")
    floor = welch_bound(n, dim)
    if not floor - 1e-9 <= max_cosine < 1:
        raise InputError(
            message(
                f"max_cosine={max_cosine!r} for n={n} vectors in dim={dim}",
                f"from {floor:.4f} (the Welch bound) to below 1",
                "raise max_cosine or dim, or take fewer vectors",
            )
        )
    if n <= dim:
        return orthonormal_prototypes(n, dim, seed=seed)
    if n == dim + 1:
        return simplex_prototypes(n, dim)
    rows, worst = _spread(np.random.default_rng(seed).standard_normal((n, dim)), max_cosine, steps)
    if worst > max_cosine:
        raise InputError(
            message(
                f"max_cosine={max_cosine!r} for n={n} vectors in dim={dim}, where {steps} steps reached {worst:.4f}",
                f"a limit that can be met; the Welch bound is {floor:.4f}",
                "raise max_cosine, dim or steps",
            )
        )
    return rows.astype(np.float32)


def _spread(rows: Wide, limit: float, steps: int) -> tuple[Wide, float]:
    """Push pairs above the limit apart; return the best rows seen and their largest absolute cosine."""
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    # A little below the limit, so that it is crossed and not only approached.
    aim = limit * (1 - 1e-3)
    loss, worst, slope = _push(rows, aim)
    rate = _FIRST_RATE
    for _ in range(steps):
        if worst <= limit or rate < _SMALLEST_RATE:
            break
        moved = rows - rate * slope
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        found = _push(moved, aim)
        if found[0] > loss:
            rate /= 2
            continue
        rows, (loss, worst, slope) = moved, found
        rate = min(rate * 1.05, 1.0)
    return rows, worst


def _push(rows: Wide, aim: float) -> tuple[float, float, Wide]:
    """Return the sum of squared excesses, the largest absolute cosine and the gradient, a block of rows at a time."""
    loss, worst, slope = 0.0, 0.0, np.empty_like(rows)
    for start in range(0, len(rows), _BLOCK):
        stop = min(start + _BLOCK, len(rows))
        products = rows[start:stop] @ rows.T
        products[np.arange(stop - start), np.arange(start, stop)] = 0.0
        size = np.abs(products)
        worst = max(worst, float(size.max()))
        excess = np.maximum(size - aim, 0.0)
        loss += float((excess**2).sum())
        slope[start:stop] = (np.sign(products) * excess) @ rows
    return loss, worst, slope
