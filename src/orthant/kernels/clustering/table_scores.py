"""Sums of table entries that codes point at: how queries meet product and residual codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.kernels.rows import plain, uses_kernel
from orthant.types import FloatArray

__all__ = ["nibble_tables", "table_sums"]

_SUMS = {"reassoc", "contract", "nsz"}


def _examples() -> Iterator[tuple[Any, ...]]:
    tables, out = plain(np.zeros((1, 1, 256), np.float32)), np.zeros((1, 1), np.float32)
    for dtype in (np.uint8, np.uint16):
        yield tables, plain(np.zeros((1, 1), dtype)), out


@kernel(group="tables", examples=_examples, fastmath=_SUMS)
def _sum_range(tables: Any, codes: Any, out: Any) -> None:
    books = codes.shape[1]
    for query in range(tables.shape[0]):
        table = tables[query]
        whole = codes.shape[0] // 4 * 4
        # Four rows at a time: one sum alone waits for its own additions.
        for i in range(0, whole, 4):
            a, b, c, d = np.float32(0.0), np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for j in range(books):
                a += table[j, codes[i, j]]
                b += table[j, codes[i + 1, j]]
                c += table[j, codes[i + 2, j]]
                d += table[j, codes[i + 3, j]]
            out[query, i], out[query, i + 1], out[query, i + 2], out[query, i + 3] = a, b, c, d
        for i in range(whole, codes.shape[0]):
            total = np.float32(0.0)
            for j in range(books):
                total += table[j, codes[i, j]]
            out[query, i] = total


def table_sums(
    tables: FloatArray, codes: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], *, compiled: bool | None = None
) -> FloatArray:
    """Return ``sum_j tables[query, j, codes[i, j]]`` for every query and every row of codes.

    Parameters
    ----------
    tables : ndarray of shape (q, books, entries), float32
        What each codeword is worth to each query.
    codes : ndarray of shape (n, books), uint8 or uint16
        Entries, below the number of them.
    compiled : bool, optional
        True and False force the kernel or NumPy.

    Returns
    -------
    ndarray of shape (q, n), float32
        The sums, within ``books * eps`` of the truth relative to the sum of magnitudes.

    Notes
    -----
    Cost: q n books look-ups. A table of one query, 1 KiB for each book of 256, should fit the first cache.
    """
    if uses_kernel("tables", compiled, len(tables) * codes.size):
        out = np.empty((len(tables), len(codes)), dtype=np.float32)
        _sum_range(plain(tables), plain(codes), out)
        return out
    out = np.zeros((len(tables), len(codes)), dtype=np.float32)
    for j in range(codes.shape[1]):
        out += np.take(tables[:, j], codes[:, j], axis=1)
    return out


def nibble_tables(tables: FloatArray) -> FloatArray:
    """Join tables of 4-bit books into tables of the bytes that hold two codes.

    Parameters
    ----------
    tables : ndarray of shape (q, books, entries), float32
        At most 16 entries for each book.

    Returns
    -------
    ndarray of shape (q, ceil(books / 2), 256), float32
        Entry b of table j is the sum for book j, in the low half of b, and book j + ceil(books / 2), in the high half.
    """
    queries, books, entries = tables.shape
    half = (books + 1) // 2
    wide = np.zeros((queries, 2 * half, 16), dtype=np.float32)
    wide[:, :books, :entries] = tables
    return (wide[:, half:, :, None] + wide[:, :half, None, :]).reshape(queries, half, 256)
