"""Sets of rows as uint64 bitmaps: bit r of word r // 64 stands for row r.

Bitmaps of different length are compatible: what lies beyond the end is zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.types import BitmapArray, IdArray

__all__ = [
    "clear_rows",
    "contains_rows",
    "count_bits",
    "from_mask",
    "from_rows",
    "resize",
    "set_rows",
    "to_mask",
    "to_rows",
    "words_for",
]

_ONE = np.uint64(1)
_LOW6 = np.int64(63)


def words_for(size: int) -> int:
    """Return the number of 64-bit words that hold ``size`` rows.

    Parameters
    ----------
    size : int
        Rows 0 to size - 1 must fit.

    Returns
    -------
    int
        ``ceil(size / 64)``.
    """
    return (size + 63) >> 6


def from_rows(rows: IdArray, size: int | None = None) -> BitmapArray:
    """Return the bitmap of some rows.

    Parameters
    ----------
    rows : ndarray of shape (m,), int64
        Non-negative rows in any order; repeats are harmless.
    size : int, optional
        Rows the bitmap must cover. Left out, just enough for the largest.

    Returns
    -------
    ndarray of shape (ceil(size / 64),), uint64
        The bitmap.
    """
    rows = np.asarray(rows, dtype=np.int64)
    needed = int(rows.max()) + 1 if len(rows) else 0
    mask = np.zeros(words_for(max(needed, size or 0)) * 64, dtype=bool)
    mask[rows] = True
    return from_mask(mask)


def from_mask(mask: npt.NDArray[np.bool_]) -> BitmapArray:
    """Return the bitmap of a boolean mask.

    Parameters
    ----------
    mask : ndarray of shape (n,), bool
        Element r says whether row r is in the set.

    Returns
    -------
    ndarray of shape (ceil(n / 64),), uint64
        The bitmap.
    """
    padded = words_for(len(mask)) * 64
    if padded != len(mask):
        mask = np.concatenate([mask, np.zeros(padded - len(mask), dtype=bool)])
    return np.packbits(mask, bitorder="little").view("<u8").astype(np.uint64, copy=False)


def to_mask(bitmap: BitmapArray, size: int) -> npt.NDArray[np.bool_]:
    """Return a boolean mask of ``size`` rows.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set.
    size : int
        Length wanted; shorter bitmaps are padded with False, longer ones cut.

    Returns
    -------
    ndarray of shape (size,), bool
        The mask.
    """
    words = resize(bitmap, words_for(size))
    bits = np.unpackbits(np.ascontiguousarray(words).astype("<u8", copy=False).view(np.uint8), bitorder="little")
    return bits[:size].view(np.bool_)


def to_rows(bitmap: BitmapArray) -> IdArray:
    """Return the rows of a bitmap in ascending order.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set.

    Returns
    -------
    ndarray of shape (m,), int64
        The rows.
    """
    return np.flatnonzero(to_mask(bitmap, len(bitmap) * 64)).astype(np.int64, copy=False)


def resize(bitmap: BitmapArray, words: int) -> BitmapArray:
    """Return the bitmap with exactly ``words`` words, zero-padded or cut.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set.
    words : int
        Length wanted.

    Returns
    -------
    ndarray of shape (words,), uint64
        The same array when the length already fits.
    """
    if len(bitmap) == words:
        return bitmap
    if len(bitmap) > words:
        return bitmap[:words]
    out = np.zeros(words, dtype=np.uint64)
    out[: len(bitmap)] = bitmap
    return out


def count_bits(bitmap: BitmapArray) -> int:
    """Return the number of rows in a bitmap.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set.

    Returns
    -------
    int
        Its size.
    """
    return int(np.bitwise_count(bitmap).sum(dtype=np.int64))


def contains_rows(bitmap: BitmapArray, rows: IdArray) -> npt.NDArray[np.bool_]:
    """Return for each row whether it is in the set.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set.
    rows : ndarray of shape (m,), int64
        Rows to look up; those beyond the bitmap are absent.

    Returns
    -------
    ndarray of shape (m,), bool
        Membership.
    """
    rows = np.asarray(rows, dtype=np.int64)
    out = np.zeros(len(rows), dtype=bool)
    inside = rows < len(bitmap) * 64
    chosen = rows[inside]
    out[inside] = (bitmap[chosen >> 6] >> (chosen & _LOW6).astype(np.uint64)) & _ONE != 0
    return out


def set_rows(bitmap: BitmapArray, rows: IdArray) -> BitmapArray:
    """Return a copy with the rows added, grown where needed.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set; not changed.
    rows : ndarray of shape (m,), int64
        Rows to add.

    Returns
    -------
    ndarray of uint64
        The union.
    """
    added = from_rows(rows)
    words = max(len(bitmap), len(added))
    return resize(bitmap, words) | resize(added, words)


def clear_rows(bitmap: BitmapArray, rows: IdArray) -> BitmapArray:
    """Return a copy with the rows taken out.

    Parameters
    ----------
    bitmap : ndarray of uint64
        The set; not changed.
    rows : ndarray of shape (m,), int64
        Rows to take out; absent ones are harmless.

    Returns
    -------
    ndarray of uint64
        The difference, same length.
    """
    return bitmap & ~resize(from_rows(rows), len(bitmap))
