"""A scan of listed slots finds what comparing all of them finds, and reads few codes for it."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.graph.small import all_distances, make_state
from orthant.kernels.graph import answers, scan


def search(state, Q, k, slots, *, rerank=20, margin=4.0, sketched=True, metric=answers.L2):
    rows, full = state.space.query_rows(Q, margin), np.ascontiguousarray(Q)
    ids, scores = np.full((len(Q), k), -7, np.int64), np.zeros((len(Q), k), np.float32)
    counts, spent = np.zeros(len(Q), np.int64), np.zeros(4, np.int64)
    scan.search_slots(
        state.view(sketched=sketched), rows, full, 0, len(Q), k, rerank, metric, slots.astype(np.int32), ids, scores,
        counts, spent,
    )  # fmt: skip
    return ids, scores, counts, spent


def spread_rows(n, dim, seed):
    """Rows in clusters of several sizes, so that most are far from any query."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.standard_normal((n // 50, dim))
    return (centres[rng.integers(0, len(centres), n)] + rng.standard_normal((n, dim))).astype(np.float32)


@pytest.mark.parametrize("sketched", [True, False])
@pytest.mark.parametrize("count", [0, 1, 5, 16, 17, 300, 5000])
def test_all_listed_slots_are_compared(count, sketched):
    X = spread_rows(5000, 96, 61)
    state = make_state(X)
    rng = np.random.default_rng(62)
    slots = np.sort(rng.choice(5000, count, replace=False))
    Q = X[rng.choice(5000, 4)] + 0.1
    ids, scores, counts, spent = search(state, Q, 10, slots, sketched=sketched)
    distances = ((X[slots][None].astype(np.float64) - Q[:, None]) ** 2).sum(axis=2)
    kept = min(10, count)
    assert (ids[:, :kept] == slots[np.argsort(distances, axis=1)[:, :kept]]).all()
    np.testing.assert_allclose(-scores[:, :kept], np.sort(distances, axis=1)[:, :kept], rtol=1e-4, atol=1e-3)
    assert (ids[:, kept:] == -1).all()
    assert np.isneginf(scores[:, kept:]).all()
    assert (counts == kept).all()
    assert spent[0] == 4 * count
    assert spent[2] <= 4 * count


def test_codes_are_listed_in_their_order_where_full_vectors_do_not_decide():
    X = spread_rows(600, 64, 63)
    state = make_state(X)
    slots = np.arange(0, 600, 2)
    by_code = all_distances(state, 20)[0]
    ids, _, counts, _ = search(state, X[20:21], 12, slots, rerank=12, metric=answers.LISTED)
    assert ids[0].tolist() == slots[np.argsort(by_code[slots], kind="stable")[:12]].tolist()
    assert counts[0] == 12


def test_codes_are_read_of_next_to_none_but_the_nearest_by_sketches():
    X = spread_rows(6000, 256, 64)
    state = make_state(X)
    slots = np.arange(6000)
    for slot in (0, 777, 4999):
        by_code, by_sketch = all_distances(state, slot)
        spread = (state.sketches[:6000, 58:60].copy().view(np.uint16).astype(np.uint32) << 16).view(np.float32)[:, 0]
        row = state.space.query_rows(X[slot : slot + 1], 0.5)[0]
        bounds = by_sketch - 3 * row[-64:].view(np.float32)[6] * spread
        # The least that finding the 20 nearest can take: those that their sketch does not rule out.
        least = int((bounds < np.sort(by_code)[19]).sum())
        compared = search(state, X[slot : slot + 1], 10, slots, margin=0.5)[3][2]
        assert least - 20 <= compared <= least + 40
        assert compared < 600
