"""Pages that are rendered from the package or from result files are up to date and complete."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import sys

import pytest

from contracts.package import ROOT


def _script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


figures = _script("render_figures")
reference = _script("render_reference")


def test_readme_shows_the_committed_figures():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == figures.rendered(text), "run `python scripts/render_figures.py`"


def test_missing_results_give_no_rows(tmp_path):
    assert figures.figures(tmp_path).count("\n") == 1


def test_every_row_names_a_script_that_exists():
    for script in re.findall(r"`(benchmarks/[\w.]+)`", figures.figures()):
        assert (ROOT / script).is_file(), script


@pytest.mark.parametrize(("slowest", "word"), [(9.0, "met"), (11.0, "**missed**")])
def test_a_missed_target_is_said(tmp_path, slowest, word):
    results = [{"expression": "a", "median_ms": 1.0}, {"expression": "b", "median_ms": slowest}]
    record = {"rows": 10, "budget_ms": 10.0, "results": results}
    (tmp_path / "where_bitmap.json").write_text(json.dumps(record))
    assert f"10 ms each: {word}" in figures.figures(tmp_path)


def test_all_result_shapes_render(tmp_path):
    spent = {"p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0, "max_ms": 4.0}
    records = {
        "collection_speed": {
            "records": 100,
            "mean_words": 40.0,
            "ingest": {"records_per_s": [10.0, 12.0]},
            "ingest_records_per_s_median": 11.0,
            "search": {"lexical": spent, "hybrid_filtered": spent},
            "process_start_to_first_hit_s": [0.5, 0.4, 0.6],
            "import": {"numpy_s": 0.1, "numpy_and_orthant_s": 0.3},
        },
        "static_encoder": {
            "arms": {
                "static": {
                    "dim": 8,
                    "bytes": 1_000_000,
                    "stsb_test_spearman": 0.7,
                    "speed": {"batch_1024": {"20_tokens": {"texts_per_cpu_s": 1000}}},
                },
                "minilm": {"dim": 8, "bytes": 90_000_000, "stsb_test_spearman": 0.8},
            }
        },
        "hybrid_weights": {
            "metric": "ndcg@10",
            "encoder": "static",
            "sets": {
                "npl": {"lexical": 0.3, "dense": 0.2, "hybrid": 0.31, "p_value": 0.2, "hybrid_above_lexical": True}
            },
        },
        "retrieval": {"metric": "ndcg@10", "sets": {"npl": {"static dense": 0.2, "note": "not a figure"}}},
    }
    for name, record in records.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
    table = figures.figures(tmp_path)
    assert "0.200 s | 0.15 s: **missed**" in table
    assert "static 0.700, minilm 0.800" in table
    assert "0.300, 0.200, 0.310 (p 0.200) | hybrid above BM25: met" in table
    assert "static dense 0.200 |" in table
    assert "| New process to first hit | 0.50 s |" in table


def test_the_reference_is_up_to_date():
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run `python scripts/render_reference.py`"


@pytest.mark.parametrize("name", [*reference.MODULES, *reference.RECORDS])
def test_w58_every_public_name_is_documented(name):
    module = importlib.import_module(name)
    section = reference.page().split(f"\n## {name}\n")
    names = reference.public(module)
    assert bool(names) == (len(section) == 2)
    for public in names:
        row = re.search(rf"^\| `{re.escape(public)}` \| \w+ \| (.+) \|$", section[1], re.MULTILINE)
        assert row and row.group(1).rstrip().endswith((".", ")", ":")), f"{name}.{public}"
