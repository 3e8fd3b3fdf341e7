"""Reading columns back: statistics of a field, counts of its values, and the values of some rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.columns.chunks import BoolArray, Chunk, Column, Part
from orthant.collection.columns.predicates import Scalar, kind_of
from orthant.collection.columns.query import live_kinds
from orthant.errors import InputError, message
from orthant.types import IdArray

__all__ = ["FieldStats", "count_values", "read_values", "summarise"]

_FAMILIES = ("null", "bool", "number", "string")
Key = tuple[int, Any]


@dataclass(frozen=True)
class FieldStats:
    """What a field holds among some rows.

    Attributes
    ----------
    types : mapping of str to int
        Cells of each type: ``null bool int float str list object``.
    elements : mapping of str to int
        Elements of its lists by type, over all lists.
    distinct : int
        Distinct values other than null, list elements included; exact. 1 and 1.0 are one value.
    min, max : int, float, str or None
        Extremes of the numbers; of the strings where there is no number; else None. List elements included.
    """

    types: Mapping[str, int] = field(default_factory=dict)
    elements: Mapping[str, int] = field(default_factory=dict)
    distinct: int = 0
    min: Scalar = None
    max: Scalar = None


def summarise(masks: Sequence[tuple[Chunk, BoolArray]], name: str) -> FieldStats | None:
    """Return the statistics of a field among some rows, or None where no row has it.

    Parameters
    ----------
    masks : sequence of (Chunk, bool array)
        Each chunk with the positions to look at.
    name : str
        Dotted path.

    Returns
    -------
    FieldStats or None
        The statistics.
    """
    types: Counter[str] = Counter()
    elements: Counter[str] = Counter()
    for chunk, present in masks:
        if name in chunk.columns:
            cells, inner = live_kinds(chunk.columns[name], present)
            for counter, found in ((types, cells), (elements, inner)):
                for kind, count in found.items():
                    counter[_type_name(kind)] += count
    if not types:
        return None
    keys = _count_keys(masks, name).keys()
    ranked: dict[int, list[Any]] = {}
    for family, value in keys:
        ranked.setdefault(family, []).append(value)
    span = ranked.get(2) or ranked.get(3) or [None]
    low, high = (min(span), max(span)) if span != [None] else (None, None)
    return FieldStats(
        dict(sorted(types.items())), dict(sorted(elements.items())), sum(family > 0 for family, _ in keys), low, high
    )


def _type_name(kind: str) -> str:
    return "int" if kind == "big" else kind


def count_values(masks: Sequence[tuple[Chunk, BoolArray]], name: str) -> list[tuple[Scalar, int]]:
    """Return how many rows hold each value of a field, most frequent first.

    Parameters
    ----------
    masks : sequence of (Chunk, bool array)
        Each chunk with the positions to count.
    name : str
        Dotted path.

    Returns
    -------
    list of (value, count)
        Ties in the order of the values.
    """
    counted = _count_keys(masks, name)
    ordered = sorted(counted.items(), key=lambda item: (-item[1], item[0][0], 0 if item[0][1] is None else item[0][1]))
    return [(value, count) for (_, value), count in ordered]


def _count_keys(masks: Sequence[tuple[Chunk, BoolArray]], name: str) -> Counter[Key]:
    # Keys carry the family, because True, 1 and 1.0 are one key to Python.
    counted: Counter[Key] = Counter()
    for chunk, present in masks:
        column = chunk.columns.get(name)
        if column is not None:
            for key, count in _column_counts(column, present, None):
                counted[key] += count
    return counted


def _column_counts(
    column: Column, present: BoolArray, owners: npt.NDArray[np.int64] | None
) -> Iterator[tuple[Key, int]]:
    """Yield values with their counts; with owners (the list of each element), a value counts once per owner."""
    numbers: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    for kind, part in column.parts.items():
        chosen = present if part.positions is None else present[part.positions]
        places = np.flatnonzero(present) if part.positions is None else part.positions[chosen]
        if kind == "null":
            count = len(places) if owners is None else len(np.unique(owners[places]))
            if count:
                yield (0, None), count
        elif part.elements is not None and part.values is not None:
            lists = np.repeat(np.arange(len(part.values) - 1), np.diff(part.values))
            yield from _column_counts(part.elements, chosen[lists], lists)
        elif part.values is not None and part.dictionary is None and kind != "bool":
            numbers.append((part.values[chosen], places))
        elif part.values is not None:
            for code, count in _tally(part.values[chosen], places, owners):
                value = bool(code) if part.dictionary is None else part.dictionary.value(code)
                yield (_FAMILIES.index(kind_of(value)), value), count
    for values, places in _split_numbers(numbers):
        for value, count in _tally(values, places, owners):
            yield (2, value), count


def _split_numbers(
    numbers: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]],
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """Yield the integral numbers as int64 and the others as float64, so that 1 and 1.0 are counted together."""
    whole: list[tuple[npt.NDArray[Any], npt.NDArray[Any]]] = []
    for values, places in numbers:
        if values.dtype.kind == "i":
            whole.append((values, places))
            continue
        integral = (values == np.floor(values)) & (np.abs(values) < 2.0**63)
        whole.append((values[integral].astype(np.int64), places[integral]))
        yield values[~integral], places[~integral]
    if whole:
        yield np.concatenate([values for values, _ in whole]), np.concatenate([places for _, places in whole])


def _tally(
    values: npt.NDArray[Any], places: npt.NDArray[Any], owners: npt.NDArray[np.int64] | None
) -> Iterator[tuple[Any, int]]:
    distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if owners is not None and len(distinct):
        pairs = np.unique(owners[places] * len(distinct) + codes)
        counts = np.bincount(pairs % len(distinct), minlength=len(distinct))
    yield from zip(distinct.tolist(), counts.tolist(), strict=True)


def read_values(chunks: Sequence[Chunk], name: str, rows: IdArray) -> list[Any]:
    """Return a field's value for some rows.

    Parameters
    ----------
    chunks : sequence of Chunk
        The columns.
    name : str
        Dotted path.
    rows : ndarray of shape (m,), int64
        Rows in any order.

    Returns
    -------
    list of length m
        Python values; None where null, missing or unknown.

    Raises
    ------
    InputError
        A cell that columns do not hold as a value.
    """
    out: list[Any] = [None] * len(rows)
    for chunk in chunks:
        column = chunk.columns.get(name)
        if column is None or not len(chunk.rows):
            continue
        places = np.minimum(np.searchsorted(chunk.rows, rows), len(chunk.rows) - 1)
        found = np.flatnonzero(chunk.rows[places] == rows)
        for i, value in zip(found.tolist(), _decode(column, places[found], name), strict=True):
            out[i] = value
    return out


def _decode(column: Column, positions: npt.NDArray[np.int64], name: str) -> list[Any]:
    out: list[Any] = [None] * len(positions)
    for kind, part in column.parts.items():
        if part.positions is None:
            slots, found = positions, np.arange(len(positions))
        else:
            slots = np.minimum(np.searchsorted(part.positions, positions), len(part.positions) - 1)
            found = np.flatnonzero(part.positions[slots] == positions)
            slots = slots[found]
        if kind != "null":
            for i, value in zip(found.tolist(), _part_values(kind, part, slots, name), strict=True):
                out[i] = value
    return out


def _part_values(kind: str, part: Part, slots: npt.NDArray[np.int64], name: str) -> list[Any]:
    if not len(slots):
        return []
    if part.values is None:
        raise InputError(
            message(
                f"field {name!r}, which holds an object (or a list with one) in these rows",
                "a field of scalars or of lists of scalars",
                f"name a nested field such as {name + '.key'!r}, or read the record itself",
            )
        )
    if part.elements is not None:
        offsets = part.values
        return [_decode(part.elements, np.arange(offsets[i], offsets[i + 1]), name) for i in slots.tolist()]
    picked: list[Any] = part.values[slots].tolist()
    if part.dictionary is None:
        return picked
    return [part.dictionary.value(code) for code in picked]
