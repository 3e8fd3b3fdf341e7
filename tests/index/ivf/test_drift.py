"""Lists that are no longer those of the vectors are noticed, told once, and made anew."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from index.graph_data import clustered, flat_of, recall
from orthant.errors import InputError
from orthant.index import IVF
from orthant.index.ivf.drift import Drift, imbalance_of
from orthant.kernels import warmup
from orthant.kernels.clustering.list_rank import GROUP
from orthant.quantization import IVFCodec, ProductQuantizer

DIM = 24


def part(where, n, seed):
    """Vectors of clusters in one half of the dimensions or in the other."""
    X = np.zeros((n, DIM), np.float32)
    half = DIM // 2
    X[:, where * half : (where + 1) * half] = clustered(n, dim=half, seed=seed, spread=1.0)[0]
    return X + 0.05 * np.random.default_rng(seed).standard_normal(X.shape).astype(np.float32)


def trained(**options):
    index = IVF(DIM, "l2", lists=32, quantizer=ProductQuantizer(m=6, bits=4), scan_below=1000, **options)
    index.add(part(0, 3000, 1))
    return index


def test_w15_drift_is_noticed_told_once_and_mended():
    warmup.wait(GROUP)
    index = trained()
    assert not index.drift().stale and index.drift().rows == 0 and index.stats().details["stale"] is False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.add(part(0, 1500, 2))
    same = index.drift()
    assert same.rows == 1000 and not same.stale
    later = part(1, 3000, 3)
    with pytest.warns(UserWarning, match=r"unlike those.*codes lose.*Call retrain\(\)"):
        index.add(later)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.add(part(1, 500, 4))
    told = index.drift()
    assert told.stale and told.error > 1.1 * told.base_error and index.stats().details["stale"] is True
    oracle = flat_of(index.reconstruct(index.ids()), metric="l2")
    queries = part(1, 100, 9)

    def work():
        hits = index.search(queries, 10, effort=4)
        return recall(hits, oracle.search(queries, 10)), hits.cost.distances

    before = work()
    index.retrain()
    after = work()
    fresh = index.drift()
    assert not fresh.stale and fresh.rows == 0 and fresh.imbalance < told.imbalance
    assert index.calibration is None and len(index) == len(oracle)
    assert after[0] >= before[0] - 0.02 and after[1] < 0.7 * before[1]


def test_lists_that_fill_unequally_are_noticed():
    index = IVF(DIM, "l2", lists=32, quantizer=ProductQuantizer(m=6, bits=4), scan_below=1000)
    X = clustered(3000, dim=DIM, seed=1, spread=4.0)[0]
    index.add(X)
    spot = X[:1] + 0.3 * np.random.default_rng(0).standard_normal((3000, DIM)).astype(np.float32)
    with pytest.warns(UserWarning, match="imbalance of the lists rose from"):
        index.add(spot)
    assert index.drift().imbalance > 2 * index.drift().base_imbalance


def test_what_was_watched_is_saved(tmp_path):
    index = trained()
    index.add(part(0, 200, 2))
    index.save(tmp_path / "kept")
    assert IVF.load(tmp_path / "kept").drift() == index.drift()


def test_codes_that_were_brought_along_are_compared_with_the_first_vectors():
    codec = IVFCodec.train(part(0, 2000, 5), lists=16, quantizer=ProductQuantizer(m=6, bits=4), metric="l2")
    index = IVF(DIM, "l2", codec=codec, keep_vectors=False)
    assert index.drift() is None
    index.add(part(0, 600, 6))
    assert index.drift().base_rows == 600
    with pytest.warns(UserWarning, match="unlike those"):
        index.add(part(1, 600, 7))
    with pytest.raises(InputError, match=r"retrain\(\) without vectors"):
        index.retrain()


def test_means_and_spreads_join_as_those_of_all_rows():
    values = np.random.default_rng(3).uniform(size=500)
    seen = Drift.starting(values[:100], 1.0).seen(values[100:150]).seen(values[150:])
    assert (seen.base_rows, seen.rows) == (100, 400)
    assert seen.error == pytest.approx(values[100:].mean()) and seen.spread == pytest.approx(values[100:].std())
    assert seen.base_spread == pytest.approx(values[:100].std())
    assert imbalance_of(np.array([5, 5, 5])) == 1.0 and imbalance_of(np.array([9, 0, 0])) == 3.0


def test_few_rows_tell_nothing():
    few = Drift.starting(np.full(20, 0.1), 1.0).seen(np.full(20, 0.9))
    assert not few.stale
