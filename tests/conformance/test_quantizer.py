"""Every registered quantizer through the battery, and broken ones that the battery must reject."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.reference import EightBit, must_reject, naive_scores
from conformance.registry import QUANTIZERS, VectorCase
from conformance.vector_battery import DIM, SHARED_CHECKS, data, fitted
from orthant.errors import InputError
from orthant.types import Quantizer

# The batteries' few rows leave most of 256 codes unused, and a quantizer says so.
pytestmark = pytest.mark.filterwarnings("ignore:.*codebooks use less than:UserWarning")

METRICS = ("dot", "cosine", "l2")


def check_speaks_the_protocol(case):
    made, _ = fitted(case)
    assert isinstance(made, Quantizer)


def check_codes(case):
    for dim in (DIM, 1, 5, 33):
        if dim in case.dims:
            made, X = fitted(case, dim)
            codes = made.encode(X)
            assert isinstance(made.code_size, int) and made.code_size >= 1
            assert codes.dtype == np.uint8 and codes.flags.c_contiguous
            assert codes.shape == (len(X), made.code_size), "code_size must be the exact bytes per vector"
            assert codes.nbytes == len(X) * made.code_size


def check_decode(case):
    made, X = fitted(case)
    back = made.decode(made.encode(X))
    assert back.shape == X.shape and back.dtype == np.float32 and back.flags.c_contiguous and np.isfinite(back).all()
    assert ((X - back) ** 2).sum() < ((X - X.mean(axis=0)) ** 2).sum(), "codes are worse than the mean"
    assert made.decode(made.encode(data(0))).shape == (0, DIM)
    np.testing.assert_array_equal(made.decode(made.encode(X)[3:4]), back[3:4])


def check_score_is_that_of_the_decoded(case):
    for dim in (DIM, 1, 7, 8, 9, 63, 64, 65, 130):
        if dim not in case.dims:
            continue
        made, X = fitted(case, dim)
        Q = data(6, dim, seed=8)
        codes = made.encode(X)
        for metric in METRICS:
            scores = made.score(Q, codes, metric=metric)
            assert scores.shape == (6, len(X)) and scores.dtype == np.float32
            wanted = naive_scores(Q, made.decode(codes), metric)
            largest = np.abs(wanted).max()
            np.testing.assert_allclose(scores, wanted, rtol=case.tolerance, atol=case.tolerance * largest)


def check_score_forms(case):
    made, X = fitted(case)
    codes, Q = made.encode(X), data(3, seed=8)
    whole = made.score(Q, codes, metric="dot")
    assert made.score(Q, codes[:0], metric="dot").shape == (3, 0)
    assert made.score(Q[:0], codes, metric="dot").shape == (0, len(X))
    frozen = codes.copy()
    frozen.setflags(write=False)
    for form in (frozen, np.repeat(codes, 2, axis=0)[::2], np.asfortranarray(codes)):
        np.testing.assert_allclose(made.score(Q.astype(np.float64), form, metric="dot"), whole, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(made.decode(form), made.decode(codes))


def check_refuses_bad_codes_and_queries(case):
    made, X = fitted(case)
    codes, Q = made.encode(X), data(3)
    for wrong in (
        codes[:, :-1],
        np.pad(codes, ((0, 0), (0, 1))),
        codes[0],
        codes.astype(np.int32),
        codes.astype(float),
    ):
        with pytest.raises(InputError):
            made.decode(wrong)
        with pytest.raises(InputError):
            made.score(Q, wrong, metric="dot")
    for wrong in (data(3, DIM + 1), np.full((2, DIM), np.nan)):
        with pytest.raises(InputError):
            made.score(wrong, codes, metric="dot")
    with pytest.raises(InputError):
        made.score(Q, codes, metric="manhattan")


def check_ill_shaped_data(case):
    """W74: heavy tails, constant dimensions, sparse rows, large offsets."""
    rng = np.random.default_rng(0)
    heavy = rng.standard_t(2, (case.rows, DIM))
    constant = data(case.rows).astype(np.float64)
    constant[:, ::2] = 5
    sparse = data(case.rows) * (rng.random((case.rows, DIM)) < 0.1)
    for X in (heavy, constant, sparse, data(case.rows) + 1e4, np.round(data(case.rows) * 100)):
        X = X.astype(np.float32)
        made = case.make(DIM).fit(X, y=X if case.needs_targets else None)
        back = made.decode(made.encode(X))
        assert np.isfinite(back).all()
        assert ((X - back) ** 2).sum() <= 1.1 * ((X - X.mean(axis=0)) ** 2).sum()


CHECKS = SHARED_CHECKS | {name: check for name, check in globals().items() if name.startswith("check_")}


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", QUANTIZERS.values(), ids=lambda case: case.name)
def test_quantizer_conforms(case, check):
    CHECKS[check](case)


class ForgetsItsConstants(EightBit):
    @property
    def code_size(self):
        return super().code_size - 8


class GivesInt8(EightBit):
    def encode(self, X):
        return super().encode(X).view(np.int8)


class DropsTheRemainder(EightBit):
    def score(self, Q, codes, *, metric):
        Q = np.array(Q, dtype=np.float32)
        if Q.shape[1] > 8:
            Q[:, Q.shape[1] // 8 * 8 :] = 0
        return super().score(Q, codes, metric=metric)


class AlwaysDots(EightBit):
    def score(self, Q, codes, *, metric):
        return super().score(Q, codes, metric="dot")


class TakesAnyWidth(EightBit):
    def _codes(self, codes):
        return np.asarray(codes)


class DecodesNoise(EightBit):
    def decode(self, codes):
        out = super().decode(codes)
        return out + np.random.default_rng(0).standard_normal(out.shape).astype(np.float32) * 4


class SmallerIsCloser(EightBit):
    def score(self, Q, codes, *, metric):
        return -super().score(Q, codes, metric=metric)


class ScalesByTheBatch(EightBit):
    def encode(self, X):
        X = np.asarray(X, dtype=np.float32)
        return super().encode(X / np.abs(X).max() if X.size else X)


BROKEN = [
    (ForgetsItsConstants, "check_codes"),
    (GivesInt8, "check_codes"),
    (DropsTheRemainder, "check_score_is_that_of_the_decoded"),
    (AlwaysDots, "check_score_is_that_of_the_decoded"),
    (AlwaysDots, "check_refuses_bad_codes_and_queries"),
    (TakesAnyWidth, "check_refuses_bad_codes_and_queries"),
    (DecodesNoise, "check_decode"),
    (SmallerIsCloser, "check_score_is_that_of_the_decoded"),
    (ScalesByTheBatch, "check_rows_do_not_influence_each_other"),
]


@pytest.mark.parametrize(("broken", "check"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_the_battery_rejects(broken, check):
    must_reject(CHECKS[check], VectorCase("broken", lambda dim: broken()))
