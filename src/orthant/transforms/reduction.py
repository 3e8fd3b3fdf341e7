"""Linear reduction onto the directions in which vectors differ most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.transforms.choosing import choose_dim, resolve_dim
from orthant.transforms.moments import SecondMoments, leading_directions
from orthant.types import FloatArray
from orthant.validate import as_vectors

__all__ = ["Reduction"]

_KIND = "transform.reduction"


class Reduction(Estimator):
    """Reduce vectors to their principal components, about the mean or about the origin.

    The closest linear approximation in squared error. For search by dot product or cosine with queries that do not
    look like the data, `LeanVec` is the better frame; for plots, decorrelation and Euclidean search this is enough.

    Parameters
    ----------
    dim : int, optional
        Dimensions kept, from 1 to d. Too small merges neighbours, too large saves nothing. Left out, the smallest
        multiple of 32, at most 192, that keeps 99.5 % of the true 10 nearest among the best 50 on a sample.
    center : bool, default True
        Subtract the mean first: keeps Euclidean distances, changes inner products. False keeps the origin.

    Attributes
    ----------
    components_ : ndarray of shape (dim, d), float32
        Orthonormal rows, most energy first.
    mean_ : ndarray of shape (d,), float32
        What is subtracted; zeros without centring.
    explained_energy_ : ndarray of shape (dim,), float64
        Share of the total variance, or of the squared length without centring, that each component carries.
    dim_ : int
        Dimensions kept.
    n_features_in_ : int
        Dimension d.

    Notes
    -----
    The rows of P are the leading eigenvectors of the covariance (or of X^T X / n), and ``y = P (x - mean)``.
    Nothing is whitened: distances within the kept directions are those of the vectors.
    Cost: O(n d^2 + d^3) to fit, 8 d^2 bytes; O(n d dim) to transform.

    References
    ----------
    Jolliffe: Principal Component Analysis. Springer, 2002, chapters 2 and 6.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32) * [3, 1, 0.1]
    >>> reduction = Reduction(dim=2).fit(X)
    >>> reduction.transform(X).shape
    (500, 2)
    >>> bool(reduction.explained_energy_.sum() > 0.99)
    True
    """

    components_: FloatArray
    mean_: FloatArray
    explained_energy_: npt.NDArray[np.float64]
    dim_: int
    n_features_in_: int

    def __init__(self, *, dim: int | None = None, center: bool = True) -> None:
        self.dim = dim
        self.center = center

    def fit(self, X: npt.ArrayLike, y: Any = None, *, queries: npt.ArrayLike | None = None) -> Reduction:
        """Learn the directions, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors; a sample of ten rows for each dimension is enough.
        y : ignored
            Present for pipelines.
        queries : array-like of shape (q, d), optional
            Used to choose ``dim`` where that is left out; the directions are those of the data alone.

        Returns
        -------
        Reduction
            Self.

        Raises
        ------
        InputError
            No vectors, NaN or infinity, more dimensions than there are, or queries beside a given ``dim``.
        """
        matrix = _training(X)
        if queries is not None and self.dim is not None:
            raise InputError(message("queries beside a given dim", "one of them", "leave queries or dim out"))
        dim = self.dim
        if dim is None:
            dim = choose_dim(matrix, queries=queries, metric="l2" if self.center else "dot")
        self._moments = SecondMoments(matrix.shape[1])
        self._moments.update(matrix)
        return self._solve(dim)

    def partial_fit(self, X: npt.ArrayLike, y: Any = None) -> Reduction:
        """Take more vectors into account; the result is that of one fit on all of them.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Further vectors.
        y : ignored
            Present for pipelines.

        Returns
        -------
        Reduction
            Self, usable after each call.

        Raises
        ------
        InputError
            ``dim`` is left out (it is chosen from all vectors at once), or the reduction was loaded from a folder,
            which does not hold what would be continued.
        """
        if self.dim is None:
            raise InputError(message("partial_fit without dim", "a number of dimensions", "set dim, or use fit"))
        moments = getattr(self, "_moments", None)
        if moments is None and self.__sklearn_is_fitted__():
            raise InputError(message("partial_fit on a loaded reduction", "one fitted here", "fit on all vectors"))
        matrix = _training(X, dim=None if moments is None else self.n_features_in_)
        if moments is None:
            self._moments = SecondMoments(matrix.shape[1])
        self._moments.update(matrix)
        return self._solve(self.dim)

    def _solve(self, dim: int) -> Reduction:
        matrix = self._moments.matrix(centred=bool(self.center))
        directions, energies = leading_directions(matrix)
        self.dim_ = resolve_dim(dim, available=len(matrix), energies=energies, name="Reduction")
        self.components_ = np.ascontiguousarray(directions[: self.dim_], dtype=np.float32)
        self.mean_ = (self._moments.mean if self.center else np.zeros(len(matrix))).astype(np.float32)
        self.explained_energy_ = energies[: self.dim_] / max(float(energies.sum()), np.finfo(float).tiny)
        self.n_features_in_ = len(matrix)
        return self

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
            Coordinates along the components.
        """
        return self.fit(X, y, queries=queries).transform(X)

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return reduced vectors.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Coordinates along the components.
        """
        check_is_fitted(self)
        return np.matmul(as_vectors(X, dim=self.n_features_in_) - self.mean_, self.components_.T)

    def inverse_transform(self, Y: npt.ArrayLike) -> FloatArray:
        """Return the vectors that reduced ones stand for.

        Parameters
        ----------
        Y : array-like of shape (n, dim)
            Reduced vectors.

        Returns
        -------
        ndarray of shape (n, d), float32
            The nearest vectors in the kept subspace.
        """
        check_is_fitted(self)
        return as_vectors(Y, dim=self.dim_, name="reduced vectors") @ self.components_ + self.mean_

    def save(self, path: str | Path) -> None:
        """Write the reduction to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        arrays: dict[str, npt.NDArray[Any]] = {
            "components": self.components_,
            "mean": self.mean_,
            "explained_energy": self.explained_energy_,
        }
        write_artifact(path, kind=_KIND, arrays=arrays, config={"dim": self.dim, "center": bool(self.center)})

    @classmethod
    def load(cls, path: str | Path) -> Reduction:
        """Read a reduction from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        Reduction
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        out = cls(dim=config["dim"], center=config["center"])
        out.components_, out.mean_ = arrays["components"], arrays["mean"]
        out.explained_energy_ = arrays["explained_energy"]
        out.dim_, out.n_features_in_ = out.components_.shape
        return out


def _training(X: npt.ArrayLike, *, dim: int | None = None) -> FloatArray:
    matrix = as_vectors(X, dim=dim)
    if not len(matrix):
        raise InputError(message("0 vectors to fit on", "at least one", "pass a sample of your vectors"))
    return matrix
