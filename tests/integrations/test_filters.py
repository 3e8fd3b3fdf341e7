"""Translated filters, judged by what they select; the frameworks are not needed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import orthant
from orthant.errors import FilterError
from orthant.integrations.filters import where_from_haystack, where_from_llamaindex

ROWS = {
    "a": {"n": 1, "tag": ["x", "y"], "name": "Ada", "date": "1969-07-21T20:17:40"},
    "b": {"n": 5, "tag": ["y"], "name": "", "date": "1989-11-09"},
    "c": {"name": "Bob", "deep": {"not": 3}, "a.b": 7},
    "d": {"n": None, "not": 1, "tag": []},
}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    with orthant.open(tmp_path_factory.mktemp("filters") / "c") as collection:
        collection.upsert(list(ROWS), metadata=list(ROWS.values()))
        yield collection


def _ids(collection, where):
    return "".join(record.id for record in collection.find(where))


def _is(field, operator, value):
    return {"field": field, "operator": operator, "value": value}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, "abcd"),
        ({}, "abcd"),
        (_is("meta.n", "==", 1), "a"),
        (_is("n", "==", 1), "a"),
        (_is("meta.n", "==", None), "cd"),
        (_is("meta.n", "!=", None), "ab"),
        (_is("meta.n", "!=", 1), "bcd"),
        (_is("meta.n", ">", 1), "b"),
        (_is("meta.n", ">=", None), ""),
        (_is("meta.date", "<", "1980-01-01"), "a"),
        (_is("meta.n", "in", [1, 5]), "ab"),
        (_is("meta.n", "not in", [1]), "bcd"),
        (_is("meta.not", "==", 1), "d"),
        (_is("meta.deep.not", "==", 3), "c"),
        ({"operator": "AND", "conditions": [_is("n", ">", 0), _is("name", "==", "Ada")]}, "a"),
        ({"operator": "OR", "conditions": [_is("n", "==", 5), _is("name", "==", "Bob")]}, "bc"),
        ({"operator": "NOT", "conditions": [_is("n", ">", 0), _is("name", "==", "Ada")]}, "bcd"),
    ],
)
def test_haystack_filters_select(collection, filters, expected):
    assert _ids(collection, where_from_haystack(filters)) == expected


@pytest.mark.parametrize(
    "filters",
    [
        "year",
        {"operator": "AND"},
        {"conditions": []},
        {"operator": "XOR", "conditions": []},
        {"operator": "AND", "conditions": [{}]},
        {"field": "meta.n", "value": 1},
        {"field": "meta.n", "operator": "=="},
        _is("content", "==", "text"),
        _is("meta.n", ">", "one"),
        _is("meta.n", ">", [1]),
        _is("meta.n", "in", 1),
        _is("meta.n", "~", 1),
    ],
)
def test_malformed_haystack_filters_are_refused(filters):
    with pytest.raises(FilterError):
        where_from_haystack(filters)


def _all(*parts, condition="and"):
    return SimpleNamespace(filters=list(parts), condition=condition)


def _one(key, operator, value):
    return SimpleNamespace(key=key, operator=operator, value=value)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (_one("n", "==", 5), "b"),
        (_one("n", "!=", 5), "acd"),
        (_one("n", ">", 0), "ab"),
        (_one("n", "<=", 1), "a"),
        (_one("n", "in", [1, 2]), "a"),
        (_one("n", "nin", [1]), "bcd"),
        (_one("tag", "any", ["x", "z"]), "a"),
        (_one("tag", "all", ["y", "x"]), "a"),
        (_one("tag", "contains", "y"), "ab"),
        (_one("name", "text_match", "o"), "c"),
        (_one("name", "is_empty", None), "bd"),
        (_one("a.b", "==", 7), "c"),
        (_one("not", "==", 1), "d"),
        (_all(_one("n", "==", 1), _one("n", "==", 5), condition="or"), "ab"),
        (_all(_one("n", "==", 1), _one("n", "==", 5), condition="not"), "cd"),
    ],
)
def test_llamaindex_filters_select(collection, part, expected):
    assert _ids(collection, where_from_llamaindex(_all(part))) == expected


def test_llamaindex_filters_that_have_no_counterpart_are_refused():
    assert where_from_llamaindex(None) is None
    assert where_from_llamaindex(_all()) is None
    with pytest.raises(FilterError, match="text_match_insensitive"):
        where_from_llamaindex(_all(_one("name", "text_match_insensitive", "a")))
    with pytest.raises(FilterError, match="a list"):
        where_from_llamaindex(_all(_one("tag", "any", "x")))
    with pytest.raises(FilterError, match="condition"):
        where_from_llamaindex(_all(_one("n", "==", 1), condition="xor"))
