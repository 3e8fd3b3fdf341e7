"""Scans of lists against sums in float64, and exact scores of candidates against the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.kernels import bitmaps, distances
from orthant.kernels.clustering.list_scan import byte_tables, exact_best, scan_lists, to_blocks, to_rows
from orthant.kernels.topk import top_k
from orthant.quantization.codebooks import codes_of

SIZES = (64, 192, 128)
LISTS = np.array([0, 1, 4, 6])


def made(books, bits, seed=0, queries=3):
    rng = np.random.default_rng(seed)
    indices = rng.integers(0, 1 << bits, (sum(SIZES), books))
    tables = rng.standard_normal((queries, books, 1 << bits)).astype(np.float32)
    sums = sum(tables[:, j].astype(np.float64)[:, indices[:, j]] for j in range(books))
    return to_blocks(codes_of(indices, bits)), tables, sums


def scanned(blocks, tables, bits, *, probes=((0, 1, 2),), constants=None, bias=None, words=None, depth=12):
    probes = np.broadcast_to(np.array(probes), (len(tables), len(probes[0]))).astype(np.int64)
    counts = np.full(len(tables), probes.shape[1], np.int64)
    constants = np.zeros(probes.shape, np.float32) if constants is None else constants
    words = np.full(len(blocks), np.iinfo(np.uint64).max, np.uint64) if words is None else words
    return scan_lists(tables, probes, counts, constants, LISTS, blocks, bias, words, bits=bits, depth=depth)


@pytest.mark.parametrize(("books", "bits"), [(1, 4), (2, 4), (3, 4), (16, 4), (97, 4), (1, 8), (5, 8), (16, 8)])
def test_finds_the_largest_sums(books, bits):
    blocks, tables, sums = made(books, bits)
    places, scores = scanned(blocks, tables, bits)
    # 4 bits are summed with tables of 128 steps.
    error = 1e-4 if bits == 8 else books * float((tables.max(2) - tables.min(2)).max()) / 254 + 1e-4
    for q in range(len(tables)):
        np.testing.assert_allclose(scores[q], sums[q, places[q]], atol=error)
        assert len(set(places[q].tolist())) == 12
        assert sums[q, places[q]].min() >= np.sort(sums[q])[-12] - 2 * error


@pytest.mark.parametrize("bits", [4, 8])
def test_constants_biases_words_and_probes_count(bits):
    blocks, tables, sums = made(6, bits)
    rng = np.random.default_rng(1)
    bias = rng.standard_normal(sums.shape[1]).astype(np.float32) * 3
    constants = rng.standard_normal((3, 2)).astype(np.float32) * 3
    mask = rng.random(sums.shape[1]) < 0.3
    places, scores = scanned(
        blocks, tables, bits, probes=((2, 0),), constants=constants, bias=bias, words=bitmaps.from_mask(mask)
    )
    true = sums - bias
    true[:, :64] += constants[:, 1:]
    true[:, 256:] += constants[:, :1]
    true[:, 64:256] = -np.inf
    true[:, ~mask] = -np.inf
    for q in range(3):
        np.testing.assert_allclose(scores[q], true[q, places[q]], atol=0.3 if bits == 4 else 1e-4)
        best = set(np.argsort(-true[q])[:12].tolist())
        assert len(best & set(places[q].tolist())) >= (9 if bits == 4 else 12)


def test_fewer_places_than_wanted_leave_gaps():
    blocks, tables, _ = made(2, 8)
    mask = np.zeros(384, dtype=bool)
    mask[[3, 70]] = True
    places, scores = scanned(blocks, tables, 8, words=bitmaps.from_mask(mask))
    assert sorted(places[0].tolist()) == [-1] * 10 + [3, 70] and np.isneginf(scores[0]).sum() == 10


def test_tables_are_rounded_by_one_step_for_all_books():
    tables = np.random.default_rng(0).standard_normal((2, 3, 16)).astype(np.float32)
    tables[1] = 0.5
    small, steps, lowest = byte_tables(tables)
    assert small.shape == (2, 2, 32) and small.max() <= 127
    books = [small[:, 0, :16], small[:, 1, :16], small[:, 0, 16:]]
    for j, book in enumerate(books):
        rounded = book * steps[:, None] + tables[:, j].min(axis=1, keepdims=True)
        assert (np.abs(rounded - tables[:, j]) <= steps[:, None] / 2 + 1e-6).all()
    assert not small[1].any() and lowest[1] == 1.5


def test_blocks_and_back():
    codes = np.random.default_rng(0).integers(0, 256, (128, 5)).astype(np.uint8)
    np.testing.assert_array_equal(to_rows(to_blocks(codes)), codes)


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
@pytest.mark.parametrize("dim", [1, 7, 33, 130])
def test_exact_scores_are_those_of_float64(dim, metric):
    rng = np.random.default_rng(dim)
    X = rng.standard_normal((40, dim)).astype(np.float32)
    X[20:] = X[:20]
    Q = rng.standard_normal((3, dim)).astype(np.float32)
    ids = np.tile(rng.permutation(40), (3, 1))
    ids[:, :4] = -1
    scale = distances.inverse_norms(X)[ids] * distances.inverse_norms(Q)[:, None]
    addresses = X.ctypes.data + ids * 4 * dim
    names, scores = exact_best(Q, addresses, ids, scale, metric=metric, k=9)
    true = distances.exact_scores(Q, X, metric)
    gone = np.setdiff1d(np.arange(40), ids[0])
    true[:, gone] = -np.inf
    wanted, best, _ = top_k(true, 9)
    if dim > 1 or metric != "cosine":
        np.testing.assert_array_equal(names, wanted)
    np.testing.assert_allclose(scores, best, rtol=2e-7)
