"""Compare float32 queries with 8-bit and 4-bit codes without decoding them first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from orthant.kernels.codes import plane_bytes, unpack_plane
from orthant.kernels.compiling import kernel
from orthant.kernels.distances import row_chunks
from orthant.kernels.rows import plain, squared_distances, uses_kernel
from orthant.types import CodeArray, FloatArray

__all__ = ["code_distances", "code_dots", "dot_bytes", "dot_nibbles"]

_BATCH = 8
_TILE_BYTES = 1 << 19
_SUMS = {"reassoc", "contract", "nsz"}


def _floats(*shape: int) -> FloatArray:
    return np.zeros(shape, dtype=np.float32)


def _bytes(*shape: int) -> CodeArray:
    return np.zeros(shape, dtype=np.uint8)


def _dots_examples() -> Iterator[tuple[Any, ...]]:
    yield plain(_floats(1, 1)), plain(_bytes(1, 5)), 4, 5, 8, _floats(1, 1)


def _distances_examples() -> Iterator[tuple[Any, ...]]:
    constants = (plain(_floats(1)), plain(_floats(1)), plain(_floats(1)))
    yield plain(_floats(1, 1)), plain(_bytes(1, 5)), 4, 5, 8, *constants, _floats(1, 1)


@kernel(fastmath=_SUMS)
def dot_bytes(q: Any, row: Any) -> Any:
    """Return the dot product of a float32 query with one level of 8-bit codes.

    Parameters
    ----------
    q : ndarray of shape (d,), float32
        The query.
    row : ndarray of shape (d,), uint8
        Codes.

    Returns
    -------
    float32
        The sum, in any order.
    """
    total = np.float32(0.0)
    for j in range(q.shape[0]):
        total += q[j] * np.float32(row[j])
    return total


@kernel(fastmath=_SUMS)
def dot_nibbles(q: Any, row: Any) -> Any:
    """Return the dot product of a float32 query with one level of 4-bit codes, two streams side by side.

    Parameters
    ----------
    q : ndarray of shape (d,), float32
        The query.
    row : ndarray of shape (ceil(d / 2),), uint8
        Dimension j in the low half of byte j, dimension j + ceil(d / 2) in the high half.

    Returns
    -------
    float32
        The sum, in any order.
    """
    half = row.shape[0]
    upper = q[half:]
    total = np.float32(0.0)
    for j in range(upper.shape[0]):
        total += q[j] * np.float32(row[j] & 15) + upper[j] * np.float32(row[j] >> 4)
    if upper.shape[0] < half:
        total += q[half - 1] * np.float32(row[half - 1] & 15)
    return total


@kernel(group="codes", examples=_dots_examples)
def _dots_range(Q: Any, codes: Any, first: Any, last: Any, bits: Any, out: Any) -> None:
    for i in range(codes.shape[0]):
        row = codes[i, first:last]
        for query in range(Q.shape[0]):
            out[query, i] = dot_bytes(Q[query], row) if bits == 8 else dot_nibbles(Q[query], row)


def code_dots(Q: FloatArray, codes: CodeArray, *, first: int, bits: int, compiled: bool | None = None) -> FloatArray:
    """Return the dot products of queries with the codes themselves, as numbers from 0 to 2^bits - 1.

    Parameters
    ----------
    Q : ndarray of shape (q, d), float32
        Queries.
    codes : ndarray of shape (n, code_size), uint8
        Codes, C-contiguous.
    first : int
        Byte where the level begins.
    bits : int
        4 or 8.
    compiled : bool, optional
        True and False force the kernel or NumPy; left out, few queries over many codes take the kernel.

    Returns
    -------
    ndarray of shape (q, n), float32
        Nothing is decoded in the kernel; the NumPy twin turns a tile of codes into float32 for one matrix product.
    """
    dim = Q.shape[1]
    out = np.empty((len(Q), len(codes)), dtype=np.float32)
    if len(Q) >= _BATCH and compiled is None:
        compiled = False
    if uses_kernel("codes", compiled, len(Q) * len(codes) * dim):
        _dots_range(plain(Q), plain(codes), first, first + plane_bytes(dim, bits), bits, out)
        return out
    for start, stop in row_chunks(len(codes), dim * 4, _TILE_BYTES):
        np.matmul(Q, unpack_plane(codes[start:stop], first, bits, dim).astype(np.float32).T, out=out[:, start:stop])
    return out


@kernel(fastmath=_SUMS)
def _distance_bytes(q: Any, row: Any, weights: Any, offset: Any, step: Any) -> Any:
    total = np.float32(0.0)
    for j in range(q.shape[0]):
        difference = q[j] - offset - step * (weights[j] * np.float32(row[j]))
        total += difference * difference
    return total


@kernel(fastmath=_SUMS)
def _distance_nibbles(q: Any, row: Any, offset: Any, step: Any) -> Any:
    half = row.shape[0]
    upper = q[half:]
    total = np.float32(0.0)
    for j in range(upper.shape[0]):
        left = q[j] - offset - step * np.float32(row[j] & 15)
        right = upper[j] - offset - step * np.float32(row[j] >> 4)
        total += left * left + right * right
    if upper.shape[0] < half:
        left = q[half - 1] - offset - step * np.float32(row[half - 1] & 15)
        total += left * left
    return total


@kernel(group="codes", examples=_distances_examples)
def _distances_range(
    Q: Any, codes: Any, first: Any, last: Any, bits: Any, weights: Any, offset: Any, step: Any, out: Any
) -> None:
    for i in range(codes.shape[0]):
        row = codes[i, first:last]
        for query in range(Q.shape[0]):
            if bits == 8:
                out[query, i] = _distance_bytes(Q[query], row, weights, offset[i], step[i])
            else:
                out[query, i] = _distance_nibbles(Q[query], row, offset[i], step[i])


def code_distances(
    Q: FloatArray,
    codes: CodeArray,
    *,
    first: int,
    bits: int,
    weights: FloatArray,
    offset: FloatArray,
    step: FloatArray,
    compiled: bool | None = None,
) -> FloatArray:
    """Return squared distances to ``offset_i + step_i * weights_j * c_ij`` without a decoded copy of the codes.

    Parameters
    ----------
    Q : ndarray of shape (q, d), float32
        Queries, about the same origin as the codes.
    codes : ndarray of shape (n, code_size), uint8
        Codes, C-contiguous.
    first : int
        Byte where the level begins.
    bits : int
        4 or 8.
    weights : ndarray of shape (d,), float32
        Step of each dimension; ones for adaptive codes, and always ones for 4 bits.
    offset, step : ndarray of shape (n,), float32
        Constants of each row.
    compiled : bool, optional
        True and False force the kernel or NumPy.

    Returns
    -------
    ndarray of shape (q, n), float32
        Sums of squared differences, so that near vectors lose no digits to cancellation.
    """
    dim = Q.shape[1]
    out = np.empty((len(Q), len(codes)), dtype=np.float32)
    if uses_kernel("codes", compiled, len(Q) * len(codes) * dim):
        last = first + plane_bytes(dim, bits)
        _distances_range(plain(Q), plain(codes), first, last, bits, plain(weights), plain(offset), plain(step), out)
        return out
    for start, stop in row_chunks(len(codes), dim * 4, _TILE_BYTES):
        tile = unpack_plane(codes[start:stop], first, bits, dim) * weights
        tile *= step[start:stop, None]
        tile += offset[start:stop, None]
        out[:, start:stop] = squared_distances(Q, tile, compiled=False)
    return out
