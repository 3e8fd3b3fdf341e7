"""Codes of two levels for graph search: a sketch of one cache line, and eight bits per dimension.

A vector y of d <= 384 dimensions, already rotated so that no dimension stands out, becomes

* a *code row*: LVQ-8, ``y_j ~ low + step * c_j``, padded with zeros to a multiple of 64 bytes;
* a *sketch* of 64 bytes: the signs of y in 48 bytes, and what both levels need besides (see ``SKETCH_FIELDS``).

The sketch estimates ``<q, y> ~ f * sum_j q_j sign(y_j)`` with ``f = |y|^2 / |y|_1``, unbiased under random rotations,
whose standard error is ``|q| * spread``. A comparison that the sketch rules out never loads the code row. Queries are
encoded the same way, so that a stored vector can be a query: their code row is the query in eight bits, and its upper
four bits are the planes that meet the signs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.simd import bit_plane_64, load_bf16, load_f32, load_i32, store_u64

__all__ = [
    "MOST_DIMS",
    "QUERY_EXTRA",
    "SKETCH_BYTES",
    "SKETCH_FIELDS",
    "aligned_rows",
    "code_bytes",
    "encode_rows",
    "query_row",
    "query_rows",
]

MOST_DIMS = 384
"""Dimensions whose signs fit into a sketch."""

SKETCH_BYTES = 64

SKETCH_FIELDS = {"signs": 0, "norm": 48, "sums": 52, "factor": 56, "spread": 58, "step": 60, "low": 62}
"""Offset of each field: signs (48 bytes), squared norm (float32), 512 * sum of codes + number of positive signs
(uint32), and four bfloat16."""

QUERY_EXTRA = 320
"""Bytes of a query behind its code row: four planes of 64 bytes and sixteen float32."""

_GROUP = "graph"


def code_bytes(dims: int) -> int:
    """Return the bytes of a code row: the dimensions, rounded up to whole cache lines.

    Parameters
    ----------
    dims : int
        Dimensions of the encoded vectors, at most 384.

    Returns
    -------
    int
        A multiple of 64.
    """
    return -(-dims // 64) * 64


def aligned_rows(count: int, width: int) -> np.ndarray:
    """Return a zeroed matrix of bytes that begins at a cache line.

    Parameters
    ----------
    count, width : int
        Rows and bytes per row; a width that is a multiple of 64 keeps every row at a cache line.

    Returns
    -------
    ndarray of shape (count, width), uint8
        The matrix.
    """
    buffer = np.zeros(count * width + 64, dtype=np.uint8)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + count * width].reshape(count, width)


@kernel
def _bf16_up(value: Any) -> Any:
    """Return the bits of the smallest bfloat16 that is not below a float32 of 0 or more."""
    bits = np.float32(value).view(np.uint32)
    return np.uint16((np.int64(bits) + 0xFFFF) >> 16)


@kernel
def _bf16_down(value: Any) -> Any:
    """Return the bits of the largest bfloat16 that is not above a float32 of any sign."""
    bits = np.int64(np.float32(value).view(np.uint32))
    if value < 0:
        bits += 0xFFFF
    return np.uint16((bits >> 16) & 0xFFFF)


@kernel
def _bf16_value(bits: Any) -> Any:
    return np.uint32(np.int64(bits) << 16).view(np.float32)


def _encode_examples() -> Iterable[tuple[Any, ...]]:
    Y, norms, rows = np.zeros((1, 64), np.float32), np.zeros(1, np.float32), np.zeros((1, 64), np.uint8)
    yield Y, norms, rows, rows, 0, 1


@kernel(group=_GROUP, examples=_encode_examples, fastmath={"reassoc", "contract", "nnan", "nsz"})
def encode_rows(Y: Any, norms: Any, sketches: Any, codes: Any, start: Any, stop: Any) -> None:
    """Encode vectors start to stop.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float32
        Rotated vectors.
    norms : ndarray of shape (n,), float32
        Squared norms to store, those of the vectors before any reduction.
    sketches : ndarray of shape (n, 64), uint8
        Written; zeroed before.
    codes : ndarray of shape (n, code_bytes(d)), uint8
        Written; zeroed before.
    start, stop : int
        Rows.
    """
    d = Y.shape[1]
    for i in range(start, stop):
        lowest, highest = Y[i, 0], Y[i, 0]
        absolute, squares = np.float32(0.0), np.float32(0.0)
        for j in range(d):
            value = Y[i, j]
            lowest = min(lowest, value)
            highest = max(highest, value)
            absolute += abs(value)
            squares += value * value
        # Constants are rounded outwards first; codes belong to the rounded constants.
        low_bits = _bf16_down(lowest)
        low = _bf16_value(low_bits)
        step_bits = _bf16_up((highest - low) / np.float32(255.0))
        step = _bf16_value(step_bits)
        inverse = np.float32(1.0) / step if step > 0 else np.float32(0.0)
        total = np.int64(0)
        for j in range(d):
            code = np.int32((Y[i, j] - low) * inverse + np.float32(0.5))
            code = min(max(code, np.int32(0)), np.int32(255))
            codes[i, j] = np.uint8(code)
            total += code
        positive = 0
        for j in range(d):
            if Y[i, j] > 0:
                sketches[i, j >> 3] |= np.uint8(1 << (j & 7))
                positive += 1
        factor, spread = np.float32(0.0), np.float32(0.0)
        if absolute > 0:
            factor = squares / absolute
            if d > 1:
                excess = max(np.float32(0.0), d * squares * squares / (absolute * absolute) - squares)
                spread = np.sqrt(excess / np.float32(d - 1))
        fields = sketches[i].view(np.uint16)
        sketches[i].view(np.float32)[12] = norms[i]
        sketches[i].view(np.uint32)[13] = np.uint32(total * 512 + positive)
        fields[28] = _bf16_up(factor)
        fields[29] = _bf16_up(spread)
        fields[30] = step_bits
        fields[31] = low_bits


@kernel
def query_row(sketch: Any, code: Any, width: Any, dims: Any, margin: Any, out: Any) -> None:
    """Turn an encoded vector into a query: signed bytes, planes and constants.

    Parameters
    ----------
    sketch, code : int
        Addresses of its sketch and code row.
    width : int
        Bytes of a code row.
    dims : int
        Dimensions d.
    margin : float32
        Standard errors that a sketch may be off before its comparison is given up.
    out : ndarray of shape (width + 320,), uint8
        Written.
    """
    words = width >> 6
    base = out.ctypes.data
    for block in range(words):
        for k in range(4):
            plane = bit_plane_64(code + 64 * block, np.int64(4 + k))
            store_u64(base + width + 64 * k + 8 * block, plane)
        for j in range(8):
            at = 64 * block + 8 * j
            store_u64(base + at, load_u64_flipped(code + at))
    for k in range(4):
        for j in range(words, 8):
            store_u64(base + width + 64 * k + 8 * j, np.uint64(0))
    step, low = load_bf16(sketch + 60), load_bf16(sketch + 62)
    total = np.float32((np.int64(load_i32(sketch + 52)) & 0xFFFFFFFF) >> 9)
    norm = load_f32(sketch + 48)
    constants = out[width + 256 :].view(np.float32)
    constants[0] = step
    constants[1] = low + np.float32(128.0) * step
    constants[2] = step * total + low * np.float32(dims)
    constants[3] = norm
    constants[4] = np.float32(2.0) * np.float32(16.0) * step
    constants[5] = np.float32(2.0) * (low + np.float32(7.5) * step)
    constants[6] = np.float32(2.0) * margin * np.sqrt(max(norm, np.float32(0.0)))


@kernel
def load_u64_flipped(address: Any) -> Any:
    """Load eight unsigned bytes as signed ones, shifted down by 128."""
    low = np.uint64(np.int64(load_i32(address)) & 0xFFFFFFFF)
    high = np.uint64(np.int64(load_i32(address + 4)) & 0xFFFFFFFF)
    return (low | (high << np.uint64(32))) ^ np.uint64(0x8080808080808080)


def _query_examples() -> Iterable[tuple[Any, ...]]:
    rows = np.zeros((1, 64), np.uint8)
    yield rows, rows, 1, np.float32(0), rows


@kernel(group=_GROUP, examples=_query_examples)
def query_rows(sketches: Any, codes: Any, dims: Any, margin: Any, out: Any) -> None:
    """Turn encoded vectors into query rows.

    Parameters
    ----------
    sketches : ndarray of shape (q, 64), uint8
        Their sketches.
    codes : ndarray of shape (q, width), uint8
        Their code rows.
    dims : int
        Dimensions.
    margin : float32
        As ``query_row``.
    out : ndarray of shape (q, width + 320), uint8
        Written.
    """
    width = codes.shape[1]
    for i in range(len(out)):
        query_row(sketches[i].ctypes.data, codes[i].ctypes.data, width, dims, margin, out[i])
