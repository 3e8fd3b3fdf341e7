"""Passes over many clients' queries: no waiting for company, no mixing of settings, no shared failure."""

from __future__ import annotations

import asyncio

import pytest

from orthant.errors import InputError, OverloadedError
from orthant.server.batching import QueryBatcher


class Answers:
    """Doubles queries, one pass at a time, and keeps what every pass was asked."""

    def __init__(self):
        self.passes = []
        self.gate = asyncio.Event()

    async def __call__(self, settings, queries):
        self.passes.append((settings, list(queries)))
        await self.gate.wait()
        if any(query < 0 for query in queries):
            raise InputError("bad")
        return [2 * query for query in queries]


def batcher(answers, **settings):
    return QueryBatcher(answers, **{"max_batch": 4, "max_waiting": 100, **settings})


def test_what_arrives_meanwhile_shares_the_next_pass():
    async def main():
        answers = Answers()
        work = batcher(answers)
        asked = [asyncio.create_task(work.ask("k", "s", i)) for i in range(8)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        answers.gate.set()
        assert await asyncio.gather(*asked) == [2 * i for i in range(8)]
        return [len(queries) for _, queries in answers.passes]

    sizes = asyncio.run(main())
    assert sum(sizes) == 8
    assert max(sizes) == 4
    assert len(sizes) <= 3


def test_other_settings_are_other_passes():
    async def main():
        answers = Answers()
        answers.gate.set()
        work = batcher(answers)
        await asyncio.gather(*(work.ask(i % 2, f"s{i % 2}", i) for i in range(8)))
        return answers.passes

    for settings, queries in asyncio.run(main()):
        assert {f"s{query % 2}" for query in queries} == {settings}


def test_one_bad_query_fails_alone():
    async def main():
        answers = Answers()
        answers.gate.set()
        work = batcher(answers)
        return await asyncio.gather(*(work.ask("k", "s", i) for i in (1, -1, 3)), return_exceptions=True)

    one, bad, three = asyncio.run(main())
    assert (one, three) == (2, 6)
    assert isinstance(bad, InputError)


def test_who_gave_up_is_not_searched_for_and_others_are():
    async def main():
        answers = Answers()
        work = batcher(answers)
        first = asyncio.create_task(work.ask("k", "s", 1))
        await asyncio.sleep(0.01)
        gone, kept = (asyncio.create_task(work.ask("k", "s", i)) for i in (2, 3))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        answers.gate.set()
        assert await asyncio.gather(first, kept) == [2, 6]
        assert [queries for _, queries in answers.passes] == [[1], [3]]
        # Nothing is left behind.
        await asyncio.sleep(0)
        assert not work._queues
        assert work._waiting == 0

    asyncio.run(main())


def test_too_many_are_refused_and_unforeseen_errors_reach_everyone():
    async def main():
        answers = Answers()
        work = batcher(answers, max_waiting=1)
        first = asyncio.create_task(work.ask("k", "s", 1))
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError):
            await work.ask("k", "s", 2)
        answers.gate.set()
        assert await first == 2

        async def broken(settings, queries):
            raise ZeroDivisionError

        work = batcher(broken)
        found = await asyncio.gather(*(work.ask("k", "s", i) for i in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [ZeroDivisionError] * 3

    asyncio.run(main())
