from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.transforms import Reduction
from orthant.transforms.moments import SecondMoments, leading_directions


def data(n: int = 600, dim: int = 24, offset: float = 3.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, dim)) * np.geomspace(4, 0.1, dim)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    return (X @ turn + offset).astype(np.float32)


@pytest.mark.parametrize("centred", [True, False])
def test_moments_in_batches_are_those_of_all_rows(centred):
    X = data()
    moments = SecondMoments(24)
    for part in (X[:1], X[1:1], X[1:400], X[400:]):
        moments.update(part)
    wide = X.astype(np.float64) - (X.mean(axis=0, dtype=np.float64) if centred else 0)
    np.testing.assert_allclose(moments.matrix(centred=centred), wide.T @ wide / len(X), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(moments.mean, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    assert moments.count == 600


def test_a_large_offset_does_not_swallow_the_spread():
    X = data(offset=0).astype(np.float64)
    far = (np.round(X * 64) / 64 + 4096).astype(np.float32)
    moments = SecondMoments(24)
    moments.update(far)
    wide = far.astype(np.float64) - far.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(moments.matrix(centred=True), wide.T @ wide / len(X), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("center", [True, False])
def test_directions_are_those_of_the_singular_value_decomposition(center):
    X = data()
    made = Reduction(dim=5, center=center).fit(X)
    wide = X.astype(np.float64) - (X.mean(axis=0, dtype=np.float64) if center else 0)
    _, values, rows = np.linalg.svd(wide, full_matrices=False)
    np.testing.assert_allclose(np.abs(made.components_ @ rows[:5].T), np.eye(5), atol=1e-5)
    np.testing.assert_allclose(made.components_ @ made.components_.T, np.eye(5), atol=1e-6)
    np.testing.assert_allclose(made.explained_energy_, values[:5] ** 2 / (values**2).sum(), rtol=1e-6)
    np.testing.assert_allclose(made.transform(X), wide @ made.components_.T, atol=1e-4)
    residual = ((X - made.inverse_transform(made.transform(X))) ** 2).sum()
    assert residual == pytest.approx((values[5:] ** 2).sum(), rel=1e-4)
    assert made.mean_.any() == center


def test_centring_matters_for_what_is_explained():
    X = data(offset=50.0)
    assert Reduction(dim=1, center=False).fit(X).explained_energy_[0] > 0.99
    assert Reduction(dim=1).fit(X).explained_energy_[0] < 0.6


def test_partial_fit_equals_one_fit(tmp_path):
    X = data()
    whole, parts = Reduction(dim=4).fit(X), Reduction(dim=4)
    for start in range(0, 600, 150):
        assert parts.partial_fit(X[start : start + 150]) is parts
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-6)
    np.testing.assert_allclose(parts.explained_energy_, whole.explained_energy_, rtol=1e-9)
    with pytest.raises(InputError, match="without dim"):
        Reduction().partial_fit(X)
    with pytest.raises(InputError):
        parts.partial_fit(X[:, :5])
    whole.save(tmp_path / "saved")
    with pytest.raises(InputError, match="loaded"):
        Reduction.load(tmp_path / "saved").partial_fit(X)


def test_signs_do_not_depend_on_the_solver():
    directions, energies = leading_directions(np.diag([1.0, 3.0, 2.0]))
    np.testing.assert_array_equal(directions, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    assert energies.tolist() == [3, 2, 1]
    X = data().astype(np.float64)
    rows, _ = leading_directions(X.T @ X)
    assert (np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1) > 0).all()


def test_dim_beyond_the_data_is_refused_and_beyond_the_rank_warned():
    X = data()
    with pytest.raises(InputError, match="at most 24"):
        Reduction(dim=25).fit(X)
    for bad in (0, 2.5, True, "3"):
        with pytest.raises(InputError):
            Reduction(dim=bad).fit(X)
    flat = (X[:, :3] @ np.random.default_rng(1).standard_normal((3, 24))).astype(np.float32)
    with pytest.warns(UserWarning, match="only 3 dimensions"):
        Reduction(dim=6, center=False).fit(flat)
    with pytest.raises(InputError, match="queries beside"):
        Reduction(dim=3).fit(X, queries=X)
