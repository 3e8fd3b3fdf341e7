"""MaxSim against its formula in float64 at every dimension, kernel and NumPy alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from orthant.kernels.multivector import maxsim as module
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.kernels.warmup import wait


def sets(rng, count, dim, longest):
    lengths = rng.integers(1, longest + 1, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return rng.standard_normal((offsets[-1], dim)).astype(np.float32), offsets


def oracle(Q, q_offsets, D, d_offsets):
    products = Q.astype(np.float64) @ D.astype(np.float64).T
    return np.array([
        [products[a:b, c:d].max(axis=1).sum() for c, d in itertools.pairwise(d_offsets)]
        for a, b in itertools.pairwise(q_offsets)
    ])  # fmt: skip


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dims", [range(1, 131)], ids=["1..130"])
def test_every_dimension_equals_the_formula(dims, compiled):
    for dim in dims:
        rng = np.random.default_rng(dim)
        # Queries of one to nine vectors, so that blocks of four and what is left over both occur.
        Q, q_offsets = sets(rng, 4, dim, 9)
        D, d_offsets = sets(rng, 6, dim, 5)
        wanted = oracle(Q, q_offsets, D, d_offsets)
        found = maxsim_scores(Q, q_offsets, D, d_offsets, compiled=compiled)
        assert found.dtype == np.float32 and found.shape == (4, 6)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max() + 1e-5)


@pytest.mark.parametrize("compiled", [True, False])
def test_threads_and_parts_change_nothing(compiled, monkeypatch):
    rng = np.random.default_rng(0)
    Q, q_offsets = sets(rng, 3, 96, 32)
    D, d_offsets = sets(rng, 300, 96, 40)
    wanted = oracle(Q, q_offsets, D, d_offsets)
    one = maxsim_scores(Q, q_offsets, D, d_offsets, compiled=compiled, threads=1)
    np.testing.assert_allclose(one, wanted, atol=1e-4)
    monkeypatch.setattr(module, "_WORK_PER_THREAD", 1)
    np.testing.assert_allclose(maxsim_scores(Q, q_offsets, D, d_offsets, compiled=compiled, threads=7), one, atol=1e-4)
    monkeypatch.setattr(module, "TILE_BYTES", 1)
    np.testing.assert_allclose(maxsim_scores(Q, q_offsets, D, d_offsets, compiled=False), one, atol=1e-4)


@pytest.mark.parametrize("compiled", [True, False])
def test_negative_scores_and_a_part_of_a_store(compiled):
    Q, D = np.ones((1, 3), np.float32), -np.arange(1, 13, dtype=np.float32).reshape(4, 3)
    D.flags.writeable = False
    found = maxsim_scores(Q, np.array([0, 1]), D, np.array([1, 3, 4]), compiled=compiled)
    np.testing.assert_array_equal(found, [[-15, -33]])
    assert maxsim_scores(Q, np.array([0, 1]), D, np.array([2])).shape == (1, 0)
    assert maxsim_scores(Q[:0], np.array([0]), D, np.array([0, 4])).shape == (0, 1)


def test_large_calls_take_the_kernel_once_it_is_ready(monkeypatch):
    wait(module.GROUP)
    seen = []
    monkeypatch.setattr(module, "_maxsim_range", lambda *args: seen.append("kernel"))
    monkeypatch.setattr(module, "_maxsim_tiles", lambda *args: seen.append("tiles"))
    for rows in (4, 4000):
        maxsim_scores(np.ones((32, 8), np.float32), np.array([0, 32]), np.ones((rows, 8), np.float32),
                      np.array([0, rows]), threads=1)  # fmt: skip
    assert seen == ["tiles", "kernel"]
