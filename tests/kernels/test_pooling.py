"""The two poolings agree with a plain loop and with each other."""

from __future__ import annotations

from threading import Thread

import numpy as np
import pytest

from orthant.kernels.pooling import pool_bags, pool_range


def reference(ids, offsets, table, scales, power):
    out = np.zeros((len(offsets) - 1, table.shape[1]))
    for bag in range(len(out)):
        tokens, counts = np.unique([t for t in ids[offsets[bag] : offsets[bag + 1]] if t >= 0], return_counts=True)
        for token, count in zip(tokens.astype(int), counts, strict=True):
            out[bag] += float(count) ** power * float(scales[token]) * table[token].astype(np.float64)
    return out


def compiled(ids, offsets, table, scales, power):
    out = np.full((len(offsets) - 1, table.shape[1]), np.nan, np.float32)
    counts = np.zeros(len(table), np.int32)
    pool_range(ids, offsets, table, scales, power, counts, out)
    assert not counts.any()
    return out


def bags(seed, dtype=np.float32, dim=24, rows=50, number=40):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 30, number)
    ids = rng.integers(-1, rows, lengths.sum()).astype(np.int32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    table = rng.standard_normal((rows, dim)) if dtype == np.float32 else rng.integers(-127, 128, (rows, dim))
    return ids, offsets, table.astype(dtype), rng.random(rows).astype(np.float32) / (1 if dtype == np.float32 else 99)


@pytest.mark.parametrize("pool", [pool_bags, compiled])
@pytest.mark.parametrize("dtype", [np.float32, np.int8])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_agrees_with_a_plain_loop(pool, dtype, power):
    arguments = bags(int(power * 10), dtype)
    found = pool(*arguments, power)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(*arguments, power), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
def test_twins_agree_on_unit_vectors(dtype):
    arguments = bags(3, dtype, dim=128)
    left, right = pool_bags(*arguments, 0.5), compiled(*arguments, 0.5)
    norms = np.maximum(np.linalg.norm(left, axis=1, keepdims=True), 1e-9)
    np.testing.assert_allclose(left / norms, right / norms, atol=1e-6)


@pytest.mark.parametrize("pool", [pool_bags, compiled])
def test_bags_without_tokens_are_zero(pool):
    table, scales = np.ones((3, 8), np.float32), np.ones(3, np.float32)
    ids = np.array([-1, -1, 2], np.int32)
    found = pool(ids, np.array([0, 0, 2, 3, 3], np.int64), table, scales, 0.5)
    np.testing.assert_array_equal(found.any(axis=1), [False, False, True, False])
    assert pool(ids[:0], np.zeros(1, np.int64), table, scales, 0.5).shape == (0, 8)


def test_power_damps_repeats():
    table, scales = np.eye(2, dtype=np.float32), np.ones(2, np.float32)
    ids, offsets = np.array([0, 0, 0, 0, 1], np.int32), np.array([0, 5], np.int64)
    for power, wanted in ((1.0, 4.0), (0.5, 2.0), (0.0, 1.0)):
        for pool in (pool_bags, compiled):
            np.testing.assert_allclose(pool(ids, offsets, table, scales, power), [[wanted, 1.0]])


def test_kernel_runs_in_several_threads():
    arguments = bags(5, number=400)
    wanted = compiled(*arguments, 0.5)
    found = [None] * 4

    def work(place):
        found[place] = compiled(*arguments, 0.5)

    threads = [Thread(target=work, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in found:
        np.testing.assert_array_equal(each, wanted)
