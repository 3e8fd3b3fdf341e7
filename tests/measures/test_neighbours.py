"""Recall of neighbour lists."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError
from orthant.measures import recall_at_k, recall_per_query


def test_values_against_sets():
    rng = np.random.default_rng(0)
    found = np.array([rng.permutation(60)[:20] for _ in range(300)])
    truth = np.array([rng.permutation(60)[:20] for _ in range(300)])
    for k in (1, 7, 20):
        expected = [len(set(f[:k]) & set(t[:k])) / k for f, t in zip(found.tolist(), truth.tolist(), strict=True)]
        assert recall_per_query(found, truth, k=k).tolist() == pytest.approx(expected)
        assert recall_at_k(found, truth, k=k) == pytest.approx(np.mean(expected))


def test_blocks_do_not_change_the_result(monkeypatch):
    import orthant.measures.neighbours as module

    rng = np.random.default_rng(1)
    found, truth = rng.integers(0, 30, (50, 8)), np.array([rng.permutation(30)[:8] for _ in range(50)])
    whole = recall_per_query(found, truth)
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 100)
    assert recall_per_query(found, truth).tolist() == whole.tolist()


def test_padding_and_repeats():
    # Nothing is earned by padding, by finding one id twice, or by ids past column k.
    assert recall_per_query([[1, 1, -1], [-1, -1, -1]], [[1, 2, -1], [3, -1, -1]]).tolist() == [0.5, 0.0]
    assert recall_at_k([[5, 1]], [[1, 5]], k=1) == 0.0
    assert recall_at_k([[1]], [[1, 2, 3, 4]]) == 0.25
    values = recall_per_query([[1], [1]], [[-1], [1]])
    assert np.isnan(values[0])
    assert recall_at_k([[1], [1]], [[-1], [1]]) == 1.0
    with pytest.raises(InputError, match="at least one query"):
        recall_at_k([[1]], [[-1]])


def test_ties_count_when_scores_are_given():
    found, truth = [[7, 8]], [[1, 2]]
    given = {"true_scores": [[0.9, 0.5]]}
    assert recall_at_k(found, truth, found_scores=[[0.5, 0.4]], **given) == 0.5
    assert recall_at_k(found, truth, found_scores=[[0.4999999, 0.4]], **given) == 0.0
    assert recall_at_k(found, truth, found_scores=[[0.4999999, 0.4]], tolerance=1e-6, **given) == 0.5
    # More ties than neighbours asked for cannot exceed 1, and padding earns nothing at any score.
    assert recall_at_k([[7, 8]], [[1, -1]], found_scores=[[0.9, 0.9]], true_scores=[[0.9, -np.inf]]) == 1.0
    assert recall_at_k([[-1, -1]], truth, found_scores=[[1.0, 1.0]], **given) == 0.0


def test_bad_input_is_refused():
    for error, call in (
        (DtypeError, lambda: recall_at_k([[0.5]], [[1]])),
        (DimensionError, lambda: recall_at_k([1], [1])),
        (DimensionError, lambda: recall_at_k([[1], [2]], [[1]])),
        (InputError, lambda: recall_at_k([[1, 2]], [[1]], k=2)),
        (InputError, lambda: recall_at_k([[1]], [[1]], found_scores=[[1.0]])),
        (DimensionError, lambda: recall_at_k([[1]], [[1]], found_scores=[[1.0, 2.0]], true_scores=[[1.0]])),
        (NonFiniteError, lambda: recall_at_k([[1]], [[1]], found_scores=[[np.nan]], true_scores=[[1.0]])),
        (InputError, lambda: recall_at_k([[1]], [[1]], found_scores=[[1.0]], true_scores=[[1.0]], tolerance=-1)),
    ):
        with pytest.raises(error):
            call()
