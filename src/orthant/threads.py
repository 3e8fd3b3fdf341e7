"""One thread pool for the whole process.

Kernels are single-threaded functions over a row range that release the interpreter lock; parallelism comes from
splitting the range here. No parallel runtime is ever started, so nothing can clash with the caller's own.
"""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from threading import Condition, Lock, RLock, current_thread, get_ident
from typing import Any, TypeVar
from weakref import WeakSet

from orthant.errors import InputError
from orthant.validate import check_count

__all__ = [
    "Copied",
    "ReadersWriterLock",
    "Turn",
    "default_threads",
    "map_ranges",
    "map_tasks",
    "map_waiting",
    "resolve_threads",
    "run_both",
]

T = TypeVar("T")
R = TypeVar("R")
_Place = tuple[int, object]

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


def _together(work: Callable[[], None], left: Iterator[Any], more: int, pool: Callable[[], ThreadPoolExecutor]) -> None:
    """Run ``work``, which takes parts from ``left`` until there are none, here and on some workers.

    Whatever is raised, nobody is at a part any more when this returns: parts read and write memory that the caller
    lends to them, and an interrupt must not take it away from under a kernel.
    """
    others: list[Future[None]] = []
    raised: BaseException | None = None
    try:
        for _ in range(more):
            try:
                others.append(pool().submit(work))
            except RuntimeError:
                # No thread is to be had: too many, or the interpreter is ending. We are one.
                break
        work()
    except BaseException as error:  # noqa: BLE001
        raised = error
    while True:
        try:
            if raised is not None:
                # Nobody begins another part.
                deque(left, maxlen=0)
            # Who has not begun once all parts are taken is not waited for: the pool may be busy for somebody else.
            others = [other for other in others if not other.cancel()]
            wait_for(others)
            break
        except BaseException as error:  # noqa: BLE001
            raised = raised or error
    errors = [found for other in others if (found := other.exception()) is not None]
    try:
        for each in ([] if raised is None else [raised]) + errors:
            raise each
    finally:
        # An error holds this frame; the frame must not hold the error, or all of it waits for the collector of cycles.
        del raised, errors


def map_tasks(function: Callable[[T], R], items: Iterable[T], *, threads: int | None = None) -> list[R]:
    """Apply a function to items here and on the shared pool, and return results in order.

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
    results: list[Any] = [None] * len(items)
    left = iter(range(len(items)))

    def work() -> None:
        for place in left:
            results[place] = function(items[place])

    _together(work, left, min(wanted, len(items)) - 1, _shared_pool)
    return results


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
    left = iter(items)

    def work() -> None:
        for item in left:
            function(item)

    _together(work, left, min(workers, len(items), _WAITING) - 1, _waiting_pool)


def _waiting_pool() -> ThreadPoolExecutor:
    global _waiters, _waiters_pid
    with _lock:
        # Apart from the other pool: more threads than CPUs, which must not keep computations waiting.
        if _waiters is None or _waiters_pid != os.getpid():
            _waiters = ThreadPoolExecutor(max_workers=_WAITING, thread_name_prefix=f"{_PREFIX}-waiting")
            _waiters_pid = os.getpid()
        return _waiters


def run_both(beside: Callable[[], T], here: Callable[[], R], *, threads: int | None = None) -> tuple[T, R]:
    """Run one function on the shared pool while another runs here, and wait for both, whatever happens.

    Parameters
    ----------
    beside : callable
        Runs on the pool, or here where that is busy; should release the interpreter lock, as file writes do.
    here : callable
        Runs in the calling thread.
    threads : int, optional
        1 runs one after the other; None takes the default.

    Returns
    -------
    tuple
        Both results. An error of ``here`` is raised first, but only once ``beside`` has ended, or will not begin.
    """
    wanted = default_threads() if threads is None else check_count(threads, name="threads")
    if wanted == 1 or current_thread().name.startswith(_PREFIX):
        return beside(), here()
    left = iter((beside,))
    first: list[T] = []
    second: list[R] = []
    caller = current_thread()

    def work() -> None:
        if current_thread() is caller:
            second.append(here())
        for function in left:
            first.append(function())

    _together(work, left, 1, _shared_pool)
    return first[0], second[0]


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

    _together(work, left, workers - 1, _shared_pool)
    return results


class Copied(ABC):
    """What must be at rest while the process is copied (``os.fork``), and begins anew in the copy.

    A copy has one thread: what others held or were at stays so for ever there. Made, an object is known until it ends.
    """

    def __init__(self) -> None:
        _known.add(self)

    def rest(self) -> None:  # noqa: B027
        """Prepare for a copy, in whichever thread makes it; nothing by default."""

    def go_on(self) -> None:  # noqa: B027
        """Take up again what was left, in the process that was copied; nothing by default."""

    @abstractmethod
    def begin_anew(self) -> None:
        """Take away what belonged to others than the thread that made the copy, in the copy."""


_known: WeakSet[Copied] = WeakSet()
_resting: list[Copied] = []


def _rest() -> None:
    for each in list(_known):
        _resting.append(each)
        each.rest()


def _go_on() -> None:
    while _resting:
        _resting.pop().go_on()


def _begin_anew() -> None:
    global _lock
    _lock = Lock()
    while _resting:
        _resting.pop().begin_anew()


if hasattr(os, "register_at_fork"):
    # After logging, which concurrent.futures loads, and so called before it: who is waited for may want to log.
    os.register_at_fork(before=_rest, after_in_parent=_go_on, after_in_child=_begin_anew)


class Turn(Copied):
    """A reentrant lock that a copied process finds free, unless who copied it holds it.

    Examples
    --------
    >>> turn = Turn()
    >>> with turn, turn:
    ...     pass
    """

    def __init__(self) -> None:
        self._lock = RLock()
        super().__init__()

    def __enter__(self) -> None:
        """Wait for the lock."""
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        """Give it back."""
        self._lock.release()

    def begin_anew(self) -> None:
        """Take away what other threads than this one held, in a copy of the process."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
        else:
            self._lock = RLock()


class ReadersWriterLock(Copied):
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
        # Whoever is in: the thread, and an object of each entrance's own.
        self._readers: set[_Place] = set()
        self._writers: set[_Place] = set()
        self._writing: _Place | None = None
        super().__init__()

    def begin_anew(self) -> None:
        """Take away what other threads than this one held, in a copy of the process."""
        here = get_ident()
        self._turn = Condition()
        self._readers = {one for one in self._readers if one[0] == here}
        self._writers = {one for one in self._writers if one[0] == here}
        if self._writing is not None and self._writing[0] != here:
            self._writing = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        me = get_ident(), object()
        try:
            with self._turn:
                while self._writing is not None or self._writers:
                    self._turn.wait()
                self._readers.add(me)
            yield
        finally:
            self._leave(me)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock alone."""
        me = get_ident(), object()
        try:
            with self._turn:
                self._writers.add(me)
                while self._writing is not None or self._readers:
                    self._turn.wait()
                self._writing = me
                self._writers.discard(me)
            yield
        finally:
            self._leave(me)

    def _leave(self, me: _Place) -> None:
        """Give back whatever was taken, also a place in the row, and also when interrupts come in between."""
        raised: BaseException | None = None
        while True:
            try:
                with self._turn:
                    self._readers.discard(me)
                    self._writers.discard(me)
                    if self._writing is me:
                        self._writing = None
                    self._turn.notify_all()
                break
            except BaseException as error:  # noqa: BLE001
                # Such as Ctrl-C: what stays taken would keep everybody waiting for good.
                raised = error
        if raised is not None:
            raise raised
