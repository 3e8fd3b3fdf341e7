"""Insertion orders: what they promise about permutations, seeds, local dimension and categories."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets.generators import subspace_sphere
from orthant.errors import DimensionError, DtypeError, InputError
from orthant.index import insertion_order, local_dimensions
from orthant.index.ordering import ORDERS, check_permutation


@pytest.fixture(scope="module")
def two_spheres():
    """300 points of a 3-dimensional sphere, then 300 of a 60-dimensional one."""
    return np.vstack([subspace_sphere(300, 64, 3, seed=1), subspace_sphere(300, 64, 60, seed=2)])


@pytest.mark.parametrize("order", ORDERS)
def test_every_order_is_a_permutation_and_repeats(two_spheres, order):
    labels = {"categories": np.arange(600) % 7} if order == "category" else {}
    first = insertion_order(two_spheres, order, seed=3, k=30, **labels)
    assert first.dtype == np.int64
    assert sorted(first.tolist()) == list(range(600))
    assert np.array_equal(first, insertion_order(two_spheres, order, seed=3, k=30, **labels))


def test_w17_random_orders_differ_by_seed_and_from_the_given_one(two_spheres):
    orders = {tuple(insertion_order(two_spheres, "random", seed=s)) for s in range(4)}
    assert len(orders) == 4
    assert tuple(range(600)) not in orders
    assert insertion_order(two_spheres, "given").tolist() == list(range(600))


def test_w17_local_dimension_decides_who_goes_first(two_spheres):
    down = insertion_order(two_spheres, "lid-descending", k=30)
    up = insertion_order(two_spheres, "lid-ascending", k=30)
    assert (down[:300] >= 300).mean() > 0.99
    assert (up[:300] < 300).mean() > 0.99
    values = local_dimensions(two_spheres, k=30)
    assert (np.diff(values[down]) <= 0).all()
    assert (np.diff(values[up]) >= 0).all()


def test_points_without_a_dimension_come_last_in_both_orders(two_spheres):
    points = np.vstack([np.repeat(two_spheres[:1], 40, axis=0), two_spheres[1:200]])
    for order in ("lid-descending", "lid-ascending"):
        assert set(insertion_order(points, order, k=20)[-40:].tolist()) == set(range(40))


def test_infinite_dimension_is_the_highest():
    # Every other corner of a simplex is equally far: each local dimension is infinite, not missing.
    points = np.vstack([np.eye(8) * 50, np.random.default_rng(0).normal(size=(40, 8))]).astype(np.float32)
    values = local_dimensions(points[:8], metric="l2", k=5)
    assert np.isinf(values).all()
    assert insertion_order(points[:8], "lid-descending", metric="l2", k=5).tolist() == list(range(8))


def test_categories_stay_together_in_a_shuffled_order():
    labels = np.array(["a", "b", "c", "d"] * 25)
    seen = set()
    for seed in range(8):
        ordered = labels[insertion_order(np.ones((100, 2)), "category", categories=labels, seed=seed)]
        assert np.count_nonzero(ordered[1:] != ordered[:-1]) == 3
        seen.add(tuple(ordered[::25]))
    assert len(seen) > 2
    kept = insertion_order(np.ones((100, 2)), "category", categories=labels, seed=0)
    assert (np.diff(kept.reshape(4, 25), axis=1) > 0).all()


def test_local_dimension_by_metric_and_reference():
    points = subspace_sphere(1500, 32, 8, seed=0)
    scaled = points * np.random.default_rng(0).uniform(1, 9, (1500, 1)).astype(np.float32)
    own = local_dimensions(points, k=100)
    assert 4.5 < np.median(own) < 8
    assert np.allclose(local_dimensions(scaled, k=100), own, rtol=0.02)
    assert np.median(local_dimensions(scaled, metric="l2", k=100)) > np.median(own) + 0.3
    assert np.allclose(local_dimensions(points, points[:20], k=100, metric="l2"), own[:20], rtol=0.1)
    fewer = local_dimensions(points, k=30, reference=500, seed=1)
    assert fewer.shape == (1500,) and 4.5 < np.median(fewer) < 8


def test_estimates_follow_the_dimension():
    # t - 1 for the sphere of a t-dimensional subspace, within a quarter for small t.
    for t in (8, 16):
        points = subspace_sphere(10_200, 64, t, seed=0)
        value = float(np.mean(local_dimensions(points[:10_000], points[10_000:], k=100)))
        assert abs(value - (t - 1)) <= 0.25 * (t - 1)


@pytest.mark.parametrize(
    ("order", "error"),
    [([0, 1, 1], InputError), ([0, 1, 3], InputError), ([0, 1], DimensionError), ([0.0, 1.0, 2.0], DtypeError),
     ("backwards", InputError), ("category", InputError)],
)  # fmt: skip
def test_bad_orders_are_refused(order, error):
    with pytest.raises(error):
        insertion_order(np.eye(3), order)


def test_w75_settings_without_effect_are_refused():
    for order in ("random", [2, 1, 0]):
        with pytest.raises(InputError, match="categories"):
            insertion_order(np.eye(3), order, categories=[1, 2, 3])
    with pytest.raises(DimensionError):
        insertion_order(np.eye(3), "category", categories=[1, 2])
    with pytest.raises(InputError, match="k=3"):
        local_dimensions(np.eye(3), k=3)
    assert check_permutation(np.array([1, 0], dtype=np.uint8), 2).tolist() == [1, 0]
