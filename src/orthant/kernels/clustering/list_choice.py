"""Choosing among scores by keys: a score and a number in one uint64, the best of which are the smallest.

The upper half of a key falls as the score rises, the lower half is the number that was scored. So keys sort by score,
equal scores by the smaller number, and one integer comparison does both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from orthant.kernels.addresses import float_key, key_float, trailing_zeros
from orthant.kernels.compiling import kernel

__all__ = ["append_marked", "key_of", "keep_smallest", "number_of", "score_of"]

_LOW = np.uint64(0xFFFFFFFF)


@kernel
def key_of(score: Any, number: Any) -> Any:
    """Return the key of a score and a number.

    Parameters
    ----------
    score : float32
        Not NaN.
    number : int64
        From 0 to 2**32 - 1.

    Returns
    -------
    uint64
        The key.
    """
    return (_LOW - float_key(np.float32(score))) << np.uint64(32) | np.uint64(number)


@kernel
def number_of(key: Any) -> Any:
    """Return the number in a key.

    Parameters
    ----------
    key : uint64
        A key.

    Returns
    -------
    int64
        The number.
    """
    return np.int64(key & _LOW)


@kernel
def score_of(key: Any) -> Any:
    """Return the score in a key.

    Parameters
    ----------
    key : uint64
        A key.

    Returns
    -------
    float32
        The score, to the last bit.
    """
    return key_float((_LOW - (key >> np.uint64(32))) << np.uint64(32))


@kernel
def keep_smallest(keys: Any, count: Any, wanted: Any) -> None:
    """Bring the smallest keys to the front, the last of them to place ``wanted - 1``.

    Parameters
    ----------
    keys : ndarray of shape (n,), uint64
        Distinct; changed in place.
    count : int64
        Keys to look at.
    wanted : int64
        How many are wanted, from 1 to ``count``.

    Notes
    -----
    Cost O(count) on average: Hoare's selection about the middle key.
    """
    low, high = 0, count - 1
    while low < high:
        pivot = keys[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while keys[i] < pivot:
                i += 1
            while keys[j] > pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if wanted - 1 <= j:
            high = j
        elif wanted - 1 >= i:
            low = i
        else:
            break


@kernel
def append_marked(values: Any, step: Any, base: Any, mask: Any, first: Any, keys: Any, held: Any) -> Any:
    """Append the keys of the marked places of a block.

    Parameters
    ----------
    values : ndarray of shape (64,), uint16 or float32
        Of the block.
    step, base : float32
        A score is ``base + step * value``.
    mask : uint64
        Which places.
    first : int64
        Number of the first.
    keys : ndarray of shape (n,), uint64
        With room for the marked ones.
    held : int64
        Keys that are there.

    Returns
    -------
    int64
        Keys that are there now.
    """
    while mask:
        j = trailing_zeros(mask)
        mask &= mask - np.uint64(1)
        keys[held] = key_of(base + step * np.float32(values[j]), first + j)
        held += 1
    return held
