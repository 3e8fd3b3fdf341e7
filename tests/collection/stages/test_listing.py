"""Hits of a plain list are made when somebody looks: they are those of before, and a batch shares what it is told."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

import orthant
from orthant.collection.results import SearchResult
from orthant.collection.stages.listing import Listing, listing_of

DIM = 6


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    rng = np.random.default_rng(0)
    with orthant.open(tmp_path_factory.mktemp("listed") / "c") as made:
        made.upsert(
            [f"r{i}" for i in range(60)],
            texts=[f"amber {i}" if i % 2 else None for i in range(60)],
            metadata=[{"n": i, "word": "é"} for i in range(60)],
            vectors=rng.standard_normal((60, DIM)).astype(np.float32),
        )
        yield made


QUERIES = np.random.default_rng(1).standard_normal((5, DIM)).astype(np.float32)


def many(collection, **settings):
    return collection.search_many([f"amber {i}" for i in range(5)], vectors=QUERIES, mode="hybrid", **settings)


def test_no_hit_is_made_before_somebody_looks(collection, monkeypatch):
    made = []
    plain = Listing.hits
    monkeypatch.setattr(Listing, "hits", lambda self: made.append(self) or plain(self))
    results = many(collection, k=4)
    assert not made
    assert len(results[2]) == 4
    assert results[2].ids == [hit.id for hit in results[2]]
    assert len(made) == 1
    assert results[2].hits is results[2].hits


@pytest.mark.parametrize("settings", [{}, {"k": 3, "offset": 2}, {"min_score": 0.3}, {"k": 90}, {"fusion": "rrf"}])
def test_hits_are_those_of_a_search_that_explains_them(collection, settings):
    for listed, explained in zip(many(collection, **settings), many(collection, explain=True, **settings), strict=True):
        assert listing_of(listed) is not None
        assert listing_of(explained) is None
        assert [replace(hit, matched=()) for hit in explained] == list(listed)
        assert [leg.name for leg in listed.plan.legs] == [leg.name for leg in explained.plan.legs]


def test_a_listed_result_is_a_result_like_any_other(collection):
    (result,) = collection.search_many([None], vectors=QUERIES[:1], mode="dense", k=3, include_text=False)
    through = pickle.loads(pickle.dumps(result))  # noqa: S301 - what this test has made
    for other in (copy.copy(result), copy.deepcopy(result), through, replace(result)):
        assert type(other) is SearchResult
        assert other == result
        assert other.to_dict() == result.to_dict()
    assert all(hit.text is None and hit.metadata["word"] == "é" for hit in result)
    assert "hits=(Hit(" in repr(result)
    assert not hasattr(result, "nothing_of_that_name")
    result[0].metadata["n"] = -1
    assert collection.search(vector=QUERIES[0], mode="dense", k=3)[0].metadata["n"] >= 0


def test_queries_that_were_answered_alike_share_a_plan_and_others_do_not(collection):
    alike = collection.search_many([None] * 5, vectors=QUERIES, mode="dense", k=3)
    assert len({id(result.plan) for result in alike}) == 1
    some = collection.search_many(["amber", "-amber"], vectors=QUERIES[:2], mode="hybrid", k=40)
    first, second = (result.plan for result in some)
    assert [leg.candidates for leg in first.legs] != [leg.candidates for leg in second.legs]


def test_facets_come_with_a_list(collection):
    result = collection.search("amber", mode="lexical", k=2, facets=["word"])
    assert listing_of(result) is not None
    assert result.facets["word"].values
    assert "facets" in result.plan.seconds
