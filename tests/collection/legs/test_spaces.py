"""Several spaces in one search: weights say what each counts, and hits of concepts say why."""

from __future__ import annotations

import pytest

import orthant
from orthant.encoders import CallableEncoder, CallableSparseEncoder
from orthant.errors import InputError, NotFoundError

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def pair(first, second):
    """An encoder that looks at two letters only, as an aspect does."""
    return CallableEncoder(
        lambda texts: [[text.count(first) + 0.1, text.count(second) + 0.1] for text in texts],
        dim=2,
        name=f"{first}{second}",
    )


def letters():
    return CallableSparseEncoder(
        lambda texts: [{LETTERS.index(c): float(text.count(c)) for c in set(text) if c in LETTERS} for text in texts],
        dim=26,
        name="letters",
        vocabulary=list(LETTERS),
    )


@pytest.fixture
def collection(tmp_path):
    spaces = {"ab": pair("a", "b"), "cd": pair("c", "d"), "letters": letters()}
    with orthant.open(tmp_path / "c", spaces=spaces) as made:
        made.upsert(["ac", "ad", "bc", "bd"], texts=["aaa ccc", "aaa ddd", "bbb ccc", "bbb ddd"])
        yield made


def test_weights_decide_which_aspect_leads(collection):
    assert collection.search("aac ccx", spaces={"ab": 0.7, "cd": 0.3}).ids == ["ac", "ad", "bc", "bd"]
    assert collection.search("aac ccx", spaces={"ab": 3, "cd": 7}).ids == ["ac", "bc", "ad", "bd"]
    hit = collection.search("aac ccx", spaces={"ab": 0.7, "cd": 0.3})[1]
    assert hit.score == pytest.approx(0.7)
    assert {leg: score.weight for leg, score in hit.legs.items()} == pytest.approx({"dense:ab": 0.7, "dense:cd": 0.3})


def test_one_space_of_weight_gives_the_order_of_that_space(collection):
    alone = collection.search("aac ccx", space="cd", mode="dense")
    among = collection.search("aac ccx", spaces={"ab": 0.0, "cd": 2.0})
    assert among.ids == alone.ids and list(among[0].legs) == ["dense:cd"]
    assert among.plan.space == "cd" and [leg.name for leg in among.plan.legs] == ["dense:cd"]


def test_words_take_part_only_where_they_are_asked_for(collection):
    assert "lexical" not in collection.search("aaa", spaces={"ab": 1})[0].legs
    both = collection.search("ddd", spaces={"ab": 1}, mode="hybrid")
    assert both.plan.fusion["weights"] == pytest.approx({"dense:ab": 0.4, "lexical": 0.6})
    assert set(both.ids[:2]) == {"ad", "bd"}
    weighed = collection.search("ddd", spaces={"ab": 1, "cd": 1}, weights={"dense": 0.8, "lexical": 0.2})
    assert weighed.plan.fusion["weights"] == pytest.approx({"dense:ab": 0.4, "dense:cd": 0.4, "lexical": 0.2})


def test_a_record_is_asked_by_its_own_vectors(collection):
    record = collection.get("bc", vectors=True)
    found = collection.search(vector=record.vectors, spaces={"ab": 0.6, "cd": 0.4})
    assert found.ids == ["bc", "bd", "ac", "ad"]
    many = collection.search_many([None, None], vectors=[record.vectors] * 2, spaces={"ab": 0.6, "cd": 0.4})
    assert [result.ids for result in many] == [found.ids] * 2


def test_filters_pages_and_excluded_words_bind_every_leg(collection):
    assert collection.search("aac -ddd", spaces={"ab": 0.5, "letters": 0.5}).ids == ["ac", "bc"]
    whole = collection.search("aac ccx", spaces={"ab": 0.7, "cd": 0.3}).ids
    pages = [collection.search("aac ccx", spaces={"ab": 0.7, "cd": 0.3}, k=2, offset=at).ids for at in (0, 2)]
    assert pages[0] + pages[1] == whole


def test_hits_name_the_concepts_that_they_share(collection):
    found = collection.search("aac ccx", spaces={"ab": 0.3, "letters": 0.7}, explain=True)
    hit = found[0]
    assert hit.explain() == [("c", 9.0), ("a", 6.0)] and hit.explain(1) == [("c", 9.0)]
    for hit in found:
        assert sum(part for _, part in hit.explain(26)) == pytest.approx(hit.legs["sparse"].score)
    assert found[-1].id == "bd" and found[-1].explain() == []
    assert found[0].to_dict()["shared"][0] == {"name": "c", "query": 3.0, "record": 3.0}
    assert "shared" not in collection.search("aac", spaces={"ab": 1})[0].to_dict()


def test_any_sparse_search_explains_itself(collection):
    hit = collection.search("ac", mode="sparse", explain=True)[0]
    assert [name for name, _ in hit.explain()] == ["a", "c"]


def test_terms_without_names_are_told_by_number(tmp_path):
    with orthant.open(tmp_path / "c") as made:
        made.add_space("mine", dim=9, kind="sparse")
        made.upsert(["x"], vectors={"mine": [{3: 2.0}]})
        assert made.search(sparse_vector={3: 0.5}, explain=True)[0].explain() == [("3", 1.0)]


def test_nothing_is_explained_that_was_not_noted(collection):
    with pytest.raises(InputError, match="explain=True"):
        collection.search("aac", spaces={"letters": 1})[0].explain()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"spaces": {}}, InputError),
        ({"spaces": ["ab"]}, InputError),
        ({"spaces": {"ab": 0.0}}, InputError),
        ({"spaces": {"ab": -1.0}}, InputError),
        ({"spaces": {"nowhere": 1.0}}, NotFoundError),
        ({"spaces": {"ab": 1.0}, "space": "cd"}, InputError),
        ({"spaces": {"ab": 1.0}, "mode": "lexical"}, InputError),
        ({"spaces": {"ab": 1.0}, "weights": {"sparse": 1.0}}, InputError),
        ({"spaces": {"ab": 1.0}, "weights": {"lexical": 1.0}}, InputError),
        ({"spaces": {"ab": 1.0}, "vector": [1.0, 2.0]}, InputError),
    ],
)
def test_settings_that_do_not_fit_are_refused(collection, settings, error):
    with pytest.raises(error):
        collection.search("a", **settings)


def test_a_query_needs_a_text_or_a_vector_for_every_space(collection):
    with pytest.raises(InputError, match="'cd'"):
        collection.search(vector={"ab": [1.0, 0.0]}, spaces={"ab": 1, "cd": 1})
    with pytest.raises(InputError, match="with spaces="):
        collection.search([1.0, 0.0], spaces={"ab": 1})
