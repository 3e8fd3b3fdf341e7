"""Posting lists as flat arrays: building, joining, and BM25 over them.

A set of posting lists is four arrays: ``terms`` (t,) int32 ascending, ``indptr`` (t + 1,) int64, ``docs`` (p,) int32
and ``counts`` (p,), unsigned for occurrences and float32 for weights. List i belongs to
``terms[i]`` and is ``docs[indptr[i]:indptr[i + 1]]``, ascending, each document once. Everything is NumPy: one gather
and one scatter per list already meets the time a query may take, and so a first answer never waits for a compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from orthant.types import FloatArray

__all__ = [
    "Postings",
    "accumulate_bm25",
    "accumulate_products",
    "bm25_scores",
    "build_postings",
    "build_weighted_postings",
    "drop_documents",
    "find_phrase",
    "inverse_document_frequency",
    "join_postings",
    "length_norm",
    "postings_of",
    "renumber_documents",
    "top_documents",
    "union_postings",
]

IntArray = npt.NDArray[Any]

_BLOCK = 64
_LOW32 = np.int64(0xFFFFFFFF)
# Tokens of a phrase are looked at one by one while that reads every token of the text at most this many times.
_PATIENCE = 16
# Positions that are numbered at a time: eight bytes each.
_STRETCH = 1 << 20


class Postings(NamedTuple):
    """Posting lists of many terms, back to back.

    Attributes
    ----------
    terms : ndarray of shape (t,), int32
        Term numbers, ascending.
    indptr : ndarray of shape (t + 1,), int64
        Where each list starts and ends.
    docs : ndarray of shape (p,), int32
        Document numbers, ascending within a list.
    counts : ndarray of shape (p,), uint8, uint16, uint32 or float32
        How often the term occurs in the document, or its weight there.
    """

    terms: IntArray
    indptr: IntArray
    docs: IntArray
    counts: IntArray


def _narrow(counts: IntArray) -> IntArray:
    largest = int(counts.max()) if len(counts) else 0
    dtype = np.uint8 if largest < 256 else np.uint16 if largest < 65_536 else np.uint32
    return counts.astype(dtype, copy=False)


def build_postings(terms: IntArray, docs: IntArray) -> Postings:
    """Return the posting lists of a stream of (term, document) occurrences.

    Parameters
    ----------
    terms : ndarray of shape (T,), int32
        Non-negative term number of each occurrence.
    docs : ndarray of shape (T,), int32
        Non-negative document number of each occurrence.

    Returns
    -------
    Postings
        One list per distinct term.

    Notes
    -----
    Cost: one sort of T int64 keys.
    """
    if len(terms) == 0:
        empty = np.zeros(0, dtype=np.int32)
        return Postings(empty, np.zeros(1, dtype=np.int64), empty, np.zeros(0, dtype=np.uint8))
    keys = terms.astype(np.int64)
    keys <<= 32
    keys |= docs
    keys.sort()
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    counts = np.diff(starts, append=len(keys))
    keys = keys[starts]
    owners = (keys >> 32).astype(np.int32)
    first = np.flatnonzero(np.concatenate(([True], owners[1:] != owners[:-1])))
    indptr = np.append(first, len(owners)).astype(np.int64, copy=False)
    return Postings(owners[first], indptr, (keys & _LOW32).astype(np.int32), _narrow(counts))


def build_weighted_postings(terms: IntArray, docs: IntArray, weights: FloatArray) -> Postings:
    """Return the posting lists of weighted terms.

    Parameters
    ----------
    terms : ndarray of shape (T,), int32
        Non-negative term numbers; a term occurs once per document.
    docs : ndarray of shape (T,), int32
        Document number of each, ascending.
    weights : ndarray of shape (T,), float32
        Its weight there.

    Returns
    -------
    Postings
        One list per distinct term, with float32 ``counts``.

    Notes
    -----
    Cost: one stable sort of T int32 keys.
    """
    order = np.argsort(terms, kind="stable")
    owners = terms[order]
    first = np.flatnonzero(np.concatenate((np.ones(min(1, len(owners)), dtype=bool), owners[1:] != owners[:-1])))
    indptr = np.append(first, len(owners)).astype(np.int64, copy=False)
    return Postings(
        owners[first].astype(np.int32, copy=False),
        indptr,
        docs[order].astype(np.int32, copy=False),
        weights[order].astype(np.float32, copy=False),
    )


def drop_documents(postings: Postings, numbers: IntArray) -> Postings:
    """Return the lists without some documents, the others renumbered, and terms left empty taken out.

    Parameters
    ----------
    postings : Postings
        The lists.
    numbers : ndarray of shape (n,), int32
        New number of each document, ascending over those kept; -1 drops it.

    Returns
    -------
    Postings
        The remaining lists.
    """
    docs = numbers[postings.docs]
    keep = docs >= 0
    before = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(keep, dtype=np.int64)))
    sizes = np.diff(before[postings.indptr])
    used = sizes > 0
    indptr = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(sizes[used], dtype=np.int64)))
    return Postings(postings.terms[used], indptr, docs[keep], postings.counts[keep])


def join_postings(parts: Sequence[Postings], bases: Sequence[int]) -> Postings:
    """Return the lists of several parts as one; the documents of part i start at number ``bases[i]``.

    Parameters
    ----------
    parts : sequence of Postings
        At least one part, in document order.
    bases : sequence of int
        Ascending, one per part, each at least the previous base plus the documents of that part.

    Returns
    -------
    Postings
        One list per term of any part.

    Notes
    -----
    Cost: O(postings) scatters and a sort of the distinct terms; no posting is compared.
    """
    terms = np.unique(np.concatenate([part.terms for part in parts]))
    places = [np.searchsorted(terms, part.terms) for part in parts]
    sizes = np.zeros(len(terms), dtype=np.int64)
    for part, place in zip(parts, places, strict=True):
        sizes[place] += np.diff(part.indptr)
    indptr = np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(sizes)))
    docs = np.empty(int(indptr[-1]), dtype=np.int32)
    counts = np.empty(len(docs), dtype=np.result_type(*[part.counts.dtype for part in parts]))
    heads = indptr[:-1].copy()
    for part, place, base in zip(parts, places, bases, strict=True):
        lengths = np.diff(part.indptr)
        target = np.repeat(heads[place] - part.indptr[:-1], lengths) + np.arange(len(part.docs))
        docs[target] = part.docs + np.int32(base)
        counts[target] = part.counts
        heads[place] += lengths
    return Postings(terms, indptr, docs, counts)


def renumber_documents(postings: Postings, numbers: IntArray) -> Postings:
    """Return the lists with every document renumbered, in any new order.

    Parameters
    ----------
    postings : Postings
        The lists.
    numbers : ndarray of shape (n,), int32
        New number of each document, a permutation.

    Returns
    -------
    Postings
        The same lists, ascending in the new numbers.

    Notes
    -----
    Cost: one sort of all postings.
    """
    docs = numbers[postings.docs]
    owner = np.repeat(np.arange(len(postings.terms)), np.diff(postings.indptr))
    order = np.lexsort((docs, owner))
    return Postings(postings.terms, postings.indptr, docs[order], postings.counts[order])


def postings_of(postings: Postings, term: int) -> tuple[IntArray, IntArray]:
    """Return one term's documents and counts, both empty when it has no list.

    Parameters
    ----------
    postings : Postings
        The lists.
    term : int
        Term number.

    Returns
    -------
    docs : ndarray of shape (m,), int32
        Ascending documents.
    counts : ndarray of shape (m,)
        Occurrences in each.
    """
    place = int(postings.terms.searchsorted(term))
    if place == len(postings.terms) or postings.terms[place] != term:
        return postings.docs[:0], postings.counts[:0]
    span = slice(int(postings.indptr[place]), int(postings.indptr[place + 1]))
    return postings.docs[span], postings.counts[span]


def union_postings(postings: Postings, terms: Sequence[int]) -> tuple[IntArray, IntArray]:
    """Return several terms' lists as the list of one term: documents united, counts added.

    Parameters
    ----------
    postings : Postings
        The lists.
    terms : sequence of int
        Distinct terms, ascending; those without a list are skipped.

    Returns
    -------
    docs : ndarray of shape (m,), int64
        Ascending documents.
    counts : ndarray of shape (m,), int64
        Added occurrences.
    """
    wanted = np.asarray(terms, dtype=np.int32)
    places = np.searchsorted(postings.terms, wanted)
    inside = places < len(postings.terms)
    places = places[inside][postings.terms[places[inside]] == wanted[inside]]
    starts = postings.indptr[places]
    spans = postings.indptr[places + 1] - starts
    before = np.cumsum(spans) - spans
    source = np.repeat(starts - before, spans) + np.arange(int(spans.sum()))
    # float64 sums of counts are exact below 2**53.
    totals = np.bincount(postings.docs[source], weights=postings.counts[source])
    docs = np.flatnonzero(totals)
    return docs, totals[docs].astype(np.int64)


def find_phrase(tokens: IntArray, phrase: Sequence[int]) -> npt.NDArray[np.int64]:
    """Return where a run of tokens starts in a longer one.

    Parameters
    ----------
    tokens : ndarray of shape (T,), int32 or uint8
        Tokens of all documents; documents are kept apart by a token that no phrase contains.
    phrase : sequence of int, length m
        At least one token.

    Returns
    -------
    ndarray of shape (n,), int64
        Ascending start positions.

    Notes
    -----
    Cost: O(T) for ordinary text, where few positions survive the first tokens; O(T log m) at worst, such as for a
    word repeated in the phrase and in a text.
    """
    last = len(tokens) - len(phrase) + 1
    if last <= 0:
        return np.zeros(0, dtype=np.int64)
    found = np.flatnonzero(tokens[:last] == phrase[0]).astype(np.int64, copy=False)
    for offset, token in enumerate(phrase[1:], start=1):
        if len(found) == 0:
            break
        if len(found) * (len(phrase) - offset) > _PATIENCE * len(tokens):
            return _find_repetitive(tokens, np.asarray(phrase), found)
        found = found[tokens[found + offset] == token]
    return found


def _find_repetitive(tokens: IntArray, phrase: IntArray, found: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Narrow candidates down by blocks of 1, 2, 4, ... tokens instead of token by token.

    Every block of the phrase gets a number, equal for equal blocks, made from the numbers of its two halves; blocks of
    the text that the phrase does not have get 0. A phrase is the sum of its blocks as a number is of powers of two.
    (R. M. Karp, R. E. Miller, A. L. Rosenberg, Rapid identification of repeated patterns, 1972.)
    """
    parts = []
    for start in range(int(found[0]), int(found[-1]) + 1, _STRETCH):
        own = found[np.searchsorted(found, start) : np.searchsorted(found, start + _STRETCH)] - start
        text, pattern = _numbered(tokens[start : start + _STRETCH + len(phrase) - 1], phrase)
        width, offset = 1, 0
        while len(own):
            if len(phrase) & width:
                own = own[text[own + offset] == pattern[offset]]
                offset += width
            if offset == len(phrase):
                break
            # Numbers of the phrase begin at 1, so that no pair with a 0 in it equals one of the phrase.
            text = text[:-width] * (len(phrase) + 1) + text[width:]
            pattern = pattern[:-width] * (len(phrase) + 1) + pattern[width:]
            text, pattern = _numbered(text, pattern)
            width *= 2
        parts.append(own + start)
    return np.concatenate(parts)


def _numbered(text: IntArray, pattern: IntArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the values of a pattern from 1; in the text all others get 0."""
    known, numbers = np.unique(pattern, return_inverse=True)
    places = np.minimum(np.searchsorted(known, text), len(known) - 1)
    return np.where(known[places] == text, places + 1, 0), numbers + 1


def inverse_document_frequency(df: int, count: int) -> float:
    """Return ``ln(1 + (count - df + 0.5) / (df + 0.5))``, positive for every df up to count.

    Parameters
    ----------
    df : int
        Documents with the term.
    count : int
        Documents in all.

    Returns
    -------
    float
        The weight.
    """
    return float(np.log1p((count - df + 0.5) / (df + 0.5)))


def length_norm(lengths: IntArray, average: float, *, k1: float = 1.2, b: float = 0.75) -> FloatArray:
    """Return ``k1 * (1 - b + b * length / average)`` for each document.

    Parameters
    ----------
    lengths : ndarray of shape (n,), int32
        Tokens per document.
    average : float
        Mean length; 0 when every document is empty.
    k1 : float, default 1.2
        Saturation: 0 ignores repeats, large values count them all.
    b : float, default 0.75
        Length correction from 0 (none) to 1 (full).

    Returns
    -------
    ndarray of shape (n,), float32
        What is added to the count in BM25's denominator.
    """
    return (k1 * (1.0 - b) + lengths * (k1 * b / average if average > 0 else 0.0)).astype(np.float32)


def accumulate_bm25(scores: FloatArray, docs: IntArray, counts: IntArray, norm: FloatArray, weight: float) -> None:
    """Add one term's BM25 contributions to the scores in place.

    Parameters
    ----------
    scores : ndarray of shape (n,), float32
        Changed.
    docs, counts : ndarray of shape (m,)
        The term's posting list.
    norm : ndarray of shape (n,), float32
        From ``length_norm``.
    weight : float
        Inverse document frequency times the term's weight in the query.
    """
    frequency = counts.astype(np.float32)
    part = norm[docs]
    part += frequency
    np.divide(frequency, part, out=part)
    part *= np.float32(weight)
    # Each document occurs once in a list, so a buffered fancy add loses nothing.
    scores[docs] += part


def accumulate_products(scores: FloatArray, docs: IntArray, weights: FloatArray, weight: float) -> None:
    """Add one term's part of a dot product to the scores in place.

    Parameters
    ----------
    scores : ndarray of shape (n,), float32
        Changed.
    docs, weights : ndarray of shape (m,)
        The term's posting list.
    weight : float
        The term's weight in the query.
    """
    # Each document occurs once in a list, so a buffered fancy add loses nothing.
    scores[docs] += weights * np.float32(weight)


def bm25_scores(
    postings: Postings,
    lengths: IntArray,
    terms: Sequence[int],
    *,
    weights: Sequence[float] | None = None,
    k1: float = 1.2,
    b: float = 0.75,
) -> FloatArray:
    """Score every document of one self-contained set of posting lists against a query.

    Parameters
    ----------
    postings : Postings
        The lists; their documents are the whole collection.
    lengths : ndarray of shape (n,), int32
        Tokens per document.
    terms : sequence of int
        Query terms; unknown ones add nothing.
    weights : sequence of float, optional
        Weight of each query term; 1 when left out.
    k1, b : float, default 1.2 and 0.75
        See ``length_norm``.

    Returns
    -------
    ndarray of shape (n,), float32
        BM25 scores; 0 where no term matches.

    Notes
    -----
    ``sum(weight * idf(t) * tf / (tf + k1 * (1 - b + b * length / average)))`` with the inverse document frequency of
    ``inverse_document_frequency``. Cost: O(postings of the query's terms + n).

    References
    ----------
    S. Robertson and H. Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, section 3.4.
    """
    scores = np.zeros(len(lengths), dtype=np.float32)
    norm = length_norm(lengths, float(lengths.mean()) if len(lengths) else 0.0, k1=k1, b=b)
    for term, weight in zip(terms, [1.0] * len(terms) if weights is None else weights, strict=True):
        docs, counts = postings_of(postings, term)
        if len(docs):
            idf = inverse_document_frequency(len(docs), len(lengths))
            accumulate_bm25(scores, docs, counts, norm, weight * idf)
    return scores


def top_documents(scores: FloatArray, k: int) -> npt.NDArray[np.int64]:
    """Return the k best documents with a positive score, best first, ties by the smaller number.

    Parameters
    ----------
    scores : ndarray of shape (n,), float32
        Non-negative scores.
    k : int
        Documents wanted, at least 1.

    Returns
    -------
    ndarray of shape (m,), int64
        Document numbers, m at most k.
    """
    blocks = len(scores) // _BLOCK
    floor = np.float32(0)
    if blocks >= k:
        # At least k documents reach the k-th largest of the blocks' maxima: nothing below it can be among the k.
        maxima = scores[: blocks * _BLOCK].reshape(blocks, _BLOCK).max(axis=1)
        floor = np.partition(maxima, blocks - k)[blocks - k]
    chosen = np.flatnonzero(scores >= floor) if floor > 0 else np.flatnonzero(scores)
    values = scores[chosen]
    if len(chosen) > 4 * k:
        kth = np.partition(values, len(values) - k)[len(values) - k]
        chosen = chosen[values >= kth]
        values = scores[chosen]
    return chosen[np.argsort(-values, kind="stable")[:k]]
