"""Filters on graphs: recall at every selectivity, equal filters in every wording, and what each plan costs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from index.graph_data import clustered, flat_of, recall
from orthant.index import Graph
from orthant.index.vamana import planner
from orthant.kernels import bitmaps
from orthant.kernels.graph import answers, filters

SHARES = (0.001, 0.01, 0.1, 0.5, 1.0)
N = 12_000


@pytest.fixture(scope="module")
def field(compiled):
    """A graph large enough that plans differ, its oracle, its queries, and the axis that filters may follow."""
    X, _ = clustered(N, seed=31)
    Q, _ = clustered(60, seed=32)
    index = Graph(48, "l2", degree=16, beam=40)
    index.add(X)
    return index, flat_of(X, metric="l2"), X, Q


def allowed_rows(kind, share, X, Q, seed=0):
    """Rows of one selectivity: at random, near the queries, or far from all of them."""
    count = max(12, round(share * len(X)))
    if kind == "random":
        return np.sort(np.random.default_rng(seed).choice(len(X), count, replace=False))
    near = np.min(((X[:, None, :8] - Q[None, :, :8]) ** 2).sum(axis=2), axis=1)
    order = np.argsort(near if kind == "correlated" else -near, kind="stable")
    return np.sort(order[:count])


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", ["random", "correlated", "anti-correlated"])
def test_w03_recall_under_filters(field, kind, share):
    index, flat, X, Q = field
    chosen = allowed_rows(kind, share, X, Q)
    hits, truth = index.search(Q, 10, allowed=chosen, effort=96), flat.search(Q, 10, allowed=chosen)
    assert np.isin(hits.ids, chosen).all()
    assert (hits.counts == 10).all()
    assert recall(hits, truth) >= 0.95
    np.testing.assert_allclose(hits.scores[0], flat.score_ids(Q[0], hits.ids[0]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", SHARES)
def test_w04_equal_filters_give_equal_answers(field, share):
    index, _, X, Q = field
    chosen = allowed_rows("random", share, X, Q)
    mask = np.zeros(N, bool)
    mask[chosen] = True
    longer = np.concatenate([mask, np.ones(500, bool)])
    shuffled = np.random.default_rng(1).permutation(chosen)
    forms = {
        "ids": chosen,
        "ids in another order, with absent ones": np.concatenate([shuffled, [10**9, N + 3]]),
        "mask": mask,
        "longer mask": longer,
        "bitmap": bitmaps.from_rows(chosen),
        "longer bitmap": bitmaps.from_mask(longer),
        "list": chosen.tolist(),
        "int32": chosen.astype(np.int32),
    }
    first = index.search(Q, 10, allowed=forms["ids"])
    for name, form in forms.items():
        hits = index.search(Q, 10, allowed=form)
        assert (hits.ids == first.ids).all(), name
        assert (hits.scores == first.scores).all(), name
        assert hits.cost.plan == first.cost.plan, name


def test_w03_plans_are_chosen_by_selectivity(field):
    index, _, X, Q = field
    plans = {
        share: index.search(Q, 10, allowed=allowed_rows("random", share, X, Q), effort=20).cost.plan for share in SHARES
    }
    assert plans[0.001] == plans[0.01] == plans[0.1] == "scan-allowed"
    assert plans[0.5] == plans[1.0] == "graph"
    # Nothing allowed is an answer too, and no error.
    for nothing in (np.zeros(0, np.int64), np.zeros(N, bool), np.zeros(3, np.uint64), np.array([N + 7])):
        hits = index.search(Q, 10, allowed=nothing)
        assert (hits.ids == -1).all()
        assert (hits.counts == 0).all()
        assert np.isneginf(hits.scores).all()


@pytest.mark.parametrize("kind", ["random", "correlated", "anti-correlated"])
def test_w05_no_selectivity_is_a_cliff(field, kind):
    index, _, X, Q = field
    free = work(index.search(Q, 10, effort=64).cost)
    for share in (0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.0):
        chosen = allowed_rows(kind, share, X, Q)
        spent = work(index.search(Q, 10, allowed=chosen, effort=64).cost)
        # A filter that nearly all rows pass costs what no filter costs; between, at most twice as much.
        assert spent <= (1.3 if share > 0.9 else 2) * free, share


def work(cost):
    """What a search did, in units of one comparison; expanding a node costs about as much as 60."""
    return cost.details["compared"] + 60 * cost.details["expanded"] + 4 * cost.details["rescored"]


@pytest.mark.parametrize(
    ("live", "share", "effort", "plan"),
    [
        (1e6, 0.00001, 64, "scan-allowed"), (1e6, 0.001, 64, "scan-allowed"), (1e6, 0.03, 64, "scan-allowed"),
        (1e6, 0.1, 64, "graph"), (1e6, 0.5, 64, "graph"), (1e6, 1.0, 64, "graph"), (1e6, 0.1, 1500, "scan-allowed"),
        (1e6, 0.5, 1500, "graph"), (1e8, 0.01, 64, "graph-filtered"), (1e8, 0.00001, 64, "scan-allowed"),
    ],
)  # fmt: skip
def test_w03_plans_of_millions(monkeypatch, live, share, effort, plan):
    # By the cost model alone: no graph of that size is needed to ask it.
    monkeypatch.setattr(planner.filters, "spread_bits", lambda *arguments: 48)
    state = SimpleNamespace(live=int(live), room=64, entries=np.zeros(1, np.int32), sparse=False)
    state.table = state.ids = state.dead = None
    state.used, state.space = state.live, SimpleNamespace(width=384)
    allowed = planner.Filter(np.zeros(1, np.uint64), None, int(share * live))
    made = planner.choose(state, allowed, k=10, effort=effort, fewest=effort // 4)
    assert made.name == plan
    again = planner.choose_again(state, allowed, effort=effort)
    assert again.name in ("scan-allowed", "graph-filtered")
    if again.name == "graph-filtered":
        assert again.effort > 1.6 * effort
    if plan == "graph":
        # It gives up where what is near is not allowed, before it has cost what a scan would.
        expected = (effort // 4 + share * (effort - effort // 4)) / share
        assert expected < made.patience <= max(4000, 1.25 * expected)
        # A scan of much is worth a longer walk.
        assert made.patience > 1000 or allowed.count < 300_000
        assert 560 * made.patience < 9 * allowed.count
    assert planner.choose(state, None, k=10, effort=effort, fewest=effort).name == "graph"


def test_w03_plans_cost_more_where_memory_is_far():
    # Few slots or many, a graph in the caches or out of them: the same share of more rows is sooner walked for.
    state = SimpleNamespace(room=64, entries=np.zeros(1, np.int32), sparse=False, space=SimpleNamespace(width=384))

    def plan(live, share, effort):
        state.live = state.used = int(live)
        allowed = planner.Filter(np.zeros(1, np.uint64), None, int(share * live))
        return planner.choose(state, allowed, k=10, effort=effort, fewest=12)

    assert [plan(n, 0.1, 20).name for n in (2e4, 1e5, 1e6)] == ["scan-allowed", "scan-allowed", "graph"]
    assert [plan(n, 0.5, 20).name for n in (5e3, 1e5, 1e6)] == ["scan-allowed", "graph", "graph"]
    # What a walk may cost before it gives up grows with what a scan costs.
    assert plan(1e5, 0.2, 20).patience < 0.7 * 0.2 * 1e5 * 5.2 / 400
    # A reserve for queries that what is allowed lies near, against the share that is allowed anywhere.
    assert plan(1e6, 0.2, 20).spare == 10
    assert plan(1e6, 0.2, 20).usual == 0.2


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_w03_recall_asked_for_is_kept_under_filters(field, share):
    index, flat, X, Q = field
    index.calibrate()
    more, _ = clustered(300, seed=33)
    chosen = allowed_rows("random", share, X, Q)
    hits, truth = index.search(more, 10, allowed=chosen, recall=0.95), flat.search(more, 10, allowed=chosen)
    assert recall(hits, truth) >= 0.94


def test_w60_filters_after_removals_and_with_scattered_ids(compiled):
    X, _ = clustered(3000, seed=34)
    rng = np.random.default_rng(3)
    Q, _ = clustered(40, seed=35)
    for ids in (rng.permutation(9000)[:3000], np.sort(rng.choice(2**40, 3000, replace=False))):
        index, flat = Graph(48, "l2", degree=12, beam=40, scan_below=0), flat_of(X, ids, "l2")
        index.add(X, ids)
        gone = ids[::3]
        assert index.remove(gone) == flat.remove(gone) == len(gone)
        for chosen in (ids[:1500], ids[::100], ids):
            hits, truth = index.search(Q, 10, allowed=chosen, effort=96), flat.search(Q, 10, allowed=chosen)
            assert not np.isin(hits.ids, gone).any()
            assert (hits.counts == truth.counts).all()
            assert recall(hits, truth) >= 0.95


def test_w16_twins_are_found_by_the_filter_that_allows_them(compiled):
    rng = np.random.default_rng(4)
    X = np.repeat(rng.standard_normal((300, 24)), 8, axis=0).astype(np.float32)
    index = Graph(24, "l2", degree=8, beam=30, scan_below=0)
    index.add(X)
    for residue in (0, 3, 7):
        # Exactly one of each eight equal vectors is allowed.
        chosen = np.arange(residue, 2400, 8)
        hits = index.search(X[::8], 1, allowed=chosen, effort=64)
        assert (hits.ids[:, 0] == chosen).mean() >= 0.99


def test_filters_that_may_not_be_written_to_compile_nothing(field):
    index, _, X, Q = field
    bitmap = bitmaps.from_mask(allowed_rows("random", 0.3, X, Q))
    wanted = index.search(Q, 10, allowed=bitmap)
    before = [len(kernel.compiled.signatures) for kernel in (filters.count_bits, answers.search_graph)]
    bitmap.flags.writeable = False
    found = index.search(Q, 10, allowed=bitmap)
    assert np.array_equal(found.ids, wanted.ids)
    assert [len(kernel.compiled.signatures) for kernel in (filters.count_bits, answers.search_graph)] == before


def test_long_scans_begin_with_a_look(monkeypatch):
    state = SimpleNamespace(
        live=20_000_000, used=20_000_000, room=32, space=SimpleNamespace(width=128), entries=np.zeros(1, np.int32)
    )
    # Far fewer than a walk promises to find; but a look costs little of such a scan.
    allowed = planner.Filter(np.zeros(1, np.uint64), None, 200_000)
    plan = planner.choose(state, allowed, k=10, effort=2000, fewest=500)
    assert plan.name == "graph"
    scanned = 200_000 * planner._FAR_SLOT_NS
    assert plan.patience * planner._HOP_NS <= scanned
    monkeypatch.setattr(planner, "_PROBED", 1e9)
    planner._cheapest.cache_clear()
    assert planner.choose(state, allowed, k=10, effort=2000, fewest=500).name == "scan-allowed"
    planner._cheapest.cache_clear()
