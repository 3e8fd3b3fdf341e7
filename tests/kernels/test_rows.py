from __future__ import annotations

import numpy as np
import pytest

from conformance.reference import naive_scores
from orthant.kernels import distances, rows

METRICS = ("dot", "cosine", "l2")
DIMS = (*range(1, 131), 191, 192, 193, 255, 256, 257, 383, 384, 385, 511, 512, 513, 767, 768, 769)


def stored(n: int, dim: int, dtype: str) -> np.ndarray:
    rng = np.random.default_rng(dim)
    if dtype == "uint8":
        return rng.integers(0, 256, (n, dim), dtype=np.uint8)
    return rng.standard_normal((n, dim)).astype(dtype)


def queries(dim: int, metric: str) -> np.ndarray:
    Q = np.random.default_rng(dim + 5000).standard_normal((2, dim))
    if metric == "cosine":
        Q /= np.linalg.norm(Q, axis=1, keepdims=True)
    return Q.astype(np.float32)


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
@pytest.mark.parametrize("metric", METRICS)
def test_w72_w73_scores_at_every_dimension_and_around_blocks(metric, dtype, compiled):
    for dim in DIMS:
        X, Q = stored(5, dim, dtype), queries(dim, metric)
        scores = rows.row_scores(Q, X, metric, compiled=compiled)
        assert scores.shape == (2, 5) and scores.dtype == np.float32
        bound = distances.tile_bound(distances.norms(Q), distances.norms(X).max(), dim, metric)[:, None]
        assert (np.abs(scores - naive_scores(Q, X, metric)) <= bound + 1e-30).all(), dim


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_distances_of_near_rows_keep_their_digits(dtype):
    X = stored(4, 100, dtype)
    Q = X[:2].astype(np.float32) + np.float32(2**-10)
    wanted = naive_scores(Q, X, "l2")
    for compiled in (True, False):
        np.testing.assert_allclose(rows.squared_distances(Q, X, compiled=compiled), -wanted, rtol=1e-4)
        assert (rows.squared_distances(X[:1].astype(np.float32), X, compiled=compiled)[0, 0]) == 0


def test_every_finite_half_is_read_exactly():
    halves = np.arange(1 << 16, dtype=np.uint16)
    halves = halves[np.isfinite(halves.view(np.float16))].reshape(-1, 1)
    one = np.ones((1, 1), np.float32)
    found = rows.row_scores(one, halves.view(np.float16), "dot", compiled=True)[0]
    np.testing.assert_array_equal(found, halves.view(np.float16)[:, 0].astype(np.float32))
    for bits in halves[::997]:
        assert (
            rows.squared_distance_half(np.zeros(1, np.float32), bits) == bits.view(np.float16).astype(np.float32) ** 2
        )


def test_rows_without_direction_have_cosine_zero():
    X = np.array([[0, 0], [3, 4]], dtype=np.float32)
    Q = np.array([[0.6, 0.8]], dtype=np.float32)
    for compiled in (True, False):
        np.testing.assert_allclose(rows.row_scores(Q, X, "cosine", compiled=compiled), [[0, 1]], rtol=1e-6)


def test_maps_and_frozen_arrays_share_one_compiled_version(tmp_path):
    X = stored(6, 20, "float32")
    np.save(tmp_path / "x.npy", X)
    frozen = X.copy()
    frozen.setflags(write=False)
    Q = queries(20, "dot")
    wanted = rows.row_scores(Q, X, "dot", compiled=True)
    for form in (np.load(tmp_path / "x.npy", mmap_mode="r"), frozen, np.asfortranarray(X)):
        np.testing.assert_array_equal(rows.row_scores(Q, form, "dot", compiled=True), wanted)
        assert rows.plain(form).dtype == np.float32 and not rows.plain(form).flags.writeable
