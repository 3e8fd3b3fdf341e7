from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from orthant.errors import DimensionError, InputError, NotFittedError

torch = pytest.importorskip("torch")

from orthant.learn.continual import FixedPrototypeClassifier  # noqa: E402
from orthant.learn.continual.classifier import make_prototypes  # noqa: E402


def blobs(classes=12, each=30, d=16, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(classes), each)
    centres = 3 * np.random.default_rng(9).standard_normal((classes, d))
    return (centres[y] + rng.standard_normal((len(y), d))).astype(np.float32), np.array([f"c{i:02}" for i in y])


@pytest.fixture(scope="module")
def fitted():
    return FixedPrototypeClassifier(dim=6, hidden=(32,), epochs=25, learning_rate=5e-3).fit(*blobs())


def test_twelve_classes_are_told_apart_in_six_dimensions(fitted):
    X, y = blobs(seed=1)
    assert fitted.score(X, y) > 0.9 and fitted.transform(X).shape == (360, 6)
    shares = fitted.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(fitted.transform(X), axis=1), 1, atol=1e-5)
    assert fitted.predict(X).tolist() == fitted.classes_[shares.argmax(axis=1)].tolist()


def test_the_directions_stay_as_they_were_made(fitted):
    wanted = make_prototypes("auto", 12, 6, None, seed=0)
    np.testing.assert_allclose(fitted.prototypes_, wanted, atol=1e-6)
    moved = FixedPrototypeClassifier(dim=6, hidden=(8,), epochs=3, trained=True).fit(*blobs())
    assert np.abs(moved.prototypes_ - wanted).max() > 0.01


def test_collapsed_directions_give_chance_and_shuffled_ones_do_not_matter():
    X, y = blobs()
    table = make_prototypes("auto", 12, 6, None, seed=0)
    settings = {"hidden": (32,), "epochs": 15, "learning_rate": 5e-3}
    same = FixedPrototypeClassifier(prototypes=np.ones((12, 6)), **settings).fit(X, y)
    assert same.score(X, y) < 0.2
    assert FixedPrototypeClassifier(prototypes=table[::-1], **settings).fit(X, y).score(X, y) > 0.9


def test_the_same_seed_gives_the_same_model():
    X, y = blobs(classes=3)
    first, second = (FixedPrototypeClassifier(hidden=(8,), epochs=2).fit(X, y).transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_it_is_saved_and_served_without_its_training(fitted, tmp_path):
    X, _ = blobs(seed=2)
    fitted.save(tmp_path / "model")
    loaded = FixedPrototypeClassifier.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict_proba(X), fitted.predict_proba(X), atol=1e-6)
    assert loaded.predict(X).tolist() == fitted.predict(X).tolist()


def test_kinds_of_directions():
    simplex = make_prototypes("auto", 6, None, None, seed=0)
    np.testing.assert_allclose((simplex @ simplex.T)[0, 1:], -0.2, atol=1e-6)
    tight = make_prototypes("equiangular", 150, 12, None, seed=0)
    loose = make_prototypes("random", 150, 12, None, seed=0)
    worst = [np.abs(rows @ rows.T - np.eye(150)).max() for rows in (tight, loose)]
    assert worst[0] < 0.65 < worst[1]


def test_what_does_not_fit_is_refused():
    X, y = blobs(classes=3)
    with pytest.raises(NotFittedError):
        FixedPrototypeClassifier().predict(X)
    with pytest.raises(InputError, match="3 classes for 2"):
        FixedPrototypeClassifier(n_prototypes=2).fit(X, y)
    with pytest.raises(InputError, match="1 class"):
        FixedPrototypeClassifier().fit(X, np.zeros(len(X)))
    with pytest.raises(DimensionError, match="one each"):
        FixedPrototypeClassifier().fit(X, y[:4])
    with pytest.raises(InputError, match="prototypes='corner'"):
        FixedPrototypeClassifier(prototypes="corner").fit(X, y)
    assert clone(FixedPrototypeClassifier(dim=4)).dim == 4
