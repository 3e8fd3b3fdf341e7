"""Lanes: a bounded number of threads, a bounded queue before them, and cancellation that tells what happened."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from orthant.errors import OverloadedError, StoreError, message
from orthant.validate import check_count

__all__ = ["Lane"]

_T = TypeVar("_T")


class Lane:
    """Runs blocking calls on its own threads, a bounded number at a time.

    The threads are not those of the shared pool: a call here waits for kernels there, and would block itself.

    Parameters
    ----------
    name : str
        Of the threads.
    threads : int
        Calls at the same time; more of them than CPUs only helps calls that wait for a disk or a network.
    max_waiting : int or None
        Calls that may wait for a thread; one more is refused. None lets any number wait, each holding its arguments.

    Examples
    --------
    >>> async def main():
    ...     lane = Lane("doc", threads=2, max_waiting=None)
    ...     try:
    ...         return await lane.run(lambda: 6 * 7)
    ...     finally:
    ...         await lane.close()
    >>> asyncio.run(main())
    42
    """

    def __init__(self, name: str, *, threads: int, max_waiting: int | None) -> None:
        self._threads = check_count(threads, name="threads")
        self._max_waiting = None if max_waiting is None else check_count(max_waiting, name="max_waiting", minimum=0)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=f"orthant-async-{name}")
        self._free = asyncio.Semaphore(self._threads)
        self._closed = False
        self.waiting = 0
        self.running = 0

    async def run(self, function: Callable[[], _T]) -> _T:
        """Run a function on a thread of the lane and await its result.

        A call that is cancelled while it waits never runs. One that runs already runs to its end, keeps its place
        until then, and its result is dropped.

        Parameters
        ----------
        function : callable
            Without arguments; may block.

        Returns
        -------
        object
            What it gave.

        Raises
        ------
        OverloadedError
            ``max_waiting`` calls wait already.
        StoreError
            The lane is closed.
        """
        self._require_open()
        if self._free.locked() and self._max_waiting is not None and self.waiting >= self._max_waiting:
            raise OverloadedError(
                message(
                    f"a call while {self.running} run and {self.waiting} wait",
                    f"at most {self._max_waiting} waiting",
                    "try again later, allow more with max_waiting, or tell your caller to slow down",
                )
            )
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        return await asyncio.wrap_future(self._submit(function))

    def _submit(self, function: Callable[[], _T]) -> Future[_T]:
        loop = asyncio.get_running_loop()
        try:
            # The lane may have been closed while the call waited.
            self._require_open()
            future = self._pool.submit(contextvars.copy_context().run, function)
        except BaseException:
            self._free.release()
            raise
        self.running += 1
        # Not when the awaiting task ends: a cancelled call that still runs must keep its place.
        future.add_done_callback(lambda _: self._tell(loop))
        return future

    def _tell(self, loop: asyncio.AbstractEventLoop) -> None:
        # The loop may be gone by the time a cancelled call ends.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(self._give_back)

    def _give_back(self) -> None:
        self.running -= 1
        self._free.release()

    def _require_open(self) -> None:
        if self._closed:
            raise StoreError(message("a closed collection", "an open one", "open it again with orthant.open_async"))

    async def close(self) -> None:
        """Refuse further calls, and wait for those that run."""
        self._closed = True
        await asyncio.shield(asyncio.to_thread(self._pool.shutdown, wait=True))
