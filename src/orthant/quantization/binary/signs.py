"""Levels of principal directions, turned: by a random rotation, or by one that suits signs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.estimator import check_is_fitted
from orthant.kernels.rotations import haar
from orthant.quantization.binary.grid import GridQuantizer, principal_rows, projected
from orthant.types import CodeArray, FloatArray
from orthant.validate import check_count

__all__ = ["ITQ", "STEPS", "SignCodes", "uniform_levels"]

Self = TypeVar("Self", bound="_Projected")

STEPS = {1: 1.0, 2: 0.996, 4: 0.335}
"""Step between levels, in standard deviations, with the smallest squared error for a normal distribution."""

_ROWS = 16_384


def uniform_levels(Y: FloatArray, bits: int, step: float | None = None) -> CodeArray:
    """Return the level of each value, with steps that are relative to the length of its row.

    Parameters
    ----------
    Y : ndarray of shape (n, dim), float32
        Rows whose dimensions are about alike, as after a random rotation.
    bits : int
        1, 2 or 4.
    step : float, optional
        Step in root mean squares of the row; left out, that of ``STEPS``.

    Returns
    -------
    ndarray of shape (n, dim), uint8
        ``floor(y / (step * rms)) + 2^(bits - 1)``, from 0 to 2^bits - 1; 0 counts as positive.

    References
    ----------
    Max: Quantizing for minimum distortion. IRE Transactions on Information Theory 6(1), 1960, table II.
    """
    width = np.sqrt(np.einsum("ij,ij->i", Y, Y, dtype=np.float64) / Y.shape[1]) * (STEPS[bits] if step is None else step)
    half = 1 << (bits - 1)
    if bits == 1:
        return (Y >= 0).astype(np.uint8)
    width[width == 0] = 1.0
    return (np.clip(np.floor(Y / width[:, None]), -half, half - 1) + half).astype(np.uint8)


class _Projected(GridQuantizer):
    """Levels of a linear projection with orthonormal rows, which is also the readout."""

    _kind = ""

    def _levels(self, X: FloatArray) -> CodeArray:
        return uniform_levels(projected(X, self.readout_), self.bits)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {"mean": self.mean_, "readout": self.readout_}

    def _learn(self, directions: FloatArray, rotation: npt.NDArray[np.float64]) -> None:
        self.readout_ = (rotation.T @ directions).astype(np.float32)
        self.code_dim_ = len(directions)

    def save(self, path: str | Path) -> None:
        """Write the quantizer to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        write_artifact(path, kind=self._kind, arrays=self._arrays(), config=self.get_params())

    @classmethod
    def load(cls: type[Self], path: str | Path) -> Self:
        """Read a quantizer from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        GridQuantizer
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=cls._kind)
        out = cls(**{name: config[name] for name in cls._parameter_names()})
        out.readout_, out.mean_ = arrays["readout"], arrays["mean"]
        out.code_dim_, out.n_features_in_ = out.readout_.shape
        return out


class SignCodes(_Projected):
    """Compress vectors to 1, 2 or 4 bits for each of their first principal directions, turned at random.

    The plain binary code, with nothing to tune: 2 bits for half as many dimensions find more than 1 bit for all of them
    on most text embeddings, in the same bytes. `ITQ` loses a little less and takes longer to fit; `RaBitQ` estimates
    without bias.

    Parameters
    ----------
    dim : int, optional
        Principal directions kept, from 1 to d; all of them where left out. Codes take ``dim * bits / 8`` bytes, and 4 without
        `unit`. Too few
        lose directions whatever the bits; more cost bytes.
    bits : {1, 2, 4}, default 2
        Bits for each.
    unit : bool, default False
        Keep directions only, for cosines: no mean, no constant, and codes that may be compared with each other.
    seed : int, default 0
        Of the rotation.

    Attributes
    ----------
    readout_ : ndarray of shape (dim, d), float32
        Orthonormal rows: the projection, and the way back.
    code_dim_, n_features_in_ : int
        Dimensions of a code and of a vector.

    Notes
    -----
    With y = P x turned by a random rotation, so that its dimensions are alike: a sign, or the nearest of 2^bits odd
    multiples of half a step, the step being 0.996 (2 bits) or 0.335 (4 bits) of the root mean square of y. Codes decode
    to unit length.
    Cost: O(n d^2 + d^3) to fit, O(n d dim) to encode.

    References
    ----------
    Charikar: Similarity estimation techniques from rounding algorithms. STOC 2002. Gan et al.: Binary embedding-based
    retrieval at Tencent. arXiv 2302.08714, whose codes these are without training.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
    >>> quantizer = SignCodes(dim=32, bits=2, unit=True).fit(X)
    >>> codes = quantizer.encode(X)
    >>> codes.shape, quantizer.code_size
    ((1000, 8), 8)
    >>> scores = quantizer.symmetric_scores(codes[:1], codes)
    >>> int(scores.argmax()), bool(abs(scores[0, 0] - 1) < 1e-6)
    (0, True)
    """

    _kind = "quantization.sign-codes"

    def __init__(self, *, dim: int | None = None, bits: int = 2, unit: bool = False, seed: int = 0) -> None:
        self.dim = dim
        self.bits = bits
        self.unit = unit
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> SignCodes:
        """Learn the directions.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors, some times more than d.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), ignored
            Present for the protocol.

        Returns
        -------
        SignCodes
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, or settings out of range.
        """
        rng = np.random.default_rng(check_count(self.seed, name="seed", minimum=0))
        matrix = self._begin(X)
        directions = principal_rows(matrix, self.dim)
        self._learn(directions, haar(len(directions), rng))
        return self


class ITQ(_Projected):
    """Compress vectors to signs (or 2 or 4 bits) of principal directions, after a rotation that suits signs.

    Parameters
    ----------
    dim : int, optional
        Principal directions kept, from 1 to d; all of them where left out.
    bits : {1, 2, 4}, default 1
        Bits for each; the method is that of 1, and its rotation serves 2 as well.
    unit : bool, default False
        Keep directions only, for cosines: no mean, no constant, and codes that may be compared with each other.
    iterations : int, default 50
        Turns of the search for the rotation; below 20 it is not settled.
    seed : int, default 0
        Of the first rotation and of the rows looked at, at most 16,384.

    Attributes
    ----------
    readout_ : ndarray of shape (dim, d), float32
        Orthonormal rows: the projection, and the way back.
    code_dim_, n_features_in_ : int
        Dimensions of a code and of a vector.

    Notes
    -----
    In turns, with Y the rows in the principal directions: ``B = sign(Y R)``, then ``R = U V^T`` of the singular vectors
    of ``Y^T B``, which minimise ``|B - Y R|``.
    Cost: O(n d^2 + d^3) to fit and O(iterations n dim^2) for the rotation.

    References
    ----------
    Gong, Lazebnik, Gordo, Perronnin: Iterative quantization. IEEE TPAMI 35(12), 2013, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.standard_normal((1000, 8)) @ rng.standard_normal((8, 32))).astype(np.float32)
    >>> ITQ(dim=8, unit=True).fit(X).encode(X).shape
    (1000, 1)
    """

    _kind = "quantization.itq"

    def __init__(
        self, *, dim: int | None = None, bits: int = 1, unit: bool = False, iterations: int = 50, seed: int = 0
    ) -> None:
        self.dim = dim
        self.bits = bits
        self.unit = unit
        self.iterations = iterations
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> ITQ:
        """Learn the directions and the rotation.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors, some times more than d.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), ignored
            Present for the protocol.

        Returns
        -------
        ITQ
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, or settings out of range.
        """
        check_count(self.iterations, name="iterations")
        rng = np.random.default_rng(check_count(self.seed, name="seed", minimum=0))
        matrix = self._begin(X)
        directions = principal_rows(matrix, self.dim)
        rows = matrix if len(matrix) <= _ROWS else matrix[np.sort(rng.choice(len(matrix), _ROWS, replace=False))]
        Y = rows @ directions.T
        rotation = haar(len(directions), rng)
        for _ in range(self.iterations):
            signs = np.where(Y @ rotation.astype(np.float32) >= 0, np.float32(1), np.float32(-1))
            left, _, right = np.linalg.svd((Y.T @ signs).astype(np.float64))
            rotation = left @ right
        self._learn(directions, rotation)
        return self
