"""Codes of two levels for graph search: a sketch of one cache line, and eight bits per dimension.

A vector y of d <= 384 dimensions, already rotated so that no dimension stands out, becomes

* a *code row*: LVQ with 8 or 4 bits, ``y_j ~ low + step * c_j``, padded with zeros to a multiple of 64 bytes (4 bits:
  see ``simd.dot_u4s8`` for the order);
* a *sketch* of 64 bytes: the signs of y in 48 bytes, and what both levels need besides (see ``SKETCH_FIELDS``).

The sketch estimates ``<q, y> ~ f * sum_j q_j sign(y_j)`` with ``f = |y|^2 / |y|_1``, unbiased under random rotations,
whose standard error is ``|q| * spread``. A comparison that the sketch rules out never loads the code row. Queries are
encoded the same way, so that a stored vector can be a query: their codes become the query in eight bits, and the upper
four of those are the planes that meet the signs.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.addresses import load_bf16, load_f32, load_i32, load_u64, store_u64
from orthant.kernels.compiling import kernel
from orthant.kernels.simd import bit_plane_64, positive_16

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

_HUGE = 4 << 20
"""Arrays from this many bytes are put on huge pages."""

SKETCH_FIELDS = {"signs": 0, "norm": 48, "sums": 52, "factor": 56, "spread": 58, "step": 60, "low": 62}
"""Offset of each field: signs (48 bytes), squared norm (float32), 512 * sum of codes + number of positive signs
(uint32), and four bfloat16."""

QUERY_EXTRA = 320
"""Bytes of a query behind its code row: four planes of 64 bytes and sixteen float32."""

_GROUP = "graph"

_SIGNS = np.uint64(0x8080808080808080)
_HALVES = np.uint64(0x0F0F0F0F0F0F0F0F)
_MIDDLE = np.uint64(0x0808080808080808)


def code_bytes(dims: int, bits: int = 8) -> int:
    """Return the bytes of a code row: whole cache lines.

    Parameters
    ----------
    dims : int
        Dimensions of the encoded vectors, at most 384.
    bits : {8, 4}, default 8
        Bits per dimension.

    Returns
    -------
    int
        A multiple of 64.
    """
    return -(-dims * bits // 512) * 64


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
    buffer = _zeros(count * width + 64)
    start = -buffer.ctypes.data % 64
    return buffer[start : start + count * width].reshape(count, width)


def _zeros(size: int) -> np.ndarray:
    """Return zeroed bytes, on huge pages where there are any: random reads of small pages wait for address look-ups."""
    if size < _HUGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(size, dtype=np.uint8)
    room = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        room.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(room, dtype=np.uint8)


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
    yield Y, norms, rows, rows, 8, 0, 1


@kernel(group=_GROUP, examples=_encode_examples, fastmath={"reassoc", "contract", "nnan", "nsz"})
def encode_rows(Y: Any, norms: Any, sketches: Any, codes: Any, bits: Any, start: Any, stop: Any) -> None:
    """Encode vectors start to stop.

    Parameters
    ----------
    Y : ndarray of shape (n, d), float32
        Rotated vectors.
    norms : ndarray of shape (n,), float32
        Squared norms to store, those of the vectors before any reduction.
    sketches : ndarray of shape (n, 64), uint8
        Written; zeroed before.
    codes : ndarray of shape (n, code_bytes(d, bits)), uint8
        Written; zeroed before.
    bits : int
        8 or 4 bits per dimension.
    start, stop : int
        Rows.
    """
    d = Y.shape[1]
    most, line = np.int32((1 << bits) - 1), np.empty(MOST_DIMS, np.uint8)
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
        step_bits = _bf16_up((highest - low) / np.float32(most))
        step = _bf16_value(step_bits)
        inverse = np.float32(1.0) / step if step > 0 else np.float32(0.0)
        total = np.int32(0)
        for j in range(d):
            code = np.int32((Y[i, j] - low) * inverse + np.float32(0.5))
            code = min(max(code, np.int32(0)), most)
            total += code
            line[j] = np.uint8(code)
        if bits == 8:
            codes[i, :d] = line[:d]
        else:
            for j in range(d):
                codes[i, ((j >> 7) << 6) + (j & 63)] |= np.uint8(line[j] << (4 if j & 64 else 0))
        positive, base = np.int64(0), Y[i].ctypes.data
        for j in range(0, d - 15, 16):
            word = positive_16(base + 4 * j)
            sketches[i, j >> 3] = np.uint8(word & np.uint64(255))
            sketches[i, (j >> 3) + 1] = np.uint8(word >> np.uint64(8))
        for j in range(d - d % 16, d):
            if Y[i, j] > 0:
                sketches[i, j >> 3] |= np.uint8(1 << (j & 7))
        for j in range(d):
            positive += np.int64(Y[i, j] > 0)
        factor, spread = np.float32(0.0), np.float32(0.0)
        if absolute > 0:
            factor = squares / absolute
            if d > 1:
                excess = max(np.float32(0.0), d * squares * squares / (absolute * absolute) - squares)
                spread = np.sqrt(excess / np.float32(d - 1))
        fields = sketches[i].view(np.uint16)
        sketches[i].view(np.float32)[12] = norms[i]
        sketches[i].view(np.uint32)[13] = np.uint32(np.int64(total) * 512 + positive)
        fields[28] = _bf16_up(factor)
        fields[29] = _bf16_up(spread)
        fields[30] = step_bits
        fields[31] = low_bits


@kernel
def query_row(sketch: Any, code: Any, width: Any, bits: Any, dims: Any, margin: Any, out: Any) -> None:
    """Turn an encoded vector into a query: signed bytes, planes and constants.

    Parameters
    ----------
    sketch, code : int
        Addresses of its sketch and code row.
    width, bits : int
        Bytes of the code row, and bits per dimension.
    dims : int
        Dimensions d.
    margin : float32
        Standard errors that a sketch may be off before its comparison is given up.
    out : ndarray of shape (signed + 320,), uint8
        Written; ``signed`` is the number of dimensions, padded.
    """
    signed = len(out) - QUERY_EXTRA
    base = out.ctypes.data
    step, low = load_bf16(sketch + 60), load_bf16(sketch + 62)
    for k in range(4):
        for j in range(8):
            store_u64(base + signed + 64 * k + 8 * j, np.uint64(0))
    for block in range(width >> 6):
        at = code + 64 * block
        if bits == 8:
            for k in range(4):
                store_u64(base + signed + 64 * k + 8 * block, bit_plane_64(at, np.int64(4 + k)))
            for j in range(0, 64, 8):
                store_u64(base + 64 * block + j, load_u64(at + j) ^ _SIGNS)
            continue
        for k in range(4):
            store_u64(base + signed + 64 * k + 16 * block, bit_plane_64(at, np.int64(k)))
            if 128 * block + 64 < signed:
                store_u64(base + signed + 64 * k + 16 * block + 8, bit_plane_64(at, np.int64(4 + k)))
        for j in range(0, 64, 8):
            both = load_u64(at + j)
            first, second = both & _HALVES, (both >> np.uint64(4)) & _HALVES
            store_u64(base + 128 * block + j, ((first << np.uint64(4)) | _MIDDLE) ^ _SIGNS)
            if 128 * block + 64 < signed:
                store_u64(base + 128 * block + 64 + j, ((second << np.uint64(4)) | _MIDDLE) ^ _SIGNS)
    total = np.float32((np.int64(load_i32(sketch + 52)) & 0xFFFFFFFF) >> 9)
    norm = load_f32(sketch + 48)
    constants = out[signed + 256 :].view(np.float32)
    scale = np.float32(1.0) if bits == 8 else np.float32(0.0625)
    # A value of four bits stands in the middle of its sixteen of eight bits.
    constants[0] = step * scale
    constants[1] = low + step * (np.float32(128.0) if bits == 8 else np.float32(7.5))
    constants[2] = step * total + low * np.float32(dims)
    constants[3] = norm
    constants[4] = np.float32(32.0) * step * scale
    constants[5] = np.float32(2.0) * (low + (np.float32(7.5) * step if bits == 8 else np.float32(0.0)))
    constants[6] = np.float32(2.0) * margin * np.sqrt(max(norm, np.float32(0.0)))


def _query_examples() -> Iterable[tuple[Any, ...]]:
    rows = np.zeros((1, 64), np.uint8)
    yield rows, rows, 8, 1, np.float32(0), rows


@kernel(group=_GROUP, examples=_query_examples)
def query_rows(sketches: Any, codes: Any, bits: Any, dims: Any, margin: Any, out: Any) -> None:
    """Turn encoded vectors into query rows.

    Parameters
    ----------
    sketches : ndarray of shape (q, 64), uint8
        Their sketches.
    codes : ndarray of shape (q, width), uint8
        Their code rows.
    bits, dims : int
        Bits per dimension, and dimensions.
    margin : float32
        As ``query_row``.
    out : ndarray of shape (q, signed + 320), uint8
        Written.
    """
    width = codes.shape[1]
    for i in range(len(out)):
        query_row(sketches[i].ctypes.data, codes[i].ctypes.data, width, bits, dims, margin, out[i])
