"""Coarse centroids and codes of what they leave over: what an inverted file stores of a vector."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, InputError, message, quiet
from orthant.kernels.clustering.kmeans import kmeans
from orthant.kernels.clustering.nearest import nearest
from orthant.kernels.distances import norms, row_chunks
from orthant.quantization import codebooks as books
from orthant.quantization.product import ProductQuantizer
from orthant.quantization.residual import ResidualQuantizer
from orthant.quantization.scoring import as_queries, as_training
from orthant.types import CodeArray, FloatArray, IdArray, Metric
from orthant.validate import as_vectors, check_count, check_metric

__all__ = ["IVFCodec"]

_KIND = "quantization.inverted"
_ROWS_PER_LIST = 256
_ITERATIONS = 20
_PARTS_PER_DIMENSION = 4
_MOST_PARTS = 256


class IVFCodec:
    """A list for each vector, by its nearest centroid, and a code of the rest: the two parts of an inverted file.

    Use it with ``IVF``, which makes one by itself, or hand it one that was trained to keep rankings
    (``learn.distill_vq``). On its own it says what a list and a code lose.

    Parameters
    ----------
    centroids : array-like of shape (lists, d)
        What a list adds to the vectors in it, and what queries are compared with.
    quantizer : ProductQuantizer or ResidualQuantizer
        Fitted on what is left over, with codes of 4 or 8 bits.
    keys : array-like of shape (lists, d), optional
        What vectors are compared with to find their list, where that is not the centroids: a training that moves the
        centroids leaves every vector in its list.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score. Under cosine, vectors are brought to length 1 first.

    Attributes
    ----------
    centroids_, keys_ : ndarray of shape (lists, d), float32
        As given; the same array where there are no keys.
    quantizer_ : ProductQuantizer or ResidualQuantizer
        As given.
    dim, lists : int
        d and the number of lists.
    code_size : int
        Bytes of a code.

    Raises
    ------
    InputError
        Parts that do not belong together, an unfitted quantizer, or codes of 16 bits.

    Notes
    -----
    ``l = argmin_l |x - key_l|``, code ``c = encode(x - centroid_l)``, and x is stood for by ``centroid_l + decode(c)``.
    Cost: O(n lists d) to find lists, and what the quantizer costs.

    References
    ----------
    Jégou, Douze, Schmid: Product quantization for nearest neighbor search. IEEE TPAMI 33(1), 2011, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((2000, 16)).astype(np.float32)
    >>> codec = IVFCodec.train(X, lists=8, metric="l2")
    >>> labels, codes = codec.encode(X)
    >>> codes.shape, bool(((codec.decode(labels, codes) - X) ** 2).sum() < 0.5 * (X**2).sum())
    ((2000, 2), True)
    """

    def __init__(
        self,
        centroids: npt.ArrayLike,
        quantizer: ProductQuantizer | ResidualQuantizer,
        *,
        keys: npt.ArrayLike | None = None,
        metric: Metric = "cosine",
    ) -> None:
        if not isinstance(quantizer, (ProductQuantizer, ResidualQuantizer)) or not hasattr(quantizer, "codebooks_"):
            expected = "a fitted ProductQuantizer or ResidualQuantizer"
            raise InputError(message(f"a quantizer {type(quantizer).__name__}", expected, "fit one on residuals"))
        if quantizer.bits not in (4, 8):
            raise InputError(message(f"codes of {quantizer.bits} bits", "4 or 8", "fit with fewer bits"))
        self.metric = check_metric(metric)
        self.quantizer_ = quantizer
        self.centroids_ = as_vectors(centroids, dim=quantizer.n_features_in_, name="centroids").copy()
        self.keys_ = self.centroids_
        if keys is not None:
            self.keys_ = as_vectors(keys, dim=quantizer.n_features_in_, name="keys").copy()
        if self.keys_.shape != self.centroids_.shape or not len(self.keys_):
            given = f"{len(self.keys_)} keys and {len(self.centroids_)} centroids"
            raise DimensionError(message(given, "as many, at least one", "pass a key for each centroid"))
        # Asked at every search, where a look at the quantizer would be felt.
        self.code_size = quantizer.code_size

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return int(self.centroids_.shape[1])

    @property
    def lists(self) -> int:
        """Number of lists."""
        return len(self.centroids_)

    @classmethod
    def train(
        cls,
        X: npt.ArrayLike,
        *,
        lists: int | None = None,
        quantizer: ProductQuantizer | ResidualQuantizer | None = None,
        metric: Metric = "cosine",
        seed: int = 0,
    ) -> IVFCodec:
        """Find centroids by k-means, and fit the quantizer on what they leave over.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors; 40 or more for each list.
        lists : int, optional
            Lists. Left out, about ``2 sqrt(n)``. Few lists are long to scan; with very many, the neighbours of a query
            are spread over more of them, and comparing the query with the centroids costs more than the lists.
        quantizer : ProductQuantizer or ResidualQuantizer, optional
            Fitted here, whatever it was fitted on before. Left out, product codes of 4 bits for about every four
            dimensions.
        metric : {"cosine", "dot", "l2"}, default "cosine"
            Score.
        seed : int, default 0
            Of the sample and of the first centroids.

        Returns
        -------
        IVFCodec
            The trained parts.

        Raises
        ------
        InputError
            No vectors, zero vectors under cosine, more lists than vectors, or settings out of range.

        Notes
        -----
        k-means sees at most 256 rows for each list, and takes 20 passes over them. Cost: O(256 lists^2 d) for each.
        """
        metric = check_metric(metric)
        matrix = _prepared(as_training(X), metric)
        seed = check_count(seed, name="seed", minimum=0)
        count = default_lists(len(matrix)) if lists is None else check_count(lists, name="lists", maximum=len(matrix))
        rng = np.random.default_rng(seed)
        most = _ROWS_PER_LIST * count
        rows = matrix if len(matrix) <= most else matrix[np.sort(rng.choice(len(matrix), most, replace=False))]
        centroids = kmeans(rows, count, seed=rng, iterations=_ITERATIONS).centroids
        found = default_quantizer(matrix.shape[1], seed) if quantizer is None else quantizer
        sample = books.training_sample(matrix, 1 << found.bits, rng)
        # Whoever left the codes to this function cannot mend what few rows make of them.
        with quiet() if quantizer is None else nullcontext():
            found.fit(sample - centroids[nearest(sample, centroids)])
        return cls(centroids, found, metric=metric)

    def prepare(self, X: FloatArray) -> FloatArray:
        """Return checked vectors as the lists see them: of length 1 under cosine.

        Parameters
        ----------
        X : ndarray of shape (n, d), float32
            Vectors, not zero under cosine.

        Returns
        -------
        ndarray of shape (n, d), float32
            The same array under the other metrics.
        """
        return _prepared(X, self.metric)

    def assign(self, X: npt.ArrayLike) -> IdArray:
        """Return the list of each vector.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors, not zero under cosine.

        Returns
        -------
        ndarray of shape (n,), int64
            Lists.

        Raises
        ------
        InputError
            Vectors that do not fit.
        """
        return nearest(self.prepare(as_vectors(X, dim=self.dim, nonzero=self.metric == "cosine")), self.keys_)

    def encode(self, X: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> tuple[IdArray, CodeArray]:
        """Return the list and the code of each vector.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors, not zero under cosine.
        labels : array-like of shape (n,), int, optional
            Lists that they are to be in, where these are not the nearest ones.

        Returns
        -------
        labels : ndarray of shape (n,), int64
            Lists.
        codes : ndarray of shape (n, code_size), uint8
            Codes of the rest.

        Raises
        ------
        InputError
            Vectors that do not fit.
        """
        matrix = self.prepare(as_vectors(X, dim=self.dim, nonzero=self.metric == "cosine"))
        at = (
            nearest(matrix, self.keys_)
            if labels is None
            else self._labels(labels, len(matrix), "pass one for each vector")
        )
        codes = np.empty((len(matrix), self.code_size), dtype=np.uint8)
        for start, stop in row_chunks(len(matrix), self.dim * 8, 1 << 25):
            rest = matrix[start:stop] - self.centroids_[at[start:stop]]
            codes[start:stop] = self.quantizer_.encode(rest)
        return at, codes

    def decode(self, labels: npt.ArrayLike, codes: CodeArray) -> FloatArray:
        """Return what lists and codes stand for.

        Parameters
        ----------
        labels : array-like of shape (n,), int
            Lists.
        codes : ndarray of shape (n, code_size), uint8
            Codes.

        Returns
        -------
        ndarray of shape (n, d), float32
            Vectors; about unit ones under cosine.

        Raises
        ------
        InputError
            Lists or codes that are not of this codec.
        """
        at = self._labels(labels, len(codes), "pass what encode returned")
        return self.centroids_[at] + self.quantizer_.decode(codes)

    def _labels(self, labels: npt.ArrayLike, count: int, remedy: str) -> IdArray:
        at = np.asarray(labels)
        if at.dtype.kind not in "iu" or at.shape != (count,):
            given = f"labels of dtype {at.dtype} and shape {at.shape}"
            raise InputError(message(given, f"integers of shape ({count},)", remedy))
        if len(at) and not 0 <= int(at.min()) <= int(at.max()) < self.lists:
            given = f"labels from {at.min()} to {at.max()}"
            raise InputError(message(given, f"0 to {self.lists - 1}", remedy))
        return at.astype(np.int64, copy=False)

    def score(self, Q: npt.ArrayLike, labels: npt.ArrayLike, codes: CodeArray) -> FloatArray:
        """Score queries against what lists and codes stand for.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries.
        labels : array-like of shape (n,), int
            Lists.
        codes : ndarray of shape (n, code_size), uint8
            Codes.

        Returns
        -------
        ndarray of shape (q, n), float32
            Dot products (with unit queries under cosine, where the coded vector is taken for a unit one), or minus
            squared distances: what ``IVF`` ranks its candidates by.

        Raises
        ------
        InputError
            Arrays that do not fit.
        """
        queries = self.prepare(as_queries(Q, self.dim, self.metric)).astype(np.float64)
        X = self.decode(labels, codes).astype(np.float64)
        out = queries @ X.T
        if self.metric == "l2":
            lengths = np.einsum("nd,nd->n", X, X)
            out = 2 * out - lengths - np.einsum("qd,qd->q", queries, queries)[:, None]
        return out.astype(np.float32)

    def parts(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """Return everything as arrays and JSON values, for files.

        Returns
        -------
        arrays : dict of str to ndarray
            Centroids, keys and what the quantizer holds.
        config : dict
            Metric, and kind and beam of the quantizer.
        """
        quantizer = self.quantizer_
        arrays: dict[str, npt.NDArray[Any]] = {"centroids": self.centroids_, "codebooks": quantizer.codebooks_}
        if self.keys_ is not self.centroids_:
            arrays["keys"] = self.keys_
        config: dict[str, Any] = {"metric": self.metric, "bits": quantizer.bits}
        if isinstance(quantizer, ResidualQuantizer):
            return arrays, {**config, "quantizer": "residual", "beam": quantizer.beam}
        mean = None if quantizer.rotation_ is None else quantizer.mean_
        optional = {"book_keys": quantizer.keys_, "rotation": quantizer.rotation_, "mean": mean}
        arrays |= {name: array for name, array in optional.items() if array is not None}
        return arrays, {**config, "quantizer": "product"}

    @classmethod
    def from_parts(cls, arrays: dict[str, npt.NDArray[Any]], config: dict[str, Any]) -> IVFCodec:
        """Return the codec that ``parts`` took apart.

        Parameters
        ----------
        arrays : dict of str to ndarray
            Arrays, such as of shape (lists, d).
        config : dict
            Settings.

        Returns
        -------
        IVFCodec
            The same.

        Raises
        ------
        InputError
            Parts that do not belong together.
        """
        quantizer: ProductQuantizer | ResidualQuantizer
        if config["quantizer"] == "residual":
            quantizer = ResidualQuantizer.from_codebooks(arrays["codebooks"], beam=int(config["beam"]))
        else:
            named: dict[str, Any] = {
                "rotation": arrays.get("rotation"),
                "mean": arrays.get("mean"),
                "keys": arrays.get("book_keys"),
            }
            quantizer = ProductQuantizer.from_codebooks(arrays["codebooks"], **named)
        # Books with few entries were perhaps fitted for wider codes.
        quantizer.bits = int(config["bits"])
        return cls(arrays["centroids"], quantizer, keys=arrays.get("keys"), metric=config["metric"])

    def save(self, path: str | Path) -> None:
        """Write the codec to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        arrays, config = self.parts()
        write_artifact(path, kind=_KIND, arrays=arrays, config=config)

    @classmethod
    def load(cls, path: str | Path) -> IVFCodec:
        """Read a codec from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        IVFCodec
            The same.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        return cls.from_parts(arrays, config)

    def __repr__(self) -> str:
        return f"IVFCodec({self.lists} lists, {self.code_size} bytes, metric={self.metric!r})"


def _prepared(X: FloatArray, metric: Metric) -> FloatArray:
    if metric != "cosine":
        return X
    return (X / norms(X)[:, None]).astype(np.float32)


def default_lists(count: int) -> int:
    """Return how many lists suit so many vectors.

    Parameters
    ----------
    count : int
        Vectors.

    Returns
    -------
    int
        About ``2 sqrt(count)``, and at most one for 16 vectors.
    """
    return max(1, min(count // 16, int(2 * count**0.5)))


def default_quantizer(dim: int, seed: int) -> ProductQuantizer:
    """Return the quantizer of an index that was not given one.

    Parameters
    ----------
    dim : int
        Dimension.
    seed : int
        Of its k-means.

    Returns
    -------
    ProductQuantizer
        Unfitted; codes of 4 bits for parts of four dimensions, or as near as the divisors of the dimension allow.
    """
    divisors = [m for m in range(1, min(dim, _MOST_PARTS) + 1) if dim % m == 0]
    fine = [m for m in divisors if m * _PARTS_PER_DIMENSION >= dim]
    return ProductQuantizer(m=fine[0] if fine else divisors[-1], bits=4, seed=seed)
