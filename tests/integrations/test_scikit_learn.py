"""Neighbours in scikit-learn's pipelines, compared with its own, and as HDBSCAN and UMAP take them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.cluster import HDBSCAN
from sklearn.datasets import load_digits, make_blobs
from sklearn.manifold import Isomap
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from orthant.errors import InputError, NotFittedError
from orthant.integrations.scikit_learn import OrthantNeighbors

WORDS = "refused with an InputError, in our words and not in scikit-learn's"
EXEMPT = {
    "check_complex_data": WORDS,
    "check_estimators_empty_data_messages": WORDS,
    "check_n_features_in_after_fitting": WORDS,
    "check_dtype_object": "arrays of objects are refused everywhere, even when they hold numbers",
    "check_fit2d_predict1d": WORDS,
}


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:400], y[:400]


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_accepts():
    results = check_estimator(OrthantNeighbors(n_neighbors=1), on_fail=None)
    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert len(results) > 30
    assert not failed.keys() - EXEMPT.keys(), failed
    assert set(EXEMPT) == set(failed)


@pytest.mark.parametrize("mode", ["distance", "connectivity"])
@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_the_graph_is_that_of_scikit_learn(digits, mode, metric):
    X, _ = digits
    X = X + np.random.default_rng(0).normal(scale=1e-3, size=X.shape)
    X = X.astype(np.float32)
    ours = OrthantNeighbors(n_neighbors=6, mode=mode, metric=metric).fit_transform(X)
    theirs = KNeighborsTransformer(
        n_neighbors=6, mode=mode, metric={"l2": "euclidean", "cosine": "cosine"}[metric]
    ).fit_transform(X.astype(np.float64))
    assert ours.nnz == theirs.nnz
    np.testing.assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-5)
    assert all((np.diff(row.data) >= 0).all() for row in ours)


def test_pipelines_give_the_same_answers(digits):
    X, y = digits
    settings = {"n_neighbors": 7}
    plain = KNeighborsClassifier(**settings).fit(X[:300], y[:300])
    ours = make_pipeline(OrthantNeighbors(**settings), KNeighborsClassifier(metric="precomputed", **settings))
    ours.fit(X[:300], y[:300])
    assert (ours.predict(X[300:]) == plain.predict(X[300:])).mean() > 0.98
    flat = make_pipeline(OrthantNeighbors(n_neighbors=10), Isomap(n_neighbors=10, metric="precomputed"))
    expected = Isomap(n_neighbors=10).fit_transform(X)
    np.testing.assert_allclose(np.abs(flat.fit_transform(X)), np.abs(expected), atol=1e-2 * np.abs(expected).max())
    assert clone(ours)[0].get_params()["n_neighbors"] == 7


def test_rows_are_not_their_own_neighbours_even_among_duplicates():
    X = np.repeat(np.arange(3.0)[:, None], 4, axis=0)
    distances, positions = OrthantNeighbors(n_neighbors=3).fit(X).kneighbors()
    assert not (positions == np.arange(12)[:, None]).any()
    assert (distances == 0).all()


def test_umap_takes_positions_and_distances(digits):
    X, _ = digits
    positions, distances = OrthantNeighbors(n_neighbors=8).fit(X).umap_knn()
    assert positions.shape == distances.shape == (400, 8)
    assert (positions[:, 0] == np.arange(400)).all()
    assert not distances[:, 0].any()
    expected = NearestNeighbors(n_neighbors=8).fit(X).kneighbors(X)[0]
    np.testing.assert_allclose(distances, expected, rtol=1e-4, atol=1e-4)


def test_hdbscan_takes_a_joined_graph():
    X, _ = make_blobs(n_samples=150, centers=[[0, 0], [40, 0], [0, 60]], cluster_std=0.6, random_state=3)
    X = np.concatenate([X, X[:3]])
    distances = OrthantNeighbors(n_neighbors=10).fit(X).hdbscan_distances()
    assert abs(distances - distances.T).max() == 0
    sparse = HDBSCAN(metric="precomputed", min_samples=5, copy=True).fit(distances).labels_
    dense = HDBSCAN(min_samples=5, copy=True).fit(X).labels_
    assert len(set(sparse) - {-1}) == 3
    assert (sparse == dense).mean() > 0.97


def test_a_graph_is_searched_where_the_rows_are_many(monkeypatch):
    from orthant.index.graph import Graph
    from orthant.integrations import scikit_learn

    monkeypatch.setattr(scikit_learn, "_SCAN_UP_TO", 3000)
    X = np.random.default_rng(1).normal(size=(4000, 16)).astype(np.float32)
    model = OrthantNeighbors(n_neighbors=5, recall=0.9).fit(X)
    assert isinstance(model.index_, Graph)
    exact = OrthantNeighbors(n_neighbors=5).fit(X).kneighbors(X[:200])[1]
    found = model.kneighbors(X[:200])[1]
    assert np.mean([len(set(a) & set(b)) / 5 for a, b in zip(exact, found, strict=True)]) > 0.85


def test_copies_for_other_processes_find_the_same():
    X = np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32)
    model = OrthantNeighbors().fit(X)
    again = OrthantNeighbors.__new__(OrthantNeighbors)
    state = model.__getstate__()
    assert "index_" not in state
    again.__setstate__(state)
    np.testing.assert_array_equal(again.kneighbors()[1], model.kneighbors()[1])


def test_bad_settings_are_refused():
    X = np.eye(3)
    for settings in ({"n_neighbors": 0}, {"mode": "both"}, {"metric": "dot"}, {"recall": 2.0}):
        with pytest.raises(InputError):
            OrthantNeighbors(**settings).fit(X)
    with pytest.raises(InputError, match="at most 2"):
        OrthantNeighbors(n_neighbors=3).fit(X).kneighbors()
    with pytest.raises(NotFittedError):
        OrthantNeighbors().transform(X)
