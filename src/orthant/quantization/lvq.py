"""Bounds for each vector, and a second level of codes for what the first one lost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels import codes as kernels
from orthant.kernels.code_scores import code_distances, code_dots
from orthant.kernels.distances import row_chunks
from orthant.kernels.rows import squared_distances
from orthant.quantization.scoring import as_queries, as_training, cosines, score_codes
from orthant.threads import map_ranges
from orthant.types import CodeArray, FloatArray, Metric
from orthant.validate import as_codes, as_vectors, check_count

__all__ = ["LVQ"]

_KIND = "quantization.lvq"
_PART_VALUES = 1 << 20
# The largest training value becomes 128 to 256 units: 8 doublings below float16's limit, 21 above where it gets coarse.
_HEADROOM_BITS = 7


class LVQ(Estimator):
    """Compress vectors to 8 or 4 bits for each dimension between bounds of their own, with an optional second level.

    Locally-adaptive vector quantization: a vector's codes span exactly its own range, so no bit is spent on values that
    only other vectors have. The default for graphs. `SQ8` is simpler and needs no constants; at 4 bits, on vectors of
    differing length and on data that drifts, this one is more accurate.

    Parameters
    ----------
    bits : {8, 4}, default 8
        Bits for each dimension of level 1, which a traversal reads. 4 halves the memory; recall without re-ranking
        drops by a few percent on sentence vectors.
    residual_bits : {0, 4, 8}, default 0
        Bits of level 2, which encodes what level 1 lost and is read for the final candidates only. 0 has none.
    align : int, default 1
        Codes are padded with zeros to a multiple of so many bytes, up to 4096. 1 pads nothing; 32 or 64 keeps rows
        on cache lines at the price of memory.

    Attributes
    ----------
    mean_ : ndarray of shape (d,), float32
        Subtracted before encoding.
    scale_ : float
        Unit of the stored bounds, a power of two.
    n_features_in_ : int
        Dimension d.

    Notes
    -----
    With l and u the smallest and the largest entry of x - mean, rounded outwards to float16 before anything else, and
    ``Delta = (u - l) / (2^bits - 1)``::

        c_j = floor((x_j - mean_j - l) / Delta + 1/2)            Q(x)_j = mean_j + l + Delta c_j
        r = x - Q(x),  Delta2 = Delta / (2^residual_bits - 1)
        c2_j = floor((r_j + Delta / 2) / Delta2 + 1/2)           R(x)_j = Q(x)_j + Delta2 c2_j - Delta / 2

    so that every entry is within Delta / 2 of Q(x) and within Delta2 / 2 of R(x). A vector with equal entries has
    Delta = 0 where float16 holds it exactly. Scores use ``<q, Q(x)> = <q, mean> + l sum_j q_j + Delta <q, c>`` and
    ``sum_j (q_j - mean_j - l - Delta c_j)^2``; queries stay float32.
    Cost: O(n d) to fit and encode, O(q n d) to score. Bytes: 4 + ceil(d bits / 8) + ceil(d residual_bits / 8), padded.

    References
    ----------
    Aguerrebere, Bhati, Hildebrand, Tepper, Willke: Similarity search in the blink of an eye with compressed indices.
    arXiv 2304.04759, VLDB 2023, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
    >>> quantizer = LVQ(bits=4, residual_bits=8).fit(X)
    >>> codes = quantizer.encode(X)
    >>> codes.shape, 4 + 32 + 64
    ((1000, 100), 100)
    >>> bool(np.abs(quantizer.decode(codes) - X).max() < 0.002)
    True
    >>> quantizer.score(X[:2], codes, metric="l2").argmax(axis=1).tolist()
    [0, 1]
    """

    mean_: FloatArray
    scale_: float
    n_features_in_: int

    def __init__(self, *, bits: int = 8, residual_bits: int = 0, align: int = 1) -> None:
        self.bits = bits
        self.residual_bits = residual_bits
        self.align = align

    @property
    def code_size(self) -> int:
        """Bytes per vector: constants, both levels and padding."""
        check_is_fitted(self)
        plain = (
            kernels.CONSTANT_BYTES
            + kernels.plane_bytes(self.n_features_in_, self.bits)
            + kernels.plane_bytes(self.n_features_in_, self.residual_bits)
        )
        return -(-plain // self.align) * self.align

    def _check_settings(self) -> None:
        for name, value, choices in (("bits", self.bits, (4, 8)), ("residual_bits", self.residual_bits, (0, 4, 8))):
            if isinstance(value, bool) or value not in choices:
                expected = f"one of {', '.join(map(str, choices))}"
                raise InputError(message(f"{name}={value!r}", expected, f"choose {name} among them"))
        check_count(self.align, name="align", maximum=4096)

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> LVQ:
        """Learn the mean, and the unit in which bounds are stored.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors; a sample of a thousand or more is enough.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), ignored
            Present for the protocol; codes depend on the data alone.

        Returns
        -------
        LVQ
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, or settings out of range.
        """
        self._check_settings()
        matrix = as_training(X)
        self.mean_ = matrix.mean(axis=0, dtype=np.float64).astype(np.float32)
        largest = float(max((matrix.max(axis=0) - self.mean_).max(), (self.mean_ - matrix.min(axis=0)).max()))
        exponent = math.frexp(largest)[1] - 1 - _HEADROOM_BITS if 0 < largest < math.inf else 0
        self.scale_ = 2.0 ** max(exponent, -140)
        self.n_features_in_ = matrix.shape[1]
        return self

    def encode(self, X: npt.ArrayLike) -> CodeArray:
        """Return codes of vectors, constants inline.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, code_size), uint8
            l and u as little-endian float16, level 1, level 2, padding. Four bits put dimensions j and j + ceil(d / 2)
            into the low and the high half of a byte.

        Raises
        ------
        InputError
            Vectors more than 255 times as far from the mean, in some dimension, as any that was fitted.
        """
        check_is_fitted(self)
        self._check_settings()
        matrix = as_vectors(X, dim=self.n_features_in_)
        out = np.empty((len(matrix), self.code_size), dtype=np.uint8)
        fits = np.ones(len(matrix), dtype=bool)

        def part(start: int, stop: int) -> None:
            out[start:stop], fits[start:stop] = kernels.encode_adaptive(
                matrix[start:stop],
                self.mean_,
                self.scale_,
                bits=self.bits,
                residual_bits=self.residual_bits,
                code_size=out.shape[1],
            )

        map_ranges(part, len(matrix), minimum=max(1, _PART_VALUES // self.n_features_in_))
        if not fits.all():
            rows = np.flatnonzero(~fits)
            raise InputError(
                message(
                    f"{len(rows)} vector(s) far beyond the fitted range, first in row {rows[0]}",
                    f"entries within {65504 * self.scale_:.3g} of the mean",
                    "fit again on a sample that holds such vectors",
                )
            )
        return out

    def decode(self, codes: CodeArray, *, level: int | None = None) -> FloatArray:
        """Return the vectors that codes stand for.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.
        level : {1, 2}, optional
            1 reads level 1 only; left out, every level there is.

        Returns
        -------
        ndarray of shape (n, d), float32
            Within half a step of the last level read.
        """
        check_is_fitted(self)
        table = as_codes(codes, size=self.code_size)
        return self._centred(table, self._residual_bits(level)) + self.mean_

    def _residual_bits(self, level: int | None) -> int:
        if level is None:
            return self.residual_bits
        return (
            self.residual_bits if check_count(level, name="level", maximum=2 if self.residual_bits else 1) == 2 else 0
        )

    def _centred(self, codes: CodeArray, residual_bits: int) -> FloatArray:
        return kernels.decode_adaptive(
            codes, self.scale_, bits=self.bits, residual_bits=residual_bits, dim=self.n_features_in_
        )

    def score(self, Q: npt.ArrayLike, codes: CodeArray, *, metric: Metric, level: int | None = None) -> FloatArray:
        """Score queries against codes, as if against the decoded vectors.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries, which are not compressed.
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.
        metric : {"dot", "cosine", "l2"}
            The score.
        level : {1, 2}, optional
            1 reads level 1 only, as a traversal does; left out, every level there is.

        Returns
        -------
        ndarray of shape (q, n), float32
            Larger is closer. A code that decodes to zero has cosine 0.

        Raises
        ------
        InputError
            Another metric, a zero query under cosine, codes or queries of the wrong shape, a level that is not there.
        """
        check_is_fitted(self)
        queries = as_queries(Q, self.n_features_in_, metric)
        table, residual_bits = as_codes(codes, size=self.code_size), self._residual_bits(level)

        def part(rows: CodeArray) -> npt.NDArray[np.float64]:
            if metric == "l2":
                return -self._distances(queries - self.mean_, rows, residual_bits)
            out = self._dots(queries, rows, residual_bits)
            # The origin lies at -mean: a length is a distance from there.
            return (
                cosines(out, self._distances(-self.mean_[None], rows, residual_bits)[0]) if metric == "cosine" else out
            )

        return score_codes(part, table, queries=len(queries), dim=self.n_features_in_)

    def _dots(self, queries: FloatArray, codes: CodeArray, residual_bits: int) -> npt.NDArray[np.float64]:
        wide = queries.astype(np.float64)
        low, step = (part.astype(np.float64) for part in kernels.read_bounds(codes, self.scale_, self.bits))
        offset = low - step / 2 if residual_bits else low
        out = (wide @ self.mean_.astype(np.float64))[:, None] + wide.sum(axis=1)[:, None] * offset
        out += step * code_dots(queries, codes, first=kernels.CONSTANT_BYTES, bits=self.bits)
        if residual_bits:
            second = kernels.CONSTANT_BYTES + kernels.plane_bytes(self.n_features_in_, self.bits)
            fine = step / (2**residual_bits - 1)
            out += fine * code_dots(queries, codes, first=second, bits=residual_bits)
        return out

    def _distances(self, about_mean: FloatArray, codes: CodeArray, residual_bits: int) -> npt.NDArray[np.float64]:
        if not residual_bits:
            low, step = kernels.read_bounds(codes, self.scale_, self.bits)
            return code_distances(
                about_mean,
                codes,
                first=kernels.CONSTANT_BYTES,
                bits=self.bits,
                weights=np.ones(self.n_features_in_, dtype=np.float32),
                offset=low,
                step=step,
            ).astype(np.float64)
        # Two streams of codes against one query gain nothing over a tile that is decoded in the cache.
        out = np.empty((len(about_mean), len(codes)), dtype=np.float64)
        for start, stop in row_chunks(len(codes), self.n_features_in_ * 4, 1 << 19):
            out[:, start:stop] = squared_distances(about_mean, self._centred(codes[start:stop], residual_bits))
        return out

    def save(self, path: str | Path) -> None:
        """Write the quantizer to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        settings = {"bits": self.bits, "residual_bits": self.residual_bits, "align": self.align}
        write_artifact(path, kind=_KIND, arrays={"mean": self.mean_}, config={**settings, "scale": self.scale_})

    @classmethod
    def load(cls, path: str | Path) -> LVQ:
        """Read a quantizer from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        LVQ
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        out = cls(bits=config["bits"], residual_bits=config["residual_bits"], align=config["align"])
        out.mean_, out.scale_ = arrays["mean"], float(config["scale"])
        out.n_features_in_ = len(out.mean_)
        return out
