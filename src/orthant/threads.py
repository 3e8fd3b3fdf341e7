"""One thread pool for the whole process.

Kernels are single-threaded functions over a row range that release the interpreter lock; parallelism comes from
splitting the range here. No parallel runtime is ever started, so nothing can clash with the caller's own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition, Lock, current_thread
from typing import Any, TypeVar

from orthant.errors import InputError
from orthant.validate import check_count

__all__ = [
    "ReadersWriterLock",
    "default_threads",
    "map_ranges",
    "map_tasks",
    "map_waiting",
    "resolve_threads",
    "run_both",
]

T = TypeVar("T")
R = TypeVar("R")

_PREFIX = "orthant-worker"
_PARTS_PER_THREAD = 8
_WAITING = 32
_lock = Lock()
_pool: ThreadPoolExecutor | None = None
_pool_pid = -1
_waiters: ThreadPoolExecutor | None = None
_waiters_pid = -1


def default_threads() -> int:
    """Return the number of threads used when none is asked for.

    Returns
    -------
    int
        ``ORTHANT_THREADS`` when set, else the number of CPUs this process may run on.

    Raises
    ------
    InputError
        ``ORTHANT_THREADS`` is not a positive integer.
    """
    text = os.environ.get("ORTHANT_THREADS", "").strip()
    if text:
        try:
            return check_count(int(text), name="ORTHANT_THREADS")
        except ValueError as error:
            raise InputError(
                f"Got ORTHANT_THREADS={text!r}; expected an integer of at least 1. Unset it or pass a number."
            ) from error
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


def resolve_threads(threads: int | None, *, work: int, minimum_work: int) -> int:
    """Choose how many threads a job gets: one below a work threshold, else what was asked.

    Parameters
    ----------
    threads : int or None
        Asked by the caller; None takes the default.
    work : int
        Size of the job in any unit.
    minimum_work : int
        Work per thread below which splitting costs more than it saves.

    Returns
    -------
    int
        At least 1.
    """
    wanted = default_threads() if threads is None else check_count(threads, name="threads")
    return max(1, min(wanted, work // max(1, minimum_work)))


def _shared_pool() -> ThreadPoolExecutor:
    global _pool, _pool_pid
    with _lock:
        # A pool does not survive fork: its threads exist in the parent only.
        if _pool is None or _pool_pid != os.getpid():
            _pool = ThreadPoolExecutor(max_workers=max(2, default_threads()), thread_name_prefix=_PREFIX)
            _pool_pid = os.getpid()
        return _pool


def map_tasks(function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None) -> list[R]:
    """Apply a function to items on the shared pool and return results in order.

    Parameters
    ----------
    function : callable
        Called once per item; should release the interpreter lock to gain anything.
    items : iterable
        The arguments.
    threads : int, optional
        1 runs in the calling thread; None takes the default.

    Returns
    -------
    list
        One result per item.
    """
    items = list(items)
    wanted = default_threads() if threads is None else check_count(threads, name="threads")
    # A worker that waits for the pool it runs on would deadlock, so nested calls run inline.
    if wanted == 1 or len(items) < 2 or current_thread().name.startswith(_PREFIX):
        return [function(item) for item in items]
    return list(_shared_pool().map(function, items))


def map_waiting(function: Callable[[int], Any], items: Sequence[int], *, workers: int) -> None:
    """Call a function for each item on threads that mostly wait, such as for a disk.

    Parameters
    ----------
    function : callable of int
        Waits outside the interpreter lock; calls nothing of this module.
    items : sequence of int
        The arguments.
    workers : int
        Calls under way at a time, up to 32; 1 runs in the calling thread.

    Raises
    ------
    Exception
        The first error of a call, once all have ended.
    """
    global _waiters, _waiters_pid
    wanted = min(workers, len(items), _WAITING)
    if wanted < 2:
        for item in items:
            function(item)
        return
    with _lock:
        # Apart from the other pool: more threads than CPUs, which must not keep computations waiting.
        if _waiters is None or _waiters_pid != os.getpid():
            _waiters = ThreadPoolExecutor(max_workers=_WAITING, thread_name_prefix=f"{_PREFIX}-waiting")
            _waiters_pid = os.getpid()
        others = [_waiters.submit(_each, function, items[i::wanted]) for i in range(1, wanted)]
    try:
        _each(function, items[::wanted])
    finally:
        errors = [error for error in (other.exception() for other in others) if error is not None]
    if errors:
        raise errors[0]


def _each(function: Callable[[int], Any], items: Sequence[int]) -> None:
    for item in items:
        function(item)


def run_both(beside: Callable[[], T], here: Callable[[], R], *, threads: int | None = None) -> tuple[T, R]:
    """Run one function on the shared pool while another runs here, and wait for both, whatever happens.

    Parameters
    ----------
    beside : callable
        Runs on the pool; should release the interpreter lock, as file writes do.
    here : callable
        Runs in the calling thread.
    threads : int, optional
        1 runs one after the other; None takes the default.

    Returns
    -------
    tuple
        Both results. An error of ``here`` is raised first, but only once ``beside`` has ended.
    """
    wanted = default_threads() if threads is None else check_count(threads, name="threads")
    if wanted == 1 or current_thread().name.startswith(_PREFIX):
        return beside(), here()
    future = _shared_pool().submit(beside)
    try:
        result = here()
    finally:
        error = future.exception()
    if error is not None:
        raise error
    return future.result(), result


def map_ranges(
    function: Callable[[int, int], Any], count: int, *, threads: int | None = None, minimum: int = 1
) -> list[Any]:
    """Split ``range(count)`` into contiguous parts and run a function on each.

    Parameters
    ----------
    function : callable of (start, stop)
        Handles rows start to stop; should release the interpreter lock.
    count : int
        Number of rows.
    threads : int, optional
        Threads at most, the calling one included; None takes the default.
    minimum : int, default 1
        Rows per thread below which another thread is not worth it.

    Returns
    -------
    list
        The results of the parts in row order, several per thread; empty when count is 0.
    """
    workers = resolve_threads(threads, work=count, minimum_work=minimum)
    if workers == 1 or current_thread().name.startswith(_PREFIX):
        return [function(0, count)] if count else []
    # Rows cost unequal work: whoever is done takes the next part, so nobody waits long for the last.
    parts = min(workers * _PARTS_PER_THREAD, max(workers, count // max(1, minimum)))
    bounds = [count * i // parts for i in range(parts + 1)]
    ranges = [(a, b) for a, b in itertools.pairwise(bounds) if b > a]
    results: list[Any] = [None] * len(ranges)
    left = iter(range(len(ranges)))

    def work() -> None:
        for place in left:
            results[place] = function(*ranges[place])

    # The calling thread works as well; after an error the others still end before it is raised. Who has not begun
    # once all parts are taken is not waited for: the pool may be busy for somebody else.
    others = [_shared_pool().submit(work) for _ in range(workers - 1)]
    try:
        work()
    finally:
        begun = [other for other in others if not other.cancel()]
        errors = [error for error in (other.exception() for other in begun) if error is not None]
    if errors:
        raise errors[0]
    return results


class ReadersWriterLock:
    """Many readers or one writer; a waiting writer goes before readers that come later.

    Examples
    --------
    >>> lock = ReadersWriterLock()
    >>> with lock.reading():
    ...     pass
    >>> with lock.writing():
    ...     pass
    """

    def __init__(self) -> None:
        self._turn = Condition()
        self._readers = 0
        self._writing = False
        self._waiting = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        with self._turn:
            while self._writing or self._waiting:
                self._turn.wait()
            self._readers += 1
        try:
            yield
        finally:
            with self._turn:
                self._readers -= 1
                self._turn.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone."""
        with self._turn:
            self._waiting += 1
            while self._writing or self._readers:
                self._turn.wait()
            self._waiting -= 1
            self._writing = True
        try:
            yield
        finally:
            with self._turn:
                self._writing = False
                self._turn.notify_all()
