"""Compiled ranking against the ranking by NumPy, which it must equal bit by bit."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.collection.lexical import ranking as module
from orthant.collection.lexical.index import Lexical
from orthant.kernels.bitmaps import from_rows

WORDS = [f"w{i}" for i in range(40)] + ["the", "naïve", "東京都"]
QUERIES = [
    "w0 w1 w2",
    "w3 w3 w39 unknown",
    "the",
    "+w1 w2 w5",
    "w0 -w4 w7",
    'w2 "w1 w0"',
    "w1*",
    "東京 w0",
    "unknown",
    "-w1",
    " ".join(WORDS[:30]),
]


def random_texts(count, seed):
    """Frequent and rare words, and words that are said often enough for counts of two bytes."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, len(WORDS) + 1)
    texts = [" ".join(rng.choice(WORDS, size=rng.integers(0, 15), p=share / share.sum())) for _ in range(count)]
    texts[1] = "w2 " * 300
    return texts


@pytest.fixture
def compiled(monkeypatch):
    monkeypatch.setattr(module, "compiled", lambda: True)


def check(index, queries, *, k, syntax="operators", width=9, seed=0, **sets):
    also = np.random.default_rng(seed).integers(-1, 700, (len(queries), width))
    found = index.search_many(queries, k=k, also=also, syntax=syntax, **sets)
    for i, query in enumerate(queries):
        rows, scores = index.search(query, k=k, syntax=syntax, **sets)
        count = int(found.counts[i])
        assert found.rows[i, :count].tolist() == rows.tolist(), query
        np.testing.assert_array_equal(found.scores[i, :count], scores)
        assert (found.rows[i, count:] == -1).all() and np.isneginf(found.scores[i, count:]).all()
        wanted = np.unique(also[i][also[i] >= 0])
        known = dict(zip(also[i].tolist(), found.also[i].tolist(), strict=True))
        assert [known[row] for row in wanted.tolist()] == index.score_rows(query, wanted, syntax=syntax).tolist()


@pytest.mark.parametrize("syntax", ["operators", "plain"])
@pytest.mark.parametrize("k", [1, 3, 64, 1000])
def test_one_chunk_and_several(compiled, k, syntax):
    texts = random_texts(600, 0)
    whole = Lexical.empty().with_batch(range(600), texts)
    parts = Lexical.empty()
    # Rows with gaps, in three chunks of unlike size.
    for begin, stop in ((0, 400), (400, 560), (560, 600)):
        parts = parts.with_batch(np.arange(begin, stop) + begin // 4, texts[begin:stop])
    assert len(parts.chunks) > 1
    for index in (whole, parts):
        check(index, QUERIES, k=k, syntax=syntax)


@pytest.mark.parametrize("keep", [0.02, 0.5, 1.0])
def test_deleted_rows_and_filters(compiled, keep):
    rng = np.random.default_rng(1)
    index = Lexical.empty().with_batch(np.arange(3, 603), random_texts(600, 1))
    index = index.without(3 + rng.choice(600, 50, replace=False)).with_batch([700], ["w0 w1 the"])
    live = from_rows(index.rows())
    # Shorter than the rows: what lies behind the end of a bitmap is not in it.
    allowed = from_rows(np.flatnonzero(rng.random(580) < keep))
    check(index, QUERIES, k=20, live=live)
    check(index, QUERIES, k=20, live=live, allowed=allowed)
    check(index, QUERIES, k=5, allowed=from_rows(np.zeros(0, np.int64)))
    # Without dead documents and gaps, a word of the bitmaps decides on 64 documents.
    whole = Lexical.empty().with_batch(np.arange(3, 603), random_texts(600, 2))
    check(whole, QUERIES, k=20, live=from_rows(whole.rows()), allowed=allowed)


def test_threads_and_batches_do_not_change_answers(compiled):
    index = Lexical.empty().with_batch(range(500), random_texts(500, 3))
    many = [QUERIES[i % len(QUERIES)] for i in range(60)]
    one, two = (index.search_many(many, k=7, threads=threads) for threads in (1, 2))
    np.testing.assert_array_equal(one.rows, two.rows)
    np.testing.assert_array_equal(one.scores, two.scores)
    check(index, many, k=7)


def test_no_documents_and_no_queries(compiled):
    empty = Lexical.empty()
    assert empty.search_many(["w0", "the"], k=3).counts.tolist() == [0, 0]
    assert empty.with_batch([0], ["w0"]).search_many([], k=3).rows.shape == (0, 3)


def test_numpy_answers_until_it_is_compiled(monkeypatch):
    monkeypatch.setattr(module, "compiled", lambda: False)
    index = Lexical.empty().with_batch(range(300), random_texts(300, 4))
    monkeypatch.setattr(Lexical, "_ranker", lambda self: pytest.fail("compiled code was asked"))
    check(index, QUERIES, k=10)
