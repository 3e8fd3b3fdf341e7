"""Every instruction and every form of the byte product, at every length, against exact references (W72, W73)."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from orthant.kernels import cpu
from orthant.kernels.addresses import (
    float_key,
    key_float,
    load_bf16,
    load_f32,
    load_i32,
    load_i64,
    load_u64,
    prefetch,
    store_u64,
    trailing_zeros,
)
from orthant.kernels.compiling import intrinsic, kernel
from orthant.kernels.simd import (
    PRODUCTS,
    bit_plane_64,
    byte_product,
    dot_bits,
    dot_f32,
    dot_u4s8,
    dot_u8s8,
    insert_sorted,
    l2_f32,
    nibble_product,
    positive_16,
)

LENGTHS = (*range(1, 131), 191, 192, 193, 255, 256, 257, 383, 384, 385, 511, 512, 513)


@cache
def products(level):
    """Both byte products of one level as kernels; three levels live side by side in this process."""
    missing = set(cpu._NEEDED[level]) - set(cpu.features())
    if missing:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")

    def bytes_(typing, a, q, blocks):
        from numba import types

        return types.int32(types.int64, types.int64, types.int64), byte_product(PRODUCTS[level])

    def nibbles(typing, a, q, blocks):
        from numba import types

        return types.int32(types.int64, types.int64, types.int64), nibble_product(PRODUCTS[level])

    return _plain(intrinsic(bytes_)), _plain(intrinsic(nibbles))


def _plain(made):
    """Compile a call without the cache on disk, which is keyed by source and would mix up the three levels."""
    import numba

    inner = made.compiled

    @numba.njit
    def run(a, q, blocks):
        return inner(a, q, blocks)

    return run


def unaligned(values, offset=3):
    """The same values at an address that no vector register likes."""
    raw = np.zeros(values.nbytes + offset + 64, np.uint8)
    start = (-raw.ctypes.data) % 64 + offset
    out = raw[start : start + values.nbytes]
    out[:] = values.reshape(-1).view(np.uint8)
    return raw, out.ctypes.data


def padded(values, block):
    out = np.zeros(-(-len(values) // block) * block, values.dtype)
    out[: len(values)] = values
    return out


def packed_nibbles(values):
    blocks = padded(values, 128).reshape(-1, 2, 64)
    return (blocks[:, 0] | (blocks[:, 1] << 4)).reshape(-1).astype(np.uint8)


@pytest.mark.parametrize("level", list(PRODUCTS))
def test_w72_w73_byte_products_are_exact_at_every_length(level):
    run, _ = products(level)
    rng = np.random.default_rng(1)
    for length in LENGTHS:
        for case in range(3):
            a = rng.integers(0, 256, length, dtype=np.uint8)
            q = rng.integers(-128, 128, length, dtype=np.int8)
            if case:
                # Extremes: sums of neighbouring products would saturate in 16 bits.
                a[:], q[:] = 255, (-128 if case == 1 else 127)
            keep_a, at_a = unaligned(padded(a, 64))
            keep_q, at_q = unaligned(padded(q, 64), 5)
            expected = int(a.astype(np.int64) @ q.astype(np.int64))
            assert run(at_a, at_q, -(-length // 64)) == expected, (length, case)
        del keep_a, keep_q


@pytest.mark.parametrize("level", list(PRODUCTS))
def test_w72_w73_half_byte_products_are_exact_at_every_length(level):
    _, run = products(level)
    rng = np.random.default_rng(2)
    for length in LENGTHS:
        for case in range(3):
            a = rng.integers(0, 16, length, dtype=np.uint8)
            q = rng.integers(-128, 128, length, dtype=np.int8)
            if case:
                a[:], q[:] = 15, (-128 if case == 1 else 127)
            keep_a, at_a = unaligned(packed_nibbles(a))
            keep_q, at_q = unaligned(padded(q, 128), 5)
            expected = int(a.astype(np.int64) @ q.astype(np.int64))
            assert run(at_a, at_q, -(-length // 128)) == expected, (length, case)
        del keep_a, keep_q


@kernel
def call_bytes(a, q, blocks):
    return dot_u8s8(a, q, blocks)


@kernel
def call_nibbles(a, q, blocks):
    return dot_u4s8(a, q, blocks)


@kernel
def call_bits(row, planes):
    return dot_bits(row, planes)


@kernel
def call_dot(a, q, count):
    return dot_f32(a, q, count)


@kernel
def call_l2(a, q, count):
    return l2_f32(a, q, count)


@kernel
def call_plane(address, bit):
    return bit_plane_64(address, bit)


@kernel
def call_positive(address):
    return positive_16(address)


@kernel
def call_insert(buffer, blocks, key):
    return insert_sorted(buffer, blocks, key)


@kernel
def keys_of(values, out):
    for i in range(len(values)):
        out[i] = float_key(values[i])


@kernel
def load_all(base):
    prefetch(base)
    return load_f32(base), load_i32(base), load_i64(base), load_u64(base), load_bf16(base)


@kernel
def store_at(base, value):
    store_u64(base, value)


@kernel
def zeros_below(values, out):
    for i in range(len(values)):
        out[i] = trailing_zeros(values[i])


def test_the_chosen_form_is_one_of_those():
    rng = np.random.default_rng(3)
    a, q = rng.integers(0, 256, 384, dtype=np.uint8), rng.integers(-128, 128, 384, dtype=np.int8)
    assert call_bytes(a.ctypes.data, q.ctypes.data, 6) == int(a.astype(np.int64) @ q.astype(np.int64))
    b = packed_nibbles(a & 15)
    assert call_nibbles(b.ctypes.data, q.ctypes.data, 3) == int((a & 15).astype(np.int64) @ q.astype(np.int64))


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_w72_w73_float_sums_at_every_length(metric):
    run = call_dot if metric == "dot" else call_l2
    rng = np.random.default_rng(4)
    for length in (0, *LENGTHS):
        a, q = (rng.standard_normal(length).astype(np.float32) for _ in range(2))
        # What lies behind the values must not be read into the sum.
        keep_a, at_a = unaligned(np.concatenate([a, np.full(64, np.nan, np.float32)]), 4)
        keep_q, at_q = unaligned(np.concatenate([q, np.full(64, np.nan, np.float32)]), 8)
        x, y = a.astype(np.float64), q.astype(np.float64)
        expected, size = (x @ y, np.abs(x) @ np.abs(y)) if metric == "dot" else ((x - y) @ (x - y),) * 2
        assert abs(run(at_a, at_q, length) - expected) <= 2e-6 * size + 1e-30, length
        del keep_a, keep_q


def test_w72_float_sums_of_wide_ranges():
    # Terms of thirty orders of magnitude: the error is that of the sum of their sizes.
    rng = np.random.default_rng(5)
    for length in (16, 100, 385):
        a = (rng.standard_normal(length) * 10.0 ** rng.uniform(-15, 15, length)).astype(np.float32)
        q = (rng.standard_normal(length) * 10.0 ** rng.uniform(-15, 15, length)).astype(np.float32)
        x, y = a.astype(np.float64), q.astype(np.float64)
        found = call_dot(a.ctypes.data, q.ctypes.data, length)
        assert abs(found - x @ y) <= 1e-5 * (np.abs(x) @ np.abs(y))
        tiny = call_l2(a.ctypes.data, a.ctypes.data, length)
        assert tiny == 0.0


def test_bit_dots_count_weighted_bits():
    rng = np.random.default_rng(6)
    for length in (*range(1, 131), 191, 192, 193, 255, 256, 257, 383, 384):
        signs = rng.random(length) < 0.5
        values = rng.integers(0, 16, length)
        row = np.zeros(64, np.uint8)
        row[: -(-length // 8)] = np.packbits(signs, bitorder="little")
        # Behind the signs a sketch holds other things: planes are zero there.
        row[48:] = 255
        planes = np.zeros((4, 64), np.uint8)
        for k in range(4):
            planes[k, : -(-length // 8)] = np.packbits((values >> k) & 1 > 0, bitorder="little")
        keep, at = unaligned(row)
        keep_planes, at_planes = unaligned(planes, 7)
        assert call_bits(at, at_planes) == int(values[signs].sum()), length
        del keep, keep_planes


def test_bit_planes_and_signs():
    rng = np.random.default_rng(7)
    values = rng.integers(0, 256, 64, dtype=np.uint8)
    keep, at = unaligned(values)
    for bit in range(8):
        expected = int(np.packbits((values >> bit) & 1 > 0, bitorder="little").view(np.uint64)[0])
        assert int(call_plane(at, bit)) == expected
    floats = rng.standard_normal(16).astype(np.float32)
    floats[[1, 5]], floats[7] = 0.0, -0.0
    keep, at = unaligned(floats)
    assert int(call_positive(at)) == sum(1 << i for i in range(16) if floats[i] > 0)
    del keep


@pytest.mark.parametrize("room", [8, 16, 64, 104])
def test_sorted_insertion_keeps_the_smallest(room):
    rng = np.random.default_rng(8)
    whole = np.full(room + 1, np.iinfo(np.uint64).max, np.uint64)
    whole[0] = 0
    held: list[int] = []
    for key in rng.integers(1, 500, 4 * room).tolist():
        place = call_insert(whole[1:].ctypes.data, room // 8, np.uint64(key))
        assert place == min(sum(each < key for each in held), room)
        held = sorted([*held, key])[:room]
        assert whole[0] == 0
        assert whole[1 : 1 + len(held)].tolist() == held
    assert len(held) == room


@kernel
def floats_back(values, out):
    for i in range(len(values)):
        out[i] = key_float((float_key(values[i]) << np.uint64(32)) | np.uint64(12345))


def test_float_keys_give_their_values_back():
    values = np.concatenate([np.random.default_rng(5).standard_normal(500) * 1e3, [0.0, -0.0, 3e38, -3e38, 1e-40]])
    values = values.astype(np.float32)
    out = np.empty_like(values)
    floats_back(values, out)
    assert out.view(np.uint32).tolist() == values.view(np.uint32).tolist()


def test_float_keys_keep_the_order():
    rng = np.random.default_rng(9)
    values = np.concatenate(
        [
            rng.standard_normal(200) * 10.0 ** rng.uniform(-30, 30, 200),
            [0.0, np.inf, -np.inf, 1e-45, -1e-45, np.finfo(np.float32).max, -np.finfo(np.float32).max],
        ]
    ).astype(np.float32)
    values = np.unique(values)
    keys = np.zeros(len(values), np.uint64)
    keys_of(values, keys)
    assert (keys[1:] > keys[:-1]).all()
    assert int(keys.max()) < 1 << 32


def test_loads_and_stores_at_any_address():
    raw = np.frombuffer(bytes(range(17, 17 + 80)), np.uint8).copy()
    for offset in (0, 1, 3, 7):
        part = raw[offset : offset + 8].tobytes()
        found = load_all(raw.ctypes.data + offset)
        assert found[0] == np.frombuffer(part[:4], np.float32)[0]
        assert found[1] == np.frombuffer(part[:4], np.int32)[0]
        assert found[2] == found[3] == np.frombuffer(part, np.int64)[0]
        bf16 = (np.frombuffer(part[:2], np.uint16).astype(np.uint32) << 16).view(np.float32)[0]
        assert found[4] == bf16
    negative = np.array([-3], np.int64)
    assert load_all(negative.ctypes.data)[1:3] == (-3, -3)
    before = raw.copy()
    store_at(raw.ctypes.data + 5, np.uint64(0xF123456789ABCDEF))
    assert int.from_bytes(raw[5:13].tobytes(), "little") == 0xF123456789ABCDEF
    before[5:13] = raw[5:13]
    assert (before == raw).all()


def test_trailing_zeros_of_every_place():
    values = np.array([0, *(1 << i for i in range(64)), *((1 << i) | (1 << 63) for i in range(64))], np.uint64)
    out = np.zeros(len(values), np.int64)
    zeros_below(values, out)
    assert out.tolist() == [64, *range(64), *range(64)]


def test_an_instruction_is_refused_outside_of_kernels():
    with pytest.raises(TypeError, match="inside a kernel"):
        float_key(np.float32(1))
