"""The arms of the record encoder's claims are what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.papers.search import mbat

ROWS = [{"kind": "ab"[i % 2], "n": i, "text": f"row {i}", "tags": ["x", f"t{i % 5}"]} for i in range(60)]


def test_only_convolution_forgets_the_order_of_nesting():
    arms = mbat._bindings(0, 256)
    X = np.random.default_rng(0).standard_normal((4, 256)).astype(np.float32)
    for name, (bind, unbind) in arms.items():
        swapped = np.allclose(bind("a", bind("b", X)), bind("b", bind("a", X)), atol=1e-4)
        back = np.allclose(unbind("a", bind("a", X)), X, atol=1e-4)
        assert (swapped, back) == (name.startswith("circular"), name != "random matrices")


def test_cells_give_near_numbers_shared_features():
    pytest.importorskip("sklearn")
    parts = [{"n": 30}]
    binned, plain = (mbat._hashed(ROWS, ROWS, parts, binned=binned)[0] for binned in (True, False))
    assert binned[30] > binned[50]
    assert abs(int(binned.argmax()) - 30) <= 1
    assert np.isfinite(plain).all()


def test_answers_to_near_numbers_are_the_nearest_of_their_kind():
    asked = next(mbat._one_near(ROWS, ROWS[10], "kind", "n"))
    assert set(asked.answers) == {i for i in range(0, 60, 2) if abs(i - 10) <= 10} & set(range(21))
    exact = next(mbat._one_exact(ROWS, ROWS[3], ("kind", "tags")))
    assert set(exact.answers) == set(range(1, 60, 2))


def test_the_twin_has_one_operator_for_all_keys():
    turned, plain = (mbat._by_records(0, ROWS, ROWS, [{"kind": "a", "n": 4}], turned=on)[0] for on in (True, False))
    assert turned.argmax() == 4
    assert not np.allclose(turned, plain, atol=0.01)
