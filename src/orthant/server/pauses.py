"""Keeping a serving process from standing still, and its memory from scattering.

Its garbage collector, the threads that share the interpreter, and the heaps that these threads take memory from.

A full collection of Python's garbage collector visits every object of the process: with loaded kernels and a vocabulary
about a tenth of a second, in which nobody is answered. What has survived one is kept out of the next.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["short_pauses"]

_LONG_S = 0.02
"""Seconds of a full collection from which on its survivors are set aside."""

_TURN_S = 0.001
"""Seconds after which a thread asks the one that runs Python for its turn. A pass over many queries asks once for every
record that SQLite reads, and by default would wait five times as long while requests are parsed."""

_THAW_S = 20.0
"""Seconds after which what was set aside is looked through again, so that cycles that died meanwhile are freed: old
states of a collection that is written to, with the files that they map."""

_HEAPS = 2
"""Heaps of the C library. By default it opens one for every thread that meets another one, up to eight per processor,
and what one frees the others do not get: writes from many threads then hold a third more memory than is in use."""

_ARENA_MAX = -8
"""Name of that setting for ``mallopt`` of glibc."""

_FULL = 2


class _Watch:
    """Sets survivors of long collections aside, from the first server of the process to the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._servers = 0
        self._frozen = False
        self._began = 0.0
        self._since = 0.0
        self._turn_s = 0.0

    def __call__(self, phase: str, info: dict[str, Any]) -> None:
        if info["generation"] != _FULL:
            return
        now = time.perf_counter()
        if phase == "start":
            self._began = now
        elif self._frozen and now - self._since > _THAW_S:
            # The next full collection sees everything, and sets the survivors aside again.
            gc.unfreeze()
            self._frozen = False
        elif now - self._began > _LONG_S:
            # Counting references still frees them; a cycle that dies later waits for the next thaw.
            if not self._frozen:
                self._since = now
            gc.freeze()
            self._frozen = True

    def enter(self) -> None:
        with self._lock:
            self._servers += 1
            if self._servers == 1:
                _share_heaps()
                gc.callbacks.append(self)
                self._turn_s = sys.getswitchinterval()
                sys.setswitchinterval(min(_TURN_S, self._turn_s))

    def leave(self) -> None:
        with self._lock:
            self._servers -= 1
            if not self._servers:
                gc.callbacks.remove(self)
                sys.setswitchinterval(self._turn_s)
                if self._frozen:
                    gc.unfreeze()
                    self._frozen = False


def _share_heaps() -> None:
    """Let threads share few heaps from now on; nothing happens where the C library is not glibc."""
    library = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if library is not None and hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_ARENA_MAX, _HEAPS)


_watch = _Watch()


@contextmanager
def short_pauses() -> Iterator[None]:
    """Let a process that serves answer evenly; afterwards it is as it was, but for the number of its heaps.

    Yields
    ------
    None
        Servers of one process share what is set.

    Notes
    -----
    Cost: one full collection in about twenty seconds of load; a cycle of objects that is set aside and dies is freed by
    then.

    Examples
    --------
    >>> with short_pauses():
    ...     sys.getswitchinterval() <= 0.001
    True
    """
    _watch.enter()
    try:
        yield
    finally:
        _watch.leave()
