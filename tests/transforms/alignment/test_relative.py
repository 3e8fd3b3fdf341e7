"""Relative representations: what they are blind to, what they are not, and which anchors they take."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import DimensionError, EncoderMismatchError, InputError
from orthant.transforms import RelativeRepresentation


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


X = normal(200, 16) + 0.3
TURN = np.linalg.qr(np.random.default_rng(5).standard_normal((16, 16)))[0]


def test_rotation_and_scale_leave_coordinates_alone_and_other_maps_do_not():
    shared = RelativeRepresentation(anchors=40).fit(X, 7 * X @ TURN)
    np.testing.assert_allclose(shared.transform(X), shared.transform_target(7 * X @ TURN), atol=1e-6)
    bent = X @ normal(16, 16, seed=8)
    other = RelativeRepresentation(anchors=40).fit(X, bent)
    assert np.abs(other.transform(X) - other.transform_target(bent)).max() > 0.1


def test_centring_forgives_an_offset():
    moved = X @ TURN + 4
    plain = RelativeRepresentation(anchors=40).fit(X, moved)
    centred = RelativeRepresentation(anchors=40, center=True).fit(X, moved)
    assert np.abs(centred.transform(X) - centred.transform_target(moved)).max() < 1e-4
    assert np.abs(plain.transform(X) - plain.transform_target(moved)).max() > 0.1


def test_coordinates_are_cosines_to_the_anchors():
    made = RelativeRepresentation(anchors=7, selection="first").fit(X)
    np.testing.assert_array_equal(made.anchor_rows_, np.arange(7))
    wanted = (X @ X[:7].T) / np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(X[:7], axis=1))
    np.testing.assert_allclose(made.transform(X), wanted, atol=1e-6)


@pytest.mark.parametrize("center", [False, True])
def test_back_in_the_target_space_it_is_a_map(center):
    new = 2 * X @ TURN + (3 if center else 0)
    fitted = RelativeRepresentation(anchors=100, space="target", center=center, ridge=1e-4).fit(X, new)
    mapped = fitted.transform(X)
    cosines = (mapped * new).sum(axis=1) / np.linalg.norm(mapped, axis=1) / np.linalg.norm(new, axis=1)
    # Lengths about the mean are lost, so an offset leaves some error.
    assert cosines.min() > (0.9 if center else 0.999)
    np.testing.assert_array_equal(fitted.transform_target(new), new.astype(np.float32))
    with pytest.raises(InputError, match="without target rows"):
        RelativeRepresentation(space="target").fit(X)


@pytest.mark.parametrize("selection", ["uniform", "spread", "medoids", "first"])
def test_anchors_are_distinct_rows(selection):
    made = RelativeRepresentation(anchors=30, selection=selection, seed=3).fit(X)
    assert len(set(made.anchor_rows_.tolist())) == 30
    assert made.n_features_out_ == made.transform(X).shape[1] == 30
    again = RelativeRepresentation(anchors=30, selection=selection, seed=3).fit(X)
    np.testing.assert_array_equal(made.anchor_rows_, again.anchor_rows_)


def test_spread_anchors_cover_clusters_that_even_draws_miss():
    rng = np.random.default_rng(0)
    centres = np.eye(10, dtype=np.float32)
    labels = np.concatenate([np.zeros(900, dtype=int), np.arange(1, 10)])
    rows = centres[labels] + 0.05 * rng.standard_normal((len(labels), 10)).astype(np.float32)
    covered = {
        how: len({int(labels[i]) for i in RelativeRepresentation(anchors=10, selection=how).fit(rows).anchor_rows_})
        for how in ("spread", "uniform")
    }
    assert covered["spread"] == 10 > covered["uniform"]


def test_bad_anchors_are_refused():
    with pytest.raises(InputError, match="anchors"):
        RelativeRepresentation(anchors=1).fit(X)
    with pytest.raises(InputError, match="anchors"):
        RelativeRepresentation(anchors=201).fit(X)
    with pytest.raises(DimensionError, match="200 source rows and 199"):
        RelativeRepresentation().fit(X, X[:199])
    with pytest.raises(InputError, match="source anchors with 1 zero row"):
        RelativeRepresentation(anchors=200).fit(np.concatenate([X[:199], np.zeros((1, 16), dtype=np.float32)]))
    one, other = (RelativeRepresentation(anchors=20, seed=seed).fit(X) for seed in (0, 1))
    one.check_anchors(RelativeRepresentation(anchors=20, seed=0).fit(X @ TURN))
    with pytest.raises(EncoderMismatchError, match="not the same items"):
        one.check_anchors(other)
