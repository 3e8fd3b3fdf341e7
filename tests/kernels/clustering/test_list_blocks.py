"""Blocks of codes: their layout, sums in every form of the shuffle, and masks of what reaches a threshold."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels import cpu
from orthant.kernels.binary.lookups import SHUFFLES, sums_of
from orthant.kernels.clustering.list_blocks import above_64, masked_sums, to_blocks, to_rows
from orthant.kernels.compiling import intrinsic


def test_blocks_and_back():
    codes = np.random.default_rng(0).integers(0, 256, (128, 5)).astype(np.uint8)
    np.testing.assert_array_equal(to_rows(to_blocks(codes)), codes)


@pytest.mark.parametrize("level", list(SHUFFLES))
def test_every_form_gives_the_same_sums_and_masks(level):
    missing = set(cpu._NEEDED[level]) - set(cpu.features())
    if missing:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    import numba

    def typed(typing, tables, block, pairs, least, out):
        from numba import types

        return types.uint64(*[types.int64] * 5), masked_sums(SHUFFLES[level])

    inner = intrinsic(typed).compiled

    @numba.njit
    def run(tables, block, pairs, least, out):
        return inner(tables, block, pairs, least, out)

    rng = np.random.default_rng(0)
    for pairs in (1, 2, 3, 13, 48, 128):
        tables = rng.integers(0, 128, (1, 2 * pairs, 16)).astype(np.uint8)
        # The largest sums that there can be: 256 books of 127.
        tables[0, :, 15] = 127
        blocks = rng.integers(0, 256, (1, pairs, 64)).astype(np.uint8)
        blocks[0, :, 7] = 255
        wanted, out = sums_of(tables, blocks)[0], np.zeros(64, dtype=np.uint16)
        for least in (0, int(np.median(wanted)), int(wanted.max()), 65_535):
            mask = run(tables.ctypes.data, blocks.ctypes.data, pairs, least, out.ctypes.data)
            np.testing.assert_array_equal(out, wanted)
            bits = np.unpackbits(np.array([mask], np.uint64).view(np.uint8), bitorder="little")
            np.testing.assert_array_equal(bits.astype(bool), wanted >= least)


def test_floats_above_a_threshold():
    import numba

    inner = above_64.compiled

    @numba.njit
    def run(address, threshold):
        return inner(address, threshold)

    values = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    values[3] = -np.inf
    for threshold in (np.float32(-np.inf), values[9], np.float32(np.inf)):
        bits = np.unpackbits(
            np.array([run(values.ctypes.data, threshold)], np.uint64).view(np.uint8), bitorder="little"
        )
        np.testing.assert_array_equal(bits.astype(bool), values > threshold)
