"""The layout that byte shuffles scan, and the tables that they look up."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.kernels.binary.planes import grid_values
from orthant.types import CodeArray, FloatArray

__all__ = ["BLOCK", "block_levels", "pairs_for", "quantised_tables", "symmetric_tables", "unblock_levels"]

BLOCK = 64
"""Rows of a block: one for each byte of the widest register."""


def pairs_for(dim: int, bits: int) -> int:
    """Return how many bytes of a block a row takes: each holds two groups of 4 bits.

    Parameters
    ----------
    dim : int
        Dimensions.
    bits : int
        1, 2 or 4; a group is of 4 / bits dimensions.

    Returns
    -------
    int
        ``ceil(dim * bits / 8)``.
    """
    return (dim * bits + 7) // 8


def block_levels(levels: CodeArray, bits: int) -> CodeArray:
    """Lay rows out in blocks of 64, pair of groups by pair of groups.

    Parameters
    ----------
    levels : ndarray of shape (n, dim), uint8
        From 0 to 2^bits - 1.
    bits : int
        1, 2 or 4.

    Returns
    -------
    ndarray of shape (ceil(n / 64), pairs, 64), uint8
        Byte j of pair p holds groups 2 p and 2 p + 1 of row j, in its low and its high half; within a group the first
        dimension has the lowest bits. Rows and dimensions that are left over are 0.
    """
    n, dim = levels.shape
    pairs, each = pairs_for(dim, bits), 8 // bits
    wide = np.zeros((-(-n // BLOCK) * BLOCK, pairs * each), dtype=np.uint8)
    wide[:n, :dim] = levels
    joined = np.zeros((len(wide), pairs), dtype=np.uint8)
    for i in range(each):
        joined |= wide[:, i::each] << (bits * i)
    return np.ascontiguousarray(joined.reshape(-1, BLOCK, pairs).transpose(0, 2, 1))


def unblock_levels(blocks: CodeArray, count: int, dim: int, bits: int) -> CodeArray:
    """Return the levels of rows laid out in blocks.

    Parameters
    ----------
    blocks : ndarray of shape (blocks, pairs, 64), uint8
        What ``block_levels`` returned.
    count : int
        Rows.
    dim : int
        Dimensions.
    bits : int
        1, 2 or 4.

    Returns
    -------
    ndarray of shape (count, dim), uint8
        The levels.
    """
    rows = blocks.transpose(0, 2, 1).reshape(-1, blocks.shape[1])[:count]
    parts = [rows >> (bits * i) & ((1 << bits) - 1) for i in range(8 // bits)]
    return np.ascontiguousarray(np.stack(parts, axis=2).reshape(len(rows), rows.shape[1] * (8 // bits))[:, :dim])


def _group_products(queries: npt.NDArray[np.float64], bits: int) -> npt.NDArray[np.float64]:
    """Inner products of each group of each query with the 16 things that a group of a code may be."""
    each = 4 // bits
    groups = 2 * pairs_for(queries.shape[1], bits)
    wide = np.zeros((len(queries), groups * each))
    wide[:, : queries.shape[1]] = queries
    codes = np.arange(16, dtype=np.uint8)[:, None] >> (bits * np.arange(each, dtype=np.uint8)) & ((1 << bits) - 1)
    return wide.reshape(len(queries), groups, each) @ grid_values(codes, bits).T.astype(np.float64)


def symmetric_tables(levels: CodeArray, bits: int) -> tuple[CodeArray, FloatArray, FloatArray]:
    """Return tables with which a scan gives exact inner products of coded queries and coded rows.

    Parameters
    ----------
    levels : ndarray of shape (q, dim), uint8
        The queries' own codes.
    bits : int
        1, 2 or 4.

    Returns
    -------
    tables : ndarray of shape (q, groups, 16), uint8
        ``(<q_g, x> - min_x <q_g, x>) / 2``, at most 4, 18 or 225 for 1, 2 or 4 bits.
    steps, offsets : ndarray of shape (q,), float32
        A sum s of entries stands for ``step s + offset``.

    Notes
    -----
    Values of the grid are odd, so two inner products of a group differ by an even number: half of it is exact.

    References
    ----------
    Gan et al.: Binary embedding-based retrieval at Tencent. arXiv 2302.08714, section 3.4.
    """
    products = _group_products(grid_values(levels, bits).astype(np.float64), bits)
    low = products.min(axis=2, keepdims=True)
    tables = ((products - low) / 2).astype(np.uint8)
    return tables, np.full(len(levels), 2.0, np.float32), low.sum(axis=(1, 2)).astype(np.float32)


def quantised_tables(
    queries: FloatArray, bits: int, *, entries: int = 63
) -> tuple[CodeArray, FloatArray, FloatArray]:
    """Return tables of bytes for queries that are not coded.

    Parameters
    ----------
    queries : ndarray of shape (q, dim), float32
        Queries in the space of the codes.
    bits : int
        1, 2 or 4.
    entries : int, default 63
        Largest entry, from 1 to 255; less where the sums of all groups would not fit 16 bits. More are finer and must be widened to 16 bits more often; the error of a sum is
        about ``sqrt(groups / 12)`` steps of ``range / entries``.

    Returns
    -------
    tables : ndarray of shape (q, groups, 16), uint8
        ``round((<q_g, x> - min_x <q_g, x>) / step)``.
    steps, offsets : ndarray of shape (q,), float32
        A sum s of entries stands for ``step s + offset``.
    """
    products = _group_products(queries.astype(np.float64), bits)
    low = products.min(axis=2, keepdims=True)
    products -= low
    steps = products.max(axis=(1, 2)) / max(1, min(entries, 65_535 // products.shape[1] - 1))
    steps[steps == 0] = 1.0
    tables = np.rint(products / steps[:, None, None]).astype(np.uint8)
    return tables, steps.astype(np.float32), low.sum(axis=(1, 2)).astype(np.float32)
