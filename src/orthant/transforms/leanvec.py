"""Reduction for search by inner product, with one projection for the database and one for the queries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.distances import norms
from orthant.transforms.choosing import choose_dim, resolve_dim
from orthant.transforms.moments import SecondMoments, leading_directions
from orthant.transforms.query_aware import eigen_search, frank_wolfe, moment_loss
from orthant.types import FloatArray, Metric
from orthant.validate import as_vectors, check_choice, check_metric

__all__ = ["LeanVec", "leanvec_loss"]

_KIND = "transform.leanvec"
_MODES = ("id", "es", "fw", "es+fw")
Float64Array = npt.NDArray[np.float64]


def leanvec_loss(A: npt.ArrayLike, B: npt.ArrayLike, K_X: npt.ArrayLike, K_Q: npt.ArrayLike) -> float:
    """Return the mean squared error of the inner products that two projections preserve.

    Parameters
    ----------
    A : array-like of shape (dim, d)
        Projection of queries.
    B : array-like of shape (dim, d)
        Projection of the database.
    K_X : array-like of shape (d, d)
        Second moment X^T X / n of the database.
    K_Q : array-like of shape (d, d)
        Second moment Q^T Q / m of the queries.

    Returns
    -------
    float
        ``||Q A^T B X^T - Q X^T||_F^2 / (n m)``, from the moments alone.

    Notes
    -----
    ``f = Tr(A K_Q A^T B K_X B^T) + Tr(K_Q K_X) - 2 Tr(K_Q A^T B K_X)``. Cost O(d^2 dim), whatever n and m.

    References
    ----------
    Tepper, Bhati, Aguerrebere, Hildebrand, Willke: LeanVec: Searching vectors faster by making them fit.
    arXiv 2312.16335, TMLR 2024, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> leanvec_loss(np.eye(2), np.eye(2), np.eye(2), np.eye(2))
    0.0
    >>> leanvec_loss([[1, 0]], [[1, 0]], np.eye(2), np.eye(2))
    1.0
    """
    a, b, kx, kq = (np.asarray(part, dtype=np.float64) for part in (A, B, K_X, K_Q))
    return moment_loss(a, b, kx, kq)


class LeanVec(Estimator):
    """Reduce vectors so that inner products with queries survive; the first stage of a fast graph.

    Searches run on the reduced vectors and re-rank their candidates from the full ones. `Reduction` is the same for
    Euclidean distances about the mean; this one keeps inner products.

    Parameters
    ----------
    dim : int, optional
        Dimensions kept, from 1 to d. Too small and candidates miss neighbours whatever the re-ranking, too large and
        traversal reads more than it needs. Left out, the smallest multiple of 32, at most 192, that keeps 99.5 % of the
        true 10 nearest among the best 50 on a sample.
    mode : {"id", "es", "fw", "es+fw"}, default "id"
        How the projections are found. "id" takes queries to be distributed as the data and needs none. The others
        learn from sample queries, and pay where those are unlike the data: "es" searches among mixtures of both second
        moments for one projection for both sides, in a second; "fw" descends to a projection for each side by
        Frank-Wolfe steps from that of "id", "es+fw" from that of "es", which ends a little lower and takes several
        times as long. With l2 only "id" and "es": reduced distances need one projection for both sides.
    metric : {"dot", "cosine", "l2"}, default "dot"
        What the reduced vectors must keep. With cosine, rows are scaled to unit length first. With l2 the
        reduced Euclidean distance is what to rank by.
    center : bool, default False
        Learn directions about the mean of the data. With l2 the mean is subtracted on both sides. With dot and cosine
        only on the database side: that leaves every query's order as it is and lowers its scores by
        ``query_offsets``.

    Attributes
    ----------
    components_x_ : ndarray of shape (dim, d), float32
        B, for the database; orthonormal rows.
    components_q_ : ndarray of shape (dim, d), float32
        A, for queries; equal to B in modes "id" and "es". After Frank-Wolfe steps rows are only about orthonormal.
    mean_ : ndarray of shape (d,), float32
        Subtracted mean; zeros without centring.
    loss_ : float
        ``leanvec_loss`` relative to keeping nothing, from 0 to 1: on the queries where ``fit`` was given some, else on
        the data as their own queries.
    beta_ : float or None
        Share of the queries in the mixture that "es" chose, from 0 to 1; None in modes without it.
    loss_curve_ : ndarray of shape (steps,), float64
        Loss at the start and after each Frank-Wolfe step, relative to keeping nothing; empty in other modes.
    dim_ : int
        Dimensions kept.
    n_features_in_ : int
        Dimension d.

    Notes
    -----
    ``<q, x> ~ <A q, B x>``. In mode "id" the rows of A = B are the leading eigenvectors of X^T X / n, which minimise
    ``||X - X B^T B||_F``. The others minimise ``||Q A^T B X^T - Q X^T||_F`` for the queries given: over leading
    eigenvectors of ``(1 - beta) K_X + beta K_Q`` ("es"), or over all matrices of operator norm at most 1 ("fw").
    Queries should be a sample of those to come, of some five per dimension; what they were drawn from is what the
    projections suit.
    Cost: O(n d^2 + d^3) to fit, some thirty times d^3 with "es", hundreds of steps of O(d^2 dim) with "fw"; 16 d^2
    bytes; O(d dim) for each vector.

    References
    ----------
    Tepper, Bhati, Aguerrebere, Hildebrand, Willke: LeanVec: Searching vectors faster by making them fit.
    arXiv 2312.16335, TMLR 2024, sections 2 and 3.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = (rng.standard_normal((800, 8)) @ rng.standard_normal((8, 64))).astype(np.float32)
    >>> lean = LeanVec(dim=8).fit(X)
    >>> lean.transform(X).shape, lean.transform_queries(X[:2]).shape
    ((800, 8), (2, 8))
    >>> bool(np.allclose(lean.transform_queries(X[:2]) @ lean.transform(X).T, X[:2] @ X.T, rtol=1e-3, atol=1e-2))
    True
    """

    components_x_: FloatArray
    components_q_: FloatArray
    mean_: FloatArray
    loss_: float
    beta_: float | None
    loss_curve_: Float64Array
    dim_: int
    n_features_in_: int

    def __init__(
        self, *, dim: int | None = None, mode: str = "id", metric: Metric = "dot", center: bool = False
    ) -> None:
        self.dim = dim
        self.mode = mode
        self.metric = metric
        self.center = center

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> LeanVec:
        """Learn both projections, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Database vectors; a sample of ten rows for each dimension is enough.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), optional
            Needed by every mode but "id", which does not learn from them: there they judge (``loss_``), and choose
            ``dim`` where that is left out. Keep some back to judge by: fewer than d are easily fitted too well.

        Returns
        -------
        LeanVec
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, zero vectors under cosine, more dimensions than there are, an unknown mode, a
            mode that needs queries without any, or Frank-Wolfe steps under l2.
        """
        self._check_settings()
        matrix = self._rows(X, None, "vectors", some=True)
        probes = None if queries is None else self._rows(queries, matrix.shape[1], "queries", some=True)
        self._check_queries(probes is not None)
        dim = self.dim
        if dim is None:
            dim = choose_dim(matrix, queries=probes, metric=self.metric)
        self._moments = SecondMoments(matrix.shape[1]), SecondMoments(matrix.shape[1])
        return self._update(matrix, probes, dim)

    def partial_fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> LeanVec:
        """Take more vectors and queries into account; the result is that of one fit on all of them.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Further database vectors.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), optional
            Further queries. Modes that learn from queries need some by the end of the first call.

        Returns
        -------
        LeanVec
            Self, usable after each call.

        Raises
        ------
        InputError
            ``dim`` is left out (it is chosen from all vectors at once), or this was loaded from a folder.
        """
        self._check_settings()
        if self.dim is None:
            raise InputError(message("partial_fit without dim", "a number of dimensions", "set dim, or use fit"))
        known = getattr(self, "_moments", None)
        if known is None and self.__sklearn_is_fitted__():
            raise InputError(message("partial_fit on a loaded LeanVec", "one fitted here", "fit on all vectors"))
        matrix = self._rows(X, self.n_features_in_ if known else None, "vectors", some=True)
        probes = None if queries is None else self._rows(queries, matrix.shape[1], "queries", some=True)
        self._check_queries(probes is not None or (known is not None and known[1].count > 0))
        if known is None:
            self._moments = SecondMoments(matrix.shape[1]), SecondMoments(matrix.shape[1])
        return self._update(matrix, probes, self.dim)

    def _check_settings(self) -> None:
        check_metric(self.metric)
        check_choice(self.mode, _MODES, name="mode")
        if not isinstance(self.center, (bool, np.bool_)):
            raise InputError(message(f"center={self.center!r}", "True or False", "leave it out"))
        if self.mode in ("fw", "es+fw") and self.metric == "l2":
            raise InputError(
                message(
                    f"mode={self.mode!r} with metric='l2'",
                    "one projection for both sides, as distances of reduced vectors need",
                    "use mode='es'",
                )
            )

    def _check_queries(self, some: bool) -> None:
        if self.mode != "id" and not some:
            raise InputError(
                message(
                    f"mode={self.mode!r} without queries", "sample queries to learn from", "pass queries=, or use 'id'"
                )
            )

    def _rows(self, X: npt.ArrayLike, dim: int | None, name: str, *, some: bool = False) -> FloatArray:
        matrix = as_vectors(X, dim=dim, name=name, nonzero=self.metric == "cosine")
        if some and not len(matrix):
            raise InputError(message(f"0 {name} to fit on", "at least one", "pass a sample"))
        if self.metric == "cosine":
            return (matrix / norms(matrix)[:, None]).astype(np.float32)
        return matrix

    def _update(self, X: FloatArray, queries: FloatArray | None, dim: int) -> LeanVec:
        database, asked = self._moments
        database.update(X)
        if queries is not None:
            asked.update(queries)
        size = X.shape[1]
        k_x = database.matrix(centred=bool(self.center))
        self.mean_ = (database.mean if self.center else np.zeros(size)).astype(np.float32)
        k_q = self._query_moment(asked) if asked.count else k_x
        a, b = self._projections(k_x, k_q, dim)
        self.dim_, self.n_features_in_ = b.shape
        self.components_x_ = np.ascontiguousarray(b, dtype=np.float32)
        self.components_q_ = np.ascontiguousarray(a, dtype=np.float32)
        nothing = float(np.sum(k_q * k_x))
        self.loss_ = max(0.0, leanvec_loss(a, b, k_x, k_q) / nothing) if nothing > 0 else 0.0
        return self

    def _query_moment(self, asked: SecondMoments) -> Float64Array:
        matrix = asked.matrix(centred=False)
        if not (self.center and self.metric == "l2"):
            return matrix
        # About the mean of the data, which is what transform_queries subtracts.
        cross = np.outer(asked.mean, self.mean_)
        return matrix - cross - cross.T + np.outer(self.mean_, self.mean_)

    def _projections(self, k_x: Float64Array, k_q: Float64Array, dim: int) -> tuple[Float64Array, Float64Array]:
        """Return A and B of shape (dim, d); the one place where modes differ; "id" has no use for k_q."""
        directions, energies = leading_directions(k_x)
        kept = directions[: resolve_dim(dim, available=len(k_x), energies=energies, name="LeanVec")]
        self.beta_, self.loss_curve_ = None, np.zeros(0)
        if self.mode in ("es", "es+fw"):
            kept, self.beta_ = eigen_search(k_x, k_q, len(kept))
        if self.mode in ("id", "es"):
            return kept, kept
        a, b, losses = frank_wolfe(k_x, k_q, kept)
        self.loss_curve_ = np.array(losses)
        return a, b

    def fit_transform(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> FloatArray:
        """Fit on vectors and return them reduced.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), optional
            As in ``fit``.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Reduced database vectors.
        """
        return self.fit(X, y, queries=queries).transform(X)

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return reduced database vectors, B x.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, dim), float32
            To be compared with what ``transform_queries`` gives.
        """
        check_is_fitted(self)
        centred: FloatArray = self._rows(X, self.n_features_in_, "vectors") - self.mean_
        return np.matmul(centred, self.components_x_.T)

    def transform_queries(self, Q: npt.ArrayLike) -> FloatArray:
        """Return reduced queries, A q.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries.

        Returns
        -------
        ndarray of shape (q, dim), float32
            To be compared with what ``transform`` gives, by dot product; by Euclidean distance for l2.
        """
        check_is_fitted(self)
        queries = self._rows(Q, self.n_features_in_, "queries")
        return np.matmul(queries - self.mean_ if self.metric == "l2" else queries, self.components_q_.T)

    def query_offsets(self, Q: npt.ArrayLike) -> FloatArray:
        """Return what centring took from every score of a query, ``<q, mean>``.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries.

        Returns
        -------
        ndarray of shape (q,), float32
            To be added to dot products of reduced vectors where their size matters and not only their order; zeros
            without centring and for l2.
        """
        check_is_fitted(self)
        queries = self._rows(Q, self.n_features_in_, "queries")
        if self.metric == "l2":
            return np.zeros(len(queries), dtype=np.float32)
        return (queries.astype(np.float64) @ self.mean_.astype(np.float64)).astype(np.float32)

    def save(self, path: str | Path) -> None:
        """Write both projections to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        arrays: dict[str, npt.NDArray[Any]] = {
            "components_x": self.components_x_,
            "components_q": self.components_q_,
            "mean": self.mean_,
            "loss_curve": self.loss_curve_,
        }
        config = {"dim": self.dim, "mode": self.mode, "metric": self.metric, "center": bool(self.center)}
        write_artifact(path, kind=_KIND, arrays=arrays, config={**config, "loss": self.loss_, "beta": self.beta_})

    @classmethod
    def load(cls, path: str | Path) -> LeanVec:
        """Read projections from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        LeanVec
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        out = cls(dim=config["dim"], mode=config["mode"], metric=config["metric"], center=config["center"])
        out.components_x_, out.components_q_ = arrays["components_x"], arrays["components_q"]
        out.mean_, out.loss_ = arrays["mean"], float(config["loss"])
        # Folders from before the query-aware modes have neither.
        out.beta_, out.loss_curve_ = config.get("beta"), arrays.get("loss_curve", np.zeros(0))
        out.dim_, out.n_features_in_ = out.components_x_.shape
        return out
