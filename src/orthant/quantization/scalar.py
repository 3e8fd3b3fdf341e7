"""One byte for each dimension between bounds that all vectors share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.code_scores import code_distances, code_dots
from orthant.kernels.codes import encode_uniform
from orthant.kernels.distances import row_chunks
from orthant.quantization.scoring import as_queries, as_training, cosines, score_codes
from orthant.threads import map_ranges
from orthant.types import CodeArray, FloatArray, Metric
from orthant.validate import as_codes, as_vectors, check_fraction

__all__ = ["SQ8"]

_KIND = "quantization.sq8"
# Quantiles are sorted for; more rows than this move them by less than a step.
_QUANTILE_ROWS = 65_536
_PART_VALUES = 1 << 20


class SQ8(Estimator):
    """Compress vectors to one byte for each dimension, with bounds for each dimension learned from the data.

    The plain choice: a quarter of float32, nothing stored beside the codes, and well understood. `LVQ` has bounds for
    each vector instead and needs 4 bytes more; it loses less when vectors differ in scale or when few bits are left.

    Parameters
    ----------
    coverage : float, default 1.0
        Share of each dimension's training values inside the bounds, from 0.5 to 1. 1 takes minimum and maximum. Below 1
        the same share is cut off at both ends, and values outside take the nearest bound: finer steps for the many, an
        error without limit for the few. Too small loses whole directions of outliers; 0.999 suits heavy tails.

    Attributes
    ----------
    low_ : ndarray of shape (d,), float32
        Value of code 0.
    step_ : ndarray of shape (d,), float32
        Width of a step; 0 where a dimension is constant.
    n_features_in_ : int
        Dimension d.

    Notes
    -----
    ``c_j = floor((x_j - low_j) / step_j + 1/2)`` from 0 to 255, and ``low_j + step_j c_j`` stands for x_j. A dot
    product is ``<q, low> + <q * step, c>``: the query is scaled once, the codes are never decoded.
    Cost: O(n d) to fit and encode, O(q n d) to score.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((1000, 32)).astype(np.float32)
    >>> quantizer = SQ8().fit(X)
    >>> codes = quantizer.encode(X)
    >>> codes.shape, quantizer.code_size
    ((1000, 32), 32)
    >>> bool(np.abs(quantizer.decode(codes) - X).max() < 0.02)
    True
    """

    low_: FloatArray
    step_: FloatArray
    n_features_in_: int

    def __init__(self, *, coverage: float = 1.0) -> None:
        self.coverage = coverage

    @property
    def code_size(self) -> int:
        """Bytes per vector: the dimension."""
        check_is_fitted(self)
        return self.n_features_in_

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> SQ8:
        """Learn the bounds of each dimension.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors, a thousand or more; values beyond what they show are clipped when encoded.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), ignored
            Present for the protocol; bounds are those of the data alone.

        Returns
        -------
        SQ8
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, or a coverage out of range.
        """
        coverage = check_fraction(self.coverage, name="coverage", low=0.5)
        matrix = as_training(X)
        if coverage == 1.0:
            low, high = matrix.min(axis=0).astype(np.float64), matrix.max(axis=0).astype(np.float64)
        else:
            sample = matrix[:: -(-len(matrix) // _QUANTILE_ROWS)].astype(np.float64)
            low, high = np.quantile(sample, [(1 - coverage) / 2, (1 + coverage) / 2], axis=0)
        self.low_ = low.astype(np.float32)
        self.step_ = ((high - low) / 255).astype(np.float32)
        self.n_features_in_ = matrix.shape[1]
        return self

    def encode(self, X: npt.ArrayLike) -> CodeArray:
        """Return codes of vectors.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, code_size), uint8
            The codes.
        """
        check_is_fitted(self)
        matrix = as_vectors(X, dim=self.n_features_in_)
        out = np.empty(matrix.shape, dtype=np.uint8)

        def part(start: int, stop: int) -> None:
            out[start:stop] = encode_uniform(matrix[start:stop], self.low_, self.step_)

        map_ranges(part, len(matrix), minimum=max(1, _PART_VALUES // self.n_features_in_))
        return out

    def decode(self, codes: CodeArray) -> FloatArray:
        """Return the vectors that codes stand for.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.

        Returns
        -------
        ndarray of shape (n, d), float32
            Within half a step of the vectors wherever these lie inside the bounds.
        """
        check_is_fitted(self)
        return self._decode(as_codes(codes, size=self.code_size))

    def _decode(self, codes: CodeArray) -> FloatArray:
        out = np.empty(codes.shape, dtype=np.float32)
        for start, stop in row_chunks(len(codes), codes.shape[1] * 4):
            np.multiply(codes[start:stop], self.step_, out=out[start:stop])
            out[start:stop] += self.low_
        return out

    def score(self, Q: npt.ArrayLike, codes: CodeArray, *, metric: Metric) -> FloatArray:
        """Score queries against codes, as if against the decoded vectors.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries, which are not compressed.
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.
        metric : {"dot", "cosine", "l2"}
            The score.

        Returns
        -------
        ndarray of shape (q, n), float32
            Larger is closer. A code that decodes to zero has cosine 0.

        Raises
        ------
        InputError
            Another metric, a zero query under cosine, codes or queries of the wrong shape.
        """
        check_is_fitted(self)
        queries = as_queries(Q, self.n_features_in_, metric)
        table = as_codes(codes, size=self.code_size)
        base = (queries.astype(np.float64) @ self.low_.astype(np.float64))[:, None]
        scaled, about_low = queries * self.step_, queries - self.low_

        def part(rows: CodeArray) -> npt.NDArray[np.float64]:
            if metric == "l2":
                return -self._distances(about_low, rows)
            out = base + code_dots(scaled, rows, first=0, bits=8)
            return cosines(out, self._distances(-self.low_[None], rows)[0]) if metric == "cosine" else out

        return score_codes(part, table, queries=len(queries), dim=self.n_features_in_)

    def _distances(self, about_low: FloatArray, codes: CodeArray) -> npt.NDArray[np.float64]:
        zeros, ones = np.zeros(len(codes), np.float32), np.ones(len(codes), np.float32)
        return code_distances(about_low, codes, first=0, bits=8, weights=self.step_, offset=zeros, step=ones).astype(
            np.float64
        )

    def save(self, path: str | Path) -> None:
        """Write the quantizer to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        arrays = {"low": self.low_, "step": self.step_}
        write_artifact(path, kind=_KIND, arrays=arrays, config={"coverage": float(self.coverage)})

    @classmethod
    def load(cls, path: str | Path) -> SQ8:
        """Read a quantizer from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        SQ8
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        out = cls(coverage=config["coverage"])
        out.low_, out.step_ = arrays["low"], arrays["step"]
        out.n_features_in_ = len(out.low_)
        return out
