from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from orthant.errors import DimensionError, InputError, NotFittedError
from orthant.transforms import LabelShiftCorrection

CENTRES = np.array([[0.0, 0.0], [1.6, 0.0], [0.0, 1.6]])
EVEN, SHIFTED = np.ones(3) / 3, np.array([0.8, 0.15, 0.05])


def items(mix, n=3_000, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(3, size=n, p=mix)
    return CENTRES[y] + 0.8 * rng.standard_normal((n, 2)), y


@pytest.fixture(scope="module")
def model():
    return LogisticRegression().fit(*items(EVEN, seed=1))


@pytest.mark.parametrize("method", ["mlls", "bbse"])
def test_the_new_mix_is_found_and_predictions_gain(model, method):
    X, y = items(SHIFTED, seed=3)
    correction = LabelShiftCorrection(model, method=method).fit(*items(EVEN, seed=2)).adapt(X)
    np.testing.assert_allclose(correction.target_prior_, SHIFTED, atol=0.04)
    np.testing.assert_allclose(correction.weights_, SHIFTED * 3, atol=0.15)
    assert (correction.predict(X) == y).mean() > model.score(X, y) + 0.02
    np.testing.assert_allclose(correction.predict_proba(X).sum(axis=1), 1)


def test_without_a_shift_nothing_changes(model):
    X, _ = items(EVEN, seed=4)
    correction = LabelShiftCorrection(model).fit(*items(EVEN, seed=2)).adapt(X)
    assert (correction.predict(X) == model.predict(X)).mean() > 0.97


def test_exact_posteriors_give_the_prior_by_a_hand_made_step(model):
    P = model.predict_proba(items(SHIFTED, seed=5)[0])
    found = LabelShiftCorrection(calibration="none", iterations=1).fit(*_labelled(model)).adapt(P)
    by_hand = P * (found.source_prior_ / found.source_prior_)
    np.testing.assert_allclose(found.target_prior_, by_hand.mean(axis=0), atol=1e-6)


def _labelled(model):
    X, y = items(EVEN, seed=2)
    return model.predict_proba(X), y


def test_calibration_repairs_what_maximum_likelihood_needs(model):
    P, y = _labelled(model)
    X, _ = items(SHIFTED, seed=3)
    sharp = [p**4 / (p**4).sum(axis=1, keepdims=True) for p in (P, model.predict_proba(X))]
    off = {}
    for how in ("none", "temperature", "bias-temperature"):
        prior = LabelShiftCorrection(calibration=how).fit(sharp[0], y).adapt(sharp[1]).target_prior_
        off[how] = np.abs(prior - SHIFTED).max()
    assert max(off["temperature"], off["bias-temperature"]) < 0.03 < off["none"]


def test_labels_keep_their_names():
    names = np.array(["b", "a", "c"])
    X, y = items(EVEN, seed=1)
    model = LogisticRegression().fit(X, names[y])
    X, y = items(EVEN, seed=2)
    correction = LabelShiftCorrection(model).fit(X, names[y])
    assert correction.classes_.tolist() == ["a", "b", "c"] and set(correction.predict(X)) == {"a", "b", "c"}
    assert correction.condition_ > 1


def test_what_does_not_fit_is_refused(model):
    X, y = items(EVEN, n=60)
    with pytest.raises(NotFittedError):
        LabelShiftCorrection(model).predict(X)
    with pytest.raises(InputError, match="without predict_proba"):
        LabelShiftCorrection(object()).fit(X, y)
    with pytest.raises(InputError, match="label 7"):
        LabelShiftCorrection(model).fit(X, np.full(60, 7))
    with pytest.raises(InputError, match="of class 2"):
        LabelShiftCorrection(model).fit(X[y < 2], y[y < 2])
    with pytest.raises(DimensionError, match="60 items"):
        LabelShiftCorrection(model).fit(X, y[:5])
    with pytest.raises(InputError, match="method='em'"):
        LabelShiftCorrection(model, method="em").fit(X, y)
    with pytest.raises(InputError, match="softmax"):
        LabelShiftCorrection().fit(X, y)
