"""What a subspace projection takes out, and what classifiers can still tell."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.artifact import load_artifact
from orthant.errors import DimensionError, InputError
from orthant.transforms import SubspaceProjection, attribute_directions


def test_the_part_in_the_subspace_goes_and_the_rest_stays(tmp_path):
    rng = np.random.default_rng(0)
    directions, X = rng.standard_normal((3, 8)), rng.standard_normal((20, 8))
    made = SubspaceProjection.from_directions(np.concatenate([directions, directions[:1] * 2]))
    assert made.basis_.shape == (3, 8)
    out = made.transform(X)
    np.testing.assert_allclose(out @ directions.T, 0, atol=1e-5)
    np.testing.assert_allclose(made.transform(out), out, atol=1e-6)
    np.testing.assert_allclose(made.component(X) @ made.basis_, X - out, atol=1e-5)
    half = SubspaceProjection.from_directions(directions, strength=0.5)
    np.testing.assert_allclose(half.transform(X), (X + out) / 2, atol=1e-5)
    mask = np.arange(20) < 5
    np.testing.assert_array_equal(made.transform(X, mask=mask)[~mask], X[~mask].astype(np.float32))
    made.save(tmp_path / "p")
    np.testing.assert_array_equal(load_artifact(tmp_path / "p").transform(X), out)


def test_what_gives_no_direction_is_refused():
    with pytest.raises(InputError):
        SubspaceProjection().fit(np.zeros((0, 3)))
    with pytest.raises(InputError):
        SubspaceProjection.from_directions(np.zeros((4, 3)))
    assert SubspaceProjection(center=True).fit(np.ones((4, 3))).transform(np.eye(3)).tolist() == np.eye(3).tolist()
    with pytest.raises(DimensionError):
        SubspaceProjection().fit(np.eye(3)).transform(np.eye(3), mask=[True])
    with pytest.raises(InputError):
        attribute_directions(np.eye(3), [1, 1, 1])


def test_classifiers_find_nothing_where_several_directions_tell_an_attribute():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=600)
    X = rng.standard_normal((600, 10))
    X[:, :3] += np.where(labels, 1, -1)[:, None] * rng.exponential(1, (600, 3))

    def told(rows):
        return LogisticRegression().fit(rows[:400], labels[:400]).score(rows[400:], labels[400:])

    found = attribute_directions(X[:400], labels[:400])
    np.testing.assert_allclose(found @ found.T, np.eye(len(found)), atol=1e-5)
    out = SubspaceProjection.from_directions(found).transform(X)
    random = SubspaceProjection.from_directions(rng.standard_normal(found.shape)).transform(X)
    assert told(X) > 0.85 and told(out) < 0.6 and len(found) < 10 and told(random) > told(out) + 0.1
