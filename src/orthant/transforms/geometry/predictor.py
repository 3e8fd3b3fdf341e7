"""The predictor: the label with the least expected squared distance, also one that the classifier never saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NonFiniteError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.kernels.distances import row_chunks
from orthant.transforms.geometry.distances import check_label_metric, refuse_twins
from orthant.types import IdArray
from orthant.validate import as_vectors, check_count

__all__ = ["FrechetDecision", "FrechetMeanPredictor"]

Floats = npt.NDArray[np.float64]

_TEMPERATURES = tuple(float(t) for t in np.geomspace(0.1, 4.0, 17))
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class FrechetDecision:
    """What was decided for each item, and how clearly.

    Attributes
    ----------
    labels : ndarray of shape (n,), int64
        Numbers of the labels.
    cost : ndarray of shape (n,), float64
        Expected distance, to the exponent, of the label that was chosen.
    ties : ndarray of shape (n,), int64
        Labels that would have been as good, the chosen one included; the smallest number was taken.
    unseen : ndarray of shape (n,), bool
        The label is none of those that the classifier knows.
    """

    labels: IdArray
    cost: Floats
    ties: IdArray
    unseen: npt.NDArray[np.bool_]


class FrechetMeanPredictor(Estimator):
    """Let a classifier answer with labels that it never saw, by what is known about distances between labels.

    Wrap it around anything with ``predict_proba`` whose labels are some of a larger set with distances: a taxonomy,
    angles, embeddings of names. Nothing is trained. It lowers the expected squared distance to the truth; where only
    exactly right answers count and all labels were seen, the most probable label is better.

    Parameters
    ----------
    estimator : object with ``predict_proba``, optional
        Fitted already. Left out, what is passed for X are probabilities.
    distances : array-like of shape (N, N) or (K, N)
        Between all N labels, or from the K observed ones to all, which is all that is needed for very many labels.
    observed : sequence of int or str, optional
        Which labels the columns of the probabilities are: numbers, or names where ``labels`` are given. Left out, the
        estimator's ``classes_``.
    labels : sequence, optional
        Names of the N labels in the order of the distances; what ``predict`` returns. Left out, their numbers.
    temperature : float, optional
        Probabilities are taken to the power 1 / temperature first. Large makes answers cautious and central, small
        makes them those of the most probable label. None chooses it in ``fit`` on labelled items; default 1.0.
    exponent : {1, 2}, default 2
        Of the distances. With 1 the answer is a median, which on a tree seldom leaves the labels that were seen.
    require_metric : bool, default True
        Refuse distances that break the triangle inequality, and different labels that are 0 apart.

    Attributes
    ----------
    classes_ : ndarray of shape (N,)
        Labels that can be answered.
    observed_ : ndarray of shape (K,), int64
        Numbers of the labels of the probabilities' columns.
    temperature_ : float
        What is used.

    Raises
    ------
    InputError
        In ``fit``: distances that are no metric, observed labels that are not among the labels, settings out of range.

    Notes
    -----
    ``argmin_y sum_k p_k d(y, k)^2``. With distances of 0 and 1 this is the most probable label.
    Cost O(n K N) for n items; n N numbers are never held at once.

    References
    ----------
    Geometry-Aware Adaptation for Pretrained Models. NeurIPS 2023, arXiv 2307.12226, section 3.

    Examples
    --------
    >>> line = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    >>> wrapped = FrechetMeanPredictor(distances=line, observed=[0, 4]).fit()
    >>> wrapped.predict([[1.0, 0.0], [0.5, 0.5], [0.25, 0.75]]).tolist()
    [0, 2, 3]
    """

    _estimator_type = "classifier"

    classes_: npt.NDArray[Any]
    observed_: IdArray
    temperature_: float

    def __init__(
        self,
        estimator: Any = None,
        *,
        distances: npt.ArrayLike,
        observed: Sequence[Any] | None = None,
        labels: Sequence[Any] | None = None,
        temperature: float | None = 1.0,
        exponent: int = 2,
        require_metric: bool = True,
    ) -> None:
        self.estimator = estimator
        self.distances = distances
        self.observed = observed
        self.labels = labels
        self.temperature = temperature
        self.exponent = exponent
        self.require_metric = require_metric

    def fit(self, X: npt.ArrayLike | None = None, y: npt.ArrayLike | None = None) -> FrechetMeanPredictor:
        """Check distances and labels, and choose the temperature where it is left open; the classifier is not trained.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K), optional
            Labelled items, or their probabilities, that the classifier was not trained on; needed for
            ``temperature=None`` only.
        y : array-like of shape (n,), optional
            Their labels, of those observed or of others.

        Returns
        -------
        FrechetMeanPredictor
            Self.

        Raises
        ------
        InputError
            Distances that are no metric, unknown labels, no labelled items for ``temperature=None``.
        """
        check_count(self.exponent, name="exponent", maximum=2)
        rows, names = self._read_distances()
        costs = rows**self.exponent
        known, temperature = {name: i for i, name in enumerate(names.tolist())}, self.temperature
        if temperature is not None and not 0 < temperature < np.inf:
            raise InputError(message(f"temperature={temperature!r}", "a finite number above 0, or None", "use 1.0"))
        if temperature is None:
            if X is None or y is None:
                raise InputError(
                    message("temperature=None without labelled items", "X and y in fit", "pass some, or use 1.0")
                )
            truth = _numbers(np.asarray(y).tolist(), known, "y")
            temperature = self._best_temperature(self._probabilities(X, costs), truth, costs)
        self._costs, self.classes_, self.temperature_ = costs, names, float(temperature)
        return self

    def decide(self, X: npt.ArrayLike) -> FrechetDecision:
        """Return the label of each item with its expected cost, the number of ties, and whether it was ever seen.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K)
            What the estimator takes, or probabilities of the observed labels where there is none.

        Returns
        -------
        FrechetDecision
            One entry per item.

        Raises
        ------
        InputError
            Probabilities that are negative or do not sum to 1.
        """
        check_is_fitted(self)
        P = _tempered(self._probabilities(X, self._costs), self.temperature_)
        n, wide = len(P), self._costs.shape[1]
        labels, cost, ties = np.empty(n, np.int64), np.empty(n), np.empty(n, np.int64)
        for start, stop in row_chunks(n, wide * 8):
            expected = P[start:stop] @ self._costs
            labels[start:stop] = expected.argmin(axis=1)
            cost[start:stop] = expected.min(axis=1)
            slack = 1e-9 * np.maximum(1.0, cost[start:stop])
            # The first of all that are as good, so that rounding does not choose.
            good = expected <= (cost[start:stop] + slack)[:, None]
            labels[start:stop], ties[start:stop] = good.argmax(axis=1), good.sum(axis=1)
        return FrechetDecision(labels, cost, ties, ~np.isin(labels, self.observed_))

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return a label for each item.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K)
            As for ``decide``.

        Returns
        -------
        ndarray of shape (n,)
            Names, or numbers where no names were given.
        """
        numbers = self.decide(X).labels
        return self.classes_[numbers]

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Return a share of every label, highest where the expected cost is least.

        For ranking and for thresholds. The shares are not calibrated: no example of an unseen label says how likely
        it is.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K)
            As for ``decide``.

        Returns
        -------
        ndarray of shape (n, N), float64
            Rows sum to 1.

        Notes
        -----
        A softmax of minus the expected cost, in units of the mean cost between labels. n N numbers are held.
        """
        check_is_fitted(self)
        P = _tempered(self._probabilities(X, self._costs), self.temperature_)
        expected = P @ self._costs
        scaled = -expected / max(float(self._costs.mean()), np.finfo(float).tiny)
        shares = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def score(self, X: npt.ArrayLike, y: npt.ArrayLike) -> float:
        """Return the share of items whose label is exactly right.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K)
            As for ``decide``.
        y : array-like of shape (n,)
            The labels.

        Returns
        -------
        float
            From 0 to 1. The rule does not aim at it; see ``mean_squared_label_distance``.
        """
        return float((self.predict(X) == np.asarray(y)).mean())

    def _read_distances(self) -> tuple[Floats, npt.NDArray[Any]]:
        D = np.asarray(self.distances, dtype=np.float64)
        if D.ndim != 2 or not D.size or D.shape[0] > D.shape[1]:
            raise DimensionError(message(f"distances of shape {D.shape}", "(N, N), or (K, N)", "pass them so"))
        names = np.arange(D.shape[1]) if self.labels is None else np.asarray(self.labels)
        if names.shape != (D.shape[1],) or len(set(names.tolist())) < len(names):
            raise InputError(
                message(f"labels of shape {names.shape}", f"{D.shape[1]} different names", "name each column once")
            )
        given = self.observed if self.observed is not None else getattr(self.estimator, "classes_", None)
        if given is None:
            what = "no observed labels"
            if self.estimator is not None:
                if not hasattr(self.estimator, "predict_proba"):
                    what = f"an estimator of type {type(self.estimator).__name__} without predict_proba"
                    raise InputError(
                        message(what, "a classifier that gives probabilities", "pass those, and observed=")
                    )
                what = f"a {type(self.estimator).__name__} without classes_, and no observed labels"
                raise InputError(message(what, "a fitted classifier, which is not trained here", "fit it first"))
            raise InputError(message(what, "which label each probability belongs to", "pass observed="))
        self.observed_ = _numbers(
            np.asarray(given).tolist(), {name: i for i, name in enumerate(names.tolist())}, "observed"
        )
        if len(set(self.observed_.tolist())) < len(self.observed_) or not len(self.observed_):
            raise InputError(message("repeated or no observed labels", "different ones", "name each column once"))
        if D.shape[0] == D.shape[1]:
            return check_label_metric(D, triangle=self.require_metric)[self.observed_], names
        self._check_rows(D)
        return D, names

    def _check_rows(self, D: Floats) -> None:
        if len(D) != len(self.observed_):
            raise DimensionError(
                message(f"{len(D)} rows of distances for {len(self.observed_)} observed labels", "one each", "add them")
            )
        if not np.isfinite(D).all() or (D < 0).any():
            raise NonFiniteError(message("negative or infinite distances", "finite ones, 0 or more", "correct them"))
        # The square part can be checked in full; the rest only through it.
        check_label_metric(D[:, self.observed_], triangle=self.require_metric)
        if self.require_metric:
            refuse_twins(D, self.observed_)
            for row in range(1, len(D)):
                between = D[row, self.observed_[0]]
                if (np.abs(D[row] - D[0]) > between + 1e-6 * max(1.0, float(D.max()))).any():
                    raise InputError(
                        message(
                            f"distances from labels {self.observed_[0]} and {self.observed_[row]} that differ by more "
                            "than the two are apart",
                            "a metric",
                            "take shortest paths, or require_metric=False",
                        )
                    )

    def _probabilities(self, X: npt.ArrayLike, costs: Floats) -> Floats:
        given = X if self.estimator is None else self.estimator.predict_proba(X)
        P = as_vectors(given, dim=len(costs), name="probabilities").astype(np.float64)
        sums = P.sum(axis=1)
        if (P < 0).any() or (np.abs(sums - 1) > _SUM_TOLERANCE).any():
            bad = int(((P < 0).any(axis=1) | (np.abs(sums - 1) > _SUM_TOLERANCE)).argmax())
            raise InputError(
                message(
                    f"probabilities of item {bad} that sum to {sums[bad]:.4g} with a least of {P[bad].min():.4g}",
                    "0 or more, and a sum of 1",
                    "apply a softmax to scores first",
                )
            )
        return P / np.where(sums > 0, sums, 1.0)[:, None]

    def _best_temperature(self, P: Floats, truth: IdArray, costs: Floats) -> float:
        if len(truth) != len(P) or not len(P):
            raise DimensionError(message(f"{len(truth)} labels for {len(P)} items", "one each", "label them"))
        # Judged by the distance from what was observed: only those rows of the matrix need be known.
        place = {int(number): row for row, number in enumerate(self.observed_)}
        square = np.asarray(self.distances, dtype=np.float64)
        if square.shape[0] != square.shape[1] and not set(truth.tolist()) <= set(place):
            raise InputError(
                message("y with labels that were not observed", "distances between all labels", "pass an (N, N) matrix")
            )
        table = square if square.shape[0] == square.shape[1] else None
        best, least = 1.0, np.inf
        for temperature in _TEMPERATURES:
            chosen = (_tempered(P, temperature) @ costs).argmin(axis=1)
            off = table[truth, chosen] if table is not None else square[[place[int(t)] for t in truth], chosen]
            if (found := float((off**2).mean())) < least:
                best, least = temperature, found
        return best


def _numbers(given: Sequence[Any], known: dict[Any, int], name: str) -> IdArray:
    lost = [one for one in given if one not in known]
    if lost:
        raise InputError(
            message(f"{name} with {lost[0]!r}", f"some of the {len(known)} labels", "add it to labels and distances")
        )
    return np.array([known[one] for one in given], dtype=np.int64)


def _tempered(P: Floats, temperature: float) -> Floats:
    if temperature == 1.0:
        return P
    with np.errstate(divide="ignore"):
        logs = np.log(P) / temperature
    out = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(out / out.sum(axis=1, keepdims=True))
