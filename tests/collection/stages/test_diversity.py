"""Maximal marginal relevance against its formula, written out."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.collection.stages.diversity import mmr, unit_rows


def brute_force(relevance, X, diversity):
    left, order, values = list(range(len(relevance))), [], []
    while left:
        worth = [
            (1 - diversity) * float(relevance[i])
            - diversity * max((float(X[i].astype(np.float64) @ X[j].astype(np.float64)) for j in order), default=0.0)
            for i in left
        ]
        best = left[int(np.argmax(worth))]
        values.append(max(worth))
        order.append(best)
        left.remove(best)
    return order, values


@pytest.mark.parametrize("diversity", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_order_is_that_of_the_formula(seed, diversity):
    rng = np.random.default_rng(seed)
    X = unit_rows(rng.standard_normal((40, 6)).astype(np.float32))
    X[::7] = 0
    relevance = np.sort(rng.random(40).astype(np.float32))[::-1]
    order, values = mmr(relevance, X, diversity=diversity)
    expected, worth = brute_force(relevance, X, diversity)
    assert order.tolist() == expected
    np.testing.assert_allclose(values, worth, atol=1e-6)


def test_nothing_and_zero_rows():
    order, values = mmr(np.zeros(0, np.float32), np.zeros((0, 3), np.float32), diversity=0.5)
    assert len(order) == len(values) == 0
    assert not unit_rows(np.zeros((2, 3), np.float32)).any()
