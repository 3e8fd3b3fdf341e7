"""Rows at the edges of lists move where that empties a block."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.index import IVF
from orthant.index.ivf.filling import whole_blocks
from orthant.kernels.clustering.list_blocks import BLOCK
from orthant.kernels.clustering.list_rank import GROUP
from orthant.kernels.clustering.nearest import nearest
from orthant.kernels.warmup import wait

ROWS, LISTS, DIM = 4000, 30, 16


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((ROWS, DIM)).astype(np.float32)
    centroids = 0.5 * rng.standard_normal((LISTS, DIM)).astype(np.float32)
    return X, centroids, nearest(X, centroids)


def blocks_of(labels):
    return int((-(-np.bincount(labels, minlength=LISTS) // BLOCK)).sum())


def squares(X, centroids, labels):
    return ((X - centroids[labels]) ** 2).sum(1)


def test_blocks_are_saved_by_rows_that_hardly_lose(rows):
    X, centroids, labels = rows
    found, before = whole_blocks(X, centroids, labels), squares(X, centroids, labels)
    empty = blocks_of(labels) - -(-ROWS // BLOCK)
    assert blocks_of(labels) - blocks_of(found) > empty / 2
    lost = squares(X, centroids, found) - before
    assert lost.max() <= 0.1 * before.mean() * 1.001
    assert (lost[found == labels] == 0).all() and 0 < (found != labels).mean() < 0.2


def test_each_list_gives_whole_tails_or_nothing(rows):
    X, centroids, labels = rows
    found = whole_blocks(X, centroids, labels)
    before, after = (np.bincount(one, minlength=LISTS) for one in (labels, found))
    gave = np.bincount(labels[found != labels], minlength=LISTS) > 0
    assert gave.any() and (after[gave] % BLOCK == 0).all()
    # None goes over the end of the block that it had room in.
    assert (-(-after // BLOCK) <= -(-before // BLOCK)).all()


def test_lists_that_are_full_or_far_apart_stay(rows):
    X, _, _ = rows
    labels = np.repeat(np.arange(10), 2 * BLOCK)
    centroids = np.stack([X[: len(labels)][labels == number].mean(0) for number in range(10)])
    assert whole_blocks(X[: len(labels)], centroids, labels) is labels
    far = (1000 * np.eye(LISTS, DIM, dtype=np.float32))[:DIM]
    labels = np.arange(ROWS) % DIM
    np.testing.assert_array_equal(whole_blocks(X + far[labels], far, labels), labels)
    np.testing.assert_array_equal(whole_blocks(X, X.mean(0, keepdims=True), labels * 0), labels * 0)


def test_an_index_reads_fewer_codes_than_nearest_lists_would():
    wait(GROUP)
    X = np.random.default_rng(0).standard_normal((6000, DIM)).astype(np.float32)
    index = IVF(DIM, "l2", lists=60)
    index.add(X)
    plain = IVF(DIM, "l2", codec=index.codec)
    plain.add(X)
    nearest_blocks = -(-np.bincount(index.codec.assign(X), minlength=60) // BLOCK)
    assert index._lists.sizes.sum() < 0.93 * nearest_blocks.sum() * BLOCK
    found, there = (one.search(X[:200], 1, effort=60) for one in (index, plain))
    assert found.cost.distances < there.cost.distances
    np.testing.assert_array_equal(found.ids.ravel(), np.arange(200))


def test_few_candidates_are_read_where_few_are_asked_for():
    wait(GROUP)
    X = np.random.default_rng(1).standard_normal((5000, DIM)).astype(np.float32)
    index = IVF(DIM, "l2", lists=20, rerank=2)
    index.add(X)
    assert index.search(X[:50], 10, effort=20).cost.details["reranked"] <= 50 * 20
    assert index.search(X[:50], 1, effort=20).cost.details["reranked"] <= 50 * 8
