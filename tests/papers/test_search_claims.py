"""The arms of the search claims are what they are called: equal bytes, real alternatives, twins with the switch off."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.evaluation.judged_tokens import JudgedTokens
from orthant.papers.search import hnsw_study, leanvec, muvera
from orthant.types import Ragged


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((900, 64)) * np.linspace(0.5, 2, 64)).astype(np.float32)


def test_scalar_alternatives_get_the_bytes_of_the_constants(rows):
    bits = leanvec._bits_per_dimension(rows)
    assert bits.sum() == 64 * 4 + 8 * 4
    assert set(np.flatnonzero(bits == 8)) == set(np.argsort(-rows.var(axis=0))[:8])


def test_optimal_levels_beat_uniform_ones_on_their_own_data(rows):
    def error(fit):
        return float(((fit(rows)(rows) - rows) ** 2).mean())

    assert error(leanvec._lloyd) < 0.8 * error(leanvec._uniform)
    # Clipping beats the whole range of a Gaussian, and one range for all loses to one per dimension.
    assert error(lambda r: leanvec._uniform(r, 0.99)) < error(leanvec._uniform) < error(leanvec._one_range)


def test_levels_are_the_means_of_their_cells():
    values = np.sort(np.random.default_rng(1).standard_normal(5000))
    levels = leanvec._lloyd_levels(values, 4)
    # Lloyd-Max levels of a standard Gaussian.
    assert np.allclose(levels, [-1.51, -0.453, 0.453, 1.51], atol=0.06)


def test_the_twin_of_the_codes_has_one_range(rows):
    seen = leanvec._one_range(rows)(rows) - rows.mean(axis=0)
    assert len(np.unique(seen.round(5))) <= 16


def test_recall_counts_true_neighbours_among_the_candidates(rows):
    assert leanvec._recall(rows, rows, rows[:5], 10, 10) == 1
    assert leanvec._recall(rows, rows[::-1].copy(), rows[:5], 10, 10) < 0.3
    half = leanvec._recall(rows, rows[:, 32:].copy(), rows[:20], 10, 50, rows[:20, 32:].copy())
    assert leanvec._recall(rows, rows[:, 32:].copy(), rows[:20], 10, 10, rows[:20, 32:].copy()) < half < 1


def test_strength_is_positive_where_high_values_mean_low_recall():
    values = np.array([1.0, 2.0, 3.0, np.inf])
    found = hnsw_study._strength(values, [np.array([1.0, 0.5, 0.0, 1.0])] * 2)
    assert found["rank_correlation"] == pytest.approx(1)


def test_the_twin_of_the_dimension_looks_at_random_rows():
    points = np.random.default_rng(0).standard_normal((400, 16)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    twins = [hnsw_study._dimension_of_random_rows(points, points[:30] * -1, seed) for seed in (0, 1)]
    assert not np.allclose(*twins)
    assert twins[0].shape == (30,) and np.isfinite(twins[0]).all()


@pytest.fixture(scope="module")
def tokens():
    """Sixty sets of words out of forty, and queries of words of the first ten."""
    rng = np.random.default_rng(0)
    words = rng.standard_normal((40, 64)).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    numbers = np.concatenate([rng.choice(40, 12, replace=False) for _ in range(60)])
    documents = Ragged(words[numbers], np.arange(0, 721, 12))
    asked = np.concatenate([numbers[i * 12 : i * 12 + 4] for i in range(10)])
    return JudgedTokens("words", documents, Ragged(words[asked], np.arange(0, 41, 4)))


def test_arms_of_the_encodings_have_as_many_columns_at_most(tokens):
    for settings in (muvera._FULL, muvera._PLAIN, muvera._ONE):
        documents, queries = muvera._encoded(tokens, settings, 0)
        assert documents.shape[1] == queries.shape[1]
    whole, one = ({**muvera._FULL}, {**muvera._ONE})
    assert whole["repetitions"] * whole["inner_dim"] << whole["bits"] == muvera._COLUMNS
    # The twin has one repetition; tokens of fewer dimensions than its cells have columns keep those they have.
    assert one["repetitions"] == 1 and one["inner_dim"] << one["bits"] == muvera._COLUMNS
    assert muvera._clustered_cells(tokens, 0)[0].shape[1] <= muvera._COLUMNS
    assert muvera._hashed_words(tokens)[0].shape[1] == muvera._COLUMNS


def test_every_arm_of_the_encodings_finds_more_than_chance(tokens):
    trial = muvera._trial([tokens], 0, close=True)
    assert {"mean of the tokens at unit length", "best place in the list of any query token"} <= set(trial.alternatives)
    for arm in (trial.measured, trial.ablated, trial.baseline, *trial.alternatives.values()):
        assert arm["recall@10 of 20"] > 0.4
    assert trial.measured["recall@10 of 20"] > trial.ablated["recall@10 of 20"]


def test_hashed_words_count_the_words_that_both_have(tokens):
    documents, queries = muvera._hashed_words(tokens)
    # Twelve words over the fourth root of twelve; two may share a column.
    assert (np.abs((documents > 0).sum(axis=1) - 12) <= 1).all() and np.isclose(documents.max(), 12**-0.25, rtol=0.03)
    assert (np.argsort(-(queries @ documents.T), axis=1)[:, :3] == np.arange(10)[:, None]).any(axis=1).all()


def test_lists_of_tokens_put_every_best_document_first(tokens):
    scores = muvera._by_token(tokens)
    best = np.maximum.reduceat(tokens.queries[0] @ tokens.documents.values.T, tokens.documents.offsets[:-1], axis=1)
    assert set(best.argmax(axis=1)) <= set(np.argsort(-scores[0])[: len(tokens.queries[0])])
