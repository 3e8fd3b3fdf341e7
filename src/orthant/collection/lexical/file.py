"""One file of named arrays: mapped at once, each array checked when it is first touched.

Layout: 8 bytes of magic, the header's length and CRC-32 as little-endian uint32, the header as JSON, zeros up to a
multiple of 64, then the arrays back to back, each filled up to a multiple of 64 bytes. A block's checksum covers its
filling, so every byte of the file is covered by one.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import written_aside
from orthant.errors import NotFoundError, StoreCorruptedError, StoreVersionError, message

__all__ = ["StoredArrays", "read_arrays", "write_arrays"]

_MAGIC = b"ORTHANTA"
_PREFIX = struct.Struct("<8sII")
_ALIGNMENT = 64
_REMEDY = "rebuild it from the stored texts"
_Block = tuple[str, str, int, int, int]  # name, dtype, offset, size in bytes, checksum


def write_arrays(path: str | Path, *, version: int, settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write arrays so that a reader sees the old file or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        Target; its folder must exist.
    version : int
        Format of the content.
    settings : mapping
        JSON-serialisable facts.
    arrays : mapping of str to ndarray or bytes
        One-dimensional numeric arrays, or bytes stored as uint8.
    """
    blocks: list[_Block] = []
    parts: list[npt.NDArray[Any]] = []
    at = 0
    for name, value in arrays.items():
        array = np.frombuffer(value, dtype=np.uint8) if isinstance(value, bytes) else np.ascontiguousarray(value)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        checksum = zlib.crc32(bytes(-array.nbytes % _ALIGNMENT), zlib.crc32(array.tobytes()))
        blocks.append((name, array.dtype.str, at, array.nbytes, checksum))
        parts.append(array)
        at += array.nbytes + -array.nbytes % _ALIGNMENT
    header = json.dumps({"version": version, "settings": settings, "blocks": blocks, "bytes": at}).encode()
    header += b" " * (-(len(header) + _PREFIX.size) % _ALIGNMENT)
    with written_aside(path) as handle:
        handle.write(_PREFIX.pack(_MAGIC, len(header), zlib.crc32(header)) + header)
        for array in parts:
            handle.write(array.tobytes())
            handle.write(bytes(-array.nbytes % _ALIGNMENT))


class StoredArrays(Mapping[str, npt.NDArray[Any]]):
    """Arrays of a mapped file, each compared with its checksum when it is first read.

    Parameters
    ----------
    path : Path
        Named in errors.
    view : memoryview
        The bytes after the header.
    blocks : sequence of tuple
        Name, dtype, offset, size in bytes and checksum of each array.
    """

    def __init__(self, path: Path, view: memoryview, blocks: list[_Block]) -> None:
        self._path = path
        self._view = view
        self._blocks = {block[0]: block for block in blocks}
        self._checked: dict[str, npt.NDArray[Any]] = {}

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        """Return one array, read-only.

        Raises
        ------
        StoreCorruptedError
            Its bytes are not those that were written.
        """
        array = self._checked.get(name)
        if array is None:
            _, dtype, start, size, checksum = self._blocks[name]
            if zlib.crc32(self._view[start : start + size + -size % _ALIGNMENT]) != checksum:
                raise StoreCorruptedError(
                    message(f"block {name!r} of {self._path} with a wrong checksum", "the bytes written", _REMEDY)
                )
            array = np.frombuffer(self._view[start : start + size], dtype=np.dtype(dtype))
            self._checked[name] = array
        return array

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._blocks)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._blocks)

    def part(self, prefix: str, names: tuple[str, ...]) -> Mapping[str, npt.NDArray[Any]]:
        """Return the arrays called ``prefix + name`` under their short names, still unread.

        Parameters
        ----------
        prefix : str
            First part of the arrays' names in the file.
        names : sequence of str
            Names below the prefix.

        Returns
        -------
        mapping of str to ndarray
            Read-only views of the mapped file, by the names given.
        """
        blocks = [(name, *self._blocks[prefix + name][1:]) for name in names]
        return StoredArrays(self._path, self._view, blocks)


def read_arrays(path: str | Path, *, version: int) -> tuple[StoredArrays, dict[str, Any]]:
    """Map a file that ``write_arrays`` made.

    Parameters
    ----------
    path : str or Path
        The file.
    version : int
        Newest format that can be read.

    Returns
    -------
    arrays : StoredArrays
        The arrays, unread.
    settings : dict
        The facts given to ``write_arrays``.

    Raises
    ------
    NotFoundError
        No such file.
    StoreCorruptedError
        Not such a file, cut short, or with a damaged header.
    StoreVersionError
        A newer format.
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size < _PREFIX.size:
                raise _damaged(path, f"{size} bytes")
            view = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError as error:
        raise NotFoundError(message(f"no file at {path}", "a saved lexical index", "check the path")) from error
    magic, length, checksum = _PREFIX.unpack(view[: _PREFIX.size])
    header = view[_PREFIX.size : _PREFIX.size + length]
    if magic != _MAGIC or len(header) != length or zlib.crc32(header) != checksum:
        raise _damaged(path, "a damaged header")
    record = json.loads(bytes(header))
    if record["version"] > version:
        raise StoreVersionError(
            message(f"{path} of format {record['version']}", f"at most {version}", "upgrade orthant")
        )
    body = view[_PREFIX.size + length :]
    if len(body) != record["bytes"]:
        raise _damaged(path, f"{len(body)} bytes of arrays instead of {record['bytes']}")
    return StoredArrays(path, body, [tuple(block) for block in record["blocks"]]), record["settings"]


def _damaged(path: Path, what: str) -> StoreCorruptedError:
    return StoreCorruptedError(message(f"{path} with {what}", "a whole saved lexical index", _REMEDY))
