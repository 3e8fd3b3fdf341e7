"""Linear CKA against its definition."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError  # noqa: E402
from orthant.learn.analysis import linear_cka  # noqa: E402


def _by_hand(X, Y):
    n = len(X)
    H = np.eye(n) - 1 / n
    K, L = H @ X @ X.T @ H, H @ Y @ Y.T @ H
    return np.trace(K @ L) / np.sqrt(np.trace(K @ K) * np.trace(L @ L))


@pytest.mark.parametrize("shapes", [(40, 5, 7), (6, 9, 3), (6, 9, 12)])
def test_equals_the_definition_in_both_forms(shapes):
    rng = np.random.default_rng(0)
    n, d1, d2 = shapes
    X = rng.normal(size=(n, d1)) + 3
    Y = np.tanh(X @ rng.normal(size=(d1, d2)))
    assert linear_cka(X, Y) == pytest.approx(_by_hand(X, Y), abs=1e-5)


def test_rotation_scale_and_shift_change_nothing():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50, 6))
    Q, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    assert linear_cka(X, 3 * X @ Q + 1) == pytest.approx(1.0, abs=1e-5)
    assert linear_cka(X, 3 * X @ Q + 1, debiased=True) == pytest.approx(1.0, abs=1e-5)


def test_chance_agreement_is_taken_out():
    rng = np.random.default_rng(2)
    pairs = [(rng.normal(size=(30, 40)), rng.normal(size=(30, 40))) for _ in range(8)]
    assert min(linear_cka(X, Y) for X, Y in pairs) > 0.4
    assert abs(np.mean([linear_cka(X, Y, debiased=True) for X, Y in pairs])) < 0.03


def test_bad_input_is_refused():
    X = np.random.default_rng(3).normal(size=(5, 2))
    with pytest.raises(InputError, match="5 and 4 rows"):
        linear_cka(X, X[:4])
    with pytest.raises(InputError, match="at least 4"):
        linear_cka(X[:3], X[:3], debiased=True)
    with pytest.raises(InputError, match="all equal"):
        linear_cka(X, np.ones((5, 2)))
