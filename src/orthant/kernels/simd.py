"""Vector instructions that Numba has no words for: byte products, bit counts, float sums, sorted insertion.

Each is an intrinsic for use inside kernels and takes addresses, as those of ``kernels.addresses`` do.
``orthant.kernels.cpu.simd_level`` chooses the form of the byte product; the rest is LLVM's own vector code, which every
processor gets in its own registers. All loads may be unaligned.
"""

from __future__ import annotations

from typing import Any

from orthant.kernels.addresses import llvm, llvm_function, load_value
from orthant.kernels.compiling import intrinsic
from orthant.kernels.cpu import simd_level

__all__ = [
    "BITS_BLOCK",
    "BYTES_BLOCK",
    "bit_plane_64",
    "dot_bits",
    "dot_f32",
    "dot_u4s8",
    "dot_u8s8",
    "insert_sorted",
    "l2_f32",
    "positive_16",
]

BYTES_BLOCK = 64
"""Byte vectors are padded with zeros to a multiple of this many bytes."""

BITS_BLOCK = 64
"""Bytes that ``dot_bits`` reads of a row and of each plane; the planes are zero where the row holds other things."""


def _vector(lanes: int, kind: str) -> Any:
    ir = llvm()
    element = {"i8": ir.IntType(8), "i16": ir.IntType(16), "i32": ir.IntType(32), "i64": ir.IntType(64)}
    element["f32"] = ir.FloatType()
    return ir.VectorType(element[kind], lanes)


def _loop(builder: Any, count: Any, start: list[Any], body: Any) -> list[Any]:
    """Run ``body(index, values) -> values`` count times, count being at least 1, and return the last values."""
    ir = llvm()
    before, head, done = builder.block, builder.append_basic_block("loop"), builder.append_basic_block("done")
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(ir.IntType(64))
    values = [builder.phi(value.type) for value in start]
    after = body(index, values)
    following = builder.add(index, ir.Constant(ir.IntType(64), 1))
    # Where the body ends: not at its head, if it holds a loop itself.
    last = builder.block
    index.add_incoming(ir.Constant(ir.IntType(64), 0), before)
    index.add_incoming(following, last)
    for phi, first, later in zip(values, start, after, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, last)
    builder.cbranch(builder.icmp_signed("<", following, count), head, done)
    builder.position_at_end(done)
    return after


def _products_vnni(builder: Any, total: Any, a: Any, q: Any) -> Any:
    """Add the products of 64 unsigned and 64 signed bytes to 16 sums, by one instruction."""
    wide, sums = _vector(64, "i8"), _vector(16, "i32")
    name = "llvm.x86.avx512.vpdpbusd.512"
    if _takes_bytes():
        return builder.call(llvm_function(builder, name, sums, [sums, wide, wide]), [total, a, q])
    call = llvm_function(builder, name, sums, [sums, sums, sums])
    return builder.call(call, [total, builder.bitcast(a, sums), builder.bitcast(q, sums)])


def _takes_bytes() -> bool:
    """Whether this LLVM wants byte vectors for the instruction: it changed with release 21."""
    from llvmlite import binding

    return bool(binding.llvm_version_info[0] >= 21)


def _part(builder: Any, vector: Any, start: int, lanes: int) -> Any:
    ir = llvm()
    mask = ir.Constant(_vector(lanes, "i32"), [start + i for i in range(lanes)])
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


def _products_avx2(builder: Any, total: Any, a: Any, q: Any) -> Any:
    """Do the same with 256-bit registers: bytes are widened to 16 bits, since 8-bit products would saturate."""
    ir = llvm()
    words, sums = _vector(16, "i16"), _vector(8, "i32")
    multiply = llvm_function(builder, "llvm.x86.avx2.pmadd.wd", sums, [words, words])
    low = high = ir.Constant(sums, None)
    for i in range(4):
        x = builder.zext(_part(builder, a, 16 * i, 16), words)
        y = builder.sext(_part(builder, q, 16 * i, 16), words)
        product = builder.call(multiply, [x, y])
        if i % 2:
            high = builder.add(high, product)
        else:
            low = builder.add(low, product)
    joined = builder.shuffle_vector(low, high, ir.Constant(_vector(16, "i32"), list(range(16))))
    return builder.add(total, joined)


def _products_portable(builder: Any, total: Any, a: Any, q: Any) -> Any:
    wide = _vector(16, "i32")
    for i in range(4):
        x = builder.zext(_part(builder, a, 16 * i, 16), wide)
        y = builder.sext(_part(builder, q, 16 * i, 16), wide)
        total = builder.add(total, builder.mul(x, y))
    return total


PRODUCTS = {"avx512": _products_vnni, "avx2": _products_avx2, "portable": _products_portable}
"""The forms of the byte product, by level."""


def nibble_product(products: Any) -> Any:
    """Return the code generator of ``dot_u4s8`` for one form of the product."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        a, q, blocks = args
        bytes_, sums, whole = _vector(64, "i8"), _vector(16, "i32"), ir.IntType(64)
        low, four = ir.Constant(bytes_, [15] * 64), ir.Constant(bytes_, [4] * 64)

        def body(index: Any, values: list[Any]) -> list[Any]:
            offset = builder.shl(index, ir.Constant(whole, 6))
            twice = builder.shl(index, ir.Constant(whole, 7))
            both = load_value(builder, a, offset, bytes_)
            first = load_value(builder, q, twice, bytes_)
            second = load_value(builder, q, builder.add(twice, ir.Constant(whole, 64)), bytes_)
            return [
                products(builder, values[0], builder.and_(both, low), first),
                products(builder, values[1], builder.lshr(both, four), second),
            ]

        one, two = _loop(builder, blocks, [ir.Constant(sums, None)] * 2, body)
        reduce = llvm_function(builder, "llvm.vector.reduce.add.v16i32", ir.IntType(32), [sums])
        return builder.call(reduce, [builder.add(one, two)])

    return generate


def byte_product(products: Any) -> Any:
    """Return the code generator of ``dot_u8s8`` for one form of the product; tests compare all of them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        a, q, blocks = args
        bytes_, sums = _vector(64, "i8"), _vector(16, "i32")

        def body(index: Any, values: list[Any]) -> list[Any]:
            offset = builder.shl(index, ir.Constant(ir.IntType(64), 6))
            left, right = load_value(builder, a, offset, bytes_), load_value(builder, q, offset, bytes_)
            return [products(builder, values[0], left, right)]

        (total,) = _loop(builder, blocks, [ir.Constant(sums, None)], body)
        reduce = llvm_function(builder, "llvm.vector.reduce.add.v16i32", ir.IntType(32), [sums])
        return builder.call(reduce, [total])

    return generate


@intrinsic
def dot_u8s8(typing: Any, a: Any, q: Any, blocks: Any) -> Any:
    """Sum of products of unsigned bytes and signed bytes.

    Parameters
    ----------
    a, q : int64
        Addresses of the unsigned and of the signed bytes.
    blocks : int64
        Blocks of 64 bytes, at least one.

    Returns
    -------
    int32
        The sum; exact for up to 65,000 bytes.
    """
    from numba import types

    return types.int32(types.int64, types.int64, types.int64), byte_product(PRODUCTS[simd_level()])


@intrinsic
def dot_u4s8(typing: Any, a: Any, q: Any, blocks: Any) -> Any:
    """Sum of products of 4-bit values and signed bytes.

    Block b of 64 bytes at ``a`` holds values 128 b to 128 b + 63 in the lower halves of its bytes and the next 64 in
    the upper ones.

    Parameters
    ----------
    a, q : int64
        Addresses of the packed values and of the signed bytes.
    blocks : int64
        Blocks of 64 bytes at ``a``, at least one; twice as many are read at ``q``.

    Returns
    -------
    int32
        The sum.
    """
    from numba import types

    return types.int32(types.int64, types.int64, types.int64), nibble_product(PRODUCTS[simd_level()])


@intrinsic
def dot_bits(typing: Any, row: Any, planes: Any) -> Any:
    """Sum over four planes k of 2**k times the number of bits set in both the row and plane k.

    Parameters
    ----------
    row, planes : int64
        Addresses of 64 bytes, and of four times 64 bytes, the lowest plane first.

    Returns
    -------
    int64
        The sum.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        words, whole = _vector(8, "i64"), ir.IntType(64)
        count = llvm_function(builder, "llvm.ctpop.v8i64", words, [words])
        bits = load_value(builder, args[0], None, words)
        total = None
        for k in (3, 2, 1, 0):
            plane = load_value(builder, args[1], ir.Constant(whole, BITS_BLOCK * k), words)
            counted = builder.call(count, [builder.and_(bits, plane)])
            total = counted if total is None else builder.add(builder.add(total, total), counted)
        return builder.call(llvm_function(builder, "llvm.vector.reduce.add.v8i64", whole, [words]), [total])

    return types.int64(types.int64, types.int64), generate


def _float_loop(builder: Any, args: Any, term: Any) -> Any:
    """Sum ``term(a, q)`` over float32 values: 32 lanes, then 16, then one by one."""
    ir = llvm()
    a, q, count = args
    whole, single, lanes = ir.IntType(64), ir.FloatType(), _vector(16, "f32")

    def number(value: int) -> Any:
        return ir.Constant(whole, value)

    def part(kind: Any, start: Any, values: int, total: list[Any], bytes_each: int) -> list[Any]:
        many = builder.sdiv(builder.sub(count, start), number(values))

        def body(index: Any, sums: list[Any]) -> list[Any]:
            base = builder.add(builder.shl(start, number(2)), builder.mul(index, number(4 * values)))
            out = []
            for i, value in enumerate(sums):
                offset = builder.add(base, number(bytes_each * i))
                out.append(
                    term(
                        builder, kind, load_value(builder, a, offset, kind), load_value(builder, q, offset, kind), value
                    )
                )
            return out

        before = builder.block
        inside, after = builder.append_basic_block("some"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed(">", many, number(0)), inside, after)
        builder.position_at_end(inside)
        done = _loop(builder, many, total, body)
        last = builder.block
        builder.branch(after)
        builder.position_at_end(after)
        joined = []
        for old, new in zip(total, done, strict=True):
            phi = builder.phi(old.type)
            phi.add_incoming(old, before)
            phi.add_incoming(new, last)
            joined.append(phi)
        return joined

    zero = number(0)
    first, second = part(lanes, zero, 32, [ir.Constant(lanes, None)] * 2, 64)
    rest = builder.and_(count, number(-32))
    (total,) = part(lanes, rest, 16, [builder.fadd(first, second)], 64)
    (tail,) = part(single, builder.and_(count, number(-16)), 1, [ir.Constant(single, 0.0)], 4)
    reduce = llvm_function(builder, "llvm.vector.reduce.fadd.v16f32", single, [single, lanes])
    return builder.call(reduce, [tail, total], fastmath=("reassoc",))


def _fma(builder: Any, kind: Any, a: Any, b: Any, total: Any) -> Any:
    name = "llvm.fma.v16f32" if hasattr(kind, "count") else "llvm.fma.f32"
    return builder.call(llvm_function(builder, name, kind, [kind, kind, kind]), [a, b, total])


def _fma_difference(builder: Any, kind: Any, a: Any, b: Any, total: Any) -> Any:
    difference = builder.fsub(a, b)
    return _fma(builder, kind, difference, difference, total)


@intrinsic
def dot_f32(typing: Any, a: Any, q: Any, count: Any) -> Any:
    """Dot product of float32 values at two addresses.

    Parameters
    ----------
    a, q : int64
        Addresses.
    count : int64
        Values at each.

    Returns
    -------
    float32
        Summed in 32 lanes; 0 for no values.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _float_loop(builder, args, _fma)

    return types.float32(types.int64, types.int64, types.int64), generate


@intrinsic
def l2_f32(typing: Any, a: Any, q: Any, count: Any) -> Any:
    """Squared Euclidean distance of float32 values at two addresses.

    Parameters
    ----------
    a, q : int64
        Addresses.
    count : int64
        Values at each.

    Returns
    -------
    float32
        Summed in 32 lanes; 0 for no values.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _float_loop(builder, args, _fma_difference)

    return types.float32(types.int64, types.int64, types.int64), generate


@intrinsic
def bit_plane_64(typing: Any, address: Any, bit: Any) -> Any:
    """Gather one bit of each of 64 bytes.

    Parameters
    ----------
    address : int64
        Of 64 bytes.
    bit : int64
        Which bit, 0 to 7.

    Returns
    -------
    uint64
        Bit i is that bit of byte i.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        bytes_ = _vector(64, "i8")
        values = load_value(builder, args[0], None, bytes_)
        one = builder.shl(ir.Constant(ir.IntType(8), 1), builder.trunc(args[1], ir.IntType(8)))
        lane = builder.insert_element(ir.Constant(bytes_, ir.Undefined), one, ir.Constant(ir.IntType(32), 0))
        mask = builder.shuffle_vector(lane, lane, ir.Constant(_vector(64, "i32"), None))
        found = builder.icmp_unsigned("!=", builder.and_(values, mask), ir.Constant(bytes_, None))
        return builder.bitcast(found, ir.IntType(64))

    return types.uint64(types.int64, types.int64), generate


@intrinsic
def positive_16(typing: Any, address: Any) -> Any:
    """Compare 16 float32 values with 0.

    Parameters
    ----------
    address : int64
        Of 16 float32 values.

    Returns
    -------
    uint64
        Bit i is set where value i is above 0.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        lanes = _vector(16, "f32")
        found = builder.fcmp_ordered(">", load_value(builder, args[0], None, lanes), ir.Constant(lanes, None))
        return builder.zext(builder.bitcast(found, ir.IntType(16)), ir.IntType(64))

    return types.uint64(types.int64), generate


@intrinsic
def insert_sorted(typing: Any, buffer: Any, blocks: Any, key: Any) -> Any:
    """Insert a uint64 into an ascending buffer, dropping the largest.

    Parameters
    ----------
    buffer : int64
        Address of the first element; the eight bytes before it are zero.
    blocks : int64
        Elements over eight, at least one.
    key : uint64
        What to insert.

    Returns
    -------
    int64
        Its place: how many elements were smaller.

    Notes
    -----
    No step depends on the values, so nothing can be mispredicted: each element becomes
    ``max(the one before, min(key, itself))``.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        words, whole = _vector(8, "i64"), ir.IntType(64)
        smaller, larger = (llvm_function(builder, f"llvm.{n}.v8i64", words, [words, words]) for n in ("umin", "umax"))
        base, blocks, key = args
        lane = builder.insert_element(ir.Constant(words, ir.Undefined), key, ir.Constant(ir.IntType(32), 0))
        keys = builder.shuffle_vector(lane, lane, ir.Constant(_vector(8, "i32"), None))

        def body(index: Any, values: list[Any]) -> list[Any]:
            # From the end, so that the element before is still the old one.
            block = builder.sub(builder.sub(blocks, index), ir.Constant(whole, 1))
            at = builder.add(base, builder.shl(block, ir.Constant(whole, 6)))
            here = load_value(builder, at, None, words)
            before = load_value(builder, at, ir.Constant(whole, -8), words)
            mixed = builder.call(larger, [before, builder.call(smaller, [keys, here])])
            builder.store(mixed, builder.inttoptr(at, ir.PointerType(words)), align=1)
            below = builder.zext(builder.icmp_unsigned("<", here, keys), words)
            return [builder.add(values[0], below)]

        (counts,) = _loop(builder, blocks, [ir.Constant(words, None)], body)
        return builder.call(llvm_function(builder, "llvm.vector.reduce.add.v8i64", whole, [words]), [counts])

    return types.int64(types.int64, types.int64, types.uint64), generate
