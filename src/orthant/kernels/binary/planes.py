"""Levels of 1, 2 or 4 bits as planes of bits, and exact inner products of two such codes by counting bits.

A level c of b bits stands for the odd number ``2 c - (2^b - 1)``: no level is zero, and a sign is the case b = 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.addresses import llvm, llvm_function, load_u64
from orthant.kernels.compiling import intrinsic, kernel
from orthant.kernels.rows import plain, uses_kernel
from orthant.types import CodeArray

__all__ = ["code_bytes", "grid_values", "inner_products", "pack_planes", "unpack_planes"]


def code_bytes(dim: int, bits: int) -> int:
    """Return the bytes of a packed row.

    Parameters
    ----------
    dim : int
        Dimensions.
    bits : int
        Bits for each.

    Returns
    -------
    int
        Each plane is filled up to whole bytes.
    """
    return bits * ((dim + 7) // 8)


def grid_values(levels: CodeArray, bits: int) -> npt.NDArray[np.int8]:
    """Return the odd numbers that levels stand for.

    Parameters
    ----------
    levels : ndarray of any shape, uint8
        From 0 to 2^bits - 1.
    bits : int
        1, 2 or 4.

    Returns
    -------
    ndarray of the same shape, int8
        From -(2^bits - 1) to 2^bits - 1 in steps of 2.
    """
    return (2 * levels.astype(np.int8) - np.int8((1 << bits) - 1)).astype(np.int8)


def pack_planes(levels: CodeArray, bits: int) -> CodeArray:
    """Pack levels into planes: first the highest bit of all dimensions, then the next.

    Parameters
    ----------
    levels : ndarray of shape (n, dim), uint8
        From 0 to 2^bits - 1.
    bits : int
        1, 2 or 4.

    Returns
    -------
    ndarray of shape (n, code_bytes(dim, bits)), uint8
        Dimension j is bit j % 8 of byte j // 8 of each plane; bits that are left over are 0.
    """
    planes = [np.packbits(levels >> (bits - 1 - i) & 1, axis=1, bitorder="little") for i in range(bits)]
    return np.ascontiguousarray(np.concatenate(planes, axis=1))


def unpack_planes(codes: CodeArray, dim: int, bits: int) -> CodeArray:
    """Return the levels of packed rows.

    Parameters
    ----------
    codes : ndarray of shape (n, code_bytes(dim, bits)), uint8
        What ``pack_planes`` returned.
    dim : int
        Dimensions.
    bits : int
        1, 2 or 4.

    Returns
    -------
    ndarray of shape (n, dim), uint8
        The levels.
    """
    size = (dim + 7) // 8
    out = np.zeros((len(codes), dim), dtype=np.uint8)
    for i in range(bits):
        plane = codes[:, i * size : (i + 1) * size]
        out = out << 1 | np.unpackbits(plane, axis=1, count=dim, bitorder="little")
    return out


@intrinsic
def count_ones(typing: Any, value: Any) -> Any:
    """Count the bits that are set.

    Parameters
    ----------
    value : uint64
        Any.

    Returns
    -------
    int64
        From 0 to 64.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        whole = llvm().IntType(64)
        return builder.call(llvm_function(builder, "llvm.ctpop.i64", whole, [whole]), [args[0]])

    return types.int64(types.uint64), generate


def _examples() -> Iterator[tuple[Any, ...]]:
    row = plain(np.zeros((1, 1), np.uint8))
    yield row, row, 1, 1, np.zeros((1, 1), np.int32)


@kernel(group="binary", examples=_examples)
def _products_range(left: Any, right: Any, dim: Any, bits: Any, out: Any) -> None:
    size = (dim + 7) // 8
    words = size // 8
    for i in range(right.shape[0]):
        for q in range(left.shape[0]):
            total = 0
            for a in range(bits):
                for b in range(bits):
                    x, y = left[q, a * size :].ctypes.data, right[i, b * size :].ctypes.data
                    differing = 0
                    for w in range(words):
                        differing += count_ones(load_u64(x + 8 * w) ^ load_u64(y + 8 * w))
                    for w in range(8 * words, size):
                        differing += count_ones(np.uint64(left[q, a * size + w] ^ right[i, b * size + w]))
                    total += (dim - 2 * differing) << (2 * bits - 2 - a - b)
            out[q, i] = total


def inner_products(
    left: CodeArray, right: CodeArray, *, dim: int, bits: int, compiled: bool | None = None
) -> npt.NDArray[np.int32]:
    """Return the exact inner products of what packed rows stand for.

    Parameters
    ----------
    left : ndarray of shape (q, code_bytes), uint8
        Packed rows.
    right : ndarray of shape (n, code_bytes), uint8
        Packed rows.
    dim : int
        Dimensions.
    bits : int
        1, 2 or 4.
    compiled : bool, optional
        True and False force the kernel or NumPy.

    Returns
    -------
    ndarray of shape (q, n), int32
        ``sum_ab 2^(2 bits - 2 - a - b) (dim - 2 |left_a xor right_b|)`` over planes a and b.

    Notes
    -----
    Cost: bits^2 bit counts for each byte of a plane and each pair of rows.

    References
    ----------
    Gan et al.: Binary embedding-based retrieval at Tencent. arXiv 2302.08714, section 3.4.
    """
    if uses_kernel("binary", compiled, len(left) * right.size):
        out = np.empty((len(left), len(right)), dtype=np.int32)
        _products_range(plain(left), plain(right), dim, bits, out)
        return out
    values = [grid_values(unpack_planes(codes, dim, bits), bits).astype(np.float64) for codes in (left, right)]
    return (values[0] @ values[1].T).astype(np.int32)
