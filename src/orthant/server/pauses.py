"""Keeping a serving process from standing still: its garbage collector, and the threads that share the interpreter.

A full collection of Python's garbage collector visits every object of the process: with loaded kernels and a vocabulary
about a tenth of a second, in which nobody is answered. What has survived one is kept out of the next.
"""

from __future__ import annotations

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


_watch = _Watch()


@contextmanager
def short_pauses() -> Iterator[None]:
    """Let a process that serves answer evenly; afterwards it is as it was.

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
