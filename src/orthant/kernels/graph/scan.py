"""Comparing every allowed slot, without a graph: sketches of all, codes where they leave doubt, full vectors last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.addresses import float_key, key_float, load_bf16, prefetch
from orthant.kernels.compiling import kernel
from orthant.kernels.graph.answers import LISTED, name_listed, settle, within
from orthant.kernels.graph.beam import (
    BITS,
    CODES,
    DIMS,
    SKETCHED,
    SKETCHES,
    WIDTH,
    code_distance,
    insert_key,
    key_buffer,
    signed_bytes,
    sketch_distance,
    slot_of,
)

__all__ = ["search_slots"]

_SURE = np.float32(3.0)
"""A scan allows sketches so many times the slack of a walk: unlike there, nothing comes by a second time."""

_SKETCHES_AHEAD, _CODES_AHEAD = 16, 4
"""Slots whose sketch, and whose code row, are asked for before they are needed."""

_TOGETHER = 16
"""Bounds that are looked at together: next to all of them rule their slot out."""

_WAITING = 1024
"""Slots in doubt that are collected before their codes are compared."""

_HIGHEST = np.uint64(0xFFFFFFFFFFFFFFFF)
_NEVER = np.float32(np.inf)


@kernel
def _estimate(view: Any, query: Any, constants: Any, slots: Any, near: Any, most: Any, bounds: Any) -> Any:
    """Write the least distance of every slot that its sketch leaves likely, and the keys of the nearest by estimates.

    Keys hold places in the list. Returns how many.
    """
    sketches, planes, total = view[SKETCHES], query + signed_bytes(view[DIMS]), len(slots)
    norm, slack, size, worst = constants[3], _SURE * constants[6], 0, _HIGHEST
    for j in range(total):
        prefetch(sketches + 64 * np.int64(slots[min(j + _SKETCHES_AHEAD, total - 1)]))
        sketch = sketches + 64 * np.int64(slots[j])
        distance = sketch_distance(sketch, planes, constants, norm, np.float32(0.0))
        bounds[j] = distance - slack * load_bf16(sketch + 58)
        key = (float_key(distance) << np.uint64(32)) | np.uint64(j << 1)
        if key < worst:
            insert_key(near, key, most)
            size = min(size + 1, most)
            worst = near[most - 1]
    return size


@kernel
def _compare(
    view: Any, query: Any, constants: Any, slots: Any, places: Any, count: Any, bounds: Any, buffer: Any, most: Any
) -> Any:
    """Compare listed places by their codes, unless what was found meanwhile rules them out. Returns comparisons."""
    sketches, codes, width, dims = view[SKETCHES], view[CODES], view[WIDTH], view[DIMS]
    blocks, bits, compared = width >> 6, view[BITS], 0
    worst = buffer[most - 1]
    for i in range(min(count, _CODES_AHEAD)):
        row = codes + width * np.int64(slots[places[i]])
        for j in range(0, width, 64):
            prefetch(row + j)
    for i in range(count):
        if i + _CODES_AHEAD < count:
            row = codes + width * np.int64(slots[places[i + _CODES_AHEAD]])
            for j in range(0, width, 64):
                prefetch(row + j)
        if float_key(bounds[places[i]]) << np.uint64(32) >= worst:
            continue
        compared += 1
        slot = np.int64(slots[places[i]])
        distance = code_distance(sketches + 64 * slot, codes + width * slot, query, blocks, bits, constants, dims)
        key = (float_key(distance) << np.uint64(32)) | np.uint64(slot << 1)
        if key < worst:
            insert_key(buffer, key, most)
            worst = buffer[most - 1]
    return compared


@kernel
def _nearest(
    view: Any, query: Any, constants: Any, slots: Any, most: Any, bounds: Any, places: Any, buffer: Any
) -> Any:
    """Fill a buffer with the keys of the nearest slots by codes. Returns comparisons.

    Those nearest by sketches are compared first, so that next to the least possible number has to be compared after.
    """
    total, found = len(slots), 0
    if view[SKETCHED]:
        near = key_buffer(most)
        found = _estimate(view, query, constants, slots, near, most, bounds)
        for i in range(found):
            places[i] = slot_of(near[i])
    else:
        bounds[:] = -_NEVER
    compared = _compare(view, query, constants, slots, places, found, bounds, buffer, most)
    for i in range(found):
        bounds[places[i]] = _NEVER
    bounds[total:] = _NEVER
    waiting = 0
    for start in range(0, total, _TOGETHER):
        # Empty places of the buffer stand for NaN, which nothing is below.
        full = buffer[most - 1] != _HIGHEST
        limit = key_float(buffer[most - 1]) if full else _NEVER
        some = False
        for j in range(start, start + _TOGETHER):
            some |= bounds[j] < limit
        if not some:
            continue
        for j in range(start, start + _TOGETHER):
            places[waiting] = j
            waiting += int(bounds[j] < limit)
        if waiting > _WAITING - _TOGETHER or not full:
            compared += _compare(view, query, constants, slots, places, waiting, bounds, buffer, most)
            waiting = 0
    return compared + _compare(view, query, constants, slots, places, waiting, bounds, buffer, most)


def _examples() -> Iterable[tuple[Any, ...]]:
    ints, rows = np.zeros(1, np.int32), np.zeros((1, 64), np.uint8)
    floats, found = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    view, spent, counts = np.zeros(22, np.int64), np.zeros(4, np.int64), np.zeros(1, np.int64)
    yield view, rows, floats, 0, 1, 1, 1, 0, ints, found, floats, counts, spent


@kernel(group="graph", examples=_examples)
def search_slots(
    view: Any, rows: Any, queries: Any, start: Any, stop: Any, k: Any, rerank: Any, metric: Any, slots: Any, ids: Any,
    scores: Any, counts: Any, spent: Any,
) -> None:  # fmt: skip
    """Answer queries by comparing every listed slot: sketches, code rows where they may matter, then full vectors.

    Parameters
    ----------
    view, rows, queries, start, stop, k, rerank, metric : any
        As for ``answers.search_graph``.
    slots : ndarray of int32
        Slots to compare, live and allowed.
    ids, scores, counts, spent : ndarray
        As for ``answers.search_graph``.
    """
    total = len(slots)
    # A slot whose bound is read in company of those behind the last is never in doubt.
    bounds = np.empty(total + _TOGETHER, np.float32)
    places, found = np.empty(max(_WAITING, rerank) + _TOGETHER, np.int64), np.empty(rerank, np.int32)
    for i in range(start, stop):
        query, constants = rows[i].ctypes.data, rows[i, rows.shape[1] - 64 :].view(np.float32)
        buffer, size = key_buffer(rerank), min(total, rerank)
        compared = _nearest(view, query, constants, slots, rerank, bounds, places, buffer) if total > 0 else 0
        while size > 0 and buffer[size - 1] == _HIGHEST:
            size -= 1
        if size > k:
            size = within(view, buffer, size, k - 1, constants)
        for j in range(size):
            found[j] = slot_of(buffer[j])
        spent[0] += total
        spent[2] += compared
        if metric == LISTED:
            counts[i] = name_listed(view, found, size, k, query, constants, ids[i], scores[i])
            continue
        spent[3] += size
        counts[i] = settle(view, found, size, queries[i].ctypes.data, metric, k, ids[i], scores[i])
