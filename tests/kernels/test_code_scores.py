from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels import code_scores, codes

DIMS = (*range(1, 131), 191, 192, 193, 255, 256, 257, 383, 384, 385, 511, 512, 513, 767, 768, 769)


def data(n: int, dim: int) -> np.ndarray:
    rng = np.random.default_rng(dim)
    return (rng.standard_normal((n, dim)) * rng.lognormal(size=(n, 1))).astype(np.float32)


def encoded(dim: int, bits: int) -> np.ndarray:
    size = codes.CONSTANT_BYTES + codes.plane_bytes(dim, bits)
    settings = {"bits": bits, "residual_bits": 0, "code_size": size}
    return codes.encode_adaptive(data(5, dim), data(1, dim)[0] / 3, 2.0**-6, **settings)[0]


@pytest.mark.parametrize("compiled", [True, False], ids=["kernel", "numpy"])
@pytest.mark.parametrize("bits", [8, 4])
def test_w72_w73_dots_and_distances_at_every_dimension(bits, compiled):
    for dim in DIMS:
        table = encoded(dim, bits)
        Q = data(2, dim) + 1
        plane = codes.unpack_plane(table, 4, bits, dim).astype(np.float64)
        found = code_scores.code_dots(Q, table, first=4, bits=bits, compiled=compiled)
        bound = 1e-6 * np.linalg.norm(Q, axis=1)[:, None] * np.linalg.norm(plane, axis=1)
        assert (np.abs(found - Q.astype(np.float64) @ plane.T) <= bound + 1e-6).all(), dim
        low, step = codes.read_bounds(table, 2.0**-6, bits)
        weights = np.ones(dim, np.float32) if bits == 4 else np.linspace(0.5, 2, dim, dtype=np.float32)
        constants = {"weights": weights, "offset": low, "step": step}
        found = code_scores.code_distances(Q, table, first=4, bits=bits, **constants, compiled=compiled)
        values = low[:, None].astype(float) + step[:, None].astype(float) * weights * plane
        wanted = ((Q[:, None].astype(float) - values[None]) ** 2).sum(axis=2)
        np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=1e-6 * np.abs(values).max() ** 2)
