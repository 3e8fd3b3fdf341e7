"""Hybrid searches by compiled code against those by NumPy, one by one: the same pages, scores and legs."""

from __future__ import annotations

import numpy as np
import pytest
from tests.collection.fakes import FakeEncoder

import orthant
from orthant.collection.dense import DenseIndex
from orthant.collection.legs import fused, postings
from orthant.collection.lexical import ranking as lexical
from orthant.encoders import CallableSparseEncoder

WORDS = (
    "red",
    "green",
    "blue",
    "fox",
    "hound",
    "house",
    "city",
    "river",
    "stone",
    "wine",
    "glass",
    "iron",
    "wood",
    "snow",
)
QUERIES = ["red fox", "house +city", "river -stone", '"red fox" wine', "zzz", "glass iron wood sand snow red", "the"]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(1, 9))) for _ in range(400)]
    letters = CallableSparseEncoder(
        lambda texts: [{ord(c) % 50: float(text.count(c)) for c in set(text)} for text in texts],
        dim=50,
        name="letters",
    )
    spaces = {"other": FakeEncoder(8, seed=1), "letters": letters}
    with orthant.open(tmp_path_factory.mktemp("fused") / "c", encoder=FakeEncoder(), spaces=spaces) as made:
        ids, metadata = [f"r{i}" for i in range(400)], [{"n": i, "even": i % 2 == 0} for i in range(400)]
        for part in (slice(0, 250), slice(250, 400)):
            made.upsert(ids[part], texts=texts[part], metadata=metadata[part])
        made.delete([f"r{i}" for i in range(0, 400, 7)])
        made.upsert(["r1", "r2"], texts=["red fox in snow", "glass of wine"], metadata=[{"n": 1}, {"n": 2}])
        yield made


@pytest.fixture
def by(monkeypatch):
    """Run something with compiled code, or without."""

    def run(compiled, function):
        for module in (postings, lexical):
            monkeypatch.setattr(module, "compiled", lambda: compiled)
        return function()

    return run


def values(result):
    """All that a caller sees but the seconds, with scores that may differ in their last bit."""
    hits = [(hit.id, hit.rank, hit.text, hit.metadata, hit.matched) for hit in result]
    numbers = [
        [
            hit.score,
            *(number for leg in hit.legs.values() for number in (leg.score, leg.rank, leg.normalized, leg.weight)),
        ]
        for hit in result
    ]
    plan = result.plan
    legs = [(leg.name, leg.candidates, list(hit.legs)) for leg in plan.legs for hit in result.hits[:1]]
    told = (plan.mode, plan.allowed, plan.fusion, plan.warnings, legs, [group.to_dict() for group in result.groups])
    return hits, told, np.array([[np.nan if n is None else n for n in line] for line in numbers], dtype=float)


def same(by, function):
    fast, slow = by(True, function), by(False, function)
    assert len(fast) == len(slow)
    for one, other in zip(fast, slow, strict=True):
        left, right = values(one), values(other)
        assert left[:2] == right[:2]
        np.testing.assert_allclose(left[2], right[2], rtol=1e-6, atol=1e-6)
    return fast


SETTINGS = {
    "plain": {},
    "rrf": {"fusion": "rrf"},
    "depth": {"depth": 3, "k": 6},
    "filter": {"where": {"even": True}},
    "few": {"where": {"n": {"lt": 9}}},
    "page": {"offset": 7, "k": 5},
    "floor": {"min_score": 0.5},
    "explained": {"explain": True, "syntax": "plain"},
    "grouped": {"group_by": "even", "per_group": 2},
    "diverse": {"diversity": 0.4},
    "several spaces": {"spaces": {"default": 2.0, "other": 1.0}},
    "sparse": {"weights": {"dense": 0.3, "lexical": 0.3, "sparse": 0.4}, "sparse_space": "letters"},
    "words alone": {"mode": "lexical"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_answers_are_those_of_numpy(collection, by, name):
    settings = {"mode": "hybrid", **SETTINGS[name]}
    found = same(by, lambda: collection.search_many(QUERIES, **settings))
    assert any(len(one) for one in found)
    # A batch says what its queries say one by one.
    for query, one in zip(QUERIES, found, strict=True):
        alone = by(True, lambda query=query: collection.search(query, **settings))
        assert [(hit.id, hit.score) for hit in alone] == [(hit.id, hit.score) for hit in one]


def test_a_query_without_a_known_word_among_others(collection, by):
    blank = FakeEncoder()
    vectors = np.stack([blank.encode([query])[0] for query in QUERIES])
    same(by, lambda: collection.search_many(QUERIES, vectors=vectors, mode="hybrid"))


def test_more_queries_than_are_held_at_once(collection, by, monkeypatch):
    whole = by(True, lambda: collection.search_many(QUERIES, mode="hybrid"))
    monkeypatch.setattr("orthant.collection.searching._TOGETHER", 2)
    parts = by(True, lambda: collection.search_many(QUERIES, mode="hybrid"))
    assert [one.ids for one in parts] == [one.ids for one in whole]


def test_compiled_code_answers_once_it_is_ready(collection, by, monkeypatch):
    monkeypatch.setattr(fused, "_one", lambda *given: pytest.fail("fused one by one"))
    assert by(True, lambda: collection.search("red fox", mode="hybrid")).ids


def test_what_the_dense_leg_brought_is_not_compared_again(collection, by, monkeypatch):
    asked = []
    plain = DenseIndex.score_lists

    def watched(self, Q, queries, ids, bounds, out, **settings):
        asked.append((len(out), int(np.isneginf(out).sum())))
        plain(self, Q, queries, ids, bounds, out, **settings)
        assert np.isfinite(out).all()

    monkeypatch.setattr(DenseIndex, "score_lists", watched)
    found = by(True, lambda: collection.search_many(["red fox", "wine"], mode="hybrid", depth=20, k=40))
    ((together, left),) = asked
    assert together > 40
    assert left == together - 40
    assert all(hit.legs["dense"].score is not None for one in found for hit in one)


def test_scores_that_a_bridge_calibrates_are_made_anew(collection, by, monkeypatch):
    whole = by(True, lambda: collection.search_many(QUERIES, mode="hybrid", k=50))
    monkeypatch.setattr(DenseIndex, "exact", False)
    anew = by(True, lambda: collection.search_many(QUERIES, mode="hybrid", k=50))
    assert [one.ids for one in anew] == [one.ids for one in whole]
