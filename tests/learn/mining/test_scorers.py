"""Word scores, fused scores and distributions against plain NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from orthant.encoders.callable import CallableEncoder
from orthant.errors import InputError, NonFiniteError
from orthant.learn.mining.scorers import BM25Scorer, DenseScorer, FusedTeacher, fuse_scores
from orthant.learn.mining.soft_labels import teacher_distribution

TEXTS = ["the red boat sails", "a red red car", "boats and cars", "the harbour wall is old and grey"]


def _bm25(query, texts, corpus, k1=1.2, b=0.75):
    split = [t.lower().split() for t in texts]
    everything = [t.lower().split() for t in corpus]
    average = np.mean([len(t) for t in everything])
    out = np.zeros(len(texts))
    for word in query.lower().split():
        df = sum(word in t for t in everything)
        idf = math.log(1 + (len(everything) - df + 0.5) / (df + 0.5))
        for i, words in enumerate(split):
            tf = words.count(word)
            out[i] += idf * tf / (tf + k1 * (1 - b + b * len(words) / average)) if tf else 0
    return out


def test_bm25_equals_its_formula():
    np.testing.assert_allclose(
        BM25Scorer().score("red boat the", TEXTS), _bm25("red boat the", TEXTS, TEXTS), atol=1e-6
    )
    other = [*TEXTS, "red", "red herring", "boat"]
    scorer = BM25Scorer(other, k1=0.9, b=0.4)
    expected = _bm25("red boat red", TEXTS[:2], other, 0.9, 0.4)
    np.testing.assert_allclose(scorer.score("red boat red", TEXTS[:2]), expected, atol=1e-6)
    assert scorer.score("unknown", TEXTS).tolist() == [0.0] * 4 and len(scorer.score("red", [])) == 0


def test_dense_scores_are_scaled_cosines_and_texts_are_encoded_once():
    calls = []

    def vectors(items):
        calls.append(list(items))
        return [[len(t), t.count("r"), 1.0] for t in items]

    encoder = CallableEncoder(vectors, dim=3, name="counts")
    scorer = DenseScorer(encoder, scale=100.0)
    got = scorer.score("red", TEXTS)
    X = np.array([[len(t), t.count("r"), 1.0] for t in ["red", *TEXTS]])
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    np.testing.assert_allclose(got, 100 * X[1:] @ X[0], rtol=1e-5)
    scorer.score("boat", TEXTS)
    assert sum(TEXTS[0] in call for call in calls) == 1
    forgetful = DenseScorer(encoder, scale=100.0, keep=0)
    np.testing.assert_array_equal(forgetful.score("red", TEXTS), got)


def test_fusion_is_weighted_min_max_per_query():
    rng = np.random.default_rng(0)
    dense, words = rng.normal(size=(5, 7)), rng.exponential(size=(5, 7))
    words[1] = 0.0
    fused = fuse_scores({"dense": dense, "bm25": words}, weights={"dense": 3, "bm25": 1}, floors={"bm25": 0.0})
    for row in range(5):
        a = (dense[row] - dense[row].min()) / np.ptp(dense[row])
        b = words[row] / words[row].max() if words[row].max() else np.zeros(7)
        np.testing.assert_allclose(fused[row], 0.75 * a + 0.25 * b, atol=1e-6)
    assert fuse_scores({"x": [2.0, 2.0]}).tolist() == [1.0, 1.0]
    assert fuse_scores({"x": [-np.inf, 1.0, 3.0]}).tolist() == [0.0, 0.0, 1.0]
    assert fuse_scores({"x": [-np.inf, -np.inf]}).tolist() == [0.0, 0.0]


def test_teacher_is_the_fusion_of_its_legs():
    corpus = [*TEXTS, "more"]
    encoder = CallableEncoder(lambda items: [[len(t), 1.0] for t in items], dim=2, name="lengths")
    legs = {"dense": DenseScorer(encoder), "bm25": BM25Scorer(corpus)}
    teacher = FusedTeacher(legs, weights={"dense": 0.4, "bm25": 0.6}, floors={"bm25": 0.0})
    parts = {name: leg.score("red boat", TEXTS) for name, leg in legs.items()}
    expected = fuse_scores(parts, weights={"dense": 0.4, "bm25": 0.6}, floors={"bm25": 0.0})
    np.testing.assert_array_equal(teacher.score("red boat", TEXTS), expected)


def test_distribution_is_a_softmax_at_a_temperature():
    scores = np.array([[1.0, 0.5, -np.inf], [1e4, 1e4 - 1, 0.0]])
    got = teacher_distribution(scores, temperature=0.5)
    np.testing.assert_allclose(got[0], [np.exp(1) / (np.exp(1) + 1), 1 / (np.exp(1) + 1), 0], atol=1e-7)
    np.testing.assert_allclose(got.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: fuse_scores({}), InputError),
        (lambda: fuse_scores({"a": [1.0], "b": [1.0, 2.0]}), InputError),
        (lambda: fuse_scores({"a": [np.nan]}), NonFiniteError),
        (lambda: fuse_scores({"a": [1.0]}, weights={"b": 1.0}), InputError),
        (lambda: fuse_scores({"a": [1.0]}, weights={"a": 0.0}), InputError),
        (lambda: fuse_scores({"a": [1.0], "b": [1.0]}, weights={"a": -1.0, "b": 2.0}), InputError),
        (lambda: fuse_scores({"a": [1.0]}, floors={"c": 0.0}), InputError),
        (lambda: FusedTeacher({}), InputError),
        (lambda: BM25Scorer([]), InputError),
        (lambda: BM25Scorer(b=1.5), InputError),
        (lambda: teacher_distribution([1.0], temperature=0.0), InputError),
        (lambda: teacher_distribution([np.nan]), NonFiniteError),
        (lambda: teacher_distribution([-np.inf]), InputError),
    ],
)
def test_bad_input_is_refused(call, error):
    with pytest.raises(error):
        call()
