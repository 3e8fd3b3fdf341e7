"""Typed columns: how metadata of a run of rows is laid out in arrays.

A chunk holds some rows; each field of a chunk is a ``Column``; each type that occurs in it is a ``Part`` with its
values back to back and the positions they stand at. Everything is immutable: merging and compacting make new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.types import IdArray

__all__ = ["Chunk", "Column", "Dictionary", "Kind", "Part", "build_chunk", "build_column", "merge_chunks", "take_chunk"]

Kind = Literal["null", "bool", "int", "big", "float", "str", "list", "object"]
BoolArray = npt.NDArray[np.bool_]
PositionArray = npt.NDArray[np.int32]

_KINDS: dict[type, Kind] = {
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    list: "list",
    dict: "object",
}
_DTYPES = {"bool": np.bool_, "int": np.int64, "float": np.float64}
_END = b"\xff"
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class Dictionary(Sequence[Any]):
    """Sorted distinct values in one blob: text as UTF-8, whose byte order is code point order, or big integers.

    Parameters
    ----------
    offsets : ndarray of shape (m + 1,), int64
        Entry i starts at ``offsets[i]``; the byte before ``offsets[i + 1]`` ends it.
    blob : ndarray of uint8
        The entries, integers in decimal, each ended by 0xFF. UTF-8 never has that byte, so a substring search over
        the whole blob cannot run from one entry into the next.
    kind : {"str", "big"}
        What the entries are.
    """

    __slots__ = ("_at", "_bytes", "blob", "kind", "offsets")

    def __init__(self, offsets: npt.NDArray[np.int64], blob: npt.NDArray[np.uint8], *, kind: str) -> None:
        self.offsets = offsets
        self.blob = blob
        self.kind = kind
        # Memoryviews index several times faster than arrays, which binary search feels.
        self._at = offsets.data
        self._bytes = blob.data

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.offsets) - 1

    def __getitem__(self, i: Any) -> Any:
        """Return entry i as its sort key: bytes, or int."""
        raw = bytes(self._bytes[self._at[i] : self._at[i + 1] - 1])
        return raw if self.kind == "str" else int(raw)

    def value(self, i: int) -> str | int:
        """Return entry i as a user's value.

        Parameters
        ----------
        i : int
            Which entry, from 0.

        Returns
        -------
        str or int
            The value as it was given.
        """
        key = self[i]
        return key.decode() if isinstance(key, bytes) else int(key)

    def keys(self) -> list[Any]:
        """Return all sort keys, ascending."""
        raws = self.blob.tobytes().split(_END)[:-1]
        return raws if self.kind == "str" else [int(raw) for raw in raws]

    @classmethod
    def from_keys(cls, keys: Sequence[Any], *, kind: str) -> Dictionary:
        """Return the dictionary of ascending distinct sort keys.

        Parameters
        ----------
        keys : sequence of bytes or int
            Sort keys, distinct and ascending.
        kind : {"str", "big"}
            What they are.

        Returns
        -------
        Dictionary
            The entries in one blob.
        """
        raws = keys if kind == "str" else [str(key).encode() for key in keys]
        offsets = np.zeros(len(raws) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, raws), np.int64, len(raws)) + 1, out=offsets[1:])
        return cls(offsets, np.frombuffer(b"".join([raw + _END for raw in raws]), dtype=np.uint8), kind=kind)


@dataclass(frozen=True, slots=True)
class Part:
    """The values of one type in a column.

    Attributes
    ----------
    positions : ndarray of shape (m,), int32, or None
        Where the values stand, ascending; None when they fill the column.
    values : ndarray or None
        bool, int64 or float64 values of shape (m,); int32 codes into the dictionary; for lists int64 offsets of
        shape (m + 1,) into the elements; None for null and object, which have no value here.
    dictionary : Dictionary, optional
        For text and big integers.
    elements : Column, optional
        The elements of all lists back to back.
    """

    positions: PositionArray | None
    values: npt.NDArray[Any] | None = None
    dictionary: Dictionary | None = None
    elements: Column | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One field over the positions of a chunk, or the elements of its lists.

    Attributes
    ----------
    size : int
        Positions.
    parts : mapping of kind to Part
        The types that occur; a position is in at most one part.
    """

    size: int
    parts: Mapping[str, Part]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The metadata of a run of rows.

    Attributes
    ----------
    rows : ndarray of shape (n,), int64
        Strictly ascending store rows.
    columns : mapping of str to Column
        One column of size n per dotted path.
    """

    rows: IdArray
    columns: Mapping[str, Column]


def build_chunk(rows: IdArray, metadata: Sequence[Mapping[str, Any] | None]) -> Chunk:
    """Return the columns of a batch of records.

    Parameters
    ----------
    rows : ndarray of shape (n,), int64
        Strictly ascending store rows.
    metadata : sequence of n mappings or None
        Records that ``check_metadata`` returned.

    Returns
    -------
    Chunk
        The batch, column by column.

    Raises
    ------
    InputError
        A value that ``check_metadata`` would have refused.

    Notes
    -----
    Cost: O(cells) dict and list steps in Python, about 0.2 microseconds each.
    """
    cells: dict[str, tuple[list[int], list[Any]]] = {}
    for position, record in enumerate(metadata):
        if record:
            _collect(record, "", position, cells)
    columns = {
        path: build_column(values, size=len(rows), positions=places, where=f"field {path!r}")
        for path, (places, values) in cells.items()
    }
    return Chunk(rows, columns)


def _collect(
    record: Mapping[str, Any], prefix: str, position: int, cells: dict[str, tuple[list[int], list[Any]]]
) -> None:
    for key, value in record.items():
        path = prefix + key if prefix else key
        try:
            places, values = cells[path]
        except KeyError:
            places, values = cells[path] = ([], [])
        places.append(position)
        values.append(value)
        if type(value) is dict:
            _collect(value, path + ".", position, cells)


def build_column(values: list[Any], *, size: int, positions: list[int] | None = None, where: str) -> Column:
    """Return the column of some JSON values.

    Parameters
    ----------
    values : list of length m
        Plain JSON values.
    size : int
        Positions of the column.
    positions : list of int of length m, optional
        Where the values stand, ascending. Left out, they fill the column.
    where : str
        How the field is called in an error.

    Returns
    -------
    Column
        The typed parts.

    Raises
    ------
    InputError
        A value of another type.
    """
    if positions is not None and len(positions) == size:
        positions = None
    kinds = [_KINDS.get(kind) for kind in dict.fromkeys(map(type, values))]
    if None in kinds:
        bad = next(value for value in values if type(value) not in _KINDS)
        raise InputError(
            message(f"a value of type {type(bad).__name__} in {where}", "a JSON value", "call check_metadata first")
        )
    if len(kinds) == 1 and kinds[0] is not None and _fits(kinds[0], values):
        return Column(size, {kinds[0]: _part(kinds[0], values, positions, where)})
    groups: dict[str, tuple[list[int], list[Any]]] = {}
    for position, value in zip(range(size) if positions is None else positions, values, strict=True):
        kind: str = _KINDS[type(value)]
        if kind == "int" and not _INT64_MIN <= value <= _INT64_MAX:
            kind = "big"
        places, group = groups.setdefault(kind, ([], []))
        places.append(position)
        group.append(value)
    return Column(
        size,
        {
            kind: _part(kind, group, places if len(places) < size else None, where)
            for kind, (places, group) in groups.items()
        },
    )


def _fits(kind: str, values: list[Any]) -> bool:
    return kind != "int" or (min(values) >= _INT64_MIN and max(values) <= _INT64_MAX)


def _part(kind: str, values: list[Any], places: list[int] | None, where: str) -> Part:
    positions = None if places is None else np.array(places, dtype=np.int32)
    if kind in _DTYPES:
        return Part(positions, np.array(values, dtype=_DTYPES[kind]))
    if kind in ("str", "big"):
        distinct = sorted(set(values))
        code = {value: i for i, value in enumerate(distinct)}
        codes = np.fromiter(map(code.__getitem__, values), np.int32, len(values))
        keys = [value.encode() for value in distinct] if kind == "str" else distinct
        return Part(positions, codes, dictionary=Dictionary.from_keys(keys, kind=kind))
    if kind == "list":
        offsets = np.zeros(len(values) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
        # A list or dict inside a list is kept as "object": it counts as an element but no operator reaches it.
        flat = [{} if type(item) is list else item for item in chain.from_iterable(values)]
        return Part(positions, offsets, elements=build_column(flat, size=len(flat), where=where))
    return Part(positions)


def merge_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """Return several chunks as one.

    Parameters
    ----------
    chunks : sequence of Chunk
        In ascending order of their rows.

    Returns
    -------
    Chunk
        All their rows.

    Notes
    -----
    Cost: array copies, plus one Python step per distinct string of each chunk.
    """
    bases = np.concatenate([[0], np.cumsum([len(chunk.rows) for chunk in chunks])]).tolist()
    paths = dict.fromkeys(chain.from_iterable(chunk.columns for chunk in chunks))
    columns = {
        path: _merge_columns(
            [(chunk.columns[path], base) for chunk, base in zip(chunks, bases, strict=False) if path in chunk.columns],
            bases[-1],
        )
        for path in paths
    }
    return Chunk(np.concatenate([chunk.rows for chunk in chunks]), columns)


def _merge_columns(columns: Sequence[tuple[Column, int]], size: int) -> Column:
    kinds = dict.fromkeys(chain.from_iterable(column.parts for column, _ in columns))
    return Column(
        size,
        {
            kind: _merge_parts(
                kind,
                [(column.parts[kind], column.size, base) for column, base in columns if kind in column.parts],
                size,
            )
            for kind in kinds
        },
    )


def _merge_parts(kind: str, parts: Sequence[tuple[Part, int, int]], size: int) -> Part:
    positions: PositionArray | None = None
    if any(part.positions is not None for part, _, _ in parts) or sum(n for _, n, _ in parts) < size:
        places = [
            (np.arange(n, dtype=np.int32) if part.positions is None else part.positions) + np.int32(base)
            for part, n, base in parts
        ]
        joined = np.concatenate(places)
        positions = joined if len(joined) < size else None
    arrays = [part.values for part, _, _ in parts if part.values is not None]
    if not arrays:
        return Part(positions)
    dictionaries = [part.dictionary for part, _, _ in parts if part.dictionary is not None]
    if dictionaries:
        dictionary, maps = _merge_dictionaries(dictionaries)
        codes = [table[codes] for table, codes in zip(maps, arrays, strict=True)]
        return Part(positions, np.concatenate(codes), dictionary=dictionary)
    elements = [part.elements for part, _, _ in parts if part.elements is not None]
    if elements:
        starts = np.concatenate([[0], np.cumsum([column.size for column in elements])]).tolist()
        shifted = [offsets[:-1] + start for offsets, start in zip(arrays, starts, strict=False)]
        offsets = np.concatenate([*shifted, starts[-1:]]).astype(np.int64, copy=False)
        return Part(
            positions,
            offsets,
            elements=_merge_columns(list(zip(elements, starts[:-1], strict=True)), starts[-1]),
        )
    return Part(positions, np.concatenate(arrays))


def _merge_dictionaries(dictionaries: Sequence[Dictionary]) -> tuple[Dictionary, list[npt.NDArray[np.int32]]]:
    lists = [dictionary.keys() for dictionary in dictionaries]
    # Timsort merges the sorted runs in linear time; a set would lose their order.
    keys = list(dict.fromkeys(sorted(chain.from_iterable(lists))))
    code = {key: i for i, key in enumerate(keys)}
    maps = [np.fromiter(map(code.__getitem__, own), np.int32, len(own)) for own in lists]
    return Dictionary.from_keys(keys, kind=dictionaries[0].kind), maps


def take_chunk(chunk: Chunk, keep: BoolArray) -> Chunk:
    """Return a chunk without some of its rows; fields that are left without a value disappear.

    Parameters
    ----------
    chunk : Chunk
        The rows now.
    keep : ndarray of shape (n,), bool
        Which positions stay.

    Returns
    -------
    Chunk
        The rest, with dictionaries cut to what is used.
    """
    columns = {path: _take_column(column, keep) for path, column in chunk.columns.items()}
    return Chunk(chunk.rows[keep], {path: column for path, column in columns.items() if column.parts})


def _take_column(column: Column, keep: BoolArray) -> Column:
    moved = np.cumsum(keep, dtype=np.int32) - np.int32(1)
    size = int(np.count_nonzero(keep))
    parts = {kind: _take_part(part, keep, moved, size) for kind, part in column.parts.items()}
    return Column(size, {kind: part for kind, part in parts.items() if part is not None})


def _take_part(part: Part, keep: BoolArray, moved: PositionArray, size: int) -> Part | None:
    chosen = keep if part.positions is None else keep[part.positions]
    count = int(np.count_nonzero(chosen))
    if not count:
        return None
    positions = None if part.positions is None or count == size else moved[part.positions[chosen]]
    if part.values is None:
        return Part(positions)
    if part.elements is not None:
        lengths = np.diff(part.values)
        offsets = np.zeros(count + 1, dtype=np.int64)
        np.cumsum(lengths[chosen], out=offsets[1:])
        return Part(positions, offsets, elements=_take_column(part.elements, np.repeat(chosen, lengths)))
    values = part.values[chosen]
    if part.dictionary is None:
        return Part(positions, values)
    used, codes = np.unique(values, return_inverse=True)
    return Part(positions, codes.astype(np.int32), dictionary=_take_entries(part.dictionary, used.tolist()))


def _take_entries(dictionary: Dictionary, used: Iterable[int]) -> Dictionary:
    return Dictionary.from_keys([dictionary[i] for i in used], kind=dictionary.kind)
