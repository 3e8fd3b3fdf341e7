"""Queries of many clients in one pass, without anyone waiting for company."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any

from orthant.errors import OrthantError, OverloadedError, message

__all__ = ["QueryBatcher"]

Run = Callable[[Any, Sequence[Any]], Awaitable[Sequence[Any]]]


class QueryBatcher:
    """Gathers what arrives while a pass is under way, and answers it with the next one.

    A query that finds nothing under way begins at once, so a lone client is not delayed; the more clients there are,
    the larger the passes become.

    Parameters
    ----------
    run : callable of (settings, queries)
        Answers several queries of equal settings; awaited.
    max_batch : int
        Queries of a pass at most.
    max_waiting : int
        Queries that may wait; one more is refused.
    """

    def __init__(self, run: Run, *, max_batch: int, max_waiting: int) -> None:
        self._run = run
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._queues: dict[Hashable, deque[tuple[Any, asyncio.Future[Any]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def ask(self, key: Hashable, settings: Any, query: Any) -> Any:
        """Answer one query, with others of the same key where there are some.

        Parameters
        ----------
        key : hashable
            Equal for queries of equal settings.
        settings : object
            Handed to ``run``.
        query : object
            One query.

        Returns
        -------
        object
            Its answer.

        Raises
        ------
        OverloadedError
            Too many wait.
        """
        if self._waiting >= self._max_waiting:
            raise OverloadedError(
                message(f"a query while {self._waiting} wait", f"at most {self._max_waiting}", "try again later")
            )
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        queue = self._queues.get(key)
        self._waiting += 1
        try:
            if queue is None:
                self._queues[key] = queue = deque([(query, future)])
                task = asyncio.ensure_future(self._work(key, settings, queue))
                # The loop itself keeps only weak references to tasks.
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                queue.append((query, future))
            return await future
        finally:
            self._waiting -= 1

    async def _work(self, key: Hashable, settings: Any, queue: deque[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            while queue:
                taken = [queue.popleft() for _ in range(min(self._max_batch, len(queue)))]
                # Who gave up, by a time-out for example, costs nothing any more.
                taken = [one for one in taken if not one[1].done()]
                if taken:
                    await self._answer(settings, taken)
        finally:
            del self._queues[key]
            for _, future in queue:
                future.cancel()

    async def _answer(self, settings: Any, taken: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        try:
            results = await self._run(settings, [query for query, _ in taken])
        except OrthantError as error:
            if len(taken) == 1:
                _settle(taken[0][1], error=error)
                return
            # One bad query must not fail the others: each is asked alone.
            for one in taken:
                await self._answer(settings, [one])
        except BaseException as error:
            for _, future in taken:
                _settle(future, error=error)
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), result in zip(taken, results, strict=True):
                _settle(future, result=result)


def _settle(future: asyncio.Future[Any], *, result: Any = None, error: BaseException | None = None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, asyncio.CancelledError):
        future.cancel()
    else:
        future.set_exception(error)
