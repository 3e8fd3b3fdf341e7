from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orthant.kernels import row_products, warmup


@pytest.fixture(scope="module", autouse=True)
def compiled():
    warmup.wait(row_products.GROUP)


@pytest.mark.parametrize("dim", [*range(1, 131), 255, 256, 257, 384, 512])
def test_w72_the_kernel_agrees_with_float64_at_every_dimension(dim, rng=np.random.default_rng(7)):
    X = rng.standard_normal((40, dim)).astype(np.float32)
    q = rng.standard_normal(dim).astype(np.float32)
    out = np.empty(len(X), np.float32)
    row_products._dot_range(row_products._plain(X), row_products._plain(q), out)
    exact = X.astype(np.float64) @ q.astype(np.float64)
    bound = dim * np.finfo(np.float32).eps * np.linalg.norm(X, axis=1) * np.linalg.norm(q)
    assert (np.abs(out - exact) <= bound + 1e-30).all()


def test_large_products_take_the_kernel_and_small_ones_do_not(monkeypatch):
    calls = []
    kernel = row_products._dot_range
    monkeypatch.setattr(row_products, "_dot_range", lambda X, q, out: (calls.append(X.shape), kernel(X, q, out)))
    rng = np.random.default_rng(1)
    X = rng.standard_normal((1 << 14, 64)).astype(np.float32)
    q = rng.standard_normal(64).astype(np.float32)
    X.flags.writeable = False
    np.testing.assert_allclose(row_products.dot_rows(X, q), X @ q, rtol=1e-4, atol=1e-4)
    assert calls == [X.shape]
    row_products.dot_rows(X[:100], q)
    row_products.dot_rows(np.asfortranarray(X), q)
    assert calls == [X.shape]


def test_a_few_products_start_no_compiler():
    code = (
        "import sys, numpy as np; from orthant.kernels import row_products as r, warmup as w; "
        "X = np.ones((1 << 14, 64), np.float32); "
        "[r.dot_rows(X, X[0]) for _ in range(7)]; assert w._compiler is None; r.dot_rows(X, X[0]); "
        "w._compiler.join(); assert w.is_ready(r.GROUP); assert (r.dot_rows(X, X[0]) == 64).all()"
    )
    source = Path(row_products.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(source)})
