"""Graphs that suit sample queries: links, directions, calibration, and a refusal where nothing is gained."""

from __future__ import annotations

import json

import numpy as np
import pytest

from index.graph_data import clustered, flat_of, outside, recall
from orthant.errors import InputError
from orthant.index import Graph
from orthant.index.vamana import query_tuning
from orthant.index.vamana.query_sample import QuerySample
from orthant.index.vamana.query_tuning import QueryTuning

DIM = 48


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    return clustered(3000, DIM, clusters=600, spread=0.7)[0]


@pytest.fixture(scope="module")
def plain(base):
    graph = Graph(DIM, degree=12, beam=40)
    graph.add(base)
    return graph


@pytest.fixture(scope="module")
def suited(base):
    graph = Graph(DIM, degree=12, beam=40, queries=outside(440, 1))
    graph.add(base)
    return graph


def curve(graph: Graph, Q: np.ndarray, truth) -> tuple[list[float], list[float]]:
    found = [graph.search(Q, 10, effort=effort) for effort in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256)]
    return [recall(hits, truth) for hits in found], [hits.cost.distances / len(Q) for hits in found]


def cost_at(graph: Graph, Q: np.ndarray, truth, wanted: float) -> float:
    recalls, costs = curve(graph, Q, truth)
    assert max(recalls) >= wanted
    return float(np.interp(wanted, np.maximum.accumulate(recalls), costs))


def test_links_from_queries_make_other_queries_cheaper(base, plain, suited):
    fresh = outside(300, 2)
    truth = flat_of(base).search(fresh, 10)
    before, after = cost_at(plain, fresh, truth, 0.95), cost_at(suited, fresh, truth, 0.95)
    assert after < 0.85 * before
    report = suited.tuning
    assert report.gained and report.linked > 0 and report.saved > 0.1
    assert report.distance_ratio > 1.02
    assert suited.check() == []
    assert suited.adjacency().shape == plain.adjacency().shape, "the links take no more room"
    assert "fewer bytes read" in str(report)


def test_queries_like_the_data_change_no_link(base, plain):
    graph = Graph(DIM, degree=12, beam=40)
    graph.add(base)
    report = graph.tune(clustered(300, DIM, clusters=600, spread=0.7, seed=5)[0])
    assert not report.gained and report.linked == 0 and "nothing gained" in str(report)
    assert 0.8 < report.distance_ratio < 1.2 and report.variance_outside < 0.1
    np.testing.assert_array_equal(graph.adjacency(), plain.adjacency())
    assert graph.calibration.source == "queries"


def test_without_learning_there_is_no_gain(base, monkeypatch):
    """The switch: links among the neighbours of rows in place of queries."""
    graph = Graph(DIM, degree=12, beam=40)
    graph.add(base)
    rows = base[np.random.default_rng(3).choice(len(base), 330, replace=False)]
    whole = QuerySample.of(outside(440, 1), seed=0)
    monkeypatch.setattr(QuerySample, "of", lambda queries, *, seed: QuerySample(rows, whole.held))
    assert not graph.tune(outside(440, 1)).gained


def test_recall_is_kept_for_such_queries(base, suited):
    assert suited.calibration.source == "queries"
    fresh = outside(400, 3)
    found = suited.search(fresh, 10, recall=0.95)
    assert recall(found, flat_of(base).search(fresh, 10)) >= 0.94


def test_the_same_links_on_any_number_of_threads_and_after_saving(base, suited, tmp_path):
    again = Graph(DIM, degree=12, beam=40, queries=outside(440, 1)[::-1])
    again.add(base, threads=1)
    np.testing.assert_array_equal(again.adjacency(), suited.adjacency())
    suited.save(tmp_path / "graph")
    back = Graph.load(tmp_path / "graph")
    assert back.tuning == suited.tuning
    assert QueryTuning.from_dict(json.loads(json.dumps(suited.tuning.as_dict()))) == suited.tuning
    np.testing.assert_array_equal(back.queries, suited.queries)
    np.testing.assert_array_equal(back.search(base[:5]).ids, suited.search(base[:5]).ids)
    assert back.calibrate().source == "queries"
    assert back.check() == []


def test_over_extended_and_small(base, tmp_path):
    ids = np.arange(len(base))
    graph = Graph.over([(base, ids)], dim=DIM, degree=12, beam=40, queries=outside(440, 1))
    assert graph.tuning.gained
    larger = graph.extended([(clustered(50, DIM, seed=9)[0], ids[:50] + len(base))])
    assert larger.tuning == graph.tuning
    np.testing.assert_array_equal(larger.queries, graph.queries)
    graph.save_links(tmp_path / "links")
    assert Graph.attach(tmp_path / "links", [(base, ids)]).tuning == graph.tuning
    small = Graph(DIM, queries=outside(100, 1))
    small.add(base[:10])
    assert small.tune() is None and small.tuning is None
    small.save(tmp_path / "small")
    back = Graph.load(tmp_path / "small")
    assert len(back.queries) == 100
    back.add(base[10:2200])
    assert back.tuning is not None


def test_removed_and_equal_vectors_get_no_links(base):
    graph = Graph(DIM, degree=12, beam=40)
    graph.add(np.concatenate([base[:2200], base[:200]]))
    graph.remove(np.arange(1000, 1040))
    assert graph._state.dead_count and graph._state.twin_count
    graph.tune(outside(100, 1))
    assert graph.check() == []
    assert not np.isin(graph.search(outside(200, 4), 10).ids, np.arange(1000, 1040)).any()


@pytest.mark.filterwarnings("ignore:.*find themselves:UserWarning")
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_directions_learned_from_queries_are_chosen_where_they_find_more(metric):
    rng = np.random.default_rng(0)
    spread = np.arange(1, DIM + 1) ** -1.0
    X = (rng.standard_normal((2100, DIM)) * spread).astype(np.float32)
    Q = (rng.standard_normal((200, DIM)) * np.roll(spread, 12)).astype(np.float32)
    fresh = (rng.standard_normal((200, DIM)) * np.roll(spread, 12)).astype(np.float32)
    truth = flat_of(X, metric=metric).search(fresh, 10)
    found = {}
    for name, queries in (("data", None), ("queries", Q), ("rows", X[:200])):
        graph = Graph(DIM, metric, reduced_dim=12, degree=12, beam=40, queries=queries)
        graph.add(X)
        found[name] = recall(graph.search(fresh, 10, effort=64), truth)
        if queries is not None:
            assert (graph.tuning.variance_outside > 0.15) == (name == "queries")
        if name == "queries":
            assert graph.tuning.reduction == "queries"
    assert found["queries"] >= found["data"] + 0.1
    assert found["rows"] <= found["data"] + 0.05


def test_refusals(base):
    with pytest.raises(InputError, match="at least 64"):
        Graph(DIM, queries=outside(63, 1))
    with pytest.raises(InputError, match="5 distinct queries"):
        Graph(DIM, queries=np.tile(outside(5, 1), (40, 1)))
    with pytest.raises(InputError, match="zero"):
        Graph(DIM, queries=np.zeros((100, DIM)))
    for wrong in (np.ones((100, DIM - 1)), np.full((100, DIM), np.nan)):
        with pytest.raises(InputError):
            Graph(DIM, queries=wrong)
    with pytest.raises(InputError, match="no queries"):
        Graph(DIM).tune()


def test_no_query_is_learned_from_and_judged_by():
    queries = np.concatenate([outside(300, 1), outside(300, 1)])
    parts = QuerySample.of(queries, seed=0)
    assert len(parts.held) == 75 and len(parts.learned) == 225
    assert len(np.unique(np.concatenate(parts.parts()), axis=0)) == 300
    assert query_tuning._LEAST_GAIN > 0
