"""What every index must do. Each check takes a registered case and raises where the case falls short."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from conformance.reference import naive_search
from conformance.registry import IndexCase
from orthant.errors import (
    DimensionError,
    DtypeError,
    InputError,
    NonFiniteError,
    NotFoundError,
    OrthantError,
    StoreCorruptedError,
)
from orthant.kernels import bitmaps
from orthant.types import Hits, Index, IndexStats

DIM = 12


def data(n: int, dim: int = DIM, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def filled(case: IndexCase, n: int = 60, dim: int = DIM, metric: str | None = None, seed: int = 0):
    index = case.make(dim, metric or case.metrics[0])
    X = data(n, dim, seed)
    ids = index.add(X)
    return index, X, ids


def expect(case: IndexCase, hits: Hits, X, ids, Q, k: int, metric: str) -> None:
    """Hits agree with the naive oracle over exactly these rows."""
    Q = np.atleast_2d(Q)
    true_ids, true_scores = naive_search(X, ids, Q, k, metric)
    counts = np.full(len(Q), min(k, len(ids)))
    assert hits.ids.shape == hits.scores.shape == (len(Q), k)
    assert hits.ids.dtype == np.int64 and hits.scores.dtype == np.float32 and hits.counts.dtype == np.int64
    known = {int(name): row for row, name in enumerate(ids)}
    for i in range(len(Q)):
        real = hits.ids[i][: hits.counts[i]]
        assert set(real.tolist()) <= set(known), "a dead, unknown or forbidden id was returned"
        assert len(set(real.tolist())) == len(real), "an id was returned twice"
        assert (hits.ids[i][hits.counts[i] :] == -1).all() and np.isneginf(hits.scores[i][hits.counts[i] :]).all()
        assert (hits.scores[i][: hits.counts[i]] > -np.inf).all()
        assert (hits.scores[i][1:] <= hits.scores[i][:-1]).all(), "scores increase along a row"
    if case.recall == 1.0:
        np.testing.assert_array_equal(hits.counts, counts)
        np.testing.assert_array_equal(hits.ids, true_ids)
        np.testing.assert_allclose(hits.scores, true_scores, rtol=3e-7, atol=1e-12)
    elif counts.sum():
        found = sum(len(set(a.tolist()) & set(b.tolist()) - {-1}) for a, b in zip(hits.ids, true_ids, strict=True))
        assert found >= case.recall * counts.sum()


def check_speaks_the_protocol(case):
    for metric in case.metrics:
        index = case.make(DIM, metric)
        assert isinstance(index, Index)
        assert index.dim == DIM and index.metric == metric and len(index) == 0
        assert isinstance(index.stats(), IndexStats)


def check_refuses_bad_construction(case):
    for dim, metric in ((0, case.metrics[0]), (-1, case.metrics[0]), (2.5, case.metrics[0]), (4, "manhattan")):
        with pytest.raises(InputError):
            case.make(dim, metric)


def check_empty_index(case):
    for metric in case.metrics:
        index = case.make(DIM, metric)
        expect(case, index.search(data(3), 4), data(0), np.zeros(0, int), data(3), 4, metric)
        assert len(index.add(data(0))) == 0 and len(index) == 0
        assert index.remove([3, 4]) == 0
        assert index.search(data(0), 4).ids.shape == (0, 4)
        assert index.stats().count == 0


def check_one_row(case):
    for metric in case.metrics:
        index, X, ids = filled(case, 1, metric=metric)
        expect(case, index.search(data(2, seed=5), 3), X, ids, data(2, seed=5), 3, metric)


def check_w16_duplicates_come_in_id_order(case):
    for metric in case.metrics:
        index = case.make(DIM, metric)
        X = data(5)[np.arange(40) % 5]
        ids = np.random.default_rng(1).permutation(40)
        index.add(X, ids)
        expect(case, index.search(X[:5], 11), X, ids, X[:5], 11, metric)


def check_w30_converts_every_layout(case):
    _, X, ids = filled(case)
    whole = np.round(X * 8)
    whole[:, 0] = 9  # no zero rows
    frozen = whole.copy()
    frozen.setflags(write=False)
    wide = np.zeros((120, 2 * DIM), dtype=np.float64)
    wide[::2, 1::2] = whole
    forms = [
        whole,
        whole.astype(np.float64),
        np.asfortranarray(whole),
        frozen,
        whole.astype(">f4"),
        whole.astype(np.int16),
    ]
    forms += [wide[::2, 1::2], whole.tolist(), whole.astype(np.float16), np.ascontiguousarray(whole[::-1])[::-1]]
    wanted = None
    for form in forms:
        made = case.make(DIM, case.metrics[0])
        made.add(form)
        hits = made.search(form[:7], 5)
        expect(case, hits, whole, ids, whole[:7], 5, case.metrics[0])
        wanted = hits.ids if wanted is None else wanted
        np.testing.assert_array_equal(hits.ids, wanted)


def check_does_not_keep_or_change_the_input(case):
    index = case.make(DIM, case.metrics[0])
    X, ids = data(20), np.arange(20)
    before = X.copy()
    index.add(X, ids)
    index.search(X, 3)
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(ids, np.arange(20))
    X[:] = -7
    ids[:] = 99
    expect(case, index.search(before[:4], 3), before, np.arange(20), before[:4], 3, case.metrics[0])


def check_w56_refuses_nan(case):
    index, X, ids = filled(case)
    for value in (np.nan, np.inf, -np.inf, 1e300):
        bad = data(3).astype(np.float64)
        bad[1, 2] = value
        with pytest.raises(NonFiniteError):
            index.add(bad)
        with pytest.raises(NonFiniteError):
            index.search(bad)
    assert len(index) == len(ids)
    expect(case, index.search(X[:3], 4), X, ids, X[:3], 4, index.metric)


def check_refuses_wrong_dimension_and_dtype(case):
    index, _, ids = filled(case)
    for wrong in (data(2, DIM + 1), data(2, DIM - 1), data(4)[None], np.float32(3)):
        with pytest.raises(DimensionError):
            index.add(wrong)
        with pytest.raises(DimensionError):
            index.search(wrong)
    for wrong in (np.full((2, DIM), "a"), np.full((2, DIM), 1j), [[1.0], [1.0, 2.0]], np.full((2, DIM), None)):
        with pytest.raises(DtypeError):
            index.add(wrong)
        with pytest.raises(DtypeError):
            index.search(wrong)
    assert len(index) == len(ids)


def check_refuses_bad_ids(case):
    index, _, _ = filled(case)
    for wrong in ([60, 60], [-1, 61], [59, 60], [1.5, 2.5], [60], [60, 61, 62], [True, False], ["a", "b"]):
        with pytest.raises(InputError):
            index.add(data(2), wrong)
    with pytest.raises(InputError):
        index.remove([-1])
    assert len(index) == 60
    np.testing.assert_array_equal(index.add(data(2, seed=3)), [60, 61])


def check_automatic_ids_continue(case):
    index = case.make(DIM, case.metrics[0])
    np.testing.assert_array_equal(index.add(data(3)), [0, 1, 2])
    np.testing.assert_array_equal(index.add(data(2), [70, 9]), [70, 9])
    np.testing.assert_array_equal(index.add(data(2)), [71, 72])
    index.add(data(1), [30])
    np.testing.assert_array_equal(index.add(data(1)), [73])


def check_w01_never_raises_for_lack_of_hits(case):
    k = 5
    for metric in case.metrics:
        index, X, ids = filled(case, 80, metric=metric)
        for count in (0, 1, k - 1, k, k + 1, 79, 80):
            chosen = np.random.default_rng(count).permutation(80)[:count]
            mask = np.isin(np.arange(80), chosen)
            for allowed in (mask, bitmaps.from_mask(mask), chosen, chosen.astype(np.int32), list(map(int, chosen))):
                hits = index.search(X[:4], k, allowed=allowed)
                expect(case, hits, X[mask], ids[mask], X[:4], k, metric)


def check_w08_allowed_of_any_length(case):
    index, X, ids = filled(case, 80)
    none = bitmaps.from_rows(np.array([5000]))
    assert index.search(X[:1], 3, allowed=none).counts.tolist() == [0]
    assert index.search(X[:1], 3, allowed=np.array([-1, 5000])).counts.tolist() == [0]
    assert index.search(X[:1], 3, allowed=np.zeros(0, dtype=bool)).counts.tolist() == [0]
    for allowed in (np.ones(70, dtype=bool), bitmaps.from_rows(np.arange(70)), np.repeat(np.arange(70), 2)):
        expect(case, index.search(X[:2], 90, allowed=allowed), X[:70], ids[:70], X[:2], 90, index.metric)
    everything = np.ones(500, dtype=bool)
    expect(case, index.search(X[:2], 9, allowed=everything), X, ids, X[:2], 9, index.metric)
    with pytest.raises(InputError):
        index.search(X[:1], 3, allowed=np.array([0.5]))
    with pytest.raises(InputError):
        index.search(X[:1], 3, allowed=np.ones((2, 40), dtype=bool))


def check_k(case):
    index, X, ids = filled(case)
    for wrong in (0, -1, 2.5, True, None, "3"):
        with pytest.raises(InputError):
            index.search(X[:1], wrong)
    for k in (1, 59, 60, 61, 400):
        expect(case, index.search(X[:2], k), X, ids, X[:2], k, index.metric)
    expect(case, index.search(X[0], np.int64(4)), X, ids, X[0], 4, index.metric)


def check_settings(case):
    index, X, _ = filled(case)
    for name, wrong in (("recall", 1.5), ("recall", "high"), ("threads", 0), ("effort", 0), ("threads", 1.5)):
        with pytest.raises(InputError):
            index.search(X[:1], 3, **{name: wrong})
    with pytest.raises(InputError):
        index.search(X[:1], 3, effort=8, recall=0.9)
    one, two = index.search(X, 3, threads=1), index.search(X, 3, threads=2)
    np.testing.assert_array_equal(one.ids, two.ids)
    np.testing.assert_array_equal(one.scores, two.scores)
    assert index.search(X[:1], 3, recall=0.9).counts.tolist() == [3]


def check_w73_every_dimension(case):
    for dim in range(1, 131):
        metric = case.metrics[dim % len(case.metrics)]
        index, X, ids = filled(case, 20, dim, metric, seed=dim)
        Q = data(2, dim, seed=1000 + dim)
        expect(case, index.search(Q, 4), X, ids, Q, 4, metric)


def check_w12_remove(case):
    for metric in case.metrics:
        index, X, ids = filled(case, metric=metric)
        assert index.remove([3, 4, 1000, 5]) == 3
        assert index.remove(np.array([3, 4])) == 0 and len(index) == 57
        left = ~np.isin(ids, [3, 4, 5])
        expect(case, index.search(X[:6], 9), X[left], ids[left], X[:6], 9, metric)
        index.add(-X[3:4], [3])
        mixed, names = np.concatenate([X[left], -X[3:4]]), np.concatenate([ids[left], [3]])
        expect(case, index.search(X[:6], 9), mixed, names, X[:6], 9, metric)
        assert index.remove(names) == len(names) and len(index) == 0
        assert index.search(X[:1], 3).counts.tolist() == [0]


def check_refuses_zero_vectors_under_cosine(case):
    if "cosine" in case.metrics:
        index, _, ids = filled(case, metric="cosine")
        bad = data(3)
        bad[1] = 0
        with pytest.raises(InputError):
            index.add(bad)
        with pytest.raises(InputError):
            index.search(bad)
        assert len(index) == len(ids)


def check_w02_random_histories_agree_with_the_oracle(case):
    for metric in case.metrics:
        for seed in range(4):
            rng = np.random.default_rng(seed)
            index = case.make(DIM, metric)
            truth: dict[int, np.ndarray] = {}
            for step in range(25):
                fresh = np.setdiff1d(rng.integers(0, 400, 30), list(truth))
                X = np.round(data(len(fresh), seed=100 * seed + step) * 3)
                X[:, 0] += 20
                order = rng.permutation(len(fresh))
                index.add(X[order], fresh[order])
                truth.update(zip(fresh.tolist(), X, strict=True))
                gone = np.unique(rng.integers(0, 400, rng.integers(0, 60)))
                assert index.remove(gone) == len(set(gone.tolist()) & set(truth))
                truth = {name: row for name, row in truth.items() if name not in set(gone.tolist())}
                assert len(index) == len(truth)
                allowed = None if step % 3 == 0 else rng.random(400) < rng.choice([0.01, 0.1, 0.4, 0.95])
                names = np.array(sorted(n for n in truth if allowed is None or allowed[n]), dtype=np.int64)
                rows = np.array([truth[int(n)] for n in names]).reshape(-1, DIM)
                given = bitmaps.from_mask(allowed) if allowed is not None and step % 2 else allowed
                Q = data(3, seed=step) + 1
                expect(case, index.search(Q, 7, allowed=given), rows, names, Q, 7, metric)


def check_w18_deterministic(case):
    first, X, _ = filled(case, 150)
    second, _, _ = filled(case, 150)
    a, b, c = first.search(X, 8), second.search(X, 8), first.search(X, 8)
    for other in (b, c):
        np.testing.assert_array_equal(a.ids, other.ids)
        np.testing.assert_array_equal(a.scores, other.scores)
    with tempfile.TemporaryDirectory() as folder:
        first.save(Path(folder, "a"))
        second.save(Path(folder, "b"))
        assert _contents(Path(folder, "a")) == _contents(Path(folder, "b"))


def check_batch_size_does_not_matter(case):
    index, X, _ = filled(case, 90)
    whole = index.search(X, 6)
    for i in (0, 17, 89):
        np.testing.assert_array_equal(index.search(X[i], 6).ids[0], whole.ids[i])
        np.testing.assert_array_equal(index.search(X[i], 6).scores[0], whole.scores[i])


def check_w28_save_and_load(case):
    for metric in case.metrics:
        for name in ("full", "empty", "one", "all deleted", "some deleted"):
            index, X, ids = filled(case, {"empty": 0, "one": 1}.get(name, 40), metric=metric)
            if "deleted" in name:
                gone = ids if name == "all deleted" else ids[::3]
                index.remove(gone)
                X, ids = X[~np.isin(ids, gone)], ids[~np.isin(ids, gone)]
            with tempfile.TemporaryDirectory() as folder:
                index.save(Path(folder) / "here")
                shutil.move(Path(folder) / "here", Path(folder) / "there")
                for mmap in (True, False):
                    back = type(index).load(Path(folder) / "there", mmap=mmap)
                    assert (back.dim, back.metric, len(back)) == (DIM, metric, len(ids))
                    Q = data(3, seed=9)
                    expect(case, back.search(Q, 5), X, ids, Q, 5, metric)
                    more = back.add(data(2, seed=8))
                    assert more.min() > ids.max(initial=-1)
                    grown, names = np.concatenate([X, data(2, seed=8)]), np.concatenate([ids, more])
                    expect(case, back.search(Q, 5), grown, names, Q, 5, metric)
                    assert back.remove(names) == len(names)


def check_read_only_memory_map(case):
    index, X, ids = filled(case)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "saved"
        index.save(str(folder))
        before = _contents(folder)
        for file in folder.rglob("*"):
            file.chmod(0o444 if file.is_file() else 0o555)
        folder.chmod(0o555)
        back = type(index).load(folder, mmap=True)
        expect(case, back.search(X[:3], 4), X, ids, X[:3], 4, index.metric)
        back.remove(ids[:30])
        back.add(data(200, seed=4))
        back.search(X[:3], 4)
        assert _contents(folder) == before
        folder.chmod(0o755)


def check_saving_over_a_saved_index(case):
    index, X, ids = filled(case)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "saved"
        index.save(folder)
        files = len(list(folder.rglob("*")))
        back = type(index).load(folder)
        back.remove(ids[:10])
        back.save(folder)
        expect(case, back.search(X[:3], 4), X[10:], ids[10:], X[:3], 4, index.metric)
        again = type(index).load(folder)
        expect(case, again.search(X[:3], 4), X[10:], ids[10:], X[:3], 4, index.metric)
        assert len(list(folder.rglob("*"))) == files, "files of the old index were left behind"
        (Path(name) / "file").write_text("x")
        with pytest.raises(OrthantError):
            index.save(Path(name) / "file")


def check_w50_w48_no_pickle_no_absolute_path(case):
    index, _, _ = filled(case)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "saved"
        index.save(folder)
        for file, content in _raw(folder).items():
            assert not content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")), f"{file} is a pickle"
            assert str(folder).encode() not in content, f"{file} holds an absolute path"
            if file.endswith((".npy", ".npz")):
                np.load(folder / file, allow_pickle=False)


def check_w26_damage_is_named(case):
    index, X, ids = filled(case, 300)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "saved"
        index.save(folder)
        rng = np.random.default_rng(0)
        for file, content in _raw(folder).items():
            places = rng.integers(0, len(content), 40)
            versions = [content[:i] for i in places[:10]] + [content + b"x", None]
            for place in places:
                flipped = bytearray(content)
                flipped[place] ^= 1 << int(rng.integers(0, 8))
                versions.append(bytes(flipped))
            for version in versions:
                (folder / file).unlink(missing_ok=True)
                if version is not None:
                    (folder / file).write_bytes(version)
                with pytest.raises(
                    (StoreCorruptedError, NotFoundError), match=str(Path(file).name) if version else None
                ):
                    type(index).load(folder).search(X[:1])
            (folder / file).write_bytes(content)
        expect(case, type(index).load(folder).search(X[:2], 3), X, ids, X[:2], 3, index.metric)
        with pytest.raises(NotFoundError):
            type(index).load(Path(name) / "nothing")


def check_eight_threads_search_alike(case):
    index, X, _ = filled(case, 300)
    allowed = np.arange(300) % 3 == 0
    wanted, wanted_few = index.search(X[:20], 5), index.search(X[:20], 5, allowed=allowed)
    start = threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(60)
        for i in range(12):
            rows = (np.arange(20) + number + i) % 20
            np.testing.assert_array_equal(index.search(X[rows], 5).ids, wanted.ids[rows])
            np.testing.assert_array_equal(index.search(X[rows], 5, allowed=allowed).ids, wanted_few.ids[rows])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def check_w53_any_mix_of_calls(case):
    """Batches of 16 equal vectors come and go whole: a search that sees a part of one saw no consistent state."""
    index = case.make(DIM, case.metrics[0])
    base = data(40)
    index.add(base, np.arange(40))
    probe = np.full(DIM, 3, dtype=np.float32)
    start, failures = threading.Barrier(8), []

    def write(number: int) -> None:
        start.wait(60)
        ids = 1000 * (number + 1) + np.arange(16)
        for _ in range(12):
            index.add(np.tile(probe, (16, 1)), ids)
            if index.remove(ids) != 16:
                failures.append("remove did not find its own ids")

    def read(number: int) -> None:
        start.wait(60)
        for _ in range(25):
            hits = index.search(probe, 90)
            names = hits.ids[0][: hits.counts[0]]
            sizes = np.unique(names[names >= 1000] // 1000, return_counts=True)[1]
            if (sizes != 16).any() or not set(range(40)) <= set(names.tolist()):
                failures.append(f"a search saw part of a batch: {sizes}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: (write if i < 3 else read)(i), range(8)))
    assert not failures, failures[0]
    expect(case, index.search(base[:3], 5), base, np.arange(40), base[:3], 5, index.metric)


def check_w10_add_and_remove_rounds_do_not_grow(case):
    index, _, ids = filled(case, 400)
    fresh = index.stats().memory_bytes
    for round_number in range(50):
        index.remove(ids)
        ids = index.add(data(400, seed=round_number))
    assert len(index) == 400
    assert index.stats().memory_bytes <= 8 * fresh + (1 << 20), "removed vectors are never given back"


def check_stats(case):
    index, X, ids = filled(case)
    before = index.stats()
    assert before.kind == type(index).__name__ and before.count == 60 and before.dim == DIM
    assert before.metric == index.metric and before.memory_bytes >= X.nbytes // 16 and before.bytes_per_vector > 0
    index.remove(ids[:20])
    assert index.stats().count == 40


def check_w56_messages_have_three_parts(case):
    index, X, _ = filled(case)
    calls = [
        lambda: index.add(data(2, DIM + 1)),
        lambda: index.add(data(1), [0]),
        lambda: index.search(X[:1], 0),
        lambda: index.search(np.full(DIM, np.nan)),
        lambda: index.search(X[:1], 1, allowed=np.array([0.5])),
        lambda: type(index).load("no such folder"),
    ]
    for call in calls:
        with pytest.raises(OrthantError, match=r"(?s)^Got .*; expected .*\. [A-Z].*\.$"):
            call()


def _raw(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def _contents(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in _raw(folder).items()}


CHECKS = {name: check for name, check in globals().items() if name.startswith("check_")}
