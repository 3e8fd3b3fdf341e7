"""Every journey has a script, and every script a test that runs it."""

from __future__ import annotations

import pytest

from contracts.package import ROOT

JOURNEYS = {
    "index documents": "01_index_documents",
    "filter": "12_filter_and_hybrid",
    "hybrid": "12_filter_and_hybrid",
    "rerank": "03_rerank_group_facet",
    "deduplicate": "05_deduplicate",
    "import from a rival": "06_import_from_a_rival",
    "adopt in LangChain": "08_langchain",
    "snapshot and restore": "07_snapshot_and_restore",
    "find why not": "04_why_not",
    "learn fusion weights": "10_learn_fusion_weights",
    "monitor": "09_monitor",
    "change an encoder's API": "11_change_api_encoder",
}
SCRIPTS = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("journey", JOURNEYS)
def test_every_journey_has_a_script(journey):
    assert JOURNEYS[journey] in SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_is_run(script):
    test = ROOT / "tests" / "examples" / f"test_{script}.py"
    assert f'"{script}.py"' in test.read_text(encoding="utf-8")
