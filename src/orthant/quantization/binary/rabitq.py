"""Codes of a random rotation with a factor that makes estimates of products unbiased."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.rotations import haar
from orthant.quantization.binary.grid import principal_rows, projected, ratio
from orthant.quantization.binary.signs import STEPS, _Projected, uniform_levels
from orthant.types import CodeArray, FloatArray
from orthant.validate import check_count

__all__ = ["RaBitQ"]

# Steps that are tried for each row, relative to the best one on average.
_TRIED = np.linspace(0.6, 1.5, 13)


class RaBitQ(_Projected):
    """Compress vectors to 1, 2 or 4 bits for each dimension and a factor, for estimates of products without bias.

    For dot products and distances of vectors whose lengths differ, and wherever a score must be right on average, such
    as before a threshold. For cosines alone, `SignCodes` and `ITQ` need no factor.

    Parameters
    ----------
    bits : {1, 2, 4}, default 1
        Bits for each dimension.
    dim : int, optional
        Principal directions kept before the rotation, from 1 to d; left out, none is dropped. Products lose what lies
        in the directions dropped, and are unbiased for the rest.
    seed : int, default 0
        Of the rotation, whose randomness is what estimates are unbiased over.

    Attributes
    ----------
    readout_ : ndarray of shape (dim, d), float32
        Orthonormal rows: the rotation, and the way back.
    code_dim_, n_features_in_ : int
        Dimensions of a code and of a vector.

    Notes
    -----
    With y = R x, R a random rotation, g is the point of the grid with the largest cosine to y: signs for 1 bit; for
    more, the best of 13 steps for each row. ``<q, x>`` is estimated by ``|y|^2 / <g, y> <R q, g>``. Over rotations, the
    part of g across y is symmetric, so the estimate has mean ``<q, x>`` and an error of ``O(|q| |x| / sqrt(dim))``.
    x and q are about the mean of the training vectors, whose own products are added exactly.
    Cost: O(n d dim) to encode, 13 times the comparisons where bits > 1. Bytes: dim bits / 8 and 4.

    References
    ----------
    Gao, Long: RaBitQ. SIGMOD 2024, arXiv 2405.12497, section 3. Gao et al.: Practical and asymptotically optimal
    quantization of high-dimensional vectors. SIGMOD 2025, arXiv 2409.09913, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((500, 64)).astype(np.float32)
    >>> estimates = [RaBitQ(seed=s).fit(X) for s in range(30)]
    >>> mean = np.mean([r.score(X[:1], r.encode(X[1:2]), metric="dot") for r in estimates])
    >>> bool(abs(mean - X[0] @ X[1]) < 0.1 * np.linalg.norm(X[0]) * np.linalg.norm(X[1]))
    True
    """

    _kind = "quantization.rabitq"

    def __init__(self, *, bits: int = 1, dim: int | None = None, seed: int = 0) -> None:
        self.bits = bits
        self.dim = dim
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> RaBitQ:
        """Draw the rotation, and learn the directions where some are dropped.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors; without `dim`, they only tell the dimension.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), ignored
            Present for the protocol.

        Returns
        -------
        RaBitQ
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, or settings out of range.
        """
        rng = np.random.default_rng(check_count(self.seed, name="seed", minimum=0))
        matrix = self._begin(X)
        size = matrix.shape[1]
        directions = np.eye(size, dtype=np.float32) if self.dim is None else principal_rows(matrix, self.dim)
        self._learn(directions, haar(len(directions), rng))
        return self

    def _levels(self, X: FloatArray) -> CodeArray:
        Y = projected(X, self.readout_)
        if self.bits == 1:
            return uniform_levels(Y, 1)
        best, chosen = np.full(len(Y), -np.inf), np.zeros(Y.shape, dtype=np.uint8)
        for step in _TRIED * STEPS[self.bits]:
            levels = uniform_levels(Y, self.bits, step)
            values = 2.0 * levels - ((1 << self.bits) - 1)
            cosines = np.einsum("ij,ij->i", values, Y) / np.sqrt(np.einsum("ij,ij->i", values, values))
            better = cosines > best
            best[better], chosen[better] = cosines[better], levels[better]
        return chosen

    def _constants(self, X: FloatArray, values: FloatArray) -> npt.NDArray[np.float32]:
        Y = projected(X, self.readout_)
        return ratio(np.einsum("ij,ij->i", Y, Y), np.einsum("ij,ij->i", Y, values))
