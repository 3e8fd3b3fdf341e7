"""From bitmaps over ids to slots, against sets."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels import bitmaps
from orthant.kernels.graph import filters


def case(n=300, ids_up_to=1000, seed=41):
    rng = np.random.default_rng(seed)
    ids = rng.choice(ids_up_to, n, replace=False).astype(np.int64)
    table = np.full(ids_up_to + 13, -1, np.int32)
    table[ids] = np.arange(n)
    # Slots given to other ids since, free ones, and removed ones.
    absent = np.setdiff1d(np.arange(ids_up_to), ids)
    table[absent[:50]] = rng.integers(0, n, 50)
    dead = bitmaps.resize(bitmaps.from_rows(np.sort(rng.choice(n, 40, replace=False))), bitmaps.words_for(n))
    free = rng.choice(n, 10, replace=False)
    ids[free] = -1
    return ids, table, dead


def expected(ids, dead, chosen):
    gone = bitmaps.to_mask(dead, len(ids))
    return {slot for slot in range(len(ids)) if ids[slot] in chosen and not gone[slot] and ids[slot] >= 0}


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("most", [1000, 700, 3000])
def test_slots_of_a_bitmap(share, most):
    ids, table, dead = case()
    rng = np.random.default_rng(42)
    chosen = np.flatnonzero(rng.random(most) < share)
    bitmap = bitmaps.from_rows(chosen) if len(chosen) else np.zeros(1, np.uint64)
    wanted = expected(ids, dead, set(chosen.tolist()))
    out = np.full(len(table), -5, np.int32)
    count = filters.slots_of_bits(bitmap, table, ids, dead, out)
    assert set(out[:count].tolist()) == wanted
    assert count == len(wanted)
    # In the order of ids, so that answers do not depend on where vectors happen to lie.
    assert (np.diff(ids[out[:count]]) > 0).all()
    count = filters.slots_of_ids(bitmap, ids, dead, out)
    assert out[:count].tolist() == sorted(wanted)


@pytest.mark.parametrize("shift", [0, 5, 64, 1000, -7, -130])
@pytest.mark.parametrize("some_dead", [True, False])
def test_slots_of_a_bitmap_where_ids_follow_slots(shift, some_dead):
    rng = np.random.default_rng(43)
    chosen = np.flatnonzero(rng.random(1500) < 0.4)
    gone = np.sort(rng.choice(400, 60, replace=False)) if some_dead else np.zeros(0, np.int64)
    dead = bitmaps.resize(bitmaps.from_rows(gone), bitmaps.words_for(400))
    wanted = [slot for slot in range(400) if slot + shift in set(chosen.tolist()) and slot not in set(gone.tolist())]
    for bitmap in (bitmaps.from_rows(chosen), bitmaps.resize(bitmaps.from_rows(chosen), 60)):
        out = np.full(400, -5, np.int32)
        count = filters.slots_in_order(bitmap, shift, 400, dead, len(gone), out)
        assert out[:count].tolist() == wanted
    assert filters.slots_in_order(np.zeros(0, np.uint64), shift, 400, dead, len(gone), out) == 0


@pytest.mark.parametrize("room", [1, 8, 48])
def test_a_few_slots_are_spread_over_a_bitmap(room):
    ids, table, dead = case()
    chosen = np.arange(0, 1000, 2)
    wanted = expected(ids, dead, set(chosen.tolist()))
    out = np.full(room, -5, np.int32)
    count = filters.spread_bits(bitmaps.from_rows(chosen), table, ids, dead, out)
    found = out[:count].tolist()
    assert len(set(found)) == count
    assert set(found) <= wanted
    assert count >= min(room, 10)
    if room == 8:
        # Not all from one corner of the ids.
        assert np.ptp(ids[found]) > 500
    # Even a single allowed id is found, wherever it is.
    for slot in list(wanted)[:20]:
        count = filters.spread_bits(bitmaps.from_rows(ids[[slot]]), table, ids, dead, out)
        assert out[:count].tolist() == [slot]
    assert filters.spread_bits(np.zeros(4, np.uint64), table, ids, dead, out) == 0
