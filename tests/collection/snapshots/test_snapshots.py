"""Snapshots: what they hold and cost, what a writer may do beside them, and the way back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder
from faults.verify import check_equal, contents
from orthant.collection.collection import Collection
from orthant.collection.storage import maintenance
from orthant.collection.storage.creating import DATABASE_NAME, MANIFEST_NAME
from orthant.errors import (
    EncoderMismatchError,
    InputError,
    NotFoundError,
    StoreCorruptedError,
    StoreLockedError,
    StoreReadOnlyError,
)

MANIFEST_BYTES = 1024


def fill(collection, ids, word="amber", stamp=0):
    collection.upsert(ids, texts=[f"{word} {key}" for key in ids], metadata=[{"stamp": stamp} for _ in ids])


def open_fake(path, **settings):
    return Collection(path, encoder=FakeEncoder(), **settings)


@pytest.fixture
def path(tmp_path):
    with open_fake(tmp_path / "c") as collection:
        fill(collection, [f"r{i}" for i in range(30)])
    return tmp_path / "c"


def files_of(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


# ---- making ----------------------------------------------------------------------------------------------------------


def test_a_snapshot_keeps_what_was_there(path):
    with open_fake(path) as collection:
        before = contents(collection)
        info = collection.snapshot("monday")
        assert (info.name, info.records, info.spaces) == ("monday", 30, {"default": 30})
        fill(collection, ["r1", "new"], "basin", 1)
        collection.delete(["r2"])
        assert [found.name for found in collection.snapshots()] == ["monday"]
        with orthant.open(path, snapshot="monday", encoder=FakeEncoder()) as kept:
            check_equal(kept, before)
        assert contents(collection) != before and collection.check().ok


def test_vectors_and_derived_files_cost_nothing(path):
    """All but the records and the manifest is a second name of a file that was there."""
    with open_fake(path) as collection:
        info = collection.snapshot("a")
        folder = path / "snapshots" / "a"
        alone = {file.name for file in files_of(folder) if file.stat().st_nlink == 1}
        assert alone == {DATABASE_NAME, MANIFEST_NAME}
        assert {file.suffix for file in files_of(folder / "vectors")} == {".seg"} and any(
            (folder / "derived").iterdir()
        )
        assert info.own_bytes <= (folder / DATABASE_NAME).stat().st_size + MANIFEST_BYTES
        # Of an unchanged collection the records are shared as well.
        again = collection.snapshot("b")
        assert again.own_bytes <= MANIFEST_BYTES < again.bytes
        fill(collection, ["x"])
        assert collection.snapshot("c").own_bytes > MANIFEST_BYTES


def test_a_damaged_copy_of_the_records_is_not_shared(path):
    with open_fake(path) as collection:
        collection.snapshot("a")
        file = path / "snapshots" / "a" / DATABASE_NAME
        data = bytearray(file.read_bytes())
        data[-100] ^= 1
        file.write_bytes(data)
        assert collection.snapshot("b").own_bytes > MANIFEST_BYTES
        assert collection.restore("b").records == 30


def test_without_second_names_files_are_copied(path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with open_fake(path) as collection:
        before = contents(collection)
        info = collection.snapshot("a")
        assert info.own_bytes == info.bytes
        fill(collection, [f"n{i}" for i in range(9)])
        assert collection.restore("a").removed == 9
        check_equal(collection, before)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "-x", "x.new", "x.old", "x" * 65, "a b", "a."])
def test_names_that_are_no_folder_names(path, name):
    with open_fake(path) as collection:
        for call in (collection.snapshot, collection.restore, collection.drop_snapshot):
            with pytest.raises(InputError, match="snapshot name"):
                call(name)
    with pytest.raises(InputError, match="snapshot name"):
        orthant.open(path, snapshot=name)


def test_taken_and_absent_names(path):
    with open_fake(path) as collection:
        collection.snapshot("a")
        with pytest.raises(InputError, match="exists"):
            collection.snapshot("a")
        for call in (collection.restore, collection.drop_snapshot):
            with pytest.raises(NotFoundError, match="snapshot 'b'"):
                call("b")
    with pytest.raises(NotFoundError, match="one of: 'a'"):
        orthant.open(path, snapshot="b")


def test_only_the_writer_makes_drops_and_restores(path):
    with open_fake(path) as writer:
        writer.snapshot("a")
        with open_fake(path) as other, open_fake(path, read_only=True) as reader:
            for call in ("snapshot", "restore", "drop_snapshot"):
                with pytest.raises(StoreLockedError):
                    getattr(other, call)("a")
                with pytest.raises(StoreReadOnlyError):
                    getattr(reader, call)("a")
            assert len(reader.snapshots()) == 1


def test_a_snapshot_cannot_be_written(path):
    with open_fake(path) as collection:
        collection.snapshot("a")
    for opened in (orthant.open(path, snapshot="a"), orthant.open(path / "snapshots" / "a")):
        with opened, pytest.raises(StoreReadOnlyError, match="not a snapshot"):
            opened.upsert(["x"], texts=["y"])


def test_empty_collections_have_snapshots_too(tmp_path):
    with open_fake(tmp_path / "c") as collection:
        collection.snapshot("nothing")
        fill(collection, ["a"])
        collection.snapshot("one")
        collection.delete(["a"])
        assert collection.restore("nothing").records == 0 and not collection.spaces
        fill(collection, ["b"], "basin")
        assert collection.restore("one").records == 1
        check_equal(collection, {"a": ["amber a", {"stamp": 0}]})


# ---- beside a writer -------------------------------------------------------------------------------------------------


def test_a_compaction_leaves_a_snapshot_its_files(path, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 4)
    with open_fake(path) as collection:
        before = contents(collection)
        collection.snapshot("a")
        collection.delete([f"r{i}" for i in range(20)])
        assert not (path / "vectors" / "default" / "000000.seg").exists()
        with orthant.open(path, snapshot="a", encoder=FakeEncoder()) as kept:
            check_equal(kept, before)
        assert collection.restore("a").brought_back == 20
        check_equal(collection, before)
        # The snapshot may go now: the collection has names of its own for the files.
        collection.drop_snapshot("a")
        check_equal(collection, before)
    assert not any((path / "snapshots").iterdir())


_READ = """
import sys, json, orthant
with orthant.open(sys.argv[1], snapshot="a", read_only=True) as kept:
    for _ in range(20):
        print(json.dumps(sorted(kept.search("amber", mode="lexical", k=50).ids)), flush=True)
        sys.stdin.readline()
"""


def test_processes_read_a_snapshot_while_the_writer_goes_on(path):
    with open_fake(path) as collection:
        collection.snapshot("a")
        wanted = sorted(collection.ids())
        readers = [
            subprocess.Popen(
                [sys.executable, "-c", _READ, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        for i in range(20):
            for reader in readers:
                assert json.loads(reader.stdout.readline()) == wanted
            if i == 10:
                collection.restore("a")
            fill(collection, [f"r{i}", f"n{i}"], "basin", i)
            for reader in readers:
                reader.stdin.write("\n")
                reader.stdin.flush()
        for reader in readers:
            reader.communicate()
            assert reader.returncode == 0


def test_a_reader_follows_a_restore(path):
    """Rows that were gone come back, so nothing that a reader had derived may be continued."""
    with open_fake(path) as writer, open_fake(path, read_only=True) as reader:
        before = contents(writer)
        writer.snapshot("a")
        writer.delete(["r3", "r4"])
        fill(writer, ["r5", "z"], "basin", 7)
        after = contents(writer)
        check_equal(reader, after)
        writer.restore("a")
        check_equal(reader, before)
        fill(writer, ["y"], "basin", 8)
        check_equal(reader, before | {"y": ["basin y", {"stamp": 8}]})


# ---- the way back ----------------------------------------------------------------------------------------------------


def test_there_and_back_again_keeps_every_snapshot(path):
    """A segment that several states share in part must be right for all of them."""
    rng = np.random.default_rng(5)
    with open_fake(path) as collection:
        states = {}
        for i in range(8):
            if states and i % 3 == 2:
                name = sorted(states)[int(rng.integers(len(states)))]
                collection.restore(name)
                check_equal(collection, states[name])
            fill(collection, [f"r{j}" for j in rng.choice(40, 5, replace=False)], "cedar", i)
            states[f"s{i}"] = contents(collection)
            collection.snapshot(f"s{i}")
        for name, state in states.items():
            with orthant.open(path, snapshot=name, encoder=FakeEncoder()) as kept:
                check_equal(kept, state)
    with open_fake(path) as collection:
        for name, state in states.items():
            collection.restore(name)
            check_equal(collection, state)
            collection.drop_snapshot(name)
        assert collection.snapshots() == []
    with open_fake(path) as collection:
        check_equal(collection, state)


def test_a_graph_comes_back(path, frequent_upkeep):
    with open_fake(path) as collection:
        collection.finish()
        before = contents(collection)
        collection.snapshot("a")
        collection.delete([f"r{i}" for i in range(12)])
        fill(collection, [f"n{i}" for i in range(12)], "basin", 3)
        collection.finish()
        collection.restore("a")
        # A graph of the time between lacks rows that came back, and must never be searched again.
        check_equal(collection, before)
        assert collection.search("amber", mode="dense").plan.legs[0].method.startswith("graph")
        fill(collection, ["z"])
        assert "z" in collection.search("amber z", mode="dense", k=3).ids
    with open_fake(path, read_only=True) as collection:
        assert collection.check().ok and len(collection) == 31


def test_spaces_made_since_go_and_come_back(path):
    with open_fake(path) as collection:
        collection.snapshot("before")
        collection.add_space("aspect", dim=3)
        collection.upsert(["v"], vectors={"aspect": [[1.0, 0.0, 0.0]]})
        collection.snapshot("three")
        collection.restore("before")
        assert set(collection.spaces) == {"default"} and "v" not in collection
        collection.add_space("aspect", dim=2)
        collection.upsert(["w"], vectors={"aspect": [[0.0, 1.0]]})
        with open_fake(path, read_only=True) as reader:
            assert reader.search(vector=[0.0, 1.0], space="aspect").ids == ["w"]
            collection.restore("three")
            assert reader.search(vector=[1.0, 0.0, 0.0], space="aspect").ids == ["v"]
            assert reader.check().ok
        assert collection.check().ok


def test_a_snapshot_of_another_encoder_is_refused(path):
    with open_fake(path) as collection:
        collection.snapshot("mine")
        collection.delete(where=None, ids=list(collection.ids()))
    other = FakeEncoder(dim=8, seed=1)
    with Collection(path.with_name("d"), encoder=other) as collection:
        fill(collection, ["a"])
        shutil.copytree(path / "snapshots", collection.path / "snapshots")
        before = list(collection.ids())
        with pytest.raises(EncoderMismatchError):
            collection.restore("mine")
        assert list(collection.ids()) == before and collection.check().ok


@pytest.mark.parametrize("what", ["vectors", "records", "manifest", "missing"])
def test_a_damaged_snapshot_changes_nothing(path, what):
    with open_fake(path) as collection:
        collection.snapshot("a")
        fill(collection, ["x"])
        before = contents(collection)
        folder = path / "snapshots" / "a"
        segment = next((folder / "vectors").rglob("*.seg"))
        target = {"records": folder / DATABASE_NAME, "manifest": folder / MANIFEST_NAME}.get(what, segment)
        data = bytearray(target.read_bytes())
        data[5000 if what == "vectors" else len(data) // 2] ^= 8
        target.unlink()
        if what != "missing":
            target.write_bytes(data)
        with pytest.raises(StoreCorruptedError):
            collection.restore("a")
        check_equal(collection, before)
        assert bool(collection.snapshots()[0].problem) == (what == "manifest")
        collection.drop_snapshot("a")
        assert collection.snapshots() == []


def test_damaged_derived_files_of_a_snapshot_do_not_matter(path):
    with open_fake(path) as collection:
        collection.snapshot("a")
        before = contents(collection)
        fill(collection, ["x"])
        for file in files_of(path / "snapshots" / "a" / "derived"):
            file.unlink()
            file.write_bytes(b"nonsense")
        with orthant.open(path, snapshot="a", encoder=FakeEncoder()) as kept:
            assert contents(kept) == before
        collection.restore("a")
        check_equal(collection, before)
