"""Streams by name: fixed for ever, independent of one another."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.transforms import RandomMatrices


def test_values_are_those_of_every_platform_and_release():
    # A saved encoding holds a seed only: other numbers here would make it unreadable.
    assert RandomMatrices(0).signs("fde/inner", (8,)).tolist() == [1, -1, 1, 1, -1, -1, -1, 1]


def test_a_name_does_not_depend_on_what_was_drawn_before():
    source = RandomMatrices(3)
    first = source.gaussian("a", (4, 4))
    source.gaussian("b", (100,))
    np.testing.assert_array_equal(source.gaussian("a", (4, 4)), first)
    assert not np.array_equal(RandomMatrices(4).gaussian("a", (4, 4)), first)


def test_names_are_uncorrelated():
    source = RandomMatrices(0)
    rows = np.stack([source.gaussian(f"row {i}", (4000,)) for i in range(20)])
    found = np.corrcoef(rows) - np.eye(20)
    assert np.abs(found).max() < 5 / np.sqrt(4000)


def test_a_count_sketch_keeps_products_in_the_mean():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 60))
    found = []
    for seed in range(400):
        targets, signs = RandomMatrices(seed).count_sketch("x", 60, 12)
        found.append(np.bincount(targets, a * signs, 12) @ np.bincount(targets, b * signs, 12))
    assert abs(np.mean(found) - a @ b) < 3 * np.std(found) / np.sqrt(len(found))


def test_orthogonal_matrices_are_orthogonal():
    matrix = RandomMatrices(1).orthogonal("rotation", 24)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(24), atol=1e-5)


@pytest.mark.parametrize("seed", [-1, 1.5, "1"])
def test_refuses_seeds(seed):
    with pytest.raises(InputError):
        RandomMatrices(seed)
