"""Posting-list kernels against plain Python, and BM25 against a naive loop and against bm25s."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthant.kernels import postings as kernel

documents = st.lists(st.lists(st.integers(0, 12), max_size=9), min_size=1, max_size=14)


def build(docs: list[list[int]]) -> kernel.Postings:
    terms = np.array([t for doc in docs for t in doc], dtype=np.int32)
    owners = np.repeat(np.arange(len(docs), dtype=np.int32), [len(doc) for doc in docs])
    return kernel.build_postings(terms, owners)


def as_dict(postings: kernel.Postings) -> dict[int, dict[int, int]]:
    out = {}
    for term in postings.terms.tolist():
        docs, counts = kernel.postings_of(postings, term)
        assert np.all(np.diff(docs.astype(np.int64)) > 0)
        out[term] = dict(zip(docs.tolist(), counts.tolist(), strict=True))
    return out


def expected(docs: list[list[int]]) -> dict[int, dict[int, int]]:
    out: dict[int, dict[int, int]] = {}
    for i, doc in enumerate(docs):
        for term, count in Counter(doc).items():
            out.setdefault(term, {})[i] = count
    return out


@settings(derandomize=True, max_examples=60, deadline=None)
@given(documents)
def test_build_matches_counting(docs):
    assert as_dict(build(docs)) == expected(docs)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(documents, documents, documents)
def test_join_equals_building_at_once(a, b, c):
    joined = kernel.join_postings([build(a), build(b), build(c)], [0, len(a), len(a) + len(b)])
    assert as_dict(joined) == expected(a + b + c)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(documents, st.integers(0, 2**14 - 1))
def test_drop_documents_equals_building_the_rest(docs, bits):
    keep = [bool(bits >> i & 1) for i in range(len(docs))]
    numbers = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
    rest = [doc for doc, kept in zip(docs, keep, strict=True) if kept]
    assert as_dict(kernel.drop_documents(build(docs), numbers)) == expected(rest)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(documents, st.randoms(use_true_random=False))
def test_renumber_equals_building_in_that_order(docs, random):
    order = list(range(len(docs)))
    random.shuffle(order)
    numbers = np.argsort(order).astype(np.int32)
    assert as_dict(kernel.renumber_documents(build(docs), numbers)) == expected([docs[i] for i in order])


@settings(derandomize=True, max_examples=60, deadline=None)
@given(documents, st.sets(st.integers(0, 15)))
def test_union_adds_counts(docs, terms):
    found, counts = kernel.union_postings(build(docs), sorted(terms))
    reference = {i: sum(t in terms for t in doc) for i, doc in enumerate(docs)}
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == {i: n for i, n in reference.items() if n}


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), max_size=30), st.lists(st.integers(0, 2), min_size=1, max_size=4))
def test_find_phrase_matches_slicing(tokens, phrase):
    found = kernel.find_phrase(np.array(tokens, dtype=np.int32), phrase)
    assert found.tolist() == [i for i in range(len(tokens)) if tokens[i : i + len(phrase)] == phrase]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=40), st.lists(st.integers(0, 1), min_size=2, max_size=19), st.randoms())
def test_find_phrase_by_blocks_matches_slicing(tokens, phrase, random):
    start = random.randrange(len(tokens) + 1)
    for wanted in (phrase, tokens[start : start + len(phrase)]):
        if len(wanted) > 1:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(kernel, "_PATIENCE", 0)
                patch.setattr(kernel, "_STRETCH", 7)
                found = kernel.find_phrase(np.array(tokens, dtype=np.uint8), wanted)
            assert found.tolist() == [i for i in range(len(tokens)) if tokens[i : i + len(wanted)] == wanted]


@pytest.mark.parametrize("phrase", [[7] * 500, [7] * 499 + [8], [7] * 250 + [8] + [7] * 249])
def test_a_repeated_word_costs_no_look_per_word(phrase):
    class Counted(np.ndarray):
        looks = 0

        def __getitem__(self, key):
            out = super().__getitem__(key)
            Counted.looks += np.size(out)
            return out

    tokens = np.full(20_000, 7, dtype=np.int32)
    tokens[12_000:12_500] = phrase
    found = kernel.find_phrase(tokens.view(Counted), phrase)
    expected = [i for i in range(19_501) if tokens[i : i + 500].tolist() == phrase]
    assert found.tolist() == expected and len(expected) >= 1
    assert Counted.looks < 60 * len(tokens)


@pytest.mark.parametrize(("repeats", "dtype"), [(255, np.uint8), (256, np.uint16), (65_536, np.uint32)])
def test_counts_are_never_cut(repeats, dtype):
    postings = kernel.join_postings([build([[1] * repeats]), build([[1]])], [0, 1])
    assert postings.counts.dtype == dtype
    assert as_dict(postings) == {1: {0: repeats, 1: 1}}


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=900), st.integers(1, 20))
def test_top_documents_is_a_stable_sort(values, k):
    scores = np.array(values, dtype=np.float32)
    order = sorted((i for i, v in enumerate(values) if v > 0), key=lambda i: (-values[i], i))
    assert kernel.top_documents(scores, k).tolist() == order[:k]


def test_top_documents_with_distinct_scores_across_blocks():
    scores = np.random.default_rng(1).random(10_000).astype(np.float32)
    assert kernel.top_documents(scores, 10).tolist() == np.argsort(-scores)[:10].tolist()


def naive_bm25(docs: list[list[int]], query: list[int], k1: float, b: float) -> list[float]:
    average = sum(map(len, docs)) / len(docs)
    out = []
    for doc in docs:
        score = 0.0
        for term in query:
            df = sum(term in other for other in docs)
            tf = doc.count(term)
            if tf:
                idf = math.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
                score += idf * tf / (tf + k1 * (1 - b + b * len(doc) / average))
        out.append(score)
    return out


@settings(derandomize=True, max_examples=60, deadline=None)
@given(documents, st.lists(st.integers(0, 14), max_size=6), st.sampled_from([(1.2, 0.75), (0.9, 0.4), (2.0, 0.0)]))
def test_bm25_matches_a_naive_loop(docs, query, parameters):
    k1, b = parameters
    lengths = np.array([len(doc) for doc in docs], dtype=np.int32)
    scores = kernel.bm25_scores(build(docs), lengths, query, k1=k1, b=b)
    np.testing.assert_allclose(scores, naive_bm25(docs, query, k1, b) if lengths.sum() else 0, rtol=2e-6, atol=1e-7)


def test_bm25_matches_the_bm25s_package():
    bm25s = pytest.importorskip("bm25s")
    rng = np.random.default_rng(3)
    docs = [rng.zipf(1.5, size=rng.integers(1, 40)).clip(max=200).tolist() for _ in range(300)]
    peer = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    peer.index([[str(t) for t in doc] for doc in docs], show_progress=False)
    lengths = np.array([len(doc) for doc in docs], dtype=np.int32)
    postings = build(docs)
    for _ in range(20):
        query = sorted({int(t) for t in docs[int(rng.integers(300))][:6]})
        ours = kernel.bm25_scores(postings, lengths, query)
        np.testing.assert_allclose(ours, peer.get_scores([str(t) for t in query]), rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.integers(0, 9), st.floats(0.125, 8, width=16), max_size=6), min_size=1, max_size=9))
def test_weights_are_kept_through_every_change(docs):
    def build_weighted(rows):
        terms = np.array([term for row in rows for term in sorted(row)], dtype=np.int32)
        owners = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row) for row in rows])
        weights = np.array([row[term] for row in rows for term in sorted(row)], dtype=np.float32)
        return kernel.build_weighted_postings(terms, owners, weights)

    whole = build_weighted(docs)
    wanted = {term: {i: row[term] for i, row in enumerate(docs) if term in row} for row in docs for term in row}
    assert as_dict(whole) == wanted and whole.counts.dtype == np.float32
    cut = len(docs) // 2
    parts, bases = [build_weighted(docs[:cut]), build_weighted(docs[cut:])], [0, cut]
    assert as_dict(kernel.join_postings(parts, bases)) == wanted
    query = {1: 2.0, 4: 0.5, 9: 3.0}
    scores = np.zeros(len(docs), dtype=np.float32)
    for term, weight in query.items():
        kernel.accumulate_products(scores, *kernel.postings_of(whole, term), weight)
    truth = [sum(weight * row.get(term, 0) for term, weight in query.items()) for row in docs]
    np.testing.assert_allclose(scores, truth, rtol=1e-6)
