"""A classifier's probabilities where classes have become rarer or more frequent: the new mix, without new labels."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.types import IdArray
from orthant.validate import as_vectors, check_choice, check_count

__all__ = ["Calibration", "LabelShiftCorrection"]

Floats = npt.NDArray[np.float64]
Method = Literal["mlls", "bbse"]
Calibration = Literal["bias-temperature", "temperature", "none"]

_SMALLEST = 1e-12
_SUM_TOLERANCE = 1e-3
_STEADY = 1e-10


class LabelShiftCorrection(Estimator):
    """Correct a classifier for classes that are more or less frequent than when it was trained.

    For a classifier that is kept while the mix of what it sees changes: another month, shop or hospital. Only labelled
    items of the old mix and unlabelled ones of the new are needed. It assumes that each class still looks the same;
    where it does not, the corrected probabilities are wrong without notice.

    Parameters
    ----------
    estimator : object with ``predict_proba``, optional
        Fitted already. Left out, what is passed for X are probabilities.
    method : {"mlls", "bbse"}, default "mlls"
        Maximum likelihood by expectation maximisation, which needs calibrated probabilities and makes more of few
        items; or a solve by the confusion matrix, which does not need them.
    calibration : {"bias-temperature", "temperature", "none"}, default "bias-temperature"
        Fitted on the labelled items first. "none" suits probabilities that are calibrated already.
    iterations : int, default 1000
        Steps of "mlls" at most. Below 50 large shifts are not reached.

    Attributes
    ----------
    classes_ : ndarray of shape (K,)
        The labels in the order of the columns.
    source_prior_ : ndarray of shape (K,), float64
        Shares of the classes among the labelled items.
    target_prior_ : ndarray of shape (K,), float64
        Shares of the mix last adapted to; those of the source before.
    weights_ : ndarray of shape (K,), float64
        Target over source share.
    condition_ : float
        Of the confusion matrix. Above some hundred, classes are hardly told apart and the mix is a guess.

    Raises
    ------
    InputError
        In ``fit``: labels that are not those of the columns, a class without an item, settings out of range.

    Notes
    -----
    "bbse" solves ``C w = mu`` with ``C_ij = mean p_i(x) 1[y = j]`` and mu the mean probabilities of the new items; w
    is cut at 0. "mlls" repeats ``p_t(y|x) ~ p_s(y|x) pi_y / pi_s(y)``, ``pi = mean p_t``. Cost O(iterations n K).

    References
    ----------
    Lipton et al.: Detecting and Correcting for Label Shift with Black Box Predictors. ICML 2018, arXiv 1802.03916.
    Saerens et al.: Adjusting the outputs of a classifier to new a priori probabilities. Neural Computation 14, 2002.
    Alexandari et al.: Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift Adaptation.
    ICML 2020, arXiv 1901.06852.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> def items(share, n=4000):
    ...     y = (rng.random(n) < share).astype(int)
    ...     x = rng.normal(2.0 * y - 1)
    ...     p = 1 / (1 + np.exp(-2 * x))
    ...     return np.stack([1 - p, p], axis=1), y
    >>> correction = LabelShiftCorrection().fit(*items(0.5)).adapt(items(0.9)[0])
    >>> bool(abs(correction.target_prior_[1] - 0.9) < 0.03)
    True
    """

    _estimator_type = "classifier"

    classes_: npt.NDArray[Any]
    source_prior_: Floats
    target_prior_: Floats
    weights_: Floats
    condition_: float

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: Method = "mlls",
        calibration: Calibration = "bias-temperature",
        iterations: int = 1000,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.calibration = calibration
        self.iterations = iterations

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> LabelShiftCorrection:
        """Learn the source's mix, its confusion and the calibration, from labelled items not trained on.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K)
            What the estimator takes, or probabilities where there is none.
        y : array-like of shape (n,)
            Labels: of ``classes_`` of the estimator, or numbers of the columns.

        Returns
        -------
        LabelShiftCorrection
            Self.

        Raises
        ------
        InputError
            Labels that are not those of the columns, a class without an item, settings out of range.
        """
        check_choice(self.method, get_args(Method), name="method")
        check_choice(self.calibration, get_args(Calibration), name="calibration")
        check_count(self.iterations, name="iterations")
        P = self._raw(X)
        names = np.asarray(getattr(self.estimator, "classes_", np.arange(P.shape[1])))
        truth = _positions(y, names, len(P))
        counts = np.bincount(truth, minlength=P.shape[1])
        if not counts.all():
            lost = names.tolist()[int(counts.argmin())]
            raise InputError(message(f"no labelled item of class {lost!r}", "one or more of each class", "add some"))
        self._scale, self._bias = _calibrate(P, truth, self.calibration)
        self.classes_, self.source_prior_ = names, counts / counts.sum()
        self.target_prior_, self.weights_ = self.source_prior_.copy(), np.ones(len(names))
        calibrated = self._calibrated(P)
        self._joint = calibrated.T @ np.eye(len(names))[truth] / len(truth)
        self.condition_ = float(np.linalg.cond(self._joint / self.source_prior_))
        return self

    def adapt(self, X: npt.ArrayLike) -> LabelShiftCorrection:
        """Estimate the mix of unlabelled items, and correct for it from now on.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K)
            Items of the new mix, as for ``fit``; below some hundred the estimate is rough.

        Returns
        -------
        LabelShiftCorrection
            Self.

        Raises
        ------
        InputError
            No items, or probabilities that are none.
        """
        check_is_fitted(self)
        P = self._calibrated(self._raw(X))
        if not len(P):
            raise InputError(message("no items to adapt to", "some hundred of the new mix", "pass them"))
        if self.method == "bbse":
            w = np.maximum(np.linalg.lstsq(self._joint, P.mean(axis=0), rcond=None)[0], 0.0)
            prior = w * self.source_prior_
            prior = prior / prior.sum() if prior.sum() > 0 else self.source_prior_
        else:
            prior = _expectation_maximisation(P, self.source_prior_, self.iterations)
        self.target_prior_, self.weights_ = prior, prior / self.source_prior_
        return self

    def predict_proba(self, X: npt.ArrayLike) -> Floats:
        """Return probabilities for the mix last adapted to.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K)
            As for ``fit``.

        Returns
        -------
        ndarray of shape (n, K), float64
            Rows sum to 1.
        """
        check_is_fitted(self)
        out = self._calibrated(self._raw(X)) * self.weights_
        return out / np.maximum(out.sum(axis=1, keepdims=True), _SMALLEST)

    def predict(self, X: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the most probable label for the mix last adapted to.

        Parameters
        ----------
        X : array-like of shape (n, d) or (n, K)
            As for ``fit``.

        Returns
        -------
        ndarray of shape (n,)
            Labels.
        """
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _raw(self, X: npt.ArrayLike) -> Floats:
        if self.estimator is not None and not hasattr(self.estimator, "predict_proba"):
            told = f"an estimator of type {type(self.estimator).__name__} without predict_proba"
            raise InputError(message(told, "a classifier that gives probabilities", "calibrate it, or pass those"))
        given = X if self.estimator is None else self.estimator.predict_proba(X)
        wanted = len(self.classes_) if hasattr(self, "_scale") and hasattr(self, "classes_") else None
        P = as_vectors(given, dim=wanted, name="probabilities").astype(np.float64)
        if (P < 0).any() or (np.abs(P.sum(axis=1) - 1) > _SUM_TOLERANCE).any():
            raise InputError(
                message("probabilities below 0, or that do not sum to 1", "rows of a classifier", "apply a softmax")
            )
        return P

    def _calibrated(self, P: Floats) -> Floats:
        return _softmax(np.log(np.maximum(P, _SMALLEST)) * self._scale + self._bias)


def _positions(y: npt.ArrayLike, names: npt.NDArray[Any], n: int) -> IdArray:
    given = np.asarray(y)
    if given.shape != (n,):
        raise DimensionError(message(f"labels of shape {given.shape} for {n} items", "one each", "label every item"))
    known = {name: i for i, name in enumerate(names.tolist())}
    lost = [one for one in given.tolist() if one not in known]
    if lost:
        raise InputError(message(f"label {lost[0]!r}", f"one of {len(known)} classes", "use the classifier's labels"))
    return np.array([known[one] for one in given.tolist()], dtype=np.int64)


def _softmax(logits: Floats) -> Floats:
    out = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(out / out.sum(axis=1, keepdims=True))


def _calibrate(P: Floats, truth: IdArray, how: str) -> tuple[float, Floats]:
    """The scale and the bias of log probabilities that make the labelled items most likely."""
    K = P.shape[1]
    if how == "none":
        return 1.0, np.zeros(K)
    from scipy.optimize import minimize

    logs, target = np.log(np.maximum(P, _SMALLEST)), np.eye(K)[truth]
    biased = how == "bias-temperature"

    def loss(x: Floats) -> tuple[float, Floats]:
        out = _softmax(logs * np.exp(x[0]) + (x[1:] if biased else 0.0))
        off = (out - target) / len(truth)
        slope = np.concatenate([[(off * logs).sum() * np.exp(x[0])], off.sum(axis=0) * biased])
        # A faint pull to no change: a class of few items must not get an endless bias.
        likely = -np.log(np.maximum(out[np.arange(len(truth)), truth], _SMALLEST)).mean()
        return float(likely + 1e-4 * (x @ x)), cast(Floats, slope + 2e-4 * x)

    found = minimize(loss, np.zeros(K + 1), jac=True, method="L-BFGS-B").x
    return float(np.exp(found[0])), found[1:] if biased else np.zeros(K)


def _expectation_maximisation(P: Floats, source: Floats, iterations: int) -> Floats:
    prior = source
    for _ in range(iterations):
        weighted = P * (prior / source)
        weighted /= np.maximum(weighted.sum(axis=1, keepdims=True), _SMALLEST)
        found = weighted.mean(axis=0)
        if float(np.abs(found - prior).max()) < _STEADY:
            return found
        prior = found
    return prior
