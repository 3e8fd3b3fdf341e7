from __future__ import annotations

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.errors import InputError
from orthant.learn.samplers import (
    BalancedMix,
    Interleaved,
    NoDuplicates,
    Proportional,
    RoundRobin,
    SemiHomogeneous,
    Sequential,
    Shuffled,
    count_mixed_batches,
    shard,
)
from orthant.learn.samplers.mixtures import plan

MIXTURES = [Proportional(), RoundRobin(), SemiHomogeneous(0.7), Interleaved(4), BalancedMix(0.5)]
by_name = pytest.mark.parametrize("mixture", MIXTURES, ids=lambda mixture: type(mixture).__name__)


@by_name
@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(8, 60), min_size=2, max_size=4), seed=st.integers(0, 5), epoch=st.integers(0, 2))
def test_rows_exist_and_come_at_most_once(mixture, sizes, seed, epoch):
    batches = list(mixture.batches(sizes, batch_size=8, seed=seed, epoch=epoch))
    rows = list(chain.from_iterable(batches))
    assert len(rows) == len(set(rows))
    assert all(0 <= number < len(sizes) and 0 <= row < sizes[number] for number, row in rows)
    assert len(batches) == count_mixed_batches(mixture, sizes, batch_size=8, seed=seed, epoch=epoch)
    assert batches == list(mixture.batches(sizes, batch_size=8, seed=seed, epoch=epoch))
    assert batches != list(mixture.batches(sizes, batch_size=8, seed=seed + 1, epoch=epoch))
    assert batches != list(mixture.batches(sizes, batch_size=8, seed=seed, epoch=epoch + 1))


@by_name
def test_parts_of_all_processes_make_the_batch(mixture):
    whole = list(mixture.batches([40, 40], batch_size=8))
    parts = [list(shard(whole, rank=rank, world=2)) for rank in range(2)]
    assert [list(chain.from_iterable(pieces)) for pieces in zip(*parts, strict=True)] == whole


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(5, 60), min_size=1, max_size=4), seed=st.integers(0, 5))
def test_without_weights_every_row_comes(sizes, seed):
    batches = list(Proportional().batches(sizes, batch_size=5, seed=seed))
    assert sorted(chain.from_iterable(batches)) == [
        (number, row) for number, size in enumerate(sizes) for row in range(size)
    ]
    assert all(len({number for number, _ in batch}) == 1 for batch in batches)


@settings(max_examples=200, deadline=None)
@given(
    draws=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), min_size=1, max_size=6),
    stopping=st.sampled_from(["first-exhausted", "all-exhausted"]),
)
def test_planned_counts_meet_the_shares(draws, stopping):
    available = [count for count, _ in draws]
    weights = np.array([weight for _, weight in draws], dtype=float)
    if not weights.any():
        return
    counts = plan(available, weights, stopping=stopping)
    wanted = counts.sum() * weights / weights.sum()
    assert (np.abs(counts - wanted) < 1).all()
    used = weights > 0
    if stopping == "first-exhausted":
        assert (counts <= available).all()
        longer = (counts.sum() + 1) * weights / weights.sum()
        assert (longer > np.array(available))[used].any()
    else:
        assert (counts >= np.array(available))[used].all() or counts[used].max() >= 1
        assert any(counts[i] >= available[i] for i in np.flatnonzero(used))


def test_weights_are_met_exactly():
    batches = list(Proportional([0.1, 0.3, 0.6]).batches([1000, 3000, 6000], batch_size=10, seed=4))
    assert Counter(batch[0][0] for batch in batches) == {0: 100, 1: 300, 2: 600}
    firsts = [batch[0][0] for batch in batches]
    assert firsts != sorted(firsts)


def test_temperature_moves_shares_towards_equal_ones():
    def shares(temperature):
        batches = Proportional(temperature=temperature).batches([4000, 1000], batch_size=10)
        counts = Counter(batch[0][0] for batch in batches)
        return counts[0] / sum(counts.values())

    assert shares(1.0) == 0.8
    assert shares(2.0) == pytest.approx(2 / 3, abs=0.01)
    assert shares(1e6) == pytest.approx(0.5, abs=0.01)


def test_all_exhausted_repeats_small_sets_only_after_all_their_rows():
    batches = list(Proportional([1, 1], stopping="all-exhausted").batches([10, 40], batch_size=5))
    small = [row for batch in batches for number, row in batch if number == 0]
    assert len(small) == 40
    for start in range(0, 40, 10):
        assert sorted(small[start : start + 10]) == list(range(10))
    assert small[:10] != small[10:20]


def test_round_robin_takes_turns():
    batches = list(RoundRobin().batches([20, 30, 50], batch_size=10))
    assert [batch[0][0] for batch in batches] == [0, 1, 2, 0, 1, 2]


def test_samplers_of_data_sets_are_used():
    texts = {"text": ["a", "a", "b", "b"]}
    batches = list(
        RoundRobin().batches(
            [4, 4], samplers=[Sequential(), NoDuplicates()], batch_size=2, columns=[None, texts], seed=2
        )
    )
    assert [[row for _, row in batch] for batch in batches[::2]] == [[0, 1], [2, 3]]
    assert all(len({texts["text"][row] for _, row in batch}) == 2 for batch in batches[1::2])


def test_equal_data_sets_have_different_orders():
    batches = list(RoundRobin().batches([50, 50], batch_size=50))
    assert [row for _, row in batches[0]] != [row for _, row in batches[1]]


@settings(max_examples=40, deadline=None)
@given(ratio=st.floats(0, 1), sizes=st.lists(st.integers(8, 40), min_size=2, max_size=3), seed=st.integers(0, 9))
def test_semi_homogeneous_keeps_its_share_and_all_rows(ratio, sizes, seed):
    batches = list(SemiHomogeneous(ratio).batches(sizes, batch_size=8, seed=seed))
    before = list(Proportional().batches(sizes, batch_size=8, seed=seed))
    assert sorted(chain.from_iterable(batches)) == sorted(chain.from_iterable(before))
    moved = 0
    for mixed, pure in zip(batches, before, strict=True):
        stays = sum(a == b for a, b in zip(mixed, pure, strict=True))
        assert stays >= len(pure) - round((1 - ratio) * len(pure))
        moved += len(pure) - stays
    if ratio == 1:
        assert moved == 0
    if ratio < 0.5:
        assert moved > 0


def test_semi_homogeneous_mixes_tasks():
    batches = list(SemiHomogeneous(0.75).batches([400, 400], batch_size=40, seed=0))
    shares = [max(Counter(number for number, _ in batch).values()) / len(batch) for batch in batches]
    assert min(shares) >= 0.75
    # Half of what is exchanged comes from the other task.
    assert np.mean(shares) == pytest.approx(0.875, abs=0.02)


def test_sub_batches_are_of_one_data_set_and_meet_the_weights():
    sizes, weights = [5000, 20_000, 40_000], [1.0, 1.0, 2.0]
    batches = list(Interleaved(16, weights).batches(sizes, batch_size=64, seed=0))
    frequency = Counter()
    for batch in batches:
        assert len(batch) == 64
        for start in range(0, 64, 16):
            part = batch[start : start + 16]
            assert len({number for number, _ in part}) == 1
            frequency[part[0][0]] += 1
    total = sum(frequency.values())
    assert [frequency[number] / total for number in range(3)] == pytest.approx([0.25, 0.25, 0.5], abs=0.003)
    assert np.mean([len({number for number, _ in batch}) for batch in batches]) > 2
    rows = list(chain.from_iterable(batches))
    assert len(rows) == len(set(rows))


def test_interleaved_repeats_nothing_before_a_set_is_exhausted():
    batches = list(Interleaved(4, [1, 1], stopping="all-exhausted").batches([8, 40], batch_size=8, seed=1))
    small = [row for batch in batches for number, row in batch if number == 0]
    for start in range(0, len(small) - 7, 8):
        assert sorted(small[start : start + 8]) == list(range(8))


@pytest.mark.parametrize("eta", [0.0, 0.25, 0.5, 1.0])
def test_the_primary_kind_keeps_its_share(eta):
    mixture = BalancedMix(eta, primary=(0, 2))
    batches = list(mixture.batches([900, 400, 300, 800], batch_size=10, seed=1))
    counts = Counter(batch[0][0] for batch in batches)
    assert (counts[0] + counts[2]) / len(batches) == pytest.approx(eta, abs=0.02)
    if eta > 0:
        assert counts[0] / (counts[0] + counts[2]) == pytest.approx(0.75, abs=0.02)


def test_batch_sizes_by_kind():
    batches = list(BalancedMix(0.5, batch_sizes=[4, 12]).batches([40, 120], batch_size=8))
    assert {(batch[0][0], len(batch)) for batch in batches} == {(0, 4), (1, 12)}


@by_name
def test_a_data_set_smaller_than_a_batch_is_refused(mixture):
    with pytest.raises(InputError, match="data set 1 with 3 rows"):
        mixture.batches([40, 3], batch_size=8)
    with pytest.raises(InputError, match="1 samplers for 2 data sets"):
        mixture.batches([40, 40], samplers=[Shuffled()], batch_size=8)
    with pytest.raises(InputError, match="no data sets"):
        mixture.batches([], batch_size=8)


@pytest.mark.parametrize("weights", [[1, -1], [0, 0], [np.nan, 1]])
def test_bad_weights_are_refused(weights):
    for make in (
        lambda: Proportional(weights),
        lambda: Interleaved(2, weights),
        lambda: BalancedMix(0.5, weights=weights),
    ):
        with pytest.raises(InputError, match="finite weights of 0 or more"):
            make()


def test_other_bad_input_is_refused():
    with pytest.raises(InputError, match="3 weights for 2 data sets"):
        Proportional([1, 1, 1]).batches([10, 10], batch_size=2)
    with pytest.raises(InputError, match="sub_batch=3 for batch_size=8"):
        Interleaved(3).batches([10, 10], batch_size=8)
    with pytest.raises(InputError, match=r"eta=1\.5"):
        BalancedMix(1.5)
    with pytest.raises(InputError, match=r"primary=\(4,\) of 2 data sets"):
        BalancedMix(0.0, primary=(4,)).batches([10, 10], batch_size=2)
    with pytest.raises(InputError, match="no other data set with a weight"):
        BalancedMix(0.5, primary=(0, 1)).batches([10, 10], batch_size=2)
    with pytest.raises(InputError, match="temperature=0"):
        Proportional(temperature=0)
    with pytest.raises(InputError, match=r"ratio=-0\.1"):
        SemiHomogeneous(-0.1)
    with pytest.raises(InputError, match="stopping='never'"):
        Proportional(stopping="never")
