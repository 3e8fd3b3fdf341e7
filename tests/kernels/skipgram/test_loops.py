"""The compiled loops move vectors by the gradients of their losses."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels.compiling import kernel
from orthant.kernels.skipgram.paragraphs import LINEAR, ROUNDED, SMOOTH, train_paragraphs
from orthant.kernels.skipgram.sampling import alias_table, sigmoid_table
from orthant.kernels.skipgram.senses import _move_choice, train_senses
from orthant.kernels.skipgram.words import learn_target, train_words

TABLE = sigmoid_table()


@kernel
def _learn(row, outputs, target, label, rate, table, gradient):
    learn_target(row, outputs, target, label, rate, table, gradient)


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("dim", [1, 7, 16, 33])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_step_is_the_gradient_of_the_log_likelihood(dim, label):
    rng = np.random.default_rng(dim)
    row, outputs = rng.normal(size=dim).astype(np.float32), rng.normal(size=(3, dim)).astype(np.float32)
    before, gradient = outputs.copy(), np.zeros(dim, np.float32)
    _learn(row, outputs, 1, np.float32(label), np.float32(0.1), TABLE, gradient)
    error = 0.1 * (label - _sigmoid(float(row @ before[1])))
    np.testing.assert_allclose(gradient, error * before[1], atol=1e-3)
    np.testing.assert_allclose(outputs[1] - before[1], error * row, atol=1e-3)
    np.testing.assert_array_equal(outputs[[0, 2]], before[[0, 2]])


def _text(sentences=400, seed=0):
    """Two topics of five words each; words meet words of their own topic only."""
    rng = np.random.default_rng(seed)
    topics = rng.integers(2, size=sentences)
    return (rng.integers(5, size=(sentences, 8)) + 5 * topics[:, None]).astype(np.int32), topics


def _skipgram(window=5, negatives=5, keep=None, rounds=5):
    tokens, _ = _text()
    rng = np.random.default_rng(0)
    inputs, outputs = rng.normal(0, 0.1, (10, 8)).astype(np.float32), np.zeros((10, 8), np.float32)
    keep = np.ones(10, np.float32) if keep is None else keep
    offsets = np.arange(0, tokens.size + 1, 8)
    for i in range(rounds):
        train_words(tokens.ravel(), offsets, 0, len(tokens), keep, *alias_table(np.ones(10)), TABLE, inputs, outputs,
                    window, negatives, 0.05, 0.001, i * tokens.size, rounds * tokens.size, np.uint64(i))  # fmt: skip
    return inputs


def test_words_that_meet_come_together_and_noise_keeps_the_others_apart():
    unit = _skipgram()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert cosines[:5, :5].min() > 0.8 > 0.2 > cosines[:5, 5:].max()
    np.testing.assert_array_equal(_skipgram(), _skipgram())


def test_words_that_are_never_kept_never_move():
    keep = np.ones(10, np.float32)
    keep[3] = 0
    start = np.random.default_rng(0).normal(0, 0.1, (10, 8)).astype(np.float32)
    moved = np.abs(_skipgram(keep=keep) - start).max(axis=1)
    assert moved[3] == 0 and (np.delete(moved, 3) > 0).all()


def _paragraphs(kind, *, dim=0, learn=True, bits=8, rounds=30):
    tokens, topics = _text(60, seed=1)
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 0.1, (60, dim or bits)).astype(np.float32)
    projection = rng.normal(0, 1, (bits if dim else 0, dim or bits)).astype(np.float32)
    outputs = np.zeros((10, bits + 1), np.float32)
    outputs[:, :bits] = rng.normal(0, 0.1, (10, bits))
    start, squares = outputs.copy(), np.zeros_like(vectors)
    sums, psquares = np.zeros(10, np.float32), np.zeros(bits, np.float32)
    offsets, order = np.arange(0, tokens.size + 1, 8), np.arange(60)
    for i in range(rounds):
        train_paragraphs(tokens.ravel(), offsets, order, 0, 60, np.ones(10, np.float32), *alias_table(np.ones(10)),
                         TABLE, vectors, squares, projection, psquares, outputs, sums, kind, 5, 32, 0.3, 0.1, learn,
                         np.uint64(i))  # fmt: skip
    hidden = vectors @ projection.T if dim else vectors
    return hidden > 0, topics, outputs, start


@pytest.mark.parametrize("kind", [ROUNDED, SMOOTH, LINEAR])
@pytest.mark.parametrize("dim", [0, 12])
def test_documents_of_one_topic_get_codes_that_are_alike(kind, dim):
    bits, topics, _, _ = _paragraphs(kind, dim=dim)
    apart = (bits[:, None] != bits[None]).mean(axis=2)
    same = topics[:, None] == topics
    assert apart[same].mean() + 0.2 < apart[~same].mean()


def test_words_stay_where_only_documents_are_placed():
    _, _, outputs, start = _paragraphs(ROUNDED, learn=False)
    np.testing.assert_array_equal(outputs, start)


def test_rounding_hides_from_the_words_all_but_the_bit():
    # Words see 0 or 1 only: with a rate of nothing for documents, their magnitude must not count.
    tokens = np.zeros(8, np.int32)
    found = []
    for scale in (1.0, 50.0):
        outputs = np.ones((2, 3), np.float32)
        vectors = np.array([[0.3, -0.2]], np.float32) * np.float32(scale)
        train_paragraphs(tokens, np.array([0, 8]), np.array([0]), 0, 1, np.ones(2, np.float32),
                         *alias_table(np.ones(2)), TABLE, vectors, np.zeros((1, 2), np.float32),
                         np.zeros((0, 2), np.float32), np.zeros(2, np.float32), outputs, np.zeros(2, np.float32),
                         ROUNDED, 2, 32, 0.0, 0.1, True, np.uint64(3))  # fmt: skip
        found.append(outputs)
    np.testing.assert_array_equal(*found)
    # The column of the bit that is not set has no part in any prediction.
    assert (found[0][:, 1] == 1).all() and (found[0][:, 0] != 1).any()


def _senses(gamma=0.0, choose=True, rounds=12):
    """Word 10 is used in both topics."""
    tokens, _ = _text(400, seed=2)
    tokens[:, 4] = 10
    rng = np.random.default_rng(0)
    senses = rng.normal(0, 0.1, (11, 2, 8)).astype(np.float32)
    outputs = np.zeros((11, 8), np.float32)
    weights, biases = rng.normal(0, 0.5, (11, 2, 8)).astype(np.float32), np.zeros((11, 2), np.float32)
    offsets = np.arange(0, tokens.size + 1, 8)
    start = weights.copy()
    for i in range(rounds):
        priors = np.zeros((11, 2))
        train_senses(tokens.ravel(), offsets, 0, 400, np.ones(11, np.float32), *alias_table(np.ones(11)), TABLE,
                     senses, outputs, weights, biases, 5, 5, 0.05, 0.7, gamma, True, choose, np.uint64(i),
                     priors)  # fmt: skip
    contexts = np.stack([outputs[:5].mean(axis=0), outputs[5:10].mean(axis=0)])
    scores = contexts @ weights[10].T + biases[10]
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True), priors, np.abs(weights - start).max()


def test_contexts_choose_different_senses_of_a_word_that_is_used_in_two_ways():
    shares, priors, moved = _senses()
    assert shares[0].argmax() != shares[1].argmax() and shares.max(axis=1).min() > 0.7 and moved > 0
    np.testing.assert_allclose(priors.sum(axis=1)[10], 400, rtol=1e-6)
    assert _senses(choose=False, rounds=1)[2] == 0


@kernel
def _choice(context, z, p, gains, rate, temperature, gamma, weights, biases):
    _move_choice(context, z, p, gains, rate, temperature, gamma, weights, biases)


@pytest.mark.parametrize(("gamma", "gain"), [(0.0, 1.0), (0.7, 0.0), (-0.7, 0.0), (0.4, 2.0)])
def test_a_choice_moves_along_the_gradient_of_likelihood_less_entropy(gamma, gain):
    rng = np.random.default_rng(1)
    context, gains = rng.normal(size=5).astype(np.float32), gain * rng.normal(size=3)
    scores = rng.normal(size=3)

    def softmax(x):
        shares = np.exp(x - x.max())
        return shares / shares.sum()

    def goal(x, temperature=0.5):
        p = softmax(x)
        return softmax(x / temperature) @ gains + gamma * p @ np.log(p)

    weights, biases = np.zeros((3, 5), np.float32), np.zeros(3, np.float32)
    _choice(context, softmax(scores / 0.5), softmax(scores), gains, 1.0, 0.5, gamma, weights, biases)
    slopes = [(goal(scores + h) - goal(scores - h)) / 2e-5 for h in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(biases, slopes, atol=1e-4)
    np.testing.assert_allclose(weights, np.outer(slopes, context), atol=1e-3)
