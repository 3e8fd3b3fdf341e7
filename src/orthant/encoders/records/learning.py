"""What is learned from example records: how the numbers of a field are spread, and which strings enumerate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.records.leaves import CELLS
from orthant.encoders.records.rules import Fields
from orthant.encoders.records.walking import Leaf, Reading, leaves

__all__ = ["Learned", "absent_fields", "learn"]

_FEW = 256
_OFTEN = 4
_SHORT = 40

Learned = tuple[dict[Fields, npt.NDArray[np.float64]], dict[Fields, str]]


def learn(records: Sequence[Mapping[str, Any]], reading: Reading) -> Learned:
    """Return the borders of numeric fields and the kinds of fields with strings.

    Parameters
    ----------
    records : sequence of mapping
        Examples.
    reading : Reading
        The schema, without kinds.

    Returns
    -------
    knots : dict of tuple of str to ndarray of shape (m,), float64
        At most 65 increasing quantiles per field; fields of one value have none.
    kinds : dict of tuple of str to str
        ``"symbol"`` where strings are at most 40 characters long, and either at most 256 distinct ones or each one
        stands there four times on average, and some repeat; ``"text"`` elsewhere.
    """
    numbers: dict[Fields, list[float]] = {}
    strings: dict[Fields, list[str]] = {}
    for i, record in enumerate(records):
        for leaf in leaves(record, reading, where=f"records[{i}]"):
            if leaf.kind == "number":
                numbers.setdefault(leaf.fields, []).append(leaf.value)
            elif _is_open(leaf, reading):
                strings.setdefault(leaf.fields, []).append(leaf.raw)
    knots = {}
    for fields, values in numbers.items():
        distinct = np.unique(np.quantile(np.array(values), np.linspace(0, 1, CELLS + 1)))
        if len(distinct) > 1:
            knots[fields] = distinct
    return knots, {fields: _kind(values) for fields, values in strings.items()}


def absent_fields(records: Sequence[Mapping[str, Any]], wanted: Iterable[Fields]) -> list[Fields]:
    """Return the fields that no record has, such as those whose names are misspelt.

    Parameters
    ----------
    records : sequence of mapping
        Records.
    wanted : iterable of tuple of str
        Fields by their keys; positions in lists do not count.

    Returns
    -------
    list of tuple of str
        Those of ``wanted`` that are absent, in the same order.
    """
    return [fields for fields in wanted if not any(_has(record, fields) for record in records)]


def _has(value: Any, fields: Fields) -> bool:
    if not fields:
        return True
    if isinstance(value, (list, tuple)):
        return any(_has(item, fields) for item in value)
    return isinstance(value, Mapping) and fields[0] in value and _has(value[fields[0]], fields[1:])


def _is_open(leaf: Leaf, reading: Reading) -> bool:
    return isinstance(leaf.raw, str) and bool(leaf.raw) and reading.rule(leaf.fields).kind == "auto"


def _kind(values: list[str]) -> str:
    distinct = set(values)
    few = len(distinct) <= min(_FEW, len(values) // 2) or len(distinct) * _OFTEN <= len(values)
    return "symbol" if few and max(map(len, distinct)) <= _SHORT else "text"
