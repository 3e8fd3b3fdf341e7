from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels.clustering import nearest as module
from orthant.kernels.clustering.nearest import nearest, squared_errors


def truth(X: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    return ((X[:, None].astype(np.float64) - centroids[None]) ** 2).sum(axis=2).argmin(axis=1)


def normal(n: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "numpy"])
def test_every_dimension_and_size_agrees_with_float64(compiled):
    for dim in (1, 2, 3, 7, 8, 9, 31, 33, 64, 130):
        for k in (1, 2, 5, 16, 17, 256):
            X, C = normal(150, dim, k), normal(k, dim, dim)
            np.testing.assert_array_equal(nearest(X, C, compiled=compiled), truth(X, C), err_msg=f"{dim} {k}")


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "numpy"])
@pytest.mark.parametrize("kind", ["ties", "offset", "huge", "tiny", "close", "far", "duplicates"])
def test_what_float32_cannot_decide(kind, compiled):
    X, C = normal(120, 12), normal(40, 12, 1)
    if kind == "ties":
        X, C = np.round(X * 2), np.round(C)
    elif kind == "offset":
        X, C = X + 1e5, C + 1e5
    elif kind == "huge":
        X, C = X * 1e37, C * 1e37
    elif kind == "tiny":
        X, C = X * 1e-30, C * 1e-30
    elif kind == "far":
        X[:, 0], C[:, 0] = 1e6, 0
    elif kind == "close":
        C = (C[:1] * (1 + np.arange(40)[:, None] * 2e-7)).astype(np.float32)
    else:
        C = np.repeat(C[:5], 8, axis=0)
    X, C = X.astype(np.float32), C.astype(np.float32)
    np.testing.assert_array_equal(nearest(X, C, compiled=compiled), truth(X, C))


def test_without_the_second_look_near_ties_go_wrong(monkeypatch):
    X, C = normal(500, 12), normal(40, 12, 1)
    X[:, 0], C[:, 0] = 1e6, 0
    np.testing.assert_array_equal(nearest(X, C), truth(X, C))
    monkeypatch.setattr(module, "_nearest_of", lambda rows, centroids, close: close.argmax(axis=1))
    assert (nearest(X, C) != truth(X, C)).any()


def test_rows_do_not_depend_on_neighbours_or_threads():
    X, C = normal(9000, 24), normal(256, 24, 1)
    whole = nearest(X, C, threads=1)
    np.testing.assert_array_equal(nearest(X, C, threads=5), whole)
    order = np.random.default_rng(0).permutation(len(X))[:700]
    np.testing.assert_array_equal(nearest(X[order], C), whole[order])


def test_squared_errors():
    X, C = normal(50, 9), normal(4, 9, 1)
    labels = nearest(X, C)
    np.testing.assert_allclose(squared_errors(X, C, labels), ((X - C[labels]).astype(float) ** 2).sum(1), rtol=1e-6)
    assert nearest(X[:0], C).shape == (0,)
