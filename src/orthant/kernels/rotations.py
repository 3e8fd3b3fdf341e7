"""Random rotations that cost little: Kronecker products of two small matrices behind random signs, Walsh-Hadamard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.types import FloatArray

__all__ = ["factor_pair", "haar", "kronecker_factors", "rotate_rows", "walsh_hadamard"]


def haar(size: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return an orthogonal matrix drawn uniformly.

    Parameters
    ----------
    size : int
        Rows and columns.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    ndarray of shape (size, size), float64
        The Q of a Gaussian matrix, its signs fixed by the diagonal of R.
    """
    rotation, upper = np.linalg.qr(rng.standard_normal((size, size)))
    return np.asarray(rotation * np.where(np.diag(upper) < 0, -1.0, 1.0))


def kronecker_factors(dims: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Draw a rotation of ``dims`` dimensions in factored form.

    Parameters
    ----------
    dims : int
        Dimensions; the closer their factors, the cheaper the rotation. A prime costs as much as a dense matrix.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    signs : ndarray of shape (dims,), float32
        1 or -1.
    left : ndarray of shape (a, a), float32
        Orthogonal; a b = dims.
    right : ndarray of shape (b, b), float32
        Orthogonal.
    """
    a, b = factor_pair(dims)
    signs = np.where(rng.random(dims) < 0.5, -1.0, 1.0)
    left, right = haar(a, rng), haar(b, rng)
    return signs.astype(np.float32), left.astype(np.float32), right.astype(np.float32)


def factor_pair(dims: int) -> tuple[int, int]:
    """Return the sizes of a rotation's factors.

    Parameters
    ----------
    dims : int
        Dimensions.

    Returns
    -------
    tuple of int and int
        a and b with a b = dims, near each other, and b whole vector registers where the dimensions allow it.
    """
    pairs = [(i, dims // i) for i in range(1, dims + 1) if dims % i == 0]
    return min(pairs, key=lambda pair: (pair[0] + pair[1]) * (1 if pair[1] % 16 == 0 else 2))


def walsh_hadamard(X: FloatArray) -> FloatArray:
    """Return rows times the orthonormal Walsh-Hadamard matrix, which is its own inverse.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows; d must be a power of two.

    Returns
    -------
    ndarray of shape (n, d), float32
        New rows of the same lengths. Only sums, differences and one factor: the same bits on every machine.

    Notes
    -----
    Cost: n d log2(d) additions.
    """
    n, d = X.shape
    rows = X
    half = d // 2
    while half:
        # Sums and differences of halves move to the outside: after log2(d) turns every value met every other.
        pairs = rows.reshape(n, -1, 2, half)
        out = np.empty_like(pairs)
        np.add(pairs[:, :, 0], pairs[:, :, 1], out=out[:, :, 0])
        np.subtract(pairs[:, :, 0], pairs[:, :, 1], out=out[:, :, 1])
        rows = out.reshape(n, d)
        half //= 2
    return rows * np.float32(1 / np.sqrt(d))


def _examples() -> Iterable[tuple[Any, ...]]:
    rows, line = np.zeros((1, 1), np.float32), np.zeros(1, np.float32)
    yield rows, line, rows, rows, rows


@kernel(group="graph", examples=_examples, fastmath={"reassoc", "contract"})
def rotate_rows(Z: Any, signs: Any, left: Any, right: Any, out: Any) -> None:
    """Rotate rows: each, times the signs and as an (a, b) matrix M, becomes ``left @ M @ right``.

    Parameters
    ----------
    Z : ndarray of shape (n, a b), float32
        Rows.
    signs, left, right : ndarray
        As ``kronecker_factors`` gives.
    out : ndarray of shape (n, a b), float32
        Written.
    """
    a, b = left.shape[0], right.shape[0]
    middle = np.empty((a, b), np.float32)
    for n in range(len(Z)):
        middle[:] = np.float32(0.0)
        # Rows inside, so that no sum waits for the one just written.
        for m in range(b):
            for i in range(a):
                value = Z[n, i * b + m] * signs[i * b + m]
                for j in range(b):
                    middle[i, j] += value * right[m, j]
        row = out[n].reshape(a, b)
        row[:] = np.float32(0.0)
        for m in range(a):
            for i in range(a):
                value = left[i, m]
                for j in range(b):
                    row[i, j] += value * middle[m, j]
