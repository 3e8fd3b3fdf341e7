from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import orthant
from conformance.reference import naive_scores, naive_search
from orthant.errors import (
    DimensionError,
    DtypeError,
    InputError,
    NonFiniteError,
    NotFoundError,
)
from orthant.index import Flat
from orthant.kernels import bitmaps, distances

METRICS = ("dot", "cosine", "l2")


def data(n: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def agree(hits, X, ids, Q, k, metric) -> None:
    true_ids, true_scores = naive_search(X, np.asarray(ids), np.atleast_2d(Q), k, metric)
    np.testing.assert_array_equal(hits.ids, true_ids)
    np.testing.assert_array_equal(hits.scores, true_scores)


# --- exactness


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("offset", [0, 1e3, 1e5])
def test_far_from_the_origin_the_order_is_still_exact(metric, offset):
    X = data(900, 24) + np.float32(offset)
    Q = (X[:12] + X[12:24]) / 2
    index = Flat(24, metric)
    index.add(X)
    hits = index.search(Q, 17)
    agree(hits, X, np.arange(900), Q, 17, metric)
    if metric == "l2" and offset:
        # float64 tiles tell the rows apart, so few are left to score pair by pair.
        assert hits.cost.details["float64"] and hits.cost.details["rescored"] < 4 * 12 * 17


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(4))
def test_any_rounding_within_the_bound_leaves_the_answer_exact(monkeypatch, metric, seed):
    """Tiles are made as wrong as the bound allows, in the worst direction for each row."""
    X, Q = np.round(data(800, 6) * 2) + np.float32(7), data(5, 6, seed=1) + np.float32(7)
    index = Flat(6, metric)
    index.add(X)
    wanted = index.search(Q, 11)
    agree(wanted, X, np.arange(800), Q, 11, metric)
    real_scores, real_bound, rng = distances.tile_scores, distances.tile_bound, np.random.default_rng(seed)
    spread = 0.02 * float(np.ptp(naive_scores(Q, X, metric)))

    def wrong_scores(*arguments):
        out = real_scores(*arguments)
        return out + (spread * rng.choice([-0.99, 0.99], out.shape)).astype(out.dtype)

    monkeypatch.setattr(distances, "tile_scores", wrong_scores)
    monkeypatch.setattr(distances, "tile_bound", lambda *a: real_bound(*a) + spread)
    monkeypatch.setattr(distances.row_chunks, "__defaults__", (1500,))
    hits = index.search(Q, 11)
    np.testing.assert_array_equal(hits.ids, wanted.ids)
    np.testing.assert_array_equal(hits.scores, wanted.scores)


def test_the_float32_expansion_alone_would_be_wrong():
    """The figures of the test above: without exact re-scoring, neighbours and scores differ."""
    X = data(900, 24) + np.float32(1e3)
    Q = (X[:12] + X[12:24]) / 2
    tile = distances.tile_scores(Q, X, distances.row_scale(distances.norms(X), "l2"), "l2")
    assert (np.argsort(-tile, axis=1)[:, :17] != naive_search(X, np.arange(900), Q, 17, "l2")[0]).mean() > 0.5


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("factor", [1e-30, 1e-18, 1e16, 1e30])
def test_norms_at_the_ends_of_float32(metric, factor):
    X = (data(300) * factor).astype(np.float32)
    index = Flat(16, metric)
    index.add(X)
    hits = index.search(X[:5], 9)
    assert np.isfinite(hits.scores).all() and (hits.counts == 9).all()
    # What float32 cannot tell apart, beyond its largest or below its smallest value, ties and comes in id order.
    largest = float(np.finfo(np.float32).max)
    true = np.clip(naive_scores(X[:5], X, metric), -largest, largest).astype(np.float32)
    np.testing.assert_array_equal(hits.ids, [np.lexsort((np.arange(300), -row))[:9] for row in true])


@pytest.mark.parametrize("metric", METRICS)
def test_near_ties_below_float32_resolution_are_ordered_by_the_rounded_score_then_the_id(metric):
    base = data(1, 64)[0]
    X = np.tile(base, (700, 1))
    X[np.arange(700), np.arange(700) % 64] = np.nextafter(X[np.arange(700), np.arange(700) % 64], np.float32(9))
    ids = np.random.default_rng(0).permutation(700)
    index = Flat(64, metric)
    index.add(X, ids)
    agree(index.search(base, 40), X, ids, base, 40, metric)


def test_thousands_of_equal_rows_settle_in_bounded_memory():
    index = Flat(4, "dot")
    X = np.ones((60_000, 4), dtype=np.float32)
    X[30_000:] *= 2
    index.add(X)
    Q = np.ones((20, 4))
    tracemalloc.start()
    hits = index.search(Q, 5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (hits.ids == np.arange(30_000, 30_005)).all() and (hits.scores == 8).all()
    assert peak < 250 << 20


def test_held_candidates_are_bounded_when_rows_tie(monkeypatch):
    from orthant.index import scan as scanning

    held = []
    real = scanning._Batch._prune
    monkeypatch.setattr(scanning._Batch, "_prune", lambda self: held.append(len(self.rows)) or real(self))
    monkeypatch.setattr(scanning, "_PENDING", 5000)
    monkeypatch.setattr(distances.row_chunks, "__defaults__", (80_000,))
    index = Flat(4, "dot")
    index.add(np.ones((20_000, 4)))
    assert (index.search(np.ones((20, 4)), 5).ids == np.arange(5)).all()
    assert max(held) <= 2 * 5000 + 20_000, "400,000 pairs tie"


def test_tiles_of_many_shapes_give_the_same_bytes(monkeypatch):
    X, Q = data(700), data(9, seed=1)
    index = Flat(16, "l2")
    index.add(X)
    wanted = index.search(Q, 12)
    for tile_bytes in (64, 1000, 40_000):
        monkeypatch.setattr(distances.row_chunks, "__defaults__", (tile_bytes,))
        hits = index.search(Q, 12, threads=2)
        np.testing.assert_array_equal(hits.ids, wanted.ids)
        np.testing.assert_array_equal(hits.scores, wanted.scores)
        few = index.search(Q, 12, allowed=np.arange(0, 700, 9))
        agree(few, X[::9], np.arange(0, 700, 9), Q, 12, "l2")


def test_pending_candidates_are_settled_early_without_loss(monkeypatch):
    from orthant.index import scan as scanning

    monkeypatch.setattr(scanning, "_PENDING", 1)
    monkeypatch.setattr(distances.row_chunks, "__defaults__", (2000,))
    X = np.round(data(600, 8))
    index = Flat(8, "l2")
    index.add(X)
    agree(index.search(X[:6], 9), X, np.arange(600), X[:6], 9, "l2")


def test_large_k():
    X = data(500)
    index = Flat(16)
    index.add(X)
    agree(index.search(X[:3], 499), X, np.arange(500), X[:3], 499, "cosine")


# --- plans, filters, cost


def test_few_allowed_rows_are_gathered_and_many_are_masked():
    X = data(1000)
    index = Flat(16)
    index.add(X)
    for share, plan in ((0.01, "scan-allowed"), (0.2, "scan-allowed"), (0.4, "scan"), (1.0, "scan")):
        mask = np.arange(1000) < 1000 * share
        for allowed in (mask, bitmaps.from_mask(mask), np.flatnonzero(mask)):
            hits = index.search(X[:2], 5, allowed=allowed)
            assert hits.cost.plan == plan
            assert hits.cost.distances == 2 * (mask.sum() if plan == "scan-allowed" else 1000)
            agree(hits, X[mask], np.flatnonzero(mask), X[:2], 5, "cosine")
    cost = index.search(X[:2], 5).cost
    assert cost.plan == "scan" and cost.bytes_read == 1000 * 16 * 4 and cost.seconds > 0 and cost.distances == 2000


@pytest.mark.parametrize("share", [0.02, 0.6])
def test_w04_equal_row_sets_give_equal_results_however_they_are_written(share):
    X = data(500)
    index = Flat(16, "dot")
    index.add(X, np.random.default_rng(1).permutation(900)[:500])
    mask = np.random.default_rng(2).random(900) < share
    ids = np.flatnonzero(mask)
    forms = (mask, bitmaps.from_mask(mask), ids, ids[::-1], np.repeat(ids, 2), bitmaps.from_rows(ids, 5000))
    wanted = index.search(X[:4], 8, allowed=mask)
    for form in forms:
        hits = index.search(X[:4], 8, allowed=form)
        np.testing.assert_array_equal(hits.ids, wanted.ids)
        np.testing.assert_array_equal(hits.scores, wanted.scores)


@pytest.mark.parametrize("first", [0, 1, 63, 64, 100])
def test_filters_over_contiguous_and_scattered_ids(first):
    X = data(200)
    swapped = np.arange(first, first + 200)
    swapped[[7, 150]] = swapped[[150, 7]]
    for ids in (
        np.arange(first, first + 200),
        swapped,
        np.arange(first, first + 200)[::-1].copy(),
        first + 3 * np.arange(200),
    ):
        index = Flat.over([(X, ids)], dim=16, metric="dot")
        for size in (0, first + 50, 5000):
            mask = np.random.default_rng(size).random(size) < 0.7
            inside = np.array([i < size and mask[i] for i in ids], dtype=bool)
            for allowed in (mask, bitmaps.from_mask(mask)):
                agree(index.search(X[0], 30, allowed=allowed), X[inside], ids[inside], X[0], 30, "dot")


def test_w75_effort_is_refused_and_recall_is_met():
    index = Flat(16)
    index.add(data(5))
    with pytest.raises(InputError, match="effort"):
        index.search(data(1), 2, effort=100)
    assert index.search(data(1), 2, recall=1.0).counts.tolist() == [2]


def test_working_memory_of_a_large_batch_is_bounded():
    X, Q = data(20_000, 8), data(1500, 8, seed=1)
    index = Flat(8)
    index.add(X)
    index.search(Q[:2])
    tracemalloc.start()
    index.search(Q, 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20, "all scores at once would take 120 MB"


# --- Flat.over


def blocks_of(X: np.ndarray, ids: np.ndarray, cuts: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    bounds = [0, *cuts, len(X)]
    return [(X[a:b], ids[a:b]) for a, b in itertools.pairwise(bounds)]


@pytest.mark.parametrize("metric", METRICS)
def test_over_memory_mapped_blocks_with_a_live_bitmap(tmp_path, metric):
    X, ids = data(300), np.random.default_rng(3).permutation(500)[:300]
    X.tofile(tmp_path / "segment")
    mapped = np.memmap(tmp_path / "segment", dtype=np.float32, mode="r", shape=X.shape)
    alive = np.random.default_rng(4).random(500) < 0.8
    keep = alive[ids]
    index = Flat.over(blocks_of(mapped, ids, (0, 90, 91)), dim=16, metric=metric, live=bitmaps.from_mask(alive))
    assert len(index) == keep.sum() and index.stats().dead == 300 - keep.sum()
    Q = data(5, seed=9)
    agree(index.search(Q, 12), X[keep], ids[keep], Q, 12, metric)
    mask = np.random.default_rng(5).random(500) < 0.5
    for allowed in (mask, np.flatnonzero(mask)[:20]):
        inside = keep & (mask[ids] if allowed is mask else np.isin(ids, allowed))
        agree(index.search(Q, 12, allowed=allowed), X[inside], ids[inside], Q, 12, metric)
    assert (index.score_ids(Q[0], ids[~keep][:3]) == -np.inf).all()
    index.save(tmp_path / "copy")
    agree(Flat.load(tmp_path / "copy").search(Q, 12), X[keep], ids[keep], Q, 12, metric)


def test_over_copies_nothing():
    X = data(20_000, 64)
    inverse = distances.inverse_norms(X)
    tracemalloc.start()
    index = Flat.over([(X, np.arange(20_000), inverse)], dim=64)
    index.search(X[0], 10)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < X.nbytes / 2
    assert index._data.blocks[0].matrix.base is X or np.shares_memory(index._data.blocks[0].matrix, X)


def test_over_computes_norms_once_and_only_when_needed(monkeypatch):
    X = data(100)
    calls = []
    real = distances.norms
    monkeypatch.setattr(distances, "norms", lambda M: calls.append(len(M)) or real(M))
    index = Flat.over([(X, np.arange(100))], dim=16)
    index.search(X[0], allowed=np.array([3, 4]))
    assert 100 not in calls, "two allowed rows must not cost a pass over all"
    index.search(X[0])
    index.search(X[0])
    assert calls.count(100) == 1
    given = Flat.over([(X, np.arange(100), distances.inverse_norms(X))], dim=16)
    calls.clear()
    given.search(X[0])
    assert 100 not in calls


def test_over_refuses_writes_and_bad_blocks():
    X, ids = data(4), np.arange(4)
    index = Flat.over([(X, ids)], dim=16)
    with pytest.raises(InputError, match="over"):
        index.add(data(1))
    with pytest.raises(InputError, match="over"):
        index.remove([1])
    for error, block in [
        (DtypeError, (X.astype(np.float64), ids)),
        (DtypeError, (np.asfortranarray(X), ids)),
        (DtypeError, (X, ids.astype(np.int32))),
        (DimensionError, (X[:, :8].copy(), ids)),
        (DimensionError, (X, ids[:2])),
        (InputError, (X, ids - 1)),
        (InputError, (X,)),
        (InputError, (X, ids, np.ones(3))),
        (InputError, (X, np.array([0, 1, 1, 2]))),
    ]:
        with pytest.raises(error):
            Flat.over([block], dim=16)
    with pytest.raises(InputError, match="repeated"):
        Flat.over([(X, ids), (X, ids + 3)], dim=16)
    with pytest.raises(InputError):
        Flat.over([(X, ids, np.ones(4))], dim=16, metric="dot")
    with pytest.raises(DtypeError):
        Flat.over([(X, ids)], dim=16, live=np.ones(4, dtype=bool))


def test_over_refuses_what_no_search_can_rank():
    X = data(6)
    X[2] = 0
    with pytest.raises(InputError, match="ids 2"):
        Flat.over([(X, np.arange(6))], dim=16).search(data(1))
    X[2, 1] = np.nan
    with pytest.raises(NonFiniteError, match="ids 2"):
        Flat.over([(X, np.arange(6))], dim=16).search(data(1))


def test_over_nothing_and_empty_blocks():
    assert Flat.over([], dim=16).search(data(2), 3).counts.tolist() == [0, 0]
    index = Flat.over([(data(0), np.zeros(0, np.int64)), (data(2), np.arange(2))], dim=16)
    assert index.search(data(2), 3, allowed=np.array([1])).ids[:, 0].tolist() == [1, 1]


# --- ids, score_ids, reconstruct


def test_score_ids():
    X = data(40)
    for metric in METRICS:
        index = Flat(16, metric)
        index.add(X, np.arange(40) * 2)
        q = data(1, seed=4)[0] + 100
        scores = index.score_ids(q, [6, 1, 78, 0])
        true = naive_scores(q[None], X, metric)[0].astype(np.float32)
        assert scores.dtype == np.float32
        np.testing.assert_array_equal(scores, [true[3], -np.inf, true[39], true[0]])
    assert index.score_ids(q, []).shape == (0,)
    with pytest.raises(DimensionError):
        index.score_ids(data(2), [1])
    with pytest.raises(DimensionError):
        index.score_ids(data(1, 15)[0], [1])


def test_reconstruct_gives_back_what_was_added():
    X = data(30) * 7
    index = Flat(16)
    index.add(X[:11])
    index.add(X[11:])
    np.testing.assert_array_equal(index.reconstruct([29, 0, 12]), X[[29, 0, 12]])
    index.remove([12])
    with pytest.raises(NotFoundError, match="12"):
        index.reconstruct([0, 12])
    assert index.reconstruct([]).shape == (0, 16)


def test_existing_ids_are_listed_and_nothing_is_added():
    index = Flat(16)
    index.add(data(3), [5, 6, 7])
    with pytest.raises(InputError, match=r"2 id\(s\) already in the index: 7, 5"):
        index.add(data(3), [7, 8, 5])
    assert len(index) == 3 and index.score_ids(data(1)[0], [8])[0] == -np.inf


def test_automatic_ids_stop_before_they_overflow():
    index = Flat(16)
    index.add(data(1), [2**63 - 2])
    with pytest.raises(InputError, match="automatic"):
        index.add(data(1))


def test_w13_automatic_ids_are_not_given_twice(tmp_path):
    index = Flat(16)
    index.add(data(3))
    index.remove([2])
    index.save(tmp_path / "x")
    assert Flat.load(tmp_path / "x").add(data(1)).tolist() == [3] == index.add(data(1)).tolist()


def test_w12_removal_does_not_touch_the_other_rows():
    """Cost follows the removed rows: the generation mark is written in place, nothing of length n is copied."""
    index = Flat(2, "dot")
    index.add(np.ones((200_000, 2)))
    index.remove([0])
    tracemalloc.start()
    index.remove([7, 90_000, 199_999])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000, "a copied mask alone would take 200,000 bytes"


@pytest.mark.parametrize(("n", "dim"), [(6000, 48), (2000, 420)])
def test_w20_memory_is_known_before(n, dim):
    told, X = Flat.estimate_memory(n, dim), data(n, dim)
    tracemalloc.start()
    index = Flat(dim)
    index.add(X)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for measured in (held, index.stats().memory_bytes):
        assert 0.8 <= told["total"] / measured <= 1.2
    assert 0.8 <= (told["total"] + told["building"]) / peak <= 1.4
    with pytest.raises(InputError):
        Flat.estimate_memory(-1, 3)


def test_w10_dead_rows_are_squeezed_out():
    index = Flat(16)
    X = data(6000)
    index.add(X)
    index.remove(np.arange(0, 1000))
    assert index.stats().dead == 1000
    index.remove(np.arange(1000, 2500))
    stats = index.stats()
    assert stats.dead == 0 and stats.count == 3500 and len(index) == 3500
    agree(index.search(X[:3], 6), X[2500:], np.arange(2500, 6000), X[:3], 6, "cosine")
    index.add(X[:5], np.arange(5))
    agree(index.search(X[:3], 6), *_joined(X, 2500), X[:3], 6, "cosine")


def _joined(X: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate([X[start:], X[:5]]), np.concatenate([np.arange(start, len(X)), np.arange(5)])


class Histories(RuleBasedStateMachine):
    """W13: any sequence of calls against a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.index = Flat(3, "l2")
        self.truth: dict[int, np.ndarray] = {}

    @rule(ids=st.sets(st.integers(0, 40), max_size=12), seed=st.integers(0, 9))
    def add(self, ids, seed):
        X = np.random.default_rng(seed).integers(-3, 3, (len(ids), 3)).astype(np.float32)
        if set(ids) & set(self.truth):
            with pytest.raises(InputError):
                self.index.add(X, list(ids))
        else:
            self.index.add(X, list(ids))
            self.truth.update(zip(ids, X, strict=True))

    @rule(ids=st.sets(st.integers(0, 40), max_size=30))
    def remove(self, ids):
        assert self.index.remove(list(ids)) == len(set(ids) & set(self.truth))
        for name in ids:
            self.truth.pop(name, None)

    @rule()
    def squeeze(self):
        if self.index._data.blocks:
            self.index._compact(self.index._data)

    @invariant()
    def agrees(self):
        assert len(self.index) == len(self.truth)
        names = np.array(sorted(self.truth), dtype=np.int64)
        X = np.array([self.truth[n] for n in names.tolist()]).reshape(-1, 3)
        agree(self.index.search(np.zeros(3), 5), X, names, np.zeros(3), 5, "l2")
        even = np.arange(0, 41, 2)
        agree(
            self.index.search(np.ones(3), 9, allowed=even),
            X[names % 2 == 0],
            names[names % 2 == 0],
            np.ones(3),
            9,
            "l2",
        )


Histories.TestCase.settings = settings(derandomize=True, max_examples=15, stateful_step_count=15, deadline=None)
test_w13_histories = Histories.TestCase


# --- threads


def test_w53_searches_survive_growth_and_squeezing():
    index = Flat(8, "dot")
    base = data(50, 8)
    index.add(base, np.arange(50))
    start, failures = threading.Barrier(5), []

    def write() -> None:
        start.wait(60)
        for i in range(12):
            ids = 1000 + np.arange(900)
            index.add(np.full((900, 8), 5 + i), ids)
            index.remove(ids)

    def read() -> None:
        start.wait(60)
        for _ in range(40):
            hits = index.search(np.ones(8), 950, allowed=np.arange(2000))
            names = hits.ids[0][: hits.counts[0]]
            if hits.counts[0] not in (50, 950) or not np.isin(np.arange(50), names).all():
                failures.append(int(hits.counts[0]))

    with ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(write), *[pool.submit(read) for _ in range(4)]]
        for job in jobs:
            job.result(60)
    assert not failures
    assert index.stats().dead <= 1024 + 900


# --- the package


def test_lazy_names():
    assert orthant.Flat is Flat
    assert "Flat" in dir(orthant.index)
    with pytest.raises(AttributeError):
        _ = orthant.index.Nothing


def test_w44_flat_loads_nothing_heavier_than_numpy():
    code = (
        "import sys, numpy as np; from orthant.index import Flat; i = Flat(3); i.add(np.eye(3)); i.search(np.ones(3));"
        "print([m for m in ('numba', 'scipy', 'sklearn', 'safetensors', 'torch', 'pandas') if m in sys.modules])"
    )
    path = str(next(iter(orthant.__path__)) + "/..")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": path}, check=True
    )
    assert done.stdout.strip() == "[]"


def test_repr_and_stats():
    index = Flat(16, "dot")
    assert repr(index) == "Flat(dim=16, metric='dot', 0 vectors)"
    assert index.stats().bytes_per_vector == 0
    index.add(data(1000))
    assert 64 <= index.stats().bytes_per_vector < 150


@pytest.mark.parametrize("threads", [1, 3])
def test_lists_are_scored_where_no_score_is_known(threads):
    rng = np.random.default_rng(0)
    X, Q = rng.standard_normal((5_000, 12)).astype(np.float32), rng.standard_normal((3, 12)).astype(np.float32)
    flat = Flat(12, "cosine")
    flat.add(X)
    bounds = np.array([0, 2_500, 4_000, 6_000])
    ids = np.concatenate([rng.permutation(5_100)[:count] for count in np.diff(bounds)])
    known, out = rng.random(6_000) < 0.5, np.full(6_000, -np.inf, np.float32)
    out[known] = 7
    # The middle list belongs to no query.
    flat.score_lists(Q[[0, 2]], [0, 2], ids, bounds, out, threads=threads)
    assert (out[known] == 7).all()
    for i in range(3):
        part = slice(bounds[i], bounds[i + 1])
        expected = np.full(1_500, -np.inf) if i == 1 else flat.score_ids(Q[i], ids[part])
        left = ~known[part]
        np.testing.assert_allclose(out[part][left], expected[left], rtol=1e-6)
