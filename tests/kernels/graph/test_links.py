"""Edges: the pruning rule, reverse edges, mending, and what can be reached."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.graph.small import all_distances, make_state, query_room
from orthant.kernels import bitmaps
from orthant.kernels.compiling import kernel
from orthant.kernels.graph import links
from orthant.kernels.graph.beam import VIEW

NO_MARKS = np.zeros((0, 0), np.uint64)


@kernel
def prune(view, slot, others, most, least, alpha, query, other, pool, kept, marks):
    count = links.distances_to(view, slot, others, len(others), query, pool)
    return links.robust_prune(view, pool, count, most, least, alpha, other, kept, marks, slot)


def pruned(state, slot, others, most, alpha, least=0, marks=NO_MARKS):
    kept, pool = np.full(most, -1, np.int32), np.zeros(len(others), np.uint64)
    rooms = query_room(state), query_room(state)
    number = prune(state.view(sketched=True), slot, others, most, least, np.float32(alpha), *rooms, pool, kept, marks)
    return kept[:number].tolist()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("alpha", [1.0, 1.2])
def test_pruning_keeps_its_promise_in_distances_of_codes(alpha, bits):
    rng = np.random.default_rng(31)
    X = rng.standard_normal((200, 24)).astype(np.float32)
    state = make_state(X, bits=bits)
    table = np.stack([all_distances(state, slot)[0] for slot in range(200)]).astype(np.float64)
    for trial in range(20):
        slot = int(rng.integers(200))
        others = rng.choice(np.setdiff1d(np.arange(200), [slot]), 60, replace=False).astype(np.int32)
        for most in (6, 60):
            kept = pruned(state, slot, others, most, alpha)
            order = sorted(others.tolist(), key=lambda c: (table[slot, c], c))
            assert kept == [c for c in order if c in set(kept)]
            assert kept[0] == order[0]
            for i, c in enumerate(kept):
                assert all(alpha * table[c, before] > table[slot, c] - 1e-6 for before in kept[:i])
            full = len(kept) == most
            for c in order:
                if c in kept or (full and order.index(c) > order.index(kept[-1])):
                    continue
                earlier = [b for b in kept if order.index(b) < order.index(c)]
                assert any(alpha * table[c, b] <= table[slot, c] + 1e-6 for b in earlier), trial


def test_a_larger_alpha_keeps_more():
    X = np.random.default_rng(32).standard_normal((200, 24)).astype(np.float32)
    state, others = make_state(X), np.arange(1, 200, dtype=np.int32)
    near, far = (pruned(state, 0, others, 199, alpha) for alpha in (1.0, 1.2))
    assert near != far
    assert len(near) < len(far)


def test_rows_are_filled_up_with_the_nearest_of_those_dropped():
    X = np.random.default_rng(37).standard_normal((200, 24)).astype(np.float32)
    # A point far from all others, as long vectors are: its nearest candidate rules out the rest.
    X[0] *= 30
    state, others = make_state(X), np.arange(1, 200, dtype=np.int32)
    diverse = pruned(state, 0, others, 16, 1.1)
    assert len(diverse) < 8
    order = np.argsort(all_distances(state, 0)[0][1:], kind="stable") + 1
    rest = [c for c in order.tolist() if c not in diverse]
    for least in (0, len(diverse), 12, 16, 50):
        filled = pruned(state, 0, others, 16, 1.1, least)
        assert filled == diverse + rest[: max(0, min(least, 16) - len(diverse))]


def test_labels_limit_who_rules_out_whom():
    X = np.random.default_rng(38).standard_normal((200, 24)).astype(np.float32)
    state, others = make_state(X), np.arange(1, 200, dtype=np.int32)
    plain = pruned(state, 0, others, 199, 1.2)
    # One label for all says nothing, and so does a label that the point does not have.
    assert pruned(state, 0, others, 199, 1.2, marks=np.ones((200, 1), np.uint64)) == plain
    foreign = np.arange(200, dtype=np.uint64)[:, None] << np.uint64(1)
    assert pruned(state, 0, others, 199, 1.2, marks=foreign) == plain
    # Two halves that both share something with the point cannot rule out each other: each is pruned by itself.
    halves = np.where(np.arange(200) % 2 == 0, 1, 2).astype(np.uint64)[:, None]
    halves[0] = 3
    found = pruned(state, 0, others, 199, 1.2, marks=halves)
    parts = [pruned(state, 0, others[others % 2 == half], 199, 1.2) for half in (0, 1)]
    assert sorted(found) == sorted(parts[0] + parts[1]) and len(found) > len(plain)


def reverse(state, targets, groups, degree, alpha=1.2):
    sources = np.array([s for group in groups for s in group], np.int32)
    bounds = np.cumsum([0, *map(len, groups)]).astype(np.int64)
    links.reverse_links(
        state.view(sketched=True), np.array(targets, np.int32), sources, bounds, 0, len(targets), degree, 0,
        np.float32(alpha), state.links, NO_MARKS,
    )  # fmt: skip


def row(state, slot):
    return [j for j in state.links[slot].tolist() if j >= 0]


def test_reverse_edges_are_added_once_and_to_their_targets_only():
    X = np.random.default_rng(33).standard_normal((30, 16)).astype(np.float32)
    state = make_state(X, room=8, links=[[1, 2], [0], [5]])
    before = state.links.copy()
    reverse(state, [0, 2], [[3, 1, 0, 3, 4], [5, 6]], degree=6)
    assert row(state, 0) == [1, 2, 3, 4]
    assert row(state, 2) == [5, 6]
    untouched = [i for i in range(30) if i not in (0, 2)]
    assert (state.links[untouched] == before[untouched]).all()


def test_rows_that_overflow_are_pruned_to_their_degree():
    X = np.random.default_rng(34).standard_normal((60, 16)).astype(np.float32)
    state = make_state(X, room=8, links=[list(range(1, 8))])
    reverse(state, [0], [list(range(8, 40))], degree=5)
    found = row(state, 0)
    assert 1 <= len(found) <= 5
    assert (state.links[0, len(found) :] == -1).all()
    assert found == pruned(state, 0, np.arange(1, 40, dtype=np.int32), 5, 1.2)


def test_mending_puts_the_neighbours_of_dead_ones_in_their_place():
    X = np.random.default_rng(35).standard_normal((20, 16)).astype(np.float32)
    state = make_state(X, room=8, links=[[1, 2], [3, 4, 0, 5], [6], [7]])
    state.dead = bitmaps.set_rows(state.dead, np.array([1, 5]))
    state.dead_count = 2
    out = np.full((1, 8), -9, np.int32)
    links.mend_links(state.view(sketched=True), np.array([0], np.int32), 0, 1, 8, 0, np.float32(1.2), out)
    found = [j for j in out[0].tolist() if j >= 0]
    # Neither the dead, nor the slot itself, nor a dead neighbour's dead neighbour.
    assert set(found) <= {2, 3, 4}
    assert found == pruned(state, 0, np.array([2, 3, 4], np.int32), 8, 1.2)


def test_reach_counts_what_links_lead_to():
    X = np.random.default_rng(36).standard_normal((130, 8)).astype(np.float32)
    state = make_state(X, room=2, links=[[i + 1] for i in range(99)] + [[]] + [[i + 1] for i in range(100, 129)])
    visited, queue = np.zeros(bitmaps.words_for(state.capacity), np.uint64), np.empty(state.capacity, np.int32)
    assert links.reach(state.view(sketched=False), np.array([40], np.int32), visited, queue) == 60
    assert bitmaps.to_mask(visited, 130).nonzero()[0].tolist() == list(range(40, 100))
    # What was marked before is not walked again.
    assert links.reach(state.view(sketched=False), np.array([0, 125, 40], np.int32), visited, queue) == 45
    assert links.reach(state.view(sketched=False), np.array([0], np.int32), visited, queue) == 0


def test_views_name_every_entry():
    state = make_state(np.ones((2, 4), np.float32))
    view = dict(zip(VIEW, state.view(sketched=True).tolist(), strict=True))
    assert view["slots"] == 2
    assert view["dims"] == view["full_dim"] == 4
    assert view["degree"] == state.room
    assert view["ids"] == state.ids.ctypes.data
