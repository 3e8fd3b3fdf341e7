"""From a record to its leaves: where each value stands, how it is to be read, and how much it counts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from orthant.encoders.records.rules import Arrays, FieldRule, Fields, Path, shown
from orthant.errors import InputError, NonFiniteError, message

__all__ = ["Leaf", "Reading", "canonical", "leaves"]

_PLAIN = FieldRule()


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value of a record.

    Attributes
    ----------
    path : tuple of (str or int)
        Keys, and positions in ordered lists.
    fields : tuple of str
        The keys alone.
    kind : {"symbol", "number", "text"}
        How the value becomes a vector.
    value : str or float
        Name of the symbol, the number, or the text.
    factor : float
        What its vector is multiplied by.
    raw : object
        The value as it stood there.
    """

    path: Path
    fields: Fields
    kind: Literal["symbol", "number", "text"]
    value: Any
    factor: float
    raw: Any


@dataclass(frozen=True)
class Reading:
    """How records are read.

    Attributes
    ----------
    schema : mapping of tuple of str to FieldRule
        Rules by field.
    kinds : mapping of tuple of str to str
        What was learned about strings without a rule.
    arrays : {"bag", "set", "sequence"}
        How lists are read.
    bag_weight : float
        Share of the unordered sum in an ordered list.
    max_depth : int
        Levels of nesting at most.
    """

    schema: Mapping[Fields, FieldRule] = field(default_factory=dict)
    kinds: Mapping[Fields, str] = field(default_factory=dict)
    arrays: Arrays = "bag"
    bag_weight: float = 0.0
    max_depth: int = 64

    def rule(self, fields: Fields) -> FieldRule:
        """Return the rule of a field.

        Parameters
        ----------
        fields : tuple of str
            The field.

        Returns
        -------
        FieldRule
            The plain one where the schema has none.
        """
        return self.schema.get(fields, _PLAIN)


def canonical(value: Any) -> str:
    """Return one text for equal JSON values: sorted keys, and 1.0 as 1.

    Parameters
    ----------
    value : object
        A JSON value.

    Returns
    -------
    str
        JSON.
    """
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def leaves(record: Any, reading: Reading, *, where: str = "record") -> list[Leaf]:
    """Return the leaves of a record, keys in sorted order.

    Parameters
    ----------
    record : JSON value
        Usually a dict.
    reading : Reading
        How it is read.
    where : str, default "record"
        How it is called in an error.

    Returns
    -------
    list of Leaf
        Factors are such that the squares of all of one record's sum to 1.

    Raises
    ------
    InputError
        A key that is no str, a value that is no JSON, nesting beyond ``max_depth`` or in a circle, text where the
        schema says number.
    NonFiniteError
        NaN or infinity.
    """
    return list(_walk(record, (), (), 1.0, 0, reading, where))


def _walk(
    value: Any, path: Path, fields: Fields, factor: float, depth: int, reading: Reading, where: str
) -> Iterator[Leaf]:
    if depth > reading.max_depth:
        given = f"{where} nested deeper than {reading.max_depth} levels, or in a circle"
        raise InputError(message(given, "a JSON value of bounded depth", "flatten it, or raise max_depth"))
    if isinstance(value, Mapping) and value:
        yield from _object(value, path, fields, factor, depth, reading, where)
    elif isinstance(value, (list, tuple)) and value:
        yield from _array(value, path, fields, factor, depth, reading, where)
    else:
        kind, read = _leaf(value, fields, reading, f"{where} at {shown(path)!r}")
        yield Leaf(path, fields, kind, read, factor, value)


def _object(
    value: Mapping[Any, Any], path: Path, fields: Fields, factor: float, depth: int, reading: Reading, where: str
) -> Iterator[Leaf]:
    for key in value:
        if not isinstance(key, str):
            given = f"{where} with the key {key!r} of type {type(key).__name__} at {shown(path)!r}"
            raise InputError(message(given, "str keys", f"write str({key!r})"))
    rules = {key: reading.rule((*fields, key)) for key in sorted(value)}
    kept = {key: rule for key, rule in rules.items() if rule.kind != "skip"}
    total = math.sqrt(sum(rule.weight**2 for rule in kept.values()))
    for key, rule in kept.items():
        part = factor * rule.weight / total
        yield from _walk(value[key], (*path, key), (*fields, key), part, depth + 1, reading, where)


def _array(
    value: Any, path: Path, fields: Fields, factor: float, depth: int, reading: Reading, where: str
) -> Iterator[Leaf]:
    arrays = reading.rule(fields).arrays or reading.arrays
    # A circle cannot be compared with json; its depth is found by the walk.
    items = _distinct(value, where) if arrays == "set" else value
    ordered, loose = (1.0, reading.bag_weight) if arrays == "sequence" else (0.0, 1.0)
    part = factor / math.sqrt(len(items) * (ordered**2 + loose**2))
    for i, item in enumerate(items):
        if ordered:
            yield from _walk(item, (*path, i), fields, part, depth + 1, reading, where)
        if loose:
            yield from _walk(item, path, fields, part * loose, depth + 1, reading, where)


def _distinct(items: Any, where: str) -> list[Any]:
    try:
        return list({canonical(item): item for item in items}.values())
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(message(f"{where} with a list of other than JSON", "JSON values", "convert them")) from error


def _leaf(value: Any, fields: Fields, reading: Reading, where: str) -> tuple[Literal["symbol", "number", "text"], Any]:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, Mapping, list, tuple)):
        # null, true, false, and the empty object and list have a symbol each, which no string can take.
        return "symbol", canonical(value)
    kind = reading.rule(fields).kind
    if isinstance(value, (int, float)):
        number = _finite(value, where)
        if kind in ("symbol", "text"):
            name = canonical(value)
            return (kind, name)
        return "number", number
    if not isinstance(value, str):
        given = f"{where} of type {type(value).__name__}"
        raise InputError(message(given, "a JSON value", "convert it, dates with isoformat()"))
    if kind == "number":
        raise InputError(message(f"the text {value!r} as {where}", "a number, by the schema", "convert it"))
    if kind == "auto":
        kind = reading.kinds.get(fields, "text")  # type: ignore[assignment]
    return ("text", value) if kind == "text" and value else ("symbol", json.dumps(value))


def _finite(value: float, where: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise NonFiniteError(message(f"{where} that is {value!r:.40}", "a finite number", "leave it out, or pass None"))
    return number
