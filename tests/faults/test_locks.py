"""One writer, any number of readers, across objects, processes, users and moves."""

from __future__ import annotations

import errno
import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import orthant
from collection.fakes import FakeEncoder
from faults import child
from orthant.collection.collection import Collection
from orthant.collection.storage import maintenance, segments
from orthant.collection.storage.segments import SegmentFolder
from orthant.errors import StoreCorruptedError, StoreError, StoreLockedError, StoreReadOnlyError

_PATH = os.pathsep.join([str(Path(orthant.__file__).parents[1]), str(Path(child.__file__).parents[1])])
posix = pytest.mark.skipif(os.name == "nt", reason="signals and users of POSIX")


def _python(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": _PATH},
    )


@pytest.fixture
def path(tmp_path):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert(["a", "b"], texts=["amber delta", "kelp fjord"], metadata=[{"n": 1}, {"n": 2}])
    return tmp_path / "c"


_HOLD = """
import sys
from collection.fakes import FakeEncoder
from orthant.collection.collection import Collection
c = Collection(sys.argv[1], encoder=FakeEncoder())
c.upsert(["held"], texts=["grove"])
print("ready", flush=True)
for line in sys.stdin:
    c.upsert([line.strip()], texts=["harbor " + line.strip()])
    print("done", flush=True)
c.close()
"""


@posix
def test_w32_second_writer_is_refused_by_pid_and_the_lock_dies_with_its_process(path):
    with _python(_HOLD, str(path)) as holder:
        assert holder.stdout.readline() == "ready\n"
        with Collection(path, encoder=FakeEncoder()) as collection:
            for write in (lambda: collection.upsert(["x"], texts=["x"]), lambda: collection.delete(["a"])):
                with pytest.raises(StoreLockedError, match=rf"process {holder.pid} .*read_only=True"):
                    write()
            assert sorted(collection.ids()) == ["a", "b", "held"]
            holder.kill()
            holder.wait()
            collection.upsert(["x"], texts=["amber"])
            assert sorted(collection.ids()) == ["a", "b", "held", "x"]


def test_w32_second_object_of_one_process_is_refused(path):
    with Collection(path, encoder=FakeEncoder()) as one, Collection(path, encoder=FakeEncoder()) as two:
        one.upsert(["x"], texts=["amber"])
        with pytest.raises(StoreLockedError, match=str(os.getpid())):
            two.upsert(["y"], texts=["amber"])
        assert "x" in two
        one.close()
        two.upsert(["y"], texts=["amber"])
        assert sorted(two.ids()) == ["a", "b", "x", "y"]


def test_w32_readers_see_commits_of_another_process_without_reopening(path):
    with _python(_HOLD, str(path)) as writer:
        assert writer.stdout.readline() == "ready\n"
        readers = [Collection(path, encoder=FakeEncoder(), read_only=True) for _ in range(4)]
        for i in range(5):
            writer.stdin.write(f"n{i}\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "done\n"
            for reader in readers:
                assert f"n{i}" in reader and len(reader) == 4 + i
                assert set(reader.search("harbor", mode="lexical").ids) == {f"n{j}" for j in range(i + 1)}
                assert reader.search(f"harbor n{i}", mode="dense", k=1).ids == [f"n{i}"]
        writer.stdin.close()
        writer.wait()
        for reader in readers:
            assert reader.check().ok
            reader.close()


_UNPRIVILEGED = """
import os, sys
from collection.fakes import FakeEncoder
from orthant.collection.collection import Collection
from orthant.errors import StoreReadOnlyError
# The interpreter itself may be closed to the other user: load everything that a search needs before.
import tempfile
with tempfile.TemporaryDirectory() as warm, Collection(warm + "/c", encoder=FakeEncoder()) as c:
    c.upsert(["a"], texts=["amber"])
    for mode in ("dense", "lexical", "hybrid"):
        c.search("amber", mode=mode)
    c.check()
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
for read_only in (True, False):
    with Collection(sys.argv[1], encoder=FakeEncoder(), read_only=read_only) as c:
        assert sorted(c.ids()) == ["a", "b"], list(c.ids())
        for mode in ("dense", "lexical", "hybrid"):
            assert c.search("amber delta", mode=mode, k=1).ids == ["a"]
        try:
            c.upsert(["x"], texts=["x"])
        except StoreReadOnlyError as error:
            print(error)
        else:
            raise SystemExit("written")
        assert c.check().ok
"""


@posix
def test_read_only_folder(tmp_path):
    import shutil
    import tempfile

    # pytest's own folders are closed to other users.
    open_root = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        path = open_root / "c"
        with Collection(path, encoder=FakeEncoder()) as collection:
            collection.upsert(["a", "b"], texts=["amber delta", "kelp fjord"])
        open_root.chmod(0o755)
        for entry in [path, *path.rglob("*")]:
            entry.chmod(0o555 if entry.is_dir() else 0o444)
        with _python(_UNPRIVILEGED, str(path)) as process:
            out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        lines = out.splitlines()
        assert len(lines) == 2 and "opened read-only" in lines[0] and "no permission to lock" in lines[1]
    finally:
        for entry in [open_root, *open_root.rglob("*")]:
            if entry.is_dir():
                entry.chmod(0o755)
        shutil.rmtree(open_root)


def test_w48_a_moved_folder_works(path, tmp_path, monkeypatch):
    moved = tmp_path / "else where" / "d?#%"
    moved.parent.mkdir()
    path.rename(moved)
    for read_only in (True, False):
        with Collection(moved, encoder=FakeEncoder(), read_only=read_only) as collection:
            assert collection.search("amber delta", k=1).ids == ["a"]
            assert collection.check().ok
    # A relative path keeps its meaning when the process changes its folder.
    monkeypatch.chdir(moved.parent)
    with Collection(moved.name, encoder=FakeEncoder()) as collection:
        monkeypatch.chdir(tmp_path)
        collection.upsert(["z"], texts=["orchid"])
        assert collection.search("orchid", k=1).ids == ["z"]


@posix
def test_w22_a_hundred_rounds_leave_nothing_open(path):
    import psutil

    def round_(i: int) -> None:
        with Collection(path, encoder=FakeEncoder()) as collection:
            for mode in ("dense", "lexical", "hybrid"):
                collection.search("amber", mode=mode)
            # Some rounds write, which costs disk syncs.
            if i % 5 == 0:
                collection.upsert(["a"], texts=["amber delta"])
            collection.get(["a"], vectors=True)

    for i in range(10):
        round_(i)
    gc.collect()
    process = psutil.Process()
    before = process.num_fds(), threading.active_count(), process.memory_info().rss
    for i in range(100):
        round_(i)
    gc.collect()
    after = process.num_fds(), threading.active_count(), process.memory_info().rss
    assert after[:2] == before[:2]
    assert after[2] < before[2] + (32 << 20)


def test_closed_collections_say_so_and_hold_no_lock(path):
    collection = Collection(path, encoder=FakeEncoder())
    collection.upsert(["x"], texts=["amber"])
    collection.close()
    collection.close()
    for call in (lambda: collection.get("a"), lambda: collection.search("amber"), lambda: collection.delete(["a"])):
        with pytest.raises(StoreError, match="closed collection; expected an open one"):
            call()
    with Collection(path, encoder=FakeEncoder()) as other:
        other.upsert(["y"], texts=["amber"])


def test_read_only_refuses_every_write(path):
    with Collection(path, encoder=FakeEncoder(), read_only=True) as collection:
        for call in (
            lambda: collection.upsert(["x"], texts=["x"]),
            lambda: collection.delete(["a"]),
            lambda: collection.add_space("s", dim=3),
            lambda: collection.check(repair=True),
        ):
            with pytest.raises(StoreReadOnlyError, match="opened read-only; expected a writable collection"):
                call()


def test_a_reader_keeps_its_answers_while_segments_are_compacted_away(path, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 4)
    with Collection(path, encoder=FakeEncoder()) as writer:
        writer.upsert([f"r{i}" for i in range(20)], texts=[f"ember w{i}" for i in range(20)])
        reader = Collection(path, encoder=FakeEncoder(), read_only=True)
        store = reader._store
        with store.view() as (_, old):
            writer.delete([f"r{i}" for i in range(10)])
            writer.upsert(["s"], texts=["ember late"])
        # The generation it still holds names a segment that is gone; the search must move on, not report damage.
        assert old.number < writer._store.generation.number
        assert not any(old.spaces["default"].folder.path(s.number).exists() for s in old.spaces["default"].states)
        store._generation = old
        assert "s" in reader.search("ember late", mode="dense", k=1).ids
        # Files that are missing without a later commit are damage, and said to be.
        for file in (path / "vectors").rglob("*.seg"):
            file.unlink()
        fresh = Collection(path, encoder=FakeEncoder(), read_only=True)
        with pytest.raises(StoreCorruptedError, match=r"000001\.seg"):
            fresh.search("ember late", mode="dense")
        fresh.close()
        reader.close()


@posix
def test_a_segment_is_mapped_as_it_was_checked_whatever_becomes_of_its_name(path, monkeypatch):
    check = SegmentFolder._check_header

    def vanish(self, file, header):
        check(self, file, header)
        file.unlink()

    with Collection(path, encoder=FakeEncoder(), read_only=True) as reader:
        with monkeypatch.context() as patch:
            patch.setattr(SegmentFolder, "_check_header", vanish)
            hits = reader.search("amber delta", mode="dense", k=1)
        assert hits.ids == ["a"] and not list((path / "vectors").rglob("*.seg"))
        assert reader.search("amber delta", mode="dense", k=1).ids == ["a"]


def test_a_process_without_room_for_another_file_is_told_so(path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    with Collection(path, encoder=FakeEncoder(), read_only=True) as reader:
        with monkeypatch.context() as patch:
            patch.setattr(segments, "map_rows", refuse)
            with pytest.raises(StoreError, match=r"Too many open files at map of .*ulimit") as caught:
                reader.search("amber delta", mode="dense", k=1)
            assert not isinstance(caught.value, StoreCorruptedError)
        assert reader.search("amber delta", mode="dense", k=1).ids == ["a"]


@posix
def test_w32_w53_many_readers_while_writing(path):
    stop = time.monotonic() + 2
    errors: list[BaseException] = []

    def read() -> None:
        try:
            with Collection(path, encoder=FakeEncoder(), read_only=True) as reader:
                while time.monotonic() < stop:
                    hits = reader.search("harbor", mode="hybrid", k=100)
                    assert len(set(hits.ids)) == len(hits)
                    assert reader.get("a").text == "amber delta"
        except (Exception, AssertionError) as error:  # noqa: BLE001 - shown by the main thread
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    with Collection(path, encoder=FakeEncoder()) as writer:
        i = 0
        while time.monotonic() < stop:
            writer.upsert([f"n{i % 50}"], texts=[f"harbor n{i}"])
            i += 1
    for thread in threads:
        thread.join()
    assert not errors, errors
