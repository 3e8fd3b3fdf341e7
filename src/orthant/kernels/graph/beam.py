"""Best-first search over a graph of encoded vectors, and what its answers are made of.

A graph is a ``view``: a row of int64 whose entries are named below, addresses and sizes. One compiled kernel thus
serves arrays and memory maps alike. Candidates are keys of 64 bits: the distance as an ordered integer in the upper
half, the slot in bits 1 to 31, and whether it was expanded in bit 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orthant.kernels.addresses import float_key, load_bf16, load_f32, load_i32, load_i64, load_u64, prefetch
from orthant.kernels.compiling import kernel
from orthant.kernels.simd import dot_bits, dot_u4s8, dot_u8s8, insert_sorted

__all__ = [
    "DEAD",
    "ENTRIES",
    "NO_SHIFT",
    "VIEW",
    "beam",
    "code_distance",
    "expand_entries",
    "insert_key",
    "is_allowed",
    "key_buffer",
]

VIEW = (
    *("sketches", "codes", "links", "twins", "ids", "addresses", "scales", "dead", "slots", "width", "degree", "dims"),
    *("entries", "entry_count", "sketched", "dead_count", "full_dim", "twin_count", "bits", "shift", "reduced"),
    "files",
)
"""Names of a view's entries, in order.

sketches (n, 64) and codes (n, width) uint8; links (n, degree) int32, -1 behind the last; twins (n,) int32, the next
slot of an equal vector or -1; ids (n,) int64; addresses (n,) of the full float32 vectors; scales (n,) float32; dead, a
bitmap over slots; entries (entry_count,) int32; sketched, 1 where sketches decide; full_dim, the dimension of full
vectors; twin_count, slots that are another's twin; bits per dimension of a code row; shift, what to add to a slot for
its id where that is one number for all, else ``NO_SHIFT``; reduced, 1 where codes stand for some directions only;
files, the table of those behind mapped full vectors, or 0 (see ``files.rows``).
"""

SKETCHES, CODES, LINKS, TWINS, IDS, ADDRESSES, SCALES, DEAD, SLOTS = range(9)
WIDTH, DEGREE, DIMS, ENTRIES, ENTRY_COUNT, SKETCHED, DEAD_COUNT, FULL_DIM, TWIN_COUNT, BITS, SHIFT = range(9, 20)
REDUCED, FILES = 20, 21

NO_SHIFT = -(1 << 62)
"""Ids do not follow the order of slots."""

_ONE = np.uint64(1)
_LOW = np.uint64(0xFFFFFFFF)
_HIGHEST = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel(inline="always")
def slot_of(key: Any) -> Any:
    """Return the slot of a key."""
    return np.int64((key & _LOW) >> _ONE)


@kernel(inline="always")
def signed_bytes(dims: Any) -> Any:
    """Return the bytes that a query's signed values take."""
    return (dims + 127) // 128 * 128


@kernel
def key_buffer(most: Any) -> Any:
    """Return an empty buffer for keys: a zero, then room for them, all at their highest.

    Parameters
    ----------
    most : int
        Keys to hold.

    Returns
    -------
    ndarray of shape (8 * ceil(most / 8),), uint64
        The first key is element 0; the element before it is what ``simd.insert_sorted`` needs.
    """
    out = np.empty(1 + (most + 7) // 8 * 8, np.uint64)
    out[:] = _HIGHEST
    out[0] = np.uint64(0)
    return out[1:]


@kernel(inline="always")
def insert_key(buffer: Any, key: Any, most: Any) -> Any:
    """Insert a key into a buffer.

    Parameters
    ----------
    buffer : ndarray of uint64
        From ``key_buffer(most)``.
    key : uint64
        What to insert.
    most : int
        Keys to hold.

    Returns
    -------
    int
        Its place.
    """
    return insert_sorted(buffer.ctypes.data, (most + 7) >> 3, key)


@kernel(inline="always")
def sketch_distance(sketch: Any, planes: Any, constants: Any, norm: Any, slack: Any) -> Any:
    """Estimate a squared distance from a sketch, minus ``slack`` standard errors."""
    sums = np.int64(load_i32(sketch + 52))
    counted = np.float32(dot_bits(sketch, planes))
    product = constants[4] * counted + constants[5] * np.float32(sums & 511) - constants[2]
    estimate = norm + load_f32(sketch + 48) - np.float32(2.0) * load_bf16(sketch + 56) * product
    return estimate - slack * load_bf16(sketch + 58)


@kernel(inline="always")
def code_distance(sketch: Any, code: Any, query: Any, blocks: Any, bits: Any, constants: Any, dims: Any) -> Any:
    """Return the squared distance between a query and a code row, never below 0.

    Parameters
    ----------
    sketch, code : int
        Addresses of a slot's sketch and code row.
    query : int
        Address of the query's signed bytes.
    blocks, bits : int
        Blocks of 64 bytes in a code row, and bits per dimension.
    constants : ndarray of shape (16,), float32
        The query's constants; see ``sketch.query_row``.
    dims : int
        Dimensions.

    Returns
    -------
    float32
        The distance, those parts included that no code has.
    """
    sums = np.float32((np.int64(load_i32(sketch + 52)) & 0xFFFFFFFF) >> 9)
    dot = np.float32(dot_u8s8(code, query, blocks) if bits == 8 else dot_u4s8(code, query, blocks))
    step, low = load_bf16(sketch + 60), load_bf16(sketch + 62)
    product = step * (constants[0] * dot + constants[1] * sums) + low * constants[2]
    return max(np.float32(0.0), constants[3] + load_f32(sketch + 48) - np.float32(2.0) * product)


@kernel(inline="always")
def is_allowed(ids: Any, twins: Any, shift: Any, slot: Any, allowed: Any, words: Any) -> Any:
    """Return whether a bitmap over ids allows a slot.

    Parameters
    ----------
    ids, twins : int
        Addresses of the ids and twins of all slots; twins are not looked at where that is 0.
    shift : int
        What to add to a slot for its id, then ids are not looked at; or ``NO_SHIFT``.
    slot : int
        The slot.
    allowed, words : int
        Address and length of a bitmap over ids.

    Returns
    -------
    bool
        Whether the slot or one of its twins may be returned.
    """
    while slot >= 0:
        row = slot + shift if shift != NO_SHIFT else load_i64(ids + 8 * slot)
        word = row >> 6
        if row >= 0 and word < words and (load_u64(allowed + 8 * word) >> np.uint64(row & 63)) & _ONE != 0:
            return True
        if twins == 0:
            return False
        slot = np.int64(load_i32(twins + 4 * slot))
    return False


@kernel(inline="always")
def expand_entries(
    view: Any, query: Any, constants: Any, most: Any, visited: Any, touched: Any, buffer: Any, starts: Any, few: Any
) -> Any:
    """Put the best few of some start slots into the buffer, by their code rows.

    Parameters
    ----------
    view, query, constants, most, visited, touched, buffer, starts : any
        As for ``beam``; nothing is visited before, and the buffer is empty.
    few : int
        Start slots to keep at most.

    Returns
    -------
    size, touched : int
        Keys in the buffer, and slots marked as visited.
    """
    sketches, codes, width, dims = view[SKETCHES], view[CODES], view[WIDTH], view[DIMS]
    blocks, bits, planes = width >> 6, view[BITS], query + signed_bytes(dims)
    size, count = 0, 0
    few = min(few, most)
    for i in range(len(starts)):
        slot = np.int64(starts[i])
        bit = _ONE << np.uint64(slot & 63)
        if visited[slot >> 6] & bit:
            continue
        visited[slot >> 6] |= bit
        touched[count] = slot
        count += 1
        sketch = sketches + 64 * slot
        if view[SKETCHED]:
            distance = max(np.float32(0.0), sketch_distance(sketch, planes, constants, constants[3], np.float32(0.0)))
        else:
            distance = code_distance(sketch, codes + width * slot, query, blocks, bits, constants, dims)
        key = (float_key(distance) << np.uint64(32)) | np.uint64(slot << 1)
        insert_key(buffer, key, few)
        size = min(size + 1, few)
    if view[SKETCHED]:
        for i in range(size):
            slot = slot_of(buffer[i])
            distance = code_distance(sketches + 64 * slot, codes + width * slot, query, blocks, bits, constants, dims)
            buffer[i] = (float_key(distance) << np.uint64(32)) | np.uint64(slot << 1)
        buffer[:size].sort()
    # What did not make it among the few is no candidate yet: a walk may come by it again.
    for i in range(count):
        slot = np.int64(touched[i])
        visited[slot >> 6] &= ~(_ONE << np.uint64(slot & 63))
    for i in range(size):
        slot = slot_of(buffer[i])
        visited[slot >> 6] |= _ONE << np.uint64(slot & 63)
        touched[i] = slot
    count = size
    for i in range(size, min(len(buffer), few + 8)):
        buffer[i] = _HIGHEST
    return size, count


@kernel
def beam(
    view: Any, query: Any, constants: Any, most: Any, together: Any, visited: Any, touched: Any, buffer: Any,
    starts: Any, todo: Any, few: Any,
) -> Any:  # fmt: skip
    """Collect the ``most`` nearest slots that a best-first search from the start slots finds.

    Parameters
    ----------
    view : ndarray of int64
        The graph.
    query : int
        Address of a query row; see ``sketch.query_row``.
    constants : ndarray of shape (16,), float32
        The query's constants.
    most : int
        Width of the beam.
    together : int
        Candidates expanded in one step; more hide the latency of memory and add comparisons.
    visited : ndarray of uint64
        Bitmap over slots, all zero; left with the touched slots set.
    touched : ndarray of int32
        Receives every slot seen; room for all slots and ``together`` rows of links.
    buffer : ndarray of uint64
        From ``key_buffer(most)``; receives the keys in ascending order.
    starts : ndarray of int32
        Where the search begins.
    todo : ndarray of int32
        Working room for ``together`` rows of links and as many slots.
    few : int
        Start slots that the search begins at, the nearest ones.

    Returns
    -------
    size, touched, expanded, compared : int
        Keys in the buffer; slots seen; slots expanded; code rows read.
    """
    sketches, codes, links = view[SKETCHES], view[CODES], view[LINKS]
    width, degree, dims, sketched = view[WIDTH], view[DEGREE], view[DIMS], view[SKETCHED]
    blocks, bits, planes, row_bytes = width >> 6, view[BITS], query + signed_bytes(dims), 4 * degree
    norm, slack = constants[3], constants[6]
    size, seen = expand_entries(view, query, constants, most, visited, touched, buffer, starts, few)
    room = together * degree
    current, expanded, compared, waiting = 0, 0, np.int64(size), np.int64(0)
    worst, wide = buffer[most - 1], most > 96
    while True:
        chosen = 0
        while current < size and chosen < together:
            key = buffer[current]
            if key & _ONE == 0:
                buffer[current] = key | _ONE
                todo[room + chosen] = slot_of(key)
                chosen += 1
            current += 1
        if chosen == 0 and waiting == 0:
            break
        expanded += chosen
        end = seen
        for i in range(chosen):
            base = links + row_bytes * np.int64(todo[room + i])
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
        # Code rows asked for one step ago are here by now; the sketches asked for just above are on their way.
        compared += waiting
        for i in range(waiting):
            slot = np.int64(todo[i])
            distance = code_distance(sketches + 64 * slot, codes + width * slot, query, blocks, bits, constants, dims)
            key = (float_key(distance) << np.uint64(32)) | np.uint64(slot << 1)
            # Inserting what does not belong changes nothing, and costs less than a branch while beams are narrow.
            if wide and key >= worst:
                continue
            place = insert_key(buffer, key, most)
            size += np.int64(size < most)
            worst = buffer[most - 1]
            current = min(current, place)
        for i in range(current, min(size, current + together)):
            base = links + row_bytes * slot_of(buffer[i])
            for j in range(0, row_bytes, 64):
                prefetch(base + j)
        waiting = np.int64(0)
        for i in range(seen, end):
            slot = np.int64(touched[i])
            todo[waiting] = slot
            if sketched:
                bound = sketch_distance(sketches + 64 * slot, planes, constants, norm, slack)
                waiting += np.int64(float_key(bound) << np.uint64(32) < worst)
            else:
                waiting += 1
        for i in range(waiting):
            row = codes + width * np.int64(todo[i])
            for j in range(0, width, 64):
                prefetch(row + j)
        seen = end
    return size, seen, expanded, compared
