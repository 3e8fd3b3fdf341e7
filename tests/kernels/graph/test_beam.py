"""The beam finds what an exhaustive comparison finds where it is as wide as the graph, and keeps its room clean."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.graph.small import all_distances, make_state
from orthant.kernels import bitmaps
from orthant.kernels.compiling import kernel
from orthant.kernels.graph import answers, beam


@kernel
def walk(view, row, most, together, visited, touched, starts, todo, out):
    buffer = beam.key_buffer(most)
    constants = row[len(row) - 64 :].view(np.float32)
    size, seen, expanded, compared = beam.beam(
        view, row.ctypes.data, constants, most, together, visited, touched, buffer, starts, todo, 4
    )
    out[:size] = buffer[:size]
    return size, seen, expanded, compared


def run_beam(state, row, most, *, together=1, sketched=True):
    visited = np.zeros(bitmaps.words_for(state.capacity), np.uint64)
    touched = np.empty(state.capacity + (together + 1) * state.room, np.int32)
    todo = np.empty((together + 1) * state.room + together, np.int32)
    out = np.zeros(most, np.uint64)
    view = state.view(sketched=sketched)
    size, seen, expanded, compared = walk(view, row, most, together, visited, touched, state.entries, todo, out)
    keys = out[:size]
    assert (keys[1:] > keys[:-1]).all()
    assert bitmaps.count_bits(visited) == seen == len(np.unique(touched[:seen]))
    slots = ((keys & np.uint64(0xFFFFFFFF)) >> np.uint64(1)).astype(np.int64)
    return slots, expanded, compared


def complete(n):
    return [[j for j in range(n) if j != i] for i in range(n)]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 40, 150])
def test_a_wide_beam_over_a_complete_graph_is_exhaustive(n, together, bits):
    X = np.random.default_rng(21).standard_normal((n, 96)).astype(np.float32)
    state = make_state(X, bits=bits, room=max(1, n - 1), links=complete(n))
    for slot in (0, n - 1):
        row = state.space.query_rows(X[slot : slot + 1], 0.0)[0]
        slots, expanded, _ = run_beam(state, row, n, together=together)
        assert sorted(slots) == list(range(n))
        assert expanded == n
        exact = ((X - X[slot]) ** 2).sum(axis=1)
        assert slots[0] == slot
        # By codes, so near ties may swap, but nothing far off comes early.
        rank = np.empty(n)
        rank[slots] = np.arange(n)
        assert np.corrcoef(rank, exact.argsort().argsort())[0, 1] > 0.97 if n > 2 else True


def test_a_beam_keeps_the_nearest_by_code():
    X = np.random.default_rng(22).standard_normal((150, 64)).astype(np.float32)
    state = make_state(X, room=149, links=complete(150))
    for slot in range(0, 150, 17):
        row = state.space.query_rows(X[slot : slot + 1], 4.0)[0]
        by_code = all_distances(state, slot)[0]
        for most in (1, 7, 8, 9, 100):
            for sketched in (True, False):
                slots, _, compared = run_beam(state, row, most, sketched=sketched)
                assert len(slots) == most
                # With four standard errors of slack, sketches rule out nothing that belongs.
                assert slots.tolist() == np.argsort(by_code, kind="stable")[:most].tolist()
                assert compared <= 150


def test_sketches_spare_code_rows():
    rng = np.random.default_rng(23)
    X = rng.standard_normal((400, 256)).astype(np.float32) + 3 * rng.standard_normal((8, 256)).repeat(50, axis=0)
    X = X.astype(np.float32)
    state = make_state(X, room=16, links=[rng.choice(400, 16, replace=False) for _ in range(400)])
    row = state.space.query_rows(X[:1], 0.5)[0]
    assert run_beam(state, row, 10)[2] < 0.5 * run_beam(state, row, 10, sketched=False)[2]


def test_a_walk_follows_links_and_stops_at_the_last():
    X = np.eye(70, 80, dtype=np.float32)
    chain = [[i + 1] if i + 1 < 70 else [] for i in range(70)]
    chain[40] = []
    state = make_state(X, room=3, links=chain)
    row = state.space.query_rows(X[60:61], 0.0)[0]
    slots, expanded, _ = run_beam(state, row, 70, sketched=False)
    assert sorted(slots) == list(range(41))
    assert expanded == 41


def search(
    state, Q, k, *, effort=64, metric=answers.L2, rerank=None, allowed=None, mode=answers.ANY, fewest=None, patience=0,
    starts=None, spent=None,
):  # fmt: skip
    rows, full = state.space.query_rows(Q, 4.0), np.ascontiguousarray(Q)
    ids, scores = np.full((len(Q), k), -7, np.int64), np.zeros((len(Q), k), np.float32)
    counts, spent = np.zeros(len(Q), np.int64), np.zeros(4, np.int64) if spent is None else spent
    visited = np.zeros(bitmaps.words_for(state.capacity), np.uint64)
    touched = np.empty(state.capacity + 2 * state.room + 64, np.int32)
    bitmap, words = (np.zeros(0, np.uint64), -1) if allowed is None else (allowed, len(allowed))
    answers.search_graph(
        state.view(sketched=True, filtered=True), rows, full, 0, len(Q), k, effort, 1, rerank or max(effort, k), metric,
        state.entries if starts is None else starts, bitmap, words, mode, fewest or effort,
        0, np.float32(0), patience, np.zeros(0, np.int32), visited, touched, ids, scores, counts, spent,
    )  # fmt: skip
    assert not visited.any()
    return ids, scores, counts


def test_answers_are_those_of_full_vectors():
    rng = np.random.default_rng(24)
    X = rng.standard_normal((120, 48)).astype(np.float32)
    state = make_state(X, room=119, links=complete(120))
    Q = rng.standard_normal((6, 48)).astype(np.float32)
    ids, scores, counts = search(state, Q, 10, effort=120)
    exact = ((X[None].astype(np.float64) - Q[:, None]) ** 2).sum(axis=2)
    assert (ids == np.argsort(exact, axis=1)[:, :10]).all()
    assert np.allclose(-scores, np.sort(exact, axis=1)[:, :10], rtol=1e-5)
    assert (counts == 10).all()


def test_equal_scores_come_by_id():
    # Equal vectors as nodes of their own, ids in another order than slots.
    rng = np.random.default_rng(25)
    ids = rng.permutation(40).astype(np.int64) * 3 + 5
    X = np.repeat(rng.standard_normal((4, 16)), 10, axis=0).astype(np.float32)
    state = make_state(X, room=39, links=complete(40), ids=ids)
    for k in (1, 4, 10, 15, 40, 50):
        found, scores, counts = search(state, X[:1], k, effort=50)
        order = sorted(range(40), key=lambda i: (((X[i] - X[0]) ** 2).sum(), ids[i]))
        assert found[0, : min(k, 40)].tolist() == ids[order][:k].tolist()
        assert counts[0] == min(k, 40)
        assert (found[0, 40:] == -1).all()
        assert np.isneginf(scores[0, 40:]).all()


def test_beams_widen_until_enough_is_allowed_and_alive():
    rng = np.random.default_rng(26)
    X = rng.standard_normal((100, 32)).astype(np.float32)
    state = make_state(X, room=99, links=complete(100))
    gone = np.argsort(((X - X[0]) ** 2).sum(axis=1))[:60]
    state.dead = bitmaps.set_rows(state.dead, gone)
    state.dead_count = 60
    found, _, counts = search(state, X[:1], 5, effort=5)
    left = [i for i in np.argsort(((X - X[0]) ** 2).sum(axis=1)) if i not in set(gone)]
    assert counts[0] == 5
    assert found[0, 0] == left[0]
    allowed = bitmaps.from_rows(np.array(left[10:13]))
    found, _, counts = search(state, X[:1], 5, effort=5, allowed=allowed)
    assert found[0].tolist() == [*left[10:13], -1, -1]
    assert counts[0] == 3


def test_w03_steps_over_what_is_not_allowed():
    # A chain in which only every second node is allowed: walks over allowed ones alone would end at once.
    rng = np.random.default_rng(27)
    X = np.cumsum(rng.uniform(0.5, 1, (60, 4)), axis=0).astype(np.float32)
    chain = [[j for j in (i - 1, i + 1) if 0 <= j < 60] for i in range(60)]
    state = make_state(X, room=4, links=chain)
    allowed = bitmaps.from_rows(np.arange(0, 60, 2))
    starts = np.array([0], np.int32)
    found, _, counts = search(state, X[50:51], 5, effort=10, allowed=allowed, mode=answers.OVER, starts=starts)
    assert counts[0] == 5
    assert (found[0] % 2 == 0).all()
    assert found[0, 0] == 50


def test_walks_past_what_is_not_allowed_and_gives_up_in_time():
    rng = np.random.default_rng(28)
    X = rng.standard_normal((400, 32)).astype(np.float32)
    state = make_state(X, room=399, links=complete(400))
    near = np.argsort(((X - X[0]) ** 2).sum(axis=1))
    for rows in (near[::2], near[:50], near[350:]):
        allowed = bitmaps.from_rows(rows)
        truth = [i for i in near if i in set(rows.tolist())][:5]
        found, _, counts = search(state, X[:1], 5, effort=20, allowed=allowed, mode=answers.PAST, patience=400)
        assert counts[0] == 5
        assert found[0].tolist() == truth
    # What is allowed is farthest: 10 expansions do not get there, and nothing is made up instead.
    chain = [[i + 1] if i + 1 < 400 else [] for i in range(400)]
    line = make_state(X[near], room=3, links=chain)
    far = bitmaps.from_rows(np.arange(350, 400))
    start = np.array([0], np.int32)
    settings = {"effort": 20, "allowed": far, "mode": answers.PAST, "starts": start}
    found, _, counts = search(line, X[:1], 5, patience=10, **settings)
    assert counts[0] == -1
    assert (found == -7).all()
    # Nothing of what was met being allowed is reason enough; as much patience as there are slots gets there.
    spent = np.zeros(4, np.int64)
    assert search(line, X[:1], 5, patience=300, spent=spent, **settings)[2][0] == -1
    assert spent[1] == 16
    assert search(line, X[:1], 5, patience=400, **settings)[0][0].tolist() == [350, 351, 352, 353, 354]


def test_candidates_that_codes_put_far_behind_are_not_scored():
    rng = np.random.default_rng(31)
    # Twenty near the query, then a gap that no rounding of codes bridges.
    X = rng.standard_normal((200, 64)).astype(np.float32)
    X[:20] = X[0] + 0.3 * rng.standard_normal((20, 64))
    state = make_state(X, room=199, links=complete(200))
    spent = np.zeros(4, np.int64)
    found, _, counts = search(state, X[:1], 10, effort=60, rerank=60, spent=spent)
    truth = np.argsort(((X - X[0]) ** 2).sum(axis=1))[:10]
    assert counts[0] == 10
    assert found[0].tolist() == truth.tolist()
    assert spent[3] <= 20


def test_w05_fewer_allowed_candidates_are_enough_where_they_are_rare():
    rng = np.random.default_rng(29)
    X = rng.standard_normal((600, 24)).astype(np.float32)
    near = ((X[:, None] - X) ** 2).sum(axis=2).argsort(axis=1)[:, 1:13]
    state = make_state(X, room=12, links=near.tolist())
    rare, all_ = bitmaps.from_rows(np.arange(0, 600, 20)), bitmaps.from_rows(np.arange(600))
    expanded = {}
    for name, allowed in (("rare", rare), ("all", all_)):
        for fewest in (5, 40):
            expanded[name, fewest] = walked(state, X[:1], allowed, effort=40, fewest=fewest)
    # Rare ones end sooner with a smaller minimum; where everything is allowed the minimum hardly matters.
    assert expanded["rare", 5] < 0.6 * expanded["rare", 40]
    assert expanded["all", 5] > 0.8 * expanded["all", 40]


def test_more_is_enough_where_what_is_allowed_lies_near_the_query():
    rng = np.random.default_rng(30)
    X = rng.standard_normal((600, 24)).astype(np.float32)
    order = ((X[:, None] - X) ** 2).sum(axis=2).argsort(axis=1)
    state = make_state(X, room=12, links=order[:, 1:13].tolist())
    near, anywhere = bitmaps.from_rows(np.sort(order[0, :120])), bitmaps.from_rows(np.arange(0, 600, 5))
    expanded = {}
    for name, allowed in (("near", near), ("anywhere", anywhere)):
        for spare in (0, 20):
            expanded[name, spare] = walked(state, X[:1], allowed, effort=40, fewest=10, spare=spare, usual=0.2)
    assert expanded["near", 20] > 1.15 * expanded["near", 0]
    assert expanded["anywhere", 20] < 1.1 * expanded["anywhere", 0]


def walked(state, Q, allowed, **settings):
    """Return how many slots a walk past others expands."""
    rows, view = state.space.query_rows(Q, 4.0), state.view(sketched=True)
    ids, scores = np.zeros((1, 5), np.int64), np.zeros((1, 5), np.float32)
    counts, spent = np.zeros(1, np.int64), np.zeros(4, np.int64)
    visited = np.zeros(bitmaps.words_for(state.capacity), np.uint64)
    touched = np.empty(state.capacity + 2 * state.room + 64, np.int32)
    answers.search_graph(
        view, rows, Q, 0, 1, 5, settings["effort"], 1, 20, answers.L2, state.entries, allowed, len(allowed),
        answers.PAST, settings["fewest"], settings.get("spare", 0), np.float32(settings.get("usual", 0)), 4000,
        np.zeros(0, np.int32), visited, touched, ids, scores, counts, spent,
    )  # fmt: skip
    assert counts[0] == 5
    return int(spent[1])
