"""Searches of lists against sums in float64, and exact scores of candidates against the oracle."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from orthant.kernels import bitmaps, distances
from orthant.kernels.clustering.list_blocks import to_blocks
from orthant.kernels.clustering.list_rank import rank_places
from orthant.kernels.clustering.list_scan import round_tables
from orthant.kernels.clustering.list_search import Coarse, Held, Limits, search_lists
from orthant.kernels.rows import plain
from orthant.kernels.topk import top_k
from orthant.quantization.codebooks import codes_of

SIZES = (64, 192, 128)
BEGINS = np.array([0, 1, 4, 6])
N, SIZE = sum(SIZES), 2


def made(books, bits, metric="dot", seed=0, queries=3):
    """Lists of random codes, and every query's true score with every place."""
    rng = np.random.default_rng(seed)
    dim = books * SIZE
    words = rng.standard_normal((books, 1 << bits, SIZE)).astype(np.float32)
    centroids = rng.standard_normal((3, dim)).astype(np.float32)
    indices = rng.integers(0, 1 << bits, (N, books))
    coarse = Coarse.of(centroids, words, metric=metric, bits=bits, spread=0.0, stride=SIZE)
    Q = rng.standard_normal((queries, dim)).astype(np.float32)
    labels = np.repeat(np.arange(3), SIZES)
    rest = words[np.arange(books), indices].reshape(N, dim).astype(np.float64)
    stood = rest + centroids[labels]
    bias = np.zeros(0, np.float32)
    wide = Q.astype(np.float64)
    if metric == "l2":
        bias = (2 * (rest * centroids[labels]).sum(1) + (rest * rest).sum(1)).astype(np.float32)
        # Equal for all lists, so left out by searches: the distance of the query to the mean of the centroids.
        far = ((wide - centroids.mean(0)) ** 2).sum(1)
        scores = -((wide[:, None] - stood[None]) ** 2).sum(2) + far[:, None]
    else:
        if metric == "cosine":
            wide /= np.linalg.norm(wide, axis=1, keepdims=True)
        scores = wide @ stood.T - (wide @ centroids.mean(0, dtype=np.float64))[:, None]
    live = np.full(6, np.iinfo(np.uint64).max, np.uint64)
    arrays = (BEGINS, to_blocks(codes_of(indices, bits)), bias, live, np.array(SIZES))
    held = Held(*(plain(array) for array in arrays), N, plain(np.arange(N)))
    return Q, coarse, held, scores


def under(held, mask):
    words = bitmaps.from_mask(mask)
    counts = np.array([mask[64 * a : 64 * b].sum() for a, b in itertools.pairwise(BEGINS)])
    return replace(held, words=plain(words), counts=plain(counts), total=int(mask.sum()))


def error_of(coarse, Q, bits, held):
    """How far sums may be off: centroids by bytes, and tables by bytes where codes have 4 bits."""
    lengths = np.linalg.norm(Q, axis=1).max()
    rough = 0.02 * lengths * np.abs(coarse.weights).max() * 127 * np.sqrt(Q.shape[1])
    spans = np.abs(np.asarray(coarse.books)).max() * np.abs(Q).max() * 8
    return rough + (len(coarse.books) * spans / 254 if bits == 4 else 0) + 1e-3


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
@pytest.mark.parametrize(("books", "bits"), [(1, 4), (2, 4), (3, 4), (16, 4), (97, 4), (1, 8), (5, 8), (16, 8)])
def test_finds_the_codes_with_the_largest_scores(books, bits, metric):
    Q, coarse, held, scores = made(books, bits, metric)
    places, found, spent = search_lists(Q, Q, coarse, held, Limits(5, 3, 12))
    error = error_of(coarse, Q, bits, held)
    for q in range(len(Q)):
        np.testing.assert_allclose(found[q], scores[q, places[q]], atol=error)
        assert len(set(places[q].tolist())) == 12 and (np.diff(found[q]) <= 0).all()
        assert scores[q, places[q]].min() >= np.sort(scores[q])[-12] - 2 * error
    assert spent.tolist() == [[N, 3, 0, 12]] * 3
    alone = [search_lists(Q[i : i + 1], Q[i : i + 1], coarse, held, Limits(5, 3, 12))[0][0] for i in range(3)]
    np.testing.assert_array_equal(alone, places)


@pytest.mark.parametrize("bits", [4, 8])
def test_only_marked_places_of_the_nearest_lists_are_found(bits):
    Q, coarse, held, _ = made(6, bits, seed=3)
    mask = np.random.default_rng(1).random(N) < 0.3
    places, _, spent = search_lists(Q, Q, coarse, under(held, mask), Limits(5, 1, 12))
    assert mask[places].all()
    for q in range(3):
        assert len({int(np.searchsorted(64 * BEGINS, p, side="right")) for p in places[q]}) == 1
        assert spent[q, 1] == 1 and spent[q, 0] in SIZES


def test_lists_are_taken_until_there_are_enough_places():
    Q, coarse, held, _ = made(2, 8)
    mask = np.zeros(N, dtype=bool)
    mask[[3, 70, 71]] = True
    places, scores, spent = search_lists(Q, Q, coarse, under(held, mask), Limits(5, 1, 12))
    for q in range(3):
        assert sorted(places[q, :3].tolist()) == [3, 70, 71] and (places[q, 3:] == -1).all()
        assert np.isneginf(scores[q, 3:]).all() and spent[q, 3] == 3 and spent[q, 1] >= 2


def test_wide_lists_go_first_under_cosine_when_that_is_asked_for():
    centroids = np.array([[0.9, 0.1], [0.5, 0.5]], np.float32)
    words = np.zeros((1, 16, 2), np.float32)
    begins, counts = np.array([0, 1, 2]), np.array([64, 64])
    codes, live = np.zeros((2, 1, 64), np.uint8), np.full(2, np.iinfo(np.uint64).max, np.uint64)
    arrays = (begins, codes, np.zeros(0, np.float32), live, counts)
    held = Held(*(plain(array) for array in arrays), 128, plain(np.arange(128)))
    Q = np.array([[0.6, 0.59]], np.float32)
    first = []
    for spread in (0.0, 1.0):
        coarse = Coarse.of(centroids, words, metric="cosine", bits=4, spread=spread, stride=2)
        first.append(int(search_lists(Q, Q, coarse, held, Limits(1, 1, 4))[0][0, 0]) // 64)
    assert first == [0, 1]


def test_tables_are_rounded_by_one_step_for_all_books():
    for tables in (np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32), np.full((3, 16), 0.5, "f4")):
        small = np.zeros((2, 32), np.uint8)
        step, lowest, most = round_tables(tables, small)
        books = [small[0, :16], small[1, :16], small[0, 16:]]
        assert small.max() <= 127 and most == sum(int(book.max()) for book in books)
        for book, true in zip(books, tables, strict=True):
            assert (np.abs(book * step + true.min() - true) <= step / 2 + 1e-6).all()
        assert lowest == pytest.approx(tables.min(axis=1).sum(), rel=1e-6)


@pytest.mark.parametrize("metric", ["dot", "cosine", "l2"])
@pytest.mark.parametrize("dim", [1, 7, 33, 130])
def test_exact_scores_are_those_of_float64(dim, metric):
    rng = np.random.default_rng(dim)
    X = rng.standard_normal((40, dim)).astype(np.float32)
    X[20:] = X[:20]
    Q = rng.standard_normal((3, dim)).astype(np.float32)
    ids = np.tile(rng.permutation(40), (3, 1))
    ids[:, 36:] = -1
    addresses = X.ctypes.data + ids * 4 * dim
    told = np.zeros(ids.shape, np.float32)
    names, scores, read = rank_places(Q, addresses, told, ids, metric=metric, k=9, sure=np.inf)
    true = distances.exact_scores(Q, X, metric)
    true[:, np.setdiff1d(np.arange(40), ids[0])] = -np.inf
    wanted, best, _ = top_k(true, 9)
    if dim > 1 or metric != "cosine":
        np.testing.assert_array_equal(names, wanted)
    np.testing.assert_allclose(scores, best, rtol=2e-7)
    assert read.tolist() == [36] * 3


def test_what_codes_rule_out_is_not_read():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 32)).astype(np.float32)
    Q = rng.standard_normal((20, 32)).astype(np.float32)
    true = distances.exact_scores(Q, X, "l2")
    # Codes that are off by a tenth of how far scores differ, and all of them by the same besides.
    told = (true + rng.standard_normal(true.shape) * 0.1 * true.std() + 5).astype(np.float32)
    ids = np.argsort(-told, axis=1)
    addresses, told = X.ctypes.data + ids * 128, np.take_along_axis(told, ids, axis=1)
    every, few = (rank_places(Q, addresses, told, ids, metric="l2", k=5, sure=s) for s in (np.inf, 3.5))
    np.testing.assert_array_equal(every[0], few[0])
    np.testing.assert_array_equal(every[1], few[1])
    assert (every[2] == 400).all() and few[2].max() < 120 and few[2].min() >= 16
    # A code that says nothing rules nothing out.
    blind = rank_places(Q, addresses, told * 0, ids, metric="l2", k=5)
    np.testing.assert_array_equal(blind[0], every[0])
