from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.errors import InputError
from orthant.index import Flat
from orthant.learn.samplers import LocalityCentric, Shuffled, count_batches

BLOCKS, PER_BLOCK = 20, 50


def planted(seed=0, m=10):
    """Rows and candidates in 20 blocks; a row's candidates come from its block."""
    rng = np.random.default_rng(seed)
    block = rng.permutation(np.repeat(np.arange(BLOCKS), PER_BLOCK))
    return block, 1000 + block[:, None] * PER_BLOCK + rng.integers(0, PER_BLOCK, (len(block), m))


def own_block(batches, block):
    """Share of the other rows of a batch that are of a row's own block."""
    shares = []
    for batch in batches:
        same = block[batch][:, None] == block[batch][None, :]
        shares.append((same.sum() - len(batch)) / (len(batch) * (len(batch) - 1)))
    return float(np.mean(shares))


@pytest.mark.parametrize(("strategy", "least"), [("snowball", 0.8), ("random-walk", 0.5)])
def test_negatives_come_from_the_own_block(strategy, least):
    block, candidates = planted()
    sampler = LocalityCentric(candidates, strategy=strategy)
    batches = list(sampler.batches(len(block), batch_size=25, seed=1))
    assert sorted(chain.from_iterable(batches)) == list(range(len(block)))
    assert own_block(batches, block) >= least
    assert own_block(Shuffled().batches(len(block), batch_size=25), block) < 0.1


def test_the_share_decides_how_local_a_batch_is():
    block, candidates = planted()
    found = [
        own_block(LocalityCentric(candidates, share=share).batches(len(block), batch_size=20), block)
        for share in (0.0, 0.5, 1.0)
    ]
    assert found[0] < 0.1 < 0.2 < found[1] < 0.5 < 0.7 < found[2]


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(1, 60),
    m=st.integers(1, 4),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    fan_out=st.integers(1, 5),
    drop=st.booleans(),
    seed=st.integers(0, 5),
)
def test_every_row_comes_once(n, m, share, fan_out, drop, seed):
    rng = np.random.default_rng(seed)
    candidates = rng.integers(-1, 12, (n, m))
    candidates[0, 0] = 3
    batch_size = int(rng.integers(1, n + 1))
    sampler = LocalityCentric(candidates, share=share, fan_out=fan_out, drop_last=drop)
    batches = list(sampler.batches_with_negatives(n, batch_size=batch_size, seed=seed))
    rows = [row for batch in batches for row, _ in batch]
    assert len(rows) == len(set(rows)) == (n // batch_size * batch_size if drop else n)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert len(batches) == count_batches(sampler, n, batch_size=batch_size)
    for row, negative in list(chain.from_iterable(batches)):
        assert negative in candidates[row] if (candidates[row] >= 0).any() else negative == -1
    again = list(sampler.batches(n, batch_size=batch_size, seed=seed))
    assert again == [[row for row, _ in batch] for batch in batches]


def test_epochs_and_seeds_differ():
    block, candidates = planted()
    sampler = LocalityCentric(candidates)
    orders = {
        tuple(chain.from_iterable(sampler.batches(len(block), batch_size=25, seed=seed, epoch=epoch)))
        for seed in range(2)
        for epoch in range(2)
    }
    assert len(orders) == 4


def test_clusters_fill_batches_one_after_the_other():
    clusters = np.random.default_rng(0).permutation(np.repeat(np.arange(8), 64))
    sampler = LocalityCentric.from_clusters(clusters)
    for batch in sampler.batches(512, batch_size=32):
        assert len(set(clusters[batch])) == 1


def test_vectors_with_and_without_an_index():
    rng = np.random.default_rng(0)
    block = rng.permutation(np.repeat(np.arange(10), 30))
    X = (np.eye(10)[block] * 4 + rng.standard_normal((300, 10))).astype(np.float32)
    exact = LocalityCentric.from_vectors(X, m=8)
    index = Flat(10)
    index.add(X)
    searched = LocalityCentric.from_vectors(X, m=8, index=index)
    np.testing.assert_array_equal(np.sort(exact.candidates), np.sort(searched.candidates))
    assert not (exact.candidates == np.arange(300)[:, None]).any()
    assert own_block(exact.batches(300, batch_size=15), block) > 0.6


def test_bad_candidates_are_refused():
    with pytest.raises(InputError, match="4 rows of candidates; expected 5"):
        LocalityCentric(np.zeros((4, 2), dtype=int)).batches(5, batch_size=2)
    with pytest.raises(InputError, match="different lengths"):
        LocalityCentric([[1, 2], [3]])
    with pytest.raises(InputError, match="float64"):
        LocalityCentric([[0.5]])
    with pytest.raises(InputError, match="all -1"):
        LocalityCentric([[-1]])
    with pytest.raises(InputError, match=r"share=1\.5"):
        LocalityCentric([[1]], share=1.5)
    with pytest.raises(InputError, match="strategy='bfs'"):
        LocalityCentric([[1]], strategy="bfs")
    with pytest.raises(InputError, match="an index of 0 vectors"):
        LocalityCentric.from_vectors(np.eye(3), m=2, index=Flat(3))
    with pytest.raises(InputError, match="batch_size=3 for 2 rows"):
        LocalityCentric([[1], [2]]).batches(2, batch_size=3)
