"""What every map between two vector spaces can do: be fitted on pairs, applied, checked against encoders, saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, EncoderMismatchError, InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.distances import norms
from orthant.types import FloatArray
from orthant.validate import as_vectors

__all__ = ["AffineMap", "SpaceMap", "as_pairs", "unit_rows"]

Self = TypeVar("Self", bound="SpaceMap")
Float64Array = npt.NDArray[np.float64]

_UNIT_TOLERANCE = 1e-3


def unit_rows(X: FloatArray) -> FloatArray:
    """Return rows at length 1; rows of zeros stay as they are.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Vectors.

    Returns
    -------
    ndarray of shape (n, d), float32
        A new array.
    """
    lengths = norms(X)
    return (X / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)


def as_pairs(X: npt.ArrayLike, y: Any, *, name: str, least: int = 2) -> tuple[FloatArray, FloatArray]:
    """Return two matrices whose rows describe the same items, or say what is wrong with them.

    Parameters
    ----------
    X : array-like of shape (n, d_source)
        Rows of the first space.
    y : array-like of shape (n, d_target)
        Rows of the second space, in the same order.
    name : str
        Who asks, for the error.
    least : int, default 2
        Fewest pairs accepted.

    Returns
    -------
    tuple of ndarray, float32
        The two matrices.

    Raises
    ------
    InputError
        No second matrix, or too few pairs.
    DimensionError
        Different numbers of rows.

    Examples
    --------
    >>> source, target = as_pairs([[1, 0], [0, 1]], [[2], [3]], name="a map")
    >>> source.shape, target.shape
    ((2, 2), (2, 1))
    """
    if y is None:
        raise InputError(
            message(
                f"{name} requires y to be passed, but the target y is None",
                "the same items in the other space, one row for each of X",
                "encode the items with both encoders: fit(source, target)",
            )
        )
    source, target = as_vectors(X, name="source vectors"), as_vectors(y, name="target vectors")
    if len(source) != len(target):
        raise DimensionError(
            message(
                f"{len(source)} source rows and {len(target)} target rows",
                "one row of each for every item",
                "encode the same items, in the same order, with both encoders",
            )
        )
    if len(source) < least:
        word = "sample" if len(source) == 1 else "samples"
        raise InputError(message(f"{name}: {len(source)} {word}", f"at least {least} pairs", "encode more items"))
    return source, target


class SpaceMap(Estimator, ABC):
    """Root of the maps: ``fit(source, target)``, then ``transform`` takes rows of the source space to the target space.

    Parameters
    ----------
    source, target : str, optional
        Fingerprints of the encoders that made the rows of either side. Give them, and a map is refused where other
        vectors come in; left out, nothing can be checked.

    Examples
    --------
    >>> from orthant.transforms import Procrustes
    >>> turn = Procrustes(source="old-model", target="new-model")
    >>> isinstance(turn, SpaceMap), turn.fingerprints
    (True, ('old-model', 'new-model'))
    """

    _kind: ClassVar[str]
    _arrays: ClassVar[tuple[str, ...]] = ()
    _figures: ClassVar[tuple[str, ...]] = ()

    n_features_in_: int
    n_features_out_: int

    def __init__(self, *, source: str | None = None, target: str | None = None) -> None:
        self.source = source
        self.target = target

    @abstractmethod
    def fit(self: Self, X: npt.ArrayLike, y: Any = None) -> Self:
        """Learn the map from pairs, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Rows of the source space.
        y : array-like of shape (n, d_target)
            The same items in the target space, in the same order.

        Returns
        -------
        SpaceMap
            Self.

        Raises
        ------
        InputError
            Too few pairs, unequal lengths, NaN or infinity.
        """

    @abstractmethod
    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return rows of the source space as rows of the target space.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d_target), float32
            Mapped vectors.
        """

    def fit_transform(self, X: npt.ArrayLike, y: Any = None) -> FloatArray:
        """Fit on pairs and return the source rows mapped.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Rows of the source space.
        y : array-like of shape (n, d_target)
            The same items in the target space.

        Returns
        -------
        ndarray of shape (n, d_target), float32
            Mapped vectors.
        """
        return self.fit(X, y).transform(X)

    @property
    def fingerprints(self) -> tuple[str | None, str | None]:
        """Fingerprints of the encoders of the source and of the target side; None where unknown."""
        return self.source, self.target

    def check_fingerprints(self, *, source: str | None = None, target: str | None = None) -> None:
        """Raise unless the map belongs between two encoders.

        Parameters
        ----------
        source, target : str, optional
            Fingerprints of what is at hand; a side left out is not checked, nor one that the map does not know.

        Raises
        ------
        EncoderMismatchError
            The map was made for another encoder.
        """
        for side, given, known in (("source", source, self.source), ("target", target, self.target)):
            if given is not None and known is not None and given != known:
                raise EncoderMismatchError(
                    message(
                        f"{side} vectors of {given!r} for a {type(self).__name__} made for {known!r}",
                        "vectors of the encoder that the map was fitted on",
                        "fit a map between these two encoders",
                    )
                )

    def save(self, path: str | Path) -> None:
        """Write the map to a folder.

        Parameters
        ----------
        path : str or Path
            Created if missing.
        """
        check_is_fitted(self)
        arrays = {name: getattr(self, f"{name}_") for name in self._arrays}
        figures = {name: getattr(self, f"{name}_") for name in ("n_features_in", "n_features_out", *self._figures)}
        write_artifact(
            path, kind=self._kind, arrays=arrays, config={"parameters": self.get_params(deep=False), "learned": figures}
        )

    @classmethod
    def load(cls: type[Self], path: str | Path) -> Self:
        """Read a map from a folder.

        Parameters
        ----------
        path : str or Path
            What ``save`` wrote.

        Returns
        -------
        SpaceMap
            A fitted one.
        """
        arrays, config = read_artifact(path, kind=cls._kind)
        out = cls(**config["parameters"])
        for name in cls._arrays:
            setattr(out, f"{name}_", arrays[name])
        for name, value in config["learned"].items():
            setattr(out, f"{name}_", value)
        return out

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags, with targets of several columns; called by scikit-learn only."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = False
        return tags


class AffineMap(SpaceMap):
    """A map ``y = (x - source_mean) M + target_mean``, with rows brought to length 1 where the target's rows are.

    Parameters
    ----------
    normalize : bool, optional
        Give mapped rows length 1. Left out, they get it when all target rows of the pairs had it, as those of most
        encoders do; it changes no ranking by cosine, but scores by dot product.
    source, target : str, optional
        Fingerprints of the encoders of either side.

    Attributes
    ----------
    matrix_ : ndarray of shape (d_source, d_target), float32
        M.
    source_mean_, target_mean_ : ndarray of shape (d_source,) and (d_target,), float32
        What is subtracted and added.
    normalizes_ : bool
        Whether mapped rows get length 1.

    Examples
    --------
    >>> from orthant.transforms import LowRankMap, Procrustes
    >>> issubclass(LowRankMap, AffineMap), issubclass(Procrustes, AffineMap)
    (True, True)
    """

    _arrays: ClassVar[tuple[str, ...]] = ("matrix", "source_mean", "target_mean")
    _figures: ClassVar[tuple[str, ...]] = ("normalizes",)

    matrix_: FloatArray
    source_mean_: FloatArray
    target_mean_: FloatArray
    normalizes_: bool

    def __init__(self, *, normalize: bool | None = None, source: str | None = None, target: str | None = None) -> None:
        super().__init__(source=source, target=target)
        self.normalize = normalize

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return rows of the source space as rows of the target space.

        Parameters
        ----------
        X : array-like of shape (n, d_source)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d_target), float32
            Mapped vectors.

        Notes
        -----
        Cost O(n d_source d_target).
        """
        check_is_fitted(self)
        rows = as_vectors(X, dim=self.n_features_in_)
        out = np.matmul(rows - self.source_mean_, self.matrix_) + self.target_mean_
        return unit_rows(out) if self.normalizes_ else out

    def _keep(self, matrix: Float64Array, source_mean: Float64Array, target_mean: Float64Array, y: FloatArray) -> None:
        """Hold what was learned, in the form that is applied and saved."""
        self.matrix_ = np.ascontiguousarray(matrix, dtype=np.float32)
        self.source_mean_ = source_mean.astype(np.float32)
        self.target_mean_ = target_mean.astype(np.float32)
        self.n_features_in_, self.n_features_out_ = self.matrix_.shape
        lengths_are_one = bool(np.abs(norms(y) - 1).max() < _UNIT_TOLERANCE)
        self.normalizes_ = lengths_are_one if self.normalize is None else bool(self.normalize)
