"""Codes and sketches: bounds of their errors, the estimator, and vectors of every shape (W74)."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.graph.small import all_distances, decoded, make_state
from orthant.kernels.graph import sketch
from orthant.kernels.rotations import kronecker_factors, rotate_rows

DIMS = (1, 2, 15, 16, 17, 63, 64, 65, 100, 127, 128, 129, 192, 256, 300, 384)


def shaped(kind, n, dim, rng):
    """Vectors as users have them: ill-shaped."""
    if kind == "gaussian":
        return rng.standard_normal((n, dim))
    if kind == "constant":
        return np.repeat(rng.uniform(-3, 3, (n, 1)), dim, axis=1)
    if kind == "constant dimensions":
        X = rng.standard_normal((n, dim))
        X[:, ::2] = 7.0
        return X
    if kind == "sparse":
        return np.where(rng.random((n, dim)) < 0.03, rng.standard_normal((n, dim)), 0.0)
    if kind == "heavy-tailed":
        return rng.standard_t(1.5, (n, dim))
    if kind == "digits":
        return np.floor(np.where(rng.random((n, dim)) < 0.2, rng.uniform(0, 256, (n, dim)), 0.0))
    return rng.standard_normal((n, dim)) * 10.0 ** rng.uniform(-3, 3, (n, 1))


SHAPES = ("gaussian", "constant", "constant dimensions", "sparse", "heavy-tailed", "digits", "unnormalised")


def encode(Y, bits):
    Y = np.ascontiguousarray(Y, dtype=np.float32)
    norms = np.einsum("ij,ij->i", Y, Y)
    sketches = sketch.aligned_rows(len(Y), 64)
    codes = sketch.aligned_rows(len(Y), sketch.code_bytes(Y.shape[1], bits))
    sketch.encode_rows(Y, norms, sketches, codes, bits, 0, len(Y))
    return Y, norms, sketches, codes


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", SHAPES)
def test_w74_codes_are_within_half_a_step(kind, bits):
    rng = np.random.default_rng(11)
    for dim in DIMS:
        Y, _, sketches, codes = encode(shaped(kind, 20, dim, rng), bits)
        back, step = decoded(sketches, codes, dim, bits)
        slack = 4e-6 * np.abs(Y).max(axis=1, keepdims=True) + 1e-30
        assert (np.abs(back - Y) <= step / 2 + slack).all(), dim
        # The constants are rounded outwards, and no further than their eight bits demand.
        span = (Y.max(axis=1) - Y.min(axis=1))[:, None].astype(np.float64)
        largest = np.abs(Y).max(axis=1, keepdims=True)
        assert (step <= (1.01 * (span + largest / 120)) / ((1 << bits) - 1) + 1e-30).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_fields_hold_what_they_name(bits):
    rng = np.random.default_rng(12)
    for dim in DIMS:
        Y, norms, sketches, codes = encode(shaped("gaussian", 10, dim, rng), bits)
        assert (sketches[:, 48:52].copy().view(np.float32)[:, 0] == norms).all()
        signs = np.unpackbits(sketches[:, :48], axis=1, bitorder="little")
        assert (signs[:, :dim] == (Y > 0)).all()
        assert not signs[:, dim:].any()
        sums = sketches[:, 52:56].copy().view(np.uint32)[:, 0]
        assert (sums & 511 == (Y > 0).sum(axis=1)).all()
        back, step = decoded(sketches, codes, dim, bits)
        lowest = decoded(sketches, np.zeros_like(codes), dim, bits)[0]
        values = np.rint((back - lowest) / np.where(step > 0, step, 1))
        assert (sums >> 9 == values.sum(axis=1)).all()
        factor = (sketches[:, 56:58].copy().view(np.uint16).astype(np.uint32) << 16).view(np.float32)[:, 0]
        expected = (Y.astype(np.float64) ** 2).sum(axis=1) / np.abs(Y).sum(axis=1)
        assert (np.abs(factor / expected - 1) < 1 / 100).all()


@pytest.mark.parametrize(("bits", "dim"), [(8, 128), (4, 384), (8, 100)])
def test_sketches_estimate_without_bias_and_know_their_error(bits, dim):
    rng = np.random.default_rng(13)
    errors, told, rounding, truth = [], [], [], []
    for seed in range(300):
        # A pair of its own for each rotation: factored rotations are not quite uniform for any single pair.
        q, other = rng.standard_normal((2, dim)) / np.sqrt(dim)
        X = np.stack([q, 0.4 * q + other]).astype(np.float32)
        state = make_state(X, bits=bits, seed=seed)
        truth.append(float(((X[0] - X[1]).astype(np.float64) ** 2).sum()))
        errors.append(float(all_distances(state, 0)[1][1]) * state.space.largest**2 - truth[-1])
        field = (state.sketches[1, 58:60].copy().view(np.uint16).astype(np.uint32) << 16).view(np.float32)[0]
        # Of the part of q across y, which is what errs.
        across = np.sqrt(X[0] @ X[0] - (X[0] @ X[1]) ** 2 / (X[1] @ X[1]))
        told.append(2 * float(field) * across * state.space.largest)
        # The factor is stored in eight bits, rounded upwards.
        rounding.append(2 * abs(float(X[0] @ X[1])) / 128)
    errors = np.array(errors)
    assert abs(errors.mean()) <= 3 * errors.std() / np.sqrt(len(errors)) + np.mean(rounding)
    assert 0.85 <= np.std(errors / np.array(told)) <= 1.15
    # A baseline that ignores signs would be off by far more.
    assert errors.std() < 0.3 * np.mean(truth)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", SHAPES)
def test_w74_code_distances_are_those_of_what_codes_stand_for(kind, bits):
    rng = np.random.default_rng(14)
    for dim in (1, 17, 64, 100, 129, 384):
        X = shaped(kind, 12, dim, rng).astype(np.float32)
        state = make_state(X, bits=bits)
        back, step = decoded(state.sketches[:12], state.codes[:12], dim, bits)
        norms = state.sketches[:12, 48:52].copy().view(np.float32)[:, 0].astype(np.float64)
        for slot in (0, 5):
            found = all_distances(state, slot)[0]
            expected = np.maximum(norms[slot] + norms - 2 * back @ back[slot], 0.0)
            # Float32 sums of code sums: relative to what was added, not to the difference.
            size = norms[slot] + norms + dim * (np.abs(back).max() ** 2)
            assert (np.abs(found - expected) <= 3e-6 * size + 1e-12).all(), dim
            # Against the truth: half a step per dimension on both sides.
            Z = np.einsum("ij,ij->i", X - X[slot], X - X[slot], dtype=np.float64) / state.space.largest**2
            root = np.sqrt(norms)
            bound = np.sqrt(dim) * (step[:, 0] * root[slot] + step[slot, 0] * root) + dim * step[:, 0] * step[slot, 0]
            assert (np.abs(found - Z) <= bound + 1e-5 * (1 + size)).all(), dim


@pytest.mark.parametrize("dim", [17, 64, 100, 128])
def test_a_stored_vector_and_a_query_are_encoded_alike(dim):
    # Queries always have eight bits; so have stored vectors of up to 128 dimensions.
    X = np.random.default_rng(15).standard_normal((9, dim)).astype(np.float32)
    state = make_state(X, bits=8)
    rows = state.space.query_rows(X, 0.0)
    stored = np.zeros_like(rows)
    sketch.query_rows(state.sketches[:9], state.codes[:9], 8, dim, np.float32(0), stored)
    assert (rows[:, :-64] == stored[:, :-64]).all()
    # Nine of the sixteen constants are spare; squared norms may be added up in another order.
    constants, others = (each[:, -64:-36].copy().view(np.float32) for each in (rows, stored))
    np.testing.assert_allclose(constants, others, rtol=1e-6)
    # And the distance does not depend on which of two is the query.
    table = np.stack([all_distances(state, slot)[0] for slot in range(9)])
    assert np.abs(table - table.T).max() < 2e-5
    assert np.diag(table).max() < 0.02


def test_the_margin_is_two_standard_errors_of_slack_per_unit():
    X = np.random.default_rng(16).standard_normal((3, 64)).astype(np.float32)
    state = make_state(X)
    rows = state.space.query_rows(X, 1.5)
    constants = rows[:, -64:].copy().view(np.float32)
    assert np.allclose(constants[:, 6], 2 * 1.5 * np.sqrt(constants[:, 3]))


def test_rotations_keep_lengths_and_angles():
    rng = np.random.default_rng(17)
    for dim in (1, 7, 64, 96, 384):
        X = rng.standard_normal((5, dim)).astype(np.float32)
        Y = np.empty_like(X)
        rotate_rows(X, *kronecker_factors(dim, rng), Y)
        assert np.allclose(X @ X.T, Y @ Y.T, atol=1e-3)


def test_rows_begin_at_cache_lines():
    for count, width in ((1, 64), (5, 128), (70_000, 64)):
        rows = sketch.aligned_rows(count, width)
        assert rows.shape == (count, width)
        assert rows.ctypes.data % 64 == 0
        assert not rows.any()
    assert [sketch.code_bytes(d) for d in (1, 64, 65, 128, 384)] == [64, 64, 128, 128, 384]
    assert [sketch.code_bytes(d, 4) for d in (1, 128, 129, 384)] == [64, 64, 128, 192]
