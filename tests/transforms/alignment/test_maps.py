"""Rotations and regressions between two spaces: exact where they can be, honest where they cannot."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.artifact import load_artifact
from orthant.errors import DimensionError, EncoderMismatchError, InputError, NonFiniteError
from orthant.measures import counterpart_ranks
from orthant.transforms import LowRankMap, MeanShift, Procrustes, RelativeRepresentation


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def rotation(dim: int, seed: int = 1) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]


def error(mapped: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(mapped - wanted) / np.linalg.norm(wanted))


def test_a_rotation_is_found_with_its_scale_and_offset():
    old, fresh = normal(300, 16), normal(50, 16, seed=9)
    turn = 3 * rotation(16)
    new = old @ turn + 5
    fitted = Procrustes(scale=True).fit(old, new)
    assert fitted.scale_ == pytest.approx(3, rel=1e-5)
    assert error(fitted.transform(fresh), fresh @ turn + 5) < 1e-4
    assert error(Procrustes().fit(old, new).transform(fresh), fresh @ turn + 5) > 0.1
    assert error(Procrustes(scale=True, center=False).fit(old, new).transform(fresh), fresh @ turn + 5) > 0.1
    orthogonal = Procrustes().fit(old, new).matrix_
    np.testing.assert_allclose(orthogonal @ orthogonal.T, np.eye(16), atol=1e-5)


def test_a_rotation_joins_spaces_of_two_widths():
    old = normal(200, 6)
    wide = old @ rotation(10)[:6]
    fitted = Procrustes().fit(old, wide)
    assert fitted.matrix_.shape == (6, 10) and error(fitted.transform(old), wide) < 1e-5
    back = Procrustes().fit(wide, old)
    assert back.transform(wide).shape == (200, 6) and error(back.transform(wide), old) < 1e-5


def test_whitening_undoes_what_a_rotation_cannot():
    old = normal(2000, 8)
    # The same directions, stretched differently on either side, in turned coordinates.
    new = (old * np.geomspace(10, 0.1, 8)) @ rotation(8)
    plain, whitened = Procrustes().fit(old, new), Procrustes(whiten=True).fit(old, new)
    assert error(whitened.transform(old), new) < 0.05 < 0.3 < error(plain.transform(old), new)


def test_regression_stretches_and_drops_what_the_target_lacks():
    old = normal(2000, 12)
    new = old[:, :3] @ normal(3, 7, seed=2)
    fitted = LowRankMap(ridge=0.0).fit(old, new)
    assert error(fitted.transform(old), new) < 1e-3
    assert error(Procrustes(scale=True).fit(old, new).transform(old), new) > 0.3


def test_the_rank_binds_and_keeps_the_best_directions():
    old = normal(3000, 10)
    new = old * np.array([8, 4, 2, 1, 0.5, 0.2, 0.1, 0.1, 0.1, 0.1], dtype=np.float32)
    fitted = LowRankMap(rank=2, ridge=0.0).fit(old, new)
    assert np.linalg.matrix_rank(fitted.matrix_, tol=1e-4) == 2 and fitted.rank_ == 2
    kept = fitted.transform(old)
    assert error(kept[:, :2], new[:, :2]) < 0.05 and np.abs(kept[:, 2:]).max() < 0.6
    with pytest.raises(InputError, match="at most 10"):
        LowRankMap(rank=11).fit(old, new)


def test_ridge_and_rank_are_chosen_on_held_out_pairs():
    rng = np.random.default_rng(3)
    matrix = normal(40, 5, seed=4) @ normal(5, 40, seed=5)
    old, fresh = normal(120, 40, seed=6), normal(400, 40, seed=7)
    noisy = (old @ matrix + 6 * rng.standard_normal((120, 40))).astype(np.float32)
    chosen, least_squares = LowRankMap().fit(old, noisy), LowRankMap(rank=40, ridge=0.0).fit(old, noisy)
    assert error(chosen.transform(fresh), fresh @ matrix) < 0.8 * error(least_squares.transform(fresh), fresh @ matrix)
    assert chosen.rank_ < 40 and chosen.ridge_ > 0 and 0 < chosen.held_out_cosine_ < 1
    assert least_squares.held_out_cosine_ == -1


def test_rows_leave_at_length_one_where_the_target_has_it():
    old = normal(200, 5)
    unit = old / np.linalg.norm(old, axis=1, keepdims=True)
    for make in (Procrustes, LowRankMap):
        np.testing.assert_allclose(np.linalg.norm(make().fit(old, unit).transform(old), axis=1), 1, atol=1e-5)
        assert not make().fit(unit, old).normalizes_
        assert not make(normalize=False).fit(old, unit).normalizes_


@pytest.mark.parametrize("make", [Procrustes, LowRankMap])
def test_pairs_that_are_none_are_refused(make):
    X = normal(10, 4)
    with pytest.raises(DimensionError, match="10 source rows and 9 target rows"):
        make().fit(X, X[:9])
    with pytest.raises(InputError, match="requires y"):
        make().fit(X)
    with pytest.raises(InputError, match="at least 2 pairs"):
        make().fit(X[:1], X[:1])
    bad = X.copy()
    bad[3, 2] = np.nan
    with pytest.raises(NonFiniteError, match="target vectors"):
        make().fit(X, bad)


def test_a_map_for_other_encoders_is_refused_and_its_fingerprints_are_saved(tmp_path):
    fitted = Procrustes(source="old", target="new").fit(normal(9, 3), normal(9, 3, seed=1))
    fitted.save(tmp_path / "map")
    back = load_artifact(tmp_path / "map")
    assert isinstance(back, Procrustes) and back.fingerprints == ("old", "new")
    back.check_fingerprints(source="old", target="new")
    back.check_fingerprints()
    with pytest.raises(EncoderMismatchError, match="'other'"):
        back.check_fingerprints(source="other")
    with pytest.raises(EncoderMismatchError, match="target"):
        back.check_fingerprints(source="old", target="old")
    Procrustes().check_fingerprints(source="anything")


def test_a_shift_brings_the_means_together_as_far_as_wanted():
    here, there = normal(50, 3), normal(80, 3, seed=1) + 4
    for strength in (0.0, 0.5, 1.0, -1.0):
        moved = MeanShift(strength=strength).fit(here, there).transform(here).mean(axis=0)
        wanted = here.mean(axis=0) + strength * (there.mean(axis=0) - here.mean(axis=0))
        np.testing.assert_allclose(moved, wanted, atol=1e-5)
    np.testing.assert_allclose(MeanShift().fit(here).transform(here).mean(axis=0), 0, atol=1e-6)
    both = MeanShift(unit="both").fit(here, there)
    np.testing.assert_allclose(np.linalg.norm(both.transform(here), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(both.transform(7 * here), both.transform(here), atol=1e-6)
    with pytest.raises(DimensionError, match="Procrustes"):
        MeanShift().fit(here, there[:, :2])
    with pytest.raises(InputError, match="strength"):
        MeanShift(strength=3).fit(here)


@pytest.fixture(scope="module")
def text_spaces(data_root):
    """4,000 short texts by the shipped word table and by MiniLM."""
    from orthant.datasets import load
    from orthant.encoders.registry import load_encoder

    found = load("minilm_short_texts")
    rows = np.random.default_rng(0).choice(len(found.base), 4000, replace=False)
    return load_encoder("static").encode([found.base_records[i]["text"] for i in rows]), found.base[rows]


@pytest.mark.parametrize(
    ("make", "least"),
    [(Procrustes, 0.98), (LowRankMap, 0.98), (lambda: RelativeRepresentation(space="target", center=True), 0.98)],
)
def test_w38_vectors_of_one_model_are_found_by_another_s(make, least, text_spaces):
    old, new = text_spaces
    mapped = make().fit(old[:300], new[:300]).transform(old[3000:])
    assert (1 / counterpart_ranks(new[3000:], mapped)).mean() > least
    shuffled = make().fit(old[:300], np.roll(new[:300], 1, axis=0)).transform(old[3000:])
    assert (1 / counterpart_ranks(new[3000:], shuffled)).mean() < 0.05
