"""From beams to answers: full vectors decide, equal vectors are expanded, filters are kept.

Also the search of a few slots without a graph, by their full vectors; of many, see ``scan``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.addresses import key_float, load_bf16, load_f32, load_i32, load_i64, load_u64, prefetch
from orthant.kernels.compiling import kernel
from orthant.kernels.files.rows import row_at
from orthant.kernels.graph.beam import (
    ADDRESSES,
    BITS,
    CODES,
    DEAD,
    DEAD_COUNT,
    DEGREE,
    DIMS,
    FILES,
    FULL_DIM,
    IDS,
    REDUCED,
    SCALES,
    SHIFT,
    SKETCHES,
    SLOTS,
    TWINS,
    WIDTH,
    beam,
    code_distance,
    is_allowed,
    key_buffer,
    slot_of,
)
from orthant.kernels.graph.filtered import beam_allowed, beam_past
from orthant.kernels.simd import dot_f32, l2_f32

__all__ = ["ANY", "COSINE", "DOT", "L2", "LISTED", "OVER", "PAST", "search_few", "search_graph"]

DOT, COSINE, L2, LISTED = 0, 1, 2, 3
"""Metrics of the final scores. ``LISTED`` looks at no full vector: ids in the order of codes, and their scores."""

ANY, PAST, OVER = 0, 1, 2
"""How a walk treats slots that are not allowed."""

_UNSURE = np.float32(8.0)
"""Standard errors of a product of codes; distances err by twice that, on both sides of a comparison."""

_LARGEST = np.finfo(np.float32).max
_ONE = np.uint64(1)
_HIGHEST = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel(inline="always")
def exact_score(view: Any, slot: Any, query: Any, metric: Any, room: Any) -> Any:
    """Return the score of a slot's full vector, larger is closer; ``room`` takes one that is read from a file."""
    row = row_at(view[FILES], load_i64(view[ADDRESSES] + 8 * slot), room, 4 * view[FULL_DIM])
    if metric == L2:
        score = -l2_f32(row, query, view[FULL_DIM])
    else:
        score = dot_f32(row, query, view[FULL_DIM])
        if metric == COSINE:
            score *= load_f32(view[SCALES] + 4 * slot)
    # Overflow stays finite: -inf means that there is no neighbour.
    return max(-_LARGEST, min(_LARGEST, score))


@kernel
def within(view: Any, buffer: Any, size: Any, last: Any, constants: Any) -> Any:
    """Return how many keys may belong to slots that are nearer than the one at ``last``, which codes put before them.

    Rounding to steps of s errs by s / sqrt(12) per dimension, in a slot's code and in the query's alike.
    """
    if view[REDUCED]:
        # What a reduction left out is not known.
        return size
    sketch = view[SKETCHES] + 64 * slot_of(buffer[last])
    squared = constants[3] * load_bf16(sketch + 60) ** 2 + load_f32(sketch + 48) * constants[0] ** 2
    limit = key_float(buffer[last]) + _UNSURE * np.sqrt(max(np.float32(0.0), squared) / np.float32(12.0))
    while size > last + 1 and key_float(buffer[size - 1]) > limit:
        size -= 1
    return size


@kernel
def gather(
    view: Any, buffer: Any, size: Any, allowed: Any, words: Any, most: Any, k: Any, constants: Any, found: Any
) -> Any:
    """List live, allowed slots of a beam that may be among the k nearest, equal vectors included; at most ``most``."""
    count, i, settled = 0, 0, False
    while i < size and count < most:
        slot = slot_of(buffer[i])
        while slot >= 0 and count < most:
            dead = False
            if view[DEAD_COUNT] > 0:
                dead = (load_u64(view[DEAD] + 8 * (slot >> 6)) >> np.uint64(slot & 63)) & _ONE != 0
            if not dead and (words < 0 or is_allowed(view[IDS], np.int64(0), view[SHIFT], slot, allowed, words)):
                found[count] = slot
                count += 1
            slot = np.int64(load_i32(view[TWINS] + 4 * slot))
        if count >= k and not settled:
            size, settled = within(view, buffer, size, i, constants), True
        i += 1
    return count


@kernel
def settle(view: Any, found: Any, count: Any, query: Any, metric: Any, k: Any, ids: Any, scores: Any) -> Any:
    """Score listed slots by their full vectors and write the k best; equal scores by id, smaller first."""
    # What is read from a file is not to be asked for ahead: its address has no memory yet.
    row_bytes = 4 * view[FULL_DIM] if view[FILES] == 0 else 0
    buffer = np.empty(view[FULL_DIM], np.float32)
    for i in range(min(count, 4)):
        row = load_i64(view[ADDRESSES] + 8 * np.int64(found[i]))
        for j in range(0, row_bytes, 64):
            prefetch(row + j)
    size = 0
    for i in range(count):
        if i + 4 < count:
            row = load_i64(view[ADDRESSES] + 8 * np.int64(found[i + 4]))
            for j in range(0, row_bytes, 64):
                prefetch(row + j)
        slot = np.int64(found[i])
        # The address is asked for each time: an array that is named no more is freed, whoever has its address.
        score = exact_score(view, slot, query, metric, buffer.ctypes.data)
        number = load_i64(view[IDS] + 8 * slot)
        if size == k and (score < scores[k - 1] or (score == scores[k - 1] and number > ids[k - 1])):
            continue
        place = min(size, k - 1)
        while place > 0 and (scores[place - 1] < score or (scores[place - 1] == score and ids[place - 1] > number)):
            scores[place] = scores[place - 1]
            ids[place] = ids[place - 1]
            place -= 1
        scores[place] = score
        ids[place] = number
        size = min(size + 1, k)
    for i in range(size, k):
        ids[i] = -1
        scores[i] = -np.float32(np.inf)
    return size


@kernel
def name_listed(
    view: Any, found: Any, count: Any, k: Any, query: Any, constants: Any, ids: Any, scores: Any
) -> Any:  # fmt: skip
    """Write ids and minus distances of the codes of the first k listed slots, in their order."""
    size, width = min(count, k), view[WIDTH]
    for i in range(size):
        slot = np.int64(found[i])
        ids[i] = load_i64(view[IDS] + 8 * slot)
        sketch, code = view[SKETCHES] + 64 * slot, view[CODES] + width * slot
        scores[i] = -code_distance(sketch, code, query, width >> 6, view[BITS], constants, view[DIMS])
    for i in range(size, k):
        ids[i] = -1
        scores[i] = -np.float32(np.inf)
    return size


def _search_examples() -> Iterable[tuple[Any, ...]]:
    ints, words, rows = np.zeros(1, np.int32), np.zeros(1, np.uint64), np.zeros((1, 64), np.uint8)
    floats, found = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    view, spent = np.zeros(22, np.int64), np.zeros(4, np.int64)
    counts = np.zeros(1, np.int64)
    plan = words, -1, 0, 1, 0, np.float32(0), 0
    yield view, rows, floats, 0, 1, 1, 1, 1, 1, 0, ints, *plan, ints, words, ints, found, floats, counts, spent


@kernel(group="graph", examples=_search_examples)
def search_graph(
    view: Any, rows: Any, queries: Any, start: Any, stop: Any, k: Any, effort: Any, together: Any, rerank: Any,
    metric: Any, starts: Any, bitmap: Any, words: Any, mode: Any, fewest: Any, spare: Any, usual: Any, patience: Any,
    skips: Any, visited: Any, touched: Any, ids: Any, scores: Any, counts: Any, spent: Any,
) -> None:  # fmt: skip
    """Answer queries start to stop from a graph.

    Parameters
    ----------
    view : ndarray of int64
        The graph.
    rows : ndarray of shape (q, signed + 320), uint8
        Query rows.
    queries : ndarray of shape (q, dim), float32
        Full queries; unit vectors for cosine.
    start, stop : int
        Queries to answer.
    k : int
        Neighbours wanted.
    effort : int
        Width of the beam, at least k; widened for a query whose beam holds too few live, allowed slots.
    together : int
        Candidates expanded at once.
    rerank : int
        Candidates scored by their full vectors, at least k.
    metric : int
        Of the final scores.
    starts : ndarray of int32
        Where searches begin.
    bitmap : ndarray of uint64
        Over ids.
    words : int
        Its length; -1 allows all.
    mode : int
        ``ANY`` without a filter, ``PAST`` or ``OVER`` slots that are not allowed; see ``filtered``.
    fewest, spare, usual, patience : int, int, float32, int
        What is enough under ``PAST``, and slots expanded at most; see ``filtered.beam_past``.
    skips : ndarray of int32
        Empty, or for each query a slot to treat as absent, as if it had never been added.
    visited, touched : ndarray
        Working room; see ``beam.beam``.
    ids, scores : ndarray of shape (q, k)
        Receive the answers, padded with -1 and -inf.
    counts : ndarray of shape (q,), int64
        Receives the number of answers; -1 where patience ended, and nothing else is written.
    spent : ndarray of shape (4,), int64
        Slots seen, expanded, compared by code, and scored by full vectors are added.
    """
    degree, allowed = view[DEGREE], bitmap.ctypes.data
    todo, found = np.empty((degree + 1) * together + degree, np.int32), np.empty(rerank, np.int32)
    for i in range(start, stop):
        query, constants = rows[i].ctypes.data, rows[i, rows.shape[1] - 64 :].view(np.float32)
        most = min(effort, view[SLOTS])
        while True:
            buffer = key_buffer(most + spare if mode == PAST else most)
            if len(skips) > 0:
                visited[skips[i] >> 6] |= _ONE << np.uint64(skips[i] & 63)
            if mode == PAST:
                size, seen, expanded, compared = beam_past(
                    view,
                    query,
                    constants,
                    most,
                    min(fewest, most),
                    spare,
                    usual,
                    patience,
                    visited,
                    touched,
                    buffer,
                    starts,
                    todo,
                    allowed,
                    words,
                )
            elif mode == OVER:
                size, seen, expanded, compared = beam_allowed(
                    view, query, constants, most, visited, touched, buffer, starts, todo, allowed, words
                )
            else:
                size, seen, expanded, compared = beam(
                    view, query, constants, most, together, visited, touched, buffer, starts, todo, 4
                )
            for j in range(seen):
                visited[touched[j] >> 6] = np.uint64(0)
            if len(skips) > 0:
                visited[skips[i] >> 6] = np.uint64(0)
            count = gather(view, buffer, max(size, 0), allowed, words, rerank, k, constants, found)
            spent[0] += seen
            spent[1] += expanded
            spent[2] += compared
            if mode == PAST or count >= min(rerank, k) or size < most or most >= view[SLOTS]:
                break
            # Dead slots must not use up the beam.
            most = min(view[SLOTS], 2 * most)
        if size < 0:
            counts[i] = -1
            continue
        if metric == LISTED:
            counts[i] = name_listed(view, found, count, k, query, constants, ids[i], scores[i])
            continue
        spent[3] += count
        counts[i] = settle(view, found, count, queries[i].ctypes.data, metric, k, ids[i], scores[i])


def _few_examples() -> Iterable[tuple[Any, ...]]:
    ints, floats, found = np.zeros(1, np.int32), np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    yield np.zeros(22, np.int64), floats, 0, 1, 1, 0, ints, found, floats, np.zeros(1, np.int64)


@kernel(group="graph", examples=_few_examples)
def search_few(
    view: Any, queries: Any, start: Any, stop: Any, k: Any, metric: Any, slots: Any, ids: Any, scores: Any, counts: Any
) -> None:  # fmt: skip
    """Answer queries by the full vectors of all listed slots.

    Parameters
    ----------
    view, queries, start, stop, k, metric : any
        As for ``search_graph``.
    slots : ndarray of int32
        Slots to compare, live and allowed.
    ids, scores, counts : ndarray
        As for ``search_graph``.
    """
    for i in range(start, stop):
        counts[i] = settle(view, slots, len(slots), queries[i].ctypes.data, metric, k, ids[i], scores[i])
