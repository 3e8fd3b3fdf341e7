from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.transforms import LeanVec, Reduction, leanvec_loss
from quantization.vectors import nearest, overlap, real, real_queries


def data(n: int = 400, dim: int = 20, offset: float = 0.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) * np.geomspace(3, 0.1, dim) + offset).astype(np.float32)


def frobenius(A, B, X, Q) -> float:
    """The definition, from the vectors themselves."""
    return float(((Q @ A.T @ B @ X.T - Q @ X.T) ** 2).sum()) / (len(X) * len(Q))


@pytest.mark.parametrize("orthonormal", [True, False])
def test_the_loss_equals_the_frobenius_definition(orthonormal):
    rng = np.random.default_rng(0)
    X, Q = data().astype(np.float64), data(150, seed=1).astype(np.float64)[:, ::-1]
    for dim in (1, 7, 20):
        A, B = rng.standard_normal((2, dim, 20))
        if orthonormal:
            A, B = (np.linalg.qr(part.T)[0].T for part in (A, B))
        found = leanvec_loss(A, B, X.T @ X / len(X), Q.T @ Q / len(Q))
        assert found == pytest.approx(frobenius(A, B, X, Q), rel=1e-9)


def test_in_distribution_projections():
    X = data(offset=0.5)
    made = LeanVec(dim=6).fit(X)
    np.testing.assert_array_equal(made.components_x_, made.components_q_)
    np.testing.assert_allclose(made.components_x_ @ made.components_x_.T, np.eye(6), atol=1e-6)
    np.testing.assert_array_equal(made.components_x_, Reduction(dim=6, center=False).fit(X).components_)
    wide = X.astype(np.float64)
    wanted = frobenius(made.components_x_, made.components_x_, wide, wide) / frobenius(
        0 * made.components_x_[:1], 0 * made.components_x_[:1], wide, wide
    )
    assert made.loss_ == pytest.approx(wanted, rel=1e-3)
    best = made.loss_
    rng = np.random.default_rng(2)
    k = wide.T @ wide / len(X)
    for _ in range(20):
        other = np.linalg.qr(made.components_x_.T + 0.3 * rng.standard_normal((20, 6)))[0].T
        assert leanvec_loss(other, other, k, k) / (k**2).sum() > best


def test_the_loss_is_that_of_the_queries_given():
    X, Q = data(), data(200, seed=3)[:, ::-1].copy()
    made = LeanVec(dim=6).fit(X, queries=Q)
    a = made.components_q_.astype(np.float64)
    assert made.loss_ == pytest.approx(frobenius(a, a, X, Q) / float(((Q @ X.T) ** 2).mean()), rel=1e-3)
    assert made.loss_ > 5 * LeanVec(dim=6).fit(X).loss_
    np.testing.assert_array_equal(made.components_x_, LeanVec(dim=6).fit(X).components_x_)


def test_the_loss_about_the_mean():
    X, Q = data(offset=1.0), data(200, seed=3, offset=1.0)[:, ::-1].copy()
    for metric in ("dot", "l2"):
        made = LeanVec(dim=6, metric=metric, center=True).fit(X, queries=Q)
        a = made.components_q_.astype(np.float64)
        x, q = X - made.mean_, Q - made.mean_ if metric == "l2" else Q
        assert made.loss_ == pytest.approx(frobenius(a, a, x, q) / float(((q @ x.T) ** 2).mean()), rel=1e-3)


def test_full_dimension_keeps_every_score():
    X, Q = data(offset=1.0), data(5, seed=4)
    for metric in ("dot", "cosine", "l2"):
        for center in (False, True):
            made = LeanVec(dim=20, metric=metric, center=center).fit(X)
            x, q = made.transform(X).astype(float), made.transform_queries(Q).astype(float)
            if metric == "l2":
                np.testing.assert_allclose(
                    ((q[:, None] - x) ** 2).sum(2), ((Q[:, None].astype(float) - X) ** 2).sum(2), rtol=1e-3, atol=1e-4
                )
                assert not made.query_offsets(Q).any()
                continue
            a, b = X.astype(float), Q.astype(float)
            if metric == "cosine":
                a, b = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (a, b))
            np.testing.assert_allclose(q @ x.T + made.query_offsets(Q)[:, None], b @ a.T, atol=1e-4)
            assert made.query_offsets(Q).any() == center
            assert made.loss_ == pytest.approx(0, abs=1e-9)


def test_centring_queries_for_dot_products_would_change_the_order():
    """Only the database side is centred: subtracting the mean from queries too would add a term that depends on x."""
    X, Q = data(offset=2.0), data(30, seed=5, offset=2.0)
    made = LeanVec(dim=20, center=True).fit(X)
    truth = nearest(Q @ X.T)
    assert overlap(nearest(made.transform_queries(Q) @ made.transform(X).T), truth) > 0.999
    wrong = (Q - made.mean_) @ made.components_q_.T
    assert overlap(nearest(wrong @ made.transform(X).T), truth) < 0.9


def test_partial_fit_equals_one_fit(tmp_path):
    X, Q = data(offset=1.0), data(80, seed=6)
    for metric in ("dot", "l2"):
        settings = {"dim": 5, "metric": metric, "center": True}
        whole, parts = LeanVec(**settings).fit(X, queries=Q), LeanVec(**settings)
        parts.partial_fit(X[:100], queries=Q[:10])
        parts.partial_fit(X[100:], queries=Q[10:])
        np.testing.assert_allclose(parts.components_x_, whole.components_x_, atol=1e-5)
        assert parts.loss_ == pytest.approx(whole.loss_, rel=1e-6)
    whole.save(tmp_path / "saved")
    back = LeanVec.load(tmp_path / "saved")
    assert back.loss_ == whole.loss_ and back.dim_ == 5
    np.testing.assert_array_equal(back.transform_queries(Q), whole.transform_queries(Q))
    with pytest.raises(InputError, match="loaded"):
        back.partial_fit(X)
    with pytest.raises(InputError, match="without dim"):
        LeanVec().partial_fit(X)


def shifted_pair(n: int, m: int, dim: int, shift: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows with one spectrum in one eigenbasis; that of the queries is rotated by some positions."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    spread = np.arange(1, dim + 1) ** -0.5
    X = (rng.standard_normal((n, dim)) * spread) @ basis.T
    Q = (rng.standard_normal((m, dim)) * np.roll(spread, shift)) @ basis.T
    return X.astype(np.float32), Q.astype(np.float32)


MODES = ("es", "fw", "es+fw")


def test_learning_from_queries_finds_candidates_that_the_data_alone_do_not():
    X, Q = shifted_pair(3000, 1500, 96, shift=24)
    learned, held = Q[:1200], Q[1200:]
    truth = nearest(held @ X.T)
    kept, loss = {}, {}
    for mode in ("id", *MODES):
        made = LeanVec(dim=24, mode=mode).fit(X, queries=learned)
        kept[mode] = overlap_of_candidates(nearest(made.transform_queries(held) @ made.transform(X).T, 50), truth)
        loss[mode] = made.loss_
    assert min(kept[mode] for mode in MODES) >= kept["id"] + 0.25
    assert loss["es+fw"] <= loss["es"] * 1.001 and loss["fw"] < 0.6 * loss["id"]
    # The switch: the data in place of the queries.
    ablated = LeanVec(dim=24, mode="es+fw").fit(X, queries=X[:1200])
    found = nearest(ablated.transform_queries(held) @ ablated.transform(X).T, 50)
    assert overlap_of_candidates(found, truth) <= kept["id"] + 0.05


def test_queries_like_the_data_change_little():
    X, Q = shifted_pair(3000, 1500, 96, shift=0)
    truth = nearest(Q[1200:] @ X.T)
    kept = []
    for mode in ("id", *MODES):
        made = LeanVec(dim=24, mode=mode).fit(X, queries=Q[:1200])
        kept.append(overlap_of_candidates(nearest(made.transform_queries(Q[1200:]) @ made.transform(X).T, 50), truth))
    assert max(kept) - min(kept) <= 0.03


def test_eigen_search_is_never_worse_than_the_data_and_finds_the_best_mixture():
    X, Q = shifted_pair(2000, 800, 40, shift=10)
    k_x, k_q = (part.T.astype(float) @ part / len(part) for part in (X, Q))
    made = LeanVec(dim=10, mode="es").fit(X, queries=Q)
    np.testing.assert_array_equal(made.components_x_, made.components_q_)
    np.testing.assert_allclose(made.components_x_ @ made.components_x_.T, np.eye(10), atol=1e-6)
    assert 0 < made.beta_ < 1
    x, q = k_x / np.trace(k_x), k_q / np.trace(k_q)
    losses = []
    for beta in np.linspace(0, 1, 101):
        kept = np.linalg.eigh((1 - beta) * x + beta * q)[1][:, ::-1][:, :10].T
        losses.append(leanvec_loss(kept, kept, k_x, k_q) / (k_x * k_q).sum())
    assert made.loss_ <= min(losses) * 1.01
    # Neither unit changes the mixture.
    scaled = LeanVec(dim=10, mode="es").fit(X, queries=50 * Q)
    np.testing.assert_allclose(scaled.components_x_, made.components_x_, atol=1e-5)


def test_frank_wolfe_descends_within_the_hull_and_notes_its_way():
    X, Q = shifted_pair(2000, 800, 40, shift=10)
    made = LeanVec(dim=10, mode="fw").fit(X, queries=Q)
    for part in (made.components_x_, made.components_q_):
        assert np.linalg.norm(part, 2) <= 1 + 1e-5
    assert np.abs(made.components_x_ - made.components_q_).max() > 0.01
    assert made.loss_curve_[0] == pytest.approx(LeanVec(dim=10).fit(X, queries=Q).loss_, rel=1e-3)
    assert made.loss_ == pytest.approx(made.loss_curve_.min(), rel=1e-3)
    assert made.beta_ is None and LeanVec(dim=10, mode="es+fw").fit(X, queries=Q).beta_ is not None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("metric", ["dot", "cosine"])
def test_learned_projections_in_parts_and_saved(mode, metric, tmp_path):
    X, Q = data(offset=1.0), data(80, seed=6)[:, ::-1].copy()
    settings = {"dim": 5, "mode": mode, "metric": metric, "center": True}
    whole, parts = LeanVec(**settings).fit(X, queries=Q), LeanVec(**settings)
    parts.partial_fit(X[:100], queries=Q[:10])
    parts.partial_fit(X[100:], queries=Q[10:])
    # Whether a step is the last may hang on rounding.
    assert parts.loss_ == pytest.approx(whole.loss_, rel=2e-2)
    whole.save(tmp_path / "saved")
    back = LeanVec.load(tmp_path / "saved")
    np.testing.assert_array_equal(back.transform_queries(Q), whole.transform_queries(Q))
    np.testing.assert_array_equal(back.loss_curve_, whole.loss_curve_)
    assert back.mode == mode and back.beta_ == whole.beta_
    full = LeanVec(**settings | {"dim": 20}).fit(X, queries=Q)
    seen = full.transform_queries(Q) @ full.transform(X).T
    a, b = (part / np.linalg.norm(part, axis=1, keepdims=True) if metric == "cosine" else part for part in (X, Q))
    np.testing.assert_allclose(seen + full.query_offsets(Q)[:, None], b @ a.T, atol=2e-2 * np.abs(b @ a.T).max())


def test_refusals():
    X = data()
    for mode in ("es", "fw", "es+fw"):
        with pytest.raises(InputError, match="without queries"):
            LeanVec(dim=3, mode=mode).fit(X)
        with pytest.raises(InputError, match="without queries"):
            LeanVec(dim=3, mode=mode).partial_fit(X)
        if mode != "es":
            with pytest.raises(InputError, match="one projection for both sides"):
                LeanVec(dim=3, mode=mode, metric="l2").fit(X, queries=X)
    for wrong in ({"mode": "pca"}, {"metric": "ip"}, {"dim": 21}, {"dim": 0}, {"center": "no"}):
        with pytest.raises(InputError):
            LeanVec(**({"dim": 3} | wrong)).fit(X)
    with pytest.raises(InputError):
        LeanVec(dim=3).fit(X, queries=X[:, :4])
    with pytest.raises(InputError, match="zero"):
        LeanVec(dim=3, metric="cosine").fit(np.zeros((5, 8)))
    with pytest.warns(UserWarning, match="only 2 dimensions"):
        LeanVec(dim=4).fit((X[:, :2] @ data(2, 20, seed=9)).astype(np.float32))


def test_reduced_codes_find_candidates_on_real_vectors(data_root):
    """The ceiling of a search that re-ranks 50: dimension 160 keeps nearly all, 64 does not."""
    X, Q = real(data_root, 5000), real_queries(data_root)
    truth = nearest(Q @ X.T)
    kept = {}
    for dim in (64, 160):
        made = LeanVec(dim=dim).fit(X)
        kept[dim] = overlap_of_candidates(nearest(made.transform_queries(Q) @ made.transform(X).T, 50), truth)
    assert kept[160] >= 0.99 and kept[64] < 0.97


def overlap_of_candidates(found, truth) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]))
