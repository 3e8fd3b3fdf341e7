"""Moments between two steps, made to happen: another writer, a compaction, a damaged look-up."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest

from collection.fakes import FakeEncoder
from orthant.collection.collection import Collection
from orthant.collection.storage import maintenance
from orthant.collection.storage.lock import WriterLock
from orthant.collection.storage.store import Store
from orthant.errors import StoreCorruptedError


@pytest.fixture
def path(tmp_path):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert([f"r{i}" for i in range(20)], texts=[f"ember w{i}" for i in range(20)])
    return tmp_path / "c"


def test_a_compaction_during_a_read_is_no_damage(path, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 4)
    with (
        Collection(path, encoder=FakeEncoder()) as writer,
        Collection(path, encoder=FakeEncoder(), read_only=True) as reader,
    ):
        seen = []

        def read(connection, generation):
            seen.append(generation.number)
            if len(seen) == 1:
                writer.delete([f"r{i}" for i in range(10)])
                assert not (path / "vectors" / "default" / "000000.seg").exists()
            return generation.spaces["default"].vectors_of(np.arange(10, 20))[1]

        np.testing.assert_array_equal(
            reader._store.read(read), FakeEncoder().encode([f"ember w{i}" for i in range(10, 20)])
        )
        assert len(seen) == 2 and seen[1] > seen[0]


def test_a_long_export_survives_a_compaction(path, monkeypatch):
    monkeypatch.setattr(maintenance, "_MINIMUM_SLOTS", 4)
    from orthant.collection import transfer

    monkeypatch.setattr(transfer, "_BATCH", 5)
    with (
        Collection(path, encoder=FakeEncoder()) as writer,
        Collection(path, encoder=FakeEncoder(), read_only=True) as reader,
    ):
        batches = transfer.stored_batches(reader._store)
        first = next(batches)
        writer.delete([f"r{i}" for i in range(15)])
        ids = [*first.ids, *(key for batch in batches for key in batch.ids)]
        assert ids == [f"r{i}" for i in range(20)]


def test_a_commit_between_the_looks_at_opening_is_no_lost_log(path, monkeypatch):
    plain = Store._load
    with Collection(path, encoder=FakeEncoder()) as writer:
        writer.upsert(["x"], texts=["amber"])

        def load_then_commit(self, *arguments, **settings):
            generation = plain(self, *arguments, **settings)
            if self.read_only:
                writer.upsert(["y"], texts=["amber"])
            return generation

        monkeypatch.setattr(Store, "_load", load_then_commit)
        with Collection(path, encoder=FakeEncoder(), read_only=True) as reader:
            assert "x" in reader


def test_two_creators_do_not_overwrite_each_other(tmp_path, monkeypatch):
    plain = WriterLock.acquire

    def late(self):
        monkeypatch.setattr(WriterLock, "acquire", plain)
        with Collection(tmp_path / "c", encoder=FakeEncoder()) as other:
            other.upsert(["theirs"], texts=["amber"])
        plain(self)

    monkeypatch.setattr(WriterLock, "acquire", late)
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert(["ours"], texts=["basin"])
        assert sorted(collection.ids()) == ["ours", "theirs"]


def test_a_failed_opening_gives_everything_back(path):
    import os

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '33' WHERE key = 'next_row'")
    connection.close()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(StoreCorruptedError):
            Collection(path, encoder=FakeEncoder())
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_interrupted_call_leaves_no_stale_state(path, monkeypatch):
    """An interrupt after the commit and before the swap: the next call must start from what is on disk."""
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert(["x"], texts=["amber"])
        old = collection._store.generation
        collection.upsert(["y"], texts=["basin"])
        collection._store._generation = old
        collection.upsert(["z"], texts=["cedar"])
        assert {"x", "y", "z"} <= set(collection.ids()) and collection.check().ok


def test_records_that_vanished_are_noticed(path):
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute("DELETE FROM records WHERE row = 7")
    connection.close()
    for file in (path / "derived").rglob("manifest.json"):
        file.unlink()
    with pytest.raises(StoreCorruptedError, match="19 records where 20 were committed"):
        Collection(path, encoder=FakeEncoder())


def test_counters_that_changed_are_noticed(path):
    with sqlite3.connect(path / "store.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '33' WHERE key = 'next_row'")
    connection.close()
    with pytest.raises(StoreCorruptedError, match="counters"):
        Collection(path, encoder=FakeEncoder())


def test_a_damaged_id_never_makes_a_record_absent(tmp_path):
    path = tmp_path / "c"
    ids = [f"needle-{i:04d}" for i in range(300)]
    with Collection(path) as collection:
        collection.upsert(ids)
    data = (path / "store.sqlite").read_bytes()
    places = [i for i in range(len(data)) if data.startswith(b"needle-0150", i)]
    # The record itself, and the entry of the index over ids.
    assert len(places) == 2
    for place in places:
        for at, value in ((place, b"z"), (place + 9, b"9"), (place + 10, b"7")):
            (path / "store.sqlite").write_bytes(data[:at] + value + data[at + 1 :])
            with Collection(path, read_only=True) as collection:
                for call in (lambda c: c.get(["needle-0150"]), lambda c: "needle-0150" in c):
                    with pytest.raises(StoreCorruptedError):
                        call(collection)
                assert not collection.check().ok
            with Collection(path) as collection, pytest.raises(StoreCorruptedError):
                collection.delete(["needle-0150"])
