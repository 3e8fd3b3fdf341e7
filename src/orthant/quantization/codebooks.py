"""What product and residual quantizers share: codes as bytes, their range, and scores by tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.kernels.clustering.table_scores import nibble_tables, table_sums
from orthant.types import CodeArray, FloatArray
from orthant.validate import as_codes, as_vectors

__all__ = [
    "BITS",
    "as_book_codes",
    "as_codebooks",
    "bits_for",
    "check_bits",
    "code_bytes",
    "codes_of",
    "indices_of",
    "scan_sums",
    "scan_tables",
    "training_sample",
]

BITS = (4, 8, 16)
"""Bits that a code may have."""

# As many as change the codebooks by less than another seed does.
_ROWS_PER_CODE = 256
_FEWEST_WITH_BEAM = 16_384


def check_bits(bits: Any) -> int:
    """Return bits if a code may have so many.

    Parameters
    ----------
    bits : int
        4, 8 or 16.

    Returns
    -------
    int
        The same.

    Raises
    ------
    InputError
        Another value.
    """
    if isinstance(bits, bool) or bits not in BITS:
        raise InputError(message(f"bits={bits!r}", "4, 8 or 16", "choose bits among them"))
    return int(bits)


def bits_for(entries: int) -> int:
    """Return the bits that a code of a book needs.

    Parameters
    ----------
    entries : int
        Codes of the book.

    Returns
    -------
    int
        4, 8 or 16.

    Raises
    ------
    InputError
        More than 65,536 entries.
    """
    for bits in BITS:
        if entries <= 1 << bits:
            return bits
    raise InputError(message(f"codebooks of {entries} entries", "at most 65536", "split them over more levels"))


def code_bytes(books: int, bits: int) -> int:
    """Return the bytes of one row of codes.

    Parameters
    ----------
    books : int
        Codes of a row.
    bits : int
        4, 8 or 16 for each.

    Returns
    -------
    int
        ``ceil(books * bits / 8)``.
    """
    return (books * bits + 7) // 8


def codes_of(indices: npt.NDArray[Any], bits: int) -> CodeArray:
    """Write indices as bytes.

    Parameters
    ----------
    indices : ndarray of shape (n, books), integer
        From 0 to 2^bits - 1.
    bits : int
        4, 8 or 16.

    Returns
    -------
    ndarray of shape (n, code_bytes), uint8
        4 bits put books j and j + ceil(books / 2) into the low and the high half of a byte; 16 bits are little-endian.
    """
    if bits == 16:
        return np.ascontiguousarray(indices.astype("<u2")).view(np.uint8)
    plain = indices.astype(np.uint8)
    if bits == 8:
        return plain
    half = (plain.shape[1] + 1) // 2
    out = np.ascontiguousarray(plain[:, :half])
    out[:, : plain.shape[1] - half] |= plain[:, half:] << 4
    return out


def indices_of(codes: CodeArray, books: int, bits: int) -> npt.NDArray[Any]:
    """Read indices from bytes.

    Parameters
    ----------
    codes : ndarray of shape (n, code_bytes), uint8
        What ``codes_of`` wrote.
    books : int
        Codes of a row.
    bits : int
        4, 8 or 16.

    Returns
    -------
    ndarray of shape (n, books), uint8 or uint16
        The indices; a view where it can be one.
    """
    if bits == 16:
        return np.ascontiguousarray(codes).view("<u2")
    if bits == 8:
        return codes
    return np.concatenate([codes & 15, codes[:, : books // 2] >> 4], axis=1)


def as_book_codes(codes: npt.ArrayLike, *, books: int, bits: int, entries: int) -> CodeArray:
    """Return codes that these books can read.

    Parameters
    ----------
    codes : array-like of shape (n, code_bytes), uint8
        What ``encode`` returned.
    books : int
        Codes of a row.
    bits : int
        4, 8 or 16.
    entries : int
        Codes of a book, at most 2^bits.

    Returns
    -------
    ndarray of shape (n, code_bytes), uint8, C-contiguous
        The codes.

    Raises
    ------
    InputError
        Another dtype or width, or a code that no book has.
    """
    table = as_codes(codes, size=code_bytes(books, bits))
    if entries < 1 << bits and len(table):
        largest = int(indices_of(table, books, bits).max())
        if largest >= entries:
            given, expected = f"code {largest}", f"codes below {entries}, the entries of a codebook"
            raise InputError(message(given, expected, "pass what encode of this quantizer returned"))
    return table


def as_codebooks(codebooks: npt.ArrayLike, *, name: str = "codebooks") -> FloatArray:
    """Return codebooks as one finite array of their own.

    Parameters
    ----------
    codebooks : array-like of shape (books, entries, width)
        Vectors for each code of each book; all books have as many.
    name : str, default "codebooks"
        How the argument is called in an error.

    Returns
    -------
    ndarray of shape (books, entries, width), float32
        A copy.

    Raises
    ------
    InputError
        Another number of axes, an empty one, NaN or infinity, or more than 65,536 entries.
    """
    array = np.asarray(codebooks)
    if array.ndim != 3 or not array.size:
        expected = "three axes: books, entries, width, none of them empty"
        raise DimensionError(message(f"{name} of shape {array.shape}", expected, "stack one matrix for each book"))
    bits_for(array.shape[1])
    return as_vectors(array.reshape(-1, array.shape[2]), name=name).reshape(array.shape).copy()


def training_sample(X: FloatArray, entries: int, rng: np.random.Generator, *, beam: int = 1) -> FloatArray:
    """Return the rows that codebooks are fitted on: all, or 256 for each code.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    entries : int
        Codes of a book.
    rng : numpy.random.Generator
        Where the randomness comes from.
    beam : int, default 1
        Partial codes of each row that are rows to fit on as well: so many times fewer, but 16,384 at least.

    Returns
    -------
    ndarray of shape (m, d), float32
        Rows in their order.
    """
    most = _ROWS_PER_CODE * entries
    most = min(most, max(most // beam, _FEWEST_WITH_BEAM))
    return X if len(X) <= most else X[np.sort(rng.choice(len(X), most, replace=False))]


def scan_sums(tables: FloatArray, codes: CodeArray, bits: int) -> npt.NDArray[np.float64]:
    """Add up what tables say of each row of codes.

    Parameters
    ----------
    tables : ndarray of shape (q, books, entries), float32
        What each codeword is worth to each query; for 4 bits, what ``nibble_tables`` made of them.
    codes : ndarray of shape (n, code_bytes), uint8
        Codes, checked.
    bits : int
        4, 8 or 16.

    Returns
    -------
    ndarray of shape (q, n), float64
        The sums.
    """
    read = codes if bits < 16 else indices_of(codes, tables.shape[1], bits)
    return table_sums(tables, read).astype(np.float64)


def scan_tables(tables: FloatArray, bits: int) -> FloatArray:
    """Return tables in the form that ``scan_sums`` reads.

    Parameters
    ----------
    tables : ndarray of shape (q, books, entries), float32
        What each codeword is worth to each query.
    bits : int
        4, 8 or 16.

    Returns
    -------
    ndarray of shape (q, books, entries) or (q, ceil(books / 2), 256), float32
        Joined for two codes in a byte where these have 4 bits.
    """
    return nibble_tables(tables) if bits == 4 else tables
