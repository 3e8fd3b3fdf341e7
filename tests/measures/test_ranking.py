"""Ranking metrics against trec_eval, and against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, NotFoundError
from orthant.measures import (
    average_precision,
    bpref,
    check_metric_name,
    ndcg,
    precision,
    recall,
    reciprocal_rank,
    run_from_arrays,
    score_run,
    success,
)
from orthant.measures.runs import rank_documents
from orthant.types import Hits

NAMES = {
    "ndcg": "ndcg",
    "ndcg@3": "ndcg_cut_3",
    "ndcg@10": "ndcg_cut_10",
    "recall@5": "recall_5",
    "precision@5": "P_5",
    "mrr": "recip_rank",
    "map": "map",
    "map@3": "map_cut_3",
    "success@1": "success_1",
    "bpref": "bpref",
}
MEASURES = ("ndcg", "ndcg_cut.3,10", "recall.5", "P.5", "recip_rank", "map", "map_cut.3", "success.1", "bpref")

documents = st.sampled_from([f"{letter}{i}" for letter in "abZé1" for i in range(5)])
# The last two differ in float64 and are equal in float32, which is what trec_eval compares.
scores = st.sampled_from([-2.5, 0.0, 0.1, 1.0, 1.00000001, 16777216.0, 16777217.0])
runs = st.dictionaries(documents, scores, min_size=1, max_size=14)
judgements = st.dictionaries(documents, st.integers(-2, 3), min_size=1, max_size=10)


@settings(derandomize=True, max_examples=200, deadline=None)
@given(run=st.tuples(runs, runs), qrels=st.tuples(judgements, judgements), level=st.sampled_from([1, 2]))
def test_every_metric_equals_trec_eval(run, qrels, level):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    # The reference does not return when all grades of a query are negative.
    assume(all(max(q.values()) >= 0 for q in qrels))
    named_run = {"q0": run[0], "q1": run[1]}
    named_qrels = {"q0": qrels[0], "q1": qrels[1], "absent": {"a1": 1}}
    expected: dict[str, dict[str, float]] = {"q0": {}, "q1": {}}
    for measure in MEASURES:
        found = pytrec_eval.RelevanceEvaluator(named_qrels, {measure}, relevance_level=level).evaluate(named_run)
        for query in expected:
            expected[query].update(found[query])
    ours = score_run(named_run, named_qrels, list(NAMES), relevance_level=level)
    for name, theirs in NAMES.items():
        for query in expected:
            assert ours[name][query] == pytest.approx(expected[query][theirs], abs=1e-6), (name, query)
        assert ours[name]["absent"] == 0.0
        assert ours[name].missing == ("absent",)
        assert ours[name].mean == pytest.approx(sum(expected[q][theirs] for q in expected) / 3, abs=1e-6)


QRELS = {"q": {"a": 3, "b": 0, "c": 1, "d": -1, "e": 2}}
RANKED = {"q": ["b", "a", "x", "c", "d"]}


def test_values_by_hand():
    dcg = 3 / math.log2(3) + 1 / math.log2(5)
    best = 3 + 2 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(RANKED, QRELS, k=5).mean == pytest.approx(dcg / best)
    dcg = 7 / math.log2(3) + 1 / math.log2(5)
    best = 7 + 3 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(RANKED, QRELS, k=5, gain="exponential").mean == pytest.approx(dcg / best)
    assert score_run(RANKED, QRELS, ["ndcg_exp@5"])["ndcg_exp@5"].mean == pytest.approx(dcg / best)
    assert recall(RANKED, QRELS, k=3).mean == pytest.approx(1 / 3)
    assert precision(RANKED, QRELS, k=10).mean == pytest.approx(2 / 10)
    assert reciprocal_rank(RANKED, QRELS).mean == 0.5
    assert reciprocal_rank(RANKED, QRELS, k=1).mean == 0.0
    assert average_precision(RANKED, QRELS).mean == pytest.approx((1 / 2 + 2 / 4) / 3)
    assert success(RANKED, QRELS, k=1).mean == 0.0
    assert success(RANKED, QRELS, k=2, relevance_level=3).mean == 1.0
    # One judged non-relevant document (b) stands above both relevant ones: each counts 1 - 1/1.
    assert bpref(RANKED, QRELS).mean == 0.0
    # x is the only result without a judgement.
    assert score_run(RANKED, QRELS, ["judged@10"])["judged@10"].mean == pytest.approx(4 / 5)


def test_equal_scores_go_by_id_descending_as_text():
    assert rank_documents({"a": 1.0, "c": 1.0, "b": 2.0}) == ["b", "c", "a"]
    assert rank_documents({10: 1.0, 9: 1.0}) == [9, 10]
    assert rank_documents({"a": 1.00000001, "b": 1.0}) == ["b", "a"]


def test_more_queries_than_a_block_keep_their_own_values():
    rng = np.random.default_rng(0)
    run = {i: rng.permutation(int(rng.integers(1, 40))).tolist() for i in range(600)}
    qrels = {i: {int(d): 1 for d in rng.permutation(40)[: rng.integers(1, 9)]} for i in range(600)}
    together = score_run(run, qrels, ["ndcg@10", "map", "bpref", "mrr"])
    for i in range(0, 600, 37):
        alone = score_run({i: run[i]}, {i: qrels[i]}, ["ndcg@10", "map", "bpref", "mrr"])
        for name, value in alone.items():
            assert together[name][i] == pytest.approx(value.mean)


def test_forms_of_a_run_agree():
    ids = np.array([[3, 1, -1], [2, 0, 1]])
    values = np.array([[0.9, 0.2, -np.inf], [0.8, 0.7, 0.1]], dtype=np.float32)
    qrels = {0: {1: 1}, 1: [0, 1]}
    forms = [
        (ids, values),
        Hits(ids, values, np.array([2, 3])),
        run_from_arrays(ids),
        run_from_arrays(ids, values),
        {0: {3: 0.9, 1: 0.2}, 1: {0: 0.7, 1: 0.1, 2: 0.8}},
        {0: [3, 1], 1: np.array([2, 0, 1])},
    ]
    for form in forms:
        assert score_run(form, qrels, ["map"])["map"].values.tolist() == pytest.approx([1 / 2, (1 / 2 + 2 / 3) / 2])
    named = run_from_arrays(ids, query_ids=["x", "y"], document_ids=["d0", "d1", "d2", "d3"])
    assert named == {"x": ["d3", "d1"], "y": ["d2", "d0", "d1"]}


def test_w67_a_query_without_results_scores_zero_and_is_listed():
    run, qrels = {"a": {"d": 1.0}, "b": {}, "extra": {"d": 1.0}}, {"a": {"d": 1}, "b": {"d": 1}, "c": {"d": 1}}
    result = score_run(run, qrels, ["mrr"])["mrr"]
    assert result.values.tolist() == [1.0, 0.0, 0.0]
    assert result.missing == ("b", "c")
    assert result.unjudged == ("extra",)
    assert "2 without results" in str(result)
    with pytest.raises(InputError, match="2 judged queries"):
        score_run(run, qrels, ["mrr"], strict=True)


def test_w68_an_arm_that_did_not_run_is_refused_not_scored_zero():
    for run in ({}, {1: {"d": 1.0}}):
        with pytest.raises(InputError, match="did not run"):
            score_run(run, {"a": {"d": 1}}, ["mrr"])


def test_w68_self_matches_can_be_excluded():
    run, qrels = {"a": {"a": 9.0, "b": 1.0}, "c": ["c"]}, {"a": {"a": 1, "b": 1}, "c": {"b": 1}}
    assert score_run(run, qrels, ["mrr", "recall@1"])["recall@1"]["a"] == 0.5
    excluded = score_run(run, qrels, ["mrr", "recall@1"], exclude_self=True)
    assert excluded["mrr"]["a"] == 1.0
    assert excluded["recall@1"]["a"] == 1.0
    assert excluded["mrr"].missing == ("c",)


def test_queries_without_relevant_documents_count_as_zero_or_are_left_out():
    run, qrels = {"a": ["d"], "b": ["d"]}, {"a": {"d": 1}, "b": {"d": 0}, "c": {"d": -1}}
    assert score_run(run, qrels, ["ndcg@5"])["ndcg@5"].mean == pytest.approx(1 / 3)
    skipped = score_run(run, qrels, ["ndcg@5"], no_relevant="skip")["ndcg@5"]
    assert skipped.mean == 1.0
    assert skipped.queries == ("a",)
    assert skipped.without_relevant == ("b", "c")
    with pytest.raises(InputError, match="no query with a relevant"):
        score_run(run, {"b": {"d": 0}}, ["mrr"], no_relevant="skip")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e39])
def test_scores_that_are_not_finite_are_refused_by_query(bad):
    with pytest.raises(NonFiniteError, match="'q7'"):
        score_run({"q7": {"a": bad, "b": 1.0}}, {"q7": {"a": 1}}, ["mrr"])
    with pytest.raises(NonFiniteError, match="'q7'"):
        score_run({"q7": {"a": 1.0}}, {"q7": {"a": bad if bad != 1e39 else math.nan}}, ["mrr"])


@pytest.mark.parametrize(
    "name", ["ndgc@10", "ndcg@0", "ndcg@-1", "ndcg@1.5", "precision", "success", "bpref@3", "", "map@", 3, "ndcg@01"]
)
def test_w83_unknown_metric_names_are_refused_with_the_valid_ones(name):
    with pytest.raises(InputError, match="precision@k"):
        check_metric_name(name)


@pytest.mark.parametrize(
    ("run", "qrels", "error"),
    [
        ({"q": ["a", "a"]}, {"q": ["a"]}, InputError),
        ({"q": "abc"}, {"q": ["a"]}, InputError),
        ({"q": ["a"]}, {"q": "a"}, InputError),
        ({"q": 3}, {"q": ["a"]}, InputError),
        ({"q": ["a"]}, {}, InputError),
        ([["a"]], {"q": ["a"]}, InputError),
        ({"q": {"a": "high"}}, {"q": ["a"]}, DtypeError),
        ({"q": {"a": 1.0}}, {"q": {"a": "good"}}, DtypeError),
        (([[1, 1]], [[0.2, 0.1]]), {0: [1]}, InputError),
        (([[1, 2]], [[0.2]]), {0: [1]}, DimensionError),
        (([1, 2], [0.2, 0.1]), {0: [1]}, DimensionError),
        (([[0.5]], [[0.2]]), {0: [1]}, DtypeError),
    ],
)
def test_bad_runs_and_judgements_are_refused(run, qrels, error):
    with pytest.raises(error, match=r"Got .*; expected .*\. "):
        score_run(run, qrels, ["mrr"])


def test_bad_settings_are_refused():
    run, qrels = {"q": ["a"]}, {"q": ["a"]}
    for call in (
        lambda: score_run(run, qrels, "mrr"),
        lambda: score_run(run, qrels, []),
        lambda: score_run(run, qrels, relevance_level=0),
        lambda: score_run(run, qrels, no_relevant="drop"),
        lambda: ndcg(run, qrels, k=0),
        lambda: ndcg(run, qrels, gain="square"),
        lambda: precision(run, qrels, k=None),
        lambda: run_from_arrays([[1]], query_ids=["a", "b"]),
        lambda: run_from_arrays([[5]], document_ids=["a"]),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(NotFoundError):
        ndcg(run, qrels)["other"]
