"""Queries prepared in one call are those that NumPy makes step by step."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.index.vamana.space import fit_space
from orthant.kernels.graph import queries, sketch


def space_of(metric, *, dims=None, dim=96, seed=51):
    rng = np.random.default_rng(seed)
    X = (rng.standard_normal((400, dim)) * np.linspace(1, 3, dim) + 0.5).astype(np.float32)
    largest = 1.0 if metric == "cosine" else float(np.linalg.norm(X, axis=1).max())
    return fit_space(X, metric=metric, dims=dims, bits=8, largest=largest, seed=0), rng


@pytest.mark.parametrize("dims", [None, 40])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
def test_queries_are_embedded_and_encoded_as_stored_vectors_are(metric, dims):
    space, rng = space_of(metric, dims=dims)
    Q = (5 * rng.standard_normal((7, 96))).astype(np.float32)
    full, rows = np.full_like(Q, 9), np.zeros((7, space.query_bytes), np.uint8)
    space.prepare(Q, 0.5, full, rows)
    embedded = space.embed(Q, query=True)
    sketches, codes = space._encoded(embedded, 8)
    expected = np.zeros_like(rows)
    sketch.query_rows(sketches, codes, 8, space.dims, np.float32(0.5), expected)
    constants, wanted = (each[:, -64:].copy().view(np.float32)[:, :7] for each in (rows, expected))
    # The third is a sum that nearly cancels out.
    np.testing.assert_allclose(constants, wanted, rtol=2e-3, atol=0.02)
    signed = rows.shape[1] - sketch.QUERY_EXTRA
    # Another order of sums moves a value by the last bit, and with it a code by one step at most.
    apart = np.abs(rows[:, :signed].view(np.int8).astype(int) - expected[:, :signed].view(np.int8))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.02
    if metric == "cosine":
        np.testing.assert_allclose(full, Q / np.linalg.norm(Q, axis=1, keepdims=True), rtol=1e-6)
        assert np.array_equal(space.full_queries(Q), full)
    else:
        assert (full == 9).all()
        assert space.full_queries(Q) is Q


def test_queries_that_may_not_be_written_to_need_no_compiler():
    space, rng = space_of("cosine")
    Q = rng.standard_normal((3, 96)).astype(np.float32)
    first = space.query_rows(Q, 0.5)
    known = len(queries.prepare_queries.compiled.overloads)
    Q.flags.writeable = False
    assert np.array_equal(space.query_rows(Q, 0.5), first)
    assert np.array_equal(space.full_queries(Q), space.full_queries(Q.copy()))
    assert len(queries.prepare_queries.compiled.overloads) == known


def test_a_query_does_not_depend_on_its_company():
    space, rng = space_of("l2")
    Q = rng.standard_normal((20, 96)).astype(np.float32)
    rows = space.query_rows(Q, 0.5)
    for i in (0, 7, 19):
        assert np.array_equal(space.query_rows(Q[i : i + 1], 0.5)[0], rows[i])
