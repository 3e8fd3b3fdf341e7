"""Crashes while a snapshot is made, gone back to or dropped: the old state or the new one, never a mixture."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import orthant
from collection.fakes import FakeEncoder
from faults import child
from faults.recording import Recorder, after_power_cut, recorded, unsynced, write_state
from faults.verify import check_equal, contents
from orthant.collection.collection import Collection
from orthant.errors import OrthantError

OLD, NEW = "old state", "new state"
ACTIONS = {
    "snapshot": lambda collection: collection.snapshot("b"),
    "restore": lambda collection: collection.restore("a"),
    "drop": lambda collection: collection.drop_snapshot("a"),
}


@pytest.fixture
def prepared(tmp_path, frequent_upkeep):
    """A collection that has moved on since its snapshot, with what it holds and what it held."""
    path = tmp_path / "c"
    with Collection(path, encoder=FakeEncoder()) as collection:
        for i in range(3):
            child.apply(collection, {"upsert": {f"r{i}{j}": [f"amber r{j} v{i}", {"stamp": i}] for j in range(7)}})
        collection.finish()
        before = contents(collection)
        collection.snapshot("a")
        collection.delete([f"r0{j}" for j in range(6)])
        child.apply(collection, {"upsert": {f"r1{j}": ["lagoon again", {"stamp": 9}] for j in range(5)}})
        after = contents(collection)
    return path, before, after


def _verify(path, before, after, *, action, done=None, go_back=True):
    """Check a folder after a crash: which state it shows, and that its snapshots and its writer are sound."""
    with Collection(path, encoder=FakeEncoder(), read_only=True) as collection:
        found = contents(collection)
    with Collection(path, encoder=FakeEncoder()) as collection:
        with collection._store.writer():
            pass
        assert found in ([after, before] if action == "restore" else [after])
        if done and action == "restore":
            assert found == before
        check_equal(collection, found)
        names = [info.name for info in collection.snapshots()]
        assert all(info.problem is None for info in collection.snapshots())
        assert ("a" in names) or (action == "drop" and done is not False)
        assert "b" not in names or action == "snapshot"
        assert not done or names == {"snapshot": ["a", "b"], "restore": ["a"], "drop": []}[action]
        child.apply(collection, {"upsert": {"extra": ["amber extra", {"stamp": 1}]}})
        check_equal(collection, found | {"extra": ["amber extra", {"stamp": 1}]})
        for name in names if go_back else ():
            with orthant.open(path, snapshot=name, encoder=FakeEncoder()) as kept:
                check_equal(kept, before if name == "a" else after)
            collection.restore(name)
            check_equal(collection, before if name == "a" else after)
    left = [entry.name for entry in (path / "snapshots").iterdir()]
    assert sorted(left) == sorted(names)


class _Died(BaseException):
    """The process is gone: nothing may catch this."""


class _Stopping(child.DyingLayer):
    """Raises where its parent kills; counts what is left otherwise."""

    def __getattribute__(self, name):
        value = object.__getattribute__(self, name)
        if name in ("write_at", "sync", "replace", "create", "sync_folder", "remove", "truncate", "link"):
            self.left -= 1
            if self.left <= 0:
                raise _Died
        return value


def _abandon(collection):
    """Let go of a collection as a killed process would."""
    store = collection._store
    store.database.close()
    store._writer_lock.release()
    store._closed = True


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_w27_stopped_at_every_call(prepared, tmp_path, monkeypatch, action, step):
    path, before, after = prepared
    plain, calls = shutil.rmtree, 1 - step
    while True:
        calls += step
        folder = tmp_path / "try"
        plain(folder, ignore_errors=True)
        subprocess.run(["cp", "-al", str(path), str(folder)], check=True)
        # SQLite's files change in place: these must not be shared with the next round.
        for file in ("store.sqlite", "head"):
            (folder / file).unlink()
            shutil.copy(path / file, folder / file)
        # Segments that the next rounds share must not grow either.
        for file in (folder / "vectors").rglob("*.seg"):
            data = file.read_bytes()
            file.unlink()
            file.write_bytes(data)
        files = _Stopping(1 << 30)
        collection = Collection(folder, encoder=FakeEncoder(), files=files)
        with collection._store.writer():
            files.left = calls
        died = False
        with monkeypatch.context() as patched:
            # A dead process does not tidy up.
            patched.setattr(shutil, "rmtree", lambda *a, files=files, **k: None if files.left <= 0 else plain(*a, **k))
            try:
                ACTIONS[action](collection)
            except _Died:
                died = True
        files.left = 1 << 30
        _abandon(collection)
        _verify(folder, before, after, action=action, done=None if died else True, go_back=not died)
        if not died:
            break
    assert calls > {"snapshot": 8, "restore": 8, "drop": 1}[action]


_CHILD = """
import sys
from faults import child
from collection.fakes import FakeEncoder
from orthant.collection.collection import Collection
child.frequent_upkeep()
path, action, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
from faults.test_snapshots import ACTIONS
layer = child.DyingLayer(1 << 30)
with Collection(path, encoder=FakeEncoder(), files=layer) as collection:
    with collection._store.writer():
        layer.left = calls
    ACTIONS[action](collection)
    layer.left = 1 << 30
"""


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
@pytest.mark.parametrize(("action", "calls"), [("restore", 4), ("restore", 9), ("snapshot", 5)])
def test_w27_killed(prepared, action, calls):
    path, before, after = prepared
    roots = os.pathsep.join([str(Path(orthant.__file__).parents[1]), str(Path(child.__file__).parents[1])])
    ended = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path), action, str(calls)], env={**os.environ, "PYTHONPATH": roots}
    )
    assert ended.returncode == -signal.SIGKILL
    _verify(path, before, after, action=action)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_w27_every_permitted_loss_of_a_power_cut(scratch, frequent_upkeep, step):
    root, recorder = scratch / "c", Recorder(scratch / "c")
    collection = Collection(root, encoder=FakeEncoder(), files=recorder)
    with recorded(collection, recorder):
        child.apply(collection, {"upsert": {f"r{j}": [f"amber r{j}", {"stamp": 0}] for j in range(9)}})
        before = contents(collection)
        collection.snapshot("a")
        child.apply(collection, {"upsert": {f"r{j}": ["lagoon again", {"stamp": 1}] for j in range(4)}})
        after = contents(collection)
        recorder.mark("begin")
        collection.restore("a")
        recorder.mark("ack")
    collection.close()
    log = recorder.log
    begin, end = (next(i for i, o in enumerate(log) if o.kind == kind) for kind in ("begin", "ack"))
    seen = set()
    # The quick run looks at every seventh moment, and always at the last one.
    for stop in sorted({*range(begin, end + 1, step), end}):
        pending = unsynced(log[:stop])
        for lost in dict.fromkeys([frozenset(), frozenset(pending), *(frozenset([i]) for i in pending)]):
            files = after_power_cut(log[:stop], lost)
            key = hash(tuple(sorted(files.items())))
            if key in seen:
                continue
            seen.add(key)
            folder = write_state(scratch / "state", files)
            with Collection(folder, encoder=FakeEncoder()) as found:
                state = contents(found)
                assert state in ([before] if stop == end else [after, before])
                with found._store.writer():
                    pass
                check_equal(found, state)
            with orthant.open(folder, snapshot="a", encoder=FakeEncoder()) as kept:
                check_equal(kept, before)
    assert len(seen) > 10


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_full_disk_changes_nothing(prepared, action):
    path, before, after = prepared

    class Full(_Stopping):
        def __getattribute__(self, name):
            try:
                return super().__getattribute__(name)
            except _Died as error:
                raise OSError(28, "No space left on device") from error

    for calls in (1, 3, 6, 9):
        files = Full(1 << 30)
        with Collection(path, encoder=FakeEncoder(), files=files) as collection:
            with collection._store.writer():
                files.left = calls
            try:
                ACTIONS[action](collection)
            except OrthantError as error:
                assert "full disk" in str(error)
                files.left = 1 << 30
                check_equal(collection, after)
            else:
                files.left = 1 << 30
                # Upkeep after the commit may fail; the restored state stands.
                check_equal(collection, before if action == "restore" else after)
                break
