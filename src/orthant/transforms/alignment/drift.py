"""Queries of a model that was trained further, brought back to the index of an earlier one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, EncoderMismatchError, InputError, message, warn
from orthant.estimator import check_is_fitted
from orthant.transforms.alignment.mean_shift import MeanShift
from orthant.transforms.alignment.spaces import SpaceMap, as_pairs, unit_rows
from orthant.types import FloatArray
from orthant.validate import as_vectors

__all__ = ["DriftCompensator"]

_KIND = "transform.drift"
_FEW_QUERIES = 100


class DriftCompensator(SpaceMap):
    """Take from new queries the mean movement that further training gave them, so that an older index is met again.

    For one model that is fine-tuned step by step while corpora stay as they were encoded. A translation is all it
    undoes: look at ``explained_share_``, the part of the movement that all queries have in common. Where that is
    small, or the models are unrelated, use `Procrustes` or `LowRankMap`.

    Parameters
    ----------
    unit : bool, default True
        Bring queries to length 1 before anything else, as the drift is one of directions. False where the encoder's
        lengths carry meaning.
    renormalize : bool, default False
        Bring compensated queries to length 1. It changes no ranking of one query, only its scores: set it where scores
        are compared with a threshold or joined with others.
    source, target : str, optional
        Fingerprints of the newer and of the older model; needed to chain steps.

    Attributes
    ----------
    drift_ : ndarray of shape (d,), float32
        Mean of the newer less mean of the older query vectors.
    explained_share_ : float or None
        Squared length of the drift over the mean squared movement of a query, from 0 to 1; None for a chain.
    n_features_in_, n_features_out_ : int
        Dimension d.

    Notes
    -----
    ``drift = mean(q_new / |q_new| - q_old / |q_old|)`` over the queries of the new task, and ``q_new / |q_new| -
    drift`` searches the older index. Over several steps the drifts since the index was made are added, and only
    those. It is estimated on queries of the *new* task, so for older tasks it is a guess.
    Cost: O(n d) to fit and to transform.

    References
    ----------
    Query Drift Compensation: Enabling Compatibility in Continual Learning of Retrieval Embedding Models.
    arXiv 2506.00037, 2025, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> old = np.random.default_rng(0).standard_normal((200, 4)).astype(np.float32)
    >>> new = old + np.array([1, 0, 0, 2], dtype=np.float32)
    >>> step = DriftCompensator(unit=False).fit(new, old)
    >>> bool(np.allclose(step.transform(new), old, atol=1e-5)), round(step.explained_share_, 3)
    (True, 1.0)
    """

    _kind: ClassVar[str] = _KIND
    _arrays: ClassVar[tuple[str, ...]] = ("drift",)
    _figures: ClassVar[tuple[str, ...]] = ("explained_share",)

    drift_: FloatArray
    explained_share_: float | None

    def __init__(
        self, *, unit: bool = True, renormalize: bool = False, source: str | None = None, target: str | None = None
    ) -> None:
        super().__init__(source=source, target=target)
        self.unit = unit
        self.renormalize = renormalize

    def fit(self, X: npt.ArrayLike, y: Any = None) -> DriftCompensator:
        """Estimate the drift from queries encoded by both models, forgetting what was fitted before.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Queries as the newer model encodes them; fewer than 100 give a noisy drift and a warning.
        y : array-like of shape (n, d)
            The same queries as the older model encodes them.

        Returns
        -------
        DriftCompensator
            Self.

        Raises
        ------
        InputError
            Fewer than two pairs, unequal lengths, different widths, NaN or infinity.
        """
        newer, older = as_pairs(X, y, name="DriftCompensator")
        if len(newer) < _FEW_QUERIES:
            warn(message(f"a drift from {len(newer)} queries", f"{_FEW_QUERIES} or more", "encode more queries"))
        shift = MeanShift(unit="before" if self.unit else "none").fit(newer, older)
        self.drift_ = -shift.shift_
        moved = self._prepared(newer).astype(np.float64) - self._prepared(older)
        energy = float((moved * moved).sum()) / len(moved)
        self.explained_share_ = float((self.drift_.astype(np.float64) ** 2).sum()) / energy if energy > 0 else 0.0
        self.n_features_in_ = self.n_features_out_ = len(self.drift_)
        return self

    def transform(self, X: npt.ArrayLike) -> FloatArray:
        """Return queries of the newer model as the older index should be asked.

        Parameters
        ----------
        X : array-like of shape (n, d)
            Queries of the newer model.

        Returns
        -------
        ndarray of shape (n, d), float32
            Compensated queries.
        """
        check_is_fitted(self)
        out = self._prepared(as_vectors(X, dim=self.n_features_in_)) - self.drift_
        return unit_rows(out) if self.renormalize else out

    def then(self, step: DriftCompensator) -> DriftCompensator:
        """Return this step followed by an older one, as one compensator.

        Parameters
        ----------
        step : DriftCompensator
            From the model that this one leads to, back to a still older one.

        Returns
        -------
        DriftCompensator
            With the sum of both drifts.

        Raises
        ------
        EncoderMismatchError
            The steps do not meet, or a fingerprint is missing, so that nobody can tell whether they do.
        InputError
            Different widths, or only one of them works on vectors of length 1.
        """
        check_is_fitted(self)
        check_is_fitted(step)
        if self.target is None or self.target != step.source:
            raise EncoderMismatchError(
                message(
                    f"a step to {self.target!r} followed by one from {step.source!r}",
                    "steps that meet at one model, both with fingerprints",
                    "give source and target, and pass every step between the two models",
                )
            )
        if len(self.drift_) != len(step.drift_):
            raise DimensionError(
                message(
                    f"drifts of {len(self.drift_)} and {len(step.drift_)} dimensions",
                    "one width",
                    "chain steps of one model",
                )
            )
        if bool(self.unit) != bool(step.unit):
            raise InputError(
                message("a drift of unit vectors beside one of others", "the same unit", "fit both with one setting")
            )
        out = DriftCompensator(unit=self.unit, renormalize=self.renormalize, source=self.source, target=step.target)
        out.drift_ = self.drift_ + step.drift_
        out.explained_share_ = None
        out.n_features_in_ = out.n_features_out_ = len(out.drift_)
        return out

    @staticmethod
    def between(steps: Sequence[DriftCompensator], *, source: str, target: str) -> DriftCompensator:
        """Return the compensator from one model back to another, from the steps of a whole history.

        Parameters
        ----------
        steps : sequence of DriftCompensator
            One per training, in any order, each with its two fingerprints.
        source : str
            Fingerprint of the model that encodes the queries.
        target : str
            Fingerprint of the model that encoded the index.

        Returns
        -------
        DriftCompensator
            The sum of the steps between the two, and of no others.

        Raises
        ------
        EncoderMismatchError
            No chain of steps leads from one to the other.
        """
        by_source = {step.source: step for step in steps if step.source is not None}
        found, seen = by_source.get(source), {source}
        while found is not None and found.target != target:
            reached = str(found.target)
            following = None if reached in seen else by_source.get(reached)
            seen.add(reached)
            found = None if following is None else found.then(following)
        if found is None:
            raise EncoderMismatchError(
                message(
                    f"no chain of the {len(steps)} step(s) from {source!r} to {target!r}",
                    "one step for every training between the two models",
                    "fit the missing step on queries encoded by both of its models",
                )
            )
        return found

    def _prepared(self, rows: FloatArray) -> FloatArray:
        return unit_rows(rows) if self.unit else rows
