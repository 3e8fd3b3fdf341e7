"""Pairs of vectors against a float64 loop, thresholds from labels, groups without chains."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.collection.duplicates import near
from orthant.collection.duplicates.groups import grouped, keep_order
from orthant.collection.duplicates.near import best_cosines, cosine_pairs, measure_recall, searched_pairs
from orthant.collection.duplicates.thresholds import choose_threshold, make_histogram
from orthant.collection.results import Record
from orthant.errors import InputError


def clumps(seed: int = 0, count: int = 60, dim: int = 12) -> np.ndarray:
    """Vectors of different lengths, and several near-copies of each third."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((count, dim))
    near_ones = [X[i] + 0.05 * rng.standard_normal((5, dim)) for i in range(0, count, 3)]
    X = np.concatenate([X, *near_ones]) * rng.uniform(0.1, 10, size=(count + 5 * len(near_ones), 1))
    return X.astype(np.float32)


def naive(X, threshold):
    Y = X.astype(np.float64)
    Y /= np.linalg.norm(Y, axis=1, keepdims=True)
    products = Y @ Y.T
    i, j = np.nonzero(np.triu(products >= threshold, 1))
    return set(zip(i.tolist(), j.tolist(), strict=True))


def as_set(pairs):
    return set(zip(*(side.tolist() for side in pairs), strict=True))


@pytest.mark.parametrize("tile", [7, 64, 2048])
def test_a_scan_finds_every_pair(monkeypatch, tile):
    monkeypatch.setattr(near, "_TILE", tile)
    X = clumps()
    for threshold in (0.2, 0.9, 0.995):
        assert as_set(cosine_pairs(X, threshold)) == naive(X, threshold)
        rows = np.arange(3, len(X), 5)
        wanted = {pair for pair in naive(X, threshold) if set(pair) & set(rows.tolist())}
        assert as_set(cosine_pairs(X, threshold, rows=rows)) == wanted


def test_equal_vectors_reach_a_threshold_of_one():
    X = np.float32([[0.1, 0.7, 0.3], [0.3, 0.1, 0.2], [0.1, 0.7, 0.3], [0.2, 1.4, 0.6]])
    assert as_set(cosine_pairs(X, 1.0)) == {(0, 2), (0, 3), (2, 3)}


def test_a_search_goes_deeper_where_neighbours_are_many(monkeypatch):
    monkeypatch.setattr(near, "_FIRST_K", 3)
    monkeypatch.setattr(near, "_LAST_K", 12)
    X = clumps()
    rng = np.random.default_rng(5)
    X = np.concatenate([X, X[:1] + 0.001 * rng.standard_normal((30, X.shape[1]))]).astype(np.float32)
    U = near.unit_rows(X)
    asked = []

    def search(Q, k):
        asked.append(k)
        return np.argsort(-(Q @ U.T), axis=1, kind="stable")[:, :k]

    for threshold in (0.9, 0.99):
        assert as_set(searched_pairs(X, threshold, search)) == naive(X, threshold)
    assert set(asked) == {3, 12}


def test_recall_is_measured_and_not_assumed():
    X = clumps()
    left, right = cosine_pairs(X, 0.9)
    whole = measure_recall(X, 0.9, left, right)
    assert whole.share == 1.0 and whole.judged == len(left) and whole.low < 1.0
    half = measure_recall(X, 0.9, left[::2], right[::2])
    assert half.low < 0.5 < half.high and half.share == pytest.approx(0.5, abs=0.02)
    nothing = measure_recall(np.eye(5, dtype=np.float32), 0.9, left[:0], right[:0])
    assert nothing.share is None and (nothing.low, nothing.high) == (0.0, 1.0)


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(near, "_MAX_PAIRS", 10)
    with pytest.raises(InputError, match=r"(?i)raise it"):
        cosine_pairs(np.ones((8, 2), dtype=np.float32), 0.5)


def test_best_cosines_are_those_of_the_nearest_other(monkeypatch):
    monkeypatch.setattr(near, "_TILE", 13)
    X = clumps()
    Y = X.astype(np.float64) / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    products = Y @ Y.T
    np.fill_diagonal(products, -1)
    rows = np.arange(1, len(X), 3)
    np.testing.assert_allclose(best_cosines(X, rows), products[rows].max(axis=1), atol=1e-5)


# ---- thresholds ---------------------------------------------------------------------------------------------------


def test_the_threshold_has_the_best_f1_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        truth = rng.random(40) < 0.4
        scores = np.round(np.clip(rng.normal(np.where(truth, 0.7, 0.5), 0.15), 0, 1), 2)
        if truth.all() or not truth.any():
            continue
        found = choose_threshold(scores, truth, resamples=20)

        def f1(t, scores=scores, truth=truth):
            return 2 * (truth & (scores >= t)).sum() / ((scores >= t).sum() + truth.sum())

        assert found.f1 == pytest.approx(max(f1(t) for t in np.unique(scores)))
        assert f1(found.threshold) == pytest.approx(found.f1)


def test_more_judged_pairs_narrow_the_interval():
    rng = np.random.default_rng(1)
    widths = []
    for count in (30, 3000):
        truth = np.arange(count) % 2 == 0
        scores = rng.normal(np.where(truth, 0.8, 0.4), 0.12)
        found = choose_threshold(scores, truth, resamples=200)
        assert found.low <= found.threshold <= found.high and 0.5 < found.threshold < 0.7
        assert found.f1_unseen is not None and found.f1_unseen <= found.f1 + 0.01
        widths.append(found.high - found.low)
    assert widths[1] < widths[0]


@pytest.mark.parametrize(
    ("scores", "labels"), [([0.1, 0.2], [True, True]), ([], []), ([0.1, np.nan], [True, False]), ([0.1], [True, False])]
)
def test_unusable_judgements_are_refused(scores, labels):
    with pytest.raises(InputError):
        choose_threshold(scores, labels)


def test_a_valley_needs_two_heaps():
    rng = np.random.default_rng(2)
    low, high = rng.normal(0.4, 0.1, 2000), rng.normal(0.97, 0.01, 200)
    valley = make_histogram(np.concatenate([low, high])).valley
    assert valley is not None and 0.65 < valley < 0.95
    assert make_histogram(low).valley is None
    assert make_histogram(np.linspace(0, 1, 4000)).valley is None
    assert make_histogram(np.zeros(0)).valley is None


# ---- groups -------------------------------------------------------------------------------------------------------


def test_a_chain_does_not_become_one_group():
    # 0 - 1 - 2 - 3 - 4: neighbours are alike, ends are not.
    left, right = np.array([0, 1, 2, 3]), np.array([1, 2, 3, 4])
    found = grouped(np.arange(5), left, right, range(5))
    assert found.groups == [[0, 1], [2, 3]] and found.chained == 1
    assert grouped(np.arange(5), left, right, [2, 0, 1, 3, 4]).groups == [[2, 1, 3]]
    whole = grouped(np.arange(5), left, right, range(5), linkage="components")
    assert whole.groups == [[0, 1, 2, 3, 4]] and whole.chained == 0


def test_every_duplicate_is_paired_with_its_kept_record_and_no_two_kept_are_paired():
    rng = np.random.default_rng(3)
    for _ in range(10):
        n = 60
        i, j = np.triu_indices(n, 1)
        chosen = rng.random(len(i)) < 0.04
        left, right = i[chosen], j[chosen]
        nodes = np.concatenate([np.arange(n), rng.integers(n, size=30)])
        order = rng.permutation(len(nodes)).tolist()
        alike = {(a, b) for a, b in zip(left.tolist(), right.tolist(), strict=True)}
        alike |= {(b, a) for a, b in alike} | {(a, a) for a in range(n)}
        found = grouped(nodes, left, right, order)
        gone = {k for group in found.groups for k in group[1:]}
        assert len(gone) == sum(len(group) - 1 for group in found.groups)
        assert all((nodes[group[0]], nodes[k]) in alike for group in found.groups for k in group[1:])
        kept = [k for k in range(len(nodes)) if k not in gone]
        assert not [(a, b) for a in kept for b in kept if a != b and (nodes[a], nodes[b]) in alike]


def test_keep_rules():
    records = [
        Record("a", "middling", {"day": "2024-05-01"}),
        Record("b", "the longest of all", {"day": "2023-01-01"}),
        Record("c", None, {}),
        Record("d", "short", {"day": "2025-01-01"}),
    ]
    assert keep_order(records, "oldest") == [0, 1, 2, 3]
    assert keep_order(records, "newest") == [3, 2, 1, 0]
    assert keep_order(records, "longest")[0] == 1
    assert keep_order(records, "oldest", order_field="day") == [1, 0, 3, 2]
    assert keep_order(records, "newest", order_field="day") == [3, 0, 1, 2]
    assert keep_order(records, lambda record: record.id == "c")[0] == 2
    mixed = [Record("a", "x", {"day": 1}), Record("b", "x", {"day": "2"})]
    with pytest.raises(InputError, match="order_field"):
        keep_order(mixed, "oldest", order_field="day")
