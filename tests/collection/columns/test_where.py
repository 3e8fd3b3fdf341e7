from __future__ import annotations

import datetime
import decimal
import enum

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.collection.columns.metadata import check_metadata
from orthant.collection.columns.where import And, Comparison, Existence, Membership, Not, Or, parse_where
from orthant.errors import FilterError, InputError

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
ordered = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
conditions = st.one_of(
    scalars.map(lambda v: {"eq": v}),
    scalars.map(lambda v: {"contains": v}),
    ordered.map(lambda v: {"gte": v, "lt": v}),
    st.lists(scalars, max_size=4).map(lambda v: {"in": v}),
    st.booleans().map(lambda v: {"exists": v}),
    scalars.map(lambda v: {"not": {"ne": v}}),
)
names = st.sampled_from(["year", "a.b", ".and", ".not", "..x", "field"])
expressions = st.recursive(
    st.dictionaries(names, conditions, max_size=3),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda v: {"and": v}),
        st.lists(inner, max_size=3).map(lambda v: {"or": v}),
        inner.map(lambda v: {"not": v}),
    ),
    max_leaves=6,
)


def test_documented_forms_parse_to_the_tree() -> None:
    where = parse_where({"year": {"gte": 1900, "lt": 2000}, "genre": {"in": ["novel", "memoir", "novel"]}})
    assert where == And(
        (
            And((Comparison("year", "gte", 1900), Comparison("year", "lt", 2000))),
            Membership("genre", "in", ("memoir", "novel")),
        )
    )
    assert parse_where({"year": 1900}) == Comparison("year", "eq", 1900)
    assert parse_where({"or": [{"a": 1}, {"not": {"b": {"exists": True}}}]}) == Or(
        (Comparison("a", "eq", 1), Not(Existence("b", True)))
    )
    assert parse_where({}) == And(())
    assert where.fields() == {"year", "genre"}
    assert parse_where(where) is where
    assert hash(where) == hash(parse_where(where.to_json()))


def test_true_and_one_are_different_predicates() -> None:
    assert parse_where({"a": True}) != parse_where({"a": 1})
    assert parse_where({"a": {"in": [True, 1]}}).to_json() == {"a": {"in": [True, 1]}}
    assert parse_where({"a": {"in": [1]}}) != parse_where({"a": {"in": [True]}})


@pytest.mark.parametrize("name", ["and", "or", "not", ".x"])
def test_a_leading_dot_reaches_fields_with_reserved_names(name: str) -> None:
    where = parse_where({f".{name}": {"gt": 1}})
    assert where == Comparison(name, "gt", 1)
    assert where.to_json() == {f".{name}": {"gt": 1}}


@settings(derandomize=True, max_examples=150, deadline=None)
@given(expressions)
def test_canonical_form_round_trips(expression: dict) -> None:
    where = parse_where(expression)
    assert parse_where(where.to_json()) == where
    assert parse_where(where.to_json()).to_json() == where.to_json()
    assert isinstance(where.describe(), str)


def test_description_in_words() -> None:
    where = parse_where({"or": [{"a": {"gte": 1}, "b": "x"}, {"c": {"nin": list(range(9))}}], "d": {"exists": False}})
    assert where.describe() == (
        '((a >= 1 and b = "x") or c is none of 0, 1, 2, 3, 4 and 4 more) and d is missing or null'
    )


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ({"year": {"gtee": 1}}, "'gte'"),
        ({"year": {"$gt": 1}}, "'gt'"),
        ({"year": {">=": 1}}, "'gte'"),
        ({"year": {"between": [1, 2]}}, '"lte": high'),
        ({"author": {"name": "x"}}, '"author.name"'),
        ({"year": [1900]}, '{"in": [...]}'),
        ({"year": {"in": "x"}}, "put the values into a list"),
        ({"year": {"in": 5}}, "list of values"),
        ({"year": {"in": [[1]]}}, "contains"),
        ({"year": {"gt": float("nan")}}, "finite"),
        ({"year": {"eq": float("inf")}}, "finite"),
        ({"year": {"gt": True}}, "order"),
        ({"year": {"lt": None}}, "exists"),
        ({"year": {"exists": 1}}, "bool"),
        ({"year": {"eq": [1]}}, "'in'"),
        ({"year": {"gt": datetime.date(2020, 1, 1)}}, ".isoformat()"),
        ({"year": {"eq": {"x": 1}}}, "string, number"),
        ({"year": {}}, "no operator"),
        ({"and": {"a": 1}}, '".and"'),
        ({"or": "x"}, "list of where-expressions"),
        ({"not": [1]}, "mapping"),
        ({"year": {"not": 5}}, '"ne"'),
        ({"year": 2**1025}, "bits"),
        ({"year": {"in": [10**5000]}}, "bits"),
        ({"year": {"in": {"x": 10**5000}}}, "list of values"),
        ({"a": "\ud800"}, "UTF-8"),
        ({"": 1}, "non-empty"),
        ({3: 1}, "non-empty"),
        ([("a", 1)], "mapping"),
        ("year > 3", "mapping"),
        (None, "mapping"),
    ],
)
def test_w56_malformed_expressions_say_what_to_do(expression: object, part: str) -> None:
    with pytest.raises(FilterError) as caught:
        parse_where(expression)  # type: ignore[arg-type]
    text = str(caught.value)
    assert text.startswith("Got ") and "; expected " in text
    assert part.lower() in text.lower()


def test_nesting_is_bounded_by_the_canonical_depth() -> None:
    def nest(levels: int) -> dict:
        expression: dict = {"a": 1}
        for _ in range(levels):
            expression = {"not": expression}
        return expression

    where = parse_where(nest(31))
    assert parse_where(where.to_json()) == where
    for deep in (nest(32), {"b": 1, **nest(31)}, nest(5000)):
        with pytest.raises(FilterError, match="nested deeper than 32"):
            parse_where(deep)
    inner: dict = {"eq": 1}
    for _ in range(40):
        inner = {"not": inner}
    with pytest.raises(FilterError, match="nested deeper"):
        parse_where({"a": inner})


def test_numpy_operands_become_plain_values() -> None:
    where = parse_where({"a": {"in": np.array([3, 1])}, "b": {"gt": np.float32(0.5)}, "c": np.bool_(True)})
    assert where.to_json() == {"and": [{"a": {"in": [1, 3]}}, {"b": {"gt": 0.5}}, {"c": {"eq": True}}]}


class Colour(enum.StrEnum):
    RED = "red"


def test_metadata_is_copied_and_made_plain() -> None:
    given_ = {
        "a": np.int8(3),
        "b": np.str_("x"),
        "c": [np.float32(0.5), None],
        "d": {"e": np.bool_(True)},
        "f": Colour.RED,
    }
    out = check_metadata(given_, where="record 'r'")
    assert out == {"a": 3, "b": "x", "c": [0.5, None], "d": {"e": True}, "f": "red"}
    assert [type(v) for v in (out["a"], out["b"], out["c"][0], out["d"]["e"], out["f"])] == [int, str, float, bool, str]
    flat = {"a": 1, "ü": "ö"}
    copy = check_metadata(flat, where="r")
    assert copy == flat and copy is not flat
    assert check_metadata(None, where="r") == {}
    assert check_metadata({"big": 2**80}, where="r") == {"big": 2**80}


@pytest.mark.parametrize(
    ("record", "parts"),
    [
        ({"when": datetime.datetime(2020, 1, 1)}, ("'when'", "datetime", ".isoformat()")),
        ({"when": np.datetime64("2020-01-01")}, ("'when'", "datetime64", "str(value)")),
        ({"d": np.timedelta64(1, "D")}, ("'d'", "timedelta64")),
        ({"tags": ["a", "b", {"x"}]}, ("'tags[2]'", "set", "sorted")),
        ({"a": {"b": [{"c": b"x"}]}}, ("'a.b[0].c'", "bytes", ".decode()")),
        ({"price": decimal.Decimal("1.5")}, ("'price'", "Decimal", "float")),
        ({"v": np.zeros(3)}, ("'v'", "ndarray", ".tolist()")),
        ({"t": (1, 2)}, ("'t'", "tuple", "list(value)")),
        ({"x": float("nan")}, ("'x'", "nan", "None")),
        ({"x": [np.float32("inf")]}, ("'x[0]'", "inf", "finite")),
        ({"x": 2**1025}, ("'x'", "1026 bits", "string")),
        ({"x": "\ud800"}, ("'x'", "surrogate")),
        ({"\ud800": 1}, ("key", "surrogate")),
        ({3: 1}, ("3", "int", "non-empty string")),
        ({"": 1}, ("''", "non-empty string")),
        ({"a.b": 1, "a": {"b": 2}}, ("'a.b' twice", "Rename")),
        ([1], ("list", "dict")),
        ("x", ("str", "dict")),
    ],
)
def test_w56_bad_metadata_names_record_path_type_and_way_out(record: object, parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        check_metadata(record, where="record 'b17'")  # type: ignore[arg-type]
    text = str(caught.value)
    assert "record 'b17'" in text and "; expected " in text
    for part in parts:
        assert part in text


def test_deep_or_cyclic_metadata_is_refused() -> None:
    deep: dict = {}
    for _ in range(31):
        deep = {"a": deep}
    assert check_metadata(deep, where="r") == deep
    cycle: dict = {}
    cycle["self"] = [cycle]
    for bad in ({"a": deep}, cycle):
        with pytest.raises(InputError, match="deeper than 32"):
            check_metadata(bad, where="r")
