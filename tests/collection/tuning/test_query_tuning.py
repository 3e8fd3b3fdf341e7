"""Graphs of collections that suit sample queries: published as a generation, kept, and refused without a gain."""

from __future__ import annotations

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder
from index.graph_data import clustered, outside
from orthant.collection.collection import Collection
from orthant.errors import InputError, NotFoundError, StoreReadOnlyError
from orthant.index.vamana import query_tuning
from orthant.index.vamana.query_tuning import QueryTuning

pytestmark = pytest.mark.usefixtures("small_graphs")

DIM = 48


def vectors(n: int, seed: int) -> np.ndarray:
    return clustered(n, DIM, clusters=600, spread=0.7, seed=seed)[0]


def filled(path, X) -> Collection:
    collection = Collection(path, metric="cosine")
    with collection.bulk():
        collection.upsert([f"r{i}" for i in range(len(X))], vectors=X)
    return collection


def test_tuning_is_published_kept_and_used_again(tmp_path, monkeypatch):
    # So few vectors are found anyway: what matters here is that links are kept. What they gain is the index's business.
    monkeypatch.setattr(query_tuning, "_LEAST_GAIN", -9.0)
    X = vectors(1500, 1)
    collection = filled(tmp_path / "c", X)
    reader = orthant.open(tmp_path / "c", read_only=True)
    generation = reader.stats().generation
    report = collection.tune(outside(400, 1))
    assert report.gained and report.linked
    assert reader.stats().generation > generation, "readers pick the graph up"
    told = reader.stats().spaces["default"]["graph"]
    assert QueryTuning.from_dict(told["tuning"]) == report
    assert told["calibration"]["source"] == "queries"
    reader.close()
    assert collection.check().ok
    collection.close()
    with orthant.open(tmp_path / "c") as again:
        # A quarter more: calibrated anew, on the queries, with links for the new rows.
        again.upsert([f"n{i}" for i in range(450)], vectors=vectors(450, 2))
        again.finish()
        graph = again.stats().spaces["default"]["graph"]
        assert graph["rows"] == 1950 and graph["calibration"]["source"] == "queries"
        assert graph["calibration"]["rows"] == 1950 and graph["tuning"]["gained"]
        # More than doubled: built anew, for the same queries.
        with again.bulk():
            again.upsert([f"m{i}" for i in range(2000)], vectors=vectors(2000, 4))
        assert again.stats().spaces["default"]["graph"]["rows"] == 3950
        assert again.stats().spaces["default"]["graph"]["tuning"]["learned"] == report.learned


def test_queries_like_the_records_change_no_link(tmp_path):
    with filled(tmp_path / "c", vectors(1500, 1)) as collection:
        links = collection._store.generation.spaces["default"].attached_graph().adjacency()
        report = collection.tune(vectors(200, 5))
        assert not report.gained
        graph = collection._store.generation.spaces["default"].attached_graph()
        np.testing.assert_array_equal(graph.adjacency(), links)
        assert graph.calibration.source == "queries", "and recall is kept for them from now on"


def test_texts_are_encoded_as_queries(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(300)]
    with orthant.open(tmp_path / "c", encoder=FakeEncoder(dim=24)) as notes:
        with notes.bulk():
            notes.upsert([f"r{i}" for i in range(500)], texts=[" ".join(rng.choice(words, 6)) for _ in range(500)])
        asked = [" ".join(rng.choice(words, 2)) for _ in range(90)]
        report = notes.tune([*asked, *asked])
        assert report.learned + report.held == len(set(asked))


def test_vectors_that_are_reduced_learn_directions(tmp_path, monkeypatch):
    """Above 384 dimensions a graph with directions of the queries is built, and taken where it is cheaper."""
    from orthant.kernels.graph import sketch

    monkeypatch.setattr(sketch, "MOST_DIMS", 12)
    rng = np.random.default_rng(0)
    spread = np.arange(1, DIM + 1) ** -1.0
    X = (rng.standard_normal((1200, DIM)) * spread).astype(np.float32)
    Q = (rng.standard_normal((160, DIM)) * np.roll(spread, 12)).astype(np.float32)
    with filled(tmp_path / "c", X) as collection:
        report = collection.tune(Q)
        assert report.gained and report.reduction == "queries"
        assert collection._store.generation.spaces["default"].attached_graph()._state.space.query_aware


def test_refusals(tmp_path):
    with filled(tmp_path / "c", vectors(450, 1)) as collection:
        number = collection.stats().generation
        for wrong, says in (
            ([], "0 distinct queries"),
            (outside(20, 1), "at least 64"),
            (np.zeros((80, DIM)), "zero"),
            (np.ones((80, 3)), "3"),
        ):
            with pytest.raises(InputError, match=says):
                collection.tune(wrong)
        with pytest.raises(NotFoundError, match="other"):
            collection.tune(outside(80, 1), space="other")
        assert collection.stats().generation == number
    with orthant.open(tmp_path / "c", read_only=True) as reader, pytest.raises((StoreReadOnlyError, AttributeError)):
        reader.tune(outside(80, 1))
    with filled(tmp_path / "few", vectors(50, 1)) as few, pytest.raises(InputError, match="from which on"):
        # Before the texts are encoded: there is no encoder that could.
        few.tune(["one", "two"])
