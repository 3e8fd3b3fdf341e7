"""What is made ready before anybody asks: graphs and their code where there are some, words where they are many."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from collection.fake_graph import FakeGraph
from orthant.collection.legs import preparing
from orthant.collection.storage import graphs, merging


@pytest.fixture
def begun(monkeypatch):
    told = []
    monkeypatch.setattr(preparing, "ensure_compiling", lambda group, *, after_s: told.append((group, after_s)))
    return told


def filled(path, count):
    X = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    collection = orthant.open(path)
    collection.upsert([f"r{i}" for i in range(count)], vectors=X)
    collection.add_space("words", dim=4, metric="dot", kind="tokens")
    return collection


def test_a_graph_is_loaded_and_its_code_begun(tmp_path, monkeypatch, begun):
    monkeypatch.setattr(merging, "BREAK_EVEN", 100)
    monkeypatch.setattr(FakeGraph, "log", [])
    monkeypatch.setattr(graphs, "graph_class", lambda: FakeGraph)
    monkeypatch.setattr(preparing, "_WORTH", 200)
    with filled(tmp_path / "c", 300) as collection:
        collection.finish()
    FakeGraph.log.clear()
    with orthant.open(tmp_path / "c", read_only=True) as collection:
        preparing.prepare_searches(collection._store.refreshed())
        assert FakeGraph.log == ["attach"]
        assert begun == [("graph", 0), ("retrieval", 0)]
        collection.search(vector=[1.0, 0, 0, 0], mode="dense")
        assert FakeGraph.log == ["attach"]


def test_a_small_collection_needs_nothing(tmp_path, begun):
    with filled(tmp_path / "c", 50) as collection:
        preparing.prepare_searches(collection._store.refreshed())
    assert begun == []
