from __future__ import annotations

import subprocess
import sys
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.errors import InputError
from orthant.learn.samplers import Sequential, Shuffled, count_batches, shard


def test_samplers_do_not_load_torch():
    code = "import sys, orthant.learn.samplers as s; [getattr(s, n) for n in s.__all__]; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert found.stdout.strip() == "False"


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 200), part=st.floats(0, 1), seed=st.integers(0, 5), epoch=st.integers(0, 3), drop=st.booleans())
@pytest.mark.parametrize("kind", [Sequential, Shuffled])
def test_every_row_comes_once(kind, n, part, seed, epoch, drop):
    batch_size = max(1, round(part * n))
    sampler = kind(drop_last=drop)
    batches = list(sampler.batches(n, batch_size=batch_size, seed=seed, epoch=epoch))
    rows = list(chain.from_iterable(batches))
    assert len(rows) == len(set(rows)) == (n // batch_size * batch_size if drop else n)
    assert all(len(batch) == batch_size for batch in batches[:-1])
    assert count_batches(sampler, n, batch_size=batch_size) == len(batches)
    assert batches == list(sampler.batches(n, batch_size=batch_size, seed=seed, epoch=epoch))


def test_order_changes_with_seed_and_epoch():
    orders = {
        tuple(chain.from_iterable(Shuffled().batches(50, batch_size=10, seed=seed, epoch=epoch)))
        for seed in range(3)
        for epoch in range(3)
    }
    assert len(orders) == 9
    assert list(chain.from_iterable(Sequential().batches(50, batch_size=7, seed=1, epoch=2))) == list(range(50))


@pytest.mark.parametrize("kind", [Sequential, Shuffled])
def test_a_batch_larger_than_the_data_is_refused(kind):
    with pytest.raises(InputError, match="batch_size=9 for 8 rows; expected at most 8"):
        kind().batches(8, batch_size=9)
    with pytest.raises(InputError, match="seed=-1"):
        Shuffled().batches(8, batch_size=2, seed=-1)
    with pytest.raises(InputError, match=r"epoch=0\.5"):
        Shuffled().batches(8, batch_size=2, epoch=0.5)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(8, 100), batch_size=st.integers(8, 20), world=st.integers(1, 8))
def test_parts_of_all_processes_make_the_batch(n, batch_size, world):
    whole = list(Shuffled(drop_last=True).batches(n, batch_size=min(n, batch_size), seed=3))
    parts = [list(shard(whole, rank=rank, world=world)) for rank in range(world)]
    assert [list(chain.from_iterable(pieces)) for pieces in zip(*parts, strict=True)] == whole
    for pieces in zip(*parts, strict=True):
        lengths = [len(piece) for piece in pieces]
        assert max(lengths) - min(lengths) <= 1


def test_a_batch_with_fewer_rows_than_processes_is_refused():
    found = shard([[0, 1, 2], [3]], rank=0, world=2)
    assert next(found) == [0]
    with pytest.raises(InputError, match=r"1 row\(s\) for 2 processes"):
        next(found)
    with pytest.raises(InputError, match="rank=2"):
        shard([], rank=2, world=2)
