from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError, NonFiniteError
from orthant.index.flat import Flat
from orthant.measures.intrinsic import local_dimension, two_nn_dimension


def subspace_sphere(n, ambient, dim, seed=0):
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((ambient, dim)))
    X = rng.standard_normal((n, dim)) @ basis.T
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def neighbour_distances(X, k):
    index = Flat(X.shape[1], "l2")
    index.add(X)
    return np.sqrt(-index.search(X, k + 1).scores[:, 1:].astype(np.float64))


@pytest.mark.parametrize("dim", [8, 16])
def test_known_dimensions_are_found(dim):
    r = neighbour_distances(subspace_sphere(3000, 64, dim), 100)
    assert np.median(local_dimension(r)) == pytest.approx(dim - 1, rel=0.25)
    assert two_nn_dimension(r) == pytest.approx(dim - 1, rel=0.25)


def test_the_estimates_grow_with_the_dimension_at_equal_length():
    found = [neighbour_distances(subspace_sphere(1500, 128, dim), 50) for dim in (4, 8, 16, 32)]
    assert np.all(np.diff([np.median(local_dimension(r)) for r in found]) > 1)
    assert np.all(np.diff([two_nn_dimension(r) for r in found]) > 1)


def test_squared_distances_halve_the_local_dimension():
    r = np.sort(np.random.default_rng(1).random((20, 30)) + 0.1, axis=1)
    np.testing.assert_allclose(local_dimension(r**2), local_dimension(r) / 2)


def test_local_dimension_by_hand():
    r = [[0.0, 0.5, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]]
    out = local_dimension(r)
    assert out[0] == pytest.approx(-2 / np.log(0.5))
    assert np.isnan(out[1])
    assert np.isposinf(out[2])
    assert local_dimension([[0.25, 0.5, 1.0]], denominator="k-1")[0] == pytest.approx(-2 / (np.log(0.25) + np.log(0.5)))


@pytest.mark.parametrize("estimate", [local_dimension, two_nn_dimension])
def test_distances_of_another_form_are_refused(estimate):
    for bad, error in (
        ([1.0, 2.0], DimensionError),
        ([[1.0]], DimensionError),
        ([[1.0, np.inf]], NonFiniteError),
        ([[2.0, 1.0]], InputError),
        ([[-1.0, 1.0]], InputError),
    ):
        with pytest.raises(error, match="expected"):
            estimate(bad)
    with pytest.raises(InputError):
        local_dimension([[1.0, 2.0]], denominator="n")
    with pytest.raises(InputError):
        two_nn_dimension([[0.0, 1.0]] * 10)
    with pytest.raises(InputError):
        two_nn_dimension([[1.0, 2.0]] * 10, discard=1.0)
