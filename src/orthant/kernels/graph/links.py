"""Edges of a graph: choosing them, adding the reverse ones, mending them after removals, and what can be reached.

Kernels that run on several threads at once only write rows of their own: a batch searches a graph that stands still.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.addresses import float_key, load_i32, load_u64
from orthant.kernels.compiling import kernel
from orthant.kernels.graph.beam import (
    BITS,
    CODES,
    DEAD,
    DEGREE,
    DIMS,
    LINKS,
    SKETCHES,
    WIDTH,
    beam,
    code_distance,
    key_buffer,
    signed_bytes,
    slot_of,
)
from orthant.kernels.graph.sketch import QUERY_EXTRA, query_row

__all__ = ["find_links", "mend_links", "reach", "reverse_links", "robust_prune"]

_GROUP = "build"
_ONE = np.uint64(1)


@kernel(inline="always")
def is_dead(view: Any, slot: Any) -> Any:
    """Return whether a slot was removed."""
    return (load_u64(view[DEAD] + 8 * (slot >> 6)) >> np.uint64(slot & 63)) & _ONE != 0


@kernel(inline="always")
def covers(marks: Any, ruler: Any, slot: Any, point: Any) -> Any:
    """Return whether a slot has every label that a point shares with another slot."""
    missing = np.uint64(0)
    for i in range(marks.shape[1]):
        missing |= marks[slot, i] & marks[point, i] & ~marks[ruler, i]
    return missing == np.uint64(0)


@kernel
def robust_prune(
    view: Any, pool: Any, count: Any, most: Any, least: Any, alpha: Any, query: Any, kept: Any, marks: Any, point: Any
) -> Any:  # fmt: skip
    """Choose diverse neighbours from a pool: drop what lies nearer to a kept one than to the point, by ``alpha``.

    Parameters
    ----------
    view : ndarray of int64
        The graph.
    pool : ndarray of uint64
        Keys of candidates by distance to the point, ascending.
    count : int
        Candidates.
    most, least : int
        Neighbours wanted at most; where fewer than ``least`` are kept, the nearest of those dropped follow.
    alpha : float32
        A candidate c is dropped when ``alpha * d(kept, c) <= d(point, c)``, squared distances.
    query : ndarray of uint8
        Working room for a query row.
    kept : ndarray of int32
        Receives the neighbours.
    marks : ndarray of shape (n, words), uint64
        Labels of each slot as bits: a candidate is ruled out only by one that has every label that it shares with the
        point. No words, no condition.
    point : int
        The slot whose neighbours are chosen; read where there are labels.

    Returns
    -------
    int
        How many were kept.
    """
    sketches, codes, width, dims = view[SKETCHES], view[CODES], view[WIDTH], view[DIMS]
    blocks, bits, base = width >> 6, view[BITS], query.ctypes.data
    constants = query[len(query) - 64 :].view(np.float32)
    number = 0
    for i in range(count):
        if number == most:
            break
        slot = slot_of(pool[i])
        limit = pool[i] >> np.uint64(32)
        query_row(sketches + 64 * slot, codes + width * slot, width, bits, dims, np.float32(0.0), query)
        near = False
        for j in range(number):
            other = np.int64(kept[j])
            distance = code_distance(sketches + 64 * other, codes + width * other, base, blocks, bits, constants, dims)
            if float_key(alpha * distance) <= limit and covers(marks, other, slot, point):
                near = True
                break
        if not near:
            kept[number] = slot
            number += 1
    diverse = number
    for i in range(count):
        if number >= min(least, most):
            break
        slot, known = slot_of(pool[i]), False
        for j in range(diverse):
            known = known or kept[j] == slot
        if not known:
            kept[number] = slot
            number += 1
    return number


@kernel(inline="always")
def distances_to(view: Any, slot: Any, others: Any, count: Any, query: Any, pool: Any) -> Any:
    """Fill the pool with keys of slots by distance to a slot, ascending; returns their number."""
    sketches, codes, width, dims = view[SKETCHES], view[CODES], view[WIDTH], view[DIMS]
    blocks, bits, base = width >> 6, view[BITS], query.ctypes.data
    constants = query[len(query) - 64 :].view(np.float32)
    query_row(sketches + 64 * slot, codes + width * slot, width, bits, dims, np.float32(0.0), query)
    for i in range(count):
        other = np.int64(others[i])
        distance = code_distance(sketches + 64 * other, codes + width * other, base, blocks, bits, constants, dims)
        pool[i] = (float_key(distance) << np.uint64(32)) | np.uint64(other << 1)
    pool[:count].sort()
    return count


@kernel
def hide_strangers(marks: Any, columns: Any, starts: Any, slot: Any, visited: Any, own: Any) -> Any:
    """Mark as visited all slots that share no label with a slot, and list where its labels begin.

    Parameters
    ----------
    marks, columns, starts : ndarray
        As for ``find_links``.
    slot : int
        The slot.
    visited : ndarray of uint64
        Bitmap over slots, all zero; overwritten.
    own : ndarray of int32
        Receives the start of each of its labels; as long as there are labels.

    Returns
    -------
    int
        How many labels it has.
    """
    visited[:] = ~np.uint64(0)
    words = min(len(visited), columns.shape[1])
    count = 0
    for i in range(len(columns)):
        if (marks[slot, i >> 6] >> np.uint64(i & 63)) & _ONE != 0:
            own[count] = starts[i]
            count += 1
            for j in range(words):
                visited[j] &= ~columns[i, j]
    return count


def _find_examples() -> Iterable[tuple[Any, ...]]:
    ints, words = np.zeros(1, np.int32), np.zeros(1, np.uint64)
    view, links = np.zeros(22, np.int64), np.zeros((1, 1), np.int32)
    marks = np.zeros((0, 0), np.uint64)
    yield view, ints, 0, 1, ints, 1, 1, 1, 0, np.float32(1), np.float32(0), words, ints, links, marks, marks


@kernel(group=_GROUP, examples=_find_examples)
def find_links(
    view: Any, order: Any, start: Any, stop: Any, starts: Any, most: Any, together: Any, degree: Any, least: Any,
    alpha: Any, margin: Any, visited: Any, touched: Any, out: Any, marks: Any, columns: Any,
) -> None:  # fmt: skip
    """Find the neighbours of slots ``order[start:stop]`` by searching the graph as it stands.

    Parameters
    ----------
    view : ndarray of int64
        The graph; only read.
    order : ndarray of int32
        Slots to link, in order of insertion.
    start, stop : int
        Part of the order.
    starts : ndarray of int32
        Where searches begin; with labels, one slot per label, and a search begins at those of its slot's labels.
    most, together : int
        Width of the beam, and candidates expanded at once.
    degree, least : int
        Neighbours wanted at most and at least; see ``robust_prune``.
    alpha : float32
        As ``robust_prune``.
    margin : float32
        As ``sketch.query_row``.
    visited, touched : ndarray
        Working room; see ``beam.beam``.
    out : ndarray of shape (len(order), degree), int32
        Receives the neighbours of each slot, -1 behind the last.
    marks : ndarray of shape (n, words), uint64
        Labels of each slot as bits; see ``robust_prune``. With labels, only slots that share one are walked over.
    columns : ndarray of shape (labels, ceil(n / 64)), uint64
        The same the other way round: slots of each label; not read without labels.
    """
    width, sketches, codes = view[WIDTH], view[SKETCHES], view[CODES]
    own = np.empty(len(columns), np.int32)
    room = together * view[DEGREE]
    size = signed_bytes(view[DIMS]) + QUERY_EXTRA
    query, other = np.empty(size, np.uint8), np.empty(size, np.uint8)
    todo = np.empty(room + together, np.int32)
    kept = np.empty(degree, np.int32)
    constants = query[len(query) - 64 :].view(np.float32)
    for i in range(start, stop):
        slot = np.int64(order[i])
        query_row(sketches + 64 * slot, codes + width * slot, width, view[BITS], view[DIMS], margin, query)
        buffer = key_buffer(most)
        begins = starts
        if marks.shape[1] > 0:
            begins = own[: hide_strangers(marks, columns, starts, slot, visited, own)]
        found_count, seen, _, _ = beam(
            view, query.ctypes.data, constants, most, together, visited, touched, buffer, begins, todo, 4
        )
        for j in range(seen):
            visited[touched[j] >> 6] = np.uint64(0)
        if marks.shape[1] > 0:
            visited[:] = np.uint64(0)
        count = 0
        for j in range(found_count):
            found = slot_of(buffer[j])
            if found != slot and not is_dead(view, found):
                buffer[count] = buffer[j]
                count += 1
        number = robust_prune(view, buffer, count, degree, least, alpha, other, kept, marks, slot)
        for j in range(degree):
            out[i, j] = kept[j] if j < number else -1


def _reverse_examples() -> Iterable[tuple[Any, ...]]:
    ints, longs = np.zeros(1, np.int32), np.zeros(1, np.int64)
    rows, marks = np.zeros((1, 1), np.int32), np.zeros((0, 0), np.uint64)
    yield np.zeros(22, np.int64), ints, ints, longs, 0, 1, 1, 0, np.float32(1), rows, marks


@kernel(group=_GROUP, examples=_reverse_examples)
def reverse_links(
    view: Any, targets: Any, sources: Any, bounds: Any, start: Any, stop: Any, degree: Any, least: Any, alpha: Any,
    links: Any, marks: Any,
) -> None:  # fmt: skip
    """Add edges to groups of slots; a row that overflows is pruned to ``degree``.

    Parameters
    ----------
    view : ndarray of int64
        The graph; its links are those of ``links``.
    targets : ndarray of int32
        Slot of each group that gets edges.
    sources : ndarray of int32
        Where the new edges lead, group by group.
    bounds : ndarray of int64
        Group g's edges are ``sources[bounds[g]:bounds[g + 1]]``.
    start, stop : int
        Groups to handle; each group writes its target's row only.
    degree, least : int
        Length of a pruned row, at most and at least; less than the room of a row, so that pruning is rare.
    alpha : float32
        As ``robust_prune``.
    links : ndarray of shape (n, room), int32
        The rows.
    marks : ndarray of shape (n, words), uint64
        Labels of each slot as bits; see ``robust_prune``.
    """
    room = links.shape[1]
    size = signed_bytes(view[DIMS]) + QUERY_EXTRA
    query, other = np.empty(size, np.uint8), np.empty(size, np.uint8)
    kept = np.empty(degree, np.int32)
    for g in range(start, stop):
        target = np.int64(targets[g])
        count = 0
        while count < room and links[target, count] >= 0:
            count += 1
        first, last = bounds[g], bounds[g + 1]
        pool = np.empty(count + last - first, np.uint64)
        every = np.empty(count + last - first, np.int32)
        for j in range(count):
            every[j] = links[target, j]
        total = count
        for j in range(first, last):
            source, known = sources[j], sources[j] == target
            for i in range(total):
                known = known or every[i] == source
            if not known:
                every[total] = source
                total += 1
        if total <= room:
            for j in range(count, total):
                links[target, j] = every[j]
            continue
        distances_to(view, target, every, total, query, pool)
        number = robust_prune(view, pool, total, degree, least, alpha, other, kept, marks, target)
        for j in range(room):
            links[target, j] = kept[j] if j < number else -1


def _mend_examples() -> Iterable[tuple[Any, ...]]:
    links = np.zeros((1, 1), np.int32)
    yield np.zeros(22, np.int64), np.zeros(1, np.int32), 0, 1, 1, 0, np.float32(1), links


@kernel(group=_GROUP, examples=_mend_examples)
def mend_links(view: Any, slots: Any, start: Any, stop: Any, degree: Any, least: Any, alpha: Any, out: Any) -> None:
    """Replace dead neighbours of some slots by the neighbours of those neighbours, pruned.

    Parameters
    ----------
    view : ndarray of int64
        The graph; only read.
    slots : ndarray of int32
        Slots that have dead neighbours.
    start, stop : int
        Part of them.
    degree, least : int
        Neighbours wanted at most and at least; see ``robust_prune``.
    alpha : float32
        As ``robust_prune``.
    out : ndarray of shape (len(slots), room), int32
        Receives the new rows.
    """
    links, room = view[LINKS], view[DEGREE]
    size = signed_bytes(view[DIMS]) + QUERY_EXTRA
    query, other = np.empty(size, np.uint8), np.empty(size, np.uint8)
    kept = np.empty(degree, np.int32)
    every, pool = np.empty(room * (room + 1), np.int32), np.empty(room * (room + 1), np.uint64)
    no_marks = np.empty((0, 0), np.uint64)
    for i in range(start, stop):
        slot = np.int64(slots[i])
        total = 0
        for j in range(room):
            near = np.int64(load_i32(links + 4 * (room * slot + j)))
            if near < 0:
                break
            if not is_dead(view, near):
                every[total] = near
                total += 1
                continue
            for m in range(room):
                far = np.int64(load_i32(links + 4 * (room * near + m)))
                if far < 0:
                    break
                if far != slot and not is_dead(view, far):
                    every[total] = far
                    total += 1
        part = every[:total]
        part.sort()
        unique = 0
        for j in range(total):
            if j == 0 or every[j] != every[unique - 1]:
                every[unique] = every[j]
                unique += 1
        distances_to(view, slot, every, unique, query, pool)
        number = robust_prune(view, pool, unique, degree, least, alpha, other, kept, no_marks, slot)
        for j in range(room):
            out[i, j] = kept[j] if j < number else -1


def _reach_examples() -> Iterable[tuple[Any, ...]]:
    ints = np.zeros(1, np.int32)
    yield np.zeros(22, np.int64), ints, np.zeros(1, np.uint64), ints


@kernel(group=_GROUP, examples=_reach_examples)
def reach(view: Any, starts: Any, visited: Any, queue: Any) -> Any:
    """Mark every slot that can be reached from the start slots along links.

    Parameters
    ----------
    view : ndarray of int64
        The graph.
    starts : ndarray of int32
        Start slots.
    visited : ndarray of uint64
        Bitmap over slots; marked.
    queue : ndarray of int32
        Working room for all slots.

    Returns
    -------
    int
        Slots marked in this call.
    """
    links, room = view[LINKS], view[DEGREE]
    head, tail = 0, 0
    for i in range(len(starts)):
        slot = np.int64(starts[i])
        bit = _ONE << np.uint64(slot & 63)
        if visited[slot >> 6] & bit == 0:
            visited[slot >> 6] |= bit
            queue[tail] = slot
            tail += 1
    while head < tail:
        base = links + 4 * room * np.int64(queue[head])
        head += 1
        for j in range(room):
            slot = np.int64(load_i32(base + 4 * j))
            if slot < 0:
                break
            bit = _ONE << np.uint64(slot & 63)
            if visited[slot >> 6] & bit == 0:
                visited[slot >> 6] |= bit
                queue[tail] = slot
                tail += 1
    return tail
