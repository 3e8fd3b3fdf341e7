"""A comparison from end to end, the engines' own agreement with the truth, and its figures."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from orthant.errors import InputError, MissingExtraError
from orthant.evaluation.ann import engine as engines
from orthant.evaluation.ann import figures, run
from orthant.evaluation.ann.engine import ENGINES, expand_peers, load_engine
from orthant.evaluation.ann.inputs import prepare_inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((12, 16))
    draw = lambda n: (centres[rng.integers(0, 12, n)] + 0.5 * rng.standard_normal((n, 16))).astype(np.float32)  # noqa: E731
    return prepare_inputs(
        "clusters", draw(1_500), {"in": draw(60), "out": rng.standard_normal((60, 16))}, metric="cosine",
        folder=tmp_path_factory.mktemp("clusters"), tune=30, judge=30,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result(inputs):
    installed = [name for name in ("hnswlib", "usearch") if importlib.util.find_spec(name)][:1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "is_installed", lambda name: name in ("orthant", *installed))
        return run.run_ann(inputs, k=5, peers=["scann", *installed], repetitions=2, budget_s=2, targets=(0.9, 0.95))


def test_the_report_has_the_keys_that_scripts_rely_on(result):
    json.dumps(result, allow_nan=False)
    assert {"results", "context"} <= result.keys()
    for entry in result["results"]:
        assert {"engine", "threads", "points", "qps_at", "build_s", "bytes_per_vector"} <= entry.keys()
        assert entry["qps_at"].keys() == {"0.90", "0.95"} and entry["threads"] == 1
        assert all(p["qps_min"] <= p["qps"] <= p["qps_max"] for p in entry["points"])
        recalls = [p["recall"] for p in entry["points"]]
        assert recalls == sorted(recalls) and recalls
    mine = [entry for entry in result["results"] if entry["engine"] == "orthant"]
    assert [entry["queries"] for entry in mine] == ["in", "out"]
    assert mine[0]["points"][-1]["recall"] > 0.9


def test_an_engine_that_is_not_there_is_missing_not_zero(result):
    assert {"engine": "scann", "reason": "not installed"} in result["missing"]
    assert all(entry["engine"] != "scann" for entry in result["results"])


def test_recall_asked_is_measured_with_a_lower_bound(result):
    assert [(one["queries"], one["asked"]) for one in result["kept"]] == [
        (kind, asked) for kind in ("in", "out") for asked in (0.9, 0.95, 0.99)
    ]
    assert all(one["lower_95"] <= one["measured"] <= 1 for one in result["kept"])
    assert [one["calibrated_on"] for one in result["kept"]][::3] == ["rows of its own", "tuning queries"]


def test_ratios_are_to_the_best_peer_within_each_repetition(result):
    peers = {entry["engine"] for entry in result["results"]} - {"orthant"}
    if not peers:
        pytest.skip("no peer is installed")
    assert {one["best_peer"] for one in result["ratios"]} <= peers
    for one in result["ratios"]:
        assert one["ratio_min"] <= one["ratio"] <= one["ratio_max"]


def test_a_failing_engine_does_not_stop_the_others(inputs, monkeypatch):
    def refuse(name, *rest):
        raise run.EngineFailedError("broken")

    monkeypatch.setattr(run, "_prepared", refuse)
    found = run.run_ann(inputs, k=5, peers=[], repetitions=1)
    assert found["missing"] == [{"engine": "orthant", "reason": "broken"}]
    assert found["results"] == found["ratios"] == found["kept"] == []


def test_peers_are_libraries_or_engines():
    assert expand_peers(["faiss"]) == [name for name, info in ENGINES.items() if info.family == "faiss"]
    assert expand_peers(["orthant", "scann", "scann"]) == ["scann"]
    with pytest.raises(InputError, match="the peer 'annoy'"):
        expand_peers(["annoy"])


def test_an_engine_without_its_library_names_the_package(monkeypatch):
    monkeypatch.setattr(engines, "is_installed", lambda name: False)
    with pytest.raises(MissingExtraError, match="pip install faiss-cpu"):
        load_engine("faiss-hnsw")


AGREEMENT = """
import json, sys
import numpy as np
from orthant.errors import InputError
from orthant.evaluation.ann.engine import load_engine
from orthant.evaluation.ann.truth import ground_truth
rng = np.random.default_rng(1)
found = {}
for metric in ("cosine", "dot", "l2"):
    # A mean far from the origin: a rotation that subtracts it must not change the order of inner products.
    X, Q = ((rng.standard_normal((n, 16)) + 0.7).astype(np.float32) * 40 for n in (800, 20))
    if metric == "cosine":
        X, Q = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (X, Q))
    truth = ground_truth(X, Q, k=5, metric=metric, data_sha256="")
    for name in sys.argv[2:]:
        engine = load_engine(name)
        try:
            engine.build(X, metric, threads=1, settings=engine.builds(*X.shape)[0])
        except InputError as error:
            found[f"{name} {metric}"] = str(error)
            continue
        recalls = [truth.recall(engine.search(Q, 5, p[-1], threads=1), Q, X, metric).mean() for p in engine.paths(5)]
        found[f"{name} {metric}"] = max(recalls)
open(sys.argv[1], "w").write(json.dumps(found))
"""
FAMILIES = sorted({info.family for info in ENGINES.values()})


@pytest.mark.parametrize("family", FAMILIES)
def test_engines_find_neighbours_under_every_metric(family, tmp_path):
    names = [name for name, info in ENGINES.items() if info.family == family]
    if not engines.is_installed(names[0]):
        pytest.skip(f"{ENGINES[names[0]].package} is not installed")
    # Each library in a process of its own, as in a comparison: two of them crash each other when loaded together.
    out = tmp_path / "found.json"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", AGREEMENT, str(out), *names], env=environment, capture_output=True)
    assert ran.returncode == 0, ran.stderr.decode()[-2_000:]
    for case, value in json.loads(out.read_text()).items():
        if case.startswith("usearch-i8") and "cosine" not in case:
            assert "unit vectors" in value
        else:
            # Codes of 4 bits and of one leave the refinement more to do than the others, in sixteen dimensions.
            assert value >= (0.8 if "ivf" in case else 0.95), (case, value)


def test_the_page_asks_for_nothing_and_the_curves_are_in_it(result, tmp_path):
    page = figures.render_page(result)
    assert not re.search(r"(src|href)=|@import|url\(|<script", page)
    assert page.count("<svg") == 2 and "recall" in page and "scann" in page
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    names = [path.name for path in figures.write_figures(result, tmp_path / "out")]
    assert names == ["ann.json", "ann.html", "ann.png"]
    assert json.loads((tmp_path / "out" / "ann.json").read_text()) == result
    assert (tmp_path / "out" / "ann.png").read_bytes().startswith(b"\x89PNG")


def test_a_picture_without_matplotlib_is_refused_before_work(monkeypatch, result, tmp_path):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else real(name))
    with pytest.raises(MissingExtraError, match=r"orthant\[bench\]"):
        figures.write_figures(result, tmp_path / "none")
    assert not (tmp_path / "none").exists()
