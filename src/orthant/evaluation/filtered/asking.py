"""Filtered queries of a study: which rows each one allows, in every form an arm may want, and the exact answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.readers.filtered import Filters
from orthant.evaluation.ann.truth import Truth
from orthant.index.filtered.labels import Labels
from orthant.kernels.bitmaps import from_mask
from orthant.types import BitmapArray, FloatArray, IdArray, Metric

__all__ = ["Asked", "ask_all", "exact_answers", "labels_of", "numbers_of"]


@dataclass(frozen=True, eq=False)
class Asked:
    """What one query asks for; equal ones share an object.

    Attributes
    ----------
    value : object
        The value, or (low, high).
    mask : ndarray of shape (n,), bool
        Rows allowed.
    rows : ndarray of shape (m,), int64
        The same, rising.
    bitmap : ndarray of shape (ceil(n / 64),), uint64
        The same.
    seconds : float
        Wall-clock seconds that finding the rows took.
    """

    value: Any
    mask: npt.NDArray[np.bool_]
    rows: IdArray
    bitmap: BitmapArray
    seconds: float

    @property
    def share(self) -> float:
        """Share of the rows that are allowed, from 0 to 1."""
        return len(self.rows) / max(1, len(self.mask))


def labels_of(filters: Filters) -> Labels:
    """Return the values of an attribute as labels; rows without a value have none.

    Parameters
    ----------
    filters : Filters
        Of kind ``"equality"`` or ``"set"``.

    Returns
    -------
    Labels
        One label per row, or a set.
    """
    if filters.kind == "set":
        return Labels([() if value is None else value for value in filters.values])
    return Labels([() if value is None else (value,) for value in filters.values])


def numbers_of(filters: Filters) -> npt.NDArray[np.float64]:
    """Return the values of an ordered attribute as numbers, NaN where there is none.

    Parameters
    ----------
    filters : Filters
        Of kind ``"range"``.

    Returns
    -------
    ndarray of shape (n,), float64
        One per row.
    """
    return np.array([np.nan if value is None else value for value in filters.values], dtype=np.float64)


def ask_all(filters: Filters, which: Sequence[int]) -> list[Asked]:
    """Return what some queries ask for.

    Parameters
    ----------
    filters : Filters
        The attribute and the queries.
    which : sequence of int
        Places of queries.

    Returns
    -------
    list of Asked
        One per query.

    Notes
    -----
    The rows are those of ``Filters.allowed``, found through sorted labels or one comparison of arrays.
    """
    numbers = numbers_of(filters) if filters.kind == "range" else None
    labels = labels_of(filters) if filters.kind != "range" else None
    known = set(labels.names) if labels is not None else set()
    made: dict[Any, Asked] = {}
    out = []
    for i in which:
        value = filters.asked[i]
        if value not in made:
            begin = time.perf_counter()
            mask = np.zeros(len(filters.values), dtype=bool)
            if numbers is not None:
                mask = (numbers >= value[0]) & (numbers <= value[1])
            elif labels is not None and value in known:
                mask[labels.rows(value)] = True
            bitmap = from_mask(mask)
            seconds = time.perf_counter() - begin
            made[value] = Asked(value, mask, np.flatnonzero(mask).astype(np.int64), bitmap, seconds)
        out.append(made[value])
    return out


def exact_answers(X: FloatArray, Q: FloatArray, asked: Sequence[Asked], k: int, metric: Metric) -> Truth:
    """Compare every allowed row.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Base; unit rows under cosine.
    Q : ndarray of shape (q, d), float32
        Queries.
    asked : sequence of Asked
        One per query.
    k : int
        Neighbours.
    metric : {"cosine", "dot", "l2"}
        Score.

    Returns
    -------
    Truth
        ids (q, k) padded with -1 and scores padded with -inf where fewer rows are allowed.
    """
    ids = np.full((len(Q), k), -1, np.int64)
    scores = np.full((len(Q), k), -np.inf, np.float32)
    for i, (q, one) in enumerate(zip(Q.astype(np.float64), asked, strict=True)):
        if not len(one.rows):
            continue
        rows = X[one.rows].astype(np.float64)
        found = -((rows - q) ** 2).sum(axis=1) if metric == "l2" else rows @ q
        if metric == "cosine":
            found /= max(float(np.linalg.norm(q)), 1e-30) * np.maximum(np.linalg.norm(rows, axis=1), 1e-30)
        best = np.lexsort((one.rows, -found))[:k]
        ids[i, : len(best)], scores[i, : len(best)] = one.rows[best], found[best]
    return Truth(ids, scores, "")
