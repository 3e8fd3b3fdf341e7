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
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from orthant.kernels.addresses import load_i64
from orthant.kernels.compiling import intrinsic, kernel
from orthant.kernels.warmup import is_ready

__all__ = ["Files", "gather", "map_rows", "release", "row_at", "table_of"]

GROUP = "graph"

_HEAD, _LINE = 2, 4
Files = npt.NDArray[np.int64]
"""How many files and the address of ``pread``; then for each file where its map begins and ends, its descriptor, and
the place in the file of the map's first byte."""


class _FileMap(mmap.mmap):
    """A map that holds its file open, so whoever holds the map may read the file instead of looking at it.

    The file belongs to the map and not to its addresses: another map may get these as soon as this one has ended.
    """

    line: tuple[int, int, int, int] | None = None


@functools.cache
def _reader() -> int:
    """Return the address of the system's ``pread``, 0 where there is none that takes places of 64 bits."""
    if not hasattr(os, "pread") or sys.maxsize < 2**32:
        return 0
    function = getattr(ctypes.CDLL(None), "pread", None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


def map_rows(file: BinaryIO, dtype: npt.DTypeLike, offset: int, shape: tuple[int, int]) -> np.ndarray:
    """Map the rows of an opened file, which stays open on its own account as long as the map does.

    Parameters
    ----------
    file : binary file
        Open for reading; may be closed afterwards.
    dtype : dtype
        Of a value.
    offset : int
        Bytes before the first row.
    shape : (int, int)
        Rows and values in each.

    Returns
    -------
    ndarray of shape ``shape``
        Read-only.

    Raises
    ------
    OSError
        The system cannot map it, or has no descriptor left.
    """
    kind = np.dtype(dtype)
    held = _FileMap(file.fileno(), offset + shape[0] * shape[1] * kind.itemsize, access=mmap.ACCESS_READ)
    matrix: np.ndarray = np.ndarray(shape, kind, buffer=held, offset=offset)
    if hasattr(os, "pread"):
        handle = os.dup(file.fileno())
        weakref.finalize(held, os.close, handle).atexit = False
        begin = matrix.ctypes.data - offset
        held.line = (begin, begin + len(held), handle, 0)
    return matrix


def _map_of(array: np.ndarray) -> mmap.mmap | None:
    """Return the map that an array is a part of."""
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def _line(array: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return the line of a table for the file in whose map an array lies."""
    held = _map_of(array)
    return held.line if isinstance(held, _FileMap) else None


def table_of(arrays: Iterable[np.ndarray]) -> Files | None:
    """Return the files behind some arrays as kernels take them.

    Parameters
    ----------
    arrays : iterable of ndarray of shape (n, d)
        Any; those that are not from `map_rows`, or a part of one, are passed over.

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
    held = _map_of(matrix)
    if held is not None and hasattr(mmap, "MADV_DONTNEED"):
        # Nothing of a read-only map can be lost by this.
        with contextlib.suppress(OSError, ValueError):
            held.madvise(mmap.MADV_DONTNEED)
