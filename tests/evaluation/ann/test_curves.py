"""Fronts, speeds in between, bounds of recall, and which settings are kept."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError
from orthant.evaluation.ann.curves import lower_bound, pareto, qps_at, spread_points


def test_the_front_has_no_beaten_point():
    rng = np.random.default_rng(0)
    r, v = rng.random(60), rng.random(60)
    front = pareto(r, v)
    beaten = [any(r[j] >= r[i] and v[j] >= v[i] and j != i for j in range(60)) for i in range(60)]
    assert sorted(front) == [i for i in range(60) if not beaten[i]]
    assert np.all(np.diff(r[front]) > 0) and np.all(np.diff(v[front]) < 0)
    with pytest.raises(DimensionError):
        pareto([1, 2], [1])


def test_speed_between_points_ignores_beaten_ones():
    recalls, qps = [0.9, 1.0, 0.95], [400.0, 100.0, 10.0]
    assert qps_at(recalls, qps, 0.95) == pytest.approx(200.0)
    assert qps_at(recalls, qps, 0.5) == pytest.approx(400.0)
    assert qps_at(recalls, qps, 1.0) == pytest.approx(100.0)
    assert qps_at([0.9], [1.0], 0.91) is None and qps_at([], [], 0.5) is None


def test_lower_bound_covers_the_true_mean_about_95_times_in_100():
    rng = np.random.default_rng(1)
    below = [lower_bound(rng.binomial(10, 0.9, 400) / 10) <= 0.9 for _ in range(400)]
    assert 0.92 < np.mean(below) < 0.98
    assert lower_bound([0.5, np.nan]) == 0.5


def test_points_around_targets_are_kept():
    points = [{"recall": r, "qps": 1e4 * (1.01 - r), "setting": i} for i, r in enumerate(np.linspace(0.5, 0.999, 40))]
    chosen = spread_points([*points, {"recall": 0.9, "qps": 1.0, "setting": -1}], most=7, targets=(0.95, 0.99))
    recalls = [one["recall"] for one in chosen]
    for target in (0.95, 0.99):
        below = max(p["recall"] for p in points if p["recall"] < target)
        above = min(p["recall"] for p in points if p["recall"] >= target)
        assert below in recalls and above in recalls
    assert all(one["setting"] != -1 for one in chosen) and len(chosen) <= 7
    assert spread_points([], most=3, targets=(0.9,)) == []
