from __future__ import annotations

import numpy as np
import pytest

from conformance.reference import naive_scores
from orthant.kernels import distances

METRICS = ("dot", "cosine", "l2")


def data(n: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def prepared(Q: np.ndarray, metric: str, dtype: type = np.float32) -> np.ndarray:
    wide = Q.astype(np.float64)
    if metric == "cosine":
        wide = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    return wide.astype(dtype)


@pytest.mark.parametrize("metric", METRICS)
def test_w72_w73_tiles_stay_within_their_bound_at_every_dimension(metric):
    for dim in range(1, 131):
        for offset in (0, 30):
            X, Q = data(9, dim, dim) + np.float32(offset), data(4, dim, dim + 1000) * 3 + np.float32(offset)
            row_norms = distances.norms(X)
            bound = distances.tile_bound(distances.norms(Q), row_norms.max(), dim, metric)
            for queries in (Q, Q[:1]):
                scale = distances.row_scale(row_norms, metric)
                scores = distances.tile_scores(prepared(queries, metric), X, scale, metric)
                assert scores.dtype == np.float32 and scores.shape == (len(queries), 9)
                error = np.abs(scores - naive_scores(queries, X, metric)).max(axis=1)
                assert (error <= bound[: len(queries)]).all()


@pytest.mark.parametrize("metric", METRICS)
def test_the_bound_is_not_idle(metric):
    """Were the bound ten times too small, the rounding of long, large vectors would break it or come near."""
    X, Q = data(400, 1000) + np.float32(5), data(8, 1000, 1) + np.float32(5)
    scores = distances.tile_scores(prepared(Q, metric), X, distances.row_scale(distances.norms(X), metric), metric)
    error = np.abs(scores - naive_scores(Q, X, metric)).max()
    bound = distances.tile_bound(distances.norms(Q), distances.norms(X).max(), 1000, metric).max()
    assert bound / 5000 < error <= bound


@pytest.mark.parametrize("metric", METRICS)
def test_float64_tiles_compute_their_own_scale(metric):
    X, Q = (data(30, 17) + 1000).astype(np.float64), data(4, 17, 1) + 1000
    scores = distances.tile_scores(prepared(Q, metric, np.float64), X, None, metric)
    np.testing.assert_allclose(scores, naive_scores(Q, X, metric), rtol=1e-9, atol=1e-7)
    assert scores.dtype == np.float64


@pytest.mark.parametrize("metric", METRICS)
def test_exact_scores_are_float64_truth_rounded(metric):
    X, Q = data(50, 33) + np.float32(1000), data(3, 33, 1) + np.float32(1000)
    np.testing.assert_array_equal(distances.exact_scores(Q, X, metric), naive_scores(Q, X, metric).astype(np.float32))


def test_a_pair_scores_the_same_wherever_it_stands():
    X = np.repeat(data(1, 77), 101, axis=0)
    Q = np.repeat(data(1, 77, 5), 101, axis=0)
    for metric in METRICS:
        assert len(np.unique(distances.pair_scores(Q, X, metric))) == 1


def test_row_scale_and_inverse_norms():
    X = np.array([[3, 4], [0, 0.5]], dtype=np.float32)
    row_norms = distances.norms(X)
    assert row_norms.tolist() == [5, 0.5] and row_norms.dtype == np.float64
    assert distances.row_scale(row_norms, "dot").tolist() == [5, 0.5]
    assert distances.row_scale(row_norms, "l2").tolist() == [25, 0.25]
    np.testing.assert_allclose(distances.row_scale(row_norms, "cosine"), [0.2, 2])
    np.testing.assert_allclose(distances.inverse_norms(X), [0.2, 2])
    assert np.isinf(distances.inverse_norms(np.zeros((1, 2), np.float32))[0])


def test_norms_read_large_inputs_in_parts():
    X = np.broadcast_to(np.float32(2), (300, 9000))
    np.testing.assert_allclose(distances.norms(X), 2 * np.sqrt(9000))


def test_scores_stay_finite():
    assert np.isfinite(distances.to_float32(np.array([1e300, -1e300]))).all()


def test_row_chunks_cover_everything_once():
    for count, row_bytes, budget in ((0, 8, 64), (1, 8, 4), (10, 8, 24), (10, 1, 1000), (7, 100, 10)):
        parts = list(distances.row_chunks(count, row_bytes, budget))
        assert [i for a, b in parts for i in range(a, b)] == list(range(count))
        assert all(b - a == 1 or (b - a) * row_bytes <= budget for a, b in parts)
