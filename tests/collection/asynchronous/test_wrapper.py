"""The awaited collection: same calls, a loop that never waits, bounds, and clean cancellation."""

from __future__ import annotations

import asyncio
import inspect
import threading

import numpy as np
import pytest

import orthant
from collection.fakes import FakeEncoder
from orthant.collection.asynchronous.wrapper import AsyncCollection, open_async
from orthant.collection.collection import Collection
from orthant.errors import InputError, NotFoundError, OverloadedError, StoreError

CALLS = ("search", "search_many", "get", "find", "stats", "check", "export", "upsert", "add", "delete", "snapshot")


class Gate(FakeEncoder):
    """Encodes queries only once it is opened, and tells how many wait before it."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.inside = 0
        self._count = threading.Lock()

    def encode(self, items, *, role="document", batch_size=64, progress=False):
        if role == "query":
            with self._count:
                self.inside += 1
            assert self.open.wait(30)
            with self._count:
                self.inside -= 1
        return super().encode(items)


async def until(condition):
    """Let the loop turn until something is so."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


def ids_in(collection):
    return collection.read(lambda c: sorted(c.ids()))


@pytest.fixture
def path(tmp_path):
    with Collection(tmp_path / "c", encoder=FakeEncoder()) as collection:
        collection.upsert(["a", "b"], texts=["amber lagoon", "basin cedar"], metadata=[{"n": 1}, {"n": 2}])
    return tmp_path / "c"


def run(main):
    return asyncio.run(main)


# ---- the same calls --------------------------------------------------------------------------------------------------


def test_w58_calls_have_the_signature_and_the_text_of_the_synchronous_ones():
    for name in CALLS:
        ours, theirs = getattr(AsyncCollection, name), getattr(Collection, name)
        assert inspect.iscoroutinefunction(ours), name
        assert inspect.signature(ours) == inspect.signature(theirs), name
        assert ours.__doc__ == theirs.__doc__, name
    ours, theirs = inspect.signature(open_async).parameters, inspect.signature(orthant.open).parameters
    assert set(ours) - set(theirs) == {"concurrency", "max_waiting"} and set(theirs) <= set(ours)


def test_every_call_gives_what_the_synchronous_one_gives(path, tmp_path):
    async def main():
        async with orthant.open_async(path, encoder=FakeEncoder()) as notes:
            assert (await notes.search("amber", k=1)).ids == ["a"]
            assert [hits.ids for hits in await notes.search_many(["amber", "basin"], k=1)] == [["a"], ["b"]]
            assert (await notes.get("a")).metadata == {"n": 1}
            assert [record.id for record in await notes.find({"n": 2})] == ["b"]
            assert (await notes.upsert(["c"], texts=["delta"])).records == 1
            assert (await notes.add([{"_id": "d", "text": "ember"}])).records == 1
            assert await notes.delete(["b"]) == 1
            assert (await notes.stats()).records == 3
            await notes.snapshot("now")
            await notes.delete(["a"])
            assert (await notes.restore("now")).records == 3
            assert [info.name for info in await notes.snapshots()] == ["now"]
            with pytest.raises(NotFoundError):
                await notes.get("zebra")
            with pytest.raises(InputError):
                await notes.search("amber", k=0)
        async with orthant.open_async(path, snapshot="now") as kept:
            assert await ids_in(kept) == ["a", "c", "d"]

    run(main())


# ---- the loop never waits --------------------------------------------------------------------------------------------


def test_a_ticker_ticks_while_a_long_search_runs(path):
    """The search can only end after the ticker has ticked, so a blocked loop would never get there."""

    async def main():
        gate = Gate()
        async with orthant.open_async(path, encoder=gate) as notes:
            search = asyncio.create_task(notes.search("amber", k=1))
            await until(lambda: gate.inside == 1)
            for _ in range(50):
                await asyncio.sleep(0)
            assert not search.done()
            # Other calls go past it, writes as well.
            await notes.upsert(["c"], texts=["delta"])
            assert (await notes.search("delta", mode="lexical")).ids == ["c"]
            gate.open.set()
            assert (await search).ids == ["a"]

    run(main())


def test_opening_does_not_block_either_and_reports_its_errors(tmp_path):
    async def main():
        (tmp_path / "other").write_text("a file of somebody else")
        with pytest.raises(InputError):
            async with orthant.open_async(tmp_path):
                pass
        notes = orthant.open_async(tmp_path / "new")
        with pytest.raises(StoreError, match="not open yet"):
            await notes.search("x")
        opened = await notes
        assert opened is notes and await notes is notes
        await notes.upsert(["a"], texts=["amber"])
        await notes.close()
        await notes.close()
        with pytest.raises(StoreError, match="closed"):
            await notes.search("amber", mode="lexical")

    run(main())


# ---- bounds ----------------------------------------------------------------------------------------------------------


def test_no_more_calls_run_than_allowed_and_no_more_wait(path):
    async def main():
        gate = Gate()
        async with orthant.open_async(path, encoder=gate, concurrency=2, max_waiting=3) as notes:
            calls = [asyncio.create_task(notes.search("amber", k=1)) for _ in range(5)]
            await until(lambda: gate.inside == 2)
            assert notes.load == {"reads_running": 2, "reads_waiting": 3, "writes_running": 0, "writes_waiting": 0}
            with pytest.raises(OverloadedError, match="2 run and 3 wait"):
                await notes.search("amber")
            # Writes have a queue of their own.
            await notes.upsert(["c"], texts=["delta"])
            assert gate.inside == 2
            gate.open.set()
            assert [hits.ids for hits in await asyncio.gather(*calls)] == [["a"]] * 5
            await until(lambda: notes.load["reads_running"] == 0)
            assert (await notes.search("amber", k=1)).ids == ["a"]

    run(main())


def test_with_no_waiting_what_cannot_run_at_once_is_refused(path):
    async def main():
        gate = Gate()
        async with orthant.open_async(path, encoder=gate, concurrency=1, max_waiting=0) as notes:
            call = asyncio.create_task(notes.search("amber", k=1))
            await until(lambda: gate.inside == 1)
            with pytest.raises(OverloadedError):
                await notes.get("a")
            gate.open.set()
            await call

    run(main())
    for settings in ({"concurrency": 0}, {"max_waiting": -1}):
        with pytest.raises(InputError):
            orthant.open_async(path, **settings)


def test_many_writers_at_once_lose_nothing(path):
    async def main():
        async with orthant.open_async(path, encoder=FakeEncoder()) as notes:
            await asyncio.gather(*(notes.upsert([f"w{i}"], texts=[f"amber {i}"]) for i in range(30)))
            assert len(await ids_in(notes)) == 32
            assert (await notes.check()).ok

    run(main())


# ---- cancellation ----------------------------------------------------------------------------------------------------


def test_a_call_cancelled_while_it_waits_never_happens(path):
    async def main():
        async with orthant.open_async(path, encoder=FakeEncoder()) as notes:
            hold = threading.Event()
            first = asyncio.create_task(notes.write(lambda _: hold.wait(30)))
            second = asyncio.create_task(notes.upsert(["never"], texts=["amber"]))
            await until(lambda: notes.load["writes_waiting"] == 1)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            hold.set()
            assert await first
            await notes.upsert(["later"], texts=["amber"])
            assert await ids_in(notes) == ["a", "b", "later"]

    run(main())


def test_a_write_cancelled_while_it_runs_stands_whole(path):
    async def main():
        encoder = FakeEncoder()
        begun, hold = threading.Event(), threading.Event()
        plain = encoder.encode_with_report

        def slow(items, **settings):
            begun.set()
            assert hold.wait(30)
            return plain(items, **settings)

        async with orthant.open_async(path, encoder=encoder) as notes:
            encoder.encode_with_report = slow
            ids = [f"n{i}" for i in range(20)]
            call = asyncio.create_task(notes.upsert(ids, texts=["amber"] * 20))
            await until(begun.is_set)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            # It keeps its place until it ends: the next write comes after it, not beside it.
            assert notes.load["writes_running"] == 1
            hold.set()
            await notes.write(lambda c: None)
            assert await ids_in(notes) == sorted(["a", "b", *ids])
            assert (await notes.check()).ok

    run(main())


def test_a_search_cancelled_while_it_runs_keeps_its_place_until_it_ends(path):
    async def main():
        gate = Gate()
        async with orthant.open_async(path, encoder=gate, concurrency=1) as notes:
            call = asyncio.create_task(notes.search("amber"))
            await until(lambda: gate.inside == 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert notes.load["reads_running"] == 1
            gate.open.set()
            assert (await notes.search("amber", k=1)).ids == ["a"]

    run(main())


def test_a_cancelled_add_ends_with_the_batch_in_work(path):
    async def main():
        told, go = [], threading.Event()

        def advance(count):
            told.append(count)
            assert go.wait(30)

        async with orthant.open_async(path, encoder=FakeEncoder()) as notes:
            rows = [{"_id": f"n{i}", "text": "amber"} for i in range(40)]
            call = asyncio.create_task(notes.add(rows, batch_size=10, advance=advance))
            await until(lambda: told)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            go.set()
            await notes.write(lambda c: None)
            assert told == [10] and len(await ids_in(notes)) == 12
            assert (await notes.check()).ok

    run(main())


def test_closing_waits_for_what_runs_and_refuses_what_waits(path):
    async def main():
        gate = Gate()
        notes = await orthant.open_async(path, encoder=gate, concurrency=1)
        running, waiting = (asyncio.create_task(notes.search("amber", k=1)) for _ in range(2))
        await until(lambda: gate.inside == 1 and notes.load["reads_waiting"] == 1)
        closing = asyncio.create_task(notes.close())
        await asyncio.sleep(0.01)
        assert not closing.done()
        gate.open.set()
        await closing
        assert (await running).ids == ["a"]
        with pytest.raises(StoreError, match="closed"):
            await waiting

    run(main())
    # The writer's place was given back.
    with Collection(path, encoder=FakeEncoder()) as collection:
        collection.upsert(["z"], texts=["amber"])


def test_vectors_pass_through(tmp_path):
    async def main():
        async with orthant.open_async(tmp_path / "v", metric="dot") as store:
            await store.upsert(["x", "y"], vectors=np.eye(2, dtype=np.float32))
            assert (await store.search(vector=[0.0, 1.0], k=1)).ids == ["y"]

    run(main())
