"""Codes in levels, each for what the levels before it left over: residual quantization."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.clustering.kmeans import kmeans
from orthant.kernels.clustering.nearest import nearest
from orthant.kernels.distances import row_chunks
from orthant.quantization import codebooks as books
from orthant.quantization.beam import Partial, beam_indices
from orthant.quantization.scoring import as_queries, as_training, cosines, score_codes
from orthant.quantization.usage import CodeUsage, code_usage, warn_of_dead_codes
from orthant.threads import map_ranges, map_tasks
from orthant.types import CodeArray, FloatArray, Metric
from orthant.validate import as_vectors, check_count

__all__ = ["ResidualQuantizer"]

_KIND = "quantization.residual"
_TABLE_BYTES = 8 << 20
_PART_WORK = 1 << 20


_PLAIN_ROWS = 32
"""Rows for each code from which on those drawn plainly are seldom alike."""


class ResidualQuantizer(Estimator):
    """Compress vectors to a few codes: the nearest centroid, then the nearest to what is left, and so on.

    More accurate than `ProductQuantizer` at the same bytes, since each centroid has all dimensions; encoding costs m
    times as much for as many codes, more with a beam. The first codes alone are a coarser vector.

    Parameters
    ----------
    levels : int, default 8
        Codes of a vector, from 1. Each halves the error or less; later ones gain less.
    bits : {4, 8, 16}, default 8
        Bits of a code: 2^bits centroids for each level. 16 bits are meant for codebooks trained elsewhere and need
        millions of rows to fit.
    beam : int, default 1
        Partial encodings kept from level to level, when fitting and encoding. 1 takes the nearest each time; 4 to 8
        lower the error by some percent and cost as many times more; more hardly help.
    iterations : int, default 25
        Passes of k-means for each level at most.
    seed : int, default 0
        Of the training rows and of the first centroids.

    Attributes
    ----------
    codebooks_ : ndarray of shape (levels, 2^bits, d), float32
        Centroids; fewer entries where the codebooks came from elsewhere.
    usage_ : CodeUsage or None
        Rows for each code in training; None for codebooks from elsewhere.
    distortion_ : float
        Mean squared error of a training vector; NaN for codebooks from elsewhere.
    n_features_in_ : int
        Dimension d.

    Notes
    -----
    ``r_1 = x``, ``c_l = argmin_k |r_l - C_lk|``, ``r_(l+1) = r_l - C_lcl`` and ``Q(x) = sum_l C_lcl``. A dot product is
    the sum of ``<q, C_lcl>`` over a table of each level. Squared distances need ``|Q(x)|^2`` besides, which is computed
    while scoring and not stored.
    Centroids of the first level begin spread out, those of later ones at rows drawn plainly where these are many.
    At most 256 rows for each code are used to fit, with a beam as many times fewer, but 16,384 at least. With fewer
    rows than codes each row gets its own and the rest are never used. A warning names levels that use less than half of
    their codes.
    Cost: O(n levels d 2^bits beam) to encode, as much for each pass to fit; O(q levels d 2^bits + q n levels) to score,
    and O(n levels d) for cosine and l2. Bytes: ceil(levels bits / 8).

    References
    ----------
    Chen, Guan, Wang: Approximate nearest neighbor search by residual vector quantization. Sensors 10(12), 2010,
    section 3. Babenko, Lempitsky: Additive quantization for extreme vector compression. CVPR 2014, section 3 (beam).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.standard_normal((2000, 4)) @ rng.standard_normal((4, 16))).astype(np.float32)
    >>> quantizer = ResidualQuantizer(levels=4, bits=4).fit(X)
    >>> codes = quantizer.encode(X)
    >>> codes.shape, quantizer.code_size
    ((2000, 2), 2)
    >>> errors = [float(((X - quantizer.decode(codes, level=level)) ** 2).sum(1).mean()) for level in (1, 2, 4)]
    >>> errors[0] > errors[1] > errors[2]
    True
    """

    codebooks_: FloatArray
    usage_: CodeUsage | None
    distortion_: float
    n_features_in_: int

    def __init__(self, *, levels: int = 8, bits: int = 8, beam: int = 1, iterations: int = 25, seed: int = 0) -> None:
        self.levels = levels
        self.bits = bits
        self.beam = beam
        self.iterations = iterations
        self.seed = seed

    @property
    def code_size(self) -> int:
        """Bytes per vector: one code for each level, two to a byte where these have 4 bits."""
        check_is_fitted(self)
        return books.code_bytes(len(self.codebooks_), self.bits)

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> ResidualQuantizer:
        """Learn the codebooks, one level after the other.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Training vectors, 50 or more for each code.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), ignored
            Present for the protocol; codebooks are those of the data alone.

        Returns
        -------
        ResidualQuantizer
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, or settings out of range.
        """
        entries = 1 << books.check_bits(self.bits)
        check_count(self.levels, name="levels")
        check_count(self.iterations, name="iterations")
        beam = check_count(self.beam, name="beam")
        seed = check_count(self.seed, name="seed", minimum=0)
        # With a beam, every partial code of a row is a row to fit the next level on.
        sample = books.training_sample(as_training(X), entries, np.random.default_rng(seed), beam=beam)
        self.n_features_in_ = sample.shape[1]

        def centroids(left: FloatArray, level: int) -> FloatArray:
            rng, first = np.random.default_rng([seed, level]), None
            if level and len(left) >= _PLAIN_ROWS * entries:
                # What a level leaves over has no clusters that could be missed: spreading the first centroids would
                # take as long as all passes after it, and rows that the codebooks were not learned from lose more.
                first = left[np.sort(rng.choice(len(left), entries, replace=False))]
            return kmeans(left, entries, seed=rng, initial=first, iterations=self.iterations).centroids

        self.codebooks_ = np.empty((self.levels, entries, sample.shape[1]), dtype=np.float32)
        if beam == 1:
            indices, left = _fitted_greedily(sample, self.codebooks_, centroids)
        else:
            indices, left = _fitted_with_beam(sample, self.codebooks_, centroids, beam)
        self.usage_ = code_usage(indices, entries)
        self.distortion_ = float((left.astype(np.float64) ** 2).sum() / len(sample))
        warn_of_dead_codes(self.usage_, name="ResidualQuantizer")
        return self

    @classmethod
    def from_codebooks(
        cls, codebooks: npt.ArrayLike, *, beam: int = 1, usage: CodeUsage | None = None
    ) -> ResidualQuantizer:
        """Make a fitted quantizer of codebooks that were learned elsewhere.

        Parameters
        ----------
        codebooks : array-like of shape (levels, entries, d)
            Up to 16 entries give codes of 4 bits, up to 256 of 8, up to 65,536 of 16.
        beam : int, default 1
            Partial encodings kept; 1 encodes as the torch modules do.
        usage : CodeUsage, optional
            Counts to keep with it.

        Returns
        -------
        ResidualQuantizer
            A fitted one; a `fit` learns anew.

        Raises
        ------
        InputError
            Another number of axes, NaN or infinity, or too many entries.
        """
        table = books.as_codebooks(codebooks)
        out = cls(levels=len(table), bits=books.bits_for(table.shape[1]), beam=check_count(beam, name="beam"))
        out.codebooks_, out.usage_, out.distortion_ = table, usage, float("nan")
        out.n_features_in_ = table.shape[2]
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
            The codes, level 1 first. 4 bits put levels j and j + ceil(levels / 2) into the low and the high half of a
            byte.
        """
        check_is_fitted(self)
        matrix = as_vectors(X, dim=self.n_features_in_)
        return books.codes_of(_encode(matrix, self.codebooks_, check_count(self.beam, name="beam")), self.bits)

    def decode(self, codes: CodeArray, *, level: int | None = None) -> FloatArray:
        """Return the vectors that codes stand for.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.
        level : int, optional
            Levels to read, from 1; left out, all.

        Returns
        -------
        ndarray of shape (n, d), float32
            Sums of centroids.

        Raises
        ------
        InputError
            Codes of another width or dtype, beyond the codebooks, or a level that is not there.
        """
        table = self._checked(codes)
        used = self.codebooks_[: self._level(level)]
        return _decode(books.indices_of(table, len(self.codebooks_), self.bits), used)

    def _level(self, level: int | None) -> int:
        most = len(self.codebooks_)
        return most if level is None else check_count(level, name="level", maximum=most)

    def _checked(self, codes: CodeArray) -> CodeArray:
        check_is_fitted(self)
        levels, entries, _ = self.codebooks_.shape
        return books.as_book_codes(codes, books=levels, bits=self.bits, entries=entries)

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
        level : int, optional
            Levels to read, from 1; left out, all.

        Returns
        -------
        ndarray of shape (q, n), float32
            Larger is closer. A code that decodes to zero has cosine 0.

        Raises
        ------
        InputError
            Another metric, a zero query under cosine, codes or queries of the wrong shape, codes beyond the codebooks.
        """
        check_is_fitted(self)
        queries = as_queries(Q, self.n_features_in_, metric)
        table, used = self._checked(codes), self._level(level)
        out = np.empty((len(queries), len(table)), dtype=np.float32)
        for start, stop in row_chunks(len(queries), 4 * len(self.codebooks_) * self.codebooks_.shape[1], _TABLE_BYTES):
            out[start:stop] = self._scores(queries[start:stop], table, metric, used)
        return out

    def _scores(self, queries: FloatArray, codes: CodeArray, metric: Metric, used: int) -> FloatArray:
        # About a point amid the vectors, so that squared lengths have few digits to lose.
        origin = self.codebooks_[0].mean(axis=0) if metric == "l2" else np.zeros(self.n_features_in_, dtype=np.float32)
        asked = queries.astype(np.float64) - origin
        centred = self.codebooks_[:used].astype(np.float64)
        centred[0] -= origin
        tables = np.zeros((len(queries), len(self.codebooks_), centred.shape[1]), dtype=np.float32)
        tables[:, :used] = np.einsum("qd,lkd->qlk", asked, centred, optimize=True)
        tables = books.scan_tables(tables, self.bits)
        lengths = np.einsum("qd,qd->q", asked, asked)[:, None]

        def part(rows: CodeArray) -> npt.NDArray[np.float64]:
            sums = books.scan_sums(tables, rows, self.bits)
            if metric == "dot":
                return sums
            squares = self._squares(rows, used, origin)
            return cosines(sums, squares) if metric == "cosine" else np.minimum(2 * sums - lengths - squares, 0)

        return score_codes(part, codes, queries=len(queries), dim=self.n_features_in_)

    def _squares(self, codes: CodeArray, used: int, origin: FloatArray) -> npt.NDArray[np.float64]:
        indices = books.indices_of(codes, len(self.codebooks_), self.bits)
        out = np.empty(len(codes), dtype=np.float64)
        for start, stop in row_chunks(len(codes), self.n_features_in_ * 8, 1 << 19):
            values = _decode(indices[start:stop], self.codebooks_[:used]) - origin
            np.einsum("nd,nd->n", values, values, out=out[start:stop], dtype=np.float64)
        return out

    def dot_tables(self, Q: FloatArray) -> tuple[FloatArray, npt.NDArray[np.float64]]:
        """Return what each codeword adds to the dot product of each query, for scans that add up by themselves.

        Parameters
        ----------
        Q : ndarray of shape (q, d), float32
            Checked queries.

        Returns
        -------
        tables : ndarray of shape (q, levels, entries), float32
            ``<q, Q(x)>`` is the sum of the entries that the code points at.
        offsets : ndarray of shape (q,), float64
            Zeros: no code has anything in common with all others.
        """
        check_is_fitted(self)
        products = np.einsum("qd,lkd->qlk", Q.astype(np.float64), self.codebooks_.astype(np.float64), optimize=True)
        return products.astype(np.float32), np.zeros(len(Q))

    def save(self, path: str | Path) -> None:
        """Write the quantizer to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        arrays: dict[str, npt.NDArray[Any]] = {"codebooks": self.codebooks_}
        if self.usage_ is not None:
            arrays["counts"] = self.usage_.counts
        # JSON has no NaN.
        distortion = None if np.isnan(self.distortion_) else self.distortion_
        write_artifact(path, kind=_KIND, arrays=arrays, config={**self.get_params(), "distortion": distortion})

    @classmethod
    def load(cls, path: str | Path) -> ResidualQuantizer:
        """Read a quantizer from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        ResidualQuantizer
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        out = cls(**{name: config[name] for name in cls._parameter_names()})
        out.codebooks_ = arrays["codebooks"]
        out.usage_ = CodeUsage(arrays["counts"]) if "counts" in arrays else None
        out.distortion_ = float("nan") if config["distortion"] is None else float(config["distortion"])
        out.n_features_in_ = out.codebooks_.shape[2]
        return out


def _fitted_greedily(
    X: FloatArray, table: FloatArray, centroids: Callable[[FloatArray, int], FloatArray]
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """Fill the table level by level; return the codes and what they leave over."""
    indices, left = np.empty((len(X), len(table)), dtype=np.int64), X.copy()
    for level in range(len(table)):
        table[level] = centroids(left, level)
        indices[:, level] = nearest(left, table[level])
        left -= table[level][indices[:, level]]
    return indices, left


def _fitted_with_beam(
    X: FloatArray, table: FloatArray, centroids: Callable[[FloatArray, int], FloatArray], beam: int
) -> tuple[npt.NDArray[np.int64], FloatArray]:
    row_bytes = 8 * beam * max(table.shape[1:])
    parts = [Partial.of(X[a:b]) for a, b in row_chunks(len(X), row_bytes)]
    for level in range(len(table)):
        left = np.concatenate([part.left.reshape(-1, X.shape[1]).astype(np.float32) for part in parts])
        table[level] = found = centroids(left, level)
        parts = map_tasks(partial(Partial.extended, centroids=found, beam=beam), parts)
    return (
        np.concatenate([part.indices[:, 0] for part in parts]),
        np.concatenate([part.left[:, 0] for part in parts]).astype(np.float32),
    )


def _decode(indices: npt.NDArray[Any], table: FloatArray) -> FloatArray:
    out = table[0][indices[:, 0]]
    for level in range(1, len(table)):
        out += table[level][indices[:, level]]
    return out


def _encode(X: FloatArray, table: FloatArray, beam: int) -> npt.NDArray[np.int64]:
    out = np.empty((len(X), len(table)), dtype=np.int64)

    def part(start: int, stop: int) -> None:
        if beam > 1:
            out[start:stop] = beam_indices(X[start:stop], table, beam)
            return
        for a, b in row_chunks(stop - start, X.shape[1] * 8):
            left = X[start + a : start + b].copy()
            for level, centroids in enumerate(table):
                labels = nearest(left, centroids, threads=1)
                out[start + a : start + b, level] = labels
                left -= centroids[labels]

    map_ranges(part, len(X), minimum=max(1, _PART_WORK // (table.size * beam)))
    return out
