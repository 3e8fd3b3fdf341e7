"""Segment files: append-only vectors of a fixed stride with a checksum per mebibyte.

A segment is a 4,096-byte header and then vectors back to back. Files never name their own length: the database does,
so bytes behind the committed length are leftovers of a call that was never acknowledged, and are cut off by the next
writer. Checksums live in the database too, so a file and its checksum cannot be torn apart.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from orthant.collection.storage.files import SHORTAGES, FileLayer, storage_error
from orthant.errors import StoreCorruptedError, StoreVersionError, message
from orthant.kernels.files.rows import map_rows, release
from orthant.types import FloatArray, IdArray

__all__ = [
    "BLOCK_BYTES",
    "HEADER_BYTES",
    "Extent",
    "SegmentFolder",
    "SegmentMissingError",
    "SegmentState",
    "extend_checksums",
    "pack_rows",
    "unpack_rows",
]

BLOCK_BYTES = 1 << 20
HEADER_BYTES = 4096
_MAX_SEGMENT_BYTES = 512 << 20
_MAGIC = b"ORTHSEG\0"
_FORMAT = 1
# magic, format, dimension, bytes per value, header bytes; a CRC-32 of these follows
_HEADER = struct.Struct("<8sIIII")


class SegmentMissingError(StoreCorruptedError):
    """A segment file is not there: damage, or a compaction since the reader looked at the database."""


@dataclass(frozen=True)
class SegmentState:
    """The committed part of one segment.

    Attributes
    ----------
    number : int
        Number of the segment within its space.
    slots : int
        Committed vectors.
    crcs : tuple of int
        CRC-32 of every block of ``BLOCK_BYTES``; the last may be partial.
    """

    number: int
    slots: int
    crcs: tuple[int, ...]


@dataclass(frozen=True)
class Extent:
    """Consecutive slots and the rows they belong to.

    Attributes
    ----------
    segment : int
        Number of the segment.
    first_slot : int
        First slot.
    rows : ndarray of shape (slots,), int64
        Row of each slot, ascending; a row with several vectors stands once for each.
    """

    segment: int
    first_slot: int
    rows: IdArray

    @property
    def is_range(self) -> bool:
        """Whether the rows are consecutive, so that two numbers describe them."""
        return bool((self.rows[1:] - self.rows[:-1] == 1).all())


def extend_checksums(crcs: Sequence[int], offset: int, data: memoryview) -> tuple[int, ...]:
    """Return block checksums after appending data at an offset.

    Parameters
    ----------
    crcs : sequence of int
        Checksums of the bytes before ``offset``.
    offset : int
        Bytes already covered.
    data : memoryview of bytes
        What is appended.

    Returns
    -------
    tuple of int
        Checksums of all bytes.
    """
    out = list(crcs)
    position = 0
    while position < len(data):
        block, within = divmod(offset + position, BLOCK_BYTES)
        part = data[position : position + BLOCK_BYTES - within]
        if within:
            out[block] = zlib.crc32(part, out[block])
        else:
            out.append(zlib.crc32(part))
        position += len(part)
    return tuple(out)


def pack_rows(rows: IdArray) -> bytes:
    """Write the row of each slot: one by one, or as runs where a row has several slots.

    Parameters
    ----------
    rows : ndarray of shape (slots,), int64
        Ascending, one at least.

    Returns
    -------
    bytes
        What ``unpack_rows`` reads.
    """
    if bool((rows[1:] > rows[:-1]).all()):
        return rows.astype("<i8").tobytes()
    starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
    lengths = np.diff(starts, append=len(rows))
    # The first byte makes the length odd, which no plain list of rows has.
    return b"r" + rows[starts].astype("<i8").tobytes() + lengths.astype("<u4").tobytes()


def unpack_rows(blob: bytes) -> IdArray:
    """Read the row of each slot.

    Parameters
    ----------
    blob : bytes
        What ``pack_rows`` wrote.

    Returns
    -------
    ndarray of shape (slots,), int64
        Ascending.
    """
    if len(blob) % 2 == 0:
        return np.frombuffer(blob, dtype="<i8")
    runs = (len(blob) - 1) // 12
    rows = np.frombuffer(blob, dtype="<i8", count=runs, offset=1)
    return np.repeat(rows, np.frombuffer(blob, dtype="<u4", count=runs, offset=1 + 8 * runs))


@dataclass
class SegmentFolder:
    """The segment files of one space.

    Parameters
    ----------
    folder : Path
        Where they lie.
    dim : int
        Values per vector.
    files : FileLayer
        How they are written.
    dtype : {"float32", "float16"}, default "float32"
        How a value is stored.
    """

    folder: Path
    dim: int
    files: FileLayer
    dtype: str = "float32"
    _verified: dict[int, int] = field(default_factory=dict, repr=False)
    _given_up: int = field(default=-1, repr=False)

    @property
    def stride(self) -> int:
        """Bytes per vector."""
        return self._stored.itemsize * self.dim

    @property
    def _stored(self) -> np.dtype:
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def slots_per_segment(self) -> int:
        """Vectors after which a new file is begun."""
        return max(1, _MAX_SEGMENT_BYTES // self.stride)

    def path(self, number: int) -> Path:
        """Return the file of a segment.

        Parameters
        ----------
        number : int
            Its number.

        Returns
        -------
        Path
            The file.
        """
        return self.folder / f"{number:06d}.seg"

    def append(
        self, states: Sequence[SegmentState], X: FloatArray, rows: IdArray, *, next_number: int
    ) -> tuple[list[SegmentState], list[Extent]]:
        """Write vectors behind the committed ones and sync them; the caller commits.

        Parameters
        ----------
        states : sequence of SegmentState
            The space's committed segments.
        X : ndarray of shape (n, dim), float32
            Vectors.
        rows : ndarray of shape (n,), int64
            Their rows, ascending. The vectors of one row stay in one segment.
        next_number : int
            Number for the next new segment; never one that was used before.

        Returns
        -------
        changed : list of SegmentState
            New states of the segments that grew.
        extents : list of Extent
            Which rows lie where.
        """
        changed: list[SegmentState] = []
        extents: list[Extent] = []
        last = max(states, key=lambda s: s.number, default=None)
        next_number = self.first_free(next_number)
        if last is not None and last.number <= self._given_up:
            last = None
        begun = 0
        while begun < len(X):
            if last is None or last.slots >= self.slots_per_segment:
                last = SegmentState(next_number, 0, ())
                next_number += 1
                self._create(last.number)
            count = self._whole_rows(rows, begun, self.slots_per_segment - last.slots, fresh=not last.slots)
            if not count:
                last = None
                continue
            part = X[begun : begun + count]
            data = np.ascontiguousarray(part, dtype=self._stored).reshape(-1).view(np.uint8).data
            offset = last.slots * self.stride
            self.files.write_at(self.path(last.number), HEADER_BYTES + offset, data)
            extents.append(Extent(last.number, last.slots, rows[begun : begun + count]))
            last = SegmentState(last.number, last.slots + count, extend_checksums(last.crcs, offset, data))
            changed.append(last)
            begun += count
        self.files.sync(self.path(state.number) for state in changed)
        return changed, extents

    def _whole_rows(self, rows: IdArray, begun: int, room: int, *, fresh: bool) -> int:
        """Return how many slots to write so that no row is divided; one too long for any segment gets its own."""
        stop = begun + room
        if stop >= len(rows) or rows[stop] != rows[stop - 1]:
            return min(room, len(rows) - begun)
        first = max(begun, int(np.searchsorted(rows, rows[stop])))
        if first == begun and fresh:
            return int(np.searchsorted(rows, rows[stop], side="right")) - begun
        return first - begun

    def give_up(self, states: Iterable[SegmentState]) -> None:
        """Never write to these segments again, since a commit that grew them may or may not come back.

        After a failed sync of the log nobody knows whether the next start finds the commit there; its vectors must
        then still be what its checksums say.

        Parameters
        ----------
        states : iterable of SegmentState
            What the failed commit would have made of the segments.
        """
        self._given_up = max([self._given_up, *(state.number for state in states)])

    def first_free(self, number: int) -> int:
        """Return the lowest number for a new segment.

        Parameters
        ----------
        number : int
            The lowest that no commit used.

        Returns
        -------
        int
            At least ``number``, beyond every segment given up.
        """
        return max(number, self._given_up + 1)

    def _create(self, number: int) -> None:
        path = self.path(number)
        self.files.make_folder(self.folder)
        self.files.remove(path)
        self.files.create(path)
        fields = _HEADER.pack(_MAGIC, _FORMAT, self.dim, self._stored.itemsize, HEADER_BYTES)
        header = fields + struct.pack("<I", zlib.crc32(fields))
        self.files.write_at(path, 0, header.ljust(HEADER_BYTES, b"\0"))
        # The file's name, its folder's, and the name of the folder around that one.
        for folder in (self.folder, self.folder.parent, self.folder.parent.parent):
            self.files.sync_folder(folder)

    def map(self, state: SegmentState) -> FloatArray:
        """Map the committed vectors of a segment after checking header and length.

        Parameters
        ----------
        state : SegmentState
            What was committed.

        Returns
        -------
        ndarray of shape (slots, dim), of the stored dtype
            A read-only memory map.

        Raises
        ------
        StoreCorruptedError
            Missing, short, or not such a file.
        StoreError
            The process may open no more files, or has no memory left.
        """
        path = self.path(state.number)
        needed = HEADER_BYTES + state.slots * self.stride
        try:
            # Opened once: what is checked is what is mapped, also when a compaction removes the name meanwhile.
            with open(path, "rb") as file:
                size, header = os.fstat(file.fileno()).st_size, file.read(_HEADER.size + 4)
                if size < needed:
                    raise self._corrupted(path, f"{size} bytes where {needed} were committed")
                self._check_header(path, header)
                return map_rows(file, self._stored, HEADER_BYTES, (state.slots, self.dim))
        except FileNotFoundError as error:
            raise SegmentMissingError(str(self._corrupted(path, "missing"))) from error
        except OSError as error:
            if error.errno in SHORTAGES:
                raise storage_error(error, path, "map") from error
            raise self._corrupted(path, f"unreadable: {error.strerror}") from error

    def _check_header(self, path: Path, header: bytes) -> None:
        fields = header[: _HEADER.size]
        if len(header) < _HEADER.size + 4 or struct.unpack("<I", header[_HEADER.size :])[0] != zlib.crc32(fields):
            raise self._corrupted(path, "its header fails its checksum")
        magic, version, dim, width, begin = _HEADER.unpack(fields)
        if magic == _MAGIC and version > _FORMAT:
            raise StoreVersionError(message(f"{path.name} of format {version}", f"{_FORMAT}", "upgrade orthant"))
        if (magic, dim, width, begin) != (_MAGIC, self.dim, self._stored.itemsize, HEADER_BYTES):
            given = f"a header for dimension {dim} and {width} bytes a value"
            raise self._corrupted(path, f"{given} where the space has {self.dim} and {self._stored.itemsize}")

    def verify(self, state: SegmentState, *, again: bool = False, matrix: FloatArray | None = None) -> list[int]:
        """Return the numbers of blocks whose checksum fails.

        Parameters
        ----------
        state : SegmentState
            What was committed.
        again : bool, default False
            Read every block, also those that this object found sound before.
        matrix : ndarray of shape (slots, dim), float32, optional
            The mapped vectors, where the caller has them.

        Returns
        -------
        list of int
            Damaged blocks; empty when sound.
        """
        total = state.slots * self.stride
        known = 0 if again else self._verified.get(state.number, 0)
        if known >= total:
            return []
        vectors = self.map(state) if matrix is None else matrix
        data = vectors.reshape(-1).view(np.uint8).data
        damaged = [
            block
            for block in range(known // BLOCK_BYTES, len(state.crcs))
            if zlib.crc32(data[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]) != state.crcs[block]
        ]
        # Whoever needs some of the vectors need not hold them all.
        release(vectors)
        if not damaged:
            self._verified[state.number] = total
        return damaged

    def require_sound(self, state: SegmentState, matrix: FloatArray | None = None) -> None:
        """Raise unless every block's checksum holds; blocks are read once per process.

        Parameters
        ----------
        state : SegmentState
            What was committed.
        matrix : ndarray of shape (slots, dim), float32, optional
            The mapped vectors, where the caller has them.

        Raises
        ------
        StoreCorruptedError
            Names the file and the first damaged block.
        """
        damaged = self.verify(state, matrix=matrix)
        if damaged:
            raise self._corrupted(self.path(state.number), f"block {damaged[0]} fails its checksum")

    def trust(self, state: SegmentState, *, before: int) -> None:
        """Note that this process wrote the latest bytes itself, so they need no verification.

        Parameters
        ----------
        state : SegmentState
            What was just committed.
        before : int
            Slots that were committed earlier, by whomever.
        """
        if self._verified.get(state.number, 0) >= before * self.stride:
            self._verified[state.number] = state.slots * self.stride

    def recover(self, states: Sequence[SegmentState]) -> list[str]:
        """Cut off what was never committed and delete files nobody refers to.

        Parameters
        ----------
        states : sequence of SegmentState
            The committed segments.

        Returns
        -------
        list of str
            What was done, one line per file.
        """
        done: list[str] = []
        if not self.folder.is_dir():
            return done
        known = {self.path(state.number): state for state in states}
        for path in sorted(self.folder.iterdir()):
            state = known.get(path)
            if state is None:
                if self.files.remove(path):
                    done.append(f"removed {path.name}: never committed")
                continue
            needed = HEADER_BYTES + state.slots * self.stride
            size = path.stat().st_size
            if size > needed:
                self.files.truncate(path, needed)
                done.append(f"cut {size - needed} uncommitted bytes off {path.name}")
        return done

    def _corrupted(self, path: Path, what: str) -> StoreCorruptedError:
        name = path.relative_to(self.folder.parent.parent)
        return StoreCorruptedError(
            message(
                f"a damaged segment {name} ({what})",
                "the vectors that were committed",
                "run `orthant check --repair`, which encodes them again from the stored texts",
            )
        )
