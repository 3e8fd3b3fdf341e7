"""``orthant tune``."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from index.graph_data import clustered, outside
from orthant.collection.storage import merging
from orthant.index.vamana import query_tuning


@pytest.fixture
def vectors(tmp_path, monkeypatch):
    monkeypatch.setattr(merging, "BREAK_EVEN", 400)
    X = clustered(600, clusters=600, spread=0.7, seed=1)[0]
    with orthant.open(tmp_path / "c") as collection, collection.bulk():
        collection.upsert([f"r{i}" for i in range(len(X))], vectors=X)
    return tmp_path / "c"


def test_a_gain_exits_with_zero_and_none_with_one(run, vectors, tmp_path, monkeypatch):
    np.save(tmp_path / "outside.npy", outside(100, 1))
    monkeypatch.setattr(query_tuning, "_LEAST_GAIN", -9.0)
    told = run("tune", vectors, "--queries", tmp_path / "outside.npy", "--json")
    assert told.code == 0 and told.json["gained"] and told.json["space"] == "default"
    np.save(tmp_path / "inside.npy", clustered(100, clusters=600, spread=0.7, seed=2)[0])
    monkeypatch.setattr(query_tuning, "_LEAST_GAIN", 9.0)
    ran = run("tune", vectors, "--queries", tmp_path / "inside.npy")
    assert ran.code == 1 and "nothing gained" in ran.out


def test_refusals(refused, built, tmp_path):
    refused("tune", built, "--queries", tmp_path / "absent.txt", says=("no file",))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    refused("tune", built, "--queries", tmp_path / "latin.txt", says=("UTF-8",))
    (tmp_path / "none.txt").write_text("\n\n")
    (tmp_path / "none.jsonl").write_text("")
    for name in ("none.txt", "none.jsonl"):
        for verb in ("tune", "compress", "tokens"):
            refused(verb, built, "--queries", tmp_path / name, says=("no query in",))
    (tmp_path / "few.txt").write_text("red kite\n\nblue boat\n")
    refused("tune", built, "--queries", tmp_path / "few.txt", says=("from which on",))
