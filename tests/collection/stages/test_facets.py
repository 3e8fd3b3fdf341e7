"""Counts over everything that matches, against counting by hand; buckets without gaps or losses."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collection.fakes import FakeEncoder, text_of
from orthant.collection.collection import Collection
from orthant.collection.stages.facets import buckets_of


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    rng = np.random.default_rng(3)
    with Collection(tmp_path_factory.mktemp("facets") / "c", encoder=FakeEncoder()) as collection:
        ids = [f"r{i}" for i in range(400)]
        rows = []
        for i in range(400):
            row = {
                "kind": f"k{int(rng.integers(5))}",
                "year": int(rng.integers(1950, 2020)),
                "tags": ["x", f"t{i % 3}"],
            }
            if i % 10 == 0:
                row["kind"] = None
            if i % 15 == 0:
                del row["year"]
            rows.append(row)
        texts = [text_of(rng) for _ in ids]
        collection.upsert(ids, texts=texts, metadata=rows)
        collection.delete(ids[:20])
        yield collection, dict(zip(ids[20:], zip(texts[20:], rows[20:], strict=True), strict=True))


def by_hand(records, field):
    counted = Counter()
    for _, row in records:
        values = row.get(field)
        counted.update(set(values) if isinstance(values, list) else [values] if values is not None else [])
    return counted


@pytest.mark.parametrize("mode", ["dense", "lexical", "hybrid"])
@pytest.mark.parametrize("where", [None, {"year": {"gte": 1990}}])
def test_counts_are_over_all_that_match(filled, mode, where):
    collection, records = filled
    result = collection.search("amber kelp", k=2, mode=mode, where=where, facets=["kind", "year", "tags"])
    wanted = [
        (text, row)
        for text, row in records.values()
        if (where is None or row.get("year", 0) >= 1990)
        and (mode != "lexical" or {"amber", "kelp"} & set(text.split()))
    ]
    assert len(result) == 2 and len(wanted) > 20 and result.plan.stages[0].candidates == len(wanted)
    for field in ("kind", "year", "tags"):
        counted, facet = by_hand(wanted, field), result.facets[field]
        assert dict(facet.values) == dict(counted.most_common(20)) or field == "year"
        assert facet.distinct == len(counted)
        assert sum(count for _, count in facet.values) + facet.other == sum(counted.values())
        assert facet.missing == sum(row.get(field) is None for _, row in wanted)
        for bucket in facet.buckets:
            assert bucket.count == sum(c for v, c in counted.items() if bucket.low <= v < bucket.high)
    assert sum(b.count for b in result.facets["year"].buckets) == sum(by_hand(wanted, "year").values())
    assert result.plan.seconds["facets"] > 0


def test_conditions_on_words_bind_the_counts_of_a_hybrid_search(filled):
    collection, records = filled
    result = collection.search("+amber kelp", facets={"tags": 1})
    assert result.facets["tags"].values == (("x", sum("amber" in text.split() for text, _ in records.values())),)
    assert len(result.facets["tags"].values) == 1 and result.facets["tags"].other > 0


def test_queries_share_counts_only_where_they_may(filled):
    collection, records = filled
    both = collection.search_many(["amber", "+kelp"], mode="hybrid", facets=["tags"], k=1)
    assert dict(both[0].facets["tags"].values)["x"] == len(records)
    assert dict(both[1].facets["tags"].values)["x"] == sum("kelp" in text.split() for text, _ in records.values())


def test_an_unknown_field_is_a_warning(filled):
    collection, records = filled
    result = collection.search("amber", facets=["knid"])
    assert result.facets["knid"].values == () and result.facets["knid"].missing == len(records)
    assert any("knid" in warning for warning in result.plan.warnings)


NUMBERS = st.one_of(st.integers(-(10**14), 10**14), st.floats(-1e9, 1e9, allow_nan=False).map(lambda x: round(x, 3)))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.dictionaries(NUMBERS, st.integers(1, 9), min_size=3, max_size=30))
def test_buckets_of_numbers_hold_every_value_once(counted):
    buckets = buckets_of(list(counted.items()))
    if not buckets:
        return
    assert 1 <= len(buckets) <= 13
    assert all(a.high == b.low and a.low < a.high for a, b in pairwise(buckets))
    for bucket in buckets:
        assert bucket.count == sum(c for v, c in counted.items() if bucket.low <= v < bucket.high)
    assert sum(bucket.count for bucket in buckets) == sum(counted.values())


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.dictionaries(st.dates().map(str), st.integers(1, 9), min_size=3, max_size=30))
def test_buckets_of_dates_hold_every_value_once(counted):
    buckets = buckets_of(list(counted.items()))
    assert 1 <= len(buckets) <= 13
    for bucket in buckets:
        size = len(bucket.low)
        assert bucket.count == sum(c for v, c in counted.items() if bucket.low <= v[:size] <= bucket.high)
    assert sum(bucket.count for bucket in buckets) == sum(counted.values())


def test_buckets_are_round():
    years = buckets_of([(year, 1) for year in range(1953, 2019)])
    assert (years[0].low, years[-1].high, len(years)) == (1950, 2020, 7)
    assert [b.low for b in buckets_of([(0.1, 1), (0.5, 2), (0.9, 1)])][:3] == [0.1, 0.2, 0.3]
    assert [b.low for b in buckets_of([("2024-03-01", 1), ("2024-03-02T10:00", 1), ("2024-03-04", 1)])] == [
        "2024-03-01", "2024-03-02", "2024-03-03", "2024-03-04",
    ]  # fmt: skip
    for others in ([(True, 1), (False, 2), (1, 3)], [("a", 1), ("b", 2), ("c", 3)], [(1, 5), (2, 5)]):
        assert buckets_of(others) == ()
