"""Many direct reads at once without a thread for each: Linux takes a list of them and tells which are done.

``io_submit`` and ``io_getevents`` are called by number, through the C library that the interpreter is linked with.
Where they are missing or refused (other systems, sandboxes), ``read_queued`` returns None and threads do the same.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import sys
import threading
import weakref
from typing import Any

import numpy as np

from orthant.types import IdArray

__all__ = ["read_queued"]

_NUMBERS = {"x86_64": (206, 207, 208, 209), "aarch64": (0, 1, 4, 2)}
"""``io_setup``, ``io_destroy``, ``io_getevents`` and ``io_submit`` of 64-bit kernels."""

_REFUSED = (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EAGAIN, errno.EINVAL, errno.ENOMEM)
_MOST = 32
"""Reads under way at a time, as many as there may be threads."""

_PAGE = 4096
_ORDER = np.dtype(
    [("data", "<u8"), ("key", "<u8"), ("op", "<u2"), ("prio", "<i2"), ("fd", "<u4"), ("buffer", "<u8"),
     ("size", "<u8"), ("offset", "<i8"), ("reserved", "<u8"), ("flags", "<u8")]
)  # fmt: skip
"""An order of the kernel's interface, 64 bytes; operation 0 reads."""

_here = threading.local()
_missing = False


class _Queue:
    """A queue of this thread, and the buffer that its reads go to.

    Raises
    ------
    OSError
        The system has none to give.
    """

    def __init__(self) -> None:
        numbers = _NUMBERS.get(platform.machine())
        if sys.platform != "linux" or numbers is None or sys.byteorder != "little" or sys.maxsize < 1 << 32:
            raise OSError(errno.ENOSYS, "no queues of reads here")
        self._destroy, self._events, self._submit = numbers[1:]
        self._call = ctypes.CDLL(None, use_errno=True).syscall
        self._call.restype = ctypes.c_long
        context = ctypes.c_ulong(0)
        self._asked(numbers[0], ctypes.c_long(_MOST), ctypes.byref(context))
        self.pid, self._context = os.getpid(), context
        self._orders, self._done = np.zeros(0, _ORDER), np.zeros((_MOST, 4), np.int64)
        self._pointers = np.zeros(0, np.uint64)
        self.buffer = mmap.mmap(-1, 16 * _PAGE)
        self.close = weakref.finalize(self, _destroyed, self._call, self._destroy, context.value, self.pid)

    def _asked(self, number: int, *args: Any) -> int:
        while True:
            out = int(self._call(ctypes.c_long(number), *args))
            if out >= 0:
                return out
            code = ctypes.get_errno()
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code))

    def read(self, fd: int, starts: IdArray, sizes: IdArray, most: int) -> tuple[IdArray, IdArray]:
        """Read pieces of a file into the buffer and return where each lies, and how many bytes came.

        Parameters
        ----------
        fd : int
            Open for direct reads.
        starts, sizes : ndarray of shape (m,), int64
            Whole pages.
        most : int
            Reads under way at a time.

        Returns
        -------
        places, got : ndarray of shape (m,), int64
            Offsets in the buffer; bytes, or minus the number of an error.
        """
        count = len(starts)
        places = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        if len(self.buffer) < places[-1]:
            self.buffer = mmap.mmap(-1, int(places[-1]))
        if len(self._orders) < count:
            self._orders = np.zeros(count, _ORDER)
            self._pointers = (self._orders.ctypes.data + 64 * np.arange(count)).astype(np.uint64)
        orders, got = self._orders[:count], np.zeros(count, np.int64)
        base = np.frombuffer(self.buffer, np.uint8).ctypes.data
        orders["data"], orders["fd"], orders["offset"] = np.arange(count), fd, starts
        orders["buffer"], orders["size"] = base + places[:-1], sizes
        sent = done = 0
        while done < count:
            free = min(count - sent, most - (sent - done))
            if free > 0:
                sent += self._sent(sent, free)
            # Half of what is under way, so that the disk has work while the next ones are sent.
            wanted = (sent - done + 1) // 2 if sent < count else sent - done
            came = self._asked(
                self._events, self._context, ctypes.c_long(wanted), ctypes.c_long(_MOST),
                ctypes.c_void_p(self._done.ctypes.data), None,
            )  # fmt: skip
            got[self._done[:came, 0]] = self._done[:came, 2]
            done += came
        return places[:-1], got

    def _sent(self, first: int, count: int) -> int:
        at = ctypes.c_void_p(self._pointers.ctypes.data + 8 * first)
        return self._asked(self._submit, self._context, ctypes.c_long(count), at)


def _destroyed(call: Any, number: int, context: int, pid: int) -> None:
    """Give a queue back; reads that are under way have ended when this returns."""
    if os.getpid() == pid:
        call(ctypes.c_long(number), ctypes.c_ulong(context))


def read_queued(
    fd: int, starts: IdArray, sizes: IdArray, *, readers: int
) -> tuple[memoryview, IdArray, IdArray] | None:
    """Read pieces of a file, several at a time.

    Parameters
    ----------
    fd : int
        Open for direct reads.
    starts, sizes : ndarray of shape (m,), int64
        Where pieces begin and their bytes, whole pages.
    readers : int
        Reads under way at a time, up to 32.

    Returns
    -------
    tuple of memoryview, ndarray and ndarray, or None
        All bytes, good until this thread reads again; where each piece lies in them; and how many bytes of it came,
        fewer where the file ends. None where the system has no such queues.

    Raises
    ------
    OSError
        A read failed.
    """
    global _missing
    if _missing:
        return None
    queue: _Queue | None = getattr(_here, "queue", None)
    if queue is None or queue.pid != os.getpid():
        try:
            queue = _here.queue = _Queue()
        except (OSError, AttributeError):
            _missing = True
            return None
    try:
        places, got = queue.read(fd, starts, sizes, min(readers, _MOST))
    except BaseException as error:
        # Reads may still be under way into the buffer: the queue ends first, and with it they do.
        queue.close()
        _here.queue = None
        if isinstance(error, OSError) and error.errno in _REFUSED:
            _missing = True
            return None
        raise
    failed = np.flatnonzero(got < 0)
    if len(failed):
        code = int(-got[failed[0]])
        raise OSError(code, os.strerror(code))
    return memoryview(queue.buffer), places, got
