"""Exports: FAISS and hnswlib find what the index finds, with its ids."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from orthant.errors import InputError, MissingExtraError
from orthant.index import Flat, to_faiss, to_hnswlib

METRICS = ("cosine", "dot", "l2")
K = 5


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return rng.standard_normal((500, 9)).astype(np.float32), rng.standard_normal((15, 9)).astype(np.float32)


class Linked:
    """A graph as exports see it: links between slots, some of them free."""

    def __init__(self, X, ids, metric, *, width=15, hidden=0):
        self.X, self.ids, self.metric, self.dim = X, ids, metric, X.shape[1]
        self.hidden = hidden
        rows = X / np.linalg.norm(X, axis=1, keepdims=True) if metric == "cosine" else X
        closeness = rows @ rows.T if metric == "dot" else -np.square(rows[:, None] - rows).sum(-1)
        closeness[:, ids < 0] = -np.inf
        np.fill_diagonal(closeness, -np.inf)
        self.links = np.argsort(-closeness, axis=1)[:, :width].astype(np.int32)
        # Gaps in the middle, a few links far away, and some to free slots.
        self.links[:, 3] = -1
        rng = np.random.default_rng(1)
        self.links[:, 8:] = rng.integers(0, len(X), (len(X), width - 8))

    def __len__(self):
        return int((self.ids >= 0).sum()) + self.hidden

    def adjacency(self):
        return self.links

    def slot_ids(self):
        return self.ids

    def reconstruct(self, ids):
        place = {i: row for row, i in enumerate(self.ids)}
        return self.X[[place[i] for i in ids]]


def _ids(X):
    ids = np.random.default_rng(2).permutation(3_000)[: len(X)].astype(np.int64)
    ids[[0, 7, 499]] = -1
    return ids


def _exact(X, ids, metric):
    index = Flat(X.shape[1], metric)
    index.add(X[ids >= 0], ids[ids >= 0])
    return index


def _faiss_search(index, Q, metric):
    return index.search(Q / np.linalg.norm(Q, axis=1, keepdims=True) if metric == "cosine" else Q, K)


@pytest.mark.parametrize("metric", METRICS)
def test_flat_becomes_an_exact_index_without_removed_rows(vectors, metric):
    X, Q = vectors
    index = Flat(9, metric)
    ids = index.add(X, np.arange(500)[::-1] * 3)
    index.remove(ids[:60])
    want = index.search(Q, K)
    if pytest.importorskip("faiss"):
        scores, found = _faiss_search(to_faiss(index), Q, metric)
        np.testing.assert_array_equal(found, want.ids)
        np.testing.assert_allclose(-scores if metric == "l2" else scores, want.scores, rtol=1e-4, atol=1e-5)
    if pytest.importorskip("hnswlib"):
        np.testing.assert_array_equal(to_hnswlib(index).knn_query(Q, K)[0].astype(np.int64), want.ids)


@pytest.mark.parametrize("metric", METRICS)
def test_links_are_followed_with_the_ids_of_the_index(vectors, metric):
    pytest.importorskip("faiss")
    X, Q = vectors
    ids = _ids(X)
    want = _exact(X, ids, metric).search(Q, K).ids
    exported = to_faiss(Linked(X, ids, metric), effort=200)
    assert (_faiss_search(exported, Q, metric)[1] == want).mean() > 0.95
    assert exported.ntotal == 497
    # With no effort, a graph search finds less: it is the links that are walked, not a scan.
    small = to_faiss(Linked(X, ids, metric), effort=1)
    assert (_faiss_search(small, Q, metric)[1] == want).mean() < 0.9


@pytest.mark.parametrize("metric", METRICS)
def test_links_are_followed_by_hnswlib(vectors, metric):
    pytest.importorskip("hnswlib")
    X, Q = vectors
    ids = _ids(X)
    want = _exact(X, ids, metric).search(Q, K).ids
    exported = to_hnswlib(Linked(X, ids, metric), effort=200)
    assert (exported.knn_query(Q, K)[0].astype(np.int64) == want).mean() > 0.95
    exported.set_ef(K)
    assert (exported.knn_query(Q, K)[0].astype(np.int64) == want).mean() < 1
    assert exported.get_current_count() == 497 and exported.M == 8


def test_ids_that_share_a_place_are_told(vectors):
    pytest.importorskip("faiss")
    X, _ = vectors
    with pytest.warns(UserWarning, match="4 ids share the place"):
        to_faiss(Linked(X, _ids(X), "l2", hidden=4))


def test_what_cannot_be_exported_is_refused_or_told(vectors, monkeypatch):
    X, _ = vectors
    for export in (to_faiss, to_hnswlib):
        with pytest.raises(InputError, match="empty index"):
            export(Flat(3))
    with pytest.raises(InputError, match="a SimpleIndex to export"):
        to_faiss(type("SimpleIndex", (), {"metric": "l2", "dim": 3})())
    for name, export in (("faiss", to_faiss), ("hnswlib", to_hnswlib)):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError, match="pip install"):
            export(_exact(X, _ids(X), "l2"))
