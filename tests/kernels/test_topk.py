from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.kernels import topk

fixed = settings(derandomize=True, max_examples=60, deadline=None)
MATRICES = st.integers(0, 4).flatmap(
    lambda q: st.integers(0, 12).flatmap(
        lambda n: st.lists(
            st.lists(st.sampled_from([-np.inf, -2.0, -0.0, 0.0, 0.5, 3.0]), min_size=n, max_size=n),
            min_size=q,
            max_size=q,
        ).map(lambda rows: np.array(rows, dtype=np.float32).reshape(q, n))
    )
)


def by_sorting(scores: np.ndarray, ids: np.ndarray, k: int):
    out_ids = np.full((len(scores), k), -1)
    out_scores = np.full((len(scores), k), -np.inf, dtype=np.float32)
    for i, row in enumerate(scores):
        best = sorted((-s, n) for s, n in zip(row.tolist(), ids.tolist(), strict=True) if s > -np.inf and n >= 0)[:k]
        for j, (score, name) in enumerate(best):
            out_ids[i, j], out_scores[i, j] = name, -score
    return out_ids, out_scores, (out_ids >= 0).sum(axis=1)


def assert_equal(found, wanted):
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    assert found[0].dtype == np.int64 and found[1].dtype == np.float32 and found[2].dtype == np.int64


@fixed
@given(MATRICES, st.integers(1, 15), st.integers(0, 99))
def test_top_k_equals_a_full_sort(scores, k, seed):
    ids = np.random.default_rng(seed).permutation(50)[: scores.shape[1]]
    assert_equal(topk.top_k(scores, k, ids=ids), by_sorting(scores, ids, k))
    assert_equal(topk.top_k(scores, k), by_sorting(scores, np.arange(scores.shape[1]), k))


@fixed
@given(MATRICES, st.integers(1, 15), st.integers(0, 12))
def test_merging_parts_equals_the_whole(scores, k, cut):
    cut = min(cut, scores.shape[1])
    ids = np.arange(scores.shape[1])[::-1].copy()
    parts = [topk.top_k(scores[:, a:b], k, ids=ids[a:b])[:2] for a, b in ((0, cut), (cut, len(ids)))]
    assert_equal(topk.merge_top_k(parts, k), by_sorting(scores, ids, k))


def test_ties_go_to_the_smaller_id_at_the_boundary_too():
    scores = np.array([[1, 2, 2, 2, 0]], dtype=np.float32)
    ids = np.array([5, 9, 4, 7, 1])
    found, _, counts = topk.top_k(scores, 2, ids=ids)
    assert found.tolist() == [[4, 7]] and counts.tolist() == [2]


def test_pairs_in_any_order_and_absent_ids_ignored():
    queries = np.array([2, 0, 2, 0, 2])
    ids = np.array([8, 3, 2, -1, 5])
    scores = np.array([1, 4, 1, 9, 3], dtype=np.float32)
    found, values, counts = topk.top_k_pairs(queries, ids, scores, count=4, k=2)
    assert found.tolist() == [[3, -1], [-1, -1], [5, 2], [-1, -1]]
    assert values[2].tolist() == [3, 1] and counts.tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("k", [1, 3, 7])
def test_kth_largest(k):
    scores = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    wanted = np.sort(scores, axis=1)[:, ::-1][:, k - 1] if k <= 6 else np.full(5, -np.inf)
    np.testing.assert_array_equal(topk.kth_largest(scores, k), wanted)


def test_rank_within():
    assert topk.rank_within(np.array([0, 0, 3, 3, 3, 7])).tolist() == [0, 1, 0, 1, 2, 0]
    assert topk.rank_within(np.zeros(0, dtype=np.int64)).tolist() == []
