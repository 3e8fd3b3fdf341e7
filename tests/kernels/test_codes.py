from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels import codes

DIMS = (*range(1, 131), 191, 192, 193, 255, 256, 257, 383, 384, 385, 511, 512, 513, 767, 768, 769)
LEVELS = [(8, 0), (4, 0), (4, 4), (4, 8), (8, 4), (8, 8)]


def data(n: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(dim)
    return (rng.standard_normal((n, dim)) * rng.lognormal(size=(n, 1))).astype(np.float32)


def encoded(dim: int, bits: int, residual_bits: int, n: int = 5, compiled: bool = True):
    X, mean = data(n, dim), data(1, dim)[0] / 3
    size = codes.CONSTANT_BYTES + codes.plane_bytes(dim, bits) + codes.plane_bytes(dim, residual_bits)
    settings = {"bits": bits, "residual_bits": residual_bits, "code_size": size}
    table, fits = codes.encode_adaptive(X, mean, 2.0**-6, **settings, compiled=compiled)
    assert fits.all() and table.shape == (n, size)
    return X, mean, table


def by_the_equations(X, mean, bits, residual_bits, scale):
    """Codes in float64 from bounds rounded outwards, one value at a time."""
    out, fine = np.zeros(X.shape, int), np.zeros(X.shape, int)
    bounds = np.zeros((len(X), 2))
    for i, row in enumerate((X - mean).astype(np.float64)):
        low, high = np.float16(row.min() / scale), np.float16(row.max() / scale)
        low = np.nextafter(low, np.float16(-np.inf)) if float(low) > row.min() / scale else low
        high = np.nextafter(high, np.float16(np.inf)) if float(high) < row.max() / scale else high
        low, high = float(low) * scale, float(high) * scale
        bounds[i] = low, high
        step = (high - low) / (2**bits - 1)
        out[i] = np.clip(np.floor((row - low) / step + 0.5), 0, 2**bits - 1) if step else 0
        if residual_bits and step:
            rest = row - (low + step * out[i])
            levels = 2**residual_bits - 1
            fine[i] = np.clip(np.floor((rest + step / 2) / (step / levels) + 0.5), 0, levels)
    return bounds, out, fine


@pytest.mark.parametrize(("bits", "residual_bits"), LEVELS)
def test_w72_w73_kernel_and_numpy_write_the_same_bytes_at_every_dimension(bits, residual_bits):
    for dim in DIMS:
        _, _, fast = encoded(dim, bits, residual_bits)
        _, _, slow = encoded(dim, bits, residual_bits, compiled=False)
        np.testing.assert_array_equal(fast, slow, err_msg=str(dim))


@pytest.mark.parametrize(("bits", "residual_bits"), LEVELS)
def test_codes_follow_the_equations(bits, residual_bits):
    for dim in (1, 2, 7, 64, 129):
        X, mean, table = encoded(dim, bits, residual_bits, n=40)
        bounds, coarse, fine = by_the_equations(X, mean, bits, residual_bits, 2.0**-6)
        halves = np.ascontiguousarray(table[:, :4]).view("<f2").astype(float) * 2.0**-6
        np.testing.assert_array_equal(halves, bounds)
        found = codes.unpack_plane(table, 4, bits, dim)
        # A value half way between two codes may go either way in float32.
        assert (np.abs(found - coarse) <= 1).all() and (found != coarse).mean() < 0.005
        # One entry alone spans what float16 rounding leaves, and its second level is finer than float32.
        if residual_bits and dim > 1:
            same = found == coarse
            rest = codes.unpack_plane(table, 4 + codes.plane_bytes(dim, bits), residual_bits, dim).astype(int)
            assert (np.abs(rest - fine)[same] <= 1).all() and (rest != fine)[same].mean() < 0.05


def test_four_bits_put_j_and_j_plus_half_into_one_byte():
    for dim in (4, 5):
        X = np.arange(dim, dtype=np.float32)[None] * 15 / (dim - 1)
        table, _ = codes.encode_adaptive(X, np.zeros(dim, np.float32), 1.0, bits=4, residual_bits=0, code_size=4 + 3)
        wanted = np.floor(X[0] + 0.5).astype(int)
        half = (dim + 1) // 2
        assert (table[0, 4 : 4 + half] & 15).tolist() == wanted[:half].tolist()
        assert (table[0, 4 : 4 + dim - half] >> 4).tolist() == wanted[half:].tolist()


@pytest.mark.parametrize(("bits", "residual_bits"), LEVELS)
def test_w72_w73_decoding_at_every_dimension(bits, residual_bits):
    for dim in DIMS:
        _, _, table = encoded(dim, bits, residual_bits)
        halves = np.ascontiguousarray(table[:, :4]).view("<f2").astype(float) * 2.0**-6
        step = (halves[:, 1:] - halves[:, :1]) / (2**bits - 1)
        wanted = halves[:, :1] + step * codes.unpack_plane(table, 4, bits, dim)
        if residual_bits:
            fine = codes.unpack_plane(table, 4 + codes.plane_bytes(dim, bits), residual_bits, dim)
            wanted = wanted + step * fine / (2**residual_bits - 1) - step / 2
        largest = np.abs(halves).max(axis=1, keepdims=True)
        for compiled in (True, False):
            found = codes.decode_adaptive(
                table, 2.0**-6, bits=bits, residual_bits=residual_bits, dim=dim, compiled=compiled
            )
            assert (np.abs(found - wanted) <= 4e-7 * largest).all(), dim


def test_bounds_go_outwards_never_inwards():
    rng = np.random.default_rng(0)
    for size in (1e-9, 1e-4, 1.0, 6e4):
        low, high = -rng.random(2000).astype(np.float32) * size, rng.random(2000).astype(np.float32) * size
        below, above = codes.outward_halves(low.astype(np.float32), high.astype(np.float32), 1.0)
        assert (below.astype(float) <= low).all() and (above.astype(float) >= high).all()
        inner = np.nextafter(below, np.float16(np.inf)).astype(float)
        assert (inner > low).all(), "the bound is the nearest one outside"


def test_rows_that_float16_cannot_bound_are_reported():
    X = np.array([[1e6, 0], [1, 0]], dtype=np.float32)
    for compiled in (True, False):
        _, fits = codes.encode_adaptive(
            X, np.zeros(2, np.float32), 1.0, bits=8, residual_bits=8, code_size=8, compiled=compiled
        )
        assert fits.tolist() == [False, True]


def test_uniform_codes_are_the_same_by_kernel_and_numpy():
    X = data(50, 33)
    low, step = X.min(axis=0) + np.float32(0.2), (np.ptp(X, axis=0) / 300).astype(np.float32)
    step[3] = 0
    fast, slow = (codes.encode_uniform(X, low, step, compiled=compiled) for compiled in (True, False))
    np.testing.assert_array_equal(fast, slow)
    assert (fast[:, 3] == 0).all() and fast.min() == 0 and fast.max() == 255
    wanted = np.clip(np.floor((X - low.astype(float)) / np.where(step, step, 1) + 0.5), 0, 255)
    wanted[:, 3] = 0
    assert (np.abs(fast - wanted) <= 1).all() and (fast != wanted).mean() < 0.01
