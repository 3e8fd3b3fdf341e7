"""Rerank, diversity and groups inside a search: what they change, what stays visible, and pages that fit together."""

from __future__ import annotations

import json

import numpy as np
import pytest

from collection.fakes import FakeEncoder, naive_scores, text_of
from collection.stages.test_diversity import brute_force
from orthant.collection import fusion
from orthant.collection.collection import Collection
from orthant.collection.dense import DenseIndex
from orthant.collection.stages import FunctionReranker, RerankError
from orthant.collection.stages.diversity import unit_rows
from orthant.errors import InputError
from orthant.types import Hits, SearchCost

ENCODER = FakeEncoder()
MODES = ["dense", "lexical", "hybrid"]
QUERY = "amber kelp"
BACKWARDS = FunctionReranker(lambda query, record: -record.metadata["n"])
TIED = FunctionReranker(lambda query, record: record.metadata["n"] % 2)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """600 records; every text three times, so that scores tie."""
    rng = np.random.default_rng(1)
    with Collection(tmp_path_factory.mktemp("stages") / "c", encoder=ENCODER) as collection:
        ids = [f"r{i}" for i in range(600)]
        texts = [text_of(rng) for _ in range(200)] * 3
        documents = rng.integers(40, size=600)
        rows = [{"n": i, "document": f"d{documents[i]}", "odd": bool(i % 2), "tags": ["a"]} for i in range(600)]
        for i in range(0, 600, 50):
            del rows[i]["document"]
        collection.upsert(ids, texts=texts, metadata=rows)
        yield collection


# ---- rerank -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_reranker_orders_the_first_candidates_and_keeps_their_scores(filled, mode):
    plain = filled.search(QUERY, k=20, mode=mode)
    result = filled.search(QUERY, k=20, mode=mode, rerank=BACKWARDS, rerank_depth=20)
    assert sorted(result.ids) == sorted(plain.ids)
    assert result.ids == sorted(plain.ids, key=lambda key: -BACKWARDS.score("", [filled.get(key)])[0])
    for hit in result:
        before = plain[plain.ids.index(hit.id)]
        assert hit.score == hit.stages["rerank"].score == -hit.metadata["n"]
        assert (hit.stages["retrieve"].score, hit.stages["retrieve"].rank) == (before.score, before.rank)
        assert hit.legs == before.legs and hit.stages["rerank"].rank == hit.rank
    (stage,) = result.plan.stages
    assert (stage.name, stage.method, stage.candidates) == ("rerank", "FunctionReranker", 20)
    assert result.plan.seconds["rerank"] == stage.seconds > 0
    json.dumps(result.to_dict())
    assert "stages" not in plain[0].to_dict() and plain.plan.stages == ()


def test_equal_scores_keep_the_order_of_the_search(filled):
    plain = filled.search(QUERY, k=50, mode="lexical")
    result = filled.search(QUERY, k=50, mode="lexical", rerank=FunctionReranker(lambda query, record: 1.0))
    assert result.ids == plain.ids


def test_times_in_seconds_stay_apart(filled):
    now = 1_700_000_000
    late = FunctionReranker(lambda query, record: now + record.metadata["n"])
    found = filled.search(QUERY, k=50, rerank=late)
    assert [hit.metadata["n"] for hit in found] == sorted((hit.metadata["n"] for hit in found), reverse=True)


def test_the_reranker_gets_texts_and_the_query_and_no_transaction_stays_open(filled):
    seen = []

    class Spy:
        def score(self, query, records):
            # The collection can be written to while a reranker runs.
            seen.append((query, [record.text for record in records]))
            filled.upsert(["late"], texts=["zz"], metadata=[{"n": 0}])
            filled.delete(["late"])
            return np.zeros(len(records))

    result = filled.search(QUERY, k=3, rerank=Spy(), rerank_depth=5, include_text=False)
    assert seen[0][0] == QUERY and len(seen[0][1]) == 5 and all(seen[0][1])
    assert all(hit.text is None for hit in result)
    vector = ENCODER.encode(["amber"])[0]
    filled.search(vector, k=3, rerank=Spy(), rerank_depth=5)
    np.testing.assert_array_equal(seen[1][0], vector)


def test_min_score_is_by_the_reranker(filled):
    full = filled.search(QUERY, k=20, rerank=BACKWARDS)
    cut = filled.search(QUERY, k=20, rerank=BACKWARDS, min_score=full[4].score)
    assert cut.ids == full.ids[:5]


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (lambda m: np.full(m, np.nan), "finite"),
        (lambda m: np.zeros(m - 1), "one number per record"),
        (lambda m: np.zeros((m, 1)), "shape"),
        (lambda m: [None] * m, "finite|numbers"),
        (lambda m: ["high"] * m, "numbers"),
    ],
)
def test_bad_scores_are_errors_and_never_zeros(filled, scores, words):
    class Bad:
        def score(self, query, records):
            return scores(len(records))

    with pytest.raises(RerankError, match=f"(?i){words}"):
        filled.search(QUERY, rerank=Bad())


def test_what_a_reranker_raises_is_passed_on(filled):
    def broken(query, record):
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        filled.search(QUERY, rerank=FunctionReranker(broken))


# ---- diversity ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_diversity_is_mmr_over_the_stored_vectors(filled, mode):
    plain = filled.search(QUERY, k=100, mode=mode, depth=100 if mode == "hybrid" else None)
    result = filled.search(QUERY, k=30, mode=mode, diversity=0.6, depth=100)
    pool = filled.search(QUERY, k=200, mode=mode, depth=100).ids if mode == "hybrid" else plain.ids
    records = filled.get(pool, vectors=True)
    X = unit_rows(np.stack([record.vectors["default"] for record in records]))
    scores = {hit.id: hit.score for hit in filled.search(QUERY, k=len(pool), mode=mode, **_depth(mode))}
    relevance = fusion.min_max(np.array([scores[key] for key in pool], dtype=np.float32))
    order, values = brute_force(relevance, X, 0.6)
    # Every text is there three times: what is worth the same is taken in the order of the list.
    assert result.ids == [pool[i] for i in order[:30]]
    np.testing.assert_allclose([hit.stages["diversity"].score for hit in result], values[:30], atol=1e-5)
    assert [hit.score for hit in result] == pytest.approx([scores[key] for key in result.ids])
    assert len({hit.text for hit in result[:10]}) > len({hit.text for hit in plain[:10]})
    assert filled.search(QUERY, k=30, mode=mode, diversity=0.0, depth=100).ids == plain.ids[:30]


def _depth(mode):
    return {"depth": 100} if mode == "hybrid" else {}


def test_records_without_a_vector_are_like_no_other_and_said(tmp_path):
    with Collection(tmp_path / "c") as collection:
        collection.upsert(["a", "b"], texts=["amber", "amber amber"])
        result = collection.search("amber", diversity=0.5)
        assert len(result) == 2 and "no vector" in result.plan.warnings[0]


# ---- groups -------------------------------------------------------------------------------------------------------


def group_truth(filled, mode, where=None):
    """All records that match in their order, gathered by document."""
    options = {"where": where, "mode": mode}
    hits = filled.search(QUERY, k=600, **options, **({"depth": 600} if mode == "hybrid" else {}))
    found: dict = {}
    for hit in hits:
        found.setdefault(hit.metadata.get("document", hit.id), []).append(hit)
    return list(found.values())


@pytest.mark.parametrize("where", [None, {"n": {"lt": 200}}])
@pytest.mark.parametrize("mode", ["dense", "lexical"])
@pytest.mark.parametrize("depth", [None, 3])
def test_groups_are_the_best_and_hold_their_best(filled, mode, where, depth):
    truth = group_truth(filled, mode, where)
    result = filled.search(QUERY, mode=mode, where=where, group_by="document", groups=7, per_group=4, depth=depth)
    assert [[hit.id for hit in group.hits] for group in result.groups] == [[h.id for h in g[:4]] for g in truth[:7]]
    for rank, (group, hits) in enumerate(zip(result.groups, truth, strict=False), 1):
        assert (group.rank, group.score, group.count) == (rank, hits[0].score, len(hits))
        assert [hit.stages["group"].rank for hit in group.hits] == list(range(1, len(group.hits) + 1))
        assert [hit.score for hit in group.hits] == [hit.score for hit in hits[:4]]
        assert group.value == hits[0].metadata.get("document") and all(hit.rank == rank for hit in group.hits)
    assert list(result) == [hit for group in result.groups for hit in group.hits]
    assert (result.plan.stages[0].details["rounds"] > 1) == (depth == 3)


def test_groups_go_on_until_all_are_found(filled):
    for mode in MODES:
        result = filled.search("amber", mode=mode, group_by="document", groups=500, per_group=1, depth=5)
        matched = filled.search("amber", mode=mode, k=600, **({"depth": 600} if mode == "hybrid" else {}))
        expected = {hit.metadata.get("document", hit.id) for hit in matched}
        assert len(result.groups) == len(expected) > 30
        assert sum(group.value is None for group in result.groups) == sum(key.startswith("r") for key in expected)
        assert sum(group.count for group in result.groups) == len(matched)


def test_min_score_bounds_groups(filled):
    truth = group_truth(filled, "lexical")
    least = truth[5][0].score
    kept = [[h.id for h in g if h.score >= least] for g in truth]
    result = filled.search(QUERY, mode="lexical", group_by="document", groups=50, per_group=3, min_score=least, depth=4)
    assert [[hit.id for hit in group.hits] for group in result.groups] == [ids[:3] for ids in kept if ids]


def test_groups_by_booleans_and_of_an_unknown_field(filled):
    assert {group.value for group in filled.search(QUERY, group_by="odd").groups} == {True, False}
    result = filled.search(QUERY, k=4, group_by="dokument")
    assert [len(group.hits) for group in result.groups] == [1] * 4 and "dokument" in result.plan.warnings[0]


def test_few_groups_among_reranked_candidates_are_said(filled):
    result = filled.search(QUERY, k=40, group_by="document", rerank=BACKWARDS, rerank_depth=10)
    assert len(result.groups) < 40 and any("larger depth" in warning for warning in result.plan.warnings)


# ---- pages --------------------------------------------------------------------------------------------------------

STAGES = [
    {},
    {"rerank": TIED, "rerank_depth": 60},
    {"diversity": 0.4, "depth": 60},
    {"rerank": BACKWARDS, "rerank_depth": 60, "diversity": 0.4},
    {"group_by": "document", "depth": 6},
    {"group_by": "document", "rerank": TIED, "rerank_depth": 60},
    {"group_by": "document", "rerank": TIED, "rerank_depth": 60, "diversity": 0.3, "min_score": 0.5},
]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("stages", STAGES, ids=lambda stages: "+".join(stages) or "plain")
def test_w79_pages_never_overlap_and_leave_nothing_out(filled, mode, stages):
    whole = filled.search(QUERY, k=60, mode=mode, **stages)
    pages = [filled.search(QUERY, k=10, offset=offset, mode=mode, **stages) for offset in range(0, 60, 10)]
    ids = [key for page in pages for key in page.ids]
    assert len(set(ids)) == len(ids) > 10
    if mode == "hybrid" and stages == {"group_by": "document", "depth": 6}:
        # A deeper page may know more hits of a group, never other groups.
        assert [page.groups[0].hits[0] for page in pages[1:]] == [group.hits[0] for group in whole.groups[10::10]]
        return
    assert ids == whole.ids
    assert [hit.rank for page in pages for hit in page] == [hit.rank for hit in whole]
    assert [group.value for page in pages for group in page.groups] == [group.value for group in whole.groups]


class Restless:
    """A graph that finds one more of the best with every search that asks for more."""

    def __init__(self, count: int) -> None:
        self.count = count

    def search(self, Q, k, **settings):
        ids = [i for i in range(self.count) if i % 7 or k >= 16 * (1 + i // 7)][:k]
        found = np.tile(np.array(ids, dtype=np.int64), (len(Q), 1))
        scores = -found.astype(np.float32)
        return Hits(found, scores, np.full(len(Q), len(ids)), SearchCost("graph"))


def test_w79_pages_of_a_graph_never_overlap():
    index = DenseIndex(lambda: None, live=np.zeros(1, np.uint64), graph=Restless(200))
    Q = np.zeros((2, 3), dtype=np.float32)
    plain = [index.search(Q, end).ids[0, end - 8 : end].tolist() for end in range(8, 80, 8)]
    assert len({i for page in plain for i in page}) < 72
    for page in range(1, 9):
        found = index.search_page(Q, 8 * page + 8, first=8)
        assert found.ids[1, : 8 * page].tolist() == index.search_page(Q, 8 * page, first=8).ids[0].tolist()
        assert len(set(found.ids[0].tolist())) == 8 * page + 8 and found.counts.tolist() == [8 * page + 8] * 2


def test_many_queries_are_as_one(filled):
    queries = [QUERY, "delta", "orchid pebble"]
    options = {"k": 5, "rerank": TIED, "diversity": 0.2, "group_by": "document", "facets": ["odd"]}
    for query, many in zip(queries, filled.search_many(queries, **options), strict=True):
        one = filled.search(query, **options)
        assert (many.ids, many.groups, many.facets) == (one.ids, one.groups, one.facets)


# ---- the border ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rerank_depth": 5}, "rerank_depth= without rerank="),
        ({"groups": 5}, "groups= without group_by="),
        ({"per_group": 5}, "per_group= without group_by="),
        ({"group_by": 5}, "name of a field"),
        ({"group_by": "tags"}, "holds a list"),
        ({"facets": "odd"}, "list of fields"),
        ({"facets": [3]}, "names of fields"),
        ({"facets": {"odd": 0}}, "at least 1"),
        ({"diversity": 1.5}, "diversity"),
        ({"diversity": float("nan")}, "diversity"),
        ({"rerank": lambda query, records: 1}, "FunctionReranker"),
        ({"rerank": FunctionReranker}, "score"),
        ({"rerank": TIED, "rerank_depth": 0}, "rerank_depth"),
        ({"rerank": TIED, "k": 51}, "raise rerank_depth"),
        ({"rerank": TIED, "rerank_depth": 500, "depth": 20}, "raise depth"),
        ({"diversity": 0.5, "k": 300, "mode": "dense"}, "raise depth"),
        ({"rerank": TIED, "depth": 20, "mode": "dense"}, "depth="),
        ({"depth": 20, "mode": "dense"}, "depth="),
    ],
)
def test_refusals(filled, options, words):
    with pytest.raises(InputError, match=f"(?i){words}"):
        filled.search(QUERY, **options)


def test_words_only_may_name_the_space_that_tells_likeness(tmp_path):
    rng = np.random.default_rng(0)
    with Collection(tmp_path / "c") as collection:
        collection.add_space("images", dim=4)
        X = rng.standard_normal((6, 4)).astype(np.float32)
        collection.upsert([f"r{i}" for i in range(6)], texts=["amber"] * 6, vectors={"images": X})
        result = collection.search("amber", mode="lexical", space="images", diversity=1.0)
        unlike = int(np.argmin(naive_scores(X[0], X, "cosine")))
        assert result.ids[:2] == ["r0", f"r{unlike}"]
        with pytest.raises(InputError, match="space="):
            collection.search("amber", mode="lexical", space="images")
