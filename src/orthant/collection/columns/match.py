"""Conditions over one column: each returns which positions satisfy it.

Exactness: an operand is turned into the bound or value of the column's own type that decides the same way, so
integers beyond 2**53 and floats compare by their true values, never through a rounded conversion.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.columns.chunks import BoolArray, Column, Dictionary, Part
from orthant.collection.columns.predicates import Scalar, ScalarKind

__all__ = ["match_contains", "match_exists", "match_order", "match_values"]

_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1
_FEW = 8
_SEARCH_COST = 32  # decoding so many entries costs as much as one binary search
_SLOT_BITS = 16
_MIXER = np.uint64(0x9E3779B97F4A7C15)  # 2**64 over the golden ratio: spreads neighbouring values (Knuth)
_FIRST_BYTES = 4
# The commonest bytes of text, common first: a substring is looked up by its rarest byte.
_COMMON = b" etaoinsrhldcumfpgwybvkxjqz"


def match_values(column: Column, values: Sequence[Scalar], kinds: Sequence[ScalarKind]) -> BoolArray:
    """Return where a scalar cell equals one of the values.

    Parameters
    ----------
    column : Column
        The cells.
    values : sequence of scalars
        Operands of ``eq`` (one) or ``in``.
    kinds : sequence of {"null", "bool", "number", "string"}
        Family of each value.

    Returns
    -------
    ndarray of shape (column.size,), bool
        The positions.
    """
    families: dict[str, list[Any]] = {}
    for value, kind in zip(values, kinds, strict=True):
        families.setdefault(kind, []).append(value)
    return _gather(column, _value_hits(column, families))


def _value_hits(column: Column, families: dict[str, list[Any]]) -> Iterator[tuple[Part, BoolArray | None]]:
    for kind, part in column.parts.items():
        family = {"int": "number", "big": "number", "float": "number", "str": "string"}.get(kind, kind)
        wanted = families.get(family)
        if wanted is None:
            continue
        if part.values is None:
            yield part, None
        elif kind == "bool":
            yield part, np.isin(part.values, wanted)
        elif kind == "int":
            exact = [int(value) for value in wanted if value == math.floor(value)]
            yield part, _among(part.values, [value for value in exact if _INT64_MIN <= value <= _INT64_MAX])
        elif kind == "float":
            near = [_nearest_float(value) for value in wanted]
            yield part, _among(part.values, [f for f, value in zip(near, wanted, strict=True) if f == value])
        elif part.dictionary is not None:
            keys = [value.encode() for value in wanted] if kind == "str" else wanted
            yield part, _among(part.values, _find(part.dictionary, keys))


def match_order(column: Column, operator: str, value: str | int | float) -> BoolArray:
    """Return where a scalar cell of the operand's family is on the asked side of it.

    Parameters
    ----------
    column : Column
        The cells.
    operator : {"gt", "gte", "lt", "lte"}
        The side.
    value : str, int or float
        The bound.

    Returns
    -------
    ndarray of shape (column.size,), bool
        The positions.
    """
    return _gather(column, _order_hits(column.parts, operator, value))


def _order_hits(parts: Mapping[str, Part], operator: str, value: Any) -> Iterator[tuple[Part, BoolArray]]:
    for kind in ("str",) if isinstance(value, str) else ("int", "float", "big"):
        part = parts.get(kind)
        if part is None or part.values is None:
            continue
        if part.dictionary is not None:
            key = value.encode() if kind == "str" else value
            yield part, _order_codes(part.values, part.dictionary, operator, key)
        elif kind == "float":
            yield part, _order_floats(part.values, operator, value)
        else:
            yield part, _order_ints(part.values, operator, value)


def _order_ints(values: npt.NDArray[np.int64], operator: str, value: int | float) -> BoolArray:
    hits: BoolArray
    if operator in ("gt", "gte"):
        low = math.floor(value) + 1 if operator == "gt" else math.ceil(value)
        hits = values >= max(low, _INT64_MIN) if low <= _INT64_MAX else np.zeros(len(values), dtype=bool)
    else:
        high = math.ceil(value) - 1 if operator == "lt" else math.floor(value)
        hits = values <= min(high, _INT64_MAX) if high >= _INT64_MIN else np.zeros(len(values), dtype=bool)
    return hits


def _order_floats(values: npt.NDArray[np.float64], operator: str, value: int | float) -> BoolArray:
    bound = _nearest_float(value)
    # No float lies between an integer and its nearest float, so the side on which that one fell decides.
    if bound > value:
        operator = {"gt": "gte", "lte": "lt"}.get(operator, operator)
    elif bound < value:
        operator = {"gte": "gt", "lt": "lte"}.get(operator, operator)
    compare = {"gt": np.greater, "gte": np.greater_equal, "lt": np.less, "lte": np.less_equal}[operator]
    hits: BoolArray = compare(values, bound)
    return hits


def _order_codes(codes: npt.NDArray[np.int32], dictionary: Dictionary, operator: str, key: Any) -> BoolArray:
    edge = (bisect_right if operator in ("gt", "lte") else bisect_left)(dictionary, key)
    hits: BoolArray = codes >= edge if operator in ("gt", "gte") else codes < edge
    return hits


def match_contains(column: Column, value: Scalar, kind: ScalarKind) -> BoolArray:
    """Return where a list cell has the value as an element, or a string cell has it as a substring.

    Parameters
    ----------
    column : Column
        The cells.
    value : scalar
        The element, or the substring (case-sensitive; the empty string is in every string).
    kind : {"null", "bool", "number", "string"}
        Family of the value.

    Returns
    -------
    ndarray of shape (column.size,), bool
        The positions.
    """
    return _gather(column, _contains_hits(column, value, kind))


def _contains_hits(column: Column, value: Scalar, kind: ScalarKind) -> Iterator[tuple[Part, BoolArray]]:
    lists = column.parts.get("list")
    if lists is not None and lists.elements is not None and lists.values is not None:
        found = np.flatnonzero(match_values(lists.elements, (value,), (kind,)))
        hits = np.zeros(len(lists.values) - 1, dtype=bool)
        hits[np.searchsorted(lists.values, found, side="right") - 1] = True
        yield lists, hits
    texts = column.parts.get("str")
    if texts is not None and texts.dictionary is not None and isinstance(value, str):
        yield texts, _entries_with(texts.dictionary, value.encode())[texts.values]


def match_exists(column: Column) -> BoolArray:
    """Return where a cell holds anything but null.

    Parameters
    ----------
    column : Column
        The cells.

    Returns
    -------
    ndarray of shape (column.size,), bool
        The positions.
    """
    return _gather(column, ((part, None) for kind, part in column.parts.items() if kind != "null"))


def _gather(column: Column, hits: Iterable[tuple[Part, BoolArray | None]]) -> BoolArray:
    """Spread hits over parts (None: all of the part) to the column's positions."""
    mask: BoolArray | None = None
    for part, chosen in hits:
        if part.positions is None:
            # A part without positions fills the column, so no other part can add to it.
            return np.ones(column.size, dtype=bool) if chosen is None else chosen
        if mask is None:
            mask = np.zeros(column.size, dtype=bool)
        mask[part.positions if chosen is None else part.positions[chosen]] = True
    return np.zeros(column.size, dtype=bool) if mask is None else mask


def _among(values: npt.NDArray[Any], wanted: Sequence[Any]) -> BoolArray:
    if not wanted:
        return np.zeros(len(values), dtype=bool)
    if len(wanted) <= _FEW:
        hits: BoolArray = values == wanted[0]
        for value in wanted[1:]:
            hits |= values == value
        return hits
    if values.dtype.kind == "i":
        low, high = min(wanted), max(wanted)
        if high - low <= 4 * len(values) + 1024:
            # Slots 0 and -1 catch what lies outside the operands' range.
            table = np.zeros(high - low + 3, dtype=bool)
            table[np.array(wanted, dtype=np.int64) - low + 1] = True
            inside = np.clip(values, max(low - 1, _INT64_MIN), min(high + 1, _INT64_MAX)).astype(np.int64)
            return table[inside - low + 1]
    # Most values are dismissed by a small hash table, so that few reach the slow binary search.
    operands = np.sort(np.array(wanted, dtype=values.dtype))
    table = np.zeros(1 << _SLOT_BITS, dtype=bool)
    table[_slots(operands)] = True
    maybe = np.flatnonzero(table[_slots(values)])
    places = np.minimum(np.searchsorted(operands, values[maybe]), len(operands) - 1)
    found = np.zeros(len(values), dtype=bool)
    found[maybe] = operands[places] == values[maybe]
    return found


def _slots(values: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    # Adding zero makes -0.0 and 0.0 the same bits.
    bits = (values + 0.0 if values.dtype.kind == "f" else values.astype(np.int64, copy=False)).view(np.uint64)
    mixed: npt.NDArray[np.uint64] = (bits * _MIXER) >> np.uint64(64 - _SLOT_BITS)
    return mixed


def _find(dictionary: Dictionary, keys: Sequence[Any]) -> list[int]:
    """Return the codes of the keys that occur."""
    if len(keys) * _SEARCH_COST > len(dictionary):
        wanted = set(keys)
        return [code for code, key in enumerate(dictionary.keys()) if key in wanted]
    places = ((bisect_left(dictionary, key), key) for key in keys)
    return [place for place, key in places if place < len(dictionary) and dictionary[place] == key]


def _nearest_float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _entries_with(dictionary: Dictionary, needle: bytes) -> BoolArray:
    """Return which entries contain the needle, by one vectorised pass over the blob."""
    hits = np.zeros(len(dictionary), dtype=bool)
    span = len(dictionary.blob) - len(needle) + 1
    if not needle:
        hits[:] = True
    if not needle or span <= 0:
        return hits
    order = sorted(range(len(needle)), key=lambda i: _commonness(needle[i]))
    matched = np.zeros(len(dictionary.blob), dtype=bool)
    inside = matched[:span]
    inside[:] = True
    for i in order[:_FIRST_BYTES]:
        inside &= dictionary.blob[i : i + span] == needle[i]
    if np.count_nonzero(inside) > len(dictionary) // 16:
        for i in order[_FIRST_BYTES:]:
            inside &= dictionary.blob[i : i + span] == needle[i]
        return np.logical_or.reduceat(matched, dictionary.offsets[:-1])
    starts = np.flatnonzero(inside)
    for i in order[_FIRST_BYTES:]:
        starts = starts[dictionary.blob[starts + i] == needle[i]]
    hits[np.searchsorted(dictionary.offsets, starts, side="right") - 1] = True
    return hits


def _commonness(byte: int) -> int:
    rank = _COMMON.find(byte)
    return len(_COMMON) - rank if rank >= 0 else 0
