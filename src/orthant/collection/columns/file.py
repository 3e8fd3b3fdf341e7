"""The column file: chunks of typed columns in one memory-mapped, checksummed file.

Layout, little-endian: a 64-byte prefix (magic, format, lengths, checksums), a JSON header that describes every
array, then the arrays, each on a 64-byte boundary with its own CRC32. The file is derived: when it is damaged,
delete it and rebuild it from the records.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from orthant.artifact import write_bytes_atomically
from orthant.collection.columns.chunks import Chunk, Column, Dictionary, Part
from orthant.errors import NotFoundError, StoreCorruptedError, StoreVersionError, message

__all__ = ["COLUMN_FORMAT", "read_columns", "write_columns"]

COLUMN_FORMAT = 1

_MAGIC = b"ORTHCOLS"
_PREFIX = struct.Struct("<8sIIQQ")  # magic, format, header CRC32, header bytes, file bytes
_CHECK = struct.Struct("<I")  # CRC32 of the prefix, so that a damaged format number is not taken for a newer one
_ALIGN = 64
_DTYPES = {"bool": "?", "int32": "<i4", "int64": "<i8", "float64": "<f8", "uint8": "u1"}


class _Writer:
    """Collects arrays and hands out their descriptions."""

    def __init__(self) -> None:
        self.blobs: list[memoryview] = []
        self.size = 0

    def array(self, array: npt.NDArray[Any] | None) -> list[Any] | None:
        if array is None:
            return None
        data = np.ascontiguousarray(array, dtype=_DTYPES[array.dtype.name])
        raw = data.view(np.uint8).data
        start = self.size
        self.blobs.append(raw)
        self.size += _padded(raw.nbytes)
        return [array.dtype.name, len(array), start, zlib.crc32(raw)]

    def column(self, column: Column) -> dict[str, Any]:
        return {"size": column.size, "parts": {kind: self.part(part) for kind, part in column.parts.items()}}

    def part(self, part: Part) -> dict[str, Any]:
        out: dict[str, Any] = {"positions": self.array(part.positions), "values": self.array(part.values)}
        if part.dictionary is not None:
            out["offsets"] = self.array(part.dictionary.offsets)
            out["blob"] = self.array(part.dictionary.blob)
        if part.elements is not None:
            out["elements"] = self.column(part.elements)
        return out


def write_columns(path: str | Path, chunks: Sequence[Chunk], *, last_row: int) -> None:
    """Write chunks to a file that replaces the old one in one step.

    Parameters
    ----------
    path : str or Path
        Target; its folder must exist.
    chunks : sequence of Chunk
        The columns.
    last_row : int
        The largest row ever added, also when it is gone by now.

    Notes
    -----
    Cost: one copy of all arrays in memory, one write, one fsync.
    """
    writer = _Writer()
    described = [
        {
            "rows": writer.array(chunk.rows),
            "columns": {name: writer.column(column) for name, column in chunk.columns.items()},
        }
        for chunk in chunks
    ]
    header = json.dumps({"last_row": last_row, "chunks": described}, separators=(",", ":")).encode()
    total = _ALIGN + _padded(len(header)) + writer.size
    prefix = _PREFIX.pack(_MAGIC, COLUMN_FORMAT, zlib.crc32(header), len(header), total)
    prefix += _CHECK.pack(zlib.crc32(prefix))
    blocks = [memoryview(prefix), memoryview(header), *writer.blobs]
    write_bytes_atomically(path, b"".join(chain.from_iterable((block, _padding(block)) for block in blocks)))


def read_columns(path: str | Path) -> tuple[tuple[Chunk, ...], int]:
    """Return the chunks of a file and the largest row ever added; every checksum is verified first.

    Parameters
    ----------
    path : str or Path
        A file that ``write_columns`` made.

    Returns
    -------
    chunks : tuple of Chunk
        Columns whose arrays are read-only views of the mapped file.
    last_row : int
        As it was written.

    Raises
    ------
    NotFoundError
        No such file.
    StoreCorruptedError
        The file is damaged or no column file.
    StoreVersionError
        A newer release wrote it.
    """
    path = Path(path)
    try:
        with open(path, "rb") as handle:
            handle.seek(0, 2)
            if handle.tell() < _ALIGN:
                _damaged(path, f"only {handle.tell()} bytes")
            mapped = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise NotFoundError(
            message(f"no column file at {path}", "an existing file", "check the path, or rebuild the columns")
        ) from error
    header, start = _read_header(path, mapped)
    reader = _Reader(path, mapped, start)
    try:
        chunks = tuple(
            Chunk(
                reader.required(item["rows"]),
                {name: reader.column(column) for name, column in item["columns"].items()},
            )
            for item in header["chunks"]
        )
        return chunks, int(header["last_row"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise StoreCorruptedError(_damage(path, f"a description that does not fit ({error!r})")) from error


def _read_header(path: Path, mapped: mmap.mmap) -> tuple[dict[str, Any], int]:
    prefix = mapped[: _PREFIX.size]
    magic, version, check, length, total = _PREFIX.unpack(prefix)
    if magic != _MAGIC or _CHECK.unpack_from(mapped, _PREFIX.size)[0] != zlib.crc32(prefix):
        _damaged(path, "a wrong first block")
    if version > COLUMN_FORMAT:
        raise StoreVersionError(
            message(f"column format {version} in {path}", f"at most {COLUMN_FORMAT}", "upgrade orthant")
        )
    if total != len(mapped):
        _damaged(path, f"{len(mapped)} bytes instead of {total}")
    text = mapped[_ALIGN : _ALIGN + length]
    if len(text) != length or zlib.crc32(text) != check:
        _damaged(path, "a wrong header checksum")
    try:
        header = json.loads(text)
    except ValueError as error:
        raise StoreCorruptedError(_damage(path, "a header that is not JSON")) from error
    if not isinstance(header, dict):
        _damaged(path, "a header that is not an object")
    return header, _ALIGN + _padded(length)


class _Reader:
    """Turns descriptions back into views of the mapped file."""

    def __init__(self, path: Path, mapped: mmap.mmap, start: int) -> None:
        self.path = path
        self.mapped = mapped
        self.view = memoryview(mapped)
        self.start = start

    def array(self, described: list[Any] | None) -> npt.NDArray[Any] | None:
        if described is None:
            return None
        name, count, offset, check = described
        if name not in _DTYPES:
            _damaged(self.path, f"an array of dtype {name!r}")
        stored = np.dtype(_DTYPES[name])
        at, size = self.start + offset, count * stored.itemsize
        block = self.view[at : at + size]
        if len(block) != size or zlib.crc32(block) != check:
            _damaged(self.path, f"a wrong checksum in the {size} bytes at offset {at}")
        return np.frombuffer(block, dtype=stored, count=count).astype(np.dtype(name), copy=False)

    def required(self, described: list[Any] | None) -> npt.NDArray[Any]:
        array = self.array(described)
        if array is None:
            _damaged(self.path, "a missing array")
        return array

    def column(self, described: dict[str, Any]) -> Column:
        return Column(described["size"], {kind: self.part(kind, part) for kind, part in described["parts"].items()})

    def part(self, kind: str, described: dict[str, Any]) -> Part:
        dictionary = None
        if "offsets" in described:
            dictionary = Dictionary(self.required(described["offsets"]), self.required(described["blob"]), kind=kind)
        elements = self.column(described["elements"]) if "elements" in described else None
        return Part(self.array(described["positions"]), self.array(described["values"]), dictionary, elements)


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _padding(block: memoryview) -> bytes:
    return bytes(_padded(block.nbytes) - block.nbytes)


def _damage(path: Path, found: str) -> str:
    return message(
        f"the column file {path} with {found}",
        "the bytes that were saved",
        "delete the file; it is derived, and is rebuilt from the records",
    )


def _damaged(path: Path, found: str) -> NoReturn:
    raise StoreCorruptedError(_damage(path, found))
