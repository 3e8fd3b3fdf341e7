from __future__ import annotations

import numpy as np
import pytest

from conformance.reference import naive_scores
from orthant.errors import InputError
from orthant.kernels.codes import read_bounds, unpack_plane
from orthant.quantization import LVQ, SQ8
from quantization.vectors import generated, ill_shaped, nearest, overlap, real, real_queries

LEVELS = [(8, 0), (4, 0), (4, 4), (4, 8), (8, 4), (8, 8)]


@pytest.fixture(scope="module", params=["real", "generated"])
def X(request) -> np.ndarray:
    return real(request.getfixturevalue("data_root")) if request.param == "real" else generated()


def steps(quantizer: LVQ, codes: np.ndarray) -> np.ndarray:
    return read_bounds(codes, quantizer.scale_, quantizer.bits)[1][:, None].astype(np.float64)


@pytest.mark.parametrize(("bits", "residual_bits"), LEVELS)
def test_every_entry_is_within_half_a_step(X, bits, residual_bits):
    quantizer = LVQ(bits=bits, residual_bits=residual_bits).fit(X)
    codes = quantizer.encode(X)
    step, wide = steps(quantizer, codes), X.astype(np.float64)
    # Rounding of float32 sums; the second level of 16 bits comes near it.
    slack = 4 * np.finfo(np.float32).eps * np.abs(X - quantizer.mean_).max(axis=1, keepdims=True)
    slack = slack + np.finfo(np.float32).eps * np.abs(X)
    first = quantizer.decode(codes, level=1) if residual_bits else quantizer.decode(codes)
    assert (np.abs(wide - first) <= step / 2 + slack).all()
    assert (np.abs(wide - first).max(axis=1) > step[:, 0] * 0.4).mean() > 0.9, "the bound is idle"
    if residual_bits:
        fine = step / (2**residual_bits - 1)
        assert (np.abs(wide - quantizer.decode(codes)) <= fine / 2 + slack).all()


def test_bounds_rounded_to_nearest_would_break_the_bound(X):
    """The reason for rounding outwards: with the nearest float16 some entries fall outside their own range."""
    centred = X - X.mean(axis=0)
    nearest_half = centred.max(axis=1).astype(np.float16).astype(np.float32)
    assert (nearest_half < centred.max(axis=1)).mean() > 0.2
    quantizer = LVQ().fit(X)
    low, step = read_bounds(quantizer.encode(X), quantizer.scale_, 8)
    assert (low <= (X - quantizer.mean_).min(axis=1)).all()
    assert (low + 255 * step.astype(np.float64) >= (X - quantizer.mean_).max(axis=1) * (1 - 1e-6)).all()


def per_dimension(X: np.ndarray, bits: int) -> np.ndarray:
    low, high = X.min(axis=0), X.max(axis=0)
    step = np.maximum((high - low) / (2**bits - 1), 1e-30)
    return low + step * np.floor((X - low) / step + 0.5)


def test_four_bits_lose_less_than_bounds_for_each_dimension(X):
    error = ((X - LVQ(bits=4).fit(X).decode(LVQ(bits=4).fit(X).encode(X))) ** 2).mean()
    assert error <= 0.75 * ((X - per_dimension(X, 4)) ** 2).mean()


def test_recall_without_rescoring_on_real_vectors(data_root):
    X, Q = real(data_root), real_queries(data_root)
    truth = nearest(Q.astype(np.float64) @ X.T.astype(np.float64))
    found = {}
    for bits, residual_bits in ((8, 0), (4, 0), (4, 4)):
        quantizer = LVQ(bits=bits, residual_bits=residual_bits).fit(X)
        found[bits, residual_bits] = overlap(nearest(quantizer.score(Q, quantizer.encode(X), metric="cosine")), truth)
    plain = overlap(nearest(Q.astype(np.float64) @ per_dimension(X, 4).T), truth)
    assert found[8, 0] >= 0.99 and found[4, 4] >= 0.99
    assert 0.93 <= found[4, 0] < found[4, 4] and found[4, 0] > plain


@pytest.mark.parametrize(("bits", "residual_bits"), LEVELS)
@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
def test_code_domain_scores_equal_decoded_ones(X, bits, residual_bits, metric):
    quantizer = LVQ(bits=bits, residual_bits=residual_bits).fit(X)
    rows, Q = X[:300], X[100:103]
    codes = quantizer.encode(rows)
    for level in (None, 1):
        wanted = naive_scores(Q, quantizer.decode(codes, level=level), metric)
        found = quantizer.score(Q, codes, metric=metric, level=level)
        if metric == "l2":
            # Relative even for a row against its own code, the smallest distance there is.
            own = np.maximum(np.abs(wanted), 1e-9 * (Q.astype(float) ** 2).sum(axis=1, keepdims=True))
            assert (np.abs(found - wanted) <= 1e-3 * own).all()
        else:
            assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_levels_that_are_not_there_are_refused():
    X = generated(50, 8)
    codes = LVQ().fit(X).encode(X)
    for level in (2, 0, True, 1.5):
        with pytest.raises(InputError):
            LVQ().fit(X).decode(codes, level=level)
        with pytest.raises(InputError):
            LVQ().fit(X).score(X[:2], codes, metric="dot", level=level)


def test_code_size_is_exact_with_and_without_padding():
    X = generated(30, 33)
    for bits, residual_bits, align, size in (
        (8, 0, 1, 37),
        (4, 0, 1, 21),
        (4, 4, 1, 38),
        (8, 8, 32, 96),
        (8, 0, 32, 64),
    ):
        quantizer = LVQ(bits=bits, residual_bits=residual_bits, align=align).fit(X)
        codes = quantizer.encode(X)
        assert quantizer.code_size == codes.shape[1] == size
    assert not codes[:, 37:].any(), "padding is zero"
    plain = LVQ().fit(X)
    np.testing.assert_array_equal(codes[:, :37], plain.encode(X))


def test_the_second_level_leaves_the_first_as_it_is(X):
    one, two = LVQ(bits=4).fit(X), LVQ(bits=4, residual_bits=8).fit(X)
    np.testing.assert_array_equal(two.encode(X)[:, : one.code_size], one.encode(X))
    np.testing.assert_array_equal(two.decode(two.encode(X), level=1), one.decode(one.encode(X)))


def test_constant_vectors():
    quantizer = LVQ(bits=4, residual_bits=4).fit(np.array([[1.0, 1, 1], [3, 3, 3]], dtype=np.float32))
    rows = np.array([[2, 2, 2], [2.5, 2.5, 2.5], [2.3, 2.3, 2.3]], dtype=np.float32)
    codes = quantizer.encode(rows)
    low, step = read_bounds(codes, quantizer.scale_, 4)
    assert step[0] == step[1] == 0 and step[2] > 0, "only what float16 holds exactly needs no step"
    assert not codes[:2, 4:].any() and not unpack_plane(codes, 4, 4, 3)[:2].any()
    np.testing.assert_allclose(quantizer.decode(codes), rows, atol=1e-4)
    assert quantizer.decode(codes)[:2].tolist() == rows[:2].tolist() and low[0] == 0


# What is known to be weak, and why.
WEAK = {
    # Entries that are equal in every row are rounded alike, so their errors add up against a query that has them too.
    (LVQ, 68, "constant", "dot"): 0.8,
    # One outlier takes most of the range of its dimension: what coverage is there for.
    (SQ8, 64, "heavy", "dot"): 0.7,
    (SQ8, 64, "heavy", "l2"): 0.7,
}


@pytest.mark.parametrize("name", ["digits", "heavy", "constant", "long", "tiny", "sparse"])
@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_w74_eight_bits_keep_recall_on_ill_shaped_vectors(name, metric):
    X = ill_shaped()[name]
    base, Q = X[100:], X[:60]
    truth = naive_scores(Q, base, metric)
    worst = -np.sort(-truth, axis=1)[:, 9:10]
    tolerance = 1e-5 * np.abs(truth).max(axis=1, keepdims=True)
    for quantizer in (LVQ(), LVQ(bits=4, residual_bits=8), SQ8()):
        codes = quantizer.fit(base).encode(base)
        found = nearest(quantizer.score(Q, codes, metric=metric))
        recall = (np.take_along_axis(truth, found, axis=1) >= worst - tolerance).mean()
        assert recall >= WEAK.get((type(quantizer), quantizer.code_size, name, metric), 0.95), (quantizer, recall)


def test_rows_far_beyond_the_fitted_range_are_refused_whole():
    X = generated(200, 16)
    quantizer = LVQ().fit(X)
    reach = np.abs(X - quantizer.mean_).max()
    edge = X[:3].copy()
    edge[1, 2] = 200 * reach
    assert np.abs(quantizer.decode(quantizer.encode(edge)) - edge)[1].max() <= 200 * reach / 255
    edge[1, 2] = 600 * reach
    with pytest.raises(InputError, match="row 1"):
        quantizer.encode(edge)


@pytest.mark.parametrize("settings", [{"bits": 5}, {"bits": True}, {"residual_bits": 2}, {"align": 0}, {"align": 5000}])
def test_bad_settings_are_refused(settings):
    with pytest.raises(InputError):
        LVQ(**settings).fit(generated(20, 4))


def test_the_same_codes_for_any_number_of_threads(monkeypatch):
    X = generated(9000, 256)
    monkeypatch.setenv("ORTHANT_THREADS", "1")
    quantizer = LVQ(bits=4, residual_bits=4).fit(X)
    one = quantizer.encode(X)
    monkeypatch.setenv("ORTHANT_THREADS", "2")
    np.testing.assert_array_equal(quantizer.encode(X), one)
