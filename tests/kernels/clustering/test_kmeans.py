from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from orthant.kernels.clustering.kmeans import cluster_sums, kmeans
from orthant.kernels.clustering.seeding import spread_rows
from quantization.vectors import real


def normal(n: int, dim: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def lloyd(X: np.ndarray, C: np.ndarray, weights: np.ndarray) -> np.ndarray:
    labels = ((X[:, None].astype(float) - C[None]) ** 2).sum(axis=2).argmin(axis=1)
    return np.stack(
        [np.average(X[labels == c].astype(float), axis=0, weights=weights[labels == c]) for c in range(len(C))]
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_one_iteration_is_lloyds(weighted):
    X = normal(600, 5)
    weights = np.random.default_rng(1).random(600) if weighted else None
    wanted = lloyd(X, X[:12], np.ones(600) if weights is None else weights)
    found = kmeans(X, 12, initial=X[:12].copy(), iterations=1, weights=weights)
    np.testing.assert_allclose(found.centroids, wanted, rtol=1e-6, atol=1e-7)
    assert found.iterations == 1 and not found.converged
    errors = ((X - found.centroids[found.labels]).astype(float) ** 2).sum(axis=1)
    assert found.inertia == pytest.approx(float(errors @ (np.ones(600) if weights is None else weights)), rel=1e-6)


def test_kernel_and_numpy_sum_to_the_same_bits():
    X, rng = normal(3000, 7), np.random.default_rng(0)
    labels, weights = rng.integers(0, 40, 3000), rng.random(3000)
    for own in (None, weights):
        one, two = (cluster_sums(X, labels, 41, weights=own, compiled=c) for c in (True, False))
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])
        assert one[1][40] == 0
    np.testing.assert_array_equal(
        cluster_sums(X, labels, 41, threads=3, compiled=True)[0], cluster_sums(X, labels, 41)[0]
    )


def test_inertia_is_within_a_percent_of_scikit_learn(data_root):
    from sklearn.cluster import KMeans

    X = real(data_root, 2500)[:, :48].copy()
    peer = np.median([KMeans(32, n_init=1, max_iter=50, random_state=s).fit(X).inertia_ for s in range(3)])
    ours = np.median([kmeans(X, 32, seed=s).inertia for s in range(3)])
    assert ours <= 1.01 * peer


def test_spread_rows_beat_rows_drawn_blindly():
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((50, 4)) * 30
    sizes = np.where(np.arange(50) < 5, 400, 10)
    X = np.concatenate([c + rng.standard_normal((s, 4)) for c, s in zip(centres, sizes, strict=True)]).astype(
        np.float32
    )

    def hit(rows):
        return len({int(((centres - row) ** 2).sum(axis=1).argmin()) for row in rows})

    assert hit(spread_rows(X, 50, rng=np.random.default_rng(1))) >= 47
    assert hit(X[rng.choice(len(X), 50, replace=False)]) < 30


def test_empty_clusters_are_given_rows():
    X = normal(400, 3)
    first = np.concatenate([X[:4], np.full((12, 3), 1e3, np.float32)])
    assert (kmeans(X, 16, initial=first, iterations=10).counts > 0).all()


def test_same_result_for_any_number_of_threads():
    code = (
        "import numpy as np, hashlib; from orthant.kernels.clustering.kmeans import kmeans;"
        "X = np.random.default_rng(0).standard_normal((6000, 24)).astype(np.float32);"
        "r = kmeans(X, 64, seed=3, iterations=5); print(hashlib.sha256(r.centroids.tobytes()).hexdigest())"
    )
    X = np.random.default_rng(0).standard_normal((6000, 24)).astype(np.float32)
    here = hashlib.sha256(kmeans(X, 64, seed=3, iterations=5).centroids.tobytes()).hexdigest()
    for threads in ("1", "4"):
        environment = {**os.environ, "ORTHANT_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert found.stdout.decode().strip() == here
    assert kmeans(X, 64, seed=4, iterations=5).inertia != kmeans(X, 64, seed=3, iterations=5).inertia


def test_rows_without_weight_do_not_count():
    X = np.concatenate([normal(300, 4), normal(300, 4) + 50])
    weights = np.repeat([1.0, 0.0], 300)
    found = kmeans(X, 5, weights=weights)
    assert np.abs(found.centroids).max() < 10
    assert found.inertia == pytest.approx(kmeans(X[:300], 5).inertia, rel=0.15)


def test_batches_come_close_to_all_rows():
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((40, 8))[rng.integers(0, 40, 12_000)] * 3 + rng.standard_normal((12_000, 8))).astype(
        np.float32
    )
    whole, found = kmeans(X, 40), kmeans(X, 40, batch_rows=1500, iterations=4)
    assert found.inertia <= 1.05 * whole.inertia
    worse = kmeans(X, 40, batch_rows=1500, iterations=1, initial=X[:40].copy())
    assert worse.iterations == 1 and whole.inertia < worse.inertia


def test_batches_revive_starved_centroids():
    X = normal(4000, 3)
    first = np.concatenate([X[:4], np.full((12, 3), 1e3, np.float32)])
    assert (kmeans(X, 16, initial=first, batch_rows=500, iterations=5).counts > 0).all()


def test_as_many_centroids_as_rows_and_rows_that_repeat():
    X = normal(6, 3)
    found = kmeans(X, 9)
    np.testing.assert_array_equal(found.labels, np.arange(6))
    assert found.inertia == 0 and found.counts[6:].sum() == 0 and found.centroids.shape == (9, 3)
    for X in (np.ones((50, 3), np.float32), normal(3, 3)[np.arange(60) % 3]):
        found = kmeans(X, 8)
        assert found.inertia == 0 and np.isfinite(found.centroids).all() and found.counts.sum() == len(X)


def test_kernel_and_numpy_draw_the_same_rows():
    from orthant.kernels.clustering.seeding import _shorter

    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 6)).astype(np.float32)
    X[1000:] = X[:2000]  # twins, between which only rounding is left
    weights = rng.random(3000)
    for own in (None, weights):
        one, two = (spread_rows(X, 90, rng=np.random.default_rng(3), weights=own, compiled=c) for c in (True, False))
        np.testing.assert_array_equal(one, two)
    squares = np.einsum("nd,nd->n", X, X)
    before = np.where(np.arange(3000) % 7, rng.random(3000) * 9, np.nan)
    rows = np.array([0, 5, 2999])
    one, two = (_shorter(X, squares, rows, before, c) for c in (True, False))
    np.testing.assert_array_equal(one, two)
    assert one[0, 0] != one[0, 0] and one[1, 1005] == 0
