"""Vectors in files, read row by row on demand: what is read is counted, and need not stay in memory."""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import InputError, StoreCorruptedError, message
from orthant.index.tiers.queued import read_queued
from orthant.kernels.distances import TILE_BYTES, row_chunks
from orthant.threads import map_waiting
from orthant.types import FloatArray, IdArray

__all__ = ["ACCESS", "DiskRows", "Reads", "RowFile"]

ACCESS = ("cached", "uncached", "direct")
PAGE = 4096
"""Direct reads begin and end on multiples of this, and pages of the cache are dropped whole."""

_QUEUED_BYTES = 4 << 20
_DIRECT = getattr(os, "O_DIRECT", 0)
_BINARY = getattr(os, "O_BINARY", 0)
_buffers = threading.local()


@dataclass(frozen=True)
class Reads:
    """What reading cost.

    Attributes
    ----------
    calls : int
        Reads asked of the operating system.
    rows : int
        Vectors delivered.
    nbytes : int
        Bytes read, those between and around the rows included.
    """

    calls: int = 0
    rows: int = 0
    nbytes: int = 0

    def __add__(self, other: Reads) -> Reads:
        return Reads(self.calls + other.calls, self.rows + other.rows, self.nbytes + other.nbytes)


class RowFile:
    """One file of float32 rows back to back; rows that were written never change.

    Parameters
    ----------
    path : str or Path
        The file; it may be renamed or removed afterwards, since it stays open.
    dim : int
        Values of a row.
    count : int
        Rows that it holds.
    access : {"cached", "uncached", "direct"}
        Reads through the page cache; through it, dropping the pages afterwards; or past it.
    offset : int, default 0
        Bytes before the first row.
    writable : bool, default False
        Whether rows will be appended.

    Raises
    ------
    StoreCorruptedError
        The file is shorter than its rows.
    InputError
        Direct reads that the file system does not offer.
    """

    def __init__(
        self, path: str | Path, dim: int, count: int, *, access: str, offset: int = 0, writable: bool = False
    ) -> None:
        self.name, self.dim, self.count, self.access, self.offset = str(path), dim, count, access, offset
        self.stride = dim * 4
        self._growing, self._pid = writable, os.getpid()
        self._plain = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | _BINARY)
        self._fd = self._plain
        fds = [self._plain]
        # Closed when the last snapshot that reads from it is gone.
        self._close = weakref.finalize(self, _close, fds)
        self._seek = threading.Lock()
        if access == "direct":
            self._fd = _open_direct(path)
            fds.append(self._fd)
        if os.fstat(self._plain).st_size < offset + count * self.stride:
            size, wanted = os.fstat(self._plain).st_size, offset + count * self.stride
            raise StoreCorruptedError(
                message(f"{path} of {size} bytes", f"{wanted}, {count} rows of {dim} values", "restore the file")
            )
        self._advise(0, 0, "POSIX_FADV_RANDOM")

    @property
    def growing(self) -> bool:
        """Whether rows may be appended: by the process that made the file, since a copy of it would write over them."""
        return self._growing and self._pid == os.getpid()

    @classmethod
    def fresh(cls, folder: str | Path | None, dim: int, *, access: str) -> RowFile:
        """Return an empty file that goes when nobody uses it any more.

        Parameters
        ----------
        folder : str or Path or None
            Where; None takes the folder for temporary files.
        dim : int
            Values of a row.
        access : str
            As for the class.

        Returns
        -------
        RowFile
            Writable.
        """
        if folder is not None:
            try:
                Path(folder).mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                given = f"folder={str(folder)!r}, which is or lies in a file"
                raise InputError(message(given, "a folder", "choose another one")) from error
        handle, path = tempfile.mkstemp(suffix=".rows", dir=folder)
        os.close(handle)
        try:
            out = cls(path, dim, 0, access=access, writable=True)
        except BaseException:
            os.unlink(path)
            raise
        if os.name == "posix":
            # Open but without a name: nothing is left behind, however the process ends.
            os.unlink(path)
        else:
            weakref.finalize(out, Path(path).unlink, missing_ok=True)
        return out

    def append(self, matrix: FloatArray) -> None:
        """Write rows behind the others; readers of earlier snapshots are not disturbed.

        Parameters
        ----------
        matrix : ndarray of shape (m, dim), float32
            Rows.
        """
        start = self.offset + self.count * self.stride
        at = start
        for a, b in row_chunks(len(matrix), self.stride):
            data = memoryview(np.ascontiguousarray(matrix[a:b], dtype="<f4").tobytes())
            while data:
                done = self._write(data, at)
                data, at = data[done:], at + done
        self.count += len(matrix)
        if self.access != "cached" and hasattr(os, "fdatasync"):
            # Pages that are not written yet cannot be dropped.
            os.fdatasync(self._plain)
            self._advise(start, at - start, "POSIX_FADV_DONTNEED")

    def _write(self, data: memoryview, at: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._plain, data, at)
        with self._seek:
            os.lseek(self._plain, at, os.SEEK_SET)
            return os.write(self._plain, data)

    def _advise(self, start: int, size: int, advice: str) -> None:
        if hasattr(os, "posix_fadvise"):
            first = start // PAGE * PAGE
            os.posix_fadvise(self._plain, first, -(-(start + size) // PAGE) * PAGE - first, getattr(os, advice))

    def read(self, rows: IdArray, out: FloatArray, *, readers: int) -> Reads:
        """Read rows, neighbouring ones by one call.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Ascending, distinct.
        out : ndarray of shape (m, dim), float32
            Filled.
        readers : int
            Reads under way at a time where they wait for the disk.

        Returns
        -------
        Reads
            What it cost.

        Raises
        ------
        StoreCorruptedError
            The file was cut while in use.
        """
        starts, stops, groups = self._groups(rows)
        if (
            self.access == "direct"
            and len(starts) > 1
            and self._read_queued(rows, out, (starts, stops, groups), readers)
        ):
            return Reads(len(starts), len(rows), int((stops - starts).sum()))

        def part(number: int) -> None:
            a, b = groups[number], groups[number + 1]
            start, stop = int(starts[number]), int(stops[number])
            data, got = self._read(start, stop - start)
            self._check_came(start, got, int(rows[b - 1]))
            self._copy(data, start, rows, out, a, b)

        if self.access == "direct":
            map_waiting(part, range(len(starts)), workers=readers)
        else:
            if len(starts) > 1:
                # All are asked for before the first is waited for, so that the disk sees a queue.
                for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                    self._advise(start, stop - start, "POSIX_FADV_WILLNEED")
            for number in range(len(starts)):
                part(number)
            if self.access == "uncached":
                for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
                    self._advise(start, stop - start, "POSIX_FADV_DONTNEED")
        return Reads(len(starts), len(rows), int((stops - starts).sum()))

    def _copy(self, data: Any, start: int, rows: IdArray, out: FloatArray, a: int, b: int) -> None:
        """Take rows a to b out of bytes that begin at an offset of the file."""
        for place in range(a, b):
            begin = self.offset + int(rows[place]) * self.stride - start
            out[place] = np.frombuffer(data, dtype="<f4", count=self.dim, offset=begin)

    def _read_queued(
        self, rows: IdArray, out: FloatArray, pieces: tuple[IdArray, IdArray, list[int]], readers: int
    ) -> bool:
        """Read by a queue of the system, some MiB at a time; False where there is none."""
        starts, stops, groups = pieces
        sizes = stops - starts
        for first, last in row_chunks(len(starts), int(sizes.max()), _QUEUED_BYTES):
            found = read_queued(self._fd, starts[first:last], sizes[first:last], readers=readers)
            if found is None:
                return False
            data, places, got = found
            for number in range(first, last):
                a, b, start = groups[number], groups[number + 1], int(starts[number])
                self._check_came(start, int(got[number - first]), int(rows[b - 1]))
                self._copy(data, start - int(places[number - first]), rows, out, a, b)
        return True

    def _check_came(self, start: int, got: int, last: int) -> None:
        needed = self.offset + (last + 1) * self.stride - start
        if got < needed:
            size = os.fstat(self._plain).st_size
            expected = f"{start + needed}"
            raise StoreCorruptedError(
                message(f"{self.name} that ends after {size} bytes", expected, "restore the file")
            )

    def _groups(self, rows: IdArray) -> tuple[IdArray, IdArray, list[int]]:
        """Return where each read begins and ends, and which rows it serves."""
        begin = self.offset + rows * self.stride
        end = begin + self.stride
        if self.access == "direct":
            begin, end = begin // PAGE * PAGE, -(-end // PAGE) * PAGE
        fresh = np.ones(len(rows), dtype=bool)
        fresh[1:] = begin[1:] > end[:-1]
        first = np.flatnonzero(fresh)
        groups = [*first.tolist(), len(rows)]
        return begin[first], end[np.array(groups[1:]) - 1], groups

    def _read(self, start: int, size: int) -> tuple[Any, int]:
        if self.access == "direct":
            buffer = _aligned(size)
            got = os.preadv(self._fd, [memoryview(buffer)[:size]], start)
            data: Any = buffer
        elif hasattr(os, "pread"):
            data = os.pread(self._fd, size, start)
            got = len(data)
        else:
            with self._seek:
                os.lseek(self._fd, start, os.SEEK_SET)
                data = os.read(self._fd, size)
            got = len(data)
        return data, got


def _open_direct(path: str | Path) -> int:
    if not _DIRECT or not hasattr(os, "preadv"):
        raise InputError(message("access='direct' on this system", "'cached' or 'uncached'", "choose one of them"))
    try:
        return os.open(path, os.O_RDONLY | _DIRECT)
    except OSError as error:
        given = f"access='direct' for {path}, whose file system refuses it ({error.strerror})"
        raise InputError(message(given, "'cached' or 'uncached' there", "choose one, or another disk")) from error


def _aligned(size: int) -> mmap.mmap:
    """Return this thread's buffer, which begins on a page and is large enough."""
    buffer: mmap.mmap | None = getattr(_buffers, "buffer", None)
    if buffer is None or len(buffer) < size:
        buffer = mmap.mmap(-1, max(16 * PAGE, size))
        _buffers.buffer = buffer
    return buffer


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


@dataclass(frozen=True)
class DiskRows:
    """Rows of several files, numbered through: one immutable snapshot.

    Attributes
    ----------
    dim : int
        Values of a row.
    parts : tuple of (RowFile, int)
        Each file with the number of its rows that belong to this snapshot.
    """

    dim: int
    parts: tuple[tuple[RowFile, int], ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(count for _, count in self.parts)

    @property
    def nbytes(self) -> int:
        """Bytes of vectors on disk."""
        return len(self) * self.dim * 4

    def extended(self, matrix: FloatArray, folder: str | Path | None, access: str) -> DiskRows:
        """Return a snapshot with further rows, written to the last file where that one may grow.

        Parameters
        ----------
        matrix : ndarray of shape (m, dim), float32
            Rows.
        folder : str or Path or None
            Where a new file goes.
        access : str
            How it will be read.

        Returns
        -------
        DiskRows
            The longer snapshot; this one stays as it is.
        """
        parts = list(self.parts)
        if parts and parts[-1][0].growing:
            file, count = parts.pop()
            # A call that failed may have written behind the rows that count.
            file.count = count
        else:
            file = RowFile.fresh(folder, self.dim, access=access)
        file.append(matrix)
        return DiskRows(self.dim, (*parts, (file, file.count)))

    def read(self, rows: IdArray, *, readers: int = 1) -> tuple[FloatArray, Reads]:
        """Return rows and what it cost to read them.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Ascending, distinct.
        readers : int, default 1
            Direct reads under way at a time.

        Returns
        -------
        tuple of ndarray of shape (m, dim), float32, and Reads
            The rows.
        """
        out = np.empty((len(rows), self.dim), dtype=np.float32)
        cost, first = Reads(), 0
        for file, count in self.parts:
            a, b = np.searchsorted(rows, (first, first + count))
            if b > a:
                cost += file.read(rows[a:b] - first, out[a:b], readers=readers)
            first += count
        return out, cost

    def chunks(self, rows: IdArray, *, readers: int = 1) -> Iterator[tuple[IdArray, FloatArray, Reads]]:
        """Yield rows a few MiB at a time.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Ascending, distinct.
        readers : int, default 1
            As for ``read``.

        Yields
        ------
        tuple of ndarray, ndarray and Reads
            Row numbers, their vectors, what it cost.
        """
        for start, stop in row_chunks(len(rows), self.dim * 4, TILE_BYTES):
            part = rows[start:stop]
            yield part, *self.read(part, readers=readers)
