"""What the loops of word vectors draw from has the distribution that it should have."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels.compiling import kernel
from orthant.kernels.skipgram.sampling import (
    alias_table,
    draw,
    keep_probabilities,
    next_state,
    sigmoid,
    sigmoid_table,
    uniform,
)


@kernel
def _draws(thresholds, aliases, state, out):
    for i in range(out.shape[0]):
        state = next_state(state)
        out[i] = draw(thresholds, aliases, state)


@kernel
def _uniforms(state, out):
    for i in range(out.shape[0]):
        state = next_state(state)
        out[i] = uniform(state)


@kernel
def _sigmoids(table, values, out):
    for i in range(values.shape[0]):
        out[i] = sigmoid(table, values[i])


@pytest.mark.parametrize("weights", [[1, 1, 1], [1, 2, 4, 8, 100], [0, 3, 0, 1], [5]])
def test_the_alias_table_holds_the_distribution_exactly(weights):
    thresholds, aliases = alias_table(np.array(weights, dtype=float))
    shares = thresholds.astype(float).copy()
    np.add.at(shares, aliases, 1.0 - thresholds)
    np.testing.assert_allclose(shares / len(weights), np.array(weights) / sum(weights), atol=1e-6)


def test_draws_follow_the_weights():
    out = np.empty(200_000, np.int64)
    _draws(*alias_table(np.array([1.0, 2.0, 7.0])), np.uint64(5), out)
    np.testing.assert_allclose(np.bincount(out, minlength=3) / len(out), [0.1, 0.2, 0.7], atol=0.005)


def test_numbers_are_spread_evenly():
    out = np.empty(100_000)
    _uniforms(np.uint64(1), out)
    assert out.min() >= 0 and out.max() < 1
    np.testing.assert_allclose(np.histogram(out, 10, (0, 1))[0] / len(out), 0.1, atol=0.005)
    assert abs(np.corrcoef(out[:-1], out[1:])[0, 1]) < 0.01


def test_the_table_of_the_sigmoid_is_close_and_ends_at_its_limits():
    values = np.linspace(-8, 8, 1001).astype(np.float32)
    out = np.empty_like(values)
    _sigmoids(sigmoid_table(), values, out)
    exact = 1 / (1 + np.exp(-values.astype(float)))
    assert np.abs(out - exact).max() < 0.003
    assert out[0] == 0 and out[-1] == 1


def test_frequent_words_are_thinned_out_as_published():
    keep = keep_probabilities(np.array([900, 99, 1]), 1e-3)
    np.testing.assert_allclose(keep[0], np.sqrt(1e-3 / 0.9) + 1e-3 / 0.9, rtol=1e-5)
    assert keep[2] == 1.0 and (keep_probabilities(np.array([900, 1]), 0) == 1).all()
