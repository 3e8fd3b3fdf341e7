from __future__ import annotations

import numpy as np
import pytest

from conformance.reference import naive_scores
from orthant.errors import InputError
from orthant.quantization import SQ8
from quantization.vectors import generated, ill_shaped, nearest, overlap


def test_codes_follow_the_equation():
    X = np.array([[0, 10], [1, 10], [0.25, 10]], dtype=np.float32)
    quantizer = SQ8().fit(X)
    codes = quantizer.encode(X)
    assert codes.tolist() == [[0, 0], [255, 0], [64, 0]]
    assert quantizer.step_[1] == 0 and quantizer.decode(codes)[:, 1].tolist() == [10, 10, 10]
    assert quantizer.encode([[-5, 3], [7, 99]]).tolist() == [[0, 0], [255, 0]]


def test_every_entry_is_within_half_a_step():
    X = generated()
    quantizer = SQ8().fit(X)
    error = np.abs(X - quantizer.decode(quantizer.encode(X)))
    assert (error <= quantizer.step_ / 2 * (1 + 1e-3)).all() and (error.max(axis=0) > quantizer.step_ * 0.45).all()


def test_coverage_cuts_both_ends_and_helps_heavy_tails():
    X = ill_shaped()["heavy"]
    base, Q = X[100:], X[:60]
    inner = SQ8(coverage=0.99).fit(base)
    high = inner.low_ + 255 * inner.step_
    assert abs((base < inner.low_).mean() - 0.005) < 0.002 and abs((base > high).mean() - 0.005) < 0.002
    truth = nearest(naive_scores(Q, base, "cosine"))
    found = {}
    for coverage in (1.0, 0.99):
        quantizer = SQ8(coverage=coverage).fit(base)
        decoded = quantizer.decode(quantizer.encode(base))
        found[coverage] = np.median(np.abs(base - decoded)), overlap(nearest(naive_scores(Q, decoded, "cosine")), truth)
    assert found[0.99][0] < found[1.0][0] / 3


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
def test_scores_are_those_of_the_decoded(metric):
    X = generated(400, 50)
    quantizer = SQ8().fit(X)
    codes = quantizer.encode(X)
    wanted = naive_scores(X[:12], quantizer.decode(codes), metric)
    for queries in (X[:12], X[:1]):
        found = quantizer.score(queries, codes, metric=metric)
        assert np.abs(found - wanted[: len(queries)]).max() <= 1e-5 * np.abs(wanted).max()


def test_codes_without_direction_have_cosine_zero():
    X = np.array([[0, 0], [1, 1], [0, 1]], dtype=np.float32)
    quantizer = SQ8().fit(X)
    scores = quantizer.score([[1, 0]], quantizer.encode(X), metric="cosine")
    np.testing.assert_allclose(scores, [[0, np.sqrt(0.5), 0]], atol=1e-6)
    with pytest.raises(InputError, match="zero"):
        quantizer.score([[0, 0]], quantizer.encode(X), metric="cosine")


@pytest.mark.parametrize("coverage", [0.2, 1.1, "all", True])
def test_bad_coverage_is_refused(coverage):
    with pytest.raises(InputError):
        SQ8(coverage=coverage).fit(generated(20, 4))
