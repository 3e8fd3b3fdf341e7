"""Compiled fusing and exact scores against the functions of NumPy that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.collection import fusion
from orthant.kernels.distances import exact_scores
from orthant.kernels.files.rows import map_rows, table_of
from orthant.kernels.retrieval import exact, fusing
from orthant.kernels.rows import plain

WIDTH = 7


def lists_of(legs, queries, seed):
    """Rows by leg and query, without repeats within a list, some lists short or empty."""
    rng = np.random.default_rng(seed)
    ids = np.full((legs, queries, WIDTH), -1, dtype=np.int64)
    for leg in range(legs):
        for query in range(queries):
            size = rng.integers(0, WIDTH + 1)
            ids[leg, query, :size] = rng.choice(15, size=size, replace=False)
    return ids


def united(ids):
    candidates, bounds = np.empty(ids.size, np.int64), np.empty(ids.shape[1] + 1, np.int64)
    fusing.unite_lists(ids, candidates, bounds)
    return candidates[: bounds[-1]], bounds


@pytest.mark.parametrize("seed", range(3))
def test_candidates_are_the_union_of_the_lists(seed):
    ids = lists_of(3, 5, seed)
    candidates, bounds = united(ids)
    for query in range(5):
        expected = np.unique(ids[:, query][ids[:, query] >= 0])
        np.testing.assert_array_equal(candidates[bounds[query] : bounds[query + 1]], expected)


@pytest.mark.parametrize("constant", [0, fusion.RRF_CONSTANT])
@pytest.mark.parametrize("seed", range(4))
def test_fused_lists_are_those_of_numpy(constant, seed):
    rng = np.random.default_rng(seed)
    names, queries = ["dense", "lexical", "sparse"], 6
    ids = lists_of(len(names), queries, seed)
    candidates, bounds = united(ids)
    # Few distinct scores, so that candidates tie; some without one; one leg where all are equal.
    raw = rng.integers(0, 4, (len(names), len(candidates))).astype(np.float32)
    raw[0, rng.random(len(candidates)) < 0.2] = -np.inf
    raw[2] = seed % 2
    present = rng.random((len(names), queries)) < 0.8
    shares = dict(zip(names, (0.4, 0.35, 0.25), strict=True))
    lows = np.array([np.nan, 0.0, 0.0])
    given, total = raw.copy(), len(candidates)
    rows, fused = np.empty(total, np.int64), np.empty(total, np.float32)
    places, parts = np.empty(raw.shape, np.int64), np.zeros(raw.shape, np.float32)
    weights = np.array(list(shares.values()))
    fusing.fuse_lists(ids, candidates, bounds, present, lows, weights, constant, rows, fused, raw, places, parts)
    for query in range(queries):
        part, kept = slice(bounds[query], bounds[query + 1]), {}
        own = candidates[part]
        for i, name in enumerate(names):
            if present[i, query]:
                place = fusion.ranks(own, ids[i, query][ids[i, query] >= 0])
                said = fusion.reciprocal_ranks(place) if constant else fusion.scaled(name, given[i, part])
                kept[name] = (place, said)
        score = np.zeros(len(own), np.float32)
        if kept:
            score = fusion.weighted_sum({name: said for name, (_, said) in kept.items()}, shares)
        order = np.lexsort((own, -score))
        np.testing.assert_array_equal(rows[part], own[order])
        np.testing.assert_array_equal(fused[part], score[order])
        for i, name in enumerate(names):
            if name in kept:
                np.testing.assert_array_equal(places[i, part], kept[name][0][order])
                np.testing.assert_array_equal(parts[i, part], kept[name][1][order])
                np.testing.assert_array_equal(raw[i, part], given[i, part][order])


def test_scores_reach_the_candidates_that_they_belong_to():
    candidates, bounds = np.array([2, 5, 9, 1, 5]), np.array([0, 3, 5])
    out = np.full(5, -1, np.float32)
    ids, scores = np.array([[9, -1], [5, 1]]), np.array([[0.9, 7], [0.5, 0.1]], np.float32)
    fusing.fill_scores(candidates, bounds, ids, scores, out)
    np.testing.assert_array_equal(out, np.array([-1, -1, 0.9, 0.1, 0.5], np.float32))


@pytest.mark.parametrize(("metric", "kind"), [("dot", exact.DOT), ("cosine", exact.COSINE), ("l2", exact.L2)])
@pytest.mark.parametrize("scale", [1.0, 1e18])
def test_pairs_have_their_exact_scores(metric, kind, scale):
    rng = np.random.default_rng(0)
    X, Q = (scale * rng.standard_normal((n, 37)).astype(np.float32) for n in (20, 3))
    expected = exact_scores(Q, X, metric)
    queries, rows = np.divmod(rng.permutation(60), 20)
    wide = Q.astype(np.float64)
    if metric == "cosine":
        wide /= np.sqrt((wide * wide).sum(axis=1))[:, None]
    out = np.zeros(60, np.float32)
    room = np.empty(37, np.float32)
    exact.score_pairs(0, plain(X), wide, queries, rows, 20 * queries + rows, kind, room, out)
    # Sums of float64 in another order may round to the float32 next to it.
    np.testing.assert_allclose(out.reshape(3, 20), expected, rtol=2e-7)


def test_pairs_of_a_file_are_read_and_not_looked_at(tmp_path):
    X = np.random.default_rng(0).standard_normal((20, 37)).astype(np.float32)
    (tmp_path / "rows").write_bytes(bytes(64) + X.tobytes())
    with open(tmp_path / "rows", "rb") as file:
        held = map_rows(file, np.float32, 64, X.shape)
    files = table_of([held])
    if files is None:
        pytest.skip("this system has no pread")
    wide, numbers = X[:2].astype(np.float64), np.arange(40)
    queries, rows = np.divmod(numbers, 20)
    out, room = np.zeros(40, np.float32), np.zeros(37, np.float32)
    exact.score_pairs(files.ctypes.data, plain(held), wide, queries, rows, numbers, exact.DOT, room, out)
    np.testing.assert_allclose(out.reshape(2, 20), exact_scores(X[:2], X, "dot"), rtol=2e-7)
    np.testing.assert_array_equal(room, X[19])
