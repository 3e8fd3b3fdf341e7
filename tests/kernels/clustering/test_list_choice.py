"""Keys sort by score, equal scores by the smaller number, and give both back."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels.clustering.list_choice import keep_smallest, key_of, number_of, score_of


def test_keys_sort_by_score_then_number_and_give_both_back():
    rng = np.random.default_rng(0)
    scores = rng.standard_normal(200).astype(np.float32)
    scores[:40] = np.array([0, -0.5, 3e38, -3e38, 1e-42, -1e-42, np.inf, -np.inf], np.float32).repeat(5)
    numbers = rng.permutation(200) * 21_000_000
    keys = np.array([key_of(s, int(n)) for s, n in zip(scores, numbers, strict=True)], np.uint64)
    order = np.lexsort((numbers, -scores))
    np.testing.assert_array_equal(np.argsort(keys, kind="stable"), order)
    assert [number_of(key) for key in keys] == numbers.tolist()
    np.testing.assert_array_equal(np.array([score_of(key) for key in keys], np.float32), scores)


@pytest.mark.parametrize("count", [1, 2, 7, 500])
def test_the_smallest_come_to_the_front(count):
    rng = np.random.default_rng(count)
    for wanted in sorted({1, count // 2 or 1, count}):
        keys = rng.permutation(10 * count + 5)[: count + 3].astype(np.uint64)
        rest, sorted_ = keys[count:].copy(), np.sort(keys[:count])
        keep_smallest(keys, count, wanted)
        np.testing.assert_array_equal(np.sort(keys[:wanted]), sorted_[:wanted])
        assert keys[wanted - 1] == sorted_[wanted - 1]
        np.testing.assert_array_equal(keys[count:], rest)
