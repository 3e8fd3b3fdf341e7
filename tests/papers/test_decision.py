"""What figures mean: each test of the rule of truth, alone, must be able to stop a claim."""

from __future__ import annotations

import math

import pytest

from orthant.papers.decision import agrees, beats, judge, prediction_half_width, row_outcome, verdict
from orthant.papers.record import ClaimError, Trial
from papers.synthetic import claim, trial


def trials(*measured, **arms):
    return {101 + i: trial(value, **arms) for i, value in enumerate(measured)}


def test_a_claim_that_clears_its_margin_with_a_failing_twin_holds():
    result = judge(claim(), trials(0.62, 0.64, 0.66), seconds=1.5)
    assert (result.outcome, result.ablated_outcome) == ("holds", "fails")
    assert result.alternative == "rival"
    assert result.measured == pytest.approx({"recall": 0.64, "bytes": 96.0})
    assert result.baseline == pytest.approx({"recall": 0.40})
    assert result.strongest_alternative == pytest.approx({"recall": 0.50})
    assert result.gains == pytest.approx((0.12, 0.14, 0.16))
    assert result.ablated_gains == pytest.approx((-0.02, -0.02, -0.02))
    assert (result.seeds, result.seconds, result.margin) == ((101, 102, 103), 1.5, 0.10)


def test_being_ahead_by_less_than_the_margin_fails():
    assert judge(claim(), trials(0.58, 0.59, 0.60)).outcome == "fails"


def test_beating_only_the_weak_alternative_and_the_baseline_fails():
    assert judge(claim(), trials(0.45, 0.45, 0.45)).outcome == "fails"


def test_the_baseline_counts_when_it_is_the_strongest():
    result = judge(claim(), trials(0.65, 0.65, 0.65, baseline=0.60))
    assert (result.outcome, result.alternative) == ("fails", "baseline")


def test_one_seed_behind_the_alternative_fails_whatever_the_mean():
    assert judge(claim(), trials(0.90, 0.90, 0.49)).outcome == "fails"


def test_an_ablation_that_still_passes_is_not_holding():
    result = judge(claim(), trials(0.65, 0.65, 0.65, ablated=0.64))
    assert (result.outcome, result.ablated_outcome) == ("fails", "holds")


def test_an_ablation_better_on_average_is_not_holding_even_if_one_seed_stops_it():
    assert verdict([0.12, 0.12, 0.12], [0.30, 0.30, -0.01], 0.1) == ("fails", "fails")


def test_a_margin_that_is_met_exactly_is_met():
    assert judge(claim(margin=0.1), trials(0.6, 0.6, 0.6)).outcome == "holds"


def test_lower_is_better_turns_the_gains_around():
    lower = claim(direction="lower", margin=0.05)
    runs = {
        seed: Trial(
            measured={"recall": 0.2},
            baseline={"recall": 0.9},
            alternatives={"a": {"recall": 0.3}, "b": {"recall": 0.8}},
            ablated={"recall": 0.4},
        )
        for seed in (101, 102, 103)
    }
    result = judge(lower, runs)
    assert (result.outcome, result.alternative) == ("holds", "a")
    assert result.gains == pytest.approx((0.1, 0.1, 0.1))


def test_without_a_margin_a_claim_is_reported_whatever_its_figures():
    for value in (0.1, 0.99):
        result = judge(claim(margin=None), trials(value))
        assert (result.outcome, result.ablated_outcome, result.margin) == ("reported", None, None)


def test_a_reported_claim_needs_no_alternative_and_no_twin():
    result = judge(claim(margin=None), {101: Trial(measured={"recall": 0.5}, baseline={"recall": 0.4})})
    assert (result.alternative, result.ablated, result.gains) == ("baseline", {}, (pytest.approx(0.1),))


@pytest.mark.parametrize(
    "broken",
    [
        Trial(
            measured={"recall": math.nan},
            baseline={"recall": 0.4},
            alternatives={"a": {"recall": 0.1}},
            ablated={"recall": 0.1},
        ),
        Trial(
            measured={"recall": 0.9},
            baseline={"recall": 0.4},
            alternatives={"a": {"other": 0.1}},
            ablated={"recall": 0.1},
        ),
        Trial(measured={"recall": 0.9}, baseline={"recall": 0.4}, alternatives={"a": {"recall": 0.1}}),
        Trial(measured={"recall": 0.9}, baseline={"recall": 0.4}, ablated={"recall": 0.1}),
        Trial(
            measured={"recall": 0.9},
            baseline={"recall": 0.4},
            alternatives={"baseline": {"recall": 0.1}},
            ablated={"recall": 0.1},
        ),
    ],
    ids=["nan", "metric-missing", "no-twin", "no-alternative", "name-taken"],
)
def test_figures_that_cannot_be_judged_raise_instead_of_failing(broken):
    with pytest.raises(ClaimError, match="beats-rival"):
        judge(claim(), {101: broken})


def test_an_arm_missing_under_one_seed_raises():
    runs = trials(0.65, 0.65)
    runs[103] = Trial(
        measured={"recall": 0.9},
        baseline={"recall": 0.4},
        alternatives={"weak": {"recall": 0.1}},
        ablated={"recall": 0.1},
    )
    with pytest.raises(ClaimError, match="seed 103"):
        judge(claim(), runs)
    with pytest.raises(ClaimError, match="every seed"):
        judge(claim(margin=None), {101: trial(0.6), 102: trial(0.6, ablated=None)})
    with pytest.raises(ClaimError, match="without a trial"):
        judge(claim(), {})


def test_row_outcomes():
    assert row_outcome([]) == "reported"
    assert row_outcome(["reported", "reported"]) == "reported"
    assert row_outcome(["holds", "reported"]) == "holds"
    assert row_outcome(["holds", "fails", "reported"]) == "fails"


def test_no_gains_beat_nothing():
    assert not beats([], 0.0)
    assert not beats([0.0, 0.0], 0.0)


def test_prediction_interval_against_tables():
    # Student's t, 97.5 %: 4.3027 for 2 and 2.7764 for 4 degrees of freedom.
    assert prediction_half_width([1.0, 2.0, 3.0]) == pytest.approx(4.3027 * math.sqrt(4 / 3), rel=1e-4)
    assert prediction_half_width([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2.7764 * math.sqrt(2.5 * 1.2), rel=1e-4)
    assert prediction_half_width([0.3], scale=0.8) == pytest.approx(0.008)
    assert prediction_half_width([0.3, 0.3], scale=0.8) == pytest.approx(0.008)


def test_agreement_needs_the_recorded_spread_and_the_lead():
    recorded = judge(claim(), trials(0.64, 0.65, 0.66))
    assert agrees(judge(claim(), {200: trial(0.66)}), recorded)[0]
    assert not agrees(judge(claim(), {200: trial(0.75)}), recorded)[0]
    assert not agrees(judge(claim(), {200: trial(0.56)}), recorded)[0]
    same_gain_but_the_twin_is_ahead = judge(claim(), {200: trial(0.65, ablated=0.66)})
    assert not agrees(same_gain_but_the_twin_is_ahead, recorded)[0]


def test_a_comparison_can_be_held_against_the_recorded_alternative():
    result = judge(claim(), trials(0.65), alternative="weak")
    assert (result.alternative, result.gains) == ("weak", (pytest.approx(0.35),))
    with pytest.raises(ClaimError, match="gone"):
        judge(claim(), trials(0.65), alternative="gone")
