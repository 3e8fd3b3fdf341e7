"""``orthant bench``: JSON with the promised keys, files, tables, and refusals."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Vectors and queries, in two formats."""
    folder = tmp_path_factory.mktemp("vectors")
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", rng.standard_normal((600, 8)).astype(np.float16))
    np.savez(folder / "q.npz", all=rng.standard_normal((40, 8)))
    return ["--vectors", folder / "x.npy", "--queries", f"{folder / 'q.npz'}:all"]


def test_ann_prints_one_object_with_the_promised_keys(run, files):
    ran = run("bench", "ann", *files, "--peers", "none", "--repetitions", 1, "--recall", 0.9, "--k", 3, "--json")
    assert ran.code == 0, ran.err
    (entry,) = ran.json["results"]
    assert entry["engine"] == "orthant" and entry["threads"] == 1
    assert entry["qps_at"].keys() == {"0.90", "0.95", "0.99"}
    assert entry["points"][-1].keys() >= {"recall", "qps"} and entry["build_s"] >= 0
    assert [one["asked"] for one in ran.json["kept"]] == [0.9]
    context = ran.json["context"]
    assert context["k"] == 3 and context["data"]["vectors"] == 600 and len(context["data_sha256"]) == 64


def test_ann_shows_a_table_and_writes_files(run, files, tmp_path):
    if importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib is not installed")
    out = tmp_path / "figures"
    ran = run("bench", "ann", *files, "--peers", "none", "--repetitions", 1, "--metric", "l2", "--out", out)
    assert ran.code == 0, ran.err
    assert "orthant" in ran.out and "bytes/vector" in ran.out and "600 x 8, l2" in ran.out
    assert sorted(path.name for path in out.iterdir()) == ["ann.html", "ann.json", "ann.png"]


def test_filtered_shows_a_table_and_writes_json(run, files, tmp_path):
    chosen = [*files, "--selectivity", 0.1, "--cell-budget-s", 0.01, "--out", tmp_path]
    ran = run("bench", "filtered", *chosen)
    assert ran.code == 0, ran.err
    assert "anti-correlated" in ran.out and "unlike in 0 of 3" in ran.out
    assert len(json.loads((tmp_path / "filtered.json").read_text())["cells"]) == 9


def test_what_makes_no_sense_is_refused(refused, files, tmp_path, monkeypatch):
    monkeypatch.setenv("ORTHANT_CACHE", str(tmp_path))
    refused("bench", "ann", says=["--data NAME"])
    refused("bench", "ann", *files, "--data", "mnist", says=["Choose one"])
    refused("bench", "ann", "--data", "nothing", says=["minilm_short_texts"])
    refused("bench", "ann", "--data", "token_vectors", says=["make_vectors.py"])
    refused("bench", "ann", *files, "--peers", "annoy", says=["annoy", "hnswlib"])
    refused("bench", "ann", *files, "--recall", "1.5", says=["1.5"])
    refused("bench", "ann", *files, "--metric", "hamming", says=["hamming", "cosine"])
    refused("bench", "filtered", *files, "--selectivity", "7", says=["selectivity"])
    refused("bench", "ann", "--vectors", tmp_path / "none.npy", "--queries", tmp_path / "none.npy", says=["none.npy"])
    refused("bench", "collection", "--rivals", "pinecone", says=["pinecone", "lancedb"])


def test_study_of_filters_runs_over_a_folder(run, tmp_path):
    from orthant.datasets.vector_files import write_vectors

    rng = np.random.default_rng(0)
    write_vectors(tmp_path / "database_vectors.fvecs", rng.standard_normal((300, 6)).astype(np.float32))
    write_vectors(tmp_path / "query_vectors.fvecs", rng.standard_normal((8, 6)).astype(np.float32))
    rows = [json.dumps({"main_categories": ["cs"] if i % 2 else ["math"]}) for i in range(300)]
    (tmp_path / "database_attributes.jsonl").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "emis_query_attributes.jsonl").write_text('{"label": "cs"}\n' * 8, encoding="utf-8")
    done = run("bench", "filtered", "--study", tmp_path, "--k", 5, "--count", 6, "--json")
    assert done.code == 0, done.err
    found = done.json["kinds"]
    assert [one["kind"] for one in found] == ["set"] and found[0]["queries"] == 6
    assert {"planner", "navigating-graph"} <= {arm["arm"] for arm in found[0]["arms"]}
    refused = run("bench", "filtered", "--study", tmp_path, "--data", "mnist")
    assert refused.code == 2 and "--study" in refused.err
