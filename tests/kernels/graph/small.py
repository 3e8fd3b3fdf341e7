"""Small encoded graphs for the tests of their kernels, and what their codes stand for in float64."""

from __future__ import annotations

import numpy as np

from orthant.index.vamana.space import Space
from orthant.index.vamana.state import State
from orthant.kernels import bitmaps
from orthant.kernels.compiling import kernel
from orthant.kernels.graph import beam, sketch
from orthant.kernels.rotations import kronecker_factors


def make_state(X, *, bits=8, room=8, links=None, ids=None, metric="l2", seed=0):
    """A state over vectors, each a node, with given links."""
    n, dim = X.shape
    rotation = kronecker_factors(dim, np.random.default_rng(seed))
    largest = float(np.linalg.norm(X, axis=1).max()) or 1.0
    space = Space(metric, dim, X.mean(axis=0) * 0, None, rotation, largest, 1.0, bits)
    state = State.empty(space, room, n, own=True)
    slots = state.take_slots(n)
    state.place(slots, X, np.arange(n) if ids is None else ids)
    state.encode(slots, X)
    state.linked = bitmaps.set_rows(state.linked, slots.astype(np.int64))
    state.entries = slots[:1].copy()
    if links is not None:
        for slot, row in enumerate(links):
            state.links[slot, : len(row)] = row
    return state


def decoded(sketches, codes, dims, bits):
    """The vectors that code rows stand for, float64."""
    constants = (sketches[:, 56:64].copy().view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    step, low = constants[:, 2:3], constants[:, 3:4]
    if bits == 8:
        values = codes[:, :dims]
    else:
        halves = codes.reshape(len(codes), -1, 1, 64)
        values = np.concatenate([halves & 15, halves >> 4], axis=2).reshape(len(codes), -1)[:, :dims]
    return low + step * values, step


@kernel
def distances_from(view, sketch_at, code_at, query, margin, by_code, by_sketch):
    """Distances of every slot to an encoded vector, by code rows and by sketches."""
    width, dims, bits = view[beam.WIDTH], view[beam.DIMS], view[beam.BITS]
    sketch.query_row(sketch_at, code_at, width, bits, dims, margin, query)
    constants = query[len(query) - 64 :].view(np.float32)
    at = query.ctypes.data
    planes = at + beam.signed_bytes(dims)
    for slot in range(view[beam.SLOTS]):
        row = view[beam.SKETCHES] + 64 * slot
        code = view[beam.CODES] + width * slot
        by_code[slot] = beam.code_distance(row, code, at, width >> 6, bits, constants, dims)
        by_sketch[slot] = beam.sketch_distance(row, planes, constants, constants[3], np.float32(0.0))


def query_room(state):
    return sketch.aligned_rows(1, -(-state.space.dims // 128) * 128 + sketch.QUERY_EXTRA)[0]


def all_distances(state, slot):
    """Distances of every slot to one of them, as (by codes, by sketches)."""
    out = np.zeros(state.used, np.float32), np.zeros(state.used, np.float32)
    at, code = state.sketches[slot].ctypes.data, state.codes[slot].ctypes.data
    distances_from(state.view(sketched=True), at, code, query_room(state), np.float32(0), *out)
    return out
