"""Filters of other frameworks as where-expressions; what has no counterpart is refused, never widened.

Where a translation differs in a corner (dates as ISO texts, empty lists), the function's notes say so.
Both functions work on plain values, so neither needs its framework.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from orthant.collection.columns.predicates import spell_path
from orthant.errors import FilterError, message

__all__ = ["where_from_haystack", "where_from_llamaindex"]

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}(:\d{2}(:\d{2}(\.\d+)?)?)?(Z|[+-]\d{2}:?\d{2})?)?")
_HAYSTACK_ORDER = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}
_LLAMA_PLAIN = {"==": "eq", "!=": "ne", ">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "in": "in", "nin": "nin"}
_NOTHING: dict[str, Any] = {"or": []}


def where_from_haystack(filters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Translate a Haystack 2 filter.

    Parameters
    ----------
    filters : mapping or None
        A comparison (``field``, ``operator``, ``value``) or a logic node (``operator``, ``conditions``). Fields are
        those of the metadata, with or without ``meta.`` in front.

    Returns
    -------
    dict or None
        A where-expression; None for no filter.

    Raises
    ------
    FilterError
        Malformed, an unknown operator, a text that is no date with an ordering, or a field outside the metadata.

    Notes
    -----
    As in Haystack, ``==`` with None takes records without the field, ``!=`` and ``not in`` take them too, and an
    ordering against None takes nothing. Dates order as ISO texts, so one collection should keep to one spelling.

    Examples
    --------
    >>> where_from_haystack({"field": "meta.year", "operator": ">=", "value": 1900})
    {'year': {'gte': 1900}}
    """
    if not filters:
        return None
    if not isinstance(filters, Mapping):
        raise FilterError(message(f"filters of type {type(filters).__name__}", "a mapping", "write {'field': ...}"))
    return _haystack_comparison(filters) if "field" in filters else _haystack_logic(filters)


def _haystack_logic(node: Mapping[str, Any]) -> dict[str, Any]:
    missing = [key for key in ("operator", "conditions") if key not in node]
    if missing:
        given = f"a filter without {missing[0]!r}: {dict(node)!r}"
        raise FilterError(message(given, "operator and conditions, or field, operator and value", f"add {missing[0]}"))
    operator, conditions = node["operator"], node["conditions"]
    if operator not in ("AND", "OR", "NOT") or not isinstance(conditions, (list, tuple)):
        given = f"the logic {operator!r} over {type(conditions).__name__}"
        raise FilterError(message(given, "AND, OR or NOT over a list", "check the filter's spelling"))
    if not all(isinstance(part, Mapping) and part for part in conditions):
        raise FilterError(message(f"the conditions {conditions!r}", "a list of filters", "write each as a mapping"))
    parts = [where_from_haystack(part) for part in conditions]
    return {"not": {"and": parts}} if operator == "NOT" else {operator.lower(): parts}


def _haystack_comparison(node: Mapping[str, Any]) -> dict[str, Any]:
    for key in ("operator", "value"):
        if key not in node:
            given = f"a comparison without {key!r}: {dict(node)!r}"
            raise FilterError(message(given, "field, operator and value", f"add {key}"))
    field, operator, value = node["field"], node["operator"], node["value"]
    if field in ("id", "content", "score", "embedding", "blob", "sparse_embedding"):
        raise FilterError(
            message(f"a filter on {field!r}", "a field of the metadata", "put it into meta to filter by it")
        )
    key = spell_path(field.removeprefix("meta."))
    if isinstance(value, (datetime, date)):
        value = value.isoformat()
    if operator == "==":
        return {key: {"exists": False}} if value is None else {key: {"eq": value}}
    if operator == "!=":
        return {key: {"exists": True}} if value is None else {key: {"ne": value}}
    if operator in _HAYSTACK_ORDER:
        if value is None:
            return _NOTHING
        if isinstance(value, (list, dict, bool)) or (isinstance(value, str) and not _ISO_DATE.fullmatch(value)):
            given = f"{operator} with {value!r}"
            raise FilterError(message(given, "a number or an ISO date", "compare with one, or use == and in"))
        return {key: {_HAYSTACK_ORDER[operator]: value}}
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise FilterError(message(f"{operator!r} with {type(value).__name__}", "a list", "write [value]"))
        return {key: {"in" if operator == "in" else "nin": value}}
    raise FilterError(message(f"the operator {operator!r}", "==, !=, >, >=, <, <=, in or not in", "use one of these"))


def where_from_llamaindex(filters: Any | None) -> dict[str, Any] | None:
    """Translate LlamaIndex ``MetadataFilters``.

    Parameters
    ----------
    filters : MetadataFilters or None
        Filters with ``key``, ``operator`` and ``value``, joined by ``condition`` and nested at will.

    Returns
    -------
    dict or None
        A where-expression; None for no filter.

    Raises
    ------
    FilterError
        An operator without an exact counterpart (``text_match_insensitive``), or a malformed operand.

    Notes
    -----
    ``any`` and ``all`` look into lists, ``text_match`` is a case-sensitive substring, and ``!=`` and ``nin`` take
    records without the field. ``is_empty`` takes records where the field is missing, null or an empty text; an empty
    list counts as a value. Keys are taken literally: a dot in one is part of its name.

    Examples
    --------
    >>> from types import SimpleNamespace as Filter
    >>> where_from_llamaindex(Filter(condition="and", filters=[Filter(key="year", operator=">", value=1900)]))
    {'and': [{'.year': {'gt': 1900}}]}
    """
    if filters is None or not filters.filters:
        return None
    parts = [_llama_part(part) for part in filters.filters]
    condition = _plain(filters.condition or "and")
    if condition not in ("and", "or", "not"):
        raise FilterError(message(f"the condition {condition!r}", "and, or or not", "use one of these"))
    # A negation over several filters means that none of them holds.
    return {"not": {"or": parts}} if condition == "not" else {condition: parts}


def _plain(value: Any) -> str:
    return getattr(value, "value", value)


def _llama_part(part: Any) -> dict[str, Any]:
    if hasattr(part, "filters"):
        return where_from_llamaindex(part) or {}
    key, value = f".{part.key}", part.value
    operator = _plain(getattr(part, "operator", "=="))
    if operator in _LLAMA_PLAIN:
        return {key: {_LLAMA_PLAIN[operator]: value}}
    special: dict[str, Callable[[], dict[str, Any]]] = {
        "contains": lambda: {key: {"contains": value}},
        "text_match": lambda: {key: {"contains": value}},
        "any": lambda: {"or": [{key: {"contains": item}} for item in _items(operator, value)]},
        "all": lambda: {"and": [{key: {"contains": item}} for item in _items(operator, value)]},
        "is_empty": lambda: {"or": [{key: {"exists": False}}, {key: {"eq": ""}}]},
    }
    if operator not in special:
        known = ", ".join([*_LLAMA_PLAIN, *special])
        raise FilterError(message(f"the operator {operator!r}", f"one of {known}", "filter by another, or by words"))
    return special[operator]()


def _items(operator: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise FilterError(message(f"{operator!r} with {type(value).__name__}", "a list", "write [value]"))
    return list(value)
