"""Products in float64 and exact selection."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.learn.merging import arrays  # noqa: E402


def test_products_are_float64(monkeypatch):
    monkeypatch.setattr(arrays, "_BLOCK", 7)
    a = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    b = a * 3 + 1e-4
    x, y = a.numpy().astype(np.float64).ravel(), b.numpy().astype(np.float64).ravel()
    assert arrays.inner_product(a, b) == pytest.approx(x @ y, rel=1e-14)
    assert arrays.norm(a) == pytest.approx(np.linalg.norm(x), rel=1e-14)
    assert arrays.cosine(a, b) == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-14)
    assert arrays.cosine(a, torch.zeros_like(a)) == 0.0


@pytest.mark.parametrize("count", [0, 1, 5, 19, 20])
def test_keeps_exactly_so_many(count):
    scores = torch.randint(0, 4, (4, 5), generator=torch.Generator().manual_seed(2)).float()
    kept = arrays.keep_largest(scores, count)
    order = np.argsort(-scores.numpy().ravel(), kind="stable")[:count]
    assert sorted(order) == np.flatnonzero(kept.numpy()).tolist()
