from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError, NonFiniteError
from orthant.measures import (
    average_compatibility,
    average_multimodel_accuracy,
    counterpart_ranks,
    cross_test,
    drift_statistics,
    gain_recovered,
    inequality_rates,
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_ranks_agree_with_sorting_and_ties_count_against():
    A, B = normal(60, 8), normal(60, 8, seed=1) + normal(60, 8)
    scores = (A @ B.T) / np.outer(np.linalg.norm(A, axis=1), np.linalg.norm(B, axis=1))
    wanted = [1 + (np.argsort(-row) == i).argmax() for i, row in enumerate(scores)]
    np.testing.assert_array_equal(counterpart_ranks(A, B), wanted)
    assert (counterpart_ranks(np.ones((5, 3)), np.ones((5, 3))) == 5).all()
    assert (counterpart_ranks(A, A) == 1).all()


def test_mixed_ranks_count_both_kinds_but_not_the_query():
    A = np.array([[1, 0], [0.99, 0.1], [0, 1]], dtype=np.float32)
    B = np.array([[0.8, 0.6], [0.9, 0.5], [0.1, 1]], dtype=np.float32)
    # Row 0 finds B1 and A1 before its own B0.
    assert counterpart_ranks(A, B)[0] == 2 and counterpart_ranks(A, B, mixed=True)[0] == 3
    assert counterpart_ranks(A, B, mixed=True)[2] == 1


def test_nan_never_becomes_a_perfect_rank():
    bad = normal(4, 3)
    bad[1] = np.nan
    with pytest.raises(NonFiniteError):
        counterpart_ranks(bad, normal(4, 3))
    with pytest.raises(InputError, match="zero row"):
        counterpart_ranks(np.zeros((2, 3)), normal(2, 3))
    with pytest.raises(DimensionError):
        counterpart_ranks(normal(4, 3), normal(5, 3))


def test_a_cross_test_leaves_out_newer_galleries():
    table = cross_test(lambda q, g: 10 * q + g, [0, 1, 2], [0, 1, 2])
    np.testing.assert_array_equal(table, [[0, np.nan, np.nan], [10, 11, np.nan], [20, 21, 22]])
    np.testing.assert_array_equal(cross_test(lambda i, j: i - j, "abc", "xyz", names=True)[2], [2, 1, 0])
    with pytest.raises(DimensionError):
        cross_test(lambda q, g: 0, [1], [1, 2])
    with pytest.raises(NonFiniteError):
        cross_test(lambda q, g: float("nan"), [1], [1])


def test_compatibility_compares_with_the_gallery_s_own_model():
    table = [[0.5, 0, 0], [0.6, 0.7, 0], [0.4, 0.8, 0.9]]
    assert average_compatibility(table) == pytest.approx(2 / 3)
    assert average_multimodel_accuracy(table) == pytest.approx(3.9 / 6)
    # Equal is not better.
    assert average_compatibility([[0.5, 0], [0.5, 0.5]]) == 0
    for bad in ([[1.0]], [[1.0, 2.0]]):
        with pytest.raises(DimensionError):
            average_compatibility(bad)
    with pytest.raises(InputError, match="gaps"):
        average_compatibility([[np.nan, 0], [1, 1]])


def test_inequalities_hold_for_sharper_classes_and_fail_when_turned_round():
    labels = np.repeat([0, 1, 2], 30)
    centres = np.eye(3, 8)[labels]
    old = centres + 0.3 * normal(90, 8)
    assert inequality_rates(old, old, labels) == (1.0, 1.0)
    same, other = inequality_rates(centres, old, labels)
    assert same > 0.85 and other > 0.45
    turned = inequality_rates(np.roll(centres, 30, axis=0), old, labels)
    assert turned[0] < 0.05 and sum(turned) < same + other
    assert np.isnan(inequality_rates(old, old, np.zeros(90))[1])
    with pytest.raises(DimensionError, match="labels"):
        inequality_rates(old, old, labels[:3])


def test_drift_tells_translation_from_rotation():
    old = normal(400, 6)
    old /= np.linalg.norm(old, axis=1, keepdims=True)
    still = drift_statistics(old, 2 * old)
    assert still.mean_cosine == pytest.approx(1) and still.movement < 1e-6 and still.explained_share <= 1
    turned = drift_statistics(old @ np.linalg.qr(normal(6, 6, seed=2))[0], old)
    assert turned.explained_share < 0.05 and turned.rotation_share > 0.95
    near = old + np.array([20, 0, 0, 0, 0, 0], dtype=np.float32)
    assert drift_statistics(near, old).explained_share > 0.4


def test_the_share_of_a_gain_and_its_interval():
    rng = np.random.default_rng(0)
    old = rng.random(400)
    new, mapped = old + 0.2 + 0.05 * rng.standard_normal(400), old + 0.1 + 0.05 * rng.standard_normal(400)
    found = gain_recovered(mapped, old, new, resamples=2000)
    assert found.share == pytest.approx(0.5, abs=0.03)
    assert found.interval[0] < found.share < found.interval[1] and found.interval[1] - found.interval[0] < 0.15
    assert found.worth_it and found.gain_interval[0] > 0.15 and found.queries == 400
    assert gain_recovered(old, old, new).share == 0 and not gain_recovered(old - 0.1, old, new).worth_it
    assert gain_recovered(new, old, new).share == 1


def test_a_gain_that_may_be_none_is_not_worth_it():
    rng = np.random.default_rng(1)
    old = rng.random(60)
    new = old + rng.standard_normal(60)
    found = gain_recovered(new, old, new, resamples=2000)
    assert found.gain_interval[0] < 0 < found.gain_interval[1] and not found.worth_it
    none = gain_recovered(old, old, old, resamples=200)
    assert np.isnan(none.share) and not none.worth_it
    with pytest.raises(DimensionError, match="same queries"):
        gain_recovered(old, old, new[:5])
    with pytest.raises(NonFiniteError):
        gain_recovered(old, old, np.full(60, np.nan))
    with pytest.raises(DimensionError):
        gain_recovered([1.0], [1.0], [1.0])
