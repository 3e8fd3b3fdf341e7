from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.nn.prototypes import equiangular_prototypes, orthonormal_prototypes, simplex_prototypes, welch_bound


def products(rows):
    wide = rows.astype(np.float64)
    return wide @ wide.T


def off_diagonal(rows):
    gram = products(rows)
    return gram[~np.eye(len(gram), dtype=bool)]


@pytest.mark.parametrize(("n", "dim"), [(1, 1), (3, 8), (64, 64)])
def test_orthonormal_rows_have_a_unit_gram_matrix(n, dim):
    rows = orthonormal_prototypes(n, dim, seed=1)
    assert rows.shape == (n, dim) and rows.dtype == np.float32
    np.testing.assert_allclose(products(rows), np.eye(n), atol=1e-6)


def test_orientation_follows_the_seed():
    assert np.array_equal(orthonormal_prototypes(3, 5, seed=4), orthonormal_prototypes(3, 5, seed=4))
    assert not np.allclose(orthonormal_prototypes(3, 5, seed=4), orthonormal_prototypes(3, 5, seed=5))


@pytest.mark.parametrize("n", [2, 3, 10, 1024])
def test_simplex_corners_are_equally_far_apart(n):
    rows = simplex_prototypes(n)
    assert rows.shape == (n, n - 1)
    np.testing.assert_allclose(np.diag(products(rows)), 1, atol=1e-6)
    np.testing.assert_allclose(off_diagonal(rows), -1 / (n - 1), atol=1e-6)
    np.testing.assert_allclose(rows.astype(np.float64).sum(axis=0), 0, atol=1e-5)
    if n <= 10:
        assert np.linalg.matrix_rank(rows) == n - 1


def test_a_simplex_in_more_dimensions_is_the_same_simplex():
    wide = simplex_prototypes(6, 9)
    np.testing.assert_array_equal(wide[:, :5], simplex_prototypes(6))
    assert not wide[:, 5:].any()


@pytest.mark.parametrize(
    ("n", "dim", "limit"), [(200, 100, 0.10), (200, 50, 0.20), (1000, 100, 0.30), (10, 5, 0.40), (100, 50, 0.12)]
)
def test_equiangular_rows_stay_below_the_limit(n, dim, limit):
    rows = equiangular_prototypes(n, dim, limit)
    np.testing.assert_allclose(np.diag(products(rows)), 1, atol=1e-6)
    assert np.abs(off_diagonal(rows)).max() <= limit + 1e-6
    start = np.random.default_rng(0).standard_normal((n, dim))
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    assert np.abs(off_diagonal(start)).max() > limit + 0.05


def test_blocks_of_rows_give_the_gradient_of_the_whole(monkeypatch):
    import orthant.nn.prototypes as module

    rows = np.random.default_rng(3).standard_normal((11, 4))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    monkeypatch.setattr(module, "_BLOCK", 4)
    loss, worst, slope = module._push(rows, 0.2)

    def total(x):
        gram = np.abs(x @ x.T)
        np.fill_diagonal(gram, 0)
        return (np.maximum(gram - 0.2, 0) ** 2).sum()

    assert loss == pytest.approx(total(rows)) and worst == pytest.approx(np.abs(off_diagonal(rows)).max())
    step = 1e-6
    for i, j in ((0, 0), (5, 3), (10, 1)):
        moved = rows.copy()
        moved[i, j] += step
        # The sum counts each pair twice, its gradient is therefore four times what one half counted once gives.
        assert (total(moved) - loss) / step / 4 == pytest.approx(slope[i, j], abs=1e-4)


def test_few_vectors_are_made_exactly():
    np.testing.assert_allclose(products(equiangular_prototypes(5, 8, 0.0)), np.eye(5), atol=1e-6)
    np.testing.assert_array_equal(equiangular_prototypes(5, 4, 0.25), simplex_prototypes(5))
    assert welch_bound(5, 4) == pytest.approx(0.25) and welch_bound(4, 4) == 0


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: orthonormal_prototypes(9, 8), "at most 8"),
        (lambda: simplex_prototypes(10, 8), "at most 9"),
        (lambda: simplex_prototypes(1), "n=1"),
        (lambda: equiangular_prototypes(200, 100, 0.05), "0.0709"),
        (lambda: equiangular_prototypes(20, 10, 1.0), "below 1"),
        (lambda: equiangular_prototypes(20, 1, 0.5), "dim=1"),
        (lambda: equiangular_prototypes(1, 5, 0.5), "n=1"),
        (lambda: equiangular_prototypes(200, 100, 0.071, steps=5), "5 steps reached"),
        (lambda: welch_bound(1, 4), "n=1"),
    ],
)
def test_what_cannot_be_is_refused(call, told):
    with pytest.raises(InputError, match=told):
        call()
