"""Where-expressions: a small typed language over metadata, parsed once into immutable predicates.

A predicate knows nothing of storage; ``Columns.evaluate`` turns it into a bitmap of rows.

Semantics, in one place:

- Several fields, and several operators of one field, are joined by *and*. ``{"field": value}`` means ``eq``.
- ``eq ne in nin gt gte lt lte`` look at scalar cells only; a cell that holds a list is reached by ``contains``.
- ``contains`` is element membership on a list and case-sensitive substring search on a string. Objects and
  lists inside a list are beyond its reach; store their values in a list field of their own.
- ``{"field": {"not": {...}}}`` negates conditions of one field, ``{"not": {...}}`` a whole expression.
- ``ne``, ``nin`` and ``not`` are complements: a record without the field matches them.
- ``exists: true`` matches a present value other than null. ``eq None`` matches an explicit null only, so
  missing, null and valued cells can all be told apart.
- Booleans are not numbers. Integers compare exactly at any size; integers and floats compare by their value.
- Strings order by code point, so ISO dates order by time.
- Fields are named by dotted paths ("author.name"). A leading dot makes the rest literal: ``{".not": 1}`` is the
  field called ``not``, ``{"..x": 1}`` the field called ``.x``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from orthant.collection.columns.metadata import MAX_DEPTH, MAX_INT_BITS, way_out
from orthant.collection.columns.predicates import (
    And,
    Comparison,
    Existence,
    Membership,
    Not,
    Or,
    Predicate,
    Scalar,
    kind_of,
    spell_path,
)
from orthant.errors import FilterError, message

__all__ = ["OPERATORS", "And", "Comparison", "Existence", "Membership", "Not", "Or", "Predicate", "parse_where"]

OPERATORS = ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists", "contains", "not")
_COMPARING = ("eq", "ne", "gt", "gte", "lt", "lte", "contains")
_COMBINATORS = ("and", "or", "not")
_ALIASES = {
    "==": "eq",
    "=": "eq",
    "!=": "ne",
    "<>": "ne",
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "neq": "ne",
    "ge": "gte",
    "le": "lte",
    "min": "gte",
    "max": "lte",
    "any": "in",
    "not_in": "nin",
    "has": "contains",
    "like": "contains",
    "between": "gte",
}


def parse_where(expression: Mapping[str, Any] | Predicate) -> Predicate:
    """Check a where-expression and return it as a typed predicate.

    Use it at the border: what it returns is valid by construction and can be kept, compared, printed and
    evaluated many times. It does not know the fields of a collection; ``Columns.evaluate`` checks those.

    Parameters
    ----------
    expression : mapping
        ``{"year": {"gte": 1900, "lt": 2000}, "genre": {"in": ["novel"]}}``; ``{"and": [...]}``, ``{"or": [...]}``,
        ``{"not": {...}}`` nest up to 32 levels. An empty mapping matches everything. A predicate is returned as is.

    Returns
    -------
    Predicate
        The immutable tree.

    Raises
    ------
    FilterError
        Unknown operator (with the nearest known one), an operand of the wrong type, NaN or infinity, or nesting
        beyond 32 levels.

    Notes
    -----
    Cost: about 5 microseconds per clause.

    Examples
    --------
    >>> where = parse_where({"year": {"gte": 1900}, "genre": {"in": ["novel", "memoir"]}})
    >>> where.describe()
    'year >= 1900 and genre is one of "memoir", "novel"'
    >>> parse_where({"author.name": "Woolf"}).to_json()
    {'author.name': {'eq': 'Woolf'}}
    """
    return expression if isinstance(expression, Predicate) else _parse(expression, 1)


def _parse(expression: Any, depth: int) -> Predicate:
    _check_depth(depth)
    if not isinstance(expression, Mapping):
        raise _refusal(
            f"a where-expression of type {type(expression).__name__}: {_clip(expression)}",
            "a mapping of field names or and/or/not to conditions",
            'write it as {"field": {"operator": value}}',
        )
    parts: list[Predicate] = []
    inner = depth + (len(expression) > 1)
    for key, operand in expression.items():
        if not isinstance(key, str) or not key or key == ".":
            raise _refusal(f"the field name {key!r}", "a non-empty string", "name a metadata field")
        if key == "not":
            _check_depth(inner)
            parts.append(Not(_parse(operand, inner + 1)))
        elif key in _COMBINATORS:
            parts.append(_combine(key, operand, inner))
        else:
            parts.append(_parse_field(_path(key), operand, inner))
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _refusal(
            f"a where-expression nested deeper than {MAX_DEPTH} levels",
            f"at most {MAX_DEPTH} levels of and, or and not",
            "flatten it: and-lists inside and-lists can be joined, and long or-lists of one field written with 'in'",
        )


def _combine(word: str, operand: Any, depth: int) -> Predicate:
    _check_depth(depth)
    if not isinstance(operand, (list, tuple)):
        raise _refusal(
            f"{word!r} with an operand of type {type(operand).__name__}: {_clip(operand)}",
            "a list of where-expressions",
            f'write {{"{word}": [{{...}}, {{...}}]}}; a field called {word!r} is written ".{word}"',
        )
    parts = tuple(_parse(item, depth + 1) for item in operand)
    return And(parts) if word == "and" else Or(parts)


def _parse_field(path: str, operand: Any, depth: int) -> Predicate:
    _check_depth(depth)
    if isinstance(operand, (list, tuple, set, frozenset, np.ndarray)):
        raise _refusal(
            f"a {type(operand).__name__} as the value of field {path!r}: {_clip(operand)}",
            "one value, or a mapping of operators",
            f'to match any of several values write {{"{spell_path(path)}": {{"in": [...]}}}}; '
            f'to look inside a list field write {{"{spell_path(path)}": {{"contains": value}}}}',
        )
    if not isinstance(operand, Mapping):
        return Comparison(path, "eq", _scalar(operand, path, "eq"))
    if not operand:
        known = ", ".join(OPERATORS)
        raise _refusal(f"no operator for field {path!r}", f"one of {known}", "name an operator and a value")
    inner = depth + (len(operand) > 1)
    parts = tuple(_parse_operator(path, name, value, inner) for name, value in operand.items())
    return parts[0] if len(parts) == 1 else And(parts)


def _parse_operator(path: str, name: Any, value: Any, depth: int) -> Predicate:
    _check_depth(depth)
    if name in _COMPARING:
        scalar = _scalar(value, path, name)
        if name in ("gt", "gte", "lt", "lte") and kind_of(scalar) in ("null", "bool"):
            raise _refusal(
                f"{name} with {scalar!r} for field {path!r}",
                "a number or a string, which have an order",
                "use eq or ne for booleans, and exists for null",
            )
        return Comparison(path, name, scalar)
    if name in ("in", "nin"):
        return Membership(path, name, tuple(_scalar(item, path, name) for item in _items(value, path, name)))
    if name == "exists":
        if not isinstance(value, (bool, np.bool_)):
            raise _refusal(f"exists={_clip(value)} for field {path!r}", "true or false", "pass a bool")
        return Existence(path, bool(value))
    if name == "not":
        if not isinstance(value, Mapping):
            raise _refusal(
                f"not={_clip(value)} for field {path!r}",
                "a mapping of operators to negate",
                f'write {{"{spell_path(path)}": {{"ne": value}}}} to exclude one value',
            )
        return Not(_parse_field(path, value, depth + 1))
    raise _unknown_operator(path, name)


def _unknown_operator(path: str, name: Any) -> FilterError:
    plain = str(name).lstrip("$").lower()
    near = [_ALIASES[plain]] if plain in _ALIASES else difflib.get_close_matches(plain, OPERATORS, n=1, cutoff=0.7)
    if plain == "between":
        remedy = f'write {{"{spell_path(path)}": {{"gte": low, "lte": high}}}}'
    elif near:
        remedy = f"use {near[0]!r} if that was meant"
    else:
        remedy = "choose an operator"
    return _refusal(
        f"the unknown operator {name!r} for field {path!r}",
        f"one of {', '.join(OPERATORS)}",
        f'{remedy}; a nested field is written with dots, {{"{spell_path(path)}.{name}": ...}}',
    )


def _items(value: Any, path: str, name: str) -> Iterable[Any]:
    if isinstance(value, np.ndarray) and value.ndim == 1:
        items: list[Any] = value.tolist()
        return items
    if isinstance(value, (list, tuple, set, frozenset)):
        return value
    raise _refusal(
        f"{name} with an operand of type {type(value).__name__} for field {path!r}: {_clip(value)}",
        "a list of values",
        "put the values into a list, as in [1, 2]; for a range of numbers use gte and lt",
    )


def _scalar(value: Any, path: str, name: str) -> Scalar:
    """Return the operand as a plain Python scalar, or say why it cannot be compared."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, str):
        text = "".join(value) if type(value) is not str else value
        if not _encodable(text):
            raise _refusal(f"a lone surrogate for field {path!r}", "text that UTF-8 can hold", "repair the text")
        return text
    if isinstance(value, (int, np.integer)) and not isinstance(value, np.timedelta64):
        number = int(value)
        if number.bit_length() > MAX_INT_BITS:
            raise _refusal(
                f"an integer of {number.bit_length()} bits for field {path!r}",
                f"at most {MAX_INT_BITS} bits",
                "compare strings instead",
            )
        return number
    if isinstance(value, (float, np.floating)):
        if not math.isfinite(value):
            raise _refusal(
                f"{name} with {float(value)} for field {path!r}",
                "a finite number",
                "leave an open bound out; to find records without a value use exists",
            )
        return float(value)
    if isinstance(value, (list, tuple, set, frozenset, dict)):
        remedy = "use 'in' for several values; for several list elements join contains conditions by 'and'"
    else:
        remedy = way_out(value)
    raise _refusal(
        f"{name} with a value of type {type(value).__name__} for field {path!r}: {_clip(value)}",
        "a string, number, bool or None",
        remedy,
    )


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refusal(given: str, expected: str, remedy: str) -> FilterError:
    return FilterError(message(given, expected, remedy))


def _path(key: str) -> str:
    return key[1:] if key.startswith(".") else key


def _clip(value: Any, limit: int = 80) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        return "a value too long to print"
    return text if len(text) <= limit else text[:limit] + "..."
