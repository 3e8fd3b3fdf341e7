from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.transforms import (
    FrechetMeanPredictor,
    choose_observed,
    graph_label_distances,
    label_locus,
    next_observed,
)


def random_tree(n, seed):
    rng = np.random.default_rng(seed)
    return graph_label_distances([(i, int(rng.integers(i))) for i in range(1, n)])


def on_paths(D, observed):
    out = set(observed)
    for a in observed:
        out |= {y for b in observed for y in range(len(D)) if D[a, y] + D[y, b] == D[a, b]}
    return sorted(out)


@pytest.mark.parametrize("seed", range(4))
def test_on_a_tree_it_is_the_union_of_the_paths(seed):
    D = random_tree(15, seed)
    observed = np.random.default_rng(seed).choice(15, 4, replace=False).tolist()
    assert label_locus(D, observed, samples=500).tolist() == on_paths(D, observed)


def test_opposite_corners_of_a_grid_reach_all_only_with_ties():
    cells = np.array([(i, j) for i in range(5) for j in range(5)])
    grid = np.abs(cells[:, None] - cells).sum(axis=2)
    assert len(label_locus(grid, [0, 24])) == 2 and len(label_locus(grid, [0, 24], ties=True)) > 2
    assert len(label_locus(grid, [0, 4, 20, 24])) == 25


def test_in_a_complete_graph_nothing_is_reached_beyond_what_was_seen():
    assert label_locus(1.0 - np.eye(6), [1, 4], samples=300).tolist() == [1, 4]


def test_what_is_reached_is_what_a_predictor_answers():
    D = random_tree(12, 3)
    seen = [2, 7, 11]
    P = np.random.default_rng(0).dirichlet(np.ones(3), size=3_000)
    answers = set(FrechetMeanPredictor(distances=D, observed=seen).fit().predict(P).tolist())
    assert answers <= set(label_locus(D, seen, samples=500).tolist())


def test_the_farthest_label_next_covers_trees_with_fewer_labels_than_chance():
    ours, theirs = [], []
    for seed in range(12):
        D = random_tree(20, seed)
        ours.append(len(choose_observed(D, 20)))
        order = np.random.default_rng(seed).permutation(20).tolist()
        theirs.append(next(k for k in range(1, 21) if len(on_paths(D, order[:k])) == 20))
        leaves = int(((D == 1).sum(axis=1) == 1).sum())
        assert ours[-1] == leaves
    assert np.mean(ours) < 0.8 * np.mean(theirs)


def test_nothing_is_next_when_all_is_reached():
    D = random_tree(9, 1)
    assert next_observed(D, choose_observed(D, 9).tolist()) is None
    assert choose_observed(D, 2, observed=[4]).tolist()[0] == 4


def test_labels_that_do_not_exist_are_refused():
    with pytest.raises(InputError, match="0 to 8"):
        label_locus(random_tree(9, 0), [9])
