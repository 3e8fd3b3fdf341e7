"""Adding, removing and extending: twins, reused slots, recall after removals, and threads that do all of it at once."""

from __future__ import annotations

import threading
import time
import tracemalloc

import numpy as np
import pytest

from index.graph_data import clustered, flat_of, recall
from orthant.errors import InputError
from orthant.index import Graph
from orthant.index.vamana import build
from orthant.kernels import bitmaps

SMALL = {"degree": 12, "beam": 40, "scan_below": 0}


def folder_size(path):
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


# --- twins


@pytest.mark.parametrize("outside", [False, True])
def test_w16_w54_twins_are_all_found_and_outlive_their_leader(compiled, outside):
    X, _ = clustered(600, seed=41)
    X = np.concatenate([X, X[:40], X[:40], np.repeat(X[50:51], 300, axis=0)])
    ids = np.arange(len(X)) * 2 + 1
    if outside:
        index = Graph.over([(X[:500], ids[:500]), (X[500:], ids[500:])], dim=48, metric="l2", **SMALL)
    else:
        index = Graph(48, "l2", **SMALL)
        index.add(X, ids)
    assert index.check() == []
    assert index.stats().details["twins"] == 380
    groups = [[i, 600 + i, 640 + i] for i in range(40)]
    for i, group in enumerate(groups):
        assert index.search(X[i], 3, effort=60).ids[0].tolist() == ids[group].tolist()
    hits = index.search(X[50], 301, effort=320)
    assert sorted(hits.ids[0]) == sorted(ids[[50, *range(680, 980)]])
    assert (hits.scores == 0).all()
    # Leaders go, one of two twins goes, and finally all.
    gone = [ids[:40], ids[600:620], ids[640:660]]
    left = set(ids.tolist())
    for step in gone:
        if outside:
            index = index.extended([], removed=step)
        else:
            assert index.remove(step) == len(step)
        left -= set(step.tolist())
        assert index.check() == []
        assert set(index.ids().tolist()) == left
        for i, group in enumerate(groups):
            expected = [each for each in ids[group].tolist() if each in left]
            found = index.search(X[i], 3, effort=60)
            assert found.ids[0, : len(expected)].tolist() == expected
            assert (found.scores[0, : len(expected)] == 0).all()
            if expected:
                assert (index.reconstruct(expected) == X[i]).all()


def test_w54_only_equal_vectors_end_in_time(compiled):
    X = np.ones((3000, 20), np.float32)
    index = Graph(20, **SMALL)
    begun = time.process_time()
    index.add(X, threads=2)
    assert time.process_time() - begun < 20
    assert index.check() == []
    hits = index.search(X[0], 5)
    assert len(set(hits.ids[0].tolist())) == 5
    np.testing.assert_allclose(hits.scores, 1, rtol=1e-6)
    index.remove(np.arange(2000))
    assert index.search(X[0], 3).counts[0] == 3
    assert index.search(X[0], 3).ids.min() >= 2000


# --- removals


@pytest.mark.parametrize("how", ["random", "cluster"])
def test_w11_recall_after_removing_half(compiled, how):
    X, label = clustered(4000, seed=42)
    Q, _ = clustered(200, seed=43)
    rng = np.random.default_rng(1)
    gone = rng.choice(4000, 2000, replace=False) if how == "random" else np.flatnonzero(label % 2)
    index = Graph(48, "l2", **SMALL)
    index.add(X)
    for part in np.array_split(gone, 7):
        assert index.remove(part) == len(part)
    assert index.check() == []
    kept = np.setdiff1d(np.arange(4000), gone)
    fresh = Graph(48, "l2", **SMALL)
    fresh.add(X[kept], kept)
    truth = flat_of(X[kept], kept, "l2").search(Q, 10)
    for effort in (32, 64):
        hits = index.search(Q, 10, effort=effort)
        assert not np.isin(hits.ids, gone).any()
        assert recall(hits, truth) >= recall(fresh.search(Q, 10, effort=effort), truth) - 0.02


def test_w12_removing_few_copies_nothing_and_links_are_mended_once_per_share_removed(compiled, monkeypatch):
    X, _ = clustered(6000, seed=42)
    index = Graph(48, "l2", **SMALL)
    index.add(X)
    index.remove([0])
    held = index.stats().memory_bytes
    tracemalloc.start()
    assert index.remove([7, 3000, 5999]) == 3
    assert tracemalloc.get_traced_memory()[1] < held / 50
    tracemalloc.stop()
    # A pass over the graph is paid once for every fiftieth of it that went, however small the calls are.
    mended, real = [], build.mend
    monkeypatch.setattr(build, "mend", lambda state, *more: mended.append(state.dead_count) or real(state, *more))
    for part in np.arange(100, 480).reshape(-1, 10):
        assert index.remove(part) == 10
    assert 2 <= len(mended) <= 3 and min(mended) > 6000 / 50
    assert index.check() == []


def test_w10_size_and_recall_after_fifty_rounds(compiled, tmp_path):
    X, _ = clustered(2000 + 50 * 160, seed=44)
    Q, _ = clustered(100, seed=45)
    index = Graph(48, "l2", **SMALL)
    index.add(X[:2000])
    live = np.arange(2000)
    rng = np.random.default_rng(2)
    for turn in range(50):
        gone = rng.choice(live, 160, replace=False)
        index.remove(gone)
        fresh = 2000 + 160 * turn + np.arange(160)
        index.add(X[fresh], fresh)
        live = np.concatenate([np.setdiff1d(live, gone), fresh])
    assert index.check() == []
    assert sorted(index.ids()) == sorted(live)
    other = Graph(48, "l2", **SMALL)
    other.add(X[live], live)
    index.save(tmp_path / "old")
    other.save(tmp_path / "new")
    assert folder_size(tmp_path / "old") <= 1.3 * folder_size(tmp_path / "new")
    truth = flat_of(X[live], live, "l2").search(Q, 10)
    assert recall(index.search(Q, 10, effort=40), truth) >= recall(other.search(Q, 10, effort=40), truth) - 0.02


def test_w13_ids_and_vectors_survive_changes(compiled):
    # A model of what is in: every id leads to its own vector, however slots were reused.
    rng = np.random.default_rng(3)
    model: dict[int, np.ndarray] = {}
    index = Graph(16, "dot", degree=8, beam=24, scan_below=50)
    for turn in range(40):
        fresh = [i for i in rng.choice(400, 30, replace=False).tolist() if i not in model]
        X = rng.standard_normal((len(fresh), 16)).astype(np.float32)
        assert index.add(X, fresh).tolist() == fresh
        model.update(zip(fresh, X, strict=True))
        gone = rng.choice(400, 25 if turn != 20 else 400, replace=False)
        assert index.remove(gone) == sum(model.pop(i, None) is not None for i in gone.tolist())
        assert index.check() == []
        assert sorted(index.ids().tolist()) == sorted(model) and len(index) == len(model)
        if model:
            known = sorted(model)
            assert (index.reconstruct(known) == np.stack([model[i] for i in known])).all()
            q = rng.standard_normal(16).astype(np.float32)
            scores = index.score_ids(q, known)
            np.testing.assert_allclose(scores, np.stack([model[i] for i in known]) @ q, rtol=1e-4, atol=1e-5)
            hits = index.search(q, 5, effort=60)
            order = sorted(known, key=lambda i: -float(model[i] @ q))[:5]
            assert len(set(hits.ids[0, : len(order)].tolist()) & set(order)) >= len(order) - 1


def test_copies_fit_into_less_room(compiled):
    # Room that grew for additions which went again.
    X, _ = clustered(2000, seed=50)
    index = Graph(48, "l2", **SMALL)
    index.add(X[:1000])
    state = index._state
    state.grow(20_000)
    index._forget()
    fresh = state.copy()
    assert fresh.capacity < state.capacity
    assert fresh.live == 1000
    assert (fresh.locate(np.arange(1000)) == state.locate(np.arange(1000))).all()
    index.add(X[1000:])
    assert index.check() == []
    assert len(index) == 2000


# --- extended


def test_extended_leaves_the_old_graph_as_it_was(compiled):
    X, _ = clustered(3000, seed=46)
    Q, _ = clustered(50, seed=47)
    blocks = [(X[:1200], np.arange(1200)), (X[1200:2000], np.arange(1200, 2000))]
    old = Graph.over(blocks, dim=48, metric="l2", **SMALL)
    before, links = old.search(Q, 10, effort=60), old.adjacency()
    gone = np.arange(0, 2000, 2)
    new = old.extended([(X[2000:], np.arange(2000, 3000))], removed=gone)
    after = old.search(Q, 10, effort=60)
    assert (before.ids == after.ids).all()
    assert (before.scores == after.scores).all()
    assert (links == old.adjacency()).all()
    assert len(old) == 2000 and len(new) == 2000
    kept = np.setdiff1d(np.arange(3000), gone)
    hits, truth = new.search(Q, 10, effort=96), flat_of(X[kept], kept, "l2").search(Q, 10)
    assert new.check() == [] and old.check() == []
    assert recall(hits, truth) >= 0.95
    # A block may bring back an id that the same call removes.
    again = new.extended([(X[:1], np.array([1]))], removed=[1, 77_777])
    assert (again.reconstruct([1]) == X[0]).all()
    assert (new.reconstruct([1]) == X[1]).all()
    with pytest.raises(InputError):
        new.extended([(X[:1], np.array([1]))])


def test_live_bitmaps_leave_rows_out(compiled):
    X, _ = clustered(1500, seed=48)
    live = bitmaps.from_rows(np.arange(0, 1500, 3))
    index = Graph.over([(X, np.arange(1500))], dim=48, metric="l2", live=live, **SMALL)
    assert sorted(index.ids()) == list(range(0, 1500, 3))
    assert (index.search(X[:50], 10).ids % 3 == 0).all()


# --- threads


def hammer(seconds, tmp_path):
    """Search, add, remove and save from eight threads; every hit must be an id whose vector fits its score."""
    X, _ = clustered(20_000, 24, seed=49)
    index = Graph(24, "l2", degree=10, beam=24, scan_below=500)
    index.add(X[:3000])
    errors, stop, done = [], threading.Event(), [0] * 8
    # Ids below 1,000 always stay; a search for one of them must find it.
    taken = threading.Lock()
    free = list(range(19_999, 2999, -1))
    used = list(range(1000, 3000))

    def guarded(worker, work):
        rng = np.random.default_rng(worker)
        try:
            while not stop.is_set():
                work(rng, worker)
                done[worker] += 1
        except BaseException as error:  # noqa: BLE001
            errors.append(error)
            stop.set()

    def searching(rng, worker):
        rows = rng.choice(1000, 6, replace=False)
        allowed = np.arange(1000) if worker % 2 else None
        hits = index.search(X[rows], 8, effort=64, allowed=allowed)
        assert (hits.counts == 8).all()
        assert (np.diff(hits.scores, axis=1) <= 0).all()
        for row, ids, scores in zip(rows, hits.ids, hits.scores, strict=True):
            assert len(set(ids.tolist())) == 8
            # An id has one vector for ever, so a wrong pair of id and score shows.
            np.testing.assert_allclose(scores, -((X[ids] - X[row]) ** 2).sum(axis=1), rtol=1e-3, atol=1e-3)
        found.append(float((hits.ids == rows[:, None]).any(axis=1).mean()))

    def adding(rng, worker):
        with taken:
            ids = [free.pop() for _ in range(int(rng.integers(1, 40))) if free]
        if ids:
            index.add(X[ids], ids)
            with taken:
                used.extend(ids)
        time.sleep(0.002)

    def removing(rng, worker):
        with taken:
            rng.shuffle(used)
            ids = [used.pop() for _ in range(int(rng.integers(1, 30))) if used]
        if ids:
            assert index.remove(ids) == len(ids)
            with taken:
                free[:0] = ids
        time.sleep(0.002)

    def saving(rng, worker):
        index.save(tmp_path / "graph")
        loaded = Graph.load(tmp_path / "graph")
        assert loaded.check() == []
        assert np.isin(np.arange(1000), loaded.ids()).all()
        time.sleep(0.05)

    found: list[float] = []
    works = [searching, searching, searching, searching, adding, removing, saving, adding]
    threads = [threading.Thread(target=guarded, args=(i, work)) for i, work in enumerate(works)]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    if errors:
        raise errors[0]
    assert min(done) > 0
    assert np.mean(found) >= 0.98
    assert index.check() == []
    assert sorted(index.ids().tolist()) == sorted([*range(1000), *used])


def test_w53_searches_beside_changes_from_eight_threads(compiled, tmp_path):
    hammer(3, tmp_path)


@pytest.mark.slow
def test_w53_searches_beside_changes_for_a_minute(compiled, tmp_path):
    hammer(60, tmp_path)
