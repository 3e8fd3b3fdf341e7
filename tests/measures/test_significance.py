"""Paired tests: values by hand, behaviour under the null, power, and the words."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import scipy.stats

from orthant.errors import DimensionError, InputError, NonFiniteError
from orthant.measures import compare_arms, effect_size, holm, paired_bootstrap, paired_randomisation, score_run


def test_exact_randomisation_equals_enumeration():
    rng = np.random.default_rng(3)
    d = np.append(rng.normal(0.3, 1, 9).round(1), [0.0, 0.0])
    sums = [abs(np.dot(signs, d)) for signs in itertools.product([-1, 1], repeat=len(d))]
    expected = np.mean(np.array(sums) >= abs(d.sum()) - 1e-9)
    assert paired_randomisation(np.zeros(len(d)), d)[0] == pytest.approx(expected)


def test_sampled_randomisation_agrees_with_the_exact_one():
    rng = np.random.default_rng(4)
    d = rng.normal(0.4, 1, 13)
    exact, exact_floor = paired_randomisation(np.zeros(13), d, resamples=2**13)
    sampled, floor = paired_randomisation(np.zeros(13), d, resamples=8000, seed=1)
    assert sampled == pytest.approx(exact, abs=0.02)
    assert floor == pytest.approx(exact_floor, rel=0.1)
    assert paired_randomisation(np.zeros(13), d, resamples=8000, seed=1) == (sampled, floor)


def test_p_values_are_uniform_under_the_null():
    rng = np.random.default_rng(5)
    values = []
    for i in range(400):
        a, b = rng.random((2, 40))
        values.append(paired_randomisation(a, b, resamples=400, seed=i)[0])
    assert scipy.stats.kstest(values, "uniform").pvalue > 0.01
    assert np.mean(np.array(values) < 0.05) == pytest.approx(0.05, abs=0.03)


def test_w68_bootstrap_interval_covers_the_true_difference():
    rng = np.random.default_rng(6)
    covered = 0
    for i in range(300):
        a = rng.random(60)
        b = a + rng.normal(0.1, 0.3, 60)
        low, high = paired_bootstrap(a, b, resamples=400, confidence=0.9, seed=i)
        covered += low <= 0.1 <= high
    assert covered / 300 == pytest.approx(0.9, abs=0.05)


def test_a_real_shift_is_found_and_pairing_is_what_finds_it():
    rng = np.random.default_rng(7)
    a = rng.random(80)
    b = np.clip(a + rng.normal(0.02, 0.03, 80), 0, None)
    p, floor = paired_randomisation(a, b)
    assert p < 0.001
    assert floor < (b - a).mean()
    low, _ = paired_bootstrap(a, b)
    assert low > 0
    assert paired_randomisation(a, rng.permutation(b))[0] > 0.05


def test_holm_equals_hand_values_and_is_monotone():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
    with pytest.raises(InputError):
        holm([0.5, float("nan")])


def test_effect_size_limits():
    assert effect_size([1, 2, 3], [1, 2, 3]) == 0.0
    assert effect_size([0, 0], [0.1, 0.1]) == np.inf
    d = np.array([0.1, -0.2, 0.4, 0.3])
    assert effect_size(np.zeros(4), d) == pytest.approx(d.mean() / d.std(ddof=1))


def arms():
    rng = np.random.default_rng(8)
    base = {f"q{i}": v for i, v in enumerate(rng.random(60))}
    return {
        "bm25": base,
        "dense": {q: v + 0.1 + rng.normal(0, 0.05) for q, v in base.items() if q != "q0"} | {"extra": 0.5},
        "noise": {q: v + rng.normal(0, 0.05) for q, v in base.items()},
        "late": None,
        "empty": {},
    }


def test_w68_missing_arms_are_missing_and_only_shared_queries_are_compared():
    report = compare_arms(arms(), metric="ndcg@10", resamples=2000)
    assert report.missing == ("late", "empty")
    dense, noise = report.comparisons
    assert (dense.queries, dense.dropped_baseline, dense.dropped_arm) == (59, ("q0",), ("extra",))
    assert dense.difference == pytest.approx(0.1, abs=0.03)
    assert dense.significant()
    assert not noise.significant()
    assert [c.p_adjusted for c in report.comparisons] == pytest.approx(holm([c.p_value for c in report.comparisons]))
    assert dense.wins + dense.ties + dense.losses == 59


def test_w69_the_report_says_test_pairing_effect_and_interval_in_words():
    report = compare_arms(arms(), metric="ndcg@10", resamples=500, seed=3)
    words = str(report)
    for part in (
        "dense is 0.",
        "higher than bm25 on mean ndcg@10",
        "two-sided paired randomisation test over 59 queries paired by id",
        "Holm over 2 comparisons",
        "95% paired bootstrap interval",
        "effect size d =",
        "noise floor",
        "2 queries that only one arm has were left out",
        "late did not run; it is missing, not zero",
        "not significant",
        "500 resamples, seed 3",
    ):
        assert part in words
    assert json.loads(json.dumps(report.to_dict()))["missing"] == ["late", "empty"]
    same = compare_arms({"a": {"x": 1.0, "y": 2.0}, "b": {"x": 1.0, "y": 2.0}}).comparisons[0]
    assert "b is equal to a" in str(same)
    assert same.p_value == 1.0


def test_ranking_scores_are_accepted_and_name_the_metric():
    qrels = {"a": ["x"], "b": ["y"]}
    one = score_run({"a": ["x"], "b": ["y"]}, qrels, ["mrr"])["mrr"]
    two = score_run({"a": ["y", "x"], "b": ["y"]}, qrels, ["mrr"])["mrr"]
    found = compare_arms({"one": one, "two": two}).comparisons[0]
    assert (found.metric, found.losses, found.ties, found.difference) == ("mrr", 1, 1, -0.25)


def test_bad_input_is_refused():
    for error, call in (
        (DimensionError, lambda: paired_randomisation([1, 2], [1])),
        (DimensionError, lambda: paired_bootstrap([1], [1])),
        (NonFiniteError, lambda: paired_randomisation([1, np.nan], [1, 2])),
        (InputError, lambda: paired_bootstrap([1, 2], [1, 2], confidence=1.0)),
        (InputError, lambda: paired_bootstrap([1, 2], [1, 2], resamples=0)),
        (InputError, lambda: compare_arms({"a": None, "b": {"x": 1.0}})),
        (InputError, lambda: compare_arms({"a": {"x": 1.0, "y": 1.0}, "b": {"z": 1.0}})),
        (InputError, lambda: compare_arms({})),
    ):
        with pytest.raises(error):
            call()
