"""Every prefix of a recorded history, and every permitted loss, opens with all acknowledged records (W27)."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from collection.fakes import FakeEncoder, text_of
from faults import child
from faults.recording import LOG, Operation, Recorder, after_power_cut, recorded, torn_logs, unsynced, write_state
from faults.verify import check_equal, check_searches, contents
from orthant.collection.collection import Collection


def _abandon(collection: Collection) -> None:
    """Let go of a collection as a killed process would: nothing saved, nothing folded."""
    store = collection._store
    store.database._pool_stamp = None
    shutil.copytree(store.path, store.path.with_name("left"))
    store.database.close()
    store._writer_lock.release()
    store._closed = True
    shutil.rmtree(store.path)
    store.path.with_name("left").rename(store.path)


def _history(root: Path, *, seed: int, length: int) -> list[Operation]:
    recorder = Recorder(root)
    operations = itertools.islice(child.operations(seed), length)
    model: dict = {}
    recorder.mark("begin", {})
    while part := list(itertools.islice(operations, 4)):
        collection = Collection(root, encoder=FakeEncoder(), files=recorder)
        with recorded(collection, recorder):
            recorder.mark("ack", model)
            for operation in part:
                recorder.mark("begin", child.after(model, operation))
                child.apply(collection, operation)
                model = child.after(model, operation)
                recorder.mark("ack", model)
        if len(recorder.log) % 2:
            collection.close()
        else:
            _abandon(collection)
        recorder.note()
    return recorder.log


def _states(log: list[Operation], stop: int):
    """Yield the states that a power cut after ``stop`` operations may leave."""
    done = log[:stop]
    pending = unsynced(done)
    losses = [frozenset(), frozenset(pending), *(frozenset([i]) for i in pending)]
    # All but one lost: what a disk does that writes in its own order.
    losses += [frozenset(pending) - {i} for i in pending]
    for lost in dict.fromkeys(losses):
        yield after_power_cut(done, lost)
    writes = [i for i in pending if done[i].kind == "write"]
    if writes:
        yield after_power_cut(done, frozenset(), torn=writes[-1])
    if stop < len(log) and log[stop].kind == "sqlite":
        files = after_power_cut(done, frozenset())
        now = log[stop].value
        if LOG in now and now["store.sqlite"] == files["store.sqlite"]:
            for torn in torn_logs(files.get(LOG, b""), now[LOG]):
                yield {**files, LOG: torn}


def _verify(folder: Path, allowed: list[dict], *, write: bool) -> dict:
    with Collection(folder, encoder=FakeEncoder()) as collection:
        found = contents(collection)
        assert found in allowed
        with collection._store.writer():
            pass
        check_equal(collection, found)
        if write:
            collection.upsert(["extra"], texts=["amber extra"], metadata=[{"stamp": 1}])
            check_equal(collection, {**found, "extra": ["amber extra", {"stamp": 1}]})
            collection.delete(["extra"])
    return found


def _replay(scratch: Path, *, seed: int, length: int) -> tuple[int, list[Operation]]:
    log = _history(scratch / "c", seed=seed, length=length)
    seen: dict[int, dict] = {}
    model: dict = {}
    following: dict | None = None
    for stop in range(len(log) + 1):
        if stop and log[stop - 1].kind == "begin":
            following = log[stop - 1].value
        elif stop and log[stop - 1].kind == "ack":
            model, following = log[stop - 1].value, None
        allowed = [model] if following is None else [model, following]
        for files in _states(log, stop):
            key = hash(tuple(sorted(files.items())))
            try:
                if key not in seen:
                    folder = write_state(scratch / "state", files)
                    seen[key] = _verify(folder, allowed, write=len(seen) % 5 == 0)
                # The same files may be left before and after an acknowledgement: what they hold must be right for both.
                assert seen[key] in allowed
            except BaseException as error:
                error.add_note(f"after {stop} of {len(log)}: {[(o.kind, o.path) for o in log[max(0, stop - 6) :][:8]]}")
                error.add_note(f"files: { {name: len(data) for name, data in files.items()} }")
                raise
    return len(seen), log


def test_w27_every_prefix_and_every_permitted_loss(scratch, frequent_upkeep):
    states, log = _replay(scratch, seed=18, length=5)
    kinds = {operation.kind for operation in log}
    assert {"create", "write", "sync", "sync_folder", "replace", "remove", "sqlite", "begin", "ack"} <= kinds
    # The history must have met saves of derived files, merges of graphs and compactions, or it proves little.
    assert sum(o.kind == "replace" and o.path.startswith("derived/graph.") for o in log) > 1
    assert sum(o.kind == "replace" and o.path.startswith("derived/") for o in log) > 1
    assert sum(o.kind == "remove" and o.path.startswith("vectors/") for o in log) > 0
    assert states > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(4))
def test_w27_long_histories(scratch, frequent_upkeep, seed):
    states, _ = _replay(scratch, seed=100 + seed, length=16)
    assert states > 500


def test_derived_files_missing_or_torn_in_any_subset_are_rebuilt(scratch, frequent_upkeep):
    with Collection(scratch / "c", encoder=FakeEncoder()) as collection:
        for i in range(4):
            rows = {f"r{i}{j}": [text_of(np.random.default_rng(10 * i + j)), {"stamp": i}] for j in range(9)}
            child.apply(collection, {"upsert": rows})
        collection.delete(["r11", "r12"])
        model = contents(collection)
    (saved,) = (entry for entry in (scratch / "c" / "derived").iterdir() if entry.name.isdigit())
    files = sorted(path.name for path in saved.iterdir())
    assert files == ["columns", "lexical", "live", "manifest.json"]
    for _, folder in _damaged_every_way(scratch, saved, files):
        _verify(folder, [model], write=False)


def test_graph_files_missing_or_torn_in_any_subset_are_rebuilt(scratch, frequent_upkeep):
    with Collection(scratch / "c", encoder=FakeEncoder()) as collection:
        for i in range(3):
            rows = {f"r{i}{j}": [text_of(np.random.default_rng(10 * i + j)), {"stamp": i}] for j in range(9)}
            child.apply(collection, {"upsert": rows})
        collection.delete(["r11", "r12"])
        collection.finish()
        model = contents(collection)
    (saved,) = (scratch / "c" / "derived").glob("graph.*")
    files = sorted(path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file())
    assert files == ["links/header.json", "links/ids.npy", "manifest.json"]
    for damage, folder in _damaged_every_way(scratch, saved, files):
        with Collection(folder, encoder=FakeEncoder(), read_only=True) as collection:
            assert contents(collection) == model
            check_searches(collection, model)
            scanned = collection.search("amber", mode="dense").plan.legs[0].method == "scan"
            assert scanned == any(damage) and collection.check().ok != any(damage)
        with Collection(folder, encoder=FakeEncoder()) as collection:
            assert collection.check(repair=True).ok and collection.check().problems == []
            check_equal(collection, model)
            assert collection.search("amber", mode="dense").plan.legs[0].method.startswith("graph")


def _damaged_every_way(scratch: Path, saved: Path, files: list[str]):
    for damage in itertools.product((None, "missing", "torn"), repeat=len(files)):
        folder = scratch / "state"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(scratch / "c", folder)
        for name, kind in zip(files, damage, strict=True):
            path = folder / "derived" / saved.name / name
            if kind == "missing":
                path.unlink()
            elif kind is not None:
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if kind == "torn" else 0])
        yield damage, folder
