"""Single rows of mapped files, copied by a read in place of a look at the map.

A look at one row of a map makes the system map sixteen pages around it, which then count as memory of the process. A
search looks at a few dozen rows that lie anywhere, so a few searches map the whole file. A read of a row of two
kilobytes takes as long as the cache misses of a look at it, about half a microsecond, and leaves nothing behind. Where
many rows side by side are wanted, as by a scan, the map is the better way, and stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import mmap
import os
import sys
import weakref
from collections import deque
from collections.abc import Iterable
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.addresses import load_i64
from orthant.kernels.compiling import intrinsic, kernel
from orthant.kernels.warmup import is_ready

__all__ = ["Files", "gather", "register", "release", "row_at", "table_of"]

GROUP = "graph"

_HEAD, _LINE = 2, 4
Files = npt.NDArray[np.int64]
"""How many files and the address of ``pread``; then for each file where its map begins and ends, its descriptor, and
the place in the file of the map's first byte."""

_lock = Lock()
_known: dict[int, tuple[int, int, int]] = {}
_gone: deque[tuple[int, int]] = deque()
"""Maps that ended. The collector may end one in the middle of anything, also of what holds the lock."""


@functools.cache
def _reader() -> int:
    """Return the address of the system's ``pread``, 0 where there is none that takes places of 64 bits."""
    if not hasattr(os, "pread") or sys.maxsize < 2**32:
        return 0
    function = getattr(ctypes.CDLL(None), "pread", None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


def register(array: np.memmap, path: str | os.PathLike[str]) -> None:
    """Note which file lies behind a map, which stays open as long as the map does.

    Parameters
    ----------
    array : memmap of shape (n, d)
        Just made; the caller has checked that it is of this file.
    path : path
        The file. Nothing happens where the system cannot read at a place, or the file went away meanwhile.
    """
    held = array._mmap  # type: ignore[attr-defined]
    if held is None or not hasattr(os, "pread"):
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    begin = array.ctypes.data
    with _lock:
        _forget_gone()
        _known[begin] = (begin + array.nbytes, handle, array.offset)
    weakref.finalize(held, _end, begin, handle)


def _end(begin: int, handle: int) -> None:
    # Without the lock, which this very thread may hold.
    _gone.append((begin, handle))
    os.close(handle)


def _forget_gone() -> None:
    """Forget the maps that ended; called with the lock held, before anything is looked up."""
    while _gone:
        begin, handle = _gone.popleft()
        if _known.get(begin, (0, -1, 0))[1] == handle:
            del _known[begin]


def _line(array: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return the line of a table for the file in whose map an array lies."""
    at = array.ctypes.data
    with _lock:
        _forget_gone()
        for begin, (end, handle, offset) in _known.items():
            if begin <= at < end:
                return begin, end, handle, offset
    return None


def table_of(arrays: Iterable[np.ndarray]) -> Files | None:
    """Return the files behind some arrays as kernels take them.

    Parameters
    ----------
    arrays : iterable of ndarray of shape (n, d)
        Any; those that are not a registered map, or a part of one, are passed over.

    Returns
    -------
    ndarray of int64 or None
        Valid while the arrays are. None where no file is behind any.
    """
    reader = _reader()
    lines = {line for array in arrays if (line := _line(array)) is not None} if reader else set()
    if not lines:
        return None
    return np.array([len(lines), reader, *(value for line in sorted(lines) for value in line)], np.int64)


@intrinsic
def read_at(typing: Any, reader: Any, handle: Any, room: Any, size: Any, place: Any) -> Any:
    """Read bytes of a file at a place.

    Parameters
    ----------
    reader : int64
        Address of ``pread``.
    handle : int64
        Descriptor of the file.
    room : int64
        Address that receives the bytes.
    size, place : int64
        How many, and from where.

    Returns
    -------
    int64
        How many were read, or -1.
    """
    from llvmlite import ir
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole, small = ir.IntType(64), ir.IntType(32)
        bytes_at = ir.PointerType(ir.IntType(8))
        kind = ir.FunctionType(whole, [small, bytes_at, whole, whole])
        function = builder.inttoptr(args[0], ir.PointerType(kind))
        given = [builder.trunc(args[1], small), builder.inttoptr(args[2], bytes_at), args[3], args[4]]
        return builder.call(function, given)

    return types.int64(*[types.int64] * 5), generate


@kernel
def row_at(files: Any, address: Any, room: Any, size: Any) -> Any:
    """Return where the bytes at an address can be looked at: in ``room``, read from the file, or where they are.

    Parameters
    ----------
    files : int
        Address of a table, or 0.
    address : int
        Of the bytes, mapped or not.
    room : int
        Address of room for them.
    size : int
        How many.

    Returns
    -------
    int
        ``room``, or ``address`` where no file of the table is behind it, or the read failed.
    """
    if files != 0:
        for i in range(load_i64(files)):
            line = files + 8 * (_HEAD + _LINE * i)
            begin = load_i64(line)
            if begin <= address < load_i64(line + 8):
                place = load_i64(line + 24) + address - begin
                if read_at(load_i64(files + 8), load_i64(line + 16), room, size, place) == size:
                    return room
                return address
    return address


def _gather_examples() -> Iterable[tuple[Any, ...]]:
    yield 0, 0, 0, np.zeros(1, np.int64), 0, 0


@kernel(group=GROUP, examples=_gather_examples)
def copy_rows(files: Any, base: Any, stride: Any, rows: Any, out: Any, size: Any) -> Any:
    """Read rows from their file one behind the other, and return how many were read before one could not be."""
    for i in range(len(rows)):
        room = out + size * i
        if row_at(files, base + stride * rows[i], room, size) != room:
            return i
    return len(rows)


def gather(matrix: np.ndarray, rows: npt.NDArray[np.int64]) -> np.ndarray:
    """Return a copy of chosen rows, read from the file where the rows are a map of one.

    Parameters
    ----------
    matrix : ndarray of shape (n, d)
        Rows.
    rows : ndarray of shape (m,), int64
        Numbers of rows, none negative.

    Returns
    -------
    ndarray of shape (m, d)
        ``matrix[rows]``.

    Notes
    -----
    Until the graph kernels are compiled the map is looked at.
    """
    files = table_of([matrix]) if len(rows) and is_ready(GROUP) and matrix.strides[1] == matrix.itemsize else None
    if files is None:
        return matrix[rows]
    out = np.empty((len(rows), matrix.shape[1]), matrix.dtype)
    numbers = np.ascontiguousarray(rows, np.int64)
    size = matrix.itemsize * matrix.shape[1]
    done = copy_rows(files.ctypes.data, matrix.ctypes.data, matrix.strides[0], numbers, out.ctypes.data, size)
    return out if done == len(rows) else matrix[rows]


def release(matrix: np.ndarray) -> None:
    """Give back the memory of a map that was read from end to end; the next look maps what it needs again.

    Parameters
    ----------
    matrix : ndarray of shape (n, d)
        A map, or a part of one; anything else is left alone.
    """
    base: Any = matrix
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        # Nothing of a read-only map can be lost by this.
        with contextlib.suppress(OSError, ValueError):
            base.madvise(mmap.MADV_DONTNEED)
