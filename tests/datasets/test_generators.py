"""Generated vectors have the structure they promise."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets.generators import subspace_sphere
from orthant.errors import InputError


def test_points_lie_on_the_sphere_of_a_subspace():
    points = subspace_sphere(400, 96, 12, seed=5)
    assert points.shape == (400, 96) and points.dtype == np.float32
    assert np.allclose(np.linalg.norm(points, axis=1), 1, atol=1e-6)
    assert np.linalg.matrix_rank(points, tol=1e-3) == 12
    assert np.abs(points.mean(axis=0)).max() < 0.1


def test_seed_decides_and_longer_draws_begin_alike():
    first = subspace_sphere(50, 32, 4, seed=1)
    assert np.array_equal(first, subspace_sphere(50, 32, 4, seed=1))
    assert np.allclose(first, subspace_sphere(80, 32, 4, seed=1)[:50], atol=1e-6)
    assert not np.allclose(first, subspace_sphere(50, 32, 4, seed=2))


def test_more_dimensions_than_there_are_is_refused():
    with pytest.raises(InputError, match="intrinsic_dim"):
        subspace_sphere(10, 8, 9)
