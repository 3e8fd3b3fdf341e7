"""A stage behind the ranking that takes a record out is named, by running the search up to it; changes were tried."""

from __future__ import annotations

import numpy as np
import pytest

from collection.fakes import FakeEncoder, text_of
from collection.insight.test_why_not import ask
from orthant.collection.collection import Collection
from orthant.collection.stages import FunctionReranker, RerankError
from orthant.errors import InputError

QUERY = "amber kelp"
MODES = ["dense", "lexical", "hybrid"]
BACKWARDS = FunctionReranker(lambda query, record: -record.metadata["n"])


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """300 records in 20 documents of different sizes; some are in none."""
    rng = np.random.default_rng(1)
    with Collection(tmp_path_factory.mktemp("stages") / "c", encoder=FakeEncoder()) as made:
        rows = [{"n": i, "document": f"d{int(20 * rng.random() ** 2)}"} for i in range(300)]
        for i in range(0, 300, 30):
            del rows[i]["document"]
        made.upsert([f"r{i}" for i in range(300)], texts=[text_of(rng) for _ in range(300)], metadata=rows)
        yield made


def stages_of(collection, record_ids, **settings):
    return {key: ask(collection, QUERY, key, **settings) for key in record_ids}


@pytest.mark.parametrize("mode", MODES)
def test_what_is_not_reranked_is_told_from_what_is_ranked_low(filled, mode):
    settings = {"mode": mode, "k": 5, "rerank": BACKWARDS, "rerank_depth": 20}
    plain = filled.search(QUERY, mode=mode, k=40)
    shown = filled.search(QUERY, **settings).ids
    beyond = ask(filled, QUERY, plain.ids[30], **settings)
    assert beyond.stage == "rerank-depth" and "20 are reranked" in beyond.sentence
    assert any(change.settings.get("rerank_depth") == 31 for change in beyond.changes)
    moved = [key for key in plain.ids[:5] if key not in shown]
    assert moved
    for key in moved:
        why = ask(filled, QUERY, key, **settings)
        step = why.step("rerank").details
        assert why.stage == "rerank" and step["before"] == plain.ids.index(key) + 1 and step["rank"] == why.rank > 5
        assert why.score == -filled.get(key).metadata["n"]
        tried = [change.settings for change in why.changes]
        assert {"k": why.rank} in tried and any("rerank" in one and one["rerank"] is None for one in tried)
    low = next(k for k in plain.ids[5:20] if k not in filled.search(QUERY, **{**settings, "k": 12}).ids)
    # Neither the ranking nor the reranker has it on the page: no stage took it out.
    assert ask(filled, QUERY, low, **settings).stage == "page"


def test_the_score_that_counts_is_the_rerankers(filled):
    settings = {"k": 20, "rerank": BACKWARDS, "rerank_depth": 20, "min_score": -100.0}
    plain = filled.search(QUERY, k=20)
    dropped = [hit for hit in plain if hit.metadata["n"] > 100]
    why = ask(filled, QUERY, dropped[0].id, **settings)
    assert why.stage == "min_score" and why.score == -dropped[0].metadata["n"]
    assert why.changes[0].settings == {"min_score": why.score}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reranked", [False, True])
def test_diversity_that_takes_a_record_out_is_named(filled, mode, reranked):
    settings = {"mode": mode, "k": 8, "diversity": 0.9}
    if reranked:
        settings |= {"rerank": FunctionReranker(lambda query, record: record.metadata["n"] % 97), "rerank_depth": 40}
    before = filled.search(QUERY, **{**settings, "diversity": None}).ids
    shown = filled.search(QUERY, **settings).ids
    out = [key for key in before if key not in shown]
    assert out
    for key in out:
        why = ask(filled, QUERY, key, **settings)
        assert why.stage == "diversity" and why.step("diversity").details["before"] == before.index(key) + 1
        assert [why.step(name).passed for name in ("rerank", "diversity")[not reranked :]] == [True, False][
            not reranked :
        ]
        assert {"k": why.rank} in [change.settings for change in why.changes]
        assert any("diversity" in change.settings for change in why.changes)


@pytest.mark.parametrize("mode", ["dense", "lexical"])
def test_what_diversity_never_compares(filled, mode):
    plain = filled.search(QUERY, mode=mode, k=60)
    why = ask(filled, QUERY, plain.ids[40], mode=mode, k=5, diversity=0.3, depth=20)
    assert why.stage == "depth" and why.changes[0].settings["depth"] == 41


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("diversity", [None, 0.3])
def test_groups_and_places_in_groups(filled, mode, diversity):
    settings = {"mode": mode, "group_by": "document", "k": 4, "per_group": 2, "diversity": diversity}
    whole = filled.search(QUERY, **{**settings, "k": 30, "per_group": 300})
    seen = set()
    for group in [*whole.groups[:6], whole.groups[-1]]:
        for place, hit in enumerate(group.hits[:3], 1):
            why = ask(filled, QUERY, hit.id, **settings)
            expected = "found" if group.rank <= 4 and place <= 2 else "group" if group.rank <= 4 else "groups"
            assert why.stage == expected, (group.value, place)
            seen.add(expected)
            if expected == "found":
                continue
            details = why.step("group").details
            assert (details["group"], details["rank"], details["place"]) == (group.value, group.rank, place)
            (change,) = why.changes
            wanted = {} if group.rank <= 4 else {"groups": group.rank}
            assert change.settings == wanted | ({} if place <= 2 else {"per_group": place})
    assert seen == {"found", "group", "groups"}


def test_pages_of_groups(filled):
    settings = {"group_by": "document", "k": 2, "offset": 2, "per_group": 1}
    first = filled.search(QUERY, group_by="document", k=1, per_group=1).ids[0]
    why = ask(filled, QUERY, first, **settings)
    assert why.stage == "groups" and why.changes[0].settings == {"offset": 0}


def test_a_filter_and_a_leg_come_before_the_stages(filled):
    key = filled.search(QUERY, k=1).ids[0]
    settings = {"rerank": BACKWARDS, "group_by": "document"}
    assert ask(filled, QUERY, key, where={"n": {"lt": -1}}, **settings).stage == "filter"
    assert ask(filled, f"{QUERY} -amber -kelp", key, **settings).stage == "condition"
    assert ask(filled, "zebra", key, mode="lexical", **settings).stage == "words"
    deep = filled.search(QUERY, k=300, depth=300).ids[-1]
    assert ask(filled, QUERY, deep, depth=30, **settings).stage == "depth"


def test_a_reranker_reads_the_same_candidates_once(filled):
    asked = []

    class Counting:
        def score(self, query, records):
            asked.append(tuple(record.id for record in records))
            return np.arange(len(records), dtype=np.float64)

    filled.why_not(QUERY, filled.search(QUERY, k=1).ids[0], k=3, rerank=Counting(), rerank_depth=30, diversity=0.2)
    assert len(asked) == len(set(asked)) and len(asked) >= 1


def test_a_failing_reranker_is_no_explanation(filled):
    failing = FunctionReranker(lambda query, record: "good")
    with pytest.raises(RerankError):
        filled.why_not(QUERY, "r1", rerank=failing)
    with pytest.raises(InputError):
        filled.why_not(QUERY, "r1", k=60, rerank=BACKWARDS)
    with pytest.raises(InputError):
        filled.why_not(QUERY, "r1", per_group=2)
