"""A matrix in a few bits a weight: blocks of its rows as codes of low rank, one codebook and one small map for all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.errors import DimensionError, InputError, StoreCorruptedError, message
from orthant.kernels.clustering.nearest import nearest
from orthant.kernels.clustering.table_scores import table_sums
from orthant.quantization import codebooks as books
from orthant.quantization import lowrank_fitting as fitting
from orthant.types import CodeArray, FloatArray
from orthant.validate import as_vectors, check_count

__all__ = ["LowRankVQMatrix"]

_KIND = "quantization.low_rank_vq"
_PARTS = ("codes", "codebook", "lift")
_LARGEST_BOOK = 256
# A look-up is taken to cost about as much as this many multiplications of a matrix product.
_LOOK_UP = 8


class LowRankVQMatrix:
    """Hold a matrix of weights or embeddings in 8 / m bits for each value, and look rows up or multiply with it.

    For weights and tables that must shrink by more than the 4 times of 8-bit integers. Without training the matrix is
    no more than an approximation of that size; `orthant.learn.compression.compress` trains a network around its codes
    and returns these. The size follows from ``block`` alone, whatever the rank.

    Parameters
    ----------
    codes : array-like of shape (n, code_bytes), uint8
        Codes of the blocks of each row: one byte each, or two to a byte where the codebook has at most 16 entries.
    codebook : array-like of shape (k, d)
        Codewords C, kept in float16; k from 2 to 256.
    lift : array-like of shape (m, d)
        L, kept in float16: what turns a codeword into m weights.
    columns : int
        Values of a row; a multiple of m.
    scales : array-like of shape (n,), optional
        What each row is multiplied with, kept in float16.

    Attributes
    ----------
    codes_ : ndarray of shape (n, code_bytes), uint8
        Codes.
    codebook_, lift_ : ndarray of shapes (k, d) and (m, d), float16
        C and L.
    scales_ : ndarray of shape (n,), float16, or None
        Of the rows.
    shape : tuple of int
        (n, columns).

    Raises
    ------
    DimensionError
        Parts that do not fit each other.
    InputError
        Codes beyond the codebook, or values that float16 does not hold.

    Notes
    -----
    Block j of row i is ``s_i L C[code_ij]``. With n_b = n columns / m blocks it takes
    ``n_b bits / 8 + 2 (k d + m d) + 2 n`` bytes, the last term with scales only; bits is 4 or 8.

    References
    ----------
    Zhu, Wang, Cheng, Gao: Learning low-rank representations for model compression. arXiv 2211.11397, section 3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> W = rng.standard_normal((64, 2)) @ rng.standard_normal((2, 32))
    >>> small = LowRankVQMatrix.compress(W, block=4, rank=3, codebook_size=64)
    >>> small.shape, small.nbytes, W.astype(np.float32).nbytes
    ((64, 32), 920, 8192)
    >>> bool(np.allclose(small.lookup([3]), small.decode()[3]))
    True
    """

    def __init__(
        self,
        codes: npt.ArrayLike,
        codebook: npt.ArrayLike,
        lift: npt.ArrayLike,
        *,
        columns: int,
        scales: npt.ArrayLike | None = None,
    ) -> None:
        self.codebook_, self.lift_ = _half(codebook, "codebook", 2), _half(lift, "lift", 2)
        if self.codebook_.shape[1] != self.lift_.shape[1]:
            given = f"a codebook of width {self.codebook_.shape[1]} and a lift of width {self.lift_.shape[1]}"
            raise DimensionError(message(given, "the same", "pass parts of one matrix"))
        check_count(len(self.codebook_), name="codebook_size", minimum=2, maximum=_LARGEST_BOOK)
        block, columns = len(self.lift_), check_count(columns, name="columns")
        if columns % block:
            raise DimensionError(message(f"{columns} columns", f"a multiple of {block}", "pass parts of one matrix"))
        self._bits = books.bits_for(len(self.codebook_))
        self.codes_: CodeArray = books.as_book_codes(
            codes, books=columns // block, bits=self._bits, entries=len(self.codebook_)
        )
        self.shape = (len(self.codes_), columns)
        self.scales_ = None if scales is None else _half(scales, "scales", 1)
        if self.scales_ is not None and len(self.scales_) != len(self.codes_):
            given = f"{len(self.scales_)} scales for {len(self.codes_)} rows"
            raise DimensionError(message(given, "as many", "pass parts of one matrix"))

    @classmethod
    def compress(
        cls,
        matrix: npt.ArrayLike,
        *,
        block: int = 8,
        rank: int | None = None,
        codebook_size: int = 256,
        scaled: bool = False,
        moments: npt.ArrayLike | None = None,
        iterations: int = 15,
        seed: int = 0,
    ) -> LowRankVQMatrix:
        """Approximate a matrix as it is, without training.

        Parameters
        ----------
        matrix : array-like of shape (n, c)
            Weights (out, in) or a table of embeddings.
        block : int, default 8
            m: values that share a code; must divide c. Bits for each value are 8 / m, or 4 / m with up to 16 codewords.
            Larger blocks lose more.
        rank : int, optional
            d, from 1 to m; m where left out. Below m an untrained matrix only loses: the gain needs training.
        codebook_size : int, default 256
            k, from 2 to 256, and no more than there are blocks.
        scaled : bool, default False
            Keep the size of each row apart, in 2 bytes: for rows of different lengths.
        moments : array-like of shape (c, c), optional
            ``X^T X`` of inputs that the matrix will be multiplied with. Codes are then chosen for the products
            ``X W^T`` and not for W, at the cost of a Cholesky factor.
        iterations : int, default 15
            Passes of k-means at most.
        seed : int, default 0
            Of k-means.

        Returns
        -------
        LowRankVQMatrix
            The approximation.

        Raises
        ------
        InputError
            A block that does not divide c, a rank above the block, more codewords than blocks, NaN or infinity.
        DimensionError
            Moments of another shape.

        Notes
        -----
        Cost: O(n c m) for the directions, at most 100 k rows in k-means, O(n c k d / m) for the codes.
        """
        rows = as_vectors(matrix, name="matrix")
        block = check_count(block, name="block")
        blocks = fitting.blocks_of(rows, block)
        rank = check_count(block if rank is None else rank, name="rank", maximum=block)
        check_count(codebook_size, name="codebook_size", minimum=2, maximum=_LARGEST_BOOK)
        scales = None
        if scaled:
            rows, scales = fitting.level_rows(rows)
            blocks = fitting.blocks_of(rows, block)
        lift = fitting.block_directions(blocks, rank).astype(np.float16).astype(np.float32)
        narrow = np.ascontiguousarray(blocks @ lift)
        words = fitting.codewords(
            narrow,
            codebook_size,
            iterations=check_count(iterations, name="iterations"),
            seed=check_count(seed, name="seed", minimum=0),
        )
        words = words.astype(np.float16).astype(np.float32)
        if moments is None:
            labels = nearest(narrow, words).reshape(len(rows), -1)
        else:
            labels = fitting.chosen_by_error(rows, words, lift, fitting.as_moments(moments, rows.shape[1]))
        codes = books.codes_of(labels, books.bits_for(codebook_size))
        return cls(codes, words, lift, columns=rows.shape[1], scales=scales)

    @property
    def block(self) -> int:
        """Return the values that share a code, m."""
        return len(self.lift_)

    @property
    def rank(self) -> int:
        """Return the width of a codeword, d."""
        return self.lift_.shape[1]

    @property
    def nbytes(self) -> int:
        """Return the bytes of codes, codebook, lift and scales."""
        parts = (self.codes_, self.codebook_, self.lift_, self.scales_)
        return sum(part.nbytes for part in parts if part is not None)

    def _whole(self) -> FloatArray:
        """Return what each code stands for, shape (k, m)."""
        return self.codebook_.astype(np.float32) @ self.lift_.astype(np.float32).T

    def indices(self) -> npt.NDArray[np.uint8]:
        """Return the codes, one byte for each block.

        Returns
        -------
        ndarray of shape (n, c / m), uint8
            Rows of the codebook.
        """
        return books.indices_of(self.codes_, self.shape[1] // self.block, self._bits)

    def decode(self) -> FloatArray:
        """Return the matrix that the codes stand for.

        Returns
        -------
        ndarray of shape (n, c), float32
            A new array.
        """
        return self._rows(self.indices(), self.scales_)

    def _rows(self, indices: npt.NDArray[np.uint8], scales: npt.NDArray[np.float16] | None) -> FloatArray:
        out = self._whole()[indices].reshape(len(indices), self.shape[1])
        return out if scales is None else out * scales.astype(np.float32)[:, None]

    def lookup(self, ids: npt.ArrayLike) -> FloatArray:
        """Return some rows; nothing else is decoded.

        Parameters
        ----------
        ids : array-like of shape (q,), int
            Row numbers, from 0; they may repeat.

        Returns
        -------
        ndarray of shape (q, c), float32
            Rows in the order asked for.

        Raises
        ------
        InputError
            A number that is no row, or no integer.
        """
        chosen = np.asarray(ids)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            given = f"ids of shape {chosen.shape} and type {chosen.dtype}"
            raise InputError(message(given, "integers along one axis", "check the ids"))
        chosen = chosen.astype(np.int64)
        if len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(self.codes_):
            given = f"rows from {chosen.min()} to {chosen.max()}"
            raise InputError(message(given, f"0 to {len(self.codes_) - 1}", "check the ids"))
        picked = books.indices_of(self.codes_[chosen], self.shape[1] // self.block, self._bits)
        return self._rows(picked, None if self.scales_ is None else self.scales_[chosen])

    def matmul(self, X: npt.ArrayLike) -> FloatArray:
        """Return ``X W^T``, by tables of the codewords where that is less work than decoding.

        Parameters
        ----------
        X : array-like of shape (q, c)
            Inputs.

        Returns
        -------
        ndarray of shape (q, n), float32
            As of the decoded matrix, up to rounding.

        Raises
        ------
        DimensionError
            Another number of columns.

        Notes
        -----
        By tables: ``T_j[k] = <x_j, L C_k>`` for the q (c / m) blocks, then q n c / m look-ups. Decoding costs n c once
        and q n c multiplications, which a matrix product does many times faster than look-ups. Tables are taken for one
        input, and for few inputs of blocks of more than 8.
        """
        rows = as_vectors(X, dim=self.shape[1], name="X")
        tables_cost = len(rows) * self.shape[1] * (len(self.codebook_) + len(self.codes_) * _LOOK_UP / self.block)
        decoded_cost = self.shape[0] * self.shape[1] * (_LOOK_UP / 2 + len(rows))
        if not len(rows) or tables_cost > decoded_cost:
            return rows @ self.decode().T
        parts = rows.reshape(len(rows), -1, self.block)
        out = table_sums(np.ascontiguousarray(parts @ self._whole().T), self.indices())
        return out if self.scales_ is None else out * self.scales_.astype(np.float32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the parts by name, as they are stored.

        Returns
        -------
        dict of str to ndarray of shapes (n, code_bytes), (k, d), (m, d) and, with scales, (n,)
            ``codes``, ``codebook``, ``lift`` and, where there are some, ``scales``.
        """
        out: dict[str, npt.NDArray[Any]] = {"codes": self.codes_, "codebook": self.codebook_, "lift": self.lift_}
        return out if self.scales_ is None else {**out, "scales": self.scales_}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], *, columns: int) -> LowRankVQMatrix:
        """Make a matrix of stored parts.

        Parameters
        ----------
        arrays : mapping of str to ndarray of any shape
            As ``arrays`` returned them.
        columns : int
            Values of a row.

        Returns
        -------
        LowRankVQMatrix
            The matrix.

        Raises
        ------
        StoreCorruptedError
            A part is missing.
        """
        missing = [name for name in _PARTS if name not in arrays]
        if missing:
            given = f"a stored matrix without {', '.join(missing)}"
            raise StoreCorruptedError(message(given, ", ".join(_PARTS), "restore the file"))
        return cls(*(arrays[name] for name in _PARTS), columns=columns, scales=arrays.get("scales"))

    def save(self, path: str | Path) -> None:
        """Write the matrix as an artefact.

        Parameters
        ----------
        path : str or Path
            A folder, created if missing.
        """
        write_artifact(path, kind=_KIND, arrays=self.arrays(), config={"columns": self.shape[1]})

    @classmethod
    def load(cls, path: str | Path) -> LowRankVQMatrix:
        """Read what ``save`` wrote.

        Parameters
        ----------
        path : str or Path
            The folder.

        Returns
        -------
        LowRankVQMatrix
            The matrix.

        Raises
        ------
        NotFoundError
            No artefact there.
        StoreCorruptedError
            A damaged one.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        return cls.from_arrays(arrays, columns=int(config["columns"]))

    def __repr__(self) -> str:
        """Return shape and settings in one line."""
        return (
            f"LowRankVQMatrix(shape={self.shape}, block={self.block}, rank={self.rank}, "
            f"codebook_size={len(self.codebook_)}, nbytes={self.nbytes})"
        )


def _half(values: npt.ArrayLike, name: str, ndim: int) -> npt.NDArray[np.float16]:
    array = np.asarray(values)
    if array.ndim != ndim or not array.size or not np.issubdtype(array.dtype, np.floating):
        given = f"{name} of shape {array.shape} and type {array.dtype}"
        raise DimensionError(message(given, f"floats in {ndim} dimension(s)", "pass parts of one matrix"))
    with np.errstate(over="ignore"):
        out = np.ascontiguousarray(array, dtype=np.float16)
    if not np.isfinite(out).all():
        given = f"{name} with values that float16 does not hold"
        raise InputError(message(given, "finite values up to 65504", "divide the matrix by a constant"))
    return out
