"""Scans of 4-bit groups: one byte shuffle looks a table up for 64 rows at once.

The table is the query's: of inner products with its own code (symmetric) or with the query itself (asymmetric). Sums
are kept in bytes for as long as they fit, and in 16 bits then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.addresses import llvm, llvm_function, load_value
from orthant.kernels.binary.blocks import BLOCK
from orthant.kernels.compiling import intrinsic, kernel
from orthant.kernels.cpu import simd_level
from orthant.kernels.rows import plain, uses_kernel
from orthant.kernels.simd import _loop, _part, _vector
from orthant.kernels.topk import top_k
from orthant.types import BitmapArray, CodeArray, FloatArray, IdArray

__all__ = ["SHUFFLES", "lookup_sums", "lookup_sums_4", "scan_best", "shuffled_sums", "sums_of"]

# Blocks that stay in the second cache while all queries pass over them.
_CHUNK_BYTES = 1 << 18


def _shuffle_avx512(builder: Any, table: Any, index: Any) -> Any:
    wide = _vector(64, "i8")
    call = llvm_function(builder, "llvm.x86.avx512.pshuf.b.512", wide, [wide, wide])
    return builder.call(call, [_repeated(builder, table, 64), index])


def _shuffle_avx2(builder: Any, table: Any, index: Any) -> Any:
    half = _vector(32, "i8")
    call = llvm_function(builder, "llvm.x86.avx2.pshuf.b", half, [half, half])
    both = _repeated(builder, table, 32)
    parts = [builder.call(call, [both, _part(builder, index, start, 32)]) for start in (0, 32)]
    return builder.shuffle_vector(*parts, llvm().Constant(_vector(64, "i32"), list(range(64))))


def _repeated(builder: Any, table: Any, lanes: int) -> Any:
    mask = llvm().Constant(_vector(lanes, "i32"), [i % 16 for i in range(lanes)])
    return builder.shuffle_vector(table, table, mask)


SHUFFLES = {"avx512": _shuffle_avx512, "avx2": _shuffle_avx2, "portable": None}
"""The forms of the shuffle, by level; without one, entries are loaded one by one."""


def shuffled_sums(shuffle: Any, queries: int = 1) -> Any:
    """Return the code generator of ``lookup_sums`` for one form of the shuffle; tests compare all of them.

    Parameters
    ----------
    shuffle : callable or None
        One of ``SHUFFLES``.
    queries : int, default 1
        Queries that share a block.

    Returns
    -------
    callable
        What an intrinsic returns beside its signature.
    """
    if shuffle is None:
        return _loaded_sums(queries)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        tables, stride, block, pairs, together, out = args
        whole, bytes_, table = ir.IntType(64), _vector(64, "i8"), _vector(16, "i8")
        low, four = ir.Constant(bytes_, [15] * 64), ir.Constant(bytes_, [4] * 64)
        halves = _vector(32, "i16")

        def inside(first: Any, index: Any, sums: list[Any]) -> list[Any]:
            pair = builder.add(first, index)
            both = load_value(builder, block, builder.shl(pair, ir.Constant(whole, 6)), bytes_)
            groups = builder.and_(both, low), builder.lshr(both, four)
            at, out = builder.shl(pair, ir.Constant(whole, 5)), []
            for i in range(queries):
                for j in range(2):
                    entries = load_value(builder, tables, builder.add(at, ir.Constant(whole, 16 * j)), table)
                    out.append(builder.add(sums[2 * i + j], shuffle(builder, entries, groups[j])))
                at = builder.add(at, stride)
            return out

        def body(index: Any, totals: list[Any]) -> list[Any]:
            first = builder.mul(index, together)
            rest = builder.sub(pairs, first)
            count = builder.select(builder.icmp_signed("<", rest, together), rest, together)
            zeros = [ir.Constant(bytes_, None)] * (2 * queries)
            sums = _loop(builder, count, zeros, lambda i, s: inside(first, i, s))
            added = []
            for i, total in enumerate(totals):
                for part in sums[i // 2 * 2 : i // 2 * 2 + 2]:
                    total = builder.add(total, builder.zext(_part(builder, part, 32 * (i % 2), 32), halves))
                added.append(total)
            return added

        rounds = builder.sdiv(builder.add(pairs, builder.sub(together, ir.Constant(whole, 1))), together)
        totals = _loop(builder, rounds, [ir.Constant(halves, None)] * (2 * queries), body)
        for i, total in enumerate(totals):
            at = builder.add(out, ir.Constant(whole, 64 * i))
            builder.store(total, builder.inttoptr(at, ir.PointerType(halves)), align=1)
        return context.get_dummy_value()

    return generate


def _loaded_sums(queries: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        first, stride, block, pairs, _, out = args
        whole, byte, word = ir.IntType(64), ir.IntType(8), ir.IntType(16)

        def number(value: int) -> Any:
            return ir.Constant(whole, value)

        def entry(at: Any, index: Any) -> Any:
            return builder.zext(load_value(builder, builder.add(at, builder.zext(index, whole)), None, byte), word)

        def row(query: int, tables: Any, lane: Any) -> list[Any]:
            def pair(index: Any, total: list[Any]) -> list[Any]:
                at = builder.add(tables, builder.shl(index, number(5)))
                both = load_value(builder, block, builder.add(builder.shl(index, number(6)), lane), byte)
                one = entry(at, builder.and_(both, ir.Constant(byte, 15)))
                two = entry(builder.add(at, number(16)), builder.lshr(both, ir.Constant(byte, 4)))
                return [builder.add(total[0], builder.add(one, two))]

            (total,) = _loop(builder, pairs, [ir.Constant(word, 0)], pair)
            at = builder.add(builder.add(out, number(128 * query)), builder.shl(lane, number(1)))
            builder.store(total, builder.inttoptr(at, ir.PointerType(word)), align=1)
            return []

        for query in range(queries):
            tables = builder.add(first, builder.mul(stride, number(query)))
            _loop(builder, number(BLOCK), [], lambda lane, _, q=query, t=tables: row(q, t, lane))
        return context.get_dummy_value()

    return generate


@intrinsic
def lookup_sums(typing: Any, tables: Any, stride: Any, block: Any, pairs: Any, together: Any, out: Any) -> Any:
    """Sum the table entries that the groups of 64 rows point at.

    Parameters
    ----------
    tables : int64
        Address of 32 bytes for each pair of groups.
    stride : int64
        Bytes from the tables of one query to those of the next; without effect here.
    block : int64
        Address of 64 bytes for each pair of groups.
    pairs : int64
        Pairs of groups, at least one; their sums must fit 16 bits.
    together : int64
        Entries whose sum fits a byte, at least one.
    out : int64
        Address of 64 uint16, written.

    Returns
    -------
    None
        Nothing.
    """
    from numba import types

    return types.void(*[types.int64] * 6), shuffled_sums(SHUFFLES[simd_level()])


@intrinsic
def lookup_sums_4(typing: Any, tables: Any, stride: Any, block: Any, pairs: Any, together: Any, out: Any) -> Any:
    """Do the same for four queries at once, which share what is read of the rows.

    Parameters
    ----------
    tables, stride, block, pairs, together : int64
        As for ``lookup_sums``.
    out : int64
        Address of four times 64 uint16, written.

    Returns
    -------
    None
        Nothing.
    """
    from numba import types

    return types.void(*[types.int64] * 6), shuffled_sums(SHUFFLES[simd_level()], 4)


def _examples() -> Iterator[tuple[Any, ...]]:
    line = np.zeros(1, np.float32)
    tables, blocks = plain(np.zeros((1, 2, 16), np.uint8)), plain(np.zeros((1, 1, 64), np.uint8))
    weights, bitmap = plain(np.zeros(64, np.uint16)), plain(np.zeros(1, np.uint64))
    out = (np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32))
    yield tables, line, line, blocks, weights, bitmap, 0, 1, 1, *out


@intrinsic
def _block_scores(typing: Any, sums: Any, weights: Any, step: Any, offset: Any, row: Any) -> Any:
    """Write ``(step * sum + offset) * weight`` of 64 rows and return the largest, in vector code."""
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        lanes, words, whole = _vector(16, "f32"), _vector(16, "i16"), ir.IntType(64)
        step, offset = (_everywhere(builder, value, lanes) for value in args[2:4])
        larger = llvm_function(builder, "llvm.maxnum.v16f32", lanes, [lanes, lanes])
        best = None
        for i in range(4):
            at = ir.Constant(whole, 32 * i)
            total, weight = (builder.uitofp(load_value(builder, base, at, words), lanes) for base in args[:2])
            value = builder.fmul(builder.fadd(builder.fmul(total, step), offset), weight)
            place = builder.add(args[4], ir.Constant(whole, 64 * i))
            builder.store(value, builder.inttoptr(place, ir.PointerType(lanes)), align=1)
            best = value if best is None else builder.call(larger, [best, value])
        single = ir.FloatType()
        reduce = llvm_function(builder, "llvm.vector.reduce.fmax.v16f32", single, [lanes])
        return builder.call(reduce, [best], fastmath=("nnan",))

    return types.float32(types.int64, types.int64, types.float32, types.float32, types.int64), generate


def _everywhere(builder: Any, value: Any, lanes: Any) -> Any:
    ir = llvm()
    one = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(_vector(lanes.count, "i32"), None))


@kernel
def _enter(row: Any, word: Any, first: Any, ids: Any, scores: Any) -> None:
    """Enter the scores of a block that are among the best."""
    k = scores.shape[0]
    for j in range(64):
        # A later row does not displace an equal one: the smaller id stays.
        if row[j] <= scores[k - 1] or not word >> np.uint64(j) & np.uint64(1):
            continue
        place = k - 1
        while place > 0 and scores[place - 1] < row[j]:
            scores[place], ids[place] = scores[place - 1], ids[place - 1]
            place -= 1
        scores[place], ids[place] = row[j], first + j


@kernel(group="binary", examples=_examples)
def _scan_range(
    tables: Any,
    steps: Any,
    offsets: Any,
    blocks: Any,
    weights: Any,
    bitmap: Any,
    first: Any,
    last: Any,
    together: Any,
    ids: Any,
    scores: Any,
) -> None:
    pairs, stride = blocks.shape[1], 32 * blocks.shape[1]
    chunk = max(1, _CHUNK_BYTES // (pairs * 64))
    sums, row = np.empty(256, np.uint16), np.empty(64, np.float32)
    out = row.ctypes.data
    for begin in range(first, last, chunk):
        end = min(begin + chunk, last)
        q = 0
        while q < tables.shape[0]:
            count = 4 if q + 4 <= tables.shape[0] else 1
            table = tables[q].ctypes.data
            for b in range(begin, end):
                block, factors = blocks[b].ctypes.data, weights[64 * b :].ctypes.data
                if count == 4:
                    lookup_sums_4(table, stride, block, pairs, together, sums.ctypes.data)
                else:
                    lookup_sums(table, stride, block, pairs, together, sums.ctypes.data)
                for i in range(count):
                    best = _block_scores(sums.ctypes.data + 128 * i, factors, steps[q + i], offsets[q + i], out)
                    if best > scores[q + i, scores.shape[1] - 1]:
                        _enter(row, bitmap[b], b * 64, ids[q + i], scores[q + i])
            q += count


def sums_of(tables: CodeArray, blocks: CodeArray) -> npt.NDArray[np.float32]:
    """Return the sums of the entries that all rows of all blocks point at, by NumPy.

    Parameters
    ----------
    tables : ndarray of shape (q, groups, 16), uint8
        Tables.
    blocks : ndarray of shape (blocks, groups / 2, 64), uint8
        Rows.

    Returns
    -------
    ndarray of shape (q, blocks * 64), float32
        Exact.
    """
    out = np.zeros((len(tables), len(blocks) * BLOCK), dtype=np.float32)
    for pair in range(blocks.shape[1]):
        both = blocks[:, pair].reshape(-1)
        out += np.take(tables[:, 2 * pair], both & 15, axis=1)
        out += np.take(tables[:, 2 * pair + 1], both >> 4, axis=1)
    return out


def scan_best(
    tables: CodeArray,
    steps: FloatArray,
    offsets: FloatArray,
    blocks: CodeArray,
    weights: npt.NDArray[np.uint16],
    bitmap: BitmapArray,
    *,
    k: int,
    first: int = 0,
    last: int | None = None,
    compiled: bool | None = None,
) -> tuple[IdArray, FloatArray]:
    """Return the rows with the k largest ``(step * sum + offset) * weight`` for each query.

    Parameters
    ----------
    tables : ndarray of shape (q, groups, 16), uint8
        Tables of the queries.
    steps, offsets : ndarray of shape (q,), float32
        What a sum of entries stands for.
    blocks : ndarray of shape (blocks, groups / 2, 64), uint8
        Rows.
    weights : ndarray of shape (blocks * 64,), uint16
        Factor of each row.
    bitmap : ndarray of shape (blocks,), uint64
        Bit j of word b is set where row 64 b + j may be an answer.
    k : int
        Rows wanted.
    first, last : int
        Blocks looked at; all, where left out.
    compiled : bool, optional
        True and False force the kernel or NumPy.

    Returns
    -------
    ids : ndarray of shape (q, k), int64
        Rows, best first, equal scores by the smaller row; -1 where there was none.
    scores : ndarray of shape (q, k), float32
        Scores; -inf where there was none.

    Notes
    -----
    Cost: q n groups look-ups, 64 at a time, and what the k best cost. A chunk of rows stays in the second cache while
    all queries pass over it.
    """
    last = len(blocks) if last is None else last
    # Sums that 16 bits cannot hold: 4 bits for each of more than 291 dimensions, symmetric.
    fits = int(tables.max(axis=2).sum(axis=1, dtype=np.int64).max(initial=0)) < 1 << 16
    if fits and uses_kernel("binary", compiled, len(tables) * blocks[first:last].size):
        ids = np.full((len(tables), k), -1, dtype=np.int64)
        scores = np.full((len(tables), k), -np.inf, dtype=np.float32)
        settings = (first, last, 255 // max(1, int(tables.max(initial=0))))
        arrays = (plain(tables), plain(steps), plain(offsets), plain(blocks), plain(weights), plain(bitmap))
        _scan_range(*arrays, *settings, ids, scores)
        return ids, scores
    part = slice(first * BLOCK, last * BLOCK)
    found = (sums_of(tables, blocks[first:last]) * steps[:, None] + offsets[:, None]) * weights[part]
    allowed = np.unpackbits(bitmap[first:last].view(np.uint8), bitorder="little").astype(bool)
    found = np.where(allowed, found, np.float32(-np.inf)).astype(np.float32)
    ids, scores, _ = top_k(found, k, ids=np.arange(part.start, part.stop, dtype=np.int64))
    return ids, scores
