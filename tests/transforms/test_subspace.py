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


def test_each_direction_has_its_own_share_and_lengths_can_be_kept(tmp_path):
    rng = np.random.default_rng(1)
    directions = np.array([[3.0, 0, 0, 0], [0, 1.0, 0, 0]])
    X = rng.standard_normal((5, 4)).astype(np.float32)
    made = SubspaceProjection.from_directions(directions, strength=[1.0, 0.25])
    np.testing.assert_allclose(made.transform(X), X * [0, 0.75, 1, 1], atol=1e-6)
    kept = SubspaceProjection.from_directions(directions, preserve_norm=True)
    out = kept.transform(np.concatenate([X, directions[:1]]))
    np.testing.assert_allclose(np.linalg.norm(out[:5], axis=1), np.linalg.norm(X, axis=1), rtol=1e-5)
    np.testing.assert_allclose(out[:, :2], 0, atol=1e-5)
    assert not out[5].any()
    made.save(tmp_path / "shares")
    np.testing.assert_array_equal(load_artifact(tmp_path / "shares").transform(X), made.transform(X))
    with pytest.raises(InputError):
        SubspaceProjection.from_directions(directions, strength=[1.0])


def test_batches_of_token_vectors_are_projected_like_rows():
    rng = np.random.default_rng(2)
    E, mask = rng.standard_normal((2, 5, 6)), np.arange(10).reshape(2, 5) % 5 > 0
    made = SubspaceProjection.from_directions(rng.standard_normal((2, 6)), strength=[1.0, 0.5])
    out = made.project_tokens(E, mask=mask)
    np.testing.assert_allclose(out.reshape(10, 6), made.transform(E.reshape(10, 6), mask=mask.ravel()), atol=1e-6)
    np.testing.assert_array_equal(out[:, 0], E[:, 0].astype(np.float32))
    with pytest.raises(DimensionError):
        made.project_tokens(E[..., :4])
    with pytest.raises(DimensionError):
        made.project_tokens(E, mask=mask[:1])


def test_what_gives_no_direction_is_refused():
    with pytest.raises(InputError):
        SubspaceProjection().fit(np.zeros((0, 3)))
    with pytest.raises(InputError):
        SubspaceProjection.from_directions(np.zeros((4, 3)))
    # All directions taken out would leave zeros, whose cosines are undefined.
    with pytest.raises(InputError, match="span all 3 dimensions"):
        SubspaceProjection.from_directions(np.eye(3))
    with pytest.raises(InputError, match="nothing would be left"):
        SubspaceProjection(rank=3).fit(np.eye(3))
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
