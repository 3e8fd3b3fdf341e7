"""Rows from scores, triplets, judgements, dictionaries, classes and inference labels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from orthant.datasets import Document, RetrievalSet
from orthant.errors import InputError, NonFiniteError, NotFoundError
from orthant.learn.conversion.labelled import graded_from_nli, pairs_from_classes, pairs_from_labels, pairs_from_nli
from orthant.learn.conversion.pairs import (
    graded_pairs,
    pairs_from_definitions,
    pairs_from_retrieval,
    pairs_from_scores,
    pairs_from_triplets,
)

FIRST, SECOND, SCORES = ["a cat", "a dog", "sun"], ["one cat", "a car", "Sun "], [4.0, 3.9, 5.0]


def test_scored_pairs_keep_the_threshold_in_both_directions():
    table = pairs_from_scores(FIRST, SECOND, SCORES, threshold=4)
    assert [(r["anchor"], r["positive"]) for r in table] == [("a cat", "one cat"), ("one cat", "a cat")]
    assert table.dropped == {"below threshold": 1, "equal texts": 1}
    one_way = pairs_from_scores(FIRST, SECOND, SCORES, threshold=3.9, both_directions=False)
    assert one_way.select("anchor", "positive") == [
        {"anchor": "a cat", "positive": "one cat"},
        {"anchor": "a dog", "positive": "a car"},
    ]


def test_graded_pairs_are_rescaled():
    table = graded_pairs(FIRST, SECOND, [1, 3, 5], low=1, high=5)
    assert [r["score"] for r in table] == [0.0, 0.5, 1.0]


def test_triplets_are_checked_and_deduplicated():
    table = pairs_from_triplets(["a", "a", "A"], ["b", "c", "b"], ["x", "y", "x"])
    assert len(table) == 2 and table.dropped == {"repeated": 1}


def _judged(**qrels):
    corpus = [Document("d1", "Lamp", "It shines."), Document("d2", "", "A boat."), Document("d3", "", "")]
    return RetrievalSet("toy", corpus, {"q1": "light", "q2": "ship", "q3": "none"}, qrels)


def test_retrieval_rows_follow_the_judgements():
    table = pairs_from_retrieval(_judged(q1={"d1": 2, "d2": 0}, q2={"d2": 1, "d3": 1}))
    assert [(r["query_id"], r["id"], r["positive"]) for r in table] == [
        ("q1", "d1", "Lamp\nIt shines."),
        ("q2", "d2", "A boat."),
    ]
    assert table.dropped["empty text"] == 1 and table.dropped["query without relevant documents"] == 1
    strict = pairs_from_retrieval(_judged(q1={"d1": 2, "d2": 0}, q2={"d2": 1}), minimum_grade=2, judged_negatives=1)
    assert strict.rows == [
        {"anchor": "light", "positive": "Lamp\nIt shines.", "negative": "A boat.", "id": "d1", "query_id": "q1"}
    ]


def test_definitions_of_one_term_share_a_group():
    table = pairs_from_definitions([("Bank", "edge of a river"), ("bank", "house for money"), ("x", "X"), ("y", "")])
    assert [r["group"] for r in table] == ["bank", "bank"]
    assert table.dropped == {"empty text": 1, "defined by itself": 1}


def test_labels_become_texts_with_other_names_as_negatives():
    names = ["top-up", "lost card", "rates"]
    table = pairs_from_labels(["t"] * 300, [1] * 300, names=names, template="about {label}", negatives=1)
    assert {r["positive"] for r in table} == {"about lost card"}
    counts = Counter(r["negative"] for r in table)
    assert set(counts) == {"about top-up", "about rates"} and min(counts.values()) > 100
    both = pairs_from_labels(["t"], np.array([0]), names=names, negatives=2)
    assert {both.rows[0]["negative_1"], both.rows[0]["negative_2"]} == {"lost card", "rates"}


def test_class_examples_are_a_cycle_and_negatives_are_of_other_classes():
    texts = [f"{c}{i}" for c in "abc" for i in range(20)] + ["A0", "b1"]
    labels = ["a"] * 20 + ["b"] * 20 + ["c"] * 20 + ["a", "c"]
    table = pairs_from_classes(texts, labels, negatives=3, seed=1)
    # "b1" stands in two classes, "A0" repeats "a0".
    assert table.dropped == {"repeated text": 1, "text in several classes": 2, "class with one text": 0}
    assert len(table) == 59
    assert Counter(r["positive"] for r in table) == Counter(r["anchor"] for r in table)
    for row in table:
        assert row["anchor"] != row["positive"] and row["anchor"][0] == row["positive"][0] == row["class"]
        negatives = [row[f"negative_{i}"] for i in (1, 2, 3)]
        assert len(set(negatives)) == 3 and all(text[0] != row["class"] for text in negatives)
    assert pairs_from_classes(texts, labels, negatives=3, seed=1).rows == table.rows
    assert pairs_from_classes(texts, labels, negatives=3, seed=2).rows != table.rows


def test_singletons_are_dropped_when_asked():
    table = pairs_from_classes(["a", "b", "c"], [0, 0, 1], singletons="drop")
    assert len(table) == 2 and table.dropped["class with one text"] == 1


def test_nli_gives_triplets_and_grades():
    premises, hypotheses = ["p"] * 4 + ["r"], ["e1", "e2", "n", "c", "e"]
    labels = ["entailment", "ENTAILMENT", "neutral", "contradiction", "entailment"]
    table = pairs_from_nli(premises, hypotheses, labels)
    assert table.rows == [{"anchor": "p", "positive": e, "negative": "c"} for e in ("e1", "e2")]
    assert table.dropped == {"premise without both labels": 1}
    assert [r["score"] for r in graded_from_nli(premises, hypotheses, labels)] == [1.0, 1.0, 0.5, 0.0, 1.0]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: pairs_from_scores(["a"], ["b", "c"], [1], threshold=0), InputError, "one length"),
        (lambda: pairs_from_scores(["a"], [" "], [1], threshold=0), InputError, "without a word"),
        (lambda: pairs_from_scores(["a"], ["b"], [1], threshold=2), InputError, "no pair"),
        (lambda: pairs_from_scores(["a"], ["b"], [np.nan], threshold=2), NonFiniteError, "scores\\[0\\]"),
        (lambda: pairs_from_scores(["a"], ["b"], ["x"], threshold=2), InputError, "not numbers"),
        (lambda: graded_pairs(["a", "b"], ["c", "d"], [1, 1], low=0, high=5), InputError, "one score for all"),
        (lambda: graded_pairs(["a"], ["c"], [6], low=0, high=5), InputError, "a score from 0 to 5"),
        (lambda: graded_pairs(["a"], ["c"], [1], low=5, high=0), InputError, "low below high"),
        (lambda: pairs_from_triplets(["a"], ["A"], ["b"]), InputError, "triplet 0 whose anchor"),
        (lambda: pairs_from_triplets(["a", "a"], ["b", "c"], ["d", "b"]), InputError, "positive of the same anchor"),
        (lambda: pairs_from_retrieval(_judged(q1={"d9": 1})), NotFoundError, "'d9', judged for query 'q1'"),
        (lambda: pairs_from_definitions(["ab"]), InputError, "a term and a definition"),
        (lambda: pairs_from_labels(["t"], ["z"], names={"a": "A"}), InputError, "'z' without a name"),
        (lambda: pairs_from_labels(["t"], [0], names=["A", "a"]), InputError, "two classes of one name"),
        (lambda: pairs_from_labels(["t"], [0], names=["A"], template="{name}"), InputError, "one field"),
        (lambda: pairs_from_labels(["t"], [0], names=["A", "B"], negatives=2), InputError, "negatives"),
        (lambda: pairs_from_classes(["a", "b", "c"], [0, 0, 1]), InputError, "fewer than two distinct texts"),
        (lambda: pairs_from_classes(["a", "b"], [0, 0], negatives=1), InputError, "negatives=1"),
        (lambda: pairs_from_classes(["a", "b"], [0]), InputError, "1 labels for 2 texts"),
        (lambda: pairs_from_nli(["a"], ["b"], ["maybe"]), InputError, "labels\\[0\\]='maybe'"),
    ],
)
def test_bad_input_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
