"""The exhaustive scan: the answers of plain arithmetic, however rows came in."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.errors import InputError
from orthant.kernels.binary.planes import grid_values
from orthant.quantization import LVQ, CodeScan, RaBitQ, SignCodes
from quantization.binary.test_signs import directions


@pytest.mark.parametrize("compiled", [True, False])
def test_codes_against_codes_is_the_cosine_of_codes(compiled):
    X = directions()
    made = SignCodes(dim=12, bits=2, unit=True).fit(X)
    scan = CodeScan(made)
    for start, stop in ((0, 1), (1, 64), (64, 200), (200, 200), (200, 1500)):
        scan.add(X[start:stop])
    hits = scan.search(X[:7], 10, queries="codes", compiled=compiled)
    values = grid_values(made.levels(X), 2).astype(np.float64)
    exact = values[:7] @ (values / np.linalg.norm(values, axis=1, keepdims=True)).T
    np.testing.assert_allclose(hits.scores, -np.sort(-exact, axis=1)[:, :10], atol=2e-3)
    np.testing.assert_allclose(np.take_along_axis(exact, hits.ids, axis=1), hits.scores, atol=2e-3)
    assert scan.bytes_per_vector == 3 + 2 and hits.cost.distances == 7 * 1500


def test_threads_and_parts_do_not_matter():
    X = directions(40_000, d=16, rank=8)
    scan = CodeScan(SignCodes(dim=8, unit=True).fit(X))
    scan.add(X)
    one, two = (scan.search(X[:5], 20, threads=threads) for threads in (1, 2))
    assert (one.ids == two.ids).all() and (one.scores == two.scores).all()


def test_constants_make_scores_estimates_of_dot_products():
    rng = np.random.default_rng(0)
    X = (directions(d=64, rank=40) * rng.uniform(0.5, 3, (1500, 1)) + 0.2).astype(np.float32)
    scan = CodeScan(RaBitQ(bits=4).fit(X))
    scan.add(X)
    hits = scan.search(X[:20], 10)
    np.testing.assert_allclose(hits.scores, np.take_along_axis(X[:20] @ X.T, hits.ids, axis=1), rtol=0.1)


def test_filters_in_any_form_and_what_is_refused():
    X = directions(300)
    scan = CodeScan(SignCodes(unit=True).fit(X))
    assert scan.search(X[:2], 3).ids.tolist() == [[-1] * 3] * 2
    scan.add(X)
    mask = np.arange(300) % 3 == 1
    found = [scan.search(X[:4], 5, allowed=allowed).ids for allowed in (mask, np.flatnonzero(mask))]
    assert (found[0] == found[1]).all() and mask[found[0]].all()
    with pytest.raises(InputError, match="SignCodes"):
        CodeScan(LVQ().fit(X))
    with pytest.raises(InputError):
        scan.search(X[:1], 0)
    with pytest.raises(InputError):
        scan.search(X[:1], queries="bits")
