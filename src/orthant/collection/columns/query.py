"""From a predicate to a bitmap: the tree is evaluated chunk by chunk, and conditions without a hit are explained."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from orthant.collection.columns.chunks import BoolArray, Chunk, Column
from orthant.collection.columns.match import match_contains, match_exists, match_order, match_values
from orthant.collection.columns.predicates import (
    And,
    Comparison,
    Existence,
    Membership,
    Not,
    Or,
    Predicate,
    RowsFrom,
    spell_path,
)
from orthant.errors import FilterError, message
from orthant.kernels.bitmaps import contains_rows, from_mask, to_mask
from orthant.types import BitmapArray, IdArray

__all__ = ["evaluate_chunks", "live_kinds", "rows_in", "unknown_field"]

_SPARSE = 64
_ACCEPTS = {"number": {"int", "big", "float"}, "string": {"str"}, "bool": {"bool"}}
_WORDS = {
    "int": "integers",
    "big": "integers",
    "float": "floats",
    "str": "strings",
    "bool": "booleans",
    "list": "lists",
    "object": "objects",
    "null": "nulls",
}
_SHOWN_FIELDS = 12
_SHOWN_VALUES = 3

Leaf = Comparison | Membership | Existence


def evaluate_chunks(
    chunks: Sequence[Chunk], names: Iterable[str], predicate: Predicate, live: BitmapArray
) -> tuple[BitmapArray, tuple[str, ...]]:
    """Return the live rows that satisfy a predicate, and warnings about unknown fields.

    Parameters
    ----------
    chunks : sequence of Chunk
        The columns.
    names : iterable of str
        Known fields, for suggestions.
    predicate : Predicate
        The condition.
    live : ndarray of uint64
        Bitmap of the rows that exist.

    Returns
    -------
    bitmap : ndarray of uint64
        As many words as ``live``.
    warnings : tuple of str
        One for each field that no live record has.

    Raises
    ------
    FilterError
        A condition that cannot hold for the types its field has.
    """
    # A row in no chunk has no metadata; where such a record matches, start from all live rows.
    bare = _holds_without_fields(predicate)
    bitmap = live.copy() if bare else np.zeros_like(live)
    alive = [rows_in(live, chunk.rows) for chunk in chunks]
    hit: set[Leaf] = set()
    for chunk, present in zip(chunks, alive, strict=True):
        mask = _mask(predicate, chunk, present, hit)
        _flip(bitmap, chunk.rows, (~mask if bare else mask) & present)
    warnings: dict[str, None] = {}
    for leaf in dict.fromkeys(_leaves(predicate)):
        if leaf not in hit:
            warning = _explain_empty(leaf, chunks, alive, names)
            if warning:
                warnings[warning] = None
    return bitmap, tuple(warnings)


def rows_in(bitmap: BitmapArray, rows: IdArray) -> BoolArray:
    """Return for each of some ascending rows whether it is in a bitmap.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set.
    rows : ndarray of shape (n,), int64
        Strictly ascending, non-negative.

    Returns
    -------
    ndarray of shape (n,), bool
        Membership; faster than ``contains_rows`` where the rows lie close together.
    """
    if not len(rows):
        return np.zeros(0, dtype=bool)
    first, last = int(rows[0]), int(rows[-1])
    base = first & ~63
    if last - first > _SPARSE * len(rows):
        return contains_rows(bitmap, rows)
    mask = to_mask(bitmap[base >> 6 : (last >> 6) + 1], last - base + 1)
    return mask[first - base :] if last - first + 1 == len(rows) else mask[rows - base]


def _flip(bitmap: BitmapArray, rows: IdArray, chosen: BoolArray) -> None:
    """Toggle the bits of the chosen ones among ascending rows, in place."""
    if not len(rows) or not chosen.any():
        return
    first, last = int(rows[0]), int(rows[-1])
    base = first & ~63
    if last - first > _SPARSE * len(rows):
        picked = rows[chosen]
        np.bitwise_xor.at(bitmap, picked >> 6, np.uint64(1) << (picked & 63).astype(np.uint64))
        return
    mask = np.zeros(last - base + 1, dtype=bool)
    if last - first + 1 == len(rows):
        mask[first - base :] = chosen
    else:
        mask[rows - base] = chosen
    part = bitmap[base >> 6 : (last >> 6) + 1]
    part ^= from_mask(mask)[: len(part)]


def _mask(predicate: Predicate, chunk: Chunk, present: BoolArray, hit: set[Leaf]) -> BoolArray:
    if isinstance(predicate, Not):
        return ~_mask(predicate.part, chunk, present, hit)
    if isinstance(predicate, (And, Or)):
        masks = [_mask(part, chunk, present, hit) for part in predicate.parts]
        join = np.logical_and if isinstance(predicate, And) else np.logical_or
        out: BoolArray = np.full(len(chunk.rows), isinstance(predicate, And)) if not masks else masks[0]
        for mask in masks[1:]:
            out = join(out, mask)
        return out
    if isinstance(predicate, RowsFrom):
        return np.asarray(chunk.rows >= predicate.row)
    leaf: Leaf = predicate  # type: ignore[assignment]
    column = chunk.columns.get(leaf.path)
    found = np.zeros(len(chunk.rows), dtype=bool) if column is None else _leaf_mask(leaf, column)
    if column is not None and leaf not in hit and (found & present).any():
        hit.add(leaf)
    return ~found if _is_complement(leaf) else found


def _leaf_mask(leaf: Leaf, column: Column) -> BoolArray:
    """Return where the positive form of a condition holds: ``eq`` for ``ne``, ``in`` for ``nin``."""
    if isinstance(leaf, Existence):
        return match_exists(column)
    if isinstance(leaf, Membership):
        return match_values(column, leaf.values, leaf.kinds)
    if leaf.operator == "contains":
        return match_contains(column, leaf.value, leaf.kind)
    if leaf.operator in ("eq", "ne"):
        return match_values(column, (leaf.value,), (leaf.kind,))
    return match_order(column, leaf.operator, leaf.value)  # type: ignore[arg-type]


def _is_complement(leaf: Leaf) -> bool:
    return not leaf.present if isinstance(leaf, Existence) else leaf.operator in ("ne", "nin")


def _holds_without_fields(predicate: Predicate) -> bool:
    if isinstance(predicate, Not):
        return not _holds_without_fields(predicate.part)
    if isinstance(predicate, And):
        return all(map(_holds_without_fields, predicate.parts))
    if isinstance(predicate, Or):
        return any(map(_holds_without_fields, predicate.parts))
    if isinstance(predicate, RowsFrom):
        return False
    return _is_complement(predicate)  # type: ignore[arg-type]


def _leaves(predicate: Predicate) -> Iterator[Leaf]:
    if isinstance(predicate, Not):
        yield from _leaves(predicate.part)
    elif isinstance(predicate, (And, Or)):
        for part in predicate.parts:
            yield from _leaves(part)
    elif isinstance(predicate, (Comparison, Membership, Existence)):
        yield predicate


def live_kinds(column: Column, present: BoolArray) -> tuple[dict[str, int], dict[str, int]]:
    """Count the cells of each kind among some positions of a column, and the elements of its lists.

    Parameters
    ----------
    column : Column
        The cells.
    present : ndarray of shape (column.size,), bool
        Which positions count.

    Returns
    -------
    cells, elements : dict of kind to int
        Kinds that occur.
    """
    cells: dict[str, int] = {}
    elements: dict[str, int] = {}
    for kind, part in column.parts.items():
        chosen = present if part.positions is None else present[part.positions]
        cells[kind] = int(np.count_nonzero(chosen))
        if part.elements is not None and part.values is not None:
            elements = live_kinds(part.elements, np.repeat(chosen, np.diff(part.values)))[0]
    return {kind: n for kind, n in cells.items() if n}, elements


def _explain_empty(leaf: Leaf, chunks: Sequence[Chunk], alive: Sequence[BoolArray], names: Iterable[str]) -> str | None:
    """Say why a condition met no live row: raise on a wrong type, warn about an unknown field, or stay silent."""
    cells: dict[str, int] = {}
    elements: dict[str, int] = {}
    for chunk, present in zip(chunks, alive, strict=True):
        if leaf.path in chunk.columns:
            for total, found in zip((cells, elements), live_kinds(chunk.columns[leaf.path], present), strict=True):
                for kind, count in found.items():
                    total[kind] = total.get(kind, 0) + count
    if not cells:
        return unknown_field(leaf.path, names)
    if isinstance(leaf, Existence):
        return None
    kinds = leaf.kinds if isinstance(leaf, Membership) else (leaf.kind,)
    held = cells.keys() - {"null"}
    if leaf.operator == "contains":
        accepted = {"list", "str"} if leaf.kind == "string" else {"list"}  # type: ignore[union-attr]
        inner = elements.keys() - {"null"}
        misfit = held.isdisjoint(accepted) or (
            "null" not in kinds and held & accepted == {"list"} and bool(inner) and inner.isdisjoint(_ACCEPTS[kinds[0]])
        )
    else:
        misfit = bool(kinds) and "null" not in kinds and held.isdisjoint(set().union(*(_ACCEPTS[k] for k in kinds)))
    if held and misfit:
        raise FilterError(_misfit(leaf, cells, elements, names))
    return None


def _misfit(
    leaf: Comparison | Membership, cells: Mapping[str, int], elements: Mapping[str, int], names: Iterable[str]
) -> str:
    values = leaf.values if isinstance(leaf, Membership) else (leaf.value,)
    first, *others = (_clip(json.dumps(value, ensure_ascii=False)) for value in values[:_SHOWN_VALUES])
    shown = ", ".join([first, *others, *(["..."] if len(values) > _SHOWN_VALUES else [])])
    key = spell_path(leaf.path)
    if leaf.operator == "contains" and "list" in cells:
        remedy = "ask for an element of the type that the lists hold"
        holds = f"lists of {_count(elements)}"
    else:
        holds = _count(cells)
        nested = sorted(name for name in names if name.startswith(leaf.path + "."))
        if "list" in cells and leaf.operator != "contains":
            remedy = f'look inside lists with {{"{key}": {{"contains": {first}}}}}'
        elif "object" in cells and nested:
            remedy = f"name a nested field: {', '.join(map(repr, nested[:_SHOWN_FIELDS]))}"
        elif leaf.operator == "contains":
            remedy = f'compare whole values with {{"{key}": {{"eq": ...}}}}'
        else:
            remedy = "pass a value of a type that the field holds, or convert the field when records are added"
    return message(
        f"{leaf.operator} with {shown} for field {leaf.path!r}",
        f"a condition that fits what the field holds: {holds}",
        remedy,
    )


def _count(cells: Mapping[str, int]) -> str:
    words: dict[str, int] = {}
    for kind, count in cells.items():
        words[_WORDS[kind]] = words.get(_WORDS[kind], 0) + count
    return ", ".join(f"{count} {word}" for word, count in sorted(words.items(), key=_by_count)) or "nothing"


def _clip(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[:limit] + "..."


def _by_count(pair: tuple[str, Any]) -> tuple[int, str]:
    return -pair[1], pair[0]


def unknown_field(path: str, names: Iterable[str]) -> str:
    """Say that no record has a field, with the nearest name.

    Parameters
    ----------
    path : str
        The field that was asked for.
    names : iterable of str
        Fields that there are.

    Returns
    -------
    str
        A warning for the plan of a search.
    """
    known = sorted(names)
    near = difflib.get_close_matches(path, known, n=1)
    shown = ", ".join(known[:_SHOWN_FIELDS]) + (", ..." if len(known) > _SHOWN_FIELDS else "")
    tail = f"; did you mean {near[0]!r}?" if near and near[0] != path else ""
    return f"no record has field {path!r}; known fields: {shown or 'none'}{tail}"
