"""Non-negative integers as bytes: seven bits to a byte, lowest first, the top bit set on all but a number's last.

A number has one form only, so equal numbers are equal bytes: whoever looks for a run of numbers may look for the run
of their bytes, and the byte 0 is the number 0 and never a part of another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["count_numbers", "differences", "pack", "sums", "unpack"]

IntArray = npt.NDArray[Any]
ByteArray = npt.NDArray[np.uint8]

_PART = 1 << 18
"""Numbers worked on at once: what they need besides stays in the cache."""
_BITS = 7
_MORE = 128


def pack(numbers: IntArray) -> ByteArray:
    """Return the bytes of some numbers, back to back.

    Parameters
    ----------
    numbers : ndarray of shape (n,), int
        None negative, all below 2**56.

    Returns
    -------
    ndarray of shape (b,), uint8
        What ``unpack`` reads.

    Examples
    --------
    >>> pack(np.array([0, 127, 128, 300])).tolist()
    [0, 127, 128, 1, 172, 2]
    """
    parts = [_packed(numbers[a : a + _PART].astype(np.int64)) for a in range(0, len(numbers), _PART)]
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


def _packed(numbers: IntArray) -> ByteArray:
    lengths = np.ones(len(numbers), np.int64)
    left = numbers >> _BITS
    while left.any():
        lengths += left > 0
        left >>= _BITS
    starts = np.cumsum(lengths) - lengths
    out = np.empty(int(lengths.sum()), np.uint8)
    own, at = numbers, starts
    longer = np.arange(len(numbers))
    while len(own):
        rest = own >> _BITS
        out[at] = (own & (_MORE - 1)) | np.where(rest > 0, _MORE, 0)
        longer = np.flatnonzero(rest)
        own, at = rest[longer], at[longer] + 1
    return out


def unpack(data: ByteArray, dtype: Any = np.int64) -> IntArray:
    """Return the numbers that some bytes stand for.

    Parameters
    ----------
    data : ndarray of shape (b,), uint8
        From ``pack``.
    dtype : dtype, default int64
        Of the result; too narrow a one wraps.

    Returns
    -------
    ndarray of shape (n,)
        The numbers.

    Examples
    --------
    >>> unpack(np.array([0, 127, 128, 1, 172, 2], np.uint8)).tolist()
    [0, 127, 128, 300]
    """
    out = np.empty(count_numbers(data), dtype)
    at = 0
    for part in _parts(data):
        ends = np.flatnonzero(part < _MORE)
        starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1))
        here = out[at : at + len(ends)]
        here[:] = part[starts] & (_MORE - 1)
        shift, longer = 0, np.flatnonzero(ends > starts)
        while len(longer):
            shift += _BITS
            places = starts[longer] + shift // _BITS
            here[longer] |= (part[places] & (_MORE - 1)).astype(dtype) << dtype_of(dtype, shift)
            longer = longer[ends[longer] > places]
        at += len(ends)
    return out


def dtype_of(dtype: Any, value: int) -> Any:
    """Return a number as a scalar of a dtype, so that shifts do not widen."""
    return np.dtype(dtype).type(value)


def _parts(data: ByteArray) -> Iterator[ByteArray]:
    begin = 0
    while begin < len(data):
        stop = min(begin + _PART, len(data))
        # No number has more bytes than eight.
        while stop < len(data) and data[stop - 1] >= _MORE:
            stop += 1
        yield data[begin:stop]
        begin = stop


def count_numbers(data: ByteArray) -> int:
    """Return how many numbers some bytes stand for.

    Parameters
    ----------
    data : ndarray of shape (b,), uint8
        From ``pack``.

    Returns
    -------
    int
        The count.
    """
    return int(np.count_nonzero(data < _MORE))


def differences(numbers: IntArray) -> IntArray:
    """Return the first of ascending numbers and the steps to the others, which are smaller.

    Parameters
    ----------
    numbers : ndarray of shape (n,), int
        Ascending, none negative.

    Returns
    -------
    ndarray of shape (n,), int64
        What ``sums`` undoes.
    """
    return np.diff(numbers.astype(np.int64), prepend=0)


def sums(steps: IntArray, dtype: Any) -> IntArray:
    """Return the numbers whose differences these are.

    Parameters
    ----------
    steps : ndarray of shape (n,), int
        From ``differences``.
    dtype : dtype
        Of the result.

    Returns
    -------
    ndarray of shape (n,)
        Ascending numbers.
    """
    return np.cumsum(steps, dtype=np.int64).astype(dtype, copy=False)
