"""Compiling kernels ahead, or behind answers that do not need them.

Kernels that work together form a group. Whoever can answer without one asks ``is_ready``, answers the slow way while it
is not, and calls ``ensure_compiling``; whoever cannot, calls ``wait``.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, Thread, current_thread, main_thread
from typing import Any

from orthant.errors import InputError, message
from orthant.kernels.compiling import Kernel, kernels_of, known_groups
from orthant.threads import Copied

__all__ = ["Warmed", "all_groups", "ensure_compiling", "is_ready", "pending", "wait", "warm"]

_GRACE_S = 0.5
_TURN_S = 0.001
_BEFORE_COPY_S = 10.0

_state = Lock()
_work = Lock()
_ready: dict[str, int] = {}
_failed: dict[str, Exception] = {}
_queue: list[str] = []
_compiler: Thread | None = None
_copying = False
"""Whether the process is being copied."""


@dataclass(frozen=True)
class Warmed:
    """What warming one group took.

    Attributes
    ----------
    group : str
        Its name.
    kernels : int
        Kernels of the group.
    compiled, loaded : int
        Signatures that were compiled now, and those found in the cache on disk.
    seconds : float
        Time for all of it.
    """

    group: str
    kernels: int
    compiled: int
    loaded: int
    seconds: float


class _StopError(Exception):
    """Ends a compilation that nobody waits for any more."""


def is_ready(group: str) -> bool:
    """Return whether every kernel of a group is compiled in this process.

    Parameters
    ----------
    group : str
        Its name.

    Returns
    -------
    bool
        False as well when compiling failed, and when no module with such kernels has been imported.

    Notes
    -----
    Cost: below a microsecond, so it can be asked at every search.
    """
    done = _ready.get(group)
    # A module imported since may have added kernels to the group.
    return done is not None and done == len(kernels_of(group))


def ensure_compiling(group: str, *, after_s: float = _GRACE_S) -> None:
    """Let a thread compile a group, or load it from the cache on disk, unless that has happened or is under way.

    Parameters
    ----------
    group : str
        Its name.
    after_s : float, default 0.5
        Seconds to wait before starting. A process that answers once and ends within them never starts a compiler.

    Raises
    ------
    InputError
        No kernel of such a group is defined.

    Notes
    -----
    Returns at once. All groups share one thread, which is no daemon, since a compiler torn down with the interpreter
    can take the process with it; it stops by itself, in the middle of a kernel, once the main thread has ended. A
    failure is kept for ``wait``, and warned about once.
    """
    global _compiler
    if is_ready(group) or group in _failed:
        return
    _members(group)
    with _state:
        if group in _queue or not main_thread().is_alive():
            return
        _queue.append(group)
        if _compiler is None:
            _compiler = Thread(target=_run, args=(after_s,), name="orthant-compiler")
            _compiler.start()


def pending() -> list[str]:
    """Return the groups that a thread of this process still has to compile, the one that it is at first.

    Returns
    -------
    list of str
        Empty where nothing was begun, and once all of it has ended, well or not.
    """
    with _state:
        return list(_queue)


def wait(group: str) -> Warmed:
    """Compile a group now, together with the thread that may be at it, and return when it is ready.

    Parameters
    ----------
    group : str
        Its name.

    Returns
    -------
    Warmed
        What it took here.

    Raises
    ------
    InputError
        No kernel of such a group is defined.
    Exception
        Whatever Numba raises for code that it cannot compile.

    Notes
    -----
    Cost: seconds once per machine, then what loading Numba and the compiled code takes, about half a second.
    """
    members = _members(group)
    if is_ready(group):
        # Asked before every search that has no other way.
        return Warmed(group, len(members), 0, 0, 0.0)
    before, began = _counts(members), time.perf_counter()
    _compile(group, lambda: False)
    compiled, loaded = (after - earlier for after, earlier in zip(_counts(members), before, strict=True))
    return Warmed(group, len(members), compiled, loaded, time.perf_counter() - began)


def all_groups() -> list[str]:
    """Return the names of all groups, after importing every module of kernels.

    Returns
    -------
    list of str
        Sorted.
    """
    import importlib
    import pkgutil

    from orthant import kernels

    for module in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}."):
        importlib.import_module(module.name)
    return sorted(known_groups())


def warm(groups: Sequence[str] | None = None, *, progress: Callable[[Warmed], None] | None = None) -> list[Warmed]:
    """Compile groups one after the other.

    Parameters
    ----------
    groups : sequence of str, optional
        Names; left out, all.
    progress : callable, optional
        Told of each group when it is done.

    Returns
    -------
    list of Warmed
        One per group.

    Raises
    ------
    InputError
        An unknown group; nothing was compiled.
    """
    known = all_groups()
    chosen = known if groups is None else list(groups)
    for group in chosen:
        _members(group)
    out = []
    for group in chosen:
        out.append(wait(group))
        if progress is not None:
            progress(out[-1])
    return out


def _members(group: str) -> list[Kernel]:
    found = kernels_of(group)
    if not found:
        given, known = f"the group of kernels {group!r}", ", ".join(sorted(known_groups())) or "none yet"
        raise InputError(message(given, f"one of those defined ({known})", "import the module that defines it"))
    return found


def _counts(members: Sequence[Kernel]) -> tuple[int, int]:
    stats = [member.compiled.stats for member in members if hasattr(member.compiled, "stats")]
    return (sum(sum(s.cache_misses.values()) for s in stats), sum(sum(s.cache_hits.values()) for s in stats))


def _compile(group: str, stop: Callable[[], bool]) -> bool:
    members = _members(group)
    for member in members:
        if stop():
            return False
        _stand_aside()
        # One kernel at a time: who waits takes turns with the thread and finds done what that one did.
        with _work:
            if stop() or not member.prepare(stop):
                return False
    _ready[group] = len(members)
    _failed.pop(group, None)
    return True


def _run(after_s: float) -> None:
    """Work off the queue, in the compiler's thread."""
    global _compiler
    main_thread().join(after_s)
    while True:
        _stand_aside()
        with _state:
            if not _queue or _ended():
                # Under the lock, so that no group is queued for a thread that has decided to end.
                _compiler = None
                _queue.clear()
                return
            group = _queue[0]
        try:
            with _stopping(_interrupted):
                if not _compile(group, _interrupted):
                    continue
        except _StopError:
            continue
        except Exception as error:  # noqa: BLE001
            # Nobody is there to catch it. Answers stay right without the kernels, only slower, and that is said.
            _failed[group] = error
            warnings.warn(f"kernels {group!r} cannot be compiled, answers are slower: {error}", RuntimeWarning, 1)
        with _state:
            _queue.remove(group)


def _ended() -> bool:
    return not main_thread().is_alive()


def _interrupted() -> bool:
    return _copying or _ended()


def _stand_aside() -> None:
    """Wait while the process is copied: who gives a lock back and takes it again at once leaves it to nobody."""
    while _copying:
        time.sleep(_TURN_S)


@contextmanager
def _stopping(stop: Callable[[], bool]) -> Iterator[None]:
    """Let this thread's compilations end between two passes of the compiler, of which a kernel takes about thirty."""
    with _work:
        import numba  # noqa: F401
        from numba.core import event

    here = current_thread()

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, _: Any) -> None:
            if current_thread() is here and stop():
                raise _StopError

        def on_end(self, _: Any) -> None:
            pass

    with event.install_listener("numba:run_pass", Listener()):
        yield


def _compilers_locks() -> list[Any]:
    """Return the locks of Numba and LLVM, as far as they are loaded."""
    places = (("numba.core.compiler_lock", "global_compiler_lock._lock"), ("llvmlite.binding.ffi", "lib._lock._lock"))
    out = []
    for module, path in places:
        found: Any = sys.modules.get(module)
        for name in path.split("."):
            found = getattr(found, name, None)
        out += [] if found is None else [found]
    return out


class _Compilers(Copied):
    """Nobody compiles while the process is copied: the copy has nobody who finishes, nor gives the locks back.

    The thread behind answers leaves its kernel within a pass of the compiler and begins it again afterwards; for others
    one kernel is waited for.
    """

    def __init__(self) -> None:
        self._held: list[Any] = []
        super().__init__()

    def rest(self) -> None:
        """Take the locks; after some seconds without, since who has them may wait for what the caller holds."""
        global _copying
        _copying, until = True, time.monotonic() + _BEFORE_COPY_S
        for lock in (_work, *_compilers_locks()):
            if lock.acquire(timeout=max(0.0, until - time.monotonic())):
                self._held.append(lock)

    def go_on(self) -> None:
        """Give the locks back."""
        global _copying
        while self._held:
            self._held.pop().release()
        _copying = False

    def begin_anew(self) -> None:
        """Forget the thread, which the copy does not have, with its queue and what it held."""
        global _state, _work, _compiler
        for lock in _compilers_locks():
            if not any(lock is other for other in self._held):
                lock._at_fork_reinit()
        self.go_on()
        _state, _work, _compiler = Lock(), Lock(), None
        _queue.clear()


_compilers = _Compilers()
