"""A graph over codes in memory, vectors on disk: candidates of a walk, what is read, what is kept, what is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from orthant.errors import InputError, StoreCorruptedError
from orthant.index import Flat, Graph, TwoTier
from orthant.index.tiers.budget import chosen_plan, graph_row_bytes
from orthant.index.tiers.searching import Asked, answer
from orthant.kernels.distances import exact_scores
from orthant.kernels.topk import top_k
from orthant.measures import recall_at_k

DIM = 96


def data(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n, 16)) @ np.random.default_rng(77).standard_normal((16, DIM))
    return (mixed + 0.3 * rng.standard_normal((n, DIM))).astype(np.float32)


X, Q = data(5000), data(40, seed=1)


def filled(n: int = 5000, metric: str = "cosine", **settings) -> TwoTier:
    index = TwoTier(DIM, metric, search="graph", **{"train_rows": 1000, **settings})
    index.add(X[:n])
    return index


def truth(metric: str = "cosine", k: int = 10, **filters) -> np.ndarray:
    flat = Flat(DIM, metric)
    flat.add(X)
    return flat.search(Q, k, **filters).ids


@pytest.fixture(scope="module")
def held() -> TwoTier:
    return filled()


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_answers_are_those_of_a_rerank_in_memory_bit_for_bit(metric):
    index = filled(2500, metric)
    index.add(X[2500:])
    hits = index.search(Q, 10, effort=40)
    near = index._state.graph.nearest(Q, 40, None).ids
    for i, own in enumerate(near):
        own = np.sort(own)
        ids, scores, _ = top_k(exact_scores(Q[i : i + 1], X[own], metric), 10, ids=own)
        np.testing.assert_array_equal(hits.ids[i], ids[0])
        np.testing.assert_array_equal(hits.scores[i], scores[0])
    assert hits.cost.plan == "graph"
    assert recall_at_k(hits.ids, truth(metric)) > 0.97


def test_a_walk_finds_what_the_graph_in_memory_finds_with_few_comparisons_and_reads(held):
    memory = Graph(DIM)
    memory.add(X)
    there = recall_at_k(memory.search(Q, 10, effort=64).ids, truth())
    hits = held.search(Q, 10, effort=30)
    assert recall_at_k(hits.ids, truth()) >= 0.97 * there
    assert hits.cost.distances / len(Q) < len(X) / 2
    assert 20 <= held.search(Q[:1], 10, effort=30).cost.details["rows_read"] <= 30


def test_no_vector_is_in_memory_and_the_estimate_is_kept():
    limit = 5000 * 340
    told = TwoTier.estimate_memory(5000, DIM, memory_limit_bytes=limit, search="graph")
    index = filled(memory_limit_bytes=limit, capacity=5000)
    graph = index._state.graph
    assert graph.state.vectors.own is None and graph.state.vectors.kept == []
    weight = index.stats().memory_bytes
    # Hashes are kept only from the first addition to a graph on.
    assert told["total"] - 5000 * 17 - 4096 <= weight <= limit
    index.remove(np.arange(600))
    assert index.stats().memory_bytes <= limit
    assert told["disk"] == X.nbytes


@pytest.mark.parametrize(("dim", "limit"), [(384, 3000 * 480), (384, 3000 * 380), (200, 3000 * 400)])
def test_w20_memory_is_known_before(dim, limit):
    rows = np.random.default_rng(5).standard_normal((3000, dim)).astype(np.float32)
    told = TwoTier.estimate_memory(3000, dim, memory_limit_bytes=limit, search="graph")["total"]
    index = TwoTier(dim, search="graph", memory_limit_bytes=limit, capacity=3000, train_rows=1000)
    index.add(rows[:2900])
    index.add(rows[2900:])
    # A basis counts, too: with few vectors it is a good part of the whole.
    assert 0.9 * told <= index.stats().memory_bytes <= told <= limit


def test_what_a_graph_keeps_follows_the_limit():
    plans = [chosen_plan(384, metric="cosine", limit=limit, rows=10**6) for limit in (None, 4 * 10**8, 3 * 10**8)]
    sizes = [graph_row_bytes(plan) for plan in plans]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 3
    with pytest.raises(InputError, match=r"at least .* or search='scan'"):
        TwoTier(384, search="graph", memory_limit_bytes=10**8, capacity=10**6)
    index = TwoTier(DIM, search="graph", memory_limit_bytes=500_000, train_rows=500)
    with pytest.raises(InputError, match="memory_limit_bytes"):
        for part in np.array_split(X, 10):
            index.add(part)
    held = len(index)
    assert 500 <= held < 5000 and index.search(X[held - 1], 1).ids == held - 1
    assert index.stats().memory_bytes <= 500_000


def test_filters_and_removals_are_kept():
    index = filled()
    index.remove(np.arange(0, 900))
    for allowed in (np.arange(0, 5000, 2), np.arange(500, 1300), np.arange(0, 5000, 50)):
        right = truth(allowed=allowed[allowed >= 900])
        hits = index.search(Q, 10, allowed=allowed, effort=60)
        assert np.isin(hits.ids, allowed).all() and (hits.ids >= 900).all()
        assert recall_at_k(hits.ids, right) > 0.97
    assert recall_at_k(index.search(Q, 10, effort=60).ids, truth(allowed=np.arange(900, 5000))) > 0.97
    index.remove(np.arange(900, 2500))
    # More than a fifth is dead: rows are renumbered and linked anew.
    assert index._state.graph.state.used == 2500 and index.stats().dead == 0
    assert recall_at_k(index.search(Q, 10, effort=60).ids, truth(allowed=np.arange(2500, 5000))) > 0.97


def test_a_search_sees_the_rows_of_the_moment_it_began():
    index = filled(3000)
    before = index._state
    asked = Asked(X[4000:4040], 5, 30, "cosine", 1)
    index.add(X[3000:])
    # The graph has the later rows by now, next to the queries; this snapshot has not.
    assert before.graph is index._state.graph and before.graph.state.used == 5000
    assert answer(before, asked, None).ids.max() < 3000
    assert (answer(index._state, asked, None).ids[:, 0] == np.arange(4000, 4040)).all()


def test_rows_that_a_failed_addition_left_behind_do_not_shift_others():
    index = filled(3000)
    index._state.graph.extend(data(7, seed=9))
    index.add(X[3000:])
    assert (index.search(X[2990:3010], 1).ids.ravel() == np.arange(2990, 3010)).all()


def test_searches_and_additions_mix():
    index = filled(2000)
    parts = np.array_split(np.arange(2000, 5000), 12)

    def look(_: int) -> bool:
        return bool((index.search(X[:20], 1, effort=20).ids.ravel() == np.arange(20)).all())

    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(look, i) for i in range(30)]
        for part in parts:
            index.add(X[part], part)
        assert all(each.result() for each in looks)
    assert (index.search(X[::100], 1).ids.ravel() == np.arange(0, 5000, 100)).all()


def test_saved_graphs_come_back_with_what_was_removed_wiped(tmp_path):
    index = filled(3000)
    index.remove([3, 5])
    index.add(X[3000:3001], [3])
    index.calibrate(Q[:20])
    before = index.search(Q, 5, effort=30)
    index.save(tmp_path / "a")
    for mmap in (True, False):
        back = TwoTier.load(tmp_path / "a", mmap=mmap, verify=False)
        after = back.search(Q, 5, effort=30)
        np.testing.assert_array_equal(before.ids, after.ids)
        np.testing.assert_array_equal(before.scores, after.scores)
        assert after.cost.plan == before.cost.plan and len(back) == 2999 and back.calibration == index.calibration
        assert back._state.graph.state.codes.flags.writeable == (not mmap)
        np.testing.assert_array_equal(back.reconstruct([3])[0], X[3000])
        back.add(X[3001:3002], [5])
        assert back.search(X[3001], 1).ids == 5
    saved = np.fromfile(next((tmp_path / "a").glob("vectors-*")), np.float32).reshape(-1, DIM)
    assert not saved[[3, 5]].any() and saved[4].any()
    index.save(tmp_path / "a")
    assert len(list((tmp_path / "a").glob("graph-*"))) == 1


def test_a_damaged_or_foreign_graph_is_refused(tmp_path):
    filled(1200).save(tmp_path / "a")
    file = next((tmp_path / "a").glob("graph-*/links-*"))
    whole = file.read_bytes()
    file.write_bytes(b"\x01" + whole[1:])
    with pytest.raises(StoreCorruptedError, match=file.name):
        TwoTier.load(tmp_path / "a")
    file.write_bytes(whole)
    filled(1100).save(tmp_path / "b")
    (other,) = (tmp_path / "b").glob("graph-*")
    (own,) = (tmp_path / "a").glob("graph-*")
    own.rename(tmp_path / "kept")
    other.rename(own)
    with pytest.raises(StoreCorruptedError, match="a graph of other rows"):
        TwoTier.load(tmp_path / "a")


def test_over_walks_a_file_where_it_lies_and_any_access_gives_the_same(tmp_path):
    np.save(tmp_path / "x.npy", X)
    found = []
    for access in ("cached", "uncached", "direct"):
        try:
            index = TwoTier.over(tmp_path / "x.npy", search="graph", access=access)
        except InputError:
            continue
        found.append(index.search(Q, 10, effort=30))
        assert found[-1].cost.plan == "graph"
    for hits in found:
        np.testing.assert_array_equal(hits.ids, found[0].ids)


def test_calibration_keeps_recall(held):
    held.calibrate(data(60, seed=6))
    hits = held.search(Q, 10, recall=0.9)
    assert recall_at_k(hits.ids, truth()) >= 0.85
    assert hits.cost.details["candidates"] == held.calibration.choose(10, 0.9)[0] < 500
    np.testing.assert_array_equal(held.search(Q, 10, recall=1.0).ids, truth())


def test_codes_of_others_are_refused_beside_a_graph(held):
    from orthant.quantization import LVQ

    with pytest.raises(InputError, match="quantizer for search='graph'"):
        TwoTier(DIM, search="graph", quantizer=LVQ())
    with pytest.raises(InputError, match="light with search='graph'"):
        held.add(X[:2], light=X[:2])
    with pytest.raises(InputError, match="search"):
        TwoTier(DIM, search="walk")


def test_equal_vectors_are_all_found():
    index = filled(1500)
    index.add(np.tile(X[7], (30, 1)))
    hits = index.search(X[7], 31, effort=40)
    assert set(hits.ids.ravel()) == {7, *range(1500, 1530)}
    state = replace(index._state)
    assert len(state) == 1530
