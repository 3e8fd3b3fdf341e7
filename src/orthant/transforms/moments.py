"""Second moments of vectors, gathered once for every linear reduction, and the orthonormal directions in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.kernels.distances import row_chunks
from orthant.types import FloatArray

__all__ = ["SecondMoments", "leading_directions"]

Float64Array = npt.NDArray[np.float64]

_CHUNK_BYTES = 16 << 20


class SecondMoments:
    """Count, sum and Gram matrix of all rows seen; afterwards every cost is independent of their number.

    Parameters
    ----------
    dim : int
        Dimension d; 8 d^2 bytes are held.

    Examples
    --------
    >>> import numpy as np
    >>> moments = SecondMoments(2)
    >>> moments.update(np.array([[1, 0], [3, 0]], dtype=np.float32))
    >>> moments.matrix(centred=True).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self._shift: Float64Array | None = None
        self._sum = np.zeros(dim)
        self._gram = np.zeros((dim, dim))

    def update(self, X: FloatArray) -> None:
        """Add rows.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            Finite vectors.

        Notes
        -----
        Cost O(n d^2), in float64. Sums are kept about the mean of the first batch, so that an offset far larger than
        the spread does not swallow it.
        """
        if not len(X):
            return
        if self._shift is None:
            self._shift = X.mean(axis=0, dtype=np.float64)
        for start, stop in row_chunks(len(X), X.shape[1] * 8, _CHUNK_BYTES):
            part = X[start:stop] - self._shift
            self._sum += part.sum(axis=0)
            self._gram += part.T @ part
        self.count += len(X)

    @property
    def mean(self) -> Float64Array:
        """Mean of all rows, shape (d,)."""
        shift = 0.0 if self._shift is None else self._shift
        return shift + self._sum / max(1, self.count)

    def matrix(self, *, centred: bool) -> Float64Array:
        """Return the covariance, or the second moment about the origin.

        Parameters
        ----------
        centred : bool
            About the mean.

        Returns
        -------
        ndarray of shape (d, d), float64
            Symmetric; divided by the number of rows.
        """
        offset = self._sum / max(1, self.count)
        out = self._gram / max(1, self.count) - np.outer(offset, offset)
        if not centred:
            out += np.outer(self.mean, self.mean)
        return (out + out.T) / 2


def leading_directions(matrix: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return all eigenvectors of a symmetric matrix as rows, largest eigenvalue first.

    Parameters
    ----------
    matrix : ndarray of shape (d, d), float64
        Symmetric and positive semi-definite.

    Returns
    -------
    directions : ndarray of shape (d, d), float64
        Orthonormal rows; the largest entry of each is positive, which fixes the sign.
    energies : ndarray of shape (d,), float64
        Eigenvalues, not below 0.
    """
    energies, columns = np.linalg.eigh(matrix)
    directions = columns.T[::-1].copy()
    largest = np.abs(directions).argmax(axis=1)
    directions *= np.where(directions[np.arange(len(directions)), largest] < 0, -1.0, 1.0)[:, None]
    return directions, np.maximum(energies[::-1], 0.0)
