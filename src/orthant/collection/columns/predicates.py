"""Predicates: the immutable tree that a where-expression becomes.

Nodes only describe a condition; they are evaluated over columns, not here.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "And",
    "Comparison",
    "Existence",
    "Membership",
    "Not",
    "Or",
    "Predicate",
    "RowsFrom",
    "Scalar",
    "ScalarKind",
    "kind_of",
    "spell_path",
]

Scalar = str | int | float | bool | None
ScalarKind = Literal["null", "bool", "number", "string"]

_COMBINATORS = ("and", "or", "not")
_KIND_ORDER = {"null": 0, "bool": 1, "number": 2, "string": 3}
_SIGNS = {"eq": "=", "ne": "!=", "gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "contains": "contains"}
_SHOWN_VALUES = 5


def spell_path(path: str) -> str:
    """Return how a field's path is written as a key of a where-expression.

    Parameters
    ----------
    path : str
        Dotted path.

    Returns
    -------
    str
        The path, with a leading dot where it would read as *and*, *or*, *not* or as an escape.

    Examples
    --------
    >>> spell_path("year"), spell_path("not")
    ('year', '.not')
    """
    return f".{path}" if path in _COMBINATORS or path.startswith(".") else path


def kind_of(value: Scalar) -> ScalarKind:
    """Return which family of values a plain scalar belongs to; families never equal one another.

    Parameters
    ----------
    value : str, int, float, bool or None
        A plain Python scalar.

    Returns
    -------
    {"null", "bool", "number", "string"}
        The family.

    Examples
    --------
    >>> kind_of(True), kind_of(1), kind_of(1.0)
    ('bool', 'number', 'number')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    return "string" if isinstance(value, str) else "number"


class Predicate(ABC):
    """A parsed where-expression: immutable, hashable, comparable; made by ``parse_where``."""

    __slots__ = ()

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the canonical expression as JSON values; ``parse_where`` of it gives an equal predicate.

        Returns
        -------
        dict
            A where-expression with every operator spelt out.
        """

    @abstractmethod
    def describe(self) -> str:
        """Return the predicate in words, for explanations and logs.

        Returns
        -------
        str
            One line; long value lists are shortened.
        """

    @abstractmethod
    def fields(self) -> frozenset[str]:
        """Return the dotted paths that the predicate reads.

        Returns
        -------
        frozenset of str
            Field names.
        """


@dataclass(frozen=True, slots=True)
class Comparison(Predicate):
    """One field against one value.

    Attributes
    ----------
    path : str
        Dotted path of the field.
    operator : {"eq", "ne", "gt", "gte", "lt", "lte", "contains"}
        How they are compared.
    value : str, int, float, bool or None
        The operand.
    kind : {"null", "bool", "number", "string"}
        Family of the operand, so that ``True`` and ``1`` make different predicates.
    """

    path: str
    operator: str
    value: Scalar
    kind: ScalarKind = field(init=False)

    def __post_init__(self) -> None:
        """Derive the operand's family."""
        object.__setattr__(self, "kind", kind_of(self.value))

    def to_json(self) -> dict[str, Any]:
        """Return ``{field: {operator: value}}``."""
        return {spell_path(self.path): {self.operator: self.value}}

    def describe(self) -> str:
        """Return such as ``year >= 1900``."""
        return f"{self.path} {_SIGNS[self.operator]} {_show(self.value)}"

    def fields(self) -> frozenset[str]:
        """Return the one field."""
        return frozenset((self.path,))


@dataclass(frozen=True, slots=True)
class Membership(Predicate):
    """One field against a set of values.

    Attributes
    ----------
    path : str
        Dotted path of the field.
    operator : {"in", "nin"}
        Whether the value must be in the set or out of it.
    values : tuple of scalars
        Distinct and sorted; empty matches nothing (``in``) or everything (``nin``).
    kinds : tuple of str
        Family of each value.
    """

    path: str
    operator: str
    values: tuple[Scalar, ...]
    kinds: tuple[ScalarKind, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Make the values a sorted set and derive their families."""
        distinct = {(kind_of(value), value): value for value in self.values}
        order = sorted(distinct, key=lambda pair: (_KIND_ORDER[pair[0]], 0 if pair[1] is None else pair[1]))
        object.__setattr__(self, "values", tuple(distinct[pair] for pair in order))
        object.__setattr__(self, "kinds", tuple(kind for kind, _ in order))

    def to_json(self) -> dict[str, Any]:
        """Return ``{field: {"in": [...]}}``."""
        return {spell_path(self.path): {self.operator: list(self.values)}}

    def describe(self) -> str:
        """Return such as ``genre is one of "memoir", "novel"``."""
        shown = ", ".join(_show(value) for value in self.values[:_SHOWN_VALUES]) or "nothing"
        more = f" and {len(self.values) - _SHOWN_VALUES} more" if len(self.values) > _SHOWN_VALUES else ""
        return f"{self.path} is {'one' if self.operator == 'in' else 'none'} of {shown}{more}"

    def fields(self) -> frozenset[str]:
        """Return the one field."""
        return frozenset((self.path,))


@dataclass(frozen=True, slots=True)
class Existence(Predicate):
    """Whether a field holds a value other than null.

    Attributes
    ----------
    path : str
        Dotted path of the field.
    present : bool
        True: a value must be there; False: it must be missing or null.
    """

    path: str
    present: bool

    def to_json(self) -> dict[str, Any]:
        """Return ``{field: {"exists": present}}``."""
        return {spell_path(self.path): {"exists": self.present}}

    def describe(self) -> str:
        """Return such as ``year exists``."""
        return f"{self.path} {'exists' if self.present else 'is missing or null'}"

    def fields(self) -> frozenset[str]:
        """Return the one field."""
        return frozenset((self.path,))


@dataclass(frozen=True, slots=True)
class RowsFrom(Predicate):
    """The record was written after another: its row is not below a first one. No where-expression spells it.

    Attributes
    ----------
    row : int
        First row that counts.
    """

    row: int

    def to_json(self) -> dict[str, Any]:
        """Return an expression for people; it cannot be parsed, since rows mean nothing outside one collection."""
        return {"written": {"from row": self.row}}

    def describe(self) -> str:
        """Return such as ``written from row 17 on``."""
        return f"written from row {self.row} on"

    def fields(self) -> frozenset[str]:
        """Return no field."""
        return frozenset()


@dataclass(frozen=True, slots=True)
class And(Predicate):
    """All parts hold; without parts, everything matches.

    Attributes
    ----------
    parts : tuple of Predicate
        The conditions.
    """

    parts: tuple[Predicate, ...]

    def to_json(self) -> dict[str, Any]:
        """Return ``{"and": [...]}``."""
        return {"and": [part.to_json() for part in self.parts]}

    def describe(self) -> str:
        """Return the parts joined by *and*."""
        return _join(self.parts, "and") if self.parts else "everything"

    def fields(self) -> frozenset[str]:
        """Return the fields of all parts."""
        return frozenset().union(*(part.fields() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Or(Predicate):
    """At least one part holds; without parts, nothing matches.

    Attributes
    ----------
    parts : tuple of Predicate
        The conditions.
    """

    parts: tuple[Predicate, ...]

    def to_json(self) -> dict[str, Any]:
        """Return ``{"or": [...]}``."""
        return {"or": [part.to_json() for part in self.parts]}

    def describe(self) -> str:
        """Return the parts joined by *or*."""
        return _join(self.parts, "or") if self.parts else "nothing"

    def fields(self) -> frozenset[str]:
        """Return the fields of all parts."""
        return frozenset().union(*(part.fields() for part in self.parts))


@dataclass(frozen=True, slots=True)
class Not(Predicate):
    """The part does not hold; a record without the field matches.

    Attributes
    ----------
    part : Predicate
        The condition to complement.
    """

    part: Predicate

    def to_json(self) -> dict[str, Any]:
        """Return ``{"not": {...}}``."""
        return {"not": self.part.to_json()}

    def describe(self) -> str:
        """Return such as ``not (year = 1900)``."""
        return f"not ({self.part.describe()})"

    def fields(self) -> frozenset[str]:
        """Return the fields of the part."""
        return self.part.fields()


def _show(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)


def _join(parts: tuple[Predicate, ...], word: str) -> str:
    grouped = len(parts) > 1
    return f" {word} ".join(
        f"({part.describe()})" if grouped and isinstance(part, (And, Or)) else part.describe() for part in parts
    )
