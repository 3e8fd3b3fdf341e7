"""A process that is copied (``os.fork``) with a collection open: two processes, one writer, no shared connection."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import traceback

import numpy as np
import pytest

from collection.fakes import FakeEncoder
from orthant.collection.collection import Collection
from orthant.errors import StoreError, StoreLockedError
from orthant.feed.database import FeedDatabase
from orthant.index import TwoTier

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system copies no processes"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def in_copy(act) -> None:
    """Run something in a copy of this process; what it raises is printed and fails here."""
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(30)
            act()
            code = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def reading(collection, seconds):
    """Read in another thread until told, or until the seconds are over; return it once it reads, and how to tell it."""
    inside, done = threading.Event(), threading.Event()

    def read():
        with collection._store.view():
            inside.set()
            done.wait(seconds)

    reader = threading.Thread(target=read)
    reader.start()
    assert inside.wait(60)
    return reader, done


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c"


def test_a_copy_reads_and_does_not_take_the_writers_place(path):
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert(["a", "b"], texts=["amber delta", "cedar"])
        assert collection.search("amber delta", k=1).ids == ["a"]

        def act():
            assert collection.search("amber delta", mode="dense", k=1).ids == ["a"]
            with pytest.raises(StoreLockedError):
                collection.upsert(["c"], texts=["basin"])
            collection.close()

        in_copy(act)
        # The copy has closed what it had, and with it nothing of ours.
        with Collection(path, encoder=FakeEncoder()) as other, pytest.raises(StoreLockedError):
            other.upsert(["c"], texts=["basin"])
        collection.upsert(["d"], texts=["ember"])
        in_copy(lambda: [collection.search("ember", mode="dense", k=1).ids == ["d"] or os._exit(2)])
        assert collection.check().ok and len(collection) == 3


def test_a_copy_takes_over_when_the_writer_has_gone(path):
    collection = Collection(path, encoder=FakeEncoder())
    collection.upsert(["a"], texts=["amber delta"])
    gone, wait = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(30)
            os.close(wait)
            os.read(gone, 1)
            collection.upsert(["b"], texts=["basin"])
            assert collection.search("basin", mode="dense", k=1).ids == ["b"]
            collection.close()
            code = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        os._exit(code)
    collection.upsert(["c"], texts=["cedar"])
    collection.close()
    os.close(wait)
    assert os.waitpid(child, 0)[1] == 0
    os.close(gone)
    with Collection(path, encoder=FakeEncoder()) as again:
        assert sorted(again.ids()) == ["a", "b", "c"] and again.check().ok


def test_no_connection_goes_along(path):
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert(["a"], texts=["amber delta"])
        collection.search("amber delta")
        database = collection._store.database
        assert database._pool and database._writer is not None
        held = [*database._pool, database._writer]

        def act():
            assert not database._pool and database._writer is None
            # Closed before the copy was made.
            for connection in held:
                with pytest.raises(Exception, match="closed"):
                    connection.execute("SELECT 1")

        in_copy(act)


def test_a_copy_made_in_the_middle_of_a_call_says_so(path, monkeypatch):
    from orthant.collection.storage import database

    monkeypatch.setattr(database, "_BEFORE_COPY_S", 0.05)
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert(["a"], texts=["amber delta"])
        reader, done = reading(collection, 30)

        def act():
            with pytest.raises(StoreError, match=r"os\.fork.*spawn"):
                collection.search("amber")
            collection.close()

        in_copy(act)
        done.set()
        reader.join()
        assert collection.search("amber delta", k=1).ids == ["a"]


def test_a_call_that_ends_in_time_is_waited_for(path):
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert(["a"], texts=["amber delta"])
        reader, _ = reading(collection, 0.2)
        in_copy(lambda: [collection.search("amber delta", k=1).ids == ["a"] or os._exit(2)])
        reader.join()


def test_a_copy_of_an_index_on_disk_does_not_write_over_the_rows_of_the_other(tmp_path):
    X = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    index = TwoTier(8, metric="l2", train_rows=1000, folder=tmp_path)
    index.add(X[:200])

    def act():
        index.add(-X[:200], ids=np.arange(1000, 1200))
        assert (index.search(-X[:200], k=1).scores == 0).all()

    in_copy(act)
    index.add(X[200:])
    in_copy(act)
    np.testing.assert_array_equal(index.search(X, k=1).ids[:, 0], np.arange(400))
    assert (index.search(X, k=1).scores == 0).all()


def test_the_database_of_a_feed_is_opened_anew_on_both_sides(tmp_path):
    with FeedDatabase(tmp_path / "feed.sqlite") as database:
        database.setting("date_field", "published")
        held = database._connection

        def act():
            with pytest.raises(Exception, match="closed"):
                held.execute("SELECT 1")
            assert database.setting("date_field") == "published"
            database.setting("date_field", "made")

        in_copy(act)
        assert database.setting("date_field") == "made"


def test_a_commit_of_a_feed_that_fails_refuses_no_later_one(tmp_path):
    class Full:
        def __init__(self, connection):
            self.connection = connection

        def __getattr__(self, name):
            return getattr(self.connection, name)

        def execute(self, statement, *values):
            if statement == "COMMIT":
                raise sqlite3.OperationalError("database or disk is full")
            return self.connection.execute(statement, *values)

    with FeedDatabase(tmp_path / "feed.sqlite") as database:
        real = database._connection
        database._opened = Full(real)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            database.setting("date_field", "published")
        database._opened = real
        assert database.setting("date_field") is None
        assert database.setting("date_field", "made") == "made"
