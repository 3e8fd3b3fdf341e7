"""Packing and exact inner products at every dimension, against float64."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels.binary.planes import code_bytes, grid_values, inner_products, pack_planes, unpack_planes


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("compiled", [True, False])
def test_counting_bits_gives_the_products_of_the_grid(bits, compiled):
    rng = np.random.default_rng(bits)
    for dim in (*range(1, 131), 384):
        left, right = (rng.integers(0, 1 << bits, (n, dim)).astype(np.uint8) for n in (2, 3))
        packed = [pack_planes(levels, bits) for levels in (left, right)]
        assert packed[0].shape == (2, code_bytes(dim, bits))
        assert (unpack_planes(packed[1], dim, bits) == right).all()
        exact = grid_values(left, bits).astype(np.float64) @ grid_values(right, bits).astype(np.float64).T
        np.testing.assert_array_equal(inner_products(*packed, dim=dim, bits=bits, compiled=compiled), exact)


def test_values_are_odd_and_even_about_zero():
    assert grid_values(np.arange(4, dtype=np.uint8), 2).tolist() == [-3, -1, 1, 3]
    assert grid_values(np.arange(2, dtype=np.uint8), 1).tolist() == [-1, 1]
