"""The binary layout of hnswlib: vectors and labels at fixed places, read without the library."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.foreign.contents import ForeignBatch, VectorField
from orthant.datasets.foreign.side_records import SideRecords
from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = ["HEADER_BYTES", "HnswElements", "HnswlibSource", "looks_like_hnswlib", "read_elements"]

_HEADER = struct.Struct("<6QiI3QdQ")
HEADER_BYTES = _HEADER.size
# The third byte in front of an element's links; hnswlib sets its lowest bit on deletion.
_FLAGS_AT, _DELETED = 2, 1


@dataclass(frozen=True)
class _Header:
    count: int
    element_bytes: int
    label_at: int
    vector_at: int

    @property
    def dim(self) -> int:
        return (self.label_at - self.vector_at) // 4


@dataclass(frozen=True)
class HnswElements:
    """The elements of an index in the order of their insertion.

    Attributes
    ----------
    labels : ndarray of shape (n,), int64
        What the user numbered them by.
    deleted : ndarray of shape (n,), bool
        Marked as deleted.
    X : ndarray of shape (n, dim), float32
        The vectors as stored, mapped from the file; hnswlib stores them normalised under its cosine distance.
    """

    labels: npt.NDArray[np.int64]
    deleted: npt.NDArray[np.bool_]
    X: FloatArray


def _parse(head: bytes) -> _Header | None:
    if len(head) < HEADER_BYTES:
        return None
    level0, limit, count, size, label_at, vector_at, _, _, max_m, max_m0, m, _, _ = _HEADER.unpack_from(head)
    consistent = (
        level0 == 0
        and count <= limit
        and 0 < max_m == m
        and max_m0 == 2 * max_m
        and vector_at == 4 * max_m0 + 4
        and label_at > vector_at
        and (label_at - vector_at) % 4 == 0
        and size == label_at + 8
    )
    return _Header(count, size, label_at, vector_at) if consistent else None


def looks_like_hnswlib(head: bytes) -> bool:
    """Return whether a file's first bytes are the header of an hnswlib index.

    Parameters
    ----------
    head : bytes
        At least 96 bytes.

    Returns
    -------
    bool
        True when its sizes and offsets fit each other.

    Examples
    --------
    >>> looks_like_hnswlib(b"IxF2" + bytes(92))
    False
    """
    return _parse(head) is not None


def read_elements(path: Path, *, header: bytes | None = None) -> HnswElements:
    """Map the elements of an hnswlib file.

    Parameters
    ----------
    path : Path
        An index that ``save_index`` wrote, or the file of elements alone.
    header : bytes, optional
        The header, where it lies in another file.

    Returns
    -------
    HnswElements
        Labels, marks and vectors.

    Raises
    ------
    InputError
        No such layout, or the file is cut short.
    """
    begin = HEADER_BYTES if header is None else 0
    if header is None:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    parsed = _parse(header)
    if parsed is None:
        raise InputError(
            message(
                f"{path}, whose header is not hnswlib's",
                "a file that save_index of hnswlib wrote, with float32 vectors",
                "check the path, or name another kind",
            )
        )
    # Behind the elements of a whole file stands the size of each one's upper links.
    least = begin + parsed.count * (parsed.element_bytes + (4 if begin else 0))
    if path.stat().st_size < least:
        raise InputError(
            message(
                f"{path} of {path.stat().st_size} bytes",
                f"at least {least} for its {parsed.count} elements",
                "copy it again, or save the index anew",
            )
        )
    layout = np.dtype(
        {
            "names": ["flags", "vector", "label"],
            "formats": ["u1", ("<f4", (parsed.dim,)), "<i8"],
            "offsets": [_FLAGS_AT, parsed.vector_at, parsed.label_at],
            "itemsize": parsed.element_bytes,
        }
    )
    if not parsed.count:
        elements: Any = np.zeros(0, dtype=layout)
    else:
        elements = np.memmap(path, dtype=layout, mode="r", offset=begin, shape=(parsed.count,))
    return HnswElements(np.asarray(elements["label"]), (elements["flags"] & _DELETED) != 0, elements["vector"])


class HnswlibSource:
    """An hnswlib index file.

    Parameters
    ----------
    path : Path
        What ``save_index`` wrote.
    records : SideRecords
        Ids, texts and fields by label, where the user has them.
    """

    kind = "hnswlib"
    remote = False

    def __init__(self, path: Path, records: SideRecords) -> None:
        self.name = path.name
        self._elements, self._records = read_elements(path), records
        deleted = int(np.count_nonzero(self._elements.deleted))
        self.count: int | None = len(self._elements.labels) - deleted
        # The file does not say which distance it was built for.
        self.vectors = {"": VectorField("", self._elements.X.shape[1])}
        self.losses: dict[str, int] = {}
        self.notes = {"elements marked as deleted, left out": deleted} if deleted else {}

    def batches(self, size: int) -> Iterator[ForeignBatch]:
        """Yield the live elements.

        Parameters
        ----------
        size : int
            Records per batch.

        Yields
        ------
        ForeignBatch
            In the order of insertion.
        """
        live = np.flatnonzero(~self._elements.deleted)
        for begin in range(0, len(live), size):
            rows = live[begin : begin + size]
            yield self._records.batch(self._elements.labels[rows].tolist(), self._elements.X[rows])

    def close(self) -> None:
        """Unmap the file."""
        del self._elements
