"""Links among slots that stand in the same lists."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.graph.small import all_distances, make_state
from orthant.kernels import bitmaps
from orthant.kernels.graph.query_links import link_lists


def linked(state, targets, members, bounds, lists, *, extra=4, alpha=1.0):
    view = state.view(sketched=False)
    link_lists(
        view, np.array(targets, np.int32), np.array(members, np.int32), np.array(bounds, np.int64),
        np.array(lists, np.int32), 0, len(targets), extra, np.float32(alpha), state.links,
    )  # fmt: skip
    return [[int(slot) for slot in row if slot >= 0] for row in state.links[: state.used]]


@pytest.mark.parametrize("bits", [8, 4])
def test_diverse_companions_are_linked_and_others_are_not(bits):
    rng = np.random.default_rng(3)
    state = make_state(rng.standard_normal((60, 24)).astype(np.float32), bits=bits)
    state.dead = bitmaps.set_rows(state.dead, np.array([5]))
    state.links[0, :2] = [1, 40]
    lists = [[0, 1, 2, 3, 4, 5, 6], [7, 0, 8, 9, 2, -1, -1], [10, 11, 12, 13, 14, 15, 16]]
    rows = linked(state, [0], [0, 1], [0, 2], lists, alpha=1.1)
    table = np.stack([all_distances(state, slot)[0] for slot in range(60)])
    kept = []
    for slot in sorted([2, 3, 4, 6, 7, 8, 9], key=lambda c: (table[0, c], c)):
        if len(kept) < 4 and all(np.float32(1.1) * table[slot, other] > table[0, slot] for other in kept):
            kept.append(slot)
    assert rows[0] == [1, 40, *kept]
    assert all(not row for row in rows[1:])


def test_a_full_row_gives_up_its_last_links():
    rng = np.random.default_rng(4)
    state = make_state(rng.standard_normal((40, 24)).astype(np.float32), room=8)
    state.links[0] = np.arange(20, 28)
    rows = linked(state, [0], [0], [0, 1], [[1, 2, 3]], alpha=1e6)
    assert rows[0][:5] == [20, 21, 22, 23, 24]
    assert sorted(rows[0][5:]) == [1, 2, 3]


def test_what_is_linked_already_is_not_linked_twice():
    rng = np.random.default_rng(5)
    state = make_state(rng.standard_normal((10, 24)).astype(np.float32))
    state.links[2, :3] = [1, 3, 4]
    assert linked(state, [2], [0, 1], [0, 2], [[1, 2, 3], [4, 3, 2]])[2] == [1, 3, 4]
