"""Running rows: seeds, missing data, crashes, quick agreement, and the exit codes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from orthant.errors import InputError, MissingExtraError, NotFoundError
from orthant.papers.record import Claim, ClaimError
from orthant.papers.reproduce import measurement, reproduce, run
from orthant.papers.results import last_measured, parse, read, stale, write
from papers.synthetic import claim, row, trial

KEYS = {
    "name",
    "outcome",
    "data",
    "measured",
    "baseline",
    "strongest_alternative",
    "margin",
    "ablated_outcome",
    "seeds",
    "seconds",
}


def test_a_row_without_claims_is_reported_with_code_3():
    report = run(row(status="planned"))
    assert (report.outcome, report.status, report.claims, report.exit_code) == ("reported", "planned", (), 3)


def test_holding_failing_and_reported_rows_have_their_codes():
    assert run(row(claim())).exit_code == 0
    assert run(row(claim(lambda seed: trial(0.51)))).exit_code == 1
    assert run(row(claim(margin=None))).exit_code == 3
    mixed = row(claim(), claim(lambda seed: trial(0.51), name="second"))
    assert run(mixed).exit_code == 1


def test_the_json_has_the_promised_keys_and_is_json():
    out = json.loads(json.dumps(run(row(claim())).as_json(), allow_nan=False))
    assert {"key", "outcome", "status", "claims"} <= set(out)
    assert set(out["claims"][0]) >= KEYS
    assert out["claims"][0]["seeds"] == [101, 102, 103]
    assert out["claims"][0]["measured"]["recall"] > out["claims"][0]["strongest_alternative"]["recall"]


def test_missing_data_is_neither_and_nothing_runs(monkeypatch, tmp_path):
    ran = []

    def run_claim(seed):
        ran.append(seed)
        return trial(0.65)

    needy = row(claim(run_claim), claim(run_claim, name="needy", needs=("cranfield", "npl")))
    (tmp_path / "npl").mkdir()
    monkeypatch.setenv("ORTHANT_DATA", str(tmp_path))
    report = run(needy)
    assert (report.outcome, report.exit_code, report.missing, report.claims) == ("missing", 4, ("cranfield",), ())
    assert ran == []
    monkeypatch.delenv("ORTHANT_DATA")
    assert run(needy).missing == ("cranfield", "npl")
    (tmp_path / "cranfield").mkdir()
    monkeypatch.setenv("ORTHANT_DATA", str(tmp_path))
    assert run(needy).exit_code == 0


def test_a_claim_that_raises_is_an_error_and_not_a_failure():
    def explode(seed):
        raise ZeroDivisionError("no rows")

    with pytest.raises(ClaimError, match=r"ZeroDivisionError.*'beats-rival' of 'muvera' under seed 101") as caught:
        run(row(claim(explode)))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_missing_extra_passes_through_with_its_own_advice():
    def no_torch(seed):
        raise MissingExtraError("install orthant[learn]")

    with pytest.raises(MissingExtraError, match=r"orthant\[learn\]"):
        run(row(claim(no_torch)))


def test_fresh_seeds_judge_and_a_given_seed_starts_a_run_of_as_many():
    assert run(row(claim())).claims[0].seeds == (101, 102, 103)
    assert run(row(claim()), seed=500).claims[0].seeds == (500, 501, 502)


@pytest.mark.parametrize("seed", [0, 2, -1])
def test_development_and_negative_seeds_are_refused(seed):
    with pytest.raises(InputError, match="seed"):
        run(row(claim()), seed=seed)


def test_an_unknown_key_names_the_nearest():
    with pytest.raises(NotFoundError, match="'leanvec'"):
        reproduce("leanvek")


def test_progress_is_told_before_each_trial():
    lines = []
    run(row(claim()), progress=lines.append)
    assert lines == [f"muvera: beats-rival, seed {seed}" for seed in (101, 102, 103)]


def test_w65_quick_runs_one_seed_nobody_has_seen_and_agrees():
    works = row(claim())
    committed = measurement(works, run(works))
    report = run(works, quick=True, committed=committed)
    assert report.claims[0].seeds == (104,)
    assert (report.outcome, report.exit_code) == ("holds", 0)
    assert report.claims[0].note.startswith("quick: gain")
    assert run(works, quick=True, seed=9, committed=committed).claims[0].seeds == (9,)


def test_w65_quick_fails_when_the_figures_left_the_recorded_spread():
    works = row(claim())
    committed = measurement(works, run(works))
    for value in (0.52, 0.95):
        changed = row(claim(lambda seed, value=value: trial(value)))
        assert run(changed, quick=True, committed=committed).exit_code == 1


def test_quick_compares_with_the_alternative_that_was_recorded():
    works = row(claim())
    committed = measurement(works, run(works))
    lucky = row(claim(lambda seed: trial(0.654, weak=0.60)))
    report = run(lucky, quick=True, committed=committed)
    assert (report.claims[0].alternative, report.outcome) == ("rival", "holds")


def test_quick_keeps_a_recorded_failure_a_failure_and_a_report_a_report():
    for planned, code in ((claim(lambda seed: trial(0.51)), 1), (claim(margin=None), 3)):
        works = row(planned)
        committed = measurement(works, run(works))
        assert run(works, quick=True, committed=committed).exit_code == code


def test_quick_without_a_committed_result_says_what_to_do():
    with pytest.raises(NotFoundError, match="without --quick"):
        run(row(claim()), quick=True)


def test_results_survive_writing_and_reading(tmp_path):
    works = row(claim())
    result = measurement(works, run(works))
    first, second = write(result, homes=(tmp_path / "a", tmp_path / "b"))
    assert first.read_bytes() == second.read_bytes()
    assert read("muvera", home=tmp_path / "a") == result
    line = last_measured("muvera", home=tmp_path / "a")
    assert line.startswith("beats-rival holds: recall 0.65") and "against 0.5 (rival)" in line
    assert not stale(works, home=tmp_path / "a")
    write(replace(result, code_sha256="0" * 64), homes=(tmp_path / "a",))
    assert stale(works, home=tmp_path / "a")


def test_the_code_hash_follows_the_modules_a_row_names():
    from orthant.papers.results import code_sha256

    assert code_sha256(row()) == code_sha256(row())
    assert code_sha256(row()) != code_sha256(row(lives_in=("orthant.validate",)))
    assert code_sha256(row(lives_in=("orthant.kernels",))) != code_sha256(row(lives_in=("orthant.no.such",)))


def test_the_data_hash_follows_names_and_contents(monkeypatch, tmp_path):
    from orthant.papers.results import data_sha256

    monkeypatch.setenv("ORTHANT_DATA", str(tmp_path))
    (tmp_path / "npl").mkdir()
    (tmp_path / "npl" / "a.txt").write_text("one")
    before = data_sha256(["npl", "absent"])
    assert set(before) == {"npl"} and data_sha256(["npl"]) == before
    (tmp_path / "npl" / "a.txt").write_text("two")
    assert data_sha256(["npl"]) != before


def test_a_damaged_result_is_refused(tmp_path):
    from orthant.errors import StoreCorruptedError, StoreVersionError

    works = row(claim())
    (path,) = write(measurement(works, run(works)), homes=(tmp_path,))
    text = path.read_text()
    for damaged in (text[: len(text) // 2], "[]", "{}", text.replace('"gains"', '"grains"')):
        with pytest.raises(StoreCorruptedError):
            parse(damaged)
    with pytest.raises(StoreVersionError, match="Upgrade"):
        parse(text.replace('"format": 1', '"format": 99'))
    path.rename(tmp_path / "crisp.json")
    with pytest.raises(StoreCorruptedError, match="crisp"):
        read("crisp", home=tmp_path)


def test_a_report_without_results_is_not_committed():
    with pytest.raises(InputError, match="without results"):
        measurement(row(), run(row()))


@pytest.mark.parametrize(
    "options",
    [
        {"ablation": ""},
        {"margin": -0.1},
        {"margin": float("nan")},
        {"fresh_seeds": (101, 102)},
        {"fresh_seeds": (101, 101, 101)},
        {"fresh_seeds": (2, 101, 102)},
        {"fresh_seeds": (), "margin": None},
    ],
)
def test_claims_that_break_the_rule_cannot_be_written(options):
    with pytest.raises(InputError, match="beats-rival"):
        claim(**options)


def test_an_untrained_claim_may_judge_on_one_seed():
    assert isinstance(claim(trained=False, fresh_seeds=(101,)), Claim)
