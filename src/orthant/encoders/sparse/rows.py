"""Sparse rows: what encoders give and users bring, checked once and kept as three arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, message
from orthant.types import FloatArray
from orthant.validate import check_count

__all__ = ["LARGEST_DIM", "LARGEST_WEIGHT", "SparseRows", "SparseVector", "as_sparse_rows"]

LARGEST_DIM = 2**31 - 1
"""Terms are numbered in 32 bits."""
LARGEST_WEIGHT = 1e12
"""Sums of products of such weights stay far inside float32."""

_FORMS = "a SciPy sparse matrix, or one of {term: weight}, {'indices', 'values'} or None per row"


@dataclass(frozen=True)
class SparseVector:
    """The weights of one record or query.

    Attributes
    ----------
    indices : ndarray of shape (m,), int32
        Ascending term numbers.
    values : ndarray of shape (m,), float32
        Their weights, all above 0.
    """

    indices: npt.NDArray[np.int32]
    values: FloatArray

    def __len__(self) -> int:
        """Return the number of terms."""
        return len(self.indices)

    def to_dict(self) -> dict[int, float]:
        """Return the weights by term number.

        Returns
        -------
        dict of int to float
            Ascending terms.
        """
        return dict(zip(self.indices.tolist(), self.values.tolist(), strict=True))


@dataclass(frozen=True)
class SparseRows:
    """Rows of weights over a vocabulary: finite, above 0, each term once, terms ascending.

    Attributes
    ----------
    indptr : ndarray of shape (n + 1,), int64
        Row i is ``indices[indptr[i]:indptr[i + 1]]``.
    indices : ndarray of shape (m,), int32
        Term numbers.
    values : ndarray of shape (m,), float32
        Weights.
    dim : int
        Terms of the vocabulary.
    """

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    values: FloatArray
    dim: int

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indptr) - 1

    def __getitem__(self, i: int) -> SparseVector:
        """Return one row."""
        span = slice(int(self.indptr[i]), int(self.indptr[i + 1]))
        return SparseVector(self.indices[span], self.values[span])

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Terms of each row, shape (n,)."""
        return np.diff(self.indptr)

    def take(self, rows: npt.NDArray[Any]) -> SparseRows:
        """Return some rows in a given order.

        Parameters
        ----------
        rows : ndarray of shape (k,), int
            Their numbers.

        Returns
        -------
        SparseRows
            A copy.
        """
        sizes = self.sizes[rows]
        indptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)))
        source = np.repeat(self.indptr[:-1][rows] - indptr[:-1], sizes) + np.arange(int(indptr[-1]))
        return SparseRows(indptr, self.indices[source], self.values[source], self.dim)

    def to_csr(self) -> Any:
        """Return the rows as SciPy has them.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, dim), float32
            Sharing the arrays.
        """
        from scipy.sparse import csr_matrix

        return csr_matrix((self.values, self.indices, self.indptr), shape=(len(self), self.dim))

    @classmethod
    def of(cls, parts: Sequence[SparseVector], dim: int) -> SparseRows:
        """Return single rows as one block.

        Parameters
        ----------
        parts : sequence of SparseVector
            Checked rows.
        dim : int
            Terms of the vocabulary.

        Returns
        -------
        SparseRows
            In the order given.
        """
        indptr = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
        none_i, none_v = np.zeros(0, np.int32), np.zeros(0, np.float32)
        indices = np.concatenate([none_i, *(part.indices for part in parts)])
        return cls(indptr, indices, np.concatenate([none_v, *(part.values for part in parts)]), dim)


def as_sparse_rows(values: Any, *, dim: int, name: str = "sparse vectors") -> SparseRows:
    """Return sparse vectors in any accepted form as checked rows.

    Parameters
    ----------
    values : SciPy sparse matrix of shape (n, dim), or sequence of (mapping, SparseVector or None), length n
        A mapping is ``{term: weight}``, or ``{"indices": [...], "values": [...]}``. None is a row without terms.
        Weights of 0 are left out.
    dim : int
        Terms of the vocabulary.
    name : str, default "sparse vectors"
        How the argument is called in an error.

    Returns
    -------
    SparseRows
        Copied where it had to be changed.

    Raises
    ------
    InputError
        A term twice in one row, outside the vocabulary, or a weight below 0 or above 1e12; the row is named. Or
        another form.
    NonFiniteError
        NaN or infinity.
    DimensionError
        A matrix of another width, or indices and values of different lengths.
    """
    dim = check_count(dim, name="dim", maximum=LARGEST_DIM)
    if isinstance(values, SparseRows):
        owners, indices, weights, count = *_parts(values.indptr, values.indices, values.values), len(values)
        width = values.dim
    elif hasattr(values, "tocsr"):
        owners, indices, weights, count, width = _from_scipy(values)
    else:
        owners, indices, weights, count = _from_rows(values, name)
        width = dim
    if width != dim:
        raise DimensionError(message(f"{name} of {width} columns", f"{dim}", "use the vocabulary of the space"))
    return _checked(owners, indices, weights, count, dim, name)


def _parts(indptr: Any, indices: Any, values: Any) -> tuple[Any, Any, Any]:
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), np.asarray(indices), np.asarray(values)


def _from_scipy(matrix: Any) -> tuple[Any, Any, Any, int, int]:
    if matrix.ndim != 2:
        raise DimensionError(message(f"a sparse array of {matrix.ndim} axes", "two axes", "pass one row per record"))
    count, width = matrix.shape
    if matrix.format == "coo":
        # A conversion would add up terms that occur twice, which is for the user to decide.
        return matrix.row, matrix.col, matrix.data, count, width
    # Of the other forms only CSC can hold a term twice, and its conversion keeps that.
    csr = matrix.tocsr()
    return *_parts(csr.indptr, csr.indices, csr.data), count, width


def _from_rows(values: Any, name: str) -> tuple[Any, Any, Any, int]:
    if isinstance(values, (str, bytes, Mapping)) or hasattr(values, "dtype") or not hasattr(values, "__len__"):
        raise InputError(message(f"{name} as one {type(values).__name__}", _FORMS, "pass one entry per record"))
    parts = [_one(value, f"{name}[{i}]") for i, value in enumerate(values)]
    owners = np.repeat(np.arange(len(parts)), [len(indices) for indices, _ in parts])
    none = np.zeros(0)
    indices = np.concatenate([none.astype(np.int64), *(indices for indices, _ in parts)])
    return owners, indices, np.concatenate([none, *(weights for _, weights in parts)]), len(parts)


def _one(value: Any, name: str) -> tuple[Any, Any]:
    if value is None:
        return np.zeros(0, np.int64), np.zeros(0)
    if isinstance(value, SparseVector):
        return value.indices, value.values
    if not isinstance(value, Mapping):
        raise InputError(message(f"{name} of type {type(value).__name__}", _FORMS, "pass a mapping of term to weight"))
    if set(value) == {"indices", "values"}:
        terms, weights = value["indices"], value["values"]
    else:
        terms, weights = list(value.keys()), list(value.values())
    try:
        indices, numbers = np.asarray(terms), np.asarray(weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DtypeError(message(f"{name} with weights that are no numbers", "floats", "convert them")) from error
    if indices.ndim != 1 or indices.shape != numbers.shape:
        given = f"{name} with indices of shape {indices.shape} and values of shape {numbers.shape}"
        raise DimensionError(message(given, "two flat lists of one length", "pass one weight per term"))
    if len(indices) and indices.dtype.kind not in "iu":
        given = f"{name} with terms of dtype {indices.dtype}"
        raise DtypeError(message(given, "integers", "pass the numbers of the terms"))
    return indices.astype(np.int64), numbers


def _checked(owners: Any, indices: Any, weights: Any, count: int, dim: int, name: str) -> SparseRows:
    if weights.dtype.kind not in "fiub":
        raise DtypeError(message(f"{name} of dtype {weights.dtype}", "real numbers", "convert the weights to float32"))

    def where(bad: Any) -> str:
        place = int(np.flatnonzero(bad)[0])
        return f"{name}: row {int(owners[place])} has weight {weights[place]} for term {int(indices[place])}"

    wrong = ~np.isfinite(weights)
    if wrong.any():
        raise NonFiniteError(message(where(wrong), "finite weights", "drop the term, or repair the model"))
    wrong = (weights < 0) | (weights > LARGEST_WEIGHT)
    if wrong.any():
        raise InputError(
            message(where(wrong), f"weights from 0 to {LARGEST_WEIGHT:g}", "cut weights below 0 to 0, or scale them")
        )
    wrong = (indices < 0) | (indices >= dim)
    if wrong.any():
        raise InputError(message(where(wrong), f"terms from 0 to {dim - 1}", "use the vocabulary of the space"))
    order = np.lexsort((indices, owners))
    owners, indices, weights = owners[order], indices[order], weights[order]
    wrong = np.concatenate((np.zeros(1, bool), (owners[1:] == owners[:-1]) & (indices[1:] == indices[:-1])))
    if wrong[: len(owners)].any():
        given = f"{where(wrong[: len(owners)])}, which it has twice"
        raise InputError(message(given, "each term once per row", "add up the weights, or keep the largest"))
    narrow = weights.astype(np.float32)
    kept = narrow > 0
    indptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.bincount(owners[kept], minlength=count))))
    return SparseRows(indptr.astype(np.int64), indices[kept].astype(np.int32), narrow[kept], dim)
