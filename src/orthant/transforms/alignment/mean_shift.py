"""Moving a cloud of vectors by the difference of two means."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.estimator import check_is_fitted
from orthant.transforms.alignment.spaces import SpaceMap, unit_rows
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_choice, check_fraction

__all__ = ["MeanShift"]

_KIND = "transform.mean_shift"
_UNIT = ("none", "before", "after", "both")


class MeanShift(SpaceMap):
    """Add the difference of two means to every vector, as far as wanted.

    The smallest map there is: d numbers, from rows that need not be paired. It undoes a common offset between two
    models, two modalities or two languages, and no rotation. Without target rows it moves the mean to the origin.

    Parameters
    ----------
    strength : float, default 1.0
        Share of the difference that is added, from -2 to 2. 0 changes nothing, 1 brings the means together, negative
        values move apart.
    unit : {"none", "before", "after", "both"}, default "none"
        Where rows are brought to length 1: before the means are taken and the shift is added, after it, or both.
    source, target : str, optional
        Fingerprints of the encoders of either side.

    Attributes
    ----------
    shift_ : ndarray of shape (d,), float32
        Mean of the target rows less mean of the source rows.
    n_features_in_, n_features_out_ : int
        Dimension d.

    Notes
    -----
    ``y = x + strength (mean(target) - mean(source))``. Cost: O(n d) to fit and to transform.

    References
    ----------
    Liang, Zhang, Kwon, Yeung, Zou: Mind the gap: understanding the modality gap in multi-modal contrastive
    representation learning. NeurIPS 2022, section 4.

    Examples
    --------
    >>> MeanShift().fit([[0, 1], [2, 1]], [[5, 5]]).transform([[1, 1]]).tolist()
    [[5.0, 5.0]]
    """

    _kind: ClassVar[str] = _KIND
    _arrays: ClassVar[tuple[str, ...]] = ("shift",)

    shift_: FloatArray

    def __init__(
        self, *, strength: float = 1.0, unit: str = "none", source: str | None = None, target: str | None = None
    ) -> None:
        super().__init__(source=source, target=target)
        self.strength = strength
        self.unit = unit

    def fit(self, X: npt.ArrayLike, y: Any = None) -> MeanShift:
        """Take the two means, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Rows that will be moved.
        y : array-like of shape (m, d), optional
            Rows to move them to, any number in any order; left out, the origin is the goal.

        Returns
        -------
        MeanShift
            Self.

        Raises
        ------
        InputError
            No rows, NaN or infinity, different widths, or a setting out of range.
        """
        check_fraction(self.strength, name="strength", low=-2.0, high=2.0)
        rows = self._prepared(as_vectors(X, name="source vectors"))
        goal = np.zeros(rows.shape[1])
        if y is not None:
            goal = _mean(self._prepared(as_vectors(y, name="target vectors")), "target vectors")
        mean = _mean(rows, "source vectors")
        if len(goal) != len(mean):
            raise DimensionError(
                message(
                    f"source vectors of {len(mean)} and target vectors of {len(goal)} dimensions",
                    "one width, since a shift cannot change it",
                    "use Procrustes or LowRankMap",
                )
            )
        self.shift_ = (goal - mean).astype(np.float32)
        self.n_features_in_ = self.n_features_out_ = len(mean)
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return rows moved.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Vectors.

        Returns
        -------
        ndarray of shape (n, d), float32
            Moved vectors.
        """
        check_is_fitted(self)
        rows = self._prepared(as_vectors(X, dim=self.n_features_in_))
        out = rows + np.float32(self.strength) * self.shift_
        return unit_rows(out) if self.unit in ("after", "both") else out

    def _prepared(self, rows: FloatArray) -> FloatArray:
        check_choice(self.unit, _UNIT, name="unit")
        return unit_rows(rows) if self.unit in ("before", "both") else rows


def _mean(rows: FloatArray, name: str) -> npt.NDArray[np.float64]:
    if not len(rows):
        raise InputError(message(f"0 {name} to fit on", "at least one", "pass a sample of your vectors"))
    return rows.mean(axis=0, dtype=np.float64)
