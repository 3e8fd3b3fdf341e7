"""Blocks of 64 codes side by side, their sums of table entries, and which of them exceed a threshold.

A block holds byte j of 64 codes in a row, so that one table at a time is looked up for all of them: by one shuffle of a
register for codes of 4 bits. Sums come with a mask of the rows that reach a threshold: most blocks have none, and then
nothing else is done with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orthant.kernels.addresses import llvm, load_value
from orthant.kernels.binary.lookups import SHUFFLES, shuffled_sums
from orthant.kernels.compiling import intrinsic
from orthant.kernels.cpu import simd_level
from orthant.kernels.simd import _loop, _vector
from orthant.types import CodeArray

__all__ = ["BLOCK", "above_64", "masked_sums", "nibble_sums", "to_blocks", "to_rows"]

BLOCK = 64
"""Codes of a block."""


def to_blocks(codes: CodeArray) -> CodeArray:
    """Lay codes out in blocks.

    Parameters
    ----------
    codes : ndarray of shape (64 b, bytes), uint8
        Rows, whole blocks.

    Returns
    -------
    ndarray of shape (b, bytes, 64), uint8
        A copy.
    """
    return np.ascontiguousarray(codes.reshape(-1, BLOCK, codes.shape[1]).transpose(0, 2, 1))


def to_rows(blocks: CodeArray) -> CodeArray:
    """Return blocks as rows again.

    Parameters
    ----------
    blocks : ndarray of shape (b, bytes, 64), uint8
        What ``to_blocks`` made.

    Returns
    -------
    ndarray of shape (64 b, bytes), uint8
        A copy.
    """
    return np.ascontiguousarray(blocks.transpose(0, 2, 1)).reshape(-1, blocks.shape[1])


def masked_sums(shuffle: Any) -> Any:
    """Return the code generator of ``nibble_sums`` for one form of the shuffle; tests compare all of them.

    Parameters
    ----------
    shuffle : callable or None
        One of ``kernels.binary.lookups.SHUFFLES``.

    Returns
    -------
    callable
        What an intrinsic returns beside its signature.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        tables, block, pairs, least, out = args
        halves = ir.VectorType(ir.IntType(16), BLOCK)
        place = builder.inttoptr(out, ir.PointerType(halves))
        if shuffle is None:
            nothing = ir.Constant(ir.IntType(64), 1)
            shuffled_sums(None)(context, builder, signature, (tables, nothing, block, pairs, nothing, out))
            sums = builder.load(place, align=1, typ=halves)
        else:
            sums = _shuffled(builder, shuffle, tables, block, pairs)
            builder.store(sums, place, align=1)
        first = builder.insert_element(
            ir.Constant(halves, ir.Undefined), builder.trunc(least, ir.IntType(16)), ir.Constant(ir.IntType(32), 0)
        )
        every = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), None))
        return builder.bitcast(builder.icmp_unsigned(">=", sums, every), ir.IntType(64))

    return generate


def _shuffled(builder: Any, shuffle: Any, tables: Any, block: Any, pairs: Any) -> Any:
    """Return the 64 sums of 16 bits.

    Sums of bytes are added as numbers of 16 bits: the sum of an even row carries 256 times that of its neighbour, which
    is summed by itself as well and taken off at the end. That is two additions and a shift, without widening.
    """
    ir = llvm()
    whole, bytes_, table, words = ir.IntType(64), _vector(64, "i8"), _vector(16, "i8"), _vector(32, "i16")
    low, four = ir.Constant(bytes_, [15] * 64), ir.Constant(bytes_, [4] * 64)
    eight = ir.Constant(words, [8] * 32)

    def body(index: Any, totals: list[Any]) -> list[Any]:
        both = load_value(builder, block, builder.shl(index, ir.Constant(whole, 6)), bytes_)
        groups, at = (builder.and_(both, low), builder.lshr(both, four)), builder.shl(index, ir.Constant(whole, 5))
        looked = []
        for j in range(2):
            entries = load_value(builder, tables, builder.add(at, ir.Constant(whole, 16 * j)), table)
            looked.append(shuffle(builder, entries, groups[j]))
        pair = builder.bitcast(builder.add(*looked), words)
        return [builder.add(totals[0], pair), builder.add(totals[1], builder.lshr(pair, eight))]

    mixed, odd = _loop(builder, pairs, [ir.Constant(words, None)] * 2, body)
    even = builder.sub(mixed, builder.shl(odd, eight))
    order = [i // 2 + 32 * (i % 2) for i in range(BLOCK)]
    return builder.shuffle_vector(even, odd, ir.Constant(_vector(BLOCK, "i32"), order))


@intrinsic
def nibble_sums(typing: Any, tables: Any, block: Any, pairs: Any, least: Any, out: Any) -> Any:
    """Sum the table entries that the codes of 4 bits of a block point at.

    Parameters
    ----------
    tables : int64
        Address of 32 bytes for each byte of a code; the entries that a byte points at sum to 255 at most.
    block : int64
        Address of the block.
    pairs : int64
        Bytes of a code, at least one; sums must fit 16 bits.
    least : int64
        The threshold, from 0 to 65,535.
    out : int64
        Address of 64 uint16, written.

    Returns
    -------
    uint64
        Bit i is set where the sum of row i is the threshold or more.
    """
    from numba import types

    return types.uint64(*[types.int64] * 5), masked_sums(SHUFFLES[simd_level()])


@intrinsic
def above_64(typing: Any, address: Any, threshold: Any) -> Any:
    """Compare 64 float32 values with a threshold.

    Parameters
    ----------
    address : int64
        Of the values.
    threshold : float32
        The threshold.

    Returns
    -------
    uint64
        Bit i is set where value i is above it.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        lanes = ir.VectorType(ir.FloatType(), BLOCK)
        values = load_value(builder, args[0], None, lanes)
        first = builder.insert_element(ir.Constant(lanes, ir.Undefined), args[1], ir.Constant(ir.IntType(32), 0))
        every = builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), None))
        return builder.bitcast(builder.fcmp_ordered(">", values, every), ir.IntType(64))

    return types.uint64(types.int64, types.float32), generate
