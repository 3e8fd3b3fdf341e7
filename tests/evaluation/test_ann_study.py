"""Recall against dimension, by query and by insertion order."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets.generators import subspace_sphere
from orthant.errors import InputError
from orthant.evaluation import ann_study
from orthant.evaluation.ann_study import compare_orders, recall_against_dimension, recall_by_local_dimension
from orthant.evaluation.graph_engines import ENGINES, build_graph, installed_engines
from orthant.measures import recall_at_k

PEERS = [name for name in installed_engines() if name in ("faiss", "hnswlib")]
needs_peer = pytest.mark.skipif(not PEERS, reason="needs faiss-cpu or hnswlib: make setup")


@pytest.fixture(scope="module")
def mixed():
    """Points and queries of which every other one has many dimensions, and the other few."""
    drawn = np.empty((3200, 128), dtype=np.float32)
    drawn[::2], drawn[1::2] = subspace_sphere(1600, 128, 6, seed=1), subspace_sphere(1600, 128, 128, seed=2)
    return drawn[:3000], drawn[3000:]


@pytest.mark.parametrize("engine", installed_engines())
def test_rows_come_back_as_given_whatever_the_order(engine, mixed):
    X, _ = mixed
    order = np.random.default_rng(0).permutation(len(X))
    for given in (None, order):
        graph = build_graph(engine, X * 7, order=given, seed=3)
        found, _ = graph.search(X[:200] * 2, 5, effort=64)
        assert found.shape == (200, 5) and found.dtype == np.int64
        assert (found[:, 0] == np.arange(200)).mean() > 0.97
        again, _ = build_graph(engine, X * 7, order=given, seed=3).search(X[:200], 5, effort=64)
        assert np.array_equal(found, again)


@needs_peer
@pytest.mark.parametrize("engine", PEERS)
def test_the_order_and_the_seed_reach_the_engine(engine, mixed):
    X, Q = mixed
    rows = np.arange(len(X))
    answers = [
        build_graph(engine, X, order=order, seed=seed).search(Q, 10, effort=10)[0]
        for order, seed in ((rows, 0), (rows[::-1].copy(), 0), (rows, 1))
    ]
    assert not np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])


@needs_peer
def test_effort_buys_recall_and_costs_distances(mixed):
    X, Q = mixed
    graph = build_graph(PEERS[0], X)
    truth = ann_study.exact_neighbours(X, Q, 10)
    few, many = (graph.search(Q, 10, effort=effort) for effort in (10, 200))
    assert recall_at_k(many[0], truth) > recall_at_k(few[0], truth) + 0.05
    if few[1] is not None and many[1] is not None:
        assert few[1] < many[1] < len(X)
    with pytest.raises(InputError, match="effort"):
        graph.search(Q, 10, effort=9)


@needs_peer
def test_recall_falls_with_the_dimension_and_not_with_the_length():
    study = recall_against_dimension(engine=PEERS[0], intrinsic_dims=(4, 16, 64), points=1200, queries=100)
    assert study.correlation(10) == pytest.approx(-1)
    assert study.recall[10][0] > study.recall[10][-1] + 0.2
    assert study.estimated[0] < study.estimated[1] < study.estimated[2]
    longer = recall_against_dimension(engine=PEERS[0], intrinsic_dims=(16,), ambient_dim=64, points=1200, queries=100)
    assert abs(longer.recall[10][0] - study.recall[10][1]) < 0.1
    assert study.to_dict()["recall"]["10"] == list(study.recall[10])


@needs_peer
def test_queries_of_high_local_dimension_lose_more(mixed):
    X, Q = mixed
    found = recall_by_local_dimension(X, Q, engine=PEERS[0], effort=12)
    bins = found.by_quantile(2)
    assert [part["queries"] for part in bins] == [100, 100]
    assert bins[0]["high"] <= bins[1]["low"]
    assert bins[0]["recall"] > bins[1]["recall"] + 0.2
    assert found.correlation < -0.5
    with pytest.raises(InputError, match="bins"):
        found.by_quantile(201)


class _Scripted:
    """Stands in for a graph: its recall is what the order says."""

    def __init__(self, recall):
        self.recall = recall

    def search(self, Q, k, *, effort):
        found = ann_study.exact_neighbours(self.X, Q, k)
        found[:, : round((1 - self.recall) * k)] = -1
        return found, None


@pytest.mark.parametrize(("sorted_recall", "flag"), [(0.3, -1), (1.0, 1), (0.7, 0)])
def test_w17_an_order_is_flagged_only_outside_the_spread(monkeypatch, mixed, sorted_recall, flag):
    X, Q = mixed
    random_recall = iter((0.6, 0.7, 0.8, 0.7, 0.7))

    def build(engine, vectors, *, order, **settings):
        given = np.array_equal(order, np.arange(len(vectors)))
        graph = _Scripted(sorted_recall if given else next(random_recall))
        graph.X = vectors
        return graph

    monkeypatch.setattr(ann_study, "build_graph", build)
    report = compare_orders(X, Q, orders={"mine": np.arange(len(X))}, engine="faiss")
    assert report.interval == pytest.approx((0.5759, 0.8241), abs=1e-3)
    assert np.sign(report.flagged.get("mine", 0)) == flag
    assert ("leaves the spread" in str(report)) == (flag != 0)
    assert len(report.to_dict()["recall"]["random"]) == 5


@needs_peer
def test_w17_orders_run_on_an_engine(mixed):
    X, Q = mixed
    labels = np.arange(600) % 2
    report = compare_orders(
        X[:600], Q, orders=("lid-descending", "category"), categories=labels, engine=PEERS[0], seeds=(0, 1, 2)
    )
    assert set(report.recall) == {"random", "lid-descending", "category"}
    assert all(len(values) == 3 and 0 < min(values) <= 1 for values in report.recall.values())


def test_too_few_seeds_and_idle_categories_are_refused(mixed):
    X, Q = mixed
    with pytest.raises(InputError, match="three"):
        compare_orders(X, Q, seeds=(0, 1))
    with pytest.raises(InputError, match="category"):
        compare_orders(X, Q, categories=np.zeros(len(X)))
    with pytest.raises(InputError, match="engine"):
        build_graph("annoy", X)
    assert set(installed_engines()) <= set(ENGINES)
