"""The best documents of many posting lists by BM25, for several queries in one call.

The sums are those of :func:`orthant.kernels.postings.accumulate_bm25`, addition by addition, so that whoever answers by
NumPy until this is compiled gives the same scores to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.addresses import load_f32, load_i32, load_i64, load_u8, load_u16, load_u32, load_u64
from orthant.kernels.compiling import kernel

__all__ = ["CHUNK_FIELDS", "GROUP", "LIST_FIELDS", "find_lists", "rank_documents"]

GROUP = "retrieval"
"""The group of kernels that searches use once it is compiled."""

CHUNK_FIELDS = ("documents", "rows", "norms", "dead", "terms", "known", "indptr", "docs", "counts", "width")
"""What a line of the table of chunks holds: documents, and the addresses of their rows, length norms and marks of the
dead (0 for none); then terms, and the addresses of their posting lists, with the bytes of a count."""

LIST_FIELDS = ("docs", "counts", "length", "width", "term")
"""What a line of the table of lists holds: two addresses, the postings, the bytes of a count, the term that weighs."""

_BLOCK = 64
_ONE = np.uint64(1)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def add_list(docs: Any, counts: Any, length: Any, width: Any, norms: Any, weight: Any, sums: Any) -> None:
    """Add one term's part of BM25 to the sums of its documents."""
    if width == 1:
        for j in range(length):
            doc, count = load_i32(docs + 4 * j), np.float32(load_u8(counts + j))
            sums[doc] += count / (load_f32(norms + 4 * np.int64(doc)) + count) * weight
    elif width == 2:
        for j in range(length):
            doc, count = load_i32(docs + 4 * j), np.float32(load_u16(counts + 2 * j))
            sums[doc] += count / (load_f32(norms + 4 * np.int64(doc)) + count) * weight
    else:
        for j in range(length):
            doc, count = load_i32(docs + 4 * j), np.float32(load_u32(counts + 4 * j))
            sums[doc] += count / (load_f32(norms + 4 * np.int64(doc)) + count) * weight


@kernel
def may_show(row: Any, doc: Any, dead: Any, sets: Any, fits: Any) -> Any:
    """Return whether a document is alive, satisfies its query's conditions, and its row lies in every set."""
    if dead != 0 and load_u8(dead + doc) != 0:
        return False
    if fits != 0 and load_u8(fits + doc) == 0:
        return False
    word = row >> 6
    for s in range(sets.shape[0]):
        if word >= sets[s, 1] or (load_u64(sets[s, 0] + 8 * word) >> np.uint64(row & 63)) & _ONE == 0:
            return False
    return True


@kernel
def offer(scores: Any, rows: Any, size: Any, k: Any, score: Any, row: Any) -> Any:
    """Put a document into a heap whose first is its worst, and return the heap's size."""
    if size < k:
        place = size
        while place > 0:
            parent = (place - 1) >> 1
            if scores[parent] < score or (scores[parent] == score and rows[parent] > row):
                break
            scores[place] = scores[parent]
            rows[place] = rows[parent]
            place = parent
        scores[place] = score
        rows[place] = row
        return size + 1
    if scores[0] > score or (scores[0] == score and rows[0] < row):
        return size
    sink(scores, rows, size, score, row)
    return size


@kernel
def sink(scores: Any, rows: Any, size: Any, score: Any, row: Any) -> None:
    """Put a document in the place of a heap's first."""
    place = 0
    while True:
        child = 2 * place + 1
        if child >= size:
            break
        other = child + 1
        if other < size and (
            scores[other] < scores[child] or (scores[other] == scores[child] and rows[other] > rows[child])
        ):
            child = other
        if scores[child] > score or (scores[child] == score and rows[child] < row):
            break
        scores[place] = scores[child]
        rows[place] = rows[child]
        place = child
    scores[place] = score
    rows[place] = row


@kernel
def settle_heap(scores: Any, rows: Any, size: Any) -> None:
    """Bring a heap into order, best first."""
    for last in range(size - 1, 0, -1):
        score, row = scores[last], rows[last]
        scores[last] = scores[0]
        rows[last] = rows[0]
        sink(scores, rows, last, score, row)


@kernel
def hide_word(sums: Any, begin: Any, stop: Any, shown: Any) -> None:
    """Set sums to 0 where a word of bits has none."""
    for doc in range(begin, stop):
        # Without a branch: which documents have a sum is as good as random.
        sums[doc] *= np.float32((shown >> np.uint64(doc - begin)) & _ONE)


@kernel
def hide(sums: Any, total: Any, chunk: Any, sets: Any, fits: Any) -> None:
    """Set the sums of documents that must not be returned to 0."""
    first, dead = load_i64(chunk[1]), chunk[3]
    if dead == 0 and fits == 0 and load_i64(chunk[1] + 8 * (total - 1)) - first == total - 1:
        # Rows without gaps: a word of the bitmaps says it of 64 documents.
        begin = np.int64(0)
        while begin < total:
            row = first + begin
            stop = min(total, begin + 64 - (row & 63))
            shown = _ALL
            for s in range(sets.shape[0]):
                shown &= load_u64(sets[s, 0] + 8 * (row >> 6)) if row >> 6 < sets[s, 1] else np.uint64(0)
            if shown != _ALL:
                hide_word(sums, begin, stop, shown >> np.uint64(row & 63))
            begin = stop
        return
    for doc in range(total):
        if sums[doc] > 0 and not may_show(load_i64(chunk[1] + 8 * doc), doc, dead, sets, fits):
            sums[doc] = np.float32(0)


@kernel
def block_maxima(bits: Any, total: Any, maxima: Any) -> Any:
    """Write the largest sum of each block of documents, and return how many blocks there are."""
    blocks = total // _BLOCK
    for b in range(blocks):
        block = bits[b * _BLOCK : (b + 1) * _BLOCK]
        largest = np.int32(0)
        for j in range(_BLOCK):
            largest = max(largest, block[j])
        maxima[b] = largest
    if blocks * _BLOCK < total:
        largest = np.int32(0)
        for j in range(blocks * _BLOCK, total):
            largest = max(largest, bits[j])
        maxima[blocks] = largest
        blocks += 1
    return blocks


@kernel
def take_best(sums: Any, total: Any, rows_at: Any, k: Any, maxima: Any, scores: Any, rows: Any, size: Any) -> Any:
    """Offer the documents with the largest sums to the heap, and return the heap's size."""
    # Sums are not negative: as integers they are in the same order, and the largest of a block is soon found.
    bits, worst = sums.view(np.int32), scores.view(np.int32)
    blocks = block_maxima(bits, total, maxima)
    floor = np.int32(1)
    if blocks >= k:
        # At least k documents reach the k-th largest of the blocks' maxima.
        floor = max(floor, np.partition(maxima[:blocks], blocks - k)[blocks - k])
    if size == k:
        floor = max(floor, worst[0])
    for b in range(blocks):
        if maxima[b] < floor:
            continue
        for doc in range(b * _BLOCK, min((b + 1) * _BLOCK, total)):
            if bits[doc] >= floor:
                size = offer(scores, rows, size, k, sums[doc], load_i64(rows_at + 8 * doc))
                if size == k:
                    floor = max(floor, worst[0])
    return size


@kernel
def find_document(rows_at: Any, total: Any, row: Any) -> Any:
    """Return a row's place among ascending rows, -1 where it is absent."""
    first, last = load_i64(rows_at), load_i64(rows_at + 8 * (total - 1))
    if row < first or row > last:
        return np.int64(-1)
    if last - first == total - 1:
        return row - first
    low, high = np.int64(0), total - 1
    while low < high:
        middle = (low + high) >> 1
        if load_i64(rows_at + 8 * middle) < row:
            low = middle + 1
        else:
            high = middle
    return low if load_i64(rows_at + 8 * low) == row else np.int64(-1)


@kernel
def find_term(known: Any, terms: Any, term: Any) -> Any:
    """Return a term's place among ascending ones, -1 where it is absent."""
    low, high = np.int64(0), terms
    while low < high:
        middle = (low + high) >> 1
        if load_i32(known + 4 * middle) < term:
            low = middle + 1
        else:
            high = middle
    return low if low < terms and load_i32(known + 4 * low) == term else np.int64(-1)


def _find_examples() -> Iterable[tuple[Any, ...]]:
    table, numbers = np.zeros((1, 1), np.int64), np.zeros(1, np.int64)
    yield table, numbers, numbers, table, table, numbers


@kernel(group=GROUP, examples=_find_examples)
def find_lists(chunks: Any, terms: Any, starts: Any, lists: Any, bounds: Any, frequencies: Any) -> None:
    """Look up the posting lists of several queries' terms.

    Parameters
    ----------
    chunks : ndarray of shape (c, 10), int64
        Per chunk of documents what ``CHUNK_FIELDS`` names.
    terms : ndarray of shape (t,), int64
        Term numbers, query after query; -1 is none.
    starts : ndarray of shape (q + 1,), int64
        Where each query's terms begin.
    lists : ndarray of shape (t * c, 5), int64
        Receives what ``LIST_FIELDS`` names, without empty lists.
    bounds : ndarray of shape (q * c, 2), int64
        Receives where the lists of each query and chunk begin and end.
    frequencies : ndarray of shape (t,), int64
        Receives the number of live documents with each term; must be 0.
    """
    size = 0
    for i in range(len(starts) - 1):
        for c in range(chunks.shape[0]):
            bounds[i * chunks.shape[0] + c, 0] = size
            dead, width = chunks[c, 3], chunks[c, 9]
            for t in range(starts[i], starts[i + 1]):
                place = find_term(chunks[c, 5], chunks[c, 4], terms[t])
                if place < 0:
                    continue
                first, last = load_i64(chunks[c, 6] + 8 * place), load_i64(chunks[c, 6] + 8 * (place + 1))
                lists[size, 0] = chunks[c, 7] + 4 * first
                lists[size, 1] = chunks[c, 8] + width * first
                lists[size, 2] = last - first
                lists[size, 3] = width
                lists[size, 4] = t
                frequencies[t] += last - first
                if dead != 0:
                    for j in range(last - first):
                        frequencies[t] -= load_u8(dead + np.int64(load_i32(lists[size, 0] + 4 * j)))
                size += 1
            bounds[i * chunks.shape[0] + c, 1] = size


def _examples() -> Iterable[tuple[Any, ...]]:
    table, floats = np.zeros((1, 4), np.int64), np.zeros((1, 1), np.float32)
    numbers, sets = np.zeros((1, 1), np.int64), np.zeros((0, 2), np.int64)
    yield (
        table, table, table, floats[0], sets, numbers, numbers, floats, 0, 1, 1, floats[0], numbers, floats,
        numbers[0],
    )  # fmt: skip


@kernel(group=GROUP, examples=_examples)
def rank_documents(
    chunks: Any, lists: Any, bounds: Any, weights: Any, sets: Any, fits: Any, also: Any, also_scores: Any, start: Any,
    stop: Any, k: Any, sums: Any, rows: Any, scores: Any, counts: Any,
) -> None:  # fmt: skip
    """Rank the documents of queries start to stop.

    Parameters
    ----------
    chunks : ndarray of shape (c, 10), int64
        Per chunk of documents what ``CHUNK_FIELDS`` names. Rows ascend within a chunk and occur in one chunk alive.
    lists : ndarray of shape (l, 5), int64
        Per posting list what ``LIST_FIELDS`` names: int32 documents and counts of 1, 2 or 4 bytes without sign.
    bounds : ndarray of shape (q * c, 2), int64
        Where the lists of query i in chunk j begin and end, in line ``i * c + j``; added in this order.
    weights : ndarray of shape (t,), float32
        Of each term.
    sets : ndarray of shape (s, 2), int64
        Addresses and words of bitmaps over rows; a document is returned where all of them hold its row.
    fits : ndarray of shape (q, c), int64
        Addresses of one byte per document, 0 where a query's conditions fail; address 0 where there are none.
    also : ndarray of shape (q, w), int64
        Rows whose scores are wanted whatever their rank and the sets; -1 is none.
    also_scores : ndarray of shape (q, w), float32
        Receives them; must be 0.
    start, stop : int
        Queries.
    k : int
        Documents wanted of each, at least 1.
    sums : ndarray of shape (n,), float32
        Working room for the largest chunk: 0 everywhere, before and after.
    rows : ndarray of shape (q, k), int64
        Receives the best, equal scores by the smaller row.
    scores : ndarray of shape (q, k), float32
        Receives their scores.
    counts : ndarray of shape (q,), int64
        Receives how many there are.
    """
    parts, maxima = chunks.shape[0], np.empty(len(sums) // _BLOCK + 1, np.int32)
    for i in range(start, stop):
        size = np.int64(0)
        for c in range(parts):
            first, last = bounds[i * parts + c]
            if first == last:
                continue
            total = chunks[c, 0]
            for t in range(first, last):
                weight = weights[lists[t, 4]]
                add_list(lists[t, 0], lists[t, 1], lists[t, 2], lists[t, 3], chunks[c, 2], weight, sums)
            for e in range(also.shape[1]):
                if also[i, e] >= 0:
                    doc = find_document(chunks[c, 1], total, also[i, e])
                    if doc >= 0 and may_show(also[i, e], doc, chunks[c, 3], sets[:0], fits[i, c]):
                        also_scores[i, e] = sums[doc]
            if sets.shape[0] > 0 or fits[i, c] != 0 or chunks[c, 3] != 0:
                hide(sums, total, chunks[c], sets, fits[i, c])
            size = take_best(sums, total, chunks[c, 1], k, maxima, scores[i], rows[i], size)
            sums[:total] = np.float32(0)
        settle_heap(scores[i], rows[i], size)
        counts[i] = size
