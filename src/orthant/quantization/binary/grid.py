"""What all codes of a few bits for each dimension share: packing, decoding, scores, identity."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.binary.planes import code_bytes, grid_values, inner_products, pack_planes, unpack_planes
from orthant.kernels.distances import norms, row_chunks, row_scale, tile_scores, to_float32
from orthant.quantization.scoring import as_queries, as_training
from orthant.threads import map_ranges
from orthant.transforms.moments import SecondMoments, leading_directions
from orthant.types import CodeArray, FloatArray, Metric
from orthant.validate import as_codes, as_vectors, check_count

__all__ = ["GridQuantizer", "principal_rows", "projected", "ratio"]

_PART_VALUES = 1 << 20
_TILE_BYTES = 1 << 21
_CONSTANT = 4


class GridQuantizer(Estimator, ABC):
    """Root of the quantizers whose codes are odd numbers of 1, 2 or 4 bits for each of `dim` dimensions.

    A subclass finds the levels; packing, decoding, scoring and comparing are done here.

    Attributes
    ----------
    readout_ : ndarray of shape (dim, d), float32
        What codes are multiplied by to become vectors again.
    mean_ : ndarray of shape (d,), float32
        Subtracted before; zeros for codes of directions.
    n_features_in_ : int
        Dimension d of the vectors.
    code_dim_ : int
        Dimensions of a code.

    Notes
    -----
    A level c of b bits stands for ``g = 2 c - (2^b - 1)``: 1 bit is a sign, 2 bits are -3, -1, 1, 3. A code stands for
    ``mean + s g R``, R being the readout and s a constant of its own. Codes of directions (``unit``) have neither: they
    decode to unit length, which is all that cosines need, and only they are compared with each other.
    """

    bits: int
    unit: bool = False
    mean_: FloatArray
    readout_: FloatArray
    n_features_in_: int
    code_dim_: int

    @property
    def code_size(self) -> int:
        """Bytes per vector: each plane of bits in whole bytes, and 4 for a constant where one is stored."""
        check_is_fitted(self)
        return code_bytes(self.code_dim_, self.bits) + _CONSTANT * (not self.unit)

    @property
    def fingerprint(self) -> str:
        """Name of what was learned: codes of two quantizers are comparable only if these agree, or by training."""
        check_is_fitted(self)
        made = hashlib.sha256(f"{type(self).__name__} {self.bits} {self.unit}".encode())
        for array in self._arrays().values():
            made.update(np.ascontiguousarray(array).tobytes())
        return made.hexdigest()[:16]

    @abstractmethod
    def _levels(self, X: FloatArray) -> CodeArray:
        """Return levels of shape (n, code_dim_) of checked rows, about the mean."""

    @abstractmethod
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what was learned, by name."""

    def _constants(self, X: FloatArray, values: FloatArray) -> FloatArray:
        """Return s of each row: that of the smallest error."""
        decoded = values.astype(np.float64) @ self.readout_.astype(np.float64)
        return ratio(np.einsum("ij,ij->i", X, decoded), np.einsum("ij,ij->i", decoded, decoded))

    def levels(self, X: npt.ArrayLike) -> CodeArray:
        """Return the levels of vectors, one byte for each dimension of a code.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, code_dim_), uint8
            From 0 to 2^bits - 1.
        """
        check_is_fitted(self)
        matrix = as_vectors(X, dim=self.n_features_in_)
        out = np.empty((len(matrix), self.code_dim_), dtype=np.uint8)

        def part(start: int, stop: int) -> None:
            for a, b in row_chunks(stop - start, 8 * self.n_features_in_, _TILE_BYTES):
                out[start + a : start + b] = self._levels(matrix[start + a : start + b] - self.mean_)

        map_ranges(part, len(matrix), minimum=max(1, _PART_VALUES // self.n_features_in_))
        return out

    def encode(self, X: npt.ArrayLike) -> CodeArray:
        """Return codes of vectors.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, code_size), uint8
            Planes of bits, the highest first; then the constant as float32, but for codes of directions.
        """
        levels = self.levels(X)
        codes = pack_planes(levels, self.bits)
        if self.unit:
            return codes
        matrix = as_vectors(X, dim=self.n_features_in_)
        constants = np.empty(len(matrix), dtype=np.float32)
        for start, stop in row_chunks(len(matrix), 8 * self.n_features_in_, _TILE_BYTES):
            values = grid_values(levels[start:stop], self.bits).astype(np.float32)
            constants[start:stop] = self._constants(matrix[start:stop] - self.mean_, values)
        return np.concatenate([codes, constants.view(np.uint8).reshape(-1, _CONSTANT)], axis=1)

    def decode(self, codes: CodeArray) -> FloatArray:
        """Return the vectors that codes stand for.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.

        Returns
        -------
        ndarray of shape (n, d), float32
            Of unit length for codes of directions.
        """
        check_is_fitted(self)
        table = as_codes(codes, size=self.code_size)
        out = np.empty((len(table), self.n_features_in_), dtype=np.float32)
        for start, stop in row_chunks(len(table), 8 * self.n_features_in_, _TILE_BYTES):
            out[start:stop] = self._decoded(table[start:stop])
        return out

    def _decoded(self, codes: CodeArray) -> FloatArray:
        levels = unpack_planes(codes, self.code_dim_, self.bits)
        # In float64 and rounded once: a row must not depend on its batch.
        out = grid_values(levels, self.bits).astype(np.float64) @ self.readout_.astype(np.float64)
        constants = self.constants(codes)
        scale = 1.0 / np.sqrt(np.einsum("ij,ij->i", out, out)) if constants is None else constants
        return np.asarray(out * scale[:, None] + self.mean_, dtype=np.float32)

    def constants(self, codes: CodeArray) -> FloatArray | None:
        """Return the constants stored in codes.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.

        Returns
        -------
        ndarray of shape (n,), float32, or None
            None for codes of directions.
        """
        if self.unit:
            return None
        return np.ascontiguousarray(codes[:, -_CONSTANT:]).view(np.float32)[:, 0]

    def score(self, Q: npt.ArrayLike, codes: CodeArray, *, metric: Metric) -> FloatArray:
        """Score queries that are not coded against codes, as if against the decoded vectors.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries.
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.
        metric : {"dot", "cosine", "l2"}
            The score.

        Returns
        -------
        ndarray of shape (q, n), float32
            Larger is closer. A code that decodes to zero has cosine 0.

        Notes
        -----
        Cost: O(n dim d + q n d), since every code is decoded once. `CodeScan` searches without decoding.
        """
        check_is_fitted(self)
        queries = as_queries(Q, self.n_features_in_, metric)
        table = as_codes(codes, size=self.code_size)
        out = np.empty((len(queries), len(table)), dtype=np.float32)

        def part(start: int, stop: int) -> None:
            for a, b in row_chunks(stop - start, 8 * self.n_features_in_, _TILE_BYTES):
                tile = self._decoded(table[start + a : start + b])
                lengths = norms(tile)
                if metric == "cosine":
                    lengths[lengths == 0] = np.inf
                scale = row_scale(lengths, metric)
                out[:, start + a : start + b] = tile_scores(queries, tile, scale, metric)

        map_ranges(part, len(table), minimum=max(1, _PART_VALUES // self.n_features_in_))
        return out

    def symmetric_scores(self, left: CodeArray, right: CodeArray) -> FloatArray:
        """Compare codes with codes, by counting bits and nothing else.

        Parameters
        ----------
        left : ndarray of shape (q, code_size), uint8
            Codes of the queries.
        right : ndarray of shape (n, code_size), uint8
            Codes.

        Returns
        -------
        ndarray of shape (q, n), float32
            Cosines of the codes, ``<g, h> / (|g| |h|)``, about the mean where there is one; constants do not enter.

        Notes
        -----
        Cost: bits^2 counts for each byte of a plane and each pair. The numerator is exact.
        """
        check_is_fitted(self)
        planes = code_bytes(self.code_dim_, self.bits)
        pair = [as_codes(codes, size=self.code_size)[:, :planes] for codes in (left, right)]
        products = inner_products(*pair, dim=self.code_dim_, bits=self.bits)
        lengths = [np.sqrt(self._squares(codes)) for codes in pair]
        return to_float32(products / (lengths[0][:, None] * lengths[1]))

    def _squares(self, codes: CodeArray) -> npt.NDArray[np.float64]:
        values = grid_values(unpack_planes(codes, self.code_dim_, self.bits), self.bits).astype(np.float32)
        return np.einsum("ij,ij->i", values, values).astype(np.float64)

    def project(self, Q: npt.ArrayLike) -> FloatArray:
        """Return queries in the space of the codes: their products with codes are those with the vectors about the mean.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries.

        Returns
        -------
        ndarray of shape (q, code_dim_), float32
            ``q R^T``.
        """
        check_is_fitted(self)
        return projected(as_vectors(Q, dim=self.n_features_in_, name="queries"), self.readout_)

    def _begin(self, X: npt.ArrayLike) -> FloatArray:
        """Check the settings, and return training rows about the mean, which is kept."""
        self._check_bits()
        matrix = as_training(X)
        self.n_features_in_ = matrix.shape[1]
        self.mean_ = np.zeros(matrix.shape[1], dtype=np.float32)
        if self.unit:
            return matrix
        self.mean_ = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
        return matrix - self.mean_

    def _check_bits(self) -> int:
        if self.bits not in (1, 2, 4) or isinstance(self.bits, bool):
            expected = "1, 2 or 4 bits for each dimension"
            raise InputError(message(f"bits={self.bits!r}", expected, "change dim for sizes between them"))
        return self.bits


def ratio(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> FloatArray:
    """Divide, with 0 where the divisor is 0.

    Parameters
    ----------
    above, below : ndarray of shape (n,), float
        Dividend and divisor.

    Returns
    -------
    ndarray of shape (n,), float32
        The quotients.
    """
    return np.divide(above, below, out=np.zeros(len(below)), where=below != 0).astype(np.float32)


def projected(X: FloatArray, rows: FloatArray) -> FloatArray:
    """Return ``X rows^T``, computed in float64 and rounded once, so that codes do not depend on the batch.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Vectors.
    rows : ndarray of shape (dim, d), float32
        Projection.

    Returns
    -------
    ndarray of shape (n, dim), float32
        The products.
    """
    return (X.astype(np.float64) @ rows.T.astype(np.float64)).astype(np.float32)


def principal_rows(X: FloatArray, dim: int | None) -> FloatArray:
    """Return the directions in which vectors are longest.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Vectors.
    dim : int or None
        How many, from 1 to d; None for all.

    Returns
    -------
    ndarray of shape (dim, d), float32
        Orthonormal rows, about the origin.

    Raises
    ------
    InputError
        More than d.
    """
    count = X.shape[1] if dim is None else check_count(dim, name="dim", maximum=X.shape[1])
    moments = SecondMoments(X.shape[1])
    moments.update(X)
    return leading_directions(moments.matrix(centred=False))[0][:count].astype(np.float32)
