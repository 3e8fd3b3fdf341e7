"""From bitmaps over ids to slots."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.addresses import trailing_zeros
from orthant.kernels.compiling import kernel

__all__ = ["count_bits", "slots_in_order", "slots_of_bits", "slots_of_ids", "spread_bits"]

_ONE = np.uint64(1)
_PAIRS, _FOURS, _EIGHTS = (
    np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F),
)  # fmt: skip
_BYTES = np.uint64(0x0101010101010101)


@kernel(group="graph", examples=lambda: [(np.zeros(1, np.uint64),)])
def count_bits(bitmap: Any) -> Any:
    """Count the bits that are set: NumPy's way takes as long as a third of a search.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The bitmap.

    Returns
    -------
    int
        Their number.
    """
    total = np.uint64(0)
    for word in bitmap:
        # Sums of 2, 4 and 8 bits side by side; LLVM makes one instruction of it where the CPU has one.
        word -= (word >> _ONE) & _PAIRS
        word = (word & _FOURS) + ((word >> np.uint64(2)) & _FOURS)
        word = (word + (word >> np.uint64(4))) & _EIGHTS
        total += (word * _BYTES) >> np.uint64(56)
    return np.int64(total)


def _bits_examples() -> Iterable[tuple[Any, ...]]:
    words, ints = np.zeros(1, np.uint64), np.zeros(1, np.int32)
    yield words, ints, np.zeros(1, np.int64), words, ints


@kernel(group="graph", examples=_bits_examples)
def slots_of_bits(allowed: Any, table: Any, ids: Any, dead: Any, out: Any) -> Any:
    """List the live slots of the ids in a bitmap.

    Parameters
    ----------
    allowed : ndarray of uint64
        Bitmap over ids.
    table : ndarray of int32
        Slot of each id, or one that it had before; -1 where there never was one.
    ids : ndarray of int64
        Id of each slot.
    dead : ndarray of uint64
        Bitmap over slots.
    out : ndarray of int32
        Receives the slots in the order of ids; as long as the table.

    Returns
    -------
    int
        How many there are.
    """
    count = 0
    for i in range(min(len(allowed), (len(table) + 63) >> 6)):
        word = allowed[i]
        while word != 0:
            number = 64 * i + trailing_zeros(word)
            word &= word - _ONE
            if number >= len(table):
                break
            slot = np.int64(table[number])
            if slot >= 0 and ids[slot] == number and (dead[slot >> 6] >> np.uint64(slot & 63)) & _ONE == 0:
                out[count] = slot
                count += 1
    return count


def _order_examples() -> Iterable[tuple[Any, ...]]:
    words = np.zeros(1, np.uint64)
    yield words, 0, 1, words, 0, np.zeros(1, np.int32)


@kernel(group="graph", examples=_order_examples)
def slots_in_order(allowed: Any, shift: Any, used: Any, dead: Any, dead_count: Any, out: Any) -> Any:
    """List the live slots of the ids in a bitmap, where ids follow slots: nothing has to be looked up.

    Parameters
    ----------
    allowed : ndarray of uint64
        Bitmap over ids.
    shift : int
        What to add to a slot for its id.
    used : int
        Slots in use.
    dead : ndarray of uint64
        Bitmap over slots.
    dead_count : int
        0 where none of those in use is dead.
    out : ndarray of int32
        Receives the slots, ascending; as long as there are bits, at most ``used``.

    Returns
    -------
    int
        How many there are.
    """
    count = 0
    for i in range(max(0, shift >> 6), min(len(allowed), (used + shift + 63) >> 6)):
        word, first = allowed[i], 64 * i - shift
        if dead_count == 0 and first >= 0 and first + 64 <= used:
            while word != 0:
                out[count] = first + trailing_zeros(word)
                word &= word - _ONE
                count += 1
            continue
        while word != 0:
            slot = 64 * i + trailing_zeros(word) - shift
            word &= word - _ONE
            if slot < 0 or slot >= used:
                continue
            if dead_count == 0 or (dead[slot >> 6] >> np.uint64(slot & 63)) & _ONE == 0:
                out[count] = slot
                count += 1
    return count


def _ids_examples() -> Iterable[tuple[Any, ...]]:
    words = np.zeros(1, np.uint64)
    yield words, np.zeros(1, np.int64), words, np.zeros(1, np.int32)


@kernel(group="graph", examples=_ids_examples)
def slots_of_ids(allowed: Any, ids: Any, dead: Any, out: Any) -> Any:
    """List the live slots whose ids are in a bitmap, by a pass over all slots.

    Parameters
    ----------
    allowed : ndarray of uint64
        Bitmap over ids.
    ids : ndarray of int64
        Id of each slot.
    dead : ndarray of uint64
        Bitmap over slots.
    out : ndarray of int32
        Receives the slots, ascending; as long as ``ids``.

    Returns
    -------
    int
        How many there are.
    """
    count = 0
    for slot in range(len(ids)):
        number = ids[slot]
        word = number >> 6
        if number < 0 or word >= len(allowed):
            continue
        if (allowed[word] >> np.uint64(number & 63)) & _ONE == 0:
            continue
        if (dead[slot >> 6] >> np.uint64(slot & 63)) & _ONE == 0:
            out[count] = slot
            count += 1
    return count


def _spread_examples() -> Iterable[tuple[Any, ...]]:
    words, ints = np.zeros(1, np.uint64), np.zeros(1, np.int32)
    yield words, ints, np.zeros(1, np.int64), words, ints


@kernel(group="graph", examples=_spread_examples)
def spread_bits(allowed: Any, table: Any, ids: Any, dead: Any, out: Any) -> Any:
    """List a few live slots whose ids are spread evenly over a bitmap.

    Parameters
    ----------
    allowed, table, ids, dead : ndarray
        As for ``slots_of_bits``.
    out : ndarray of int32
        Receives the slots; its length is how many are wanted.

    Returns
    -------
    int
        How many were found.
    """
    words = min(len(allowed), (len(table) + 63) >> 6)
    count, reached = 0, 0
    for i in range(len(out)):
        at = max(reached, words * i // len(out))
        while at < words:
            word = allowed[at]
            at += 1
            found = False
            while word != 0 and not found:
                number = 64 * (at - 1) + trailing_zeros(word)
                word &= word - _ONE
                if number >= len(table):
                    break
                slot = np.int64(table[number])
                if slot >= 0 and ids[slot] == number and (dead[slot >> 6] >> np.uint64(slot & 63)) & _ONE == 0:
                    out[count] = slot
                    count += 1
                    found = True
            if found:
                break
        reached = at
    return count
