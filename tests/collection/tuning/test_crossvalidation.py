"""The choice is worth what held-out queries say, and a change is not recommended where none is better."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.collection.tuning.crossvalidation import chance_of_choice, cross_validated


def by_hand(values, folds, seed):
    part = np.empty(values.shape[1], dtype=int)
    part[np.random.default_rng(seed).permutation(values.shape[1])] = np.arange(values.shape[1]) % folds
    out = np.empty(values.shape[1])
    for fold in range(folds):
        best = values[:, part != fold].mean(axis=1).argmax()
        out[part == fold] = values[best, part == fold]
    return out


@pytest.mark.parametrize(("folds", "queries"), [(2, 20), (5, 23), (23, 23)])
def test_every_query_is_valued_by_what_the_other_folds_choose(folds, queries):
    values = np.random.default_rng(folds).random((9, queries))
    held = cross_validated(values, folds=folds, seed=3)
    np.testing.assert_allclose(held.values, by_hand(values, folds, 3))
    assert held.chosen == values.mean(axis=1).argmax() and len(held.by_fold) == folds


def test_equal_settings_leave_the_first():
    held = cross_validated(np.tile(np.random.default_rng(0).random(30), (5, 1)), folds=5, seed=0)
    assert held.chosen == 0 and set(held.by_fold) == {0}


def test_noise_looks_like_a_gain_only_to_the_queries_that_chose_it():
    rng = np.random.default_rng(1)
    gains = []
    for trial in range(40):
        values = rng.standard_normal((30, 60))
        held = cross_validated(values, folds=5, seed=trial)
        gains.append((values[held.chosen].mean() - values[0].mean(), held.values.mean() - values[0].mean()))
    in_sample, held_out = np.mean(gains, axis=0)
    assert in_sample > 0.2 and abs(held_out) < 0.1


def test_the_test_keeps_its_level_where_settings_differ_by_noise_and_finds_a_gain():
    rng = np.random.default_rng(2)
    told, found = 0, 0
    for trial in range(150):
        values = rng.random((1, 60)) + 0.1 * rng.standard_normal((30, 60))
        told += chance_of_choice(values, resamples=300, seed=trial) < 0.05
        values[17] += 0.08
        found += chance_of_choice(values, resamples=300, seed=trial) < 0.05
    # 150 trials at 5 %: 7.5 expected, more than 15 has a chance of 0.3 %.
    assert told <= 15 and found >= 120


def test_settings_far_off_do_not_hide_a_small_gain():
    rng = np.random.default_rng(3)
    values = np.tile(rng.random(80), (3, 1))
    values[1] += 0.01 + 0.02 * rng.standard_normal(80)
    values[2] = rng.random(80) - 0.5
    assert chance_of_choice(values, seed=0) < 0.01
    assert chance_of_choice(values[:2], seed=0) == pytest.approx(chance_of_choice(values, seed=0), abs=0.02)
