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


sys.path.insert(0, str(ROOT / "scripts"))
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


def _ann(ratio, lower):
    ratio = {"queries": "in", "recall": 0.95, "best_peer": "scann", "ratio": ratio, "ratio_min": 1.0, "ratio_max": 2.0}
    found = {
        "context": {"data": {"name": "texts", "vectors": 70_000, "dim": 384}},
        "results": [{"engine": "orthant", "queries": "in", "qps_at": {"0.95": 5_000.0}}],
        "ratios": [ratio | {"build_cpu_ratio": 1.2, "memory_ratio": 0.4}],
        "kept": [
            {"queries": "in", "asked": 0.9, "measured": 0.95, "lower_95": 0.94},
            {"queries": "out", "asked": 0.99, "measured": 0.985, "lower_95": lower},
        ],
    }
    targets = {"in": {"0.95": 1.2}, "build_cpu_ratio": 1.0, "memory_ratio": 0.5}
    targets |= {"kept_below_asked": 0.01, "without_avx512": 1.0}
    return {"targets": targets, "sets": {"texts": found}, "without_avx512": found}


def test_index_benchmarks_render_with_their_targets(tmp_path):
    (tmp_path / "ann.json").write_text(json.dumps(_ann(1.5, 0.981)))
    table = figures.figures(tmp_path)
    assert "5,000 queries/s, 1.50 x scann (1.00 to 2.00) | 1.2 x: met" in table
    assert "1.20 x scann | at most 1 x: **missed**" in table and "0.40 x scann | at most 0.5 x: met" in table
    assert "asked 0.99 (out): 0.985, at least 0.981 (95 %) | at least 0.98: met" in table
    (tmp_path / "ann.json").write_text(json.dumps(_ann(None, 0.97)))
    table = figures.figures(tmp_path)
    assert "not reached scann | 1.2 x: **missed**" in table and "at least 0.98: **missed**" in table


def test_the_gain_of_a_second_thread_is_rendered_part_by_part(tmp_path):
    good, bad = ({"ratio": r, "ratio_low": r - 0.1, "ratio_high": r + 0.1} for r in (1.9, 1.7))
    record = {"targets": {"ratio": 1.8}, "search": {"in at 0.95": good}, "build": bad, "context": {"data": "texts"}}
    (tmp_path / "two_threads.json").write_text(json.dumps(record))
    table = figures.figures(tmp_path)
    assert "against one, search, in at 0.95 | 1.90 x (1.80 to 2.00) | 1.8 x: met" in table
    assert "against one, build | 1.70 x (1.60 to 1.80) | 1.8 x: **missed**" in table


@pytest.mark.parametrize(
    ("recall", "speedup", "word"), [(0.96, 1.1, "met"), (0.94, 1.1, "missed"), (1.0, 0.9, "missed")]
)
def test_filtered_benchmarks_render_the_worst_cell(tmp_path, recall, speedup, word):
    cell = {"relation": "correlated", "predicate": "set", "selectivity": 0.01, "best_rival": "exact-blas"}
    good = cell | {"speedup": 3.0, "arms": {"orthant": {"recall": 1.0, "p50_ms": 0.5}}}
    bad = cell | {"speedup": speedup, "arms": {"orthant": {"recall": recall, "p50_ms": 2.0}}}
    kept = [{"relation": "correlated", "selectivity": 0.01, "asked": 0.9, "measured": 0.95, "lower_95": 0.93}]
    record = {
        "context": {"data": {"name": "tokens", "vectors": 1_000_000}},
        "targets": {"recall": 0.95, "speedup": 1.0, "kept_below_asked": 0.01},
        "cells": [good, bad],
        "kept": kept,
        "equivalent": [{"identical": True}, {"identical": False}],
    }
    (tmp_path / "filtered.json").write_text(json.dumps(record))
    table = figures.figures(tmp_path)
    shown = word if word == "met" else "**missed**"
    assert f"{speedup:.2f} x exact-blas at least (correlated, set) | recall 0.95 and never slower: {shown}" in table
    assert "at least 0.930 (95 %) | at least 0.89: met" in table
    assert "identical answers in 1 of 2 cells | all: **missed**" in table


def test_rivals_and_real_attributes_are_rendered_under_filters(tmp_path):
    def arms(mine, its):
        return {"orthant": {"recall": 1.0, "p50_ms": mine}, "lancedb": {"recall": its[0], "p50_ms": its[1]}}

    about = {"data": {"name": "tokens", "vectors": 1_000}, "rivals": {"lancedb": {}}}
    near, far = ({"relation": one, "selectivity": 0.1} for one in ("near", "far"))
    cells = [near | {"arms": arms(*one)} for one in ((1.0, (0.96, 5.0)), (2.0, (0.99, 3.0)), (1.0, (0.5, 0.1)))]
    cells.append(far | {"arms": {"orthant": {"recall": 1.0, "p50_ms": 1.0}}})

    def points(**qps):
        figures = {"bucket": "0-1", "recall": 0.97, "compared": None}
        return [{"arm": arm, "points": [{"by_bucket": [figures | {"qps": value}]}]} for arm, value in qps.items()]

    kinds = [{"kind": "set", "arms": points(planner=300.0, scan=100.0, other=200.0)},
             {"kind": "range", "arms": points(planner=50.0, scan=100.0)}]  # fmt: skip
    cell = {"relation": "x", "predicate": "set", "selectivity": 0.1, "best_rival": "scan", "speedup": 1.0}
    record = {
        "context": about, "targets": {"recall": 0.95, "speedup": 1.0, "kept_below_asked": 0.01}, "equivalent": [],
        "kept": [{"relation": "x", "selectivity": 0.1, "asked": 0.9, "measured": 0.95, "lower_95": 0.93}],
        "cells": [cell | {"arms": arms(1.0, (0.96, 2.0))}], "rivals": {"context": about, "cells": cells},
        "study": {"drawn": {"kinds": kinds, "context": {"data": {"name": "texts", "vectors": 70}}}},
    }  # fmt: skip
    (tmp_path / "filtered.json").write_text(json.dumps(record))
    table = figures.figures(tmp_path)
    shown = "lancedb | recall 0.95 reached in 2 of 3 cells (the worst 0.500), there p50 3.00 to 5.00 ms; "
    shown += "1.5 (near, 10.0%) to 5 x ours"
    assert f"{shown} where both do (2 cells); far not measured | never quicker at that recall: met" in table
    shown = "drawn, 2 cells | the planner is the quickest with recall 0.95 in 1; 0.50 x scan (range, 0-1) at least"
    assert f"{shown} | never slower: **missed**" in table


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
