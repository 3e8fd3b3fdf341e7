from __future__ import annotations

import warnings

import numpy as np
import pytest

from conformance.reference import naive_scores
from orthant.errors import DimensionError, InputError, NonFiniteError
from orthant.quantization import ProductQuantizer, ResidualQuantizer
from orthant.quantization.rotation import balanced_directions
from quantization.vectors import generated, nearest, overlap, real, real_queries


def distortion(quantizer, X: np.ndarray) -> float:
    return float(((X - quantizer.decode(quantizer.encode(X))).astype(np.float64) ** 2).sum(axis=1).mean())


@pytest.fixture(scope="module")
def X(data_root) -> np.ndarray:
    return real(data_root, 2500)[:, :48].copy()


@pytest.fixture(scope="module")
def plain(X) -> ProductQuantizer:
    return ProductQuantizer(m=12).fit(X)


@pytest.fixture(scope="module")
def turned(X) -> ProductQuantizer:
    return ProductQuantizer(m=12, rotation="opq", bits=4).fit(X)


def codes_in_float64(quantizer: ProductQuantizer, X: np.ndarray) -> np.ndarray:
    Y = X.astype(np.float64)
    if quantizer.rotation_ is not None:
        Y = ((Y - quantizer.mean_) @ quantizer.rotation_.astype(np.float64)).astype(np.float32).astype(np.float64)
    parts = Y.reshape(len(X), len(quantizer.codebooks_), -1)
    books = quantizer.codebooks_.astype(np.float64)
    return np.stack([((parts[:, j, None] - books[j]) ** 2).sum(2).argmin(1) for j in range(len(books))], axis=1)


def test_codes_are_the_nearest_centroids(X, plain, turned):
    np.testing.assert_array_equal(plain.encode(X[:500]), codes_in_float64(plain, X[:500]))
    wanted = codes_in_float64(turned, X[:500])
    np.testing.assert_array_equal(turned.encode(X[:500]), wanted[:, :6] | wanted[:, 6:] << 4)
    assert (plain.code_size, turned.code_size) == (12, 6)


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
def test_scores_are_those_of_float64(X, plain, turned, metric, data_root):
    Q = real_queries(data_root, 20)[:, :48].copy()
    for quantizer in (plain, turned):
        codes = quantizer.encode(X[:800])
        wanted = naive_scores(Q, quantizer.decode(codes).astype(np.float64), metric)
        np.testing.assert_allclose(quantizer.score(Q, codes, metric=metric), wanted, rtol=1e-5, atol=2e-6)


def test_distortion_is_that_of_training(X, plain, turned):
    assert plain.distortion_ == pytest.approx(distortion(plain, X), rel=1e-5)
    # 4 bits are fitted on 256 rows for each of 16 codes: not on all that is there.
    assert turned.distortion_ == pytest.approx(distortion(turned, X), rel=0.03)


def test_rotation_is_orthonormal_and_pays(X, turned):
    np.testing.assert_allclose(turned.rotation_.T @ turned.rotation_, np.eye(48), atol=1e-5)
    skewed = (X * np.linspace(2, 0.1, 48)).astype(np.float32)
    straight = distortion(ProductQuantizer(m=12, bits=4).fit(skewed), skewed)
    assert distortion(ProductQuantizer(m=12, bits=4, rotation="opq").fit(skewed), skewed) < 0.9 * straight


def test_balanced_directions_share_the_variance():
    energies = np.geomspace(100, 0.01, 16)
    found = balanced_directions(np.diag(energies), 4)
    np.testing.assert_allclose(found.T @ found, np.eye(16), atol=1e-12)
    products = np.log((found.T**2 @ energies).reshape(4, 4)).sum(axis=1)
    assert np.ptp(products) < 0.5 < np.ptp(np.log(energies).reshape(4, 4).sum(axis=1))


@pytest.mark.parametrize(("bits", "rotation"), [pytest.param(8, None, marks=pytest.mark.slow), (4, None), (4, "opq")])
def test_distortion_is_within_a_few_percent_of_faiss(X, bits, rotation):
    faiss = pytest.importorskip("faiss")
    ours = distortion(ProductQuantizer(m=12, bits=bits, rotation=rotation).fit(X), X)
    Y = X
    if rotation:
        matrix = faiss.OPQMatrix(48, 12)
        inner = faiss.ProductQuantizer(48, 12, bits)
        inner.cp.min_points_per_centroid = 1
        matrix.pq, matrix.niter, matrix.max_train_points = inner, 12, len(X)
        matrix.train(X)
        Y = matrix.apply_py(X)
    peer = faiss.ProductQuantizer(48, 12, bits)
    peer.cp.min_points_per_centroid = 1
    peer.train(Y)
    theirs = float(((Y - peer.decode(peer.compute_codes(Y))) ** 2).sum(axis=1).mean())
    assert ours <= 1.02 * theirs


def test_more_bytes_find_more_neighbours(X, data_root):
    Q = real_queries(data_root, 100)[:, :48].copy()
    truth = nearest(naive_scores(Q, X, "dot"))
    found = []
    for m in (4, 12, 24):
        quantizer = ProductQuantizer(m=m, bits=4).fit(X)
        found.append(overlap(nearest(quantizer.score(Q, quantizer.encode(X), metric="dot")), truth))
    assert found[0] + 0.1 < found[1] < found[2] - 0.1


def test_w76_fit_reports_usage_and_warns_of_dead_codes():
    X = generated(3000, 32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        usage = ProductQuantizer(m=4, bits=4).fit(X).usage_
    assert usage.counts.shape == (4, 16) and (usage.counts.sum(axis=1) == 3000).all()
    assert (usage.dead_share == 0).all() and (usage.perplexity > 4).all()
    lonely = np.repeat(X[:20], 100, axis=0)
    with pytest.warns(UserWarning, match=r"4 of 4 codebooks use less than 50% of their 256 codes.*92% dead"):
        usage = ProductQuantizer(m=4).fit(lonely).usage_
    np.testing.assert_allclose(usage.used_share, 20 / 256)
    np.testing.assert_allclose(usage.perplexity, 20, rtol=1e-9)


def test_fewer_rows_than_codes_keep_every_row():
    X = generated(100, 12)
    with pytest.warns(UserWarning, match="fit on more rows"):
        quantizer = ProductQuantizer(m=3).fit(X)
    np.testing.assert_array_equal(quantizer.decode(quantizer.encode(X)), X)
    assert quantizer.distortion_ == 0


@pytest.mark.filterwarnings("ignore:.*codebooks use less")
def test_constant_data():
    X = np.full((60, 8), 3.0, np.float32)
    for rotation in (None, "opq"):
        quantizer = ProductQuantizer(m=2, rotation=rotation).fit(X)
        np.testing.assert_allclose(quantizer.decode(quantizer.encode(X)), X, rtol=1e-6)


def test_refusals(plain):
    X = generated(50, 12)
    for settings, words in (
        ({"m": 5}, "divisor of it: 1, 2, 3, 4, 6, 12"),
        ({"m": 0}, "m=0"),
        ({"m": 2, "bits": 7}, "4, 8 or 16"),
        ({"m": 2, "rotation": "pca"}, "opq"),
        ({"m": 2, "iterations": 0}, "iterations"),
        ({"m": 2, "seed": -1}, "seed"),
    ):
        with pytest.raises(InputError, match=words):
            ProductQuantizer(**settings).fit(X)
    with pytest.raises(NonFiniteError):
        ProductQuantizer(m=2).fit(np.where(np.arange(12) == 3, np.nan, X))
    other = ResidualQuantizer(levels=4, bits=4).fit(X)
    with pytest.raises(DimensionError, match=r"\(n, 12\)"):
        plain.decode(other.encode(X))


def test_codebooks_from_elsewhere():
    rng = np.random.default_rng(0)
    books, keys = rng.standard_normal((2, 3, 10, 4)).astype(np.float32)
    rotation = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    X = rng.standard_normal((30, 12)).astype(np.float32)
    quantizer = ProductQuantizer.from_codebooks(books, rotation=rotation, mean=np.ones(12), keys=keys)
    assert (quantizer.bits, quantizer.m, quantizer.code_size) == (4, 3, 2) and np.isnan(quantizer.distortion_)
    parts = ((X - 1.0) @ rotation).reshape(30, 3, 4)
    wanted = ((parts[:, :, None] - keys) ** 2).sum(axis=3).argmin(axis=2)
    decoded = books[np.arange(3), wanted].reshape(30, 12) @ rotation.T + 1
    np.testing.assert_allclose(quantizer.decode(quantizer.encode(X)), decoded, rtol=1e-4, atol=1e-5)
    wide = ProductQuantizer.from_codebooks(rng.standard_normal((2, 300, 6)))
    assert wide.bits == 16 and wide.code_size == 4
    scores = wide.score(X, wide.encode(X), metric="l2")
    np.testing.assert_allclose(scores, naive_scores(X, wide.decode(wide.encode(X)), "l2"), rtol=1e-4, atol=1e-4)
    beyond = np.full((1, 2), 0xFF, np.uint8)
    for call in (quantizer.decode, lambda codes: quantizer.score(X, codes, metric="dot")):
        with pytest.raises(InputError, match="code 15; expected codes below 10"):
            call(beyond)
    for wrong in (
        {"codebooks": books[0]},
        {"codebooks": books, "keys": keys[:, :5]},
        {"codebooks": books, "rotation": rotation * 2},
        {"codebooks": books, "rotation": rotation[:3]},
        {"codebooks": books, "mean": np.ones(12)},
        {"codebooks": books * np.nan},
    ):
        with pytest.raises(InputError):
            ProductQuantizer.from_codebooks(**wrong)


def test_saved_keys_and_usage_come_back(tmp_path):
    rng = np.random.default_rng(0)
    books, keys = rng.standard_normal((2, 3, 10, 4)).astype(np.float32)
    quantizer = ProductQuantizer.from_codebooks(books, keys=keys)
    quantizer.save(tmp_path / "a")
    back = ProductQuantizer.load(tmp_path / "a")
    np.testing.assert_array_equal(back.keys_, keys)
    assert back.usage_ is None and np.isnan(back.distortion_)
    fitted = ProductQuantizer(m=4, bits=4, rotation="opq").fit(generated(500, 16))
    fitted.save(tmp_path / "b")
    back = ProductQuantizer.load(tmp_path / "b")
    np.testing.assert_array_equal(back.usage_.counts, fitted.usage_.counts)
    assert back.distortion_ == fitted.distortion_
