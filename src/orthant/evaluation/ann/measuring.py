"""What a process can tell of itself: anonymous memory, CPU seconds, and the CPUs it may run on."""

from __future__ import annotations

import ctypes
import ctypes.util
import gc
import os
from pathlib import Path

__all__ = ["anonymous_bytes", "pin", "usable_cpus"]

_STATUS = Path("/proc/self/status")
_TASKS = Path("/proc/self/task")


def usable_cpus() -> list[int]:
    """Return the CPUs that this process may use.

    Returns
    -------
    list of int
        Numbers; where the system does not tell, 0 to the count of cores.
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(cpus: list[int]) -> bool:
    """Bind every thread of this process to some CPUs, so that no hidden pool helps a single thread.

    Pools of linear algebra are limited to as many threads, since more than CPUs would wait for each other.

    Parameters
    ----------
    cpus : list of int
        At least one.

    Returns
    -------
    bool
        False where the system has no such call.
    """
    from threadpoolctl import threadpool_limits

    threadpool_limits(limits=len(cpus))
    if not hasattr(os, "sched_setaffinity"):
        return False
    tasks = [int(one.name) for one in _TASKS.iterdir()] if _TASKS.is_dir() else [0]
    for task in tasks:
        try:
            os.sched_setaffinity(task, cpus)
        except ProcessLookupError:
            # A thread that ended meanwhile needs no place.
            continue
    return True


def anonymous_bytes() -> int | None:
    """Return the memory of this process that no file backs, after what was freed has gone back to the system.

    Returns
    -------
    int or None
        Bytes; None where the system does not tell.
    """
    if not _STATUS.is_file():
        return None
    gc.collect()
    library = ctypes.util.find_library("c")
    if library is not None:
        trim = getattr(ctypes.CDLL(library), "malloc_trim", None)
        if trim is not None:
            trim(0)
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return None
