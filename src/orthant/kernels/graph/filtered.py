"""Walks under a filter: past slots that are not allowed, or over them.

``beam_past`` walks the whole graph and keeps what is allowed; it suits filters that allow much of what is near the
query, and gives up where they do not. ``beam_allowed`` walks over allowed slots only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orthant.kernels.addresses import float_key, load_i32, prefetch
from orthant.kernels.compiling import kernel
from orthant.kernels.graph.beam import (
    BITS,
    CODES,
    DEGREE,
    DIMS,
    IDS,
    LINKS,
    NO_SHIFT,
    SHIFT,
    SKETCHED,
    SKETCHES,
    SLOTS,
    TWIN_COUNT,
    TWINS,
    WIDTH,
    code_distance,
    expand_entries,
    insert_key,
    is_allowed,
    key_buffer,
    signed_bytes,
    sketch_distance,
    slot_of,
)

__all__ = ["FIRST_LOOK", "beam_allowed", "beam_past"]

_ONE = np.uint64(1)
_HIGHEST = np.uint64(0xFFFFFFFFFFFFFFFF)

FIRST_LOOK = 16
"""Slots expanded before a walk first asks whether it will end in time; then at each doubling."""


_LONGEST = 4096
"""Keys in the list of a walk that may give up: it is made for every query, and kept in order."""


@kernel(inline="always")
def _room(patience: Any, wide: Any, slots: Any, starts: Any) -> Any:
    """Return how many keys a walk keeps to expand."""
    room = min(4 * (patience + wide), slots + starts)
    if patience < slots:
        # What lies beyond is left out: a patient walk has nearer ones to expand.
        room = min(room, max(_LONGEST, 4 * wide))
    return room


@kernel(inline="always")
def _shortened(buffer: Any, size: Any, last: Any) -> Any:
    """Leave out what is farther than all that may still be wanted: it is never expanded, and short buffers are fast."""
    while size > 0 and buffer[size - 1] >= last:
        size -= 1
    return size


@kernel(inline="always")
def _looks(expanded: Any) -> Any:
    """Return whether a walk asks at this candidate if it will end in time."""
    return expanded >= FIRST_LOOK and expanded & (expanded - 1) == 0


@kernel
def beam_past(
    view: Any, query: Any, constants: Any, most: Any, fewest: Any, spare: Any, usual: Any, patience: Any, visited: Any,
    touched: Any, kept: Any, starts: Any, todo: Any, allowed: Any, words: Any,
) -> Any:  # fmt: skip
    """Walk the whole graph until enough allowed slots are nearer than all that is left to expand.

    Parameters
    ----------
    view, query, constants, most, visited, touched, starts, todo : any
        As for ``beam.beam``, ``todo`` with room for two rows of links.
    fewest : int
        Allowed slots that are enough where next to none of those met are allowed, at most ``most``, which are enough
        where all are; in between, in proportion. The rarer they are, the more else has been looked at.
    spare, usual : int, float32
        How many more are enough where all that is met is allowed and next to nothing elsewhere, and the share that is
        allowed anywhere. Who asks for what lies near a query asks about a part of the data, and some parts are harder
        than the whole that an effort was measured on.
    patience : int
        Slots expanded at most; fewer where the share of what was met that is allowed says that they will not do,
        unless there are no more slots than that.
    kept : ndarray of uint64
        From ``key_buffer(most + spare)``; receives the keys of allowed slots.
    allowed, words : int
        Address and length of a bitmap over ids.

    Returns
    -------
    size, touched, expanded, compared : int
        Keys kept, -1 where patience ended; slots seen; slots expanded; code rows read.

    Notes
    -----
    Where all that is near is allowed, this costs what a search without a filter costs; where a share s is, about 1 / s
    times that.
    """
    sketches, codes, links, ids = view[SKETCHES], view[CODES], view[LINKS], view[IDS]
    twins = view[TWINS] if view[TWIN_COUNT] > 0 else np.int64(0)
    width, degree, dims, sketched = view[WIDTH], view[DEGREE], view[DIMS], view[SKETCHED]
    blocks, bits, planes, row_bytes = width >> 6, view[BITS], query + signed_bytes(dims), 4 * degree
    norm, slack, apart, wide = constants[3], constants[6], view[SHIFT], most + spare
    hasty, room = patience < view[SLOTS], _room(patience, wide, view[SLOTS], len(starts))
    buffer = key_buffer(room)
    size: Any
    size, seen = expand_entries(view, query, constants, room, visited, touched, buffer, starts, 4)
    current, expanded, compared, held, met, put = 0, 0, np.int64(size), np.int64(0), np.int64(0), np.int64(size)
    waiting: Any = 0
    for i in range(size):
        if is_allowed(ids, twins, apart, slot_of(buffer[i]), allowed, words):
            insert_key(kept, buffer[i], wide)
            held += np.int64(held < wide)
            met += 1
    while True:
        share = np.float32(met) / np.float32(put if put > 0 else 1)
        enough = fewest + np.int64((most - fewest) * share + spare * max(np.float32(0.0), share - usual))
        while current < size and buffer[current] & _ONE:
            current += 1
        ended = current >= size or buffer[current] >= kept[enough - 1]
        if ended and waiting == 0:
            break
        end = seen
        if not ended:
            if expanded == patience or (hasty and _looks(expanded) and enough > share * patience):
                return -1, seen, expanded, compared
            slot = slot_of(buffer[current])
            buffer[current] |= _ONE
            expanded += 1
            base = links + row_bytes * slot
            for j in range(degree):
                slot = np.int64(load_i32(base + 4 * j))
                if slot < 0:
                    break
                shift = np.uint64(slot & 63)
                word = visited[slot >> 6]
                touched[end] = slot
                end += np.int64(((word >> shift) & _ONE) ^ _ONE)
                visited[slot >> 6] = word | (_ONE << shift)
                prefetch(sketches + 64 * slot)
        compared += waiting
        for i in range(waiting):
            slot = np.int64(todo[i])
            distance = code_distance(sketches + 64 * slot, codes + width * slot, query, blocks, bits, constants, dims)
            key = (float_key(distance) << np.uint64(32)) | np.uint64(slot << 1)
            if key >= kept[enough - 1]:
                continue
            put += 1
            # Only as much of the buffer is touched as is filled.
            place = insert_key(buffer, key, min(size + 1, room))
            size += np.int64(size < room)
            current = min(current, place)
            if is_allowed(ids, twins, apart, slot, allowed, words):
                insert_key(kept, key, wide)
                held += np.int64(held < wide)
                met += 1
                size = _shortened(buffer, size, kept[min(wide, enough + enough // 4 + 2) - 1])
        if current < size:
            base = links + row_bytes * slot_of(buffer[current])
            for j in range(0, row_bytes, 64):
                prefetch(base + j)
        waiting = 0
        for i in range(seen, end):
            slot = np.int64(touched[i])
            todo[waiting] = slot
            if sketched:
                bound = sketch_distance(sketches + 64 * slot, planes, constants, norm, slack)
                waiting += np.int64(float_key(bound) << np.uint64(32) < kept[enough - 1])
            else:
                waiting += 1
        for i in range(waiting):
            slot = np.int64(todo[i])
            if apart == NO_SHIFT:
                prefetch(ids + 8 * slot)
            for j in range(0, width, 64):
                prefetch(codes + width * slot + j)
        seen = end
    return held, seen, expanded, compared


@kernel
def beam_allowed(
    view: Any, query: Any, constants: Any, most: Any, visited: Any, touched: Any, buffer: Any, starts: Any, todo: Any,
    allowed: Any, words: Any,
) -> Any:  # fmt: skip
    """Search as ``beam`` does, over allowed slots only, stepping over others to the neighbours behind them.

    Parameters
    ----------
    view, query, constants, most, visited, touched, buffer, starts, todo : any
        As for ``beam.beam``, ``todo`` with room for two rows of links; the start slots are allowed.
    allowed, words : int
        Address and length of a bitmap over ids.

    Returns
    -------
    size, touched, expanded, compared : int
        As for ``beam.beam``.

    Notes
    -----
    Neighbours of neighbours are taken until as many candidates are found as a row has links.
    """
    sketches, codes, links, ids = view[SKETCHES], view[CODES], view[LINKS], view[IDS]
    twins = view[TWINS] if view[TWIN_COUNT] > 0 else np.int64(0)
    width, degree, dims, sketched = view[WIDTH], view[DEGREE], view[DIMS], view[SKETCHED]
    blocks, bits, planes, row_bytes = width >> 6, view[BITS], query + signed_bytes(dims), 4 * degree
    norm, slack, apart = constants[3], constants[6], view[SHIFT]
    size, seen = expand_entries(view, query, constants, most, visited, touched, buffer, starts, 16)
    current, expanded, compared = 0, 0, np.int64(size)
    worst = buffer[most - 1]
    while current < size:
        key = buffer[current]
        current += 1
        if key & _ONE:
            continue
        buffer[current - 1] = key | _ONE
        expanded += 1
        base = links + row_bytes * slot_of(key)
        end, others = seen, 0
        for j in range(degree):
            slot = np.int64(load_i32(base + 4 * j))
            if slot < 0:
                break
            bit = _ONE << np.uint64(slot & 63)
            if visited[slot >> 6] & bit:
                continue
            visited[slot >> 6] |= bit
            if is_allowed(ids, twins, apart, slot, allowed, words):
                touched[end] = slot
                end += 1
                prefetch(sketches + 64 * slot)
            else:
                todo[others] = slot
                others += 1
                for m in range(0, row_bytes, 64):
                    prefetch(links + row_bytes * slot + m)
        far_end = end
        for i in range(others):
            if far_end - seen >= degree:
                break
            far = links + row_bytes * np.int64(todo[i])
            for j in range(degree):
                slot = np.int64(load_i32(far + 4 * j))
                if slot < 0:
                    break
                bit = _ONE << np.uint64(slot & 63)
                if visited[slot >> 6] & bit == 0 and is_allowed(ids, twins, apart, slot, allowed, words):
                    visited[slot >> 6] |= bit
                    touched[far_end] = slot
                    far_end += 1
                    prefetch(sketches + 64 * slot)
        # Slots stepped over are forgotten: another way may need to step over them again.
        for i in range(others):
            slot = np.int64(todo[i])
            visited[slot >> 6] &= ~(_ONE << np.uint64(slot & 63))
        for i in range(seen, far_end):
            slot = np.int64(touched[i])
            sketch, row = sketches + 64 * slot, codes + width * slot
            if sketched:
                bound = sketch_distance(sketch, planes, constants, norm, slack)
                if float_key(bound) << np.uint64(32) >= worst:
                    continue
            compared += 1
            distance = code_distance(sketch, row, query, blocks, bits, constants, dims)
            key = (float_key(distance) << np.uint64(32)) | np.uint64(slot << 1)
            if key < worst:
                place = insert_key(buffer, key, most)
                size = min(size + 1, most)
                worst = buffer[most - 1]
                current = min(current, place)
        seen = far_end
    return size, seen, expanded, compared
