"""Codes in memory over vectors on disk: what is read, what is kept, what is refused."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from orthant.errors import DimensionError, InputError, NonFiniteError, NotFoundError, StoreCorruptedError
from orthant.index import Flat, TwoTier
from orthant.index.tiers import queued as queues
from orthant.index.tiers import row_files
from orthant.index.tiers.searching import best_codes
from orthant.kernels.distances import exact_scores
from orthant.kernels.topk import top_k
from orthant.quantization import LVQ, SQ8, ProductQuantizer, SignCodes

DIM = 32


def data(n: int = 3000, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((n, 8)) @ np.random.default_rng(77).standard_normal((8, DIM))
    return (mixed + 0.1 * rng.standard_normal((n, DIM))).astype(np.float32)


def filled(n: int = 3000, metric: str = "cosine", **settings) -> tuple[TwoTier, np.ndarray]:
    X = data(n)
    index = TwoTier(DIM, metric, **{"train_rows": 1000, **settings})
    index.add(X)
    return index, X


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("access", row_files.ACCESS)
def test_answers_are_those_of_a_rerank_in_memory_bit_for_bit(metric, access, tmp_path):
    try:
        index, X = filled(metric=metric, access=access, folder=tmp_path, quantizer=ProductQuantizer(m=8, bits=4))
    except InputError:
        pytest.skip("the file system here refuses direct reads")
    Q = data(20, seed=3)
    hits = index.search(Q, 10, effort=40)
    near = best_codes(index._state, Q, 40, metric, None)
    for i, own in enumerate(near):
        ids, scores, _ = top_k(exact_scores(Q[i : i + 1], X[own], metric), 10, ids=own)
        np.testing.assert_array_equal(hits.ids[i], ids[0])
        np.testing.assert_array_equal(hits.scores[i], scores[0])
    assert hits.cost.plan == "codes"


def test_no_vector_stays_in_memory_and_reads_are_counted(monkeypatch):
    index, X = filled(access="uncached", quantizer=LVQ(bits=4), sure=None)
    assert index.stats().memory_bytes < X.nbytes / 3
    assert index.stats().details["disk_bytes"] == X.nbytes
    calls = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: calls.append(args) or pread(*args))
    hits = index.search(X[:1], 5, effort=30)
    details = hits.cost.details
    assert details["rows_read"] == 30 and details["reads"] == len(calls) == details["reads_per_query"]
    assert details["bytes_from_disk"] == sum(size for _, size, _ in calls) == 30 * DIM * 4
    # Queries of one batch share what they read.
    both = index.search(np.tile(X[:1], (4, 1)), 5, effort=30).cost.details
    assert both["rows_read"] == 30 and both["reads_per_query"] == details["reads"] / 4


def test_neighbouring_rows_are_one_read():
    rows = row_files.RowFile.fresh(None, DIM, access="cached")
    X = data(100)
    rows.append(X)
    out = np.empty((5, DIM), np.float32)
    cost = rows.read(np.array([3, 4, 5, 40, 99]), out, readers=1)
    np.testing.assert_array_equal(out, X[[3, 4, 5, 40, 99]])
    assert cost == row_files.Reads(3, 5, 5 * DIM * 4)


def test_direct_reads_give_every_row_at_every_width(tmp_path):
    for dim in (1, 7, 384, 1025):
        X = np.random.default_rng(dim).standard_normal((97, dim)).astype(np.float32)
        try:
            rows = row_files.RowFile.fresh(tmp_path, dim, access="direct")
        except InputError:
            pytest.skip("the file system here refuses direct reads")
        rows.append(X[:50])
        rows.append(X[50:])
        wanted = np.array([0, 1, 13, 49, 50, 96])
        out = np.empty((len(wanted), dim), np.float32)
        rows.read(wanted, out, readers=4)
        np.testing.assert_array_equal(out, X[wanted])


@pytest.mark.parametrize("queued", [True, False])
def test_direct_reads_are_the_same_by_a_queue_and_by_threads(queued, tmp_path, monkeypatch):
    X = data(400)
    try:
        rows = row_files.RowFile.fresh(tmp_path, DIM, access="direct")
    except InputError:
        pytest.skip("the file system here refuses direct reads")
    rows.append(X)
    calls = []
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda *args: calls.append(args) or preadv(*args))
    if not queued:
        monkeypatch.setattr(row_files, "read_queued", lambda *args, **settings: None)
    elif queues.read_queued(rows._fd, np.zeros(1, np.int64), np.array([4096]), readers=1) is None:
        pytest.skip("this system has no queues of reads")
    wanted = np.sort(np.random.default_rng(0).permutation(400)[:9]) if queued else np.arange(0, 400, 90)
    for readers in (1, 3, 32):
        out = np.empty((len(wanted), DIM), np.float32)
        assert rows.read(wanted, out, readers=readers).rows == len(wanted)
        np.testing.assert_array_equal(out, X[wanted])
    assert bool(calls) is not queued
    os.truncate(rows._plain, 300 * DIM * 4)
    with pytest.raises(StoreCorruptedError, match="ends after 38400 bytes"):
        rows.read(np.array([0, 100, 399]), np.empty((3, DIM), np.float32), readers=4)
    out = np.empty((2, DIM), np.float32)
    rows.read(np.array([0, 200]), out, readers=4)
    np.testing.assert_array_equal(out, X[[0, 200]])


def test_a_read_that_fails_is_one_error_and_the_queue_goes_on(tmp_path):
    path = tmp_path / "pages"
    path.write_bytes(np.arange(8192, dtype=np.uint8).tobytes())
    starts, sizes = np.array([0, 4096]), np.array([4096, 4096])
    with open(path, "rb") as handle:
        found = queues.read_queued(handle.fileno(), starts, sizes, readers=2)
        if found is None:
            pytest.skip("this system has no queues of reads")
        closed = os.dup(handle.fileno())
        os.close(closed)
        with pytest.raises(OSError, match="file descriptor"):
            queues.read_queued(closed, starts, sizes, readers=2)
        bytes_, places, got = queues.read_queued(handle.fileno(), starts, sizes, readers=1)
        assert got.tolist() == [4096, 4096] and places.tolist() == [0, 4096]
        assert bytes(bytes_[:8192]) == path.read_bytes()


def test_systems_without_queues_are_asked_once(monkeypatch):
    monkeypatch.setattr(queues, "_missing", False)
    monkeypatch.setattr(queues, "_here", threading.local())
    monkeypatch.setattr(queues, "_NUMBERS", {})
    pieces = np.zeros(2, np.int64), np.full(2, 4096)
    assert queues.read_queued(0, *pieces, readers=2) is None and queues._missing


def test_candidates_that_codes_rule_out_are_not_read():
    found = {}
    for sure in (None, 3.5):
        index, _ = filled(quantizer=LVQ(bits=8), sure=sure)
        found[sure] = index.search(data(20, seed=8), 5, effort=200)
    np.testing.assert_array_equal(found[None].ids, found[3.5].ids)
    np.testing.assert_array_equal(found[None].scores, found[3.5].scores)
    read = {sure: hits.cost.details["rows_read"] for sure, hits in found.items()}
    assert read[3.5] < 20 * 25 < read[None]
    # Codes that say little rule little out.
    rough, _ = filled(quantizer=SignCodes(bits=1))
    assert rough.search(data(20, seed=8), 5, effort=200).cost.details["rows_read"] > 2 * read[3.5]
    with pytest.raises(InputError, match="sure"):
        TwoTier(DIM, sure=-1)


def test_pages_are_dropped_after_uncached_reads(monkeypatch):
    if not hasattr(os, "posix_fadvise"):
        pytest.skip("no advice to the page cache on this system")
    advice = []
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, start, size, what: advice.append(what))
    for access, wanted in (("cached", False), ("uncached", True)):
        index, X = filled(access=access, quantizer=SQ8())
        advice.clear()
        index.search(X[:1], 5, effort=30)
        assert (os.POSIX_FADV_DONTNEED in advice) == wanted


def test_recall_grows_with_effort_and_one_is_exact():
    index, X = filled(1200, quantizer=ProductQuantizer(m=4, bits=4))
    Q = data(20, seed=5)
    flat = Flat(DIM)
    flat.add(X)
    truth = flat.search(Q, 10)
    found = [np.mean([np.isin(a, b).mean() for a, b in zip(truth.ids, ids, strict=True)])
             for ids in (index.search(Q, 10, effort=e).ids for e in (10, 50, 500))]  # fmt: skip
    assert found[0] < found[1] < found[2]
    exact = index.search(Q, 10, recall=1.0)
    np.testing.assert_array_equal(exact.ids, truth.ids)
    np.testing.assert_array_equal(exact.scores, truth.scores)
    index.calibrate(data(60, seed=6))
    kept = index.search(Q, 10, recall=0.9)
    assert np.mean([np.isin(a, b).mean() for a, b in zip(truth.ids, kept.ids, strict=True)]) >= 0.85
    assert kept.cost.details["candidates"] == index.calibration.choose(10, 0.9)[0] < 1200


def test_codes_are_chosen_for_the_limit_and_for_what_is_to_come():
    sizes = {}
    for limit in (3000 * 60, 3000 * 32, 3000 * 24):
        index, _ = filled(memory_limit_bytes=limit, capacity=3000)
        sizes[limit] = index.stats().details["code_size"]
        assert index.stats().memory_bytes <= limit
    assert list(sizes.values()) == sorted(sizes.values(), reverse=True) and len(set(sizes.values())) == 3
    told = TwoTier.estimate_memory(3000, DIM, memory_limit_bytes=3000 * 32)
    assert told["codes"] == 3000 * sizes[3000 * 32] and told["disk"] == 3000 * DIM * 4


@pytest.mark.parametrize("limit", [None, 3000 * 60, 3000 * 45, 3000 * 32, 3000 * 24])
def test_w20_memory_is_known_before(limit):
    index, _ = filled(memory_limit_bytes=limit, capacity=3000)
    told, held = TwoTier.estimate_memory(3000, DIM, memory_limit_bytes=limit), index.stats().memory_bytes
    # Marks are there once rows were removed.
    assert held <= told["total"] <= min(1.2 * held, limit or np.inf)


def test_the_least_limit_that_an_error_names_is_enough():
    with pytest.raises(InputError, match=r"for codebooks and for one byte of code") as raised:
        TwoTier(DIM, memory_limit_bytes=1000, capacity=3000)
    least = int(re.search(r"at least (\d+)", str(raised.value))[1])
    index, _ = filled(memory_limit_bytes=least, capacity=3000)
    assert index.stats().details["code_size"] == 1 and index.stats().memory_bytes <= least
    with pytest.raises(InputError, match="for codebooks"):
        TwoTier(DIM, memory_limit_bytes=least - 1, capacity=3000)
    # Without a capacity a higher limit makes finer codes of the first vectors, so it is not what to do.
    growing = TwoTier(DIM, memory_limit_bytes=least, train_rows=1000)
    growing.add(data(1000))
    with pytest.raises(InputError, match=r"codes of \d+ bytes.*Make the index with capacity=3000 or more"):
        growing.add(data(2000))
    assert len(growing) == 1000


def test_a_limit_below_the_codes_is_refused_and_nothing_is_added():
    with pytest.raises(InputError, match=r"memory_limit_bytes=10000 for 5000 vectors"):
        TwoTier(DIM, memory_limit_bytes=10_000, capacity=5000)
    with pytest.raises(InputError, match="codes of 36 bytes"):
        TwoTier(DIM, quantizer=LVQ(bits=8).fit(data(50)), memory_limit_bytes=10_000, capacity=5000)
    index = TwoTier(DIM, quantizer=LVQ(bits=8).fit(data(50)), memory_limit_bytes=50_000)
    index.add(data(900))
    with pytest.raises(InputError, match="memory_limit_bytes"):
        index.add(data(900))
    assert len(index) == 900
    # Before there are codes, what is wanted is not told as if there were.
    index = TwoTier(DIM, memory_limit_bytes=40_000, train_rows=10_000)
    index.add(data(900))
    with pytest.raises(InputError, match=r"expected more than \d+, the id and the mark of each without its code"):
        index.add(data(6000))
    assert len(index) == 900
    # Nor are vectors written whose codes will not fit.
    index = TwoTier(DIM, memory_limit_bytes=40_000)
    index.add(data(900))
    with pytest.raises(InputError, match="for codebooks and for one byte of code"):
        index.add(data(6000))
    assert len(index) == 900
    # Chosen too fine for what came: told when it no longer fits.
    with pytest.raises(InputError, match="memory_limit_bytes"):
        filled(memory_limit_bytes=3000)


def test_saved_codes_and_quantizer_come_back(tmp_path):
    index, X = filled(quantizer=SignCodes(bits=2))
    index.calibrate(data(10, seed=9))
    before = index.search(X[:5], 4, effort=20)
    index.save(tmp_path / "a")
    for mmap in (True, False):
        back = TwoTier.load(tmp_path / "a", mmap=mmap, verify=False)
        after = back.search(X[:5], 4, effort=20)
        np.testing.assert_array_equal(before.ids, after.ids)
        assert after.cost.plan == "codes" and back.calibration == index.calibration
        back.add(-X[:3], [9000, 9001, 9002])
        assert back.search(-X[1], 1, effort=20).ids.tolist() == [[9001]]


def test_a_cut_file_is_named_and_a_changed_one_when_verified(tmp_path):
    index, X = filled()
    index.save(tmp_path / "a")
    file = next((tmp_path / "a").glob("vectors-*"))
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    with pytest.raises(StoreCorruptedError, match=file.name):
        TwoTier.load(tmp_path / "a", verify=False)
    file.write_bytes(b"\x00" * 8 + whole[8:])
    TwoTier.load(tmp_path / "a", verify=False)
    with pytest.raises(StoreCorruptedError, match=file.name):
        TwoTier.load(tmp_path / "a")
    file.write_bytes(whole)
    back = TwoTier.load(tmp_path / "a")
    os.truncate(file, 100)
    with pytest.raises(StoreCorruptedError, match="ends after"):
        back.search(X[:1], recall=1.0)


def test_over_reads_a_file_where_it_lies(tmp_path):
    X = data()
    np.save(tmp_path / "x.npy", X)
    index = TwoTier.over(tmp_path / "x.npy", train_rows=1000, access="uncached")
    assert index.search(X[:4], 1).ids.ravel().tolist() == [0, 1, 2, 3] and index.stats().details["code_size"]
    index.add(-X[:2])
    assert index.remove([0]) == 1
    np.testing.assert_array_equal(index.reconstruct([3001, 7]), np.stack([-X[1], X[7]]))
    np.save(tmp_path / "y.npy", X.astype(np.float64))
    with pytest.raises(InputError, match="float64"):
        TwoTier.over(tmp_path / "y.npy")
    os.truncate(tmp_path / "x.npy", 5000)
    with pytest.raises(StoreCorruptedError, match=r"x\.npy"):
        TwoTier.over(tmp_path / "x.npy")
    X[5, 5] = np.nan
    np.save(tmp_path / "z.npy", X)
    with pytest.raises(NonFiniteError):
        TwoTier.over(tmp_path / "z.npy")


def test_removed_vectors_give_their_disk_back():
    index, X = filled(6000)
    index.remove(np.arange(0, 6000, 2))
    stats = index.stats()
    assert stats.details["disk_bytes"] == 3000 * DIM * 4 and stats.dead == 0
    assert index.search(X[1], 1).ids.tolist() == [[1]]


@pytest.mark.parametrize("beneath", ["", "inner"])
def test_a_folder_that_is_a_file_is_refused_and_nothing_is_added(tmp_path, beneath):
    (tmp_path / "file").write_text("mine")
    index = TwoTier(DIM, folder=tmp_path / "file" / beneath)
    with pytest.raises(InputError, match="in a file"):
        index.add(data(5))
    assert len(index) == 0 and (tmp_path / "file").read_text() == "mine"


def test_what_does_not_fit_is_refused():
    with pytest.raises(DimensionError, match="dimension 5"):
        TwoTier(DIM, quantizer=LVQ().fit(np.eye(5)))
    with pytest.raises(InputError, match="quantizer of type int"):
        TwoTier(DIM, quantizer=3)
    # Not once thousands of vectors are in, whose codes they cannot make.
    with pytest.raises(InputError, match="5 parts"):
        TwoTier(DIM, quantizer=ProductQuantizer(m=5))
    with pytest.raises(InputError, match="at most"):
        TwoTier(DIM, quantizer=SignCodes(dim=DIM + 1))
    for name, value in (("access", "mapped"), ("readers", 33), ("train_rows", 0), ("capacity", 0)):
        with pytest.raises(InputError, match=name):
            TwoTier(DIM, **{name: value})
    with pytest.raises(NotFoundError, match=r"no file .*absent\.npy"):
        TwoTier.over("absent.npy")
    index, X = filled(1200)
    with pytest.raises(InputError, match="one of them"):
        index.search(X[:1], effort=3, recall=0.5)


def test_no_file_is_left_behind(tmp_path):
    index, _ = filled(folder=tmp_path)
    if os.name == "posix":
        assert list(Path(tmp_path).iterdir()) == []
    del index
    assert list(Path(tmp_path).iterdir()) == []
