"""Scans of inverted lists: tables summed over blocks of 64 codes, the best kept in a heap, and their exact scores.

A block holds byte j of 64 codes side by side, so that one table at a time is looked up for all of them: in the first
cache for codes of 8 bits, in one register for codes of 4 bits (``kernels.binary.lookups``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from orthant.kernels.addresses import load_f32, prefetch
from orthant.kernels.binary.lookups import _block_scores, lookup_sums
from orthant.kernels.compiling import kernel
from orthant.kernels.rows import plain
from orthant.kernels.simd import dot_f32, l2_f32
from orthant.threads import map_ranges
from orthant.types import BitmapArray, CodeArray, FloatArray, IdArray, Metric

__all__ = ["BLOCK", "GROUP", "byte_tables", "exact_best", "scan_lists", "to_blocks", "to_rows"]

BLOCK = 64
"""Codes of a block."""

GROUP = "lists"
"""The group of kernels that inverted lists need."""

_LARGEST = 127
"""Of a table's bytes: two of them fit a byte, which halves the widening."""
_TOGETHER = 2
_PART_WORK = 1 << 16
_COSINE, _L2 = 1, 2
_MOST = float(np.finfo(np.float32).max)
_MARGIN = 16
"""Candidates that are scored in float64 beyond those wanted."""
_EMPTY = np.zeros(0, np.float32)
_ONES = np.ones(BLOCK, np.uint16)


def to_blocks(codes: CodeArray) -> CodeArray:
    """Lay codes out in blocks.

    Parameters
    ----------
    codes : ndarray of shape (64 b, bytes), uint8
        Rows, whole blocks.

    Returns
    -------
    ndarray of shape (b, bytes, 64), uint8
        A copy.
    """
    return np.ascontiguousarray(codes.reshape(-1, BLOCK, codes.shape[1]).transpose(0, 2, 1))


def to_rows(blocks: CodeArray) -> CodeArray:
    """Return blocks as rows again.

    Parameters
    ----------
    blocks : ndarray of shape (b, bytes, 64), uint8
        What ``to_blocks`` made.

    Returns
    -------
    ndarray of shape (64 b, bytes), uint8
        A copy.
    """
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1, blocks.shape[1])


def byte_tables(tables: FloatArray) -> tuple[CodeArray, FloatArray, FloatArray]:
    """Round tables of 4-bit books to bytes, by one step for all books of a query.

    Parameters
    ----------
    tables : ndarray of shape (q, books, entries), float32
        At most 16 entries for each book.

    Returns
    -------
    small : ndarray of shape (q, ceil(books / 2), 32), uint8
        Entries of books j and j + ceil(books / 2), which share byte j of a code.
    steps, lowest : ndarray of shape (q,), float32
        A sum of entries is about ``lowest + steps * (sum of bytes)``, off by at most half a step for each book.
    """
    queries, books, entries = tables.shape
    half = (books + 1) // 2
    low = tables.min(axis=2, keepdims=True)
    span = (tables - low).max(axis=(1, 2))
    steps = np.where(span > 0, span / _LARGEST, np.float32(1)).astype(np.float32)
    wide = np.zeros((queries, 2 * half, 16), dtype=np.uint8)
    wide[:, :books, :entries] = np.rint((tables - low) / steps[:, None, None])
    small = np.concatenate([wide[:, :half], wide[:, half:]], axis=2)
    return np.ascontiguousarray(small), steps, low.sum(axis=(1, 2)).astype(np.float32)


@kernel
def _offer(row: Any, word: Any, first: Any, scores: Any, places: Any) -> None:
    """Let the scores of a block into a heap whose root is the least."""
    count = scores.shape[0]
    for j in range(64):
        if row[j] <= scores[0] or not word >> np.uint64(j) & np.uint64(1):
            continue
        hole, value = 0, row[j]
        while True:
            child = 2 * hole + 1
            if child >= count:
                break
            if child + 1 < count and scores[child + 1] < scores[child]:
                child += 1
            if scores[child] >= value:
                break
            scores[hole], places[hole] = scores[child], places[child]
            hole = child
        scores[hole], places[hole] = value, first + j


def _arguments(*first: Any) -> tuple[Any, ...]:
    line, flat = plain(np.zeros(1, np.float32)), plain(np.zeros((1, 1), np.float32))
    probes, counts = plain(np.zeros((1, 1), np.int64)), plain(np.zeros(1, np.int64))
    codes, words = plain(np.zeros((1, 1, 64), np.uint8)), plain(np.zeros(1, np.uint64))
    out = (np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64))
    return (*first, probes, counts, flat, counts, codes, line, words, 0, 1, *out)


def _wide_examples() -> Iterator[tuple[Any, ...]]:
    yield _arguments(plain(np.zeros((1, 1, 256), np.float32)))


def _small_examples() -> Iterator[tuple[Any, ...]]:
    line = plain(np.zeros(1, np.float32))
    yield _arguments(plain(np.zeros((1, 1, 32), np.uint8)), line, line, plain(_ONES))


def _exact_examples() -> Iterator[tuple[Any, ...]]:
    out = (np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32))
    numbers = plain(np.zeros((1, 1), np.int64))
    yield plain(np.zeros((1, 1), np.float32)), numbers, numbers, plain(np.zeros((1, 1), np.float32)), 0, 0, 1, *out


@kernel(group=GROUP, examples=_wide_examples)
def _scan_wide(
    tables: Any, probes: Any, counts: Any, constants: Any, begins: Any, codes: Any, bias: Any, words: Any,
    start: Any, stop: Any, scores: Any, places: Any,
) -> None:  # fmt: skip
    row = np.empty(64, np.float32)
    for q in range(start, stop):
        table = tables[q]
        for p in range(counts[q]):
            for b in range(begins[probes[q, p]], begins[probes[q, p] + 1]):
                if words[b] == np.uint64(0):
                    continue
                block = codes[b]
                for j in range(64):
                    row[j] = constants[q, p]
                for i in range(block.shape[0]):
                    for j in range(64):
                        row[j] += table[i, block[i, j]]
                for j in range(64 if bias.shape[0] else 0):
                    row[j] -= bias[64 * b + j]
                _offer(row, words[b], 64 * b, scores[q], places[q])


@kernel(group=GROUP, examples=_small_examples)
def _scan_small(
    tables: Any, steps: Any, lowest: Any, ones: Any,
    probes: Any, counts: Any, constants: Any, begins: Any, codes: Any, bias: Any, words: Any,
    start: Any, stop: Any, scores: Any, places: Any,
) -> None:  # fmt: skip
    sums, row = np.empty(64, np.uint16), np.empty(64, np.float32)
    into, out, unit = sums.ctypes.data, row.ctypes.data, ones.ctypes.data
    for q in range(start, stop):
        table, best = tables[q].ctypes.data, scores[q]
        for p in range(counts[q]):
            constant = constants[q, p] + lowest[q]
            for b in range(begins[probes[q, p]], begins[probes[q, p] + 1]):
                if words[b] == np.uint64(0):
                    continue
                lookup_sums(table, 0, codes[b].ctypes.data, codes.shape[1], _TOGETHER, into)
                highest = _block_scores(into, unit, steps[q], constant, out)
                if bias.shape[0] == 0 and highest <= best[0]:
                    continue
                for j in range(64 if bias.shape[0] else 0):
                    row[j] -= bias[64 * b + j]
                _offer(row, words[b], 64 * b, best, places[q])


def scan_lists(
    tables: FloatArray,
    probes: IdArray,
    counts: IdArray,
    constants: FloatArray,
    begins: IdArray,
    codes: CodeArray,
    bias: FloatArray | None,
    words: BitmapArray,
    *,
    bits: int,
    depth: int,
    threads: int | None = None,
) -> tuple[IdArray, FloatArray]:
    """Return the places in the lists with the largest sums of table entries.

    Parameters
    ----------
    tables : ndarray of shape (q, books, entries), float32
        What each codeword is worth to each query.
    probes : ndarray of shape (q, p), int64
        Lists to look into, in this order.
    counts : ndarray of shape (q,), int64
        How many of them, for each query.
    constants : ndarray of shape (q, p), float32
        Added to the sums of a list.
    begins : ndarray of shape (lists + 1,), int64
        First block of each list, and the end.
    codes : ndarray of shape (blocks, bytes, 64), uint8
        From ``to_blocks``.
    bias : ndarray of shape (blocks * 64,), float32, optional
        Subtracted from the sum of each place.
    words : ndarray of shape (blocks,), uint64
        Bit j of word b is set where place 64 b + j may be an answer.
    bits : {4, 8}
        Bits of a code; 4 are summed by bytes (``byte_tables``), so their sums are rounded.
    depth : int
        Places wanted.
    threads : int, optional
        Threads for a batch; the answer is the same for any.

    Returns
    -------
    places : ndarray of shape (q, depth), int64
        In no order; -1 where there was none.
    scores : ndarray of shape (q, depth), float32
        Sums; -inf where there was none.

    Notes
    -----
    Cost: bytes of the lists times books / bytes look-ups; those of 4 bits 64 at a time. Of equal sums at the end of the
    depth, the earlier places stay.
    """
    count = len(tables)
    places = np.full((count, depth), -1, dtype=np.int64)
    scores = np.full((count, depth), -np.inf, dtype=np.float32)
    lists: tuple[Any, ...] = (plain(probes), plain(counts), plain(constants), plain(begins), plain(codes))
    lists += (plain(_EMPTY if bias is None else bias), plain(words))
    if bits == 4:
        small, steps, lowest = byte_tables(tables)
        first: tuple[Any, ...] = (plain(small), plain(steps), plain(lowest), plain(_ONES))
    else:
        first = (plain(tables),)

    def part(start: int, stop: int) -> None:
        (_scan_small if bits == 4 else _scan_wide)(*first, *lists, start, stop, scores, places)

    # What a query looks at is about its share of all blocks.
    work = max(1, codes.size * probes.shape[1] // max(1, len(begins)))
    map_ranges(part, count, threads=threads, minimum=max(1, _PART_WORK * BLOCK // work))
    return places, scores


@kernel(fastmath={"reassoc", "contract", "nsz"})
def _in_double(address: Any, query: Any, kind: Any) -> Any:
    """Return the score of a vector at an address, summed in float64 and rounded once."""
    dots, own, other, gaps = 0.0, 0.0, 0.0, 0.0
    for i in range(query.shape[0]):
        x, q = np.float64(load_f32(address + 4 * i)), np.float64(query[i])
        dots += x * q
        own += x * x
        other += q * q
        gaps += (x - q) * (x - q)
    value = dots
    if kind == _COSINE:
        value = dots / np.sqrt(own * other)
    elif kind == _L2:
        value = -gaps
    return np.float32(min(max(value, -_MOST), _MOST))


@kernel
def _place(value: Any, name: Any, scores: Any, names: Any) -> int:
    """Return where a candidate belongs among the best, and make room for it there."""
    k = scores.shape[0]
    place = k
    while place > 0 and (
        scores[place - 1] < value or (scores[place - 1] == value and (names[place - 1] < 0 or names[place - 1] > name))
    ):
        place -= 1
        if place + 1 < k:
            scores[place + 1], names[place + 1] = scores[place], names[place]
    if place < k:
        scores[place], names[place] = value, name
    return place


@kernel(group=GROUP, examples=_exact_examples)
def _exact_range(
    queries: Any, addresses: Any, ids: Any, scale: Any, kind: Any, start: Any, stop: Any, names: Any, scores: Any
) -> None:
    k, dim, count = scores.shape[1], queries.shape[1], addresses.shape[1]
    kept = min(count, k + _MARGIN)
    rough, columns = np.empty(kept, np.float32), np.empty(kept, np.int64)
    for q in range(start, stop):
        rough[:], columns[:] = -np.inf, -1
        asked = queries[q].ctypes.data
        for c in range(count):
            if c + 1 < count and ids[q, c + 1] >= 0:
                # Candidates lie anywhere: the next one is fetched while this one is summed.
                for line in range(0, 4 * dim, 64):
                    prefetch(addresses[q, c + 1] + line)
            if ids[q, c] < 0:
                continue
            if kind == _L2:
                value = -l2_f32(addresses[q, c], asked, dim)
            else:
                value = dot_f32(addresses[q, c], asked, dim) * scale[q, c]
            _place(max(value, -_MOST), c, rough, columns)
        for i in range(kept):
            if columns[i] >= 0:
                exact = _in_double(addresses[q, columns[i]], queries[q], kind)
                _place(exact, ids[q, columns[i]], scores[q], names[q])


def exact_best(
    queries: FloatArray,
    addresses: IdArray,
    ids: IdArray,
    scale: FloatArray,
    *,
    metric: Metric,
    k: int,
    threads: int | None = None,
) -> tuple[IdArray, FloatArray]:
    """Score candidates by their full vectors and return the best.

    Parameters
    ----------
    queries : ndarray of shape (q, d), float32
        Queries.
    addresses : ndarray of shape (q, c), int64
        Where the vectors of the candidates lie; kept alive by the caller.
    ids : ndarray of shape (q, c), int64
        Their ids; -1 where there is none.
    scale : ndarray of shape (q, c), float32
        Factors of the dot products under cosine.
    metric : {"cosine", "dot", "l2"}
        The score.
    k : int
        How many are wanted.
    threads : int, optional
        Threads for a batch.

    Returns
    -------
    ids : ndarray of shape (q, k), int64
        Best first, equal scores by the smaller id; -1 where there was none.
    scores : ndarray of shape (q, k), float32
        Of the ``k + 16`` best by float32 sums, summed again in float64; -inf where there was none.

    Notes
    -----
    Cost: q c d products.
    """
    names = np.full((len(queries), k), -1, dtype=np.int64)
    scores = np.full((len(queries), k), -np.inf, dtype=np.float32)
    kind = {"dot": 0, "cosine": _COSINE, "l2": _L2}[metric]
    held = (plain(queries), plain(addresses), plain(ids), plain(scale), kind)
    work = max(1, addresses.shape[1] * queries.shape[1])
    map_ranges(
        lambda a, b: _exact_range(*held, a, b, names, scores),
        len(queries),
        threads=threads,
        minimum=max(1, _PART_WORK // work),
    )
    return names, scores
