"""Encode vectors into 8-bit and 4-bit codes and decode them: Numba kernels with NumPy twins for small work.

A locally-adaptive code is one row of bytes: the bounds l and u as float16, the codes of level 1, those of level 2 if
there is one, then zeros up to the chosen alignment. Eight bits take a byte for each dimension. Four bits put dimensions
j and j + H into one byte, H = ceil(d / 2), so that both halves of a row are read in order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.kernels.distances import row_chunks
from orthant.kernels.rows import plain, uses_kernel
from orthant.types import CodeArray, FloatArray

__all__ = [
    "CONSTANT_BYTES",
    "decode_adaptive",
    "encode_adaptive",
    "encode_uniform",
    "outward_halves",
    "plane_bytes",
    "read_bounds",
    "unpack_plane",
]

CONSTANT_BYTES = 4
"""Bytes in front of an adaptive code: l and u as little-endian float16."""

_TILE_BYTES = 1 << 19


def plane_bytes(dim: int, bits: int) -> int:
    """Return the bytes that one level of codes takes.

    Parameters
    ----------
    dim : int
        Dimension.
    bits : int
        0, 4 or 8 for each dimension.

    Returns
    -------
    int
        ``ceil(dim * bits / 8)``.
    """
    return (dim * bits + 7) // 8


def outward_halves(
    low: FloatArray, high: FloatArray, scale: float
) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.float16]]:
    """Round lower bounds down and upper bounds up to float16, in units of a scale.

    Parameters
    ----------
    low, high : ndarray of shape (n,), float32
        Bounds.
    scale : float
        A power of two, so that dividing by it rounds nothing.

    Returns
    -------
    tuple of ndarray of shape (n,), float16
        Infinite where a bound exceeds 65,504 scales.
    """
    unit = np.float32(scale)
    with np.errstate(over="ignore"):
        below, above = (low / unit).astype("<f2"), (high / unit).astype("<f2")
    down, up = below.astype(np.float32) * unit > low, above.astype(np.float32) * unit < high
    below[down] = np.nextafter(below[down], np.float16(-np.inf))
    above[up] = np.nextafter(above[up], np.float16(np.inf))
    return below, above


def read_bounds(codes: CodeArray, scale: float, bits: int) -> tuple[FloatArray, FloatArray]:
    """Return the lower bound and the step of each adaptive code.

    Parameters
    ----------
    codes : ndarray of shape (n, code_size), uint8
        Codes.
    scale : float
        Unit of the stored bounds.
    bits : int
        Bits of level 1.

    Returns
    -------
    tuple of ndarray of shape (n,), float32
        l and Delta = (u - l) / (2^bits - 1).
    """
    halves = np.ascontiguousarray(codes[:, :CONSTANT_BYTES]).view("<f2").astype(np.float64) * scale
    return halves[:, 0].astype(np.float32), ((halves[:, 1] - halves[:, 0]) / (2**bits - 1)).astype(np.float32)


def _floats(*shape: int) -> FloatArray:
    return np.zeros(shape, dtype=np.float32)


def _bytes(*shape: int) -> CodeArray:
    return np.zeros(shape, dtype=np.uint8)


def _bounds_examples() -> Iterator[tuple[Any, ...]]:
    yield plain(_floats(1, 1)), plain(_floats(1)), _floats(1), _floats(1)


def _encode_examples() -> Iterator[tuple[Any, ...]]:
    constants = (plain(_floats(1)), plain(_floats(1)), plain(_floats(1)))
    yield plain(_floats(1, 1)), plain(_floats(1)), *constants, 4, 8, 5, 0, _bytes(1, 5)


def _decode_examples() -> Iterator[tuple[Any, ...]]:
    yield plain(_bytes(1, 5)), plain(_floats(1)), plain(_floats(1)), 4, 8, 5, 0, _floats(1, 1)


def _uniform_examples() -> Iterator[tuple[Any, ...]]:
    yield plain(_floats(1, 1)), plain(_floats(1)), plain(_floats(1)), _bytes(1, 1)


@kernel(group="codes", examples=_bounds_examples)
def _bounds_range(X: Any, mean: Any, low: Any, high: Any) -> None:
    for i in range(X.shape[0]):
        smallest = X[i, 0] - mean[0]
        largest = smallest
        for j in range(X.shape[1]):
            value = X[i, j] - mean[j]
            smallest = min(smallest, value)
            largest = max(largest, value)
        low[i] = smallest
        high[i] = largest


@kernel
def _put(row: Any, first: Any, bits: Any, half: Any, j: Any, code: Any) -> None:
    if bits == 8:
        row[first + j] = np.uint8(code)
    elif j < half:
        row[first + j] |= np.uint8(code)
    else:
        row[first + j - half] |= np.uint8(code << 4)


@kernel(group="codes", examples=_encode_examples)
def _encode_range(
    X: Any,
    mean: Any,
    low: Any,
    step: Any,
    inverse: Any,
    first: Any,
    bits: Any,
    second: Any,
    residual_bits: Any,
    out: Any,
) -> None:
    # No fused operations here: the NumPy twin must give the same bytes.
    dim = X.shape[1]
    half = (dim + 1) // 2
    levels, residual_levels = (1 << bits) - 1, (1 << residual_bits) - 1
    for i in range(X.shape[0]):
        row = out[i]
        for j in range(dim):
            value = X[i, j] - mean[j]
            place = (value - low[i]) * inverse[i] + np.float32(0.5)
            code = np.int32(min(max(place, np.float32(0.0)), np.float32(levels)))
            _put(row, first, bits, half, j, code)
            if residual_bits > 0:
                rest = value - (low[i] + step[i] * np.float32(code)) + step[i] * np.float32(0.5)
                place = rest * (inverse[i] * np.float32(residual_levels)) + np.float32(0.5)
                fine = np.int32(min(max(place, np.float32(0.0)), np.float32(residual_levels)))
                _put(row, second, residual_bits, half, j, fine)


def encode_adaptive(
    X: FloatArray,
    mean: FloatArray,
    scale: float,
    *,
    bits: int,
    residual_bits: int,
    code_size: int,
    compiled: bool | None = None,
) -> tuple[CodeArray, npt.NDArray[np.bool_]]:
    """Encode each row between its own bounds, which are rounded outwards before the codes are computed from them.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Vectors.
    mean : ndarray of shape (d,), float32
        Subtracted first.
    scale : float
        Unit of the stored bounds, a power of two.
    bits : int
        4 or 8, level 1.
    residual_bits : int
        0, 4 or 8, level 2.
    code_size : int
        Bytes for each vector.
    compiled : bool, optional
        True and False force the kernel or NumPy; left out, large work takes the kernel. Both give the same bytes.

    Returns
    -------
    codes : ndarray of shape (n, code_size), uint8
        The codes.
    fits : ndarray of shape (n,), bool
        False where the bounds exceed what float16 holds; such a row's code is meaningless.
    """
    out = np.zeros((len(X), code_size), dtype=np.uint8)
    fits = np.ones(len(X), dtype=bool)
    levels = _Levels(X.shape[1], bits, residual_bits)
    for start, stop in row_chunks(len(X), X.shape[1] * 4, _TILE_BYTES):
        # Asked anew for each tile: a long call goes over to the kernel as soon as it is ready.
        fast = uses_kernel("codes", compiled, X.size)
        part, rows = X[start:stop], out[start:stop]
        centred = None if fast else part - mean
        low, high = _bounds(part, mean) if centred is None else (centred.min(axis=1), centred.max(axis=1))
        halves = np.stack(outward_halves(low, high, scale), axis=1)
        fits[start:stop] = np.isfinite(halves).all(axis=1)
        rows[:, :CONSTANT_BYTES] = np.where(fits[start:stop, None], halves, 0).astype("<f2").view(np.uint8)
        low, step = read_bounds(rows, scale, bits)
        inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=(step > 0) & fits[start:stop])
        inverse[~np.isfinite(inverse)] = 0
        if centred is None:
            constants = (plain(mean), plain(low), plain(step), plain(inverse))
            _encode_range(plain(part), *constants, CONSTANT_BYTES, bits, levels.second, residual_bits, rows)
        else:
            _encode_tile(centred, low, step, inverse, levels, rows)
    return out, fits


@dataclass(frozen=True)
class _Levels:
    dim: int
    bits: int
    residual_bits: int

    @property
    def second(self) -> int:
        return CONSTANT_BYTES + plane_bytes(self.dim, self.bits)


def _encode_tile(
    centred: FloatArray, low: FloatArray, step: FloatArray, inverse: FloatArray, levels: _Levels, out: CodeArray
) -> None:
    """Do with NumPy what ``_encode_range`` does, operation by operation."""
    place = (centred - low[:, None]) * inverse[:, None] + np.float32(0.5)
    code = np.clip(place, 0, 2**levels.bits - 1).astype(np.int32)
    _pack_plane(code, levels.bits, out[:, CONSTANT_BYTES : levels.second])
    if not levels.residual_bits:
        return
    last = 2**levels.residual_bits - 1
    rest = centred - (low[:, None] + step[:, None] * code.astype(np.float32)) + (step * np.float32(0.5))[:, None]
    fine = rest * (inverse * np.float32(last))[:, None] + np.float32(0.5)
    end = levels.second + plane_bytes(levels.dim, levels.residual_bits)
    _pack_plane(np.clip(fine, 0, last).astype(np.int32), levels.residual_bits, out[:, levels.second : end])


def _bounds(X: FloatArray, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
    low, high = np.empty(len(X), np.float32), np.empty(len(X), np.float32)
    _bounds_range(plain(X), plain(mean), low, high)
    return low, high


def _pack_plane(code: npt.NDArray[np.int32], bits: int, out: CodeArray) -> None:
    if bits == 8:
        out[:] = code
        return
    half = (code.shape[1] + 1) // 2
    out[:] = code[:, :half]
    out[:, : code.shape[1] - half] |= (code[:, half:] << 4).astype(np.uint8)


def unpack_plane(codes: CodeArray, first: int, bits: int, dim: int) -> CodeArray:
    """Return one level as one byte for each dimension.

    Parameters
    ----------
    codes : ndarray of shape (n, code_size), uint8
        Codes.
    first : int
        Byte where the level begins.
    bits : int
        4 or 8.
    dim : int
        Dimension.

    Returns
    -------
    ndarray of shape (n, dim), uint8
        Values from 0 to 2^bits - 1; a view for 8 bits.
    """
    plane = codes[:, first : first + plane_bytes(dim, bits)]
    if bits == 8:
        return plane
    return np.concatenate([plane & 15, plane[:, : dim // 2] >> 4], axis=1)


@kernel(group="codes", examples=_decode_examples)
def _decode_range(
    codes: Any, low: Any, step: Any, first: Any, bits: Any, second: Any, residual_bits: Any, out: Any
) -> None:
    dim = out.shape[1]
    half = (dim + 1) // 2
    fine = np.float32(0.0)
    if residual_bits > 0:
        fine = np.float32(1.0) / np.float32((1 << residual_bits) - 1)
    for i in range(codes.shape[0]):
        row, offset, width = codes[i], low[i], step[i]
        if bits == 8:
            for j in range(dim):
                out[i, j] = offset + width * np.float32(row[first + j])
        else:
            for j in range(half):
                out[i, j] = offset + width * np.float32(row[first + j] & 15)
            for j in range(dim - half):
                out[i, half + j] = offset + width * np.float32(row[first + j] >> 4)
        if residual_bits == 8:
            for j in range(dim):
                out[i, j] += width * fine * np.float32(row[second + j]) - width * np.float32(0.5)
        elif residual_bits == 4:
            for j in range(half):
                out[i, j] += width * fine * np.float32(row[second + j] & 15) - width * np.float32(0.5)
            for j in range(dim - half):
                out[i, half + j] += width * fine * np.float32(row[second + j] >> 4) - width * np.float32(0.5)


def decode_adaptive(
    codes: CodeArray, scale: float, *, bits: int, residual_bits: int, dim: int, compiled: bool | None = None
) -> FloatArray:
    """Return what adaptive codes stand for, without the mean.

    Parameters
    ----------
    codes : ndarray of shape (n, code_size), uint8
        Codes, C-contiguous.
    scale : float
        Unit of the stored bounds.
    bits : int
        Bits of level 1.
    residual_bits : int
        Bits of level 2 to read; 0 stops at level 1.
    dim : int
        Dimension.
    compiled : bool, optional
        True and False force the kernel or NumPy.

    Returns
    -------
    ndarray of shape (n, dim), float32
        Vectors about the mean.
    """
    low, step = read_bounds(codes, scale, bits)
    second = CONSTANT_BYTES + plane_bytes(dim, bits)
    if uses_kernel("codes", compiled, len(codes) * dim):
        out = np.empty((len(codes), dim), dtype=np.float32)
        _decode_range(plain(codes), plain(low), plain(step), CONSTANT_BYTES, bits, second, residual_bits, out)
        return out
    out = low[:, None] + step[:, None] * unpack_plane(codes, CONSTANT_BYTES, bits, dim).astype(np.float32)
    if residual_bits:
        fine = step * (np.float32(1) / np.float32(2**residual_bits - 1))
        rest = fine[:, None] * unpack_plane(codes, second, residual_bits, dim).astype(np.float32)
        out += rest - (step * np.float32(0.5))[:, None]
    return out


@kernel(group="codes", examples=_uniform_examples)
def _encode_uniform_range(X: Any, low: Any, inverse: Any, out: Any) -> None:
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            place = (X[i, j] - low[j]) * inverse[j] + np.float32(0.5)
            out[i, j] = np.uint8(min(max(place, np.float32(0.0)), np.float32(255.0)))


def encode_uniform(X: FloatArray, low: FloatArray, step: FloatArray, *, compiled: bool | None = None) -> CodeArray:
    """Round each value to one of 256 equal steps of its dimension; what lies outside takes the nearest end.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Vectors.
    low, step : ndarray of shape (d,), float32
        Value of code 0 and width of a step; code 0 only where the step is 0.
    compiled : bool, optional
        True and False force the kernel or NumPy. Both give the same bytes.

    Returns
    -------
    ndarray of shape (n, d), uint8
        The codes.
    """
    out = np.empty(X.shape, dtype=np.uint8)
    inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=step > 0)
    inverse[~np.isfinite(inverse)] = 0
    if uses_kernel("codes", compiled, X.size):
        _encode_uniform_range(plain(X), plain(low), plain(inverse), out)
        return out
    for start, stop in row_chunks(len(X), X.shape[1] * 4, _TILE_BYTES):
        place = (X[start:stop] - low) * inverse + np.float32(0.5)
        out[start:stop] = np.clip(place, 0, 255)
    return out
