from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from orthant.errors import InputError, NotFittedError
from orthant.transforms import LatentLabelShift
from orthant.transforms.label_shift.latent import _factorise

MIXES = np.array([[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.1, 0.1, 0.8], [0.4, 0.4, 0.2]]).T


def made(seed=0, n=250, mixes=MIXES, apart=4.0):
    """Three classes of two clusters each: no cluster is a class."""
    rng = np.random.default_rng(seed)
    source = np.repeat(np.arange(mixes.shape[1]), n)
    y = np.array([rng.choice(3, p=mixes[:, d]) for d in source])
    centres = apart * np.array([[0, 0], [3, 0], [1, 0], [2, 1], [2, 0], [0, 1]])
    X = centres[2 * y + rng.integers(2, size=len(y))] + 0.5 * rng.standard_normal((len(y), 2))
    return X.astype(np.float32), y, source


def matched(y, labels):
    return max(np.mean(np.take(order, labels) == y) for order in itertools.permutations(range(3)))


def model(**settings):
    return LatentLabelShift(3, discriminator=KNeighborsClassifier(40), **settings)


def test_classes_that_are_no_clusters_are_found_with_their_mixes():
    X, y, source = made()
    found = model().fit(X, source)
    order = max(itertools.permutations(range(3)), key=lambda o: np.mean(np.take(o, found.labels_) == y))
    assert np.mean(np.take(order, found.labels_) == y) > 0.85
    assert np.abs(found.class_prior_[np.argsort(order)] - MIXES).max() < 0.25
    np.testing.assert_allclose(found.class_prior_.sum(axis=0), 1)
    np.testing.assert_allclose(found.cluster_given_class_.sum(axis=0), 1)
    assert found.identifiability_report().warnings == ()


def test_new_items_are_classified_with_and_without_their_source():
    found = model().fit(*made()[::2])
    X, y, source = made(seed=1)
    known, unknown = found.predict(X, source), found.predict(X)
    assert matched(y, known) > 0.85 and matched(y, unknown) > 0.8
    with pytest.raises(InputError, match="unknown"):
        found.predict(X, source + 1)


def test_sizes_of_sources_do_not_bias_the_classes():
    X, y, source = made(n=400)
    kept = (source != 0) | (np.arange(len(y)) % 8 == 0)
    found = model().fit(X[kept], source[kept])
    assert matched(y[kept], found.labels_) > 0.87


def test_the_factors_of_an_exact_product_are_found():
    rng = np.random.default_rng(0)
    C = np.kron(np.eye(3), np.ones((4, 1))) * rng.uniform(0.5, 1, (12, 3))
    C /= C.sum(axis=0)
    found, mixes, error = _factorise(C @ MIXES, 3, 5, 0)
    order = [int((found.T @ C)[:, c].argmax()) for c in range(3)]
    assert sorted(order) == [0, 1, 2] and error < 0.02
    assert np.abs(found[:, order] - C).max() < 0.06 and np.abs(mixes[order] - MIXES).max() < 0.15


def test_mixes_that_hardly_differ_are_warned_of():
    even = 0.7 * np.ones((3, 4)) / 3 + 0.3 * MIXES
    X, _, source = made(mixes=even, n=200)
    with pytest.warns(UserWarning, match="told apart|nearly dependent"):
        found = LatentLabelShift(3, discriminator=KNeighborsClassifier(200), n_clusters=6).fit(X, source)
    assert found.identifiability_report().warnings


def test_sources_may_have_names():
    X, y, source = made()
    named = model().fit(X, np.array(["spring", "summer", "autumn", "winter"])[source])
    assert named.domains_.tolist() == ["autumn", "spring", "summer", "winter"] and matched(y, named.labels_) > 0.85


@pytest.mark.parametrize(
    ("settings", "change", "told"),
    [
        ({"n_classes": 5}, None, "4 sources for 5 classes"),
        ({"n_classes": 1}, None, "n_classes=1"),
        ({"n_classes": 3, "n_clusters": 2}, None, "n_clusters=2"),
        ({"n_classes": 3, "folds": 1}, None, "folds=1"),
        ({"n_classes": 3}, "few", "19 items of source 3"),
        ({"n_classes": 3}, "shuffled", "log-loss"),
        ({"n_classes": 3}, "short", "one each"),
    ],
)
def test_what_cannot_be_is_refused(settings, change, told):
    X, _, source = made()
    if change == "few":
        kept = np.flatnonzero((source < 3) | (np.cumsum(source == 3) <= 19))
        X, source = X[kept], source[kept]
    elif change == "shuffled":
        source = np.random.default_rng(0).permutation(source)
    elif change == "short":
        source = source[:-1]
    with pytest.raises(InputError, match=told):
        LatentLabelShift(**settings, discriminator=KNeighborsClassifier(5)).fit(X, source)


def test_a_report_needs_a_fit():
    with pytest.raises(NotFittedError):
        LatentLabelShift(3, discriminator=LogisticRegression()).identifiability_report()
