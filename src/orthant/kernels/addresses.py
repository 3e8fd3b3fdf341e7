"""Instructions on single numbers at addresses: loads, stores, prefetches, and keys that compare as integers.

A kernel over addresses is compiled once, whatever array or memory map lies behind them. All loads may be unaligned.
"""

from __future__ import annotations

from typing import Any

from orthant.kernels.compiling import intrinsic

__all__ = [
    "float_key",
    "key_float",
    "load_bf16",
    "load_f32",
    "load_i32",
    "load_i64",
    "load_u16",
    "load_u32",
    "load_u64",
    "load_u8",
    "prefetch",
    "store_u64",
    "trailing_zeros",
]


def llvm() -> Any:
    """Return the module that builds LLVM code, loaded when it is first needed."""
    from llvmlite import ir

    return ir


def load_value(builder: Any, address: Any, offset: Any, kind: Any) -> Any:
    """Load a value of type ``kind`` at an integer address plus an offset in bytes."""
    ir = llvm()
    at = builder.add(address, offset) if offset is not None else address
    return builder.load(builder.inttoptr(at, ir.PointerType(kind)), align=1, typ=kind)


def llvm_function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """Return a declared function of LLVM or of an instruction set."""
    from numba.core import cgutils

    return cgutils.get_or_insert_function(builder.module, llvm().FunctionType(result, arguments), name)


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address.

    Parameters
    ----------
    address : int64
        Any; one that is not mapped does no harm.

    Returns
    -------
    None
        Nothing: only time is saved.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        pointer, small = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        call = llvm_function(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, small, small, small])
        builder.call(call, [builder.inttoptr(args[0], pointer), *(ir.Constant(small, v) for v in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@intrinsic
def float_key(typing: Any, value: Any) -> Any:
    """Map a float32 to an unsigned number of the same order.

    Parameters
    ----------
    value : float32
        Any but NaN.

    Returns
    -------
    uint64
        Below 2**32; of the same order as the values.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        small = ir.IntType(32)
        bits = builder.bitcast(args[0], small)
        flip = builder.or_(builder.ashr(bits, ir.Constant(small, 31)), ir.Constant(small, 0x80000000))
        return builder.zext(builder.xor(bits, flip), ir.IntType(64))

    return types.uint64(types.float32), generate


@intrinsic
def key_float(typing: Any, key: Any) -> Any:
    """Return the float32 in the upper half of a key, as ``float_key`` put it there.

    Parameters
    ----------
    key : uint64
        ``float_key(value) << 32``, the lower half being anything.

    Returns
    -------
    float32
        The value.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        small = ir.IntType(32)
        bits = builder.trunc(builder.lshr(args[0], ir.Constant(ir.IntType(64), 32)), small)
        # The sign was turned; of negative values all else was, too.
        kept = builder.ashr(builder.xor(bits, ir.Constant(small, 0x80000000)), ir.Constant(small, 31))
        flip = builder.or_(kept, ir.Constant(small, 0x80000000))
        return builder.bitcast(builder.xor(bits, flip), ir.FloatType())

    return types.float32(types.uint64), generate


@intrinsic
def load_bf16(typing: Any, address: Any) -> Any:
    """Load a bfloat16: the upper half of a float32.

    Parameters
    ----------
    address : int64
        Of two bytes.

    Returns
    -------
    float32
        The number.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        small = ir.IntType(32)
        half = builder.zext(load_value(builder, args[0], None, ir.IntType(16)), small)
        return builder.bitcast(builder.shl(half, ir.Constant(small, 16)), ir.FloatType())

    return types.float32(types.int64), generate


@intrinsic
def trailing_zeros(typing: Any, value: Any) -> Any:
    """Count the zeros below the lowest set bit.

    Parameters
    ----------
    value : uint64
        Any.

    Returns
    -------
    int64
        Place of the lowest set bit; 64 when there is none.
    """
    from numba import types

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        ir = llvm()
        whole, flag = ir.IntType(64), ir.IntType(1)
        count = llvm_function(builder, "llvm.cttz.i64", whole, [whole, flag])
        return builder.call(count, [args[0], ir.Constant(flag, 0)])

    return types.int64(types.uint64), generate


def _loader(kind: str, result: str) -> Any:
    def typed(typing: Any, address: Any) -> Any:
        from numba import types

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            ir = llvm()
            return load_value(builder, args[0], None, ir.FloatType() if kind == "f32" else ir.IntType(int(kind[1:])))

        return getattr(types, result)(types.int64), generate

    typed.__name__ = typed.__qualname__ = f"load_{kind}"
    return intrinsic(typed)


def _storer(kind: str, value_type: str) -> Any:
    def typed(typing: Any, address: Any, value: Any) -> Any:
        from numba import types

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            place = builder.inttoptr(args[0], llvm().PointerType(llvm().IntType(int(kind[1:]))))
            builder.store(args[1], place, align=1)
            return context.get_dummy_value()

        return types.void(types.int64, getattr(types, value_type)), generate

    typed.__name__ = typed.__qualname__ = f"store_{kind}"
    return intrinsic(typed)


load_f32 = _loader("f32", "float32")
"""Load a float32."""
load_i32 = _loader("i32", "int32")
"""Load an int32."""
load_i64 = _loader("i64", "int64")
"""Load an int64."""
load_u8 = _loader("i8", "uint8")
"""Load a uint8."""
load_u16 = _loader("i16", "uint16")
"""Load a uint16."""
load_u32 = _loader("i32", "uint32")
"""Load a uint32."""
load_u64 = _loader("i64", "uint64")
"""Load a uint64."""
store_u64 = _storer("i64", "uint64")
"""Store a uint64."""
