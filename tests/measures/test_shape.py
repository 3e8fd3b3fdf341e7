from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import skew

from orthant.errors import DimensionError, InputError
from orthant.index.flat import Flat
from orthant.measures.shape import hubness, isotropy


def test_hubness_by_hand():
    even = hubness(np.array([[1], [2], [3], [0]]))
    assert (even.skewness, even.robin_hood, even.antihubs, even.largest) == (0.0, 0.0, 0.0, 1)
    hub = hubness(np.array([[3], [3], [3], [0]]))
    assert hub.skewness == pytest.approx(skew([1, 0, 0, 3]))
    assert (hub.antihubs, hub.largest) == (0.5, 3)
    assert hub.robin_hood == pytest.approx(0.5)
    assert hubness(np.array([[1, -1], [0, -1]]), count=4).antihubs == 0.5


def test_hubs_appear_in_high_dimension():
    rng = np.random.default_rng(0)

    def measured(dim):
        X = rng.standard_normal((1500, dim)).astype(np.float32)
        index = Flat(dim, "l2")
        index.add(X)
        return hubness(index.search(X, 11).ids[:, 1:]).skewness

    assert measured(100) > measured(3) + 1


def test_isotropy_tells_a_shared_direction():
    rng = np.random.default_rng(0)
    even = rng.standard_normal((4000, 16))
    shifted = even + 3.0
    good, bad = isotropy(even), isotropy(shifted)
    assert abs(good.mean_cosine) < 0.01 and bad.mean_cosine > 0.8
    assert good.partition_ratio > 0.9 and bad.partition_ratio < 0.5
    assert good.effective_dimension > 15
    flat = rng.standard_normal((2000, 2)) @ rng.standard_normal((2, 16))
    assert isotropy(flat).effective_dimension <= 2.0001
    pairs = (even / np.linalg.norm(even, axis=1, keepdims=True))[:300]
    cosines = (pairs @ pairs.T)[np.triu_indices(300, 1)]
    assert isotropy(even[:300]).mean_cosine == pytest.approx(cosines.mean(), abs=1e-6)


def test_bad_input_is_refused():
    with pytest.raises(DimensionError):
        hubness(np.zeros((3, 2)))
    for bad in (np.array([[5], [0]]), np.array([[-2], [0]]), np.array([[-1], [-1]])):
        with pytest.raises(InputError):
            hubness(bad)
    with pytest.raises(InputError):
        isotropy(np.ones((1, 3)))
    with pytest.raises(InputError):
        isotropy(np.zeros((3, 3)))
