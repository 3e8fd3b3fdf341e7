"""A code for each part of a vector, and tables that score them: product quantization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.clustering.kmeans import Clustering, kmeans
from orthant.kernels.clustering.nearest import nearest
from orthant.kernels.distances import row_chunks
from orthant.kernels.rows import squared_distances
from orthant.quantization import codebooks as books
from orthant.quantization.rotation import optimised_rotation, rotate
from orthant.quantization.scoring import as_queries, as_training, cosines, score_codes
from orthant.quantization.usage import CodeUsage, code_usage, warn_of_dead_codes
from orthant.threads import map_ranges, map_tasks
from orthant.types import CodeArray, FloatArray, Metric
from orthant.validate import as_vectors, check_choice, check_count

__all__ = ["ProductQuantizer"]

_KIND = "quantization.product"
_TABLE_BYTES = 8 << 20
_PART_WORK = 1 << 20


class ProductQuantizer(Estimator):
    """Compress vectors to one code for each of m parts, each the number of the nearest of 256 (or 16) centroids.

    For 16 to 64 times smaller vectors, where `LVQ` at 4 bits for each dimension is still too large. Recall without
    re-ranking is far below that of `LVQ`; keep the vectors at hand for the final candidates. `ResidualQuantizer` loses
    less at the same bytes and encodes more slowly.

    Parameters
    ----------
    m : int, default 8
        Parts, from 1 to d; must divide d. Each costs ``bits``. Too few lose the neighbours, as many as d leave nothing
        to gain over scalar codes.
    bits : {4, 8, 16}, default 8
        Bits of a code: 2^bits centroids for each part. 4 bits for twice the parts are about as good and scan faster
        tables; 16 bits are meant for codebooks trained elsewhere and need millions of rows to fit.
    rotation : {None, "opq"}, default None
        "opq" learns a rotation before the split. It pays where dimensions differ in variance or are correlated, as in
        most embeddings, and costs d^2 operations for each vector encoded and each query.
    iterations : int, default 25
        Passes of k-means for each part at most; below 10 distortion is some percent higher.
    seed : int, default 0
        Of the training rows and of the first centroids.

    Attributes
    ----------
    codebooks_ : ndarray of shape (m, 2^bits, d / m), float32
        Centroids; fewer entries where the codebooks came from elsewhere.
    keys_ : ndarray of the same shape as codebooks_, float32, or None
        What parts are compared with in place of the codebooks, where both were trained apart.
    rotation_ : ndarray of shape (d, d), float32, or None
        R.
    mean_ : ndarray of shape (d,), float32
        Subtracted before the rotation; zeros without one.
    usage_ : CodeUsage or None
        Rows for each code in training; None for codebooks from elsewhere.
    distortion_ : float
        Mean squared error of a training vector; NaN for codebooks from elsewhere.
    n_features_in_ : int
        Dimension d.

    Notes
    -----
    With y = (x - mean) R cut into y_1 ... y_m, ``c_j = argmin_k |y_j - C_jk|`` and ``Q(x) = mean + [C_1c1 ... C_mcm]
    R^T``. A dot product is ``<q, mean> + sum_j T_j[c_j]`` with ``T_j[k] = <(q R)_j, C_jk>``, and a squared distance the
    sum over ``|((q - mean) R)_j - C_jk|^2``: tables are made once for each query, codes are never decoded.
    At most 256 rows for each code are used to fit. With fewer rows than codes each row gets its own and the rest are
    never used. A warning names books that use less than half of their codes.
    Cost: O(n d 2^bits) for each pass and to encode; O(q d 2^bits + q n m) to score. Bytes: ceil(m bits / 8).

    References
    ----------
    Jégou, Douze, Schmid: Product quantization for nearest neighbor search. IEEE TPAMI 33(1), 2011, sections 2 and 3.
    Ge, He, Ke, Sun: Optimized product quantization. IEEE TPAMI 36(4), 2014, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.standard_normal((2000, 4)) @ rng.standard_normal((4, 16))).astype(np.float32)
    >>> quantizer = ProductQuantizer(m=4, bits=4, rotation="opq").fit(X)
    >>> codes = quantizer.encode(X)
    >>> codes.shape, quantizer.code_size, codes.nbytes * 32 == X.nbytes
    ((2000, 2), 2, True)
    >>> bool(quantizer.distortion_ < 0.2 * X.var(axis=0).sum())
    True
    """

    codebooks_: FloatArray
    keys_: FloatArray | None
    rotation_: FloatArray | None
    mean_: FloatArray
    usage_: CodeUsage | None
    distortion_: float
    n_features_in_: int

    def __init__(
        self, *, m: int = 8, bits: int = 8, rotation: str | None = None, iterations: int = 25, seed: int = 0
    ) -> None:
        self.m = m
        self.bits = bits
        self.rotation = rotation
        self.iterations = iterations
        self.seed = seed

    @property
    def code_size(self) -> int:
        """Bytes per vector: m codes, two to a byte where these have 4 bits."""
        check_is_fitted(self)
        return books.code_bytes(len(self.codebooks_), self.bits)

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> ProductQuantizer:
        """Learn the codebooks, and the rotation where one is wanted.

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
        ProductQuantizer
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, settings out of range, or an m that does not divide d.
        """
        entries = 1 << books.check_bits(self.bits)
        check_count(self.iterations, name="iterations")
        seed = check_count(self.seed, name="seed", minimum=0)
        if self.rotation is not None:
            check_choice(self.rotation, ("opq",), name="rotation")
        matrix = as_training(X)
        size = _part_size(matrix.shape[1], check_count(self.m, name="m"))
        sample = books.training_sample(matrix, entries, np.random.default_rng(seed))
        first: list[FloatArray | None] = [None] * self.m
        self.rotation_, self.mean_ = None, np.zeros(matrix.shape[1], dtype=np.float32)
        if self.rotation == "opq":
            self.rotation_, self.mean_, found = optimised_rotation(sample, m=self.m, entries=entries, seed=seed)
            first = list(found)
        self.n_features_in_ = matrix.shape[1]
        turned = self._turned(sample)

        def fitted(j: int) -> Clustering:
            part = np.ascontiguousarray(turned[:, j * size : (j + 1) * size])
            rng = np.random.default_rng([seed, j])
            return kmeans(part, entries, seed=rng, initial=first[j], iterations=self.iterations)

        results = map_tasks(fitted, range(self.m))
        self.codebooks_, self.keys_ = np.stack([r.centroids for r in results]), None
        self.usage_ = code_usage(np.stack([r.labels for r in results], axis=1), entries)
        self.distortion_ = float(sum(r.inertia for r in results) / len(sample))
        warn_of_dead_codes(self.usage_, name="ProductQuantizer")
        return self

    @classmethod
    def from_codebooks(
        cls,
        codebooks: npt.ArrayLike,
        *,
        rotation: npt.ArrayLike | None = None,
        mean: npt.ArrayLike | None = None,
        keys: npt.ArrayLike | None = None,
        usage: CodeUsage | None = None,
    ) -> ProductQuantizer:
        """Make a fitted quantizer of codebooks that were learned elsewhere.

        Parameters
        ----------
        codebooks : array-like of shape (m, entries, d / m)
            What codes stand for. Up to 16 entries give codes of 4 bits, up to 256 of 8, up to 65,536 of 16.
        rotation : array-like of shape (d, d), optional
            R, orthonormal.
        mean : array-like of shape (d,), optional
            Subtracted before the rotation; needs one.
        keys : array-like of shape (m, entries, d / m), optional
            What parts are compared with, where that is not what codes stand for.
        usage : CodeUsage, optional
            Counts to keep with it.

        Returns
        -------
        ProductQuantizer
            A fitted one; a `fit` learns anew.

        Raises
        ------
        InputError
            Shapes that do not belong together, NaN or infinity, or a matrix that is no rotation.
        """
        table = books.as_codebooks(codebooks)
        dim = table.shape[0] * table.shape[2]
        out = cls(m=len(table), bits=books.bits_for(table.shape[1]), rotation=None if rotation is None else "opq")
        out.codebooks_, out.keys_, out.rotation_ = table, None, None
        out.mean_, out.n_features_in_ = np.zeros(dim, dtype=np.float32), dim
        out.usage_, out.distortion_ = usage, float("nan")
        if keys is not None:
            out.keys_ = books.as_codebooks(keys, name="keys")
            if out.keys_.shape != table.shape:
                given, expected = f"keys of shape {out.keys_.shape}", f"{table.shape}, that of the codebooks"
                raise DimensionError(message(given, expected, "pass a key for each codeword"))
        if rotation is None and mean is not None:
            raise InputError(message("mean without rotation", "both or neither", "add the mean to the codebooks"))
        if rotation is not None:
            out.rotation_ = _as_rotation(rotation, dim)
        if mean is not None:
            out.mean_ = as_vectors(mean, dim=dim, name="mean", single=True)[0].copy()
        return out

    def _turned(self, X: FloatArray) -> FloatArray:
        return X if self.rotation_ is None else rotate(X, self.rotation_, self.mean_)

    def encode(self, X: npt.ArrayLike) -> CodeArray:
        """Return codes of vectors.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, code_size), uint8
            The codes. 4 bits put parts j and j + ceil(m / 2) into the low and the high half of a byte.
        """
        check_is_fitted(self)
        matrix = as_vectors(X, dim=self.n_features_in_)
        m, entries, size = self.codebooks_.shape
        keys = self.codebooks_ if self.keys_ is None else self.keys_
        indices = np.empty((len(matrix), m), dtype=np.uint16)

        def part(start: int, stop: int) -> None:
            for a, b in row_chunks(stop - start, self.n_features_in_ * 12):
                turned = self._turned(matrix[start + a : start + b])
                for j in range(m):
                    piece = np.ascontiguousarray(turned[:, j * size : (j + 1) * size])
                    indices[start + a : start + b, j] = nearest(piece, keys[j], threads=1)

        map_ranges(part, len(matrix), minimum=max(1, _PART_WORK // (self.n_features_in_ * entries)))
        return books.codes_of(indices, self.bits)

    def decode(self, codes: CodeArray) -> FloatArray:
        """Return the vectors that codes stand for.

        Parameters
        ----------
        codes : ndarray of shape (n, code_size), uint8
            What ``encode`` returned.

        Returns
        -------
        ndarray of shape (n, d), float32
            Centroids side by side, turned back.

        Raises
        ------
        InputError
            Codes of another width or dtype, or beyond the codebooks.
        """
        indices = books.indices_of(self._checked(codes), len(self.codebooks_), self.bits)
        m, _, size = self.codebooks_.shape
        out = np.empty((len(indices), self.n_features_in_), dtype=np.float32)
        entries = self.codebooks_.reshape(-1, size)
        first = np.arange(m, dtype=np.int64) * self.codebooks_.shape[1]
        # All parts in one look-up: part by part, few rows would pay for m calls.
        for start, stop in row_chunks(len(out), m * 8 + self.n_features_in_ * 4):
            out[start:stop] = np.take(entries, first + indices[start:stop], axis=0).reshape(stop - start, -1)
        if self.rotation_ is not None:
            back = self.rotation_.T.astype(np.float64)
            for start, stop in row_chunks(len(out), self.n_features_in_ * 16):
                out[start:stop] = out[start:stop].astype(np.float64) @ back + self.mean_
        return out

    def _checked(self, codes: CodeArray) -> CodeArray:
        check_is_fitted(self)
        m, entries, _ = self.codebooks_.shape
        return books.as_book_codes(codes, books=m, bits=self.bits, entries=entries)

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
            Another metric, a zero query under cosine, codes or queries of the wrong shape, codes beyond the codebooks.
        """
        check_is_fitted(self)
        queries = as_queries(Q, self.n_features_in_, metric)
        table = self._checked(codes)
        out = np.empty((len(queries), len(table)), dtype=np.float32)
        m, entries, _ = self.codebooks_.shape
        for start, stop in row_chunks(len(queries), 4 * m * max(entries, 256), _TABLE_BYTES):
            out[start:stop] = self._scores(queries[start:stop], table, metric)
        return out

    def _scores(self, queries: FloatArray, codes: CodeArray, metric: Metric) -> FloatArray:
        tables = books.scan_tables(self._tables(queries, metric), self.bits)
        base = (queries.astype(np.float64) @ self.mean_.astype(np.float64))[:, None]
        lengths = None
        if metric == "cosine":
            origin = np.zeros((1, self.n_features_in_), dtype=np.float32)
            lengths = books.scan_tables(self._tables(origin, "l2"), self.bits)

        def part(rows: CodeArray) -> npt.NDArray[np.float64]:
            sums = books.scan_sums(tables, rows, self.bits)
            if metric == "l2":
                return -sums
            sums += base
            return sums if lengths is None else cosines(sums, books.scan_sums(lengths, rows, self.bits)[0])

        return score_codes(part, codes, queries=len(queries), dim=tables.shape[1])

    def _tables(self, queries: FloatArray, metric: Metric) -> FloatArray:
        """Return what each codeword adds to the squared distance, or to the dot product, of each query."""
        m, entries, size = self.codebooks_.shape
        out = np.empty((len(queries), m, entries), dtype=np.float32)
        if metric == "l2":
            turned = self._turned(queries)
        else:
            turned = queries if self.rotation_ is None else rotate(queries, self.rotation_, np.zeros_like(self.mean_))
        if metric != "l2":
            parts = turned.reshape(len(queries), m, size).transpose(1, 2, 0).astype(np.float64)
            # Many books at once: hundreds of small products cost more than the sums that they are for.
            for a, b in row_chunks(m, 8 * entries * (size + len(queries)), _TABLE_BYTES):
                out[:, a:b] = np.matmul(self.codebooks_[a:b].astype(np.float64), parts[a:b]).transpose(2, 0, 1)
            return out
        for j in range(m):
            part = np.ascontiguousarray(turned[:, j * size : (j + 1) * size])
            out[:, j] = squared_distances(part, self.codebooks_[j])
        return out

    def dot_tables(self, Q: FloatArray) -> tuple[FloatArray, npt.NDArray[np.float64]]:
        """Return what each codeword adds to the dot product of each query, for scans that add up by themselves.

        Parameters
        ----------
        Q : ndarray of shape (q, d), float32
            Checked queries.

        Returns
        -------
        tables : ndarray of shape (q, m, entries), float32
            ``<q, Q(x)>`` is the sum of the entries that the code points at, and the offset.
        offsets : ndarray of shape (q,), float64
            What every code has in common.
        """
        check_is_fitted(self)
        m, _, size = self.codebooks_.shape
        turned = Q if self.rotation_ is None else rotate(Q, self.rotation_, np.zeros_like(self.mean_))
        # All parts in one call: part by part, a single query would pay for m calls.
        products = turned.reshape(len(Q), m, size).transpose(1, 0, 2) @ self.codebooks_.transpose(0, 2, 1)
        return np.ascontiguousarray(products.transpose(1, 0, 2)), Q.astype(np.float64) @ self.mean_.astype(np.float64)

    def save(self, path: str | Path) -> None:
        """Write the quantizer to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        arrays: dict[str, npt.NDArray[Any]] = {"codebooks": self.codebooks_, "mean": self.mean_}
        optional = {"keys": self.keys_, "rotation": self.rotation_}
        arrays |= {name: array for name, array in optional.items() if array is not None}
        if self.usage_ is not None:
            arrays["counts"] = self.usage_.counts
        # JSON has no NaN.
        distortion = None if np.isnan(self.distortion_) else self.distortion_
        write_artifact(path, kind=_KIND, arrays=arrays, config={**self.get_params(), "distortion": distortion})

    @classmethod
    def load(cls, path: str | Path) -> ProductQuantizer:
        """Read a quantizer from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        ProductQuantizer
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        out = cls(**{name: config[name] for name in cls._parameter_names()})
        out.codebooks_, out.mean_ = arrays["codebooks"], arrays["mean"]
        out.keys_, out.rotation_ = arrays.get("keys"), arrays.get("rotation")
        out.usage_ = CodeUsage(arrays["counts"]) if "counts" in arrays else None
        out.distortion_ = float("nan") if config["distortion"] is None else float(config["distortion"])
        out.n_features_in_ = len(out.mean_)
        return out


def _part_size(dim: int, m: int) -> int:
    if dim % m:
        divisors = ", ".join(str(i) for i in range(1, dim + 1) if dim % i == 0)
        raise InputError(message(f"m={m} for dimension {dim}", f"a divisor of it: {divisors}", "choose m among them"))
    return dim // m


def _as_rotation(rotation: npt.ArrayLike, dim: int) -> FloatArray:
    matrix = as_vectors(rotation, dim=dim, name="rotation").copy()
    off = matrix.T.astype(np.float64) @ matrix.astype(np.float64) - np.eye(dim)
    if len(matrix) != dim or float(np.abs(off).max()) > 1e-3:
        expected = f"an orthonormal matrix of shape ({dim}, {dim})"
        raise InputError(message(f"a rotation of shape {matrix.shape}", expected, "orthonormalise it first"))
    return matrix
