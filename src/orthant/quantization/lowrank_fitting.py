"""Fitting of low-rank codes: directions of blocks, codewords within them, and choices that make up for each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, message
from orthant.kernels.clustering.kmeans import kmeans
from orthant.kernels.clustering.nearest import nearest
from orthant.types import FloatArray, IdArray

__all__ = ["as_moments", "block_directions", "blocks_of", "chosen_by_error", "codewords", "level_rows"]

_ROWS_PER_WORD = 100
_RIDGE = 0.01


def blocks_of(matrix: FloatArray, block: int) -> FloatArray:
    """Cut the rows of a matrix into blocks of neighbouring columns.

    Parameters
    ----------
    matrix : ndarray of shape (n, c), float32
        Rows.
    block : int
        m, which must divide c.

    Returns
    -------
    ndarray of shape (n c / m, m), float32
        Row by row, so that no block holds values of two rows.

    Raises
    ------
    InputError
        A block that does not divide the columns.
    """
    if matrix.shape[1] % block:
        given = f"blocks of {block} for rows of {matrix.shape[1]} values"
        raise InputError(message(given, "a divisor of the values", "choose another block"))
    return np.ascontiguousarray(matrix).reshape(-1, block)


def block_directions(blocks: FloatArray, rank: int) -> FloatArray:
    """Return the directions that hold most of the blocks' squares.

    Parameters
    ----------
    blocks : ndarray of shape (n, m), float32
        Blocks of weights.
    rank : int
        How many, from 1 to m.

    Returns
    -------
    ndarray of shape (m, rank), float32
        Orthonormal columns, those of a truncated SVD of the blocks.
    """
    if rank == blocks.shape[1]:
        # A rotation changes no distance; without one, plain codes of blocks are what they always were.
        return np.eye(rank, dtype=np.float32)
    wide = blocks.astype(np.float64)
    return np.ascontiguousarray(np.linalg.eigh(wide.T @ wide)[1][:, ::-1][:, :rank].astype(np.float32))


def codewords(rows: FloatArray, size: int, *, iterations: int, seed: int) -> FloatArray:
    """Find codewords by k-means on a sample of rows.

    Parameters
    ----------
    rows : ndarray of shape (n, d), float32
        Codes before they are rounded; at least ``size``.
    size : int
        k.
    iterations : int
        Passes at most.
    seed : int
        Of the sample, 100 rows for each codeword and the longest rows among them, and of the first codewords.

    Returns
    -------
    ndarray of shape (k, d), float32
        Centroids.

    Raises
    ------
    InputError
        Fewer rows than codewords.
    """
    if len(rows) < size:
        given = f"{size} codewords for {len(rows)} blocks"
        raise InputError(message(given, "more blocks than codewords", "lower codebook_size or block, or leave it out"))
    rng = np.random.default_rng(seed)
    if len(rows) > size * _ROWS_PER_WORD:
        # Transformers have a few weights far larger than all others, on which everything depends; a sample misses them.
        largest = np.argpartition(np.einsum("ij,ij->i", rows, rows), len(rows) - size)[-size:]
        drawn = rng.permutation(len(rows))[: size * (_ROWS_PER_WORD - 1)]
        rows = np.ascontiguousarray(rows[np.union1d(largest, drawn)])
    return kmeans(rows, size, seed=rng, iterations=iterations).centroids


def level_rows(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Bring rows to a root mean square of 1.

    Parameters
    ----------
    matrix : ndarray of shape (n, c), float32
        Rows.

    Returns
    -------
    tuple of ndarray of shape (n, c), float32, and ndarray of shape (n,), float32
        The rows, and what each was divided by, already rounded to float16.
    """
    scales = np.sqrt(np.einsum("ij,ij->i", matrix, matrix) / matrix.shape[1]).astype(np.float16).astype(np.float32)
    scales = np.where(scales > 0, scales, np.float32(1))
    return (matrix / scales[:, None]).astype(np.float32, copy=False), scales.astype(np.float32, copy=False)


def as_moments(moments: npt.ArrayLike, columns: int) -> npt.NDArray[np.float64]:
    """Check second moments of inputs.

    Parameters
    ----------
    moments : array-like of shape (c, c)
        ``X^T X`` of what the matrix is multiplied with.
    columns : int
        c.

    Returns
    -------
    ndarray of shape (c, c), float64
        The same.

    Raises
    ------
    DimensionError
        Another shape.
    InputError
        NaN or infinity, or no input at all.
    """
    found = np.asarray(moments, dtype=np.float64)
    if found.shape != (columns, columns):
        given = f"second moments of shape {found.shape} for {columns} columns"
        raise DimensionError(message(given, f"({columns}, {columns})", "pass X.T @ X of the layer's inputs"))
    if not np.isfinite(found).all() or not np.trace(found) > 0:
        raise InputError(message("second moments that are not finite or all 0", "sums of squares", "check the inputs"))
    return found


def chosen_by_error(
    matrix: FloatArray, words: FloatArray, lift: FloatArray, moments: npt.NDArray[np.float64]
) -> IdArray:
    """Choose codes from left to right, moving what a block loses to the columns that are still free.

    Parameters
    ----------
    matrix : ndarray of shape (n, c), float32
        Rows.
    words : ndarray of shape (k, d) or (b, k, d), float32
        Codewords; several books are for as many equal groups of neighbouring blocks.
    lift : ndarray of shape (m, d), float32
        L.
    moments : ndarray of shape (c, c), float64
        ``X^T X`` of the inputs.

    Returns
    -------
    ndarray of shape (n, c / m), int64
        Codes.

    Notes
    -----
    With U the upper Cholesky factor of ``(X^T X + ridge)^-1``, the error e of block b is made up for by
    ``W[:, after] -= e U[b, b]^-1 U[b, after]``: the least-squares answer of the columns after it, whose own codes are
    chosen then. The ridge is a hundredth of the mean moment. Cost: O(c^3 + n c^2 / 2 + n c k).

    References
    ----------
    Frantar, Ashkboos, Hoefler, Alistarh: GPTQ. ICLR 2023, arXiv 2210.17323, section 3. Blocks instead of single
    columns as in van Baalen et al.: GPTVQ. arXiv 2402.15319, section 3.
    """
    block, columns = len(lift), matrix.shape[1]
    left = matrix.astype(np.float64)
    ridge = _RIDGE * np.trace(moments) / columns
    upper = np.linalg.cholesky(np.linalg.inv(moments + ridge * np.eye(columns))).T
    wholes = (words if words.ndim == 3 else words[None]) @ lift.T
    count = columns // block
    out = np.empty((len(matrix), count), dtype=np.int64)
    for j in range(count):
        here, whole = slice(j * block, (j + 1) * block), wholes[j * len(wholes) // count]
        out[:, j] = nearest(np.ascontiguousarray(left[:, here], dtype=np.float32), whole)
        error = np.linalg.solve(upper[here, here].T, (left[:, here] - whole[out[:, j]]).T).T
        left[:, here.stop :] -= error @ upper[here, here.stop :]
    return out
