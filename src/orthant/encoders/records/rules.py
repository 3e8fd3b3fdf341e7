"""How the fields of a record are read: paths, and a rule per field."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from orthant.errors import InputError, message
from orthant.validate import check_choice, check_fraction

__all__ = ["Arrays", "FieldRule", "Fields", "Kind", "Path", "describe", "parse_path", "parse_schema", "shown"]

Kind = Literal["auto", "number", "symbol", "text", "skip"]
Arrays = Literal["bag", "set", "sequence"]
Path = tuple[str | int, ...]
Fields = tuple[str, ...]

_MAX_WEIGHT = 1e6
_STEP = re.compile(r"([^.\[\]]+)((?:\[\d+\])*)")


@dataclass(frozen=True, kw_only=True)
class FieldRule:
    """How one field is read; a bare kind may be written instead of a rule.

    Parameters
    ----------
    kind : {"auto", "number", "symbol", "text", "skip"}, default "auto"
        ``"number"``: near numbers get near vectors. ``"symbol"``: equal or unrelated, for ids, codes and enumerations.
        ``"text"``: by the text encoder, or by words without one. ``"skip"``: the field, and all below it, has no part.
        ``"auto"``: numbers are numbers; strings are symbols where ``fit`` found few distinct short ones, else text.
    arrays : {"bag", "set", "sequence"}, optional
        How lists in this field are read; default that of the encoder.
    weight : float, default 1.0
        Share of the field beside its siblings; 2 counts four times as much in a similarity. Above 0, at most 1e6.

    Raises
    ------
    InputError
        An unknown kind or way, or a weight out of range; weights of 0 are written ``"skip"``.

    Examples
    --------
    >>> FieldRule(kind="symbol", weight=2.0)
    FieldRule(kind='symbol', arrays=None, weight=2.0)
    """

    kind: Kind = "auto"
    arrays: Arrays | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_choice(self.kind, get_args(Kind), name="kind")
        if self.arrays is not None:
            check_choice(self.arrays, get_args(Arrays), name="arrays")
        if check_fraction(self.weight, name="weight", high=_MAX_WEIGHT) == 0:
            raise InputError(message("weight=0", "a weight above 0", "write kind='skip'"))


def parse_schema(schema: Mapping[Any, Any] | None) -> dict[Fields, FieldRule]:
    """Check a schema.

    Parameters
    ----------
    schema : mapping of path to (str, FieldRule or mapping), optional
        Paths as ``"a.b"`` or as tuples of keys; list positions have no rules of their own.

    Returns
    -------
    dict of tuple of str to FieldRule
        By the keys of the path.

    Raises
    ------
    InputError
        No mapping, a path with positions, or a rule that is none.
    """
    if schema is None:
        return {}
    if not isinstance(schema, Mapping):
        given = f"schema of type {type(schema).__name__}"
        raise InputError(message(given, "a mapping of paths to kinds", "write {'year': 'number'}"))
    out: dict[Fields, FieldRule] = {}
    for path, rule in schema.items():
        keys = parse_path(path)
        fields = tuple(step for step in keys if isinstance(step, str))
        if len(fields) != len(keys):
            given = f"the schema path {path!r} with a list position"
            raise InputError(message(given, "keys only", "leave the position out: a rule holds for all items"))
        out[fields] = _rule(rule, path)
    return out


def _rule(rule: Any, path: Any) -> FieldRule:
    if isinstance(rule, FieldRule):
        return rule
    if isinstance(rule, str):
        return FieldRule(kind=rule)  # type: ignore[arg-type]
    known = set(FieldRule.__dataclass_fields__)
    if isinstance(rule, Mapping) and set(rule) <= known:
        return FieldRule(**rule)
    given = f"a rule of type {type(rule).__name__} for {path!r}"
    raise InputError(message(given, f"a kind, a FieldRule or a mapping of {sorted(known)}", "write {'year': 'number'}"))


def describe(schema: Mapping[Fields, FieldRule]) -> list[list[Any]]:
    """Return a parsed schema as JSON values.

    Parameters
    ----------
    schema : mapping of tuple of str to FieldRule
        From ``parse_schema``.

    Returns
    -------
    list
        Pairs of keys and settings, sorted.
    """
    return [[list(fields), asdict(schema[fields])] for fields in sorted(schema)]


def parse_path(path: str | Sequence[str | int]) -> Path:
    """Return the steps of a path.

    Parameters
    ----------
    path : str or sequence of (str or int)
        ``"authors[0].name"``; or ``("authors", 0, "name")``, which keys with dots or brackets need.

    Returns
    -------
    tuple of (str or int)
        Keys and positions in lists.

    Raises
    ------
    InputError
        Neither of them, or a negative position.

    Examples
    --------
    >>> parse_path("authors[0].name")
    ('authors', 0, 'name')
    """
    if isinstance(path, str):
        steps: list[str | int] = []
        for part in path.split("."):
            found = _STEP.fullmatch(part)
            if found is None:
                break
            steps += [found[1], *(int(n) for n in re.findall(r"\d+", found[2]))]
        else:
            return tuple(steps)
    elif isinstance(path, Sequence) and path and all(_is_step(step) for step in path):
        return tuple(path)
    raise InputError(message(f"the path {path!r}", "keys and positions like 'a.b[0]'", "or pass a tuple of steps"))


def _is_step(step: Any) -> bool:
    return isinstance(step, str) or (isinstance(step, int) and not isinstance(step, bool) and step >= 0)


def shown(path: Sequence[str | int]) -> str:
    """Return a path as a user writes it.

    Parameters
    ----------
    path : sequence of (str or int)
        Steps.

    Returns
    -------
    str
        Such as ``"authors[0].name"``; ``"(root)"`` without a step.
    """
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".") or "(root)"
