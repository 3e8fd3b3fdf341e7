"""Scans by shuffles: exact at every dimension and number of rows, in every form of the instruction."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels import cpu
from orthant.kernels.binary.blocks import block_levels, quantised_tables, symmetric_tables, unblock_levels
from orthant.kernels.binary.lookups import SHUFFLES, scan_best, shuffled_sums, sums_of
from orthant.kernels.binary.planes import grid_values
from orthant.kernels.bitmaps import from_mask
from orthant.kernels.compiling import intrinsic


def scanned(tables, steps, offsets, blocks, count, **settings):
    """Scores of all rows in their own order."""
    weights = np.ones(len(blocks) * 64, dtype=np.uint16)
    bitmap = from_mask(np.ones(count, dtype=bool))
    ids, scores = scan_best(tables, steps, offsets, blocks, weights, bitmap, k=count, **settings)
    out = np.full((len(tables), count), np.nan)
    np.put_along_axis(out, ids, scores, axis=1)
    return out


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("compiled", [True, False])
def test_sums_are_exact_at_every_dimension(bits, compiled):
    rng = np.random.default_rng(bits)
    for dim in (*range(1, 131), 291, 292, 384):
        rows = rng.integers(0, 1 << bits, (67, dim)).astype(np.uint8)
        # Six queries: four at once, and two that are left over.
        asked = rng.integers(0, 1 << bits, (6, dim)).astype(np.uint8)
        asked[0] = rows[3] = (1 << bits) - 1
        blocks = block_levels(rows, bits)
        assert (unblock_levels(blocks, 67, dim, bits) == rows).all()
        exact = grid_values(asked, bits).astype(np.float64) @ grid_values(rows, bits).astype(np.float64).T
        np.testing.assert_array_equal(scanned(*symmetric_tables(asked, bits), blocks, 67, compiled=compiled), exact)


@pytest.mark.parametrize("level", list(SHUFFLES))
@pytest.mark.parametrize("queries", [1, 4])
def test_every_form_of_the_shuffle_gives_the_same_sums(level, queries):
    missing = set(cpu._NEEDED[level]) - set(cpu.features())
    if missing:
        pytest.skip(f"this processor has no {', '.join(sorted(missing))}")
    import numba

    def typed(typing, tables, stride, block, pairs, together, out):
        from numba import types

        return types.void(*[types.int64] * 6), shuffled_sums(SHUFFLES[level], queries)

    inner = intrinsic(typed).compiled

    @numba.njit
    def run(tables, stride, block, pairs, together, out):
        inner(tables, stride, block, pairs, together, out)

    rng = np.random.default_rng(0)
    for pairs, largest in ((1, 18), (13, 18), (14, 18), (15, 18), (29, 18), (40, 63), (5, 255)):
        tables = rng.integers(0, largest + 1, (queries, 2 * pairs, 16)).astype(np.uint8)
        blocks = rng.integers(0, 256, (1, pairs, 64)).astype(np.uint8)
        out = np.zeros((queries, 64), dtype=np.uint16)
        run(tables.ctypes.data, 32 * pairs, blocks.ctypes.data, pairs, 255 // largest, out.ctypes.data)
        np.testing.assert_array_equal(out, sums_of(tables, blocks))


def test_tables_of_floats_stay_within_their_steps():
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((3, 50)).astype(np.float32)
    rows = rng.integers(0, 4, (100, 50)).astype(np.uint8)
    tables, steps, offsets = quantised_tables(queries, 2)
    found = scanned(tables, steps, offsets, block_levels(rows, 2), 100)
    exact = queries.astype(np.float64) @ grid_values(rows, 2).T.astype(np.float64)
    assert tables.max() == 63
    assert (np.abs(found - exact) <= 0.5 * steps[:, None] * tables.shape[1] + 1e-4).all()


@pytest.mark.parametrize("compiled", [True, False])
def test_weights_filters_and_ties(compiled):
    rows = np.array([[3, 3], [3, 3], [0, 0], [3, 3]], dtype=np.uint8)
    tables, steps, offsets = symmetric_tables(rows[:1], 2)
    weights = np.zeros(64, dtype=np.uint16)
    weights[:4] = 1, 1, 1, 2
    bitmap = from_mask(np.array([False, True, True, True]))
    found = scan_best(tables, steps, offsets, block_levels(rows, 2), weights, bitmap, k=5, compiled=compiled)
    assert found[0].tolist() == [[3, 1, 2, -1, -1]]
    assert found[1][0, :3].tolist() == [36, 18, -18]
    again = scan_best(tables, steps, offsets, block_levels(rows[:2], 2), weights, bitmap | 1, k=1, compiled=compiled)
    assert again[0].tolist() == [[0]]
