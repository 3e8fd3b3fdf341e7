"""The arms of the search claims are what they are called: equal bytes, real alternatives, twins with the switch off."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.papers.search import hnsw_study, leanvec


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((900, 64)) * np.linspace(0.5, 2, 64)).astype(np.float32)


def test_scalar_alternatives_get_the_bytes_of_the_constants(rows):
    bits = leanvec._bits_per_dimension(rows)
    assert bits.sum() == 64 * 4 + 8 * 4
    assert set(np.flatnonzero(bits == 8)) == set(np.argsort(-rows.var(axis=0))[:8])


def test_optimal_levels_beat_uniform_ones_on_their_own_data(rows):
    def error(fit):
        return float(((fit(rows)(rows) - rows) ** 2).mean())

    assert error(leanvec._lloyd) < 0.8 * error(leanvec._uniform)
    # Clipping beats the whole range of a Gaussian, and one range for all loses to one per dimension.
    assert error(lambda r: leanvec._uniform(r, 0.99)) < error(leanvec._uniform) < error(leanvec._one_range)


def test_levels_are_the_means_of_their_cells():
    values = np.sort(np.random.default_rng(1).standard_normal(5000))
    levels = leanvec._lloyd_levels(values, 4)
    # Lloyd-Max levels of a standard Gaussian.
    assert np.allclose(levels, [-1.51, -0.453, 0.453, 1.51], atol=0.06)


def test_the_twin_of_the_codes_has_one_range(rows):
    seen = leanvec._one_range(rows)(rows) - rows.mean(axis=0)
    assert len(np.unique(seen.round(5))) <= 16


def test_recall_counts_true_neighbours_among_the_candidates(rows):
    assert leanvec._recall(rows, rows, rows[:5], 10, 10) == 1
    assert leanvec._recall(rows, rows[::-1].copy(), rows[:5], 10, 10) < 0.3
    half = leanvec._recall(rows, rows[:, 32:].copy(), rows[:20], 10, 50, rows[:20, 32:].copy())
    assert leanvec._recall(rows, rows[:, 32:].copy(), rows[:20], 10, 10, rows[:20, 32:].copy()) < half < 1


def test_strength_is_positive_where_high_values_mean_low_recall():
    values = np.array([1.0, 2.0, 3.0, np.inf])
    found = hnsw_study._strength(values, [np.array([1.0, 0.5, 0.0, 1.0])] * 2)
    assert found["rank_correlation"] == pytest.approx(1)


def test_the_twin_of_the_dimension_looks_at_random_rows():
    points = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    twins = [hnsw_study._dimension_of_random_rows(points, points[:30] * -1, seed) for seed in (0, 1)]
    assert not np.allclose(*twins)
    assert twins[0].shape == (30,) and np.isfinite(twins[0]).all()
