from __future__ import annotations

import itertools

import numpy as np
import pytest

from conformance.reference import naive_scores
from orthant.errors import InputError
from orthant.quantization import ProductQuantizer, ResidualQuantizer
from orthant.quantization.beam import beam_indices
from orthant.quantization.codebooks import indices_of
from quantization.vectors import generated, real, real_queries


def distortion(quantizer, X: np.ndarray) -> float:
    return float(((X - quantizer.decode(quantizer.encode(X))).astype(np.float64) ** 2).sum(axis=1).mean())


@pytest.fixture(scope="module")
def X(data_root) -> np.ndarray:
    return real(data_root, 2500)[:, :48].copy()


@pytest.fixture(scope="module")
def fitted(X) -> ResidualQuantizer:
    return ResidualQuantizer(levels=5, bits=4).fit(X)


def test_codes_are_the_nearest_of_what_is_left(X, fitted):
    left = X[:400].copy()
    indices = indices_of(fitted.encode(X[:400]), 5, 4)
    for level, book in enumerate(fitted.codebooks_):
        distances = ((left[:, None].astype(np.float64) - book) ** 2).sum(axis=2)
        np.testing.assert_array_equal(indices[:, level], distances.argmin(axis=1))
        left -= book[indices[:, level]]
        np.testing.assert_allclose(fitted.decode(fitted.encode(X[:400]), level=level + 1), X[:400] - left, atol=1e-6)


def test_every_level_lowers_the_error(X, fitted):
    errors = [((X - fitted.decode(fitted.encode(X), level=level)) ** 2).sum(1).mean() for level in range(1, 6)]
    assert (np.diff(errors) < 0).all()
    assert fitted.distortion_ == pytest.approx(errors[-1], rel=0.03)
    np.testing.assert_array_equal(fitted.decode(fitted.encode(X)), fitted.decode(fitted.encode(X), level=5))


@pytest.mark.parametrize("level", [None, 2])
@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
def test_scores_are_those_of_float64(X, fitted, metric, level, data_root):
    Q = real_queries(data_root, 20)[:, :48].copy()
    for shift in (0, 10):
        quantizer = ResidualQuantizer.from_codebooks(
            fitted.codebooks_ + np.float32(shift) * (np.arange(5) == 0)[:, None, None]
        )
        codes = quantizer.encode(X[:600] + np.float32(shift))
        wanted = naive_scores(Q + np.float32(shift), quantizer.decode(codes, level=level).astype(np.float64), metric)
        found = quantizer.score(Q + np.float32(shift), codes, metric=metric, level=level)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_beam_finds_what_trying_all_codes_finds():
    rng = np.random.default_rng(0)
    table, X = rng.standard_normal((3, 6, 4)).astype(np.float32), rng.standard_normal((60, 4)).astype(np.float32)
    every = np.array(list(itertools.product(range(6), repeat=3)))
    sums = table[np.arange(3), every].astype(np.float64).sum(axis=1)
    best = every[((X[:, None] - sums) ** 2).sum(axis=2).argmin(axis=1)]
    # As wide as there are partial codes: nothing is dropped.
    np.testing.assert_array_equal(beam_indices(X, table, 36), best)
    greedy, some = (((X - table[np.arange(3), beam_indices(X, table, b)].sum(1)) ** 2).sum() for b in (1, 4))
    assert some < greedy


def test_beam_lowers_the_error_of_the_same_books(X, fitted):
    wider = ResidualQuantizer.from_codebooks(fitted.codebooks_, beam=6)
    assert distortion(wider, X) < 0.995 * distortion(fitted, X)
    whole = wider.encode(X[:50])
    np.testing.assert_array_equal(wider.encode(X[7:9]), whole[7:9])


def test_better_than_product_codes_of_the_same_bytes(X):
    residual, product = ResidualQuantizer(levels=8, bits=4), ProductQuantizer(m=8, bits=4)
    assert distortion(residual.fit(X), X) < distortion(product.fit(X), X)


@pytest.mark.parametrize("beam", [1, 3])
def test_distortion_is_within_a_few_percent_of_faiss(X, beam):
    faiss = pytest.importorskip("faiss")
    ours = distortion(ResidualQuantizer(levels=4, bits=4, beam=beam).fit(X), X)
    peer = faiss.ResidualQuantizer(48, 4, 4)
    peer.max_beam_size, peer.train_type = beam, faiss.ResidualQuantizer.Train_default
    peer.train(X)
    theirs = float(((X - peer.decode(peer.compute_codes(X))) ** 2).sum(axis=1).mean())
    assert ours <= 1.03 * theirs


def test_w76_fit_reports_usage_and_warns_of_dead_codes(fitted):
    assert fitted.usage_.counts.shape == (5, 16) and (fitted.usage_.dead_share == 0).all()
    with pytest.warns(UserWarning, match=r"ResidualQuantizer: \d of 3 codebooks use less than 50%"):
        usage = ResidualQuantizer(levels=3, bits=4).fit(np.repeat(generated(4, 6), 30, axis=0)).usage_
    assert usage.used_share[0] == 0.25


def test_few_rows_and_refusals(fitted):
    X = generated(40, 6)
    with pytest.warns(UserWarning, match="fit on more rows"):
        quantizer = ResidualQuantizer(levels=2).fit(X)
    np.testing.assert_allclose(quantizer.decode(quantizer.encode(X)), X, atol=1e-6)
    for settings in ({"levels": 0}, {"bits": 5}, {"beam": 0}, {"iterations": 0}, {"seed": -2}):
        with pytest.raises(InputError):
            ResidualQuantizer(**settings).fit(X)
    codes = np.zeros((3, 3), np.uint8)
    for level in (0, 6, 1.5):
        with pytest.raises(InputError, match="level"):
            fitted.decode(codes, level=level)
    small = ResidualQuantizer.from_codebooks(np.zeros((2, 20, 4)))
    with pytest.raises(InputError, match="code 20; expected codes below 20"):
        small.decode(np.array([[0, 20]], np.uint8))
    with pytest.raises(InputError, match="65536"):
        ResidualQuantizer.from_codebooks(np.zeros((1, 65_537, 1), np.float32))


def test_only_the_first_level_spreads_its_centroids(monkeypatch):
    from orthant.kernels.clustering import kmeans

    spread, drawn = kmeans.spread_rows, []
    monkeypatch.setattr(kmeans, "spread_rows", lambda X, k, **how: drawn.append(k) or spread(X, k, **how))
    X = np.random.default_rng(0).standard_normal((600, 8)).astype(np.float32)
    made = ResidualQuantizer(levels=3, bits=4, iterations=2).fit(X)
    assert drawn == [16] and made.distortion_ < 0.7 * (X**2).sum(axis=1).mean()
    again = ResidualQuantizer(levels=3, bits=4, iterations=2).fit(X)
    np.testing.assert_array_equal(made.codebooks_, again.codebooks_)
