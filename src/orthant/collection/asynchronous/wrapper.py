"""``AsyncCollection``: a collection's calls, awaited; made from the synchronous ones, so that the two never differ."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar

from orthant.collection.asynchronous.lanes import Lane
from orthant.collection.collection import Collection
from orthant.collection.opening import open
from orthant.errors import StoreError, message
from orthant.threads import default_threads
from orthant.types import Encoder, Metric

__all__ = ["AsyncCollection", "open_async"]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_MOST_THREADS = 8


class _Stopped(Exception):
    """Ends an ``add`` between two batches."""


def _reading(
    method: Callable[Concatenate[Collection, _P], _T],
) -> Callable[Concatenate[AsyncCollection, _P], Awaitable[_T]]:
    @functools.wraps(method)
    async def call(self: AsyncCollection, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self.read(lambda collection: method(collection, *args, **kwargs))

    return call


def _writing(
    method: Callable[Concatenate[Collection, _P], _T],
) -> Callable[Concatenate[AsyncCollection, _P], Awaitable[_T]]:
    @functools.wraps(method)
    async def call(self: AsyncCollection, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await self.write(lambda collection: method(collection, *args, **kwargs))

    return call


def _in_batches(
    method: Callable[Concatenate[Collection, _P], _T],
) -> Callable[Concatenate[AsyncCollection, _P], Awaitable[_T]]:
    """Make a call that a cancellation ends at the next batch, through the counter that the method offers."""

    @functools.wraps(method)
    async def call(self: AsyncCollection, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        stopped = False
        told: Any = kwargs.get("advance")

        def advance(count: int) -> None:
            if told is not None:
                told(count)
            if stopped:
                raise _Stopped

        kwargs["advance"] = advance
        try:
            return await self.write(lambda collection: method(collection, *args, **kwargs))
        except asyncio.CancelledError:
            stopped = True
            raise

    return call


class AsyncCollection:
    """A collection with coroutine methods, for asyncio; opened by :func:`orthant.open_async`.

    Searches run on several threads, writes one after the other on a thread of their own, so a search never waits for
    a write, and the event loop for neither. A call that is cancelled before its turn never happens. A read that runs
    already is finished and dropped; a write that runs already is finished and stands, whole (``add``: up to the batch
    in work). What runs and waits is bounded.

    Parameters
    ----------
    opener : callable
        Opens the collection; called once, on a thread.
    concurrency : int, optional
        Reads at the same time, default the number of CPUs, at most 8. Too few leave CPUs idle, too many share them.
    max_waiting : int, optional
        Reads, and writes, that may wait for their turn; one more raises ``OverloadedError``. Default: no limit.

    Examples
    --------
    >>> import asyncio, tempfile
    >>> async def main():
    ...     async with open_async(tempfile.mkdtemp()) as notes:
    ...         await notes.upsert(["a", "b"], texts=["a red kite", "a blue boat"])
    ...         return (await notes.search("kite", mode="lexical")).ids
    >>> asyncio.run(main())
    ['a']
    """

    search = _reading(Collection.search)
    search_many = _reading(Collection.search_many)
    get: Any = _reading(Collection.get)
    find = _reading(Collection.find)
    stats = _reading(Collection.stats)
    check = _reading(Collection.check)
    export = _reading(Collection.export)
    snapshots = _reading(Collection.snapshots)
    upsert = _writing(Collection.upsert)
    add = _in_batches(Collection.add)
    add_vectors = _in_batches(Collection.add_vectors)
    delete = _writing(Collection.delete)
    add_space = _writing(Collection.add_space)
    finish = _writing(Collection.finish)
    snapshot = _writing(Collection.snapshot)
    drop_snapshot = _writing(Collection.drop_snapshot)
    restore = _writing(Collection.restore)

    def __init__(
        self,
        opener: Callable[[], Collection],
        *,
        concurrency: int | None = None,
        max_waiting: int | None = None,
    ) -> None:
        self._opener = opener
        threads = min(default_threads(), _MOST_THREADS) if concurrency is None else concurrency
        self._readers = Lane("read", threads=threads, max_waiting=max_waiting)
        self._writer = Lane("write", threads=1, max_waiting=max_waiting)
        self._collection: Collection | None = None
        self._opening: asyncio.Task[Collection] | None = None

    # ---- life cycle ---------------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, None, Self]:
        """Open the collection; ``async with`` does the same and closes it."""
        return self._opened().__await__()

    async def _opened(self) -> Self:
        if self._collection is None:
            if self._opening is None:
                self._opening = asyncio.ensure_future(self._writer.run(self._opener))
            # Shielded, so that a cancelled opening does not lose a collection that is just being opened.
            self._collection = await asyncio.shield(self._opening)
        return self

    async def __aenter__(self) -> Self:
        try:
            return await self._opened()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Wait for what runs, refuse what waits, and give back files and the writer's place; twice does no harm."""
        await asyncio.shield(self._close())

    async def _close(self) -> None:
        if self._opening is not None:
            await asyncio.wait([self._opening])
            if not self._opening.cancelled() and self._opening.exception() is None:
                self._collection = self._opening.result()
        await asyncio.gather(self._readers.close(), self._writer.close())
        if self._collection is not None:
            await asyncio.to_thread(self._collection.close)

    # ---- calls ----------------------------------------------------------------------------------------------------

    async def read(self, function: Callable[[Collection], _T]) -> _T:
        """Run any reading call, such as ``lambda c: list(c.ids())``, on a thread.

        Parameters
        ----------
        function : callable of Collection
            May block; must not write, since writes have a queue of their own.

        Returns
        -------
        object
            What it gave.

        Raises
        ------
        OverloadedError
            Too many calls wait.
        """
        collection = self._require()
        return await self._readers.run(lambda: function(collection))

    async def write(self, function: Callable[[Collection], _T]) -> _T:
        """Run any writing call on the writer's thread, after the writes before it.

        Parameters
        ----------
        function : callable of Collection
            May block. Once begun it is finished, also when the awaiting task is cancelled.

        Returns
        -------
        object
            What it gave.

        Raises
        ------
        OverloadedError
            Too many calls wait.
        """
        collection = self._require()
        return await self._writer.run(lambda: function(collection))

    def _require(self) -> Collection:
        if self._collection is None:
            raise StoreError(
                message(
                    "a collection that is not open yet",
                    "an open one",
                    "use `async with orthant.open_async(path) as collection`, or await it once",
                )
            )
        return self._collection

    @property
    def load(self) -> dict[str, int]:
        """Calls that run and wait now, for a server's figures."""
        return {
            "reads_running": self._readers.running,
            "reads_waiting": self._readers.waiting,
            "writes_running": self._writer.running,
            "writes_waiting": self._writer.waiting,
        }


def open_async(
    path: str | Path,
    *,
    encoder: str | Encoder | Any | None = None,
    metric: Metric | None = None,
    read_only: bool = False,
    canaries: Literal["raise", "warn"] = "raise",
    snapshot: str | None = None,
    spaces: Mapping[str, Any] | None = None,
    concurrency: int | None = None,
    max_waiting: int | None = None,
) -> AsyncCollection:
    """Open a collection for asyncio: ``async with orthant.open_async(path) as collection``.

    Use it inside servers on an event loop. Scripts and threaded servers are better off with :func:`orthant.open`,
    whose calls are safe from any thread.

    Parameters
    ----------
    path, encoder, metric, read_only, canaries, snapshot, spaces
        As in :func:`orthant.open`.
    concurrency : int, optional
        Reads at the same time, default the number of CPUs, at most 8. Too few leave CPUs idle, too many share them.
    max_waiting : int, optional
        Reads, and writes, that may wait for their turn; one more raises ``OverloadedError``, for a server to answer
        "try again". Default: no limit. 0 refuses whatever cannot run at once.

    Returns
    -------
    AsyncCollection
        Opened by ``async with`` or by awaiting it; errors of :func:`orthant.open` are raised there.

    Raises
    ------
    InputError
        ``concurrency`` below 1 or ``max_waiting`` below 0.

    Examples
    --------
    >>> import tempfile
    >>> async def main():
    ...     async with open_async(tempfile.mkdtemp(), max_waiting=100) as notes:
    ...         await notes.upsert(["a"], texts=["a red kite"])
    ...         return (await notes.get("a")).text
    >>> asyncio.run(main())
    'a red kite'
    """
    return AsyncCollection(
        lambda: open(
            path,
            encoder=encoder,
            metric=metric,
            read_only=read_only,
            canaries=canaries,
            snapshot=snapshot,
            spaces=spaces,
        ),
        concurrency=concurrency,
        max_waiting=max_waiting,
    )
