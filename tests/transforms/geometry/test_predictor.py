from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from orthant.errors import DimensionError, InputError, NotFittedError
from orthant.transforms import FrechetMeanPredictor, graph_label_distances, mean_squared_label_distance

LINE = np.abs(np.subtract.outer(np.arange(11.0), np.arange(11.0)))
SAME = 1.0 - np.eye(6)


def some(n, k, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(k), size=n)


def test_with_distances_of_one_it_is_the_most_probable_label():
    P = some(10_000, 6)
    found = FrechetMeanPredictor(distances=SAME, observed=range(6)).fit().predict(P)
    np.testing.assert_array_equal(found, P.argmax(axis=1))


@pytest.mark.parametrize(("exponent", "halves"), [(2, True), (1, False)])
def test_on_a_path_the_mean_lies_between_the_ends_and_the_median_does_not(exponent, halves):
    shares = np.array([0.0, 0.11, 0.32, 0.49, 0.71, 0.98])
    P = np.stack([1 - shares, shares], axis=1)
    found = FrechetMeanPredictor(distances=LINE, observed=[0, 10], exponent=exponent).fit().predict(P)
    wanted = np.round(10 * shares) if halves else np.where(shares > 0.5, 10, 0)
    np.testing.assert_array_equal(found, wanted)


def test_the_rule_is_the_least_expected_cost_written_out():
    tree = graph_label_distances([(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 2)])
    seen = [3, 4, 5]
    P = some(500, 3, seed=1)
    decided = FrechetMeanPredictor(distances=tree, observed=seen).fit().decide(P)
    wanted = [min(range(7), key=lambda y: sum(p[k] * tree[y, seen[k]] ** 2 for k in range(3))) for p in P]
    np.testing.assert_array_equal(decided.labels, wanted)
    assert decided.unseen.any() and set(decided.labels[decided.unseen]) <= {0, 1, 2, 6}
    np.testing.assert_allclose(decided.cost, (P @ tree[seen] ** 2).min(axis=1))


def test_ties_take_the_smallest_number_and_are_counted():
    grid = np.abs(np.subtract.outer(np.arange(4.0), np.arange(4.0)))
    decided = FrechetMeanPredictor(distances=grid, observed=[0, 3]).fit().decide([[0.5, 0.5]])
    assert decided.labels.tolist() == [1] and decided.ties.tolist() == [2]


def test_a_wrapped_classifier_answers_by_name_with_labels_it_never_saw():
    rng = np.random.default_rng(0)
    names = ["cold", "cool", "mild", "warm", "hot"]
    heat = rng.integers(5, size=900)
    X = (heat + 0.3 * rng.standard_normal(900))[:, None]
    seen = np.isin(heat, [0, 4])
    model = LogisticRegression().fit(X[seen], np.take(names, heat)[seen])
    wrapped = FrechetMeanPredictor(model, distances=LINE[:5, :5], labels=names).fit()
    answers = wrapped.predict(X)
    assert set(answers) == set(names) and set(model.predict(X)) == {"cold", "hot"}
    assert wrapped.score(X, np.take(names, heat)) > 0.5 > model.score(X, np.take(names, heat))
    shares = wrapped.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_array_equal(shares.argmax(axis=1), wrapped.decide(X).labels)


def test_rows_of_observed_labels_are_all_that_is_needed():
    P = some(300, 3)
    square = FrechetMeanPredictor(distances=LINE, observed=[2, 5, 9]).fit()
    rows = FrechetMeanPredictor(distances=LINE[[2, 5, 9]], observed=[2, 5, 9]).fit()
    np.testing.assert_array_equal(square.predict(P), rows.predict(P))


def test_the_temperature_is_chosen_by_distance_and_matters():
    rng = np.random.default_rng(0)
    truth = rng.integers(11, size=2_000)
    share = np.clip(truth / 10 + 0.05 * rng.standard_normal(2_000), 0.01, 0.99)
    # Over-confident on purpose: logits three times what they should be.
    logits = 3 * np.log(share / (1 - share))
    P = np.stack([1 / (1 + np.exp(logits)), 1 / (1 + np.exp(-logits))], axis=1)
    model = FrechetMeanPredictor(distances=LINE, observed=[0, 10], temperature=None).fit(P, truth)
    assert 2 < model.temperature_ <= 4
    plain = FrechetMeanPredictor(distances=LINE, observed=[0, 10]).fit()
    off = [mean_squared_label_distance(truth, one.predict(P), LINE) for one in (model, plain)]
    assert off[0] < 0.3 * off[1]


def test_blocks_of_items_do_not_matter(monkeypatch):
    P = some(257, 3)
    whole = FrechetMeanPredictor(distances=LINE, observed=[0, 4, 10]).fit()
    wanted = whole.predict(P)
    import orthant.transforms.geometry.predictor as module

    monkeypatch.setattr(module, "row_chunks", lambda n, size: ((i, min(i + 10, n)) for i in range(0, n, 10)))
    np.testing.assert_array_equal(whole.predict(P), wanted)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"distances": LINE**2, "observed": [0, 10]}, "by way of"),
        ({"distances": LINE[[0, 1]] ** 2, "observed": [0, 1]}, "apart"),
        ({"distances": LINE, "observed": [0, 11]}, "11"),
        ({"distances": LINE, "observed": [0, 0]}, "different"),
        ({"distances": LINE}, "observed"),
        ({"distances": LINE, "observed": ["a"], "labels": ["a", "b"]}, "different names"),
        ({"distances": LINE[[0, 1]], "observed": [0]}, "one each"),
        ({"distances": LINE, "observed": [0], "temperature": 0.0}, "temperature"),
        ({"distances": LINE, "observed": [0], "temperature": None}, "labelled items"),
        ({"distances": LINE, "observed": [0], "exponent": 3}, "exponent=3"),
        ({"distances": LINE[[0, 1]][:, [0, 1, 0]], "observed": [0, 1]}, "0 between labels 0 and 2"),
        ({"distances": LINE, "estimator": LogisticRegression()}, "LogisticRegression without classes_.* Fit it first"),
        ({"distances": LINE, "estimator": object()}, "without predict_proba"),
    ],
)
def test_what_does_not_fit_is_refused(settings, told):
    with pytest.raises(InputError, match=told):
        FrechetMeanPredictor(**settings).fit()


def test_what_are_no_probabilities_is_refused():
    model = FrechetMeanPredictor(distances=LINE, observed=[0, 10])
    with pytest.raises(NotFittedError):
        model.predict([[0.5, 0.5]])
    model.fit()
    for P in ([[0.5, 0.6]], [[-0.5, 1.5]]):
        with pytest.raises(InputError, match="sum"):
            model.predict(P)
    with pytest.raises(DimensionError):
        model.predict([[1.0]])


def test_it_is_cloned_like_any_estimator():
    copy = clone(FrechetMeanPredictor(distances=LINE, observed=[0, 10], exponent=1))
    assert copy.exponent == 1 and not hasattr(copy, "classes_")
