"""Graphs of all ranges of an ordered attribute at once: links that know for which ranges they hold.

Slots are numbered in the order of the attribute and inserted in that order. A link from u to v of slot u holds for the
range from low to high, both slots inclusive, when v lies in the range, ``lows`` is at most low and ``ends`` at least
high. Links that a later slot crowded out are kept with the last range that still has them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orthant.kernels.addresses import float_key
from orthant.kernels.compiling import kernel
from orthant.kernels.graph.answers import gather, settle
from orthant.kernels.graph.beam import (
    BITS,
    CODES,
    DIMS,
    SKETCHED,
    SKETCHES,
    SLOTS,
    WIDTH,
    code_distance,
    expand_entries,
    insert_key,
    key_buffer,
    signed_bytes,
    sketch_distance,
    slot_of,
)
from orthant.kernels.graph.links import distances_to, robust_prune
from orthant.kernels.graph.sketch import QUERY_EXTRA, query_row

__all__ = ["FOREVER", "beam_in_range", "grow", "search_range"]

FOREVER = 2**31 - 1
"""End of a link that nothing crowded out."""

_ONE = np.uint64(1)
_STARTS = 8


@kernel
def spread(low: Any, high: Any, starts: Any) -> Any:
    """List slots that lie evenly in a range; returns how many."""
    count = min(len(starts), high - low + 1)
    for i in range(count):
        starts[i] = low + (2 * i + 1) * (high - low + 1) // (2 * count)
    return count


@kernel
def beam_in_range(
    view: Any, query: Any, constants: Any, most: Any, visited: Any, touched: Any, buffer: Any, starts: Any, first: Any,
    links: Any, low: Any, high: Any,
) -> Any:  # fmt: skip
    """Search as ``beam.beam`` does, over the links that hold for a range.

    Parameters
    ----------
    view, query, constants, most, visited, touched, buffer, starts : any
        As for ``beam.beam``; start slots lie in the range.
    first : ndarray of shape (n + 1,), int64
        The links of slot u are those from ``first[u]`` up to ``first[u + 1]``.
    links : ndarray of shape (3, m), int32
        Targets, -1 where there is none; lows; ends.
    low, high : int
        First and last slot of the range.

    Returns
    -------
    size, touched, expanded : int
        Keys in the buffer; slots seen; slots expanded.
    """
    sketches, codes, width, dims = view[SKETCHES], view[CODES], view[WIDTH], view[DIMS]
    blocks, bits, planes = width >> 6, view[BITS], query + signed_bytes(dims)
    norm, slack = constants[3], constants[6]
    size, seen = expand_entries(view, query, constants, most, visited, touched, buffer, starts, _STARTS)
    current, expanded = 0, 0
    while current < size:
        key = buffer[current]
        current += 1
        if key & _ONE:
            continue
        buffer[current - 1] = key | _ONE
        expanded += 1
        slot = slot_of(key)
        for j in range(first[slot], first[slot + 1]):
            other = np.int64(links[0, j])
            if other < low or other > high or links[1, j] > low or links[2, j] < high:
                continue
            bit = _ONE << np.uint64(other & 63)
            if visited[other >> 6] & bit:
                continue
            visited[other >> 6] |= bit
            touched[seen] = other
            seen += 1
            sketch = sketches + 64 * other
            if view[SKETCHED]:
                bound = sketch_distance(sketch, planes, constants, norm, slack)
                if float_key(bound) << np.uint64(32) >= buffer[most - 1]:
                    continue
            distance = code_distance(sketch, codes + width * other, query, blocks, bits, constants, dims)
            found = (float_key(distance) << np.uint64(32)) | np.uint64(other << 1)
            if found < buffer[most - 1]:
                place = insert_key(buffer, found, most)
                size = min(size + 1, most)
                current = min(current, place)
    return size, seen, expanded


@kernel
def add_link(
    view: Any, links: Any, begin: Any, room: Any, degree: Any, alpha: Any, slot: Any, target: Any, low: Any, now: Any,
    log: Any, logged: Any, query: Any, other: Any, pool: Any, every: Any, kept: Any, marks: Any,
) -> Any:  # fmt: skip
    """Add a link to a row; a full row is pruned first, and what is dropped is logged. Returns the length of the log."""
    count = 0
    while count < room and links[0, begin + count] >= 0:
        if links[0, begin + count] == target:
            return logged
        count += 1
    if count < room:
        links[0, begin + count], links[1, begin + count], links[2, begin + count] = target, low, FOREVER
        return logged
    for j in range(room):
        every[j] = links[0, begin + j]
    every[room] = target
    distances_to(view, slot, every, room + 1, query, pool)
    number = robust_prune(view, pool, room + 1, degree, 0, alpha, other, kept, marks, slot)
    at, fresh = 0, False
    for i in range(number):
        fresh = fresh or kept[i] == target
    for j in range(room):
        stays = False
        for i in range(number):
            stays = stays or kept[i] == links[0, begin + j]
        if stays:
            links[0, begin + at], links[1, begin + at] = links[0, begin + j], links[1, begin + j]
            at += 1
        else:
            log[0, logged], log[1, logged], log[2, logged] = slot, links[0, begin + j], links[1, begin + j]
            log[3, logged] = now - 1
            logged += 1
    for j in range(at, room):
        links[0, begin + j] = -1
    if fresh:
        links[0, begin + at], links[1, begin + at], links[2, begin + at] = target, low, FOREVER
    return logged


@kernel
def grow(
    view: Any, start: Any, stop: Any, beam_width: Any, degree: Any, alpha: Any, margin: Any, least: Any, first: Any,
    links: Any, log: Any, visited: Any, touched: Any,
) -> Any:  # fmt: skip
    """Insert slots start to stop, each linked to slots before it for the ranges that end at it.

    Parameters
    ----------
    view : ndarray of int64
        The graph.
    start, stop : int
        Slots to insert.
    beam_width, degree : int
        Width of the beam that finds candidates, and links kept of a full row.
    alpha, margin : float32
        As for ``links.find_links``.
    least : int
        Ranges of fewer slots get no links of their own.
    first, links : ndarray
        As for ``beam_in_range``; rows have room for ``2 * degree`` links of ranges from the first slot on, and behind
        them for ``4 * degree`` of shorter ones. Changed in place.
    log : ndarray of shape (4, m), int32
        Receives slot, target, low and end of links that were crowded out.
    visited, touched : ndarray
        Working room for all slots.

    Returns
    -------
    int
        Links in the log.
    """
    width, sketches, codes, dims = view[WIDTH], view[SKETCHES], view[CODES], view[DIMS]
    size = signed_bytes(dims) + QUERY_EXTRA
    query, other, asked = np.empty(size, np.uint8), np.empty(size, np.uint8), np.empty(size, np.uint8)
    room, logged = 2 * degree, 0
    kept, chosen = np.empty(room, np.int32), np.empty(degree, np.int32)
    every, pool = np.empty(2 * room + 1, np.int32), np.empty(2 * room + 1, np.uint64)
    begins, marks = np.empty(_STARTS, np.int32), np.empty((0, 0), np.uint64)
    constants = asked[len(asked) - 64 :].view(np.float32)
    for slot in range(max(start, 1), stop):
        query_row(sketches + 64 * slot, codes + width * slot, width, view[BITS], dims, margin, asked)
        step = 0
        while step == 0 or slot >> step >= least:
            low = slot - (slot >> step) if step > 0 else 0
            count = spread(low, slot - 1, begins)
            buffer = key_buffer(beam_width)
            found, seen, _ = beam_in_range(
                view, asked.ctypes.data, constants, beam_width, visited, touched, buffer, begins[:count], first, links,
                low, slot - 1,
            )  # fmt: skip
            for j in range(seen):
                visited[touched[j] >> 6] = np.uint64(0)
            most = degree if step == 0 else degree // 2
            number = robust_prune(view, buffer, found, most, 0, alpha, other, chosen, marks, slot)
            shift, part, wanted = (0, room, degree) if step == 0 else (room, 2 * room, room)
            for j in range(number):
                target = np.int64(chosen[j])
                logged = add_link(
                    view, links, first[slot] + shift, part, wanted, alpha, slot, target, low, slot, log, logged, query,
                    other, pool, every, kept, marks,
                )  # fmt: skip
                logged = add_link(
                    view, links, first[target] + shift, part, wanted, alpha, target, slot, low, slot, log, logged,
                    query, other, pool, every, kept, marks,
                )  # fmt: skip
            step += 1
    return logged


@kernel
def search_range(
    view: Any, rows: Any, queries: Any, start: Any, stop: Any, k: Any, effort: Any, rerank: Any, metric: Any,
    first: Any, links: Any, low: Any, high: Any, visited: Any, touched: Any, ids: Any, scores: Any, counts: Any,
    spent: Any,
) -> None:  # fmt: skip
    """Answer queries start to stop among the slots of a range.

    Parameters
    ----------
    view, rows, queries, start, stop, k, effort, rerank, metric : any
        As for ``answers.search_graph``.
    first, links, low, high : any
        As for ``beam_in_range``.
    visited, touched : ndarray
        Working room for all slots; visited all zero.
    ids, scores, counts, spent : ndarray
        As for ``answers.search_graph``.
    """
    found, begins, most = np.empty(rerank, np.int32), np.empty(4 * _STARTS, np.int32), min(effort, view[SLOTS])
    count = spread(low, high, begins)
    for i in range(start, stop):
        constants, buffer = rows[i, rows.shape[1] - 64 :].view(np.float32), key_buffer(most)
        size, seen, expanded = beam_in_range(
            view,
            rows[i].ctypes.data,
            constants,
            most,
            visited,
            touched,
            buffer,
            begins[:count],
            first,
            links,
            low,
            high,
        )
        for j in range(seen):
            visited[touched[j] >> 6] = np.uint64(0)
        kept = gather(view, buffer, size, np.int64(0), -1, rerank, k, constants, found)
        spent[0] += seen
        spent[1] += expanded
        spent[3] += kept
        counts[i] = settle(view, found, kept, queries[i].ctypes.data, metric, k, ids[i], scores[i])
