"""The rule of truth must notice each way in which a row can claim too much."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orthant.papers.contract import violations
from orthant.papers.reproduce import measurement, run
from papers.synthetic import claim, row, trial


def measured(works):
    return measurement(works, run(works))


def test_rows_with_cover_pass():
    for status, data in (("works", "real"), ("shown", "real"), ("shown-generated", "generated")):
        covered = row(claim(data=data), status=status)
        assert violations(covered, measured(covered)) == []
    assert violations(row(status="planned"), None) == []


def test_a_planned_row_has_no_result():
    assert "planned" in violations(row(status="planned"), measured(row(claim())))[0]


def test_a_row_needs_claims_a_result_and_modules():
    found = " | ".join(violations(row(status="works", lives_in=("orthant.no_such_module",)), None))
    assert "does not import" in found and "without a claim" in found and "without a committed result" in found
    assert "lives nowhere" in " ".join(violations(row(claim(), lives_in=()), measured(row(claim()))))


def test_a_module_that_lacks_an_installed_dependency_is_not_excused(monkeypatch, tmp_path):
    (tmp_path / "needs_missing.py").write_text("import no_such_dependency\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = row(claim(), lives_in=("needs_missing",))
    assert "does not import" in violations(broken, measured(broken))[0]


def test_a_module_that_only_lacks_torch_is_passed_over(monkeypatch, tmp_path):
    source = "raise ImportError('No module named torch', name='torch')\n"
    (tmp_path / "needs_torch.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    learned = row(claim(), lives_in=("needs_torch",))
    result = measured(learned)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert violations(learned, result) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert "does not import" in violations(learned, result)[0]


@pytest.mark.parametrize("status", ["shown", "shown-generated"])
def test_shown_needs_a_claim_of_its_kind_that_holds(status):
    other = {"shown": "generated", "shown-generated": "real"}[status]
    for covered in (row(claim(data=other), status=status), row(claim(margin=None), status=status)):
        assert any("holds" in text for text in violations(covered, measured(covered)))


def test_shown_may_not_hide_a_claim_that_fails():
    mixed = row(claim(), claim(lambda seed: trial(0.51), name="second"), status="shown")
    assert any("a claim fails" in text for text in violations(mixed, measured(mixed)))


def test_a_margin_lowered_after_measuring_is_noticed():
    result = measured(row(claim(margin=0.10)))
    assert "changed its margin" in violations(row(claim(margin=0.01), status="shown"), result)[0]


def test_an_outcome_edited_by_hand_is_noticed():
    failing = row(claim(lambda seed: trial(0.51)), status="shown")
    result = measured(failing)
    forged = replace(result, outcome="holds", claims=(replace(result.claims[0], outcome="holds"),))
    assert any("do not come to" in text for text in violations(failing, forged))
    assert any("do not come to" in text for text in violations(failing, replace(result, outcome="holds")))


def test_results_of_other_rows_claims_and_seeds_are_noticed():
    works = row(claim())
    result = measured(works)
    assert any("result of crisp" in text for text in violations(works, replace(result, key="crisp")))
    renamed = " | ".join(violations(row(claim(name="another")), result))
    assert "not a claim" in renamed and "no committed result" in renamed
    developed = replace(result, claims=(replace(result.claims[0], seeds=(0, 1, 2)),))
    assert any("developed on" in text for text in violations(works, developed))
    fewer = replace(result, claims=(replace(result.claims[0], seeds=(101,), gains=(0.15,), ablated_gains=(0.0,)),))
    assert any("fewer seeds" in text for text in violations(works, fewer))
