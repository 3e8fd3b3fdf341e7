"""Groups: ranked hits gathered by the value of a field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from orthant.collection.columns.predicates import Comparison, Scalar, kind_of
from orthant.collection.columns.query import live_kinds, rows_in
from orthant.collection.storage.generation import Generation
from orthant.errors import InputError, message
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, IdArray

__all__ = ["Key", "Members", "gather", "group_keys", "members_of", "require_scalars"]

Key = tuple[str, Any]
"""Family and value: True, 1 and "1" are three groups. A record without a value has its row for one."""


@dataclass
class Members:
    """The places of one group in a ranking.

    Attributes
    ----------
    key : Key
        Family and value, or ``("row", row)``.
    places : list of int
        Best first.
    """

    key: Key
    places: list[int] = field(default_factory=list)

    @property
    def value(self) -> Scalar:
        """The value as the user knows it; None for a record without one."""
        return None if self.key[0] == "row" else self.key[1]


def require_scalars(generation: Generation, name: str) -> list[str]:
    """Refuse a field that holds lists or objects in a live record.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    name : str
        Dotted path.

    Returns
    -------
    list of str
        A warning where no record has the field.

    Raises
    ------
    InputError
        A list or an object: such a record would belong to several groups or to none.
    """
    seen = False
    for chunk in generation.columns.chunks:
        column = chunk.columns.get(name)
        if column is None:
            continue
        kinds, _ = live_kinds(column, rows_in(generation.live, chunk.rows))
        seen = seen or bool(kinds)
        bad = next((kind for kind in ("list", "object") if kind in kinds), None)
        if bad is not None:
            raise InputError(
                message(
                    f"group_by={name!r}, which holds {'a list' if bad == 'list' else 'an object'} in some record",
                    "a field of texts, numbers or booleans",
                    "group by another field, or count it with facets",
                )
            )
    return [] if seen else [f"no record has the field {name!r}, so every record is a group of its own"]


def group_keys(generation: Generation, name: str, rows: IdArray) -> list[Key]:
    """Return the group of every row.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    name : str
        Dotted path.
    rows : ndarray of shape (m,), int64
        Rows.

    Returns
    -------
    list of Key
        One per row.
    """
    values = generation.columns.values(name, rows)
    return [
        ("row", row) if value is None else (kind_of(value), value)
        for row, value in zip(rows.tolist(), values, strict=True)
    ]


def gather(keys: Sequence[Key]) -> list[Members]:
    """Return the groups of a ranking in the order of their best hits.

    Parameters
    ----------
    keys : sequence of Key
        Of ranked hits, best first.

    Returns
    -------
    list of Members
        Every group with all its places.

    Examples
    --------
    >>> [(m.value, m.places) for m in gather([("string", "a"), ("string", "b"), ("string", "a"), ("row", 7)])]
    [('a', [0, 2]), ('b', [1]), (None, [3])]
    """
    found: dict[Key, Members] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, Members(key)).places.append(place)
    return list(found.values())


def members_of(generation: Generation, name: str, key: Key, matched: BitmapArray) -> BitmapArray:
    """Return all rows of a group that match.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    name : str
        Dotted path.
    key : Key
        A group with a value.
    matched : ndarray of uint64
        Bitmap of the rows that match filter and query.

    Returns
    -------
    ndarray of uint64
        Its bitmap.
    """
    held = generation.columns.evaluate(Comparison(name, "eq", key[1]), live=generation.live).bitmap
    return held & bitmaps.resize(matched, len(held))
