"""Which rows a filter allows: equality, range and set predicates on attributes that follow the query, or do not.

An attribute is a rank over the rows. At random it says nothing about the vectors; by similarity to a pivot query, low
ranks lie close to the queries around that pivot and high ranks far away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.evaluation.ann.inputs import AnnInputs
from orthant.kernels.bitmaps import from_mask
from orthant.types import BitmapArray, FloatArray, IdArray
from orthant.validate import check_choice, check_count

__all__ = ["PREDICATES", "RELATIONS", "Cell", "Group", "Wanted", "allowed_mask", "make_groups", "wordings"]

PREDICATES = ("equality", "range", "set")
RELATIONS = ("uncorrelated", "correlated", "anti-correlated")
_SET_VALUES = 8

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Group:
    """Queries that share a filter, and the attribute it is about.

    Attributes
    ----------
    rank : ndarray of shape (n,), int64
        The attribute of each row: a permutation of 0 to n - 1.
    tune, judge : ndarray of shape (q, d), float32
        Queries.
    """

    rank: IdArray
    tune: FloatArray
    judge: FloatArray


@dataclass(frozen=True)
class Wanted:
    """A filter as a store is told it: by the values of columns that are there before any query.

    Attributes
    ----------
    column : str
        Name of the attribute; columns derived from it add a suffix.
    predicate : {"equality", "range", "set"}
        How the rows are named.
    selectivity : float
        Share of the rows.
    far : bool
        The highest ranks instead of the lowest.
    """

    column: str
    predicate: str
    selectivity: float
    far: bool

    def columns(self, rank: IdArray) -> dict[str, IdArray]:
        """Return the column that the filter names.

        Parameters
        ----------
        rank : ndarray of shape (n,), int64
            The attribute.

        Returns
        -------
        dict of str to ndarray of shape (n,), int64
            One column by its name.
        """
        width = min(_width(len(rank), self.selectivity), len(rank))
        value = len(rank) - 1 - rank if self.far else rank
        step = {"equality": width, "range": 1, "set": max(1, width // _SET_VALUES)}[self.predicate]
        return {self._name(width): value // step}

    def where(self, n: int) -> dict[str, Any]:
        """Return the condition.

        Parameters
        ----------
        n : int
            Rows.

        Returns
        -------
        dict
            ``column``, ``op`` and ``value``, as other stores' tables take it.
        """
        width = min(_width(n, self.selectivity), n)
        name = self._name(width)
        if self.predicate == "equality":
            return {"column": name, "op": "eq", "value": 0}
        if self.predicate == "range":
            return {"column": name, "op": "between", "value": [0, width - 1]}
        return {"column": name, "op": "in", "value": list(range(-(-width // max(1, width // _SET_VALUES))))}

    def _name(self, width: int) -> str:
        return self.column if self.predicate == "range" else f"{self.column}_{self.predicate}_{width}"


@dataclass(frozen=True, eq=False)
class Cell:
    """One filter with its queries, in every form an arm may want.

    Attributes
    ----------
    mask : ndarray of shape (n,), bool
        Rows allowed.
    rows : ndarray of shape (m,), int64
        The same, rising.
    bitmap : ndarray of shape (ceil(n / 64),), uint64
        The same.
    tune, judge : ndarray of shape (q, d), float32
        Queries.
    wanted : Wanted, optional
        The same in words, for stores that take no rows.
    """

    mask: Mask
    rows: IdArray
    bitmap: BitmapArray
    tune: FloatArray
    judge: FloatArray
    wanted: Wanted | None = None

    @classmethod
    def of(cls, mask: Mask, group: Group, wanted: Wanted | None = None) -> Cell:
        """Return the cell of a mask.

        Parameters
        ----------
        mask : ndarray of shape (n,), bool
            Rows allowed.
        group : Group
            The queries.
        wanted : Wanted, optional
            The filter in words.

        Returns
        -------
        Cell
            With all three forms.
        """
        return cls(mask, np.flatnonzero(mask).astype(np.int64), from_mask(mask), group.tune, group.judge, wanted)


def make_groups(
    inputs: AnnInputs, relation: str, *, kind: str, tune: int, judge: int, pivots: int = 4, seed: int = 0
) -> list[Group]:
    """Return groups of queries with the attribute that the filters of a relation are about.

    Parameters
    ----------
    inputs : AnnInputs
        Vectors and queries.
    relation : {"uncorrelated", "correlated", "anti-correlated"}
        Between filter and query.
    kind : str
        Of the queries.
    tune, judge : int
        Queries of each half, over all groups.
    pivots : int, default 4
        Groups; one is enough when the attribute is random.
    seed : int, default 0
        Of the pivots and the random attribute.

    Returns
    -------
    list of Group
        Each with the queries that lie closest to its pivot.

    Raises
    ------
    InputError
        An unknown relation or kind.
    """
    check_choice(relation, RELATIONS, name="relation")
    check_count(pivots, name="pivots")
    if kind not in inputs.queries:
        raise InputError(message(f"queries {kind!r}", f"one of {', '.join(inputs.queries)}", "name another kind"))
    split, n = inputs.queries[kind], len(inputs.base)
    generator = np.random.default_rng([seed, RELATIONS.index(relation)])
    if relation == "uncorrelated":
        return [Group(generator.permutation(n).astype(np.int64), split.tune[:tune], split.judge[:judge])]
    groups = []
    for row in generator.permutation(len(split.tune))[:pivots]:
        pivot = split.tune[row]
        rank = np.empty(n, dtype=np.int64)
        rank[np.argsort(-_closeness(inputs.base, pivot, inputs.metric), kind="stable")] = np.arange(n)
        each = max(1, tune // pivots), max(1, judge // pivots)
        near = [
            Q[np.argsort(-_closeness(Q, pivot, inputs.metric), kind="stable")[:count]]
            for Q, count in zip((split.tune, split.judge), each, strict=True)
        ]
        groups.append(Group(rank, *near))
    return groups


def _closeness(X: FloatArray, pivot: FloatArray, metric: str) -> npt.NDArray[np.float32]:
    out = np.empty(len(X), dtype=np.float32)
    for start in range(0, len(X), 65_536):
        block = X[start : start + 65_536]
        if metric == "l2":
            out[start : start + 65_536] = -np.square(block - pivot).sum(axis=1)
        else:
            out[start : start + 65_536] = block @ pivot
    return out


def _width(n: int, selectivity: float) -> int:
    # A multiple of the values of a set, so that all predicates can say the same rows.
    return max(_SET_VALUES, round(n * selectivity / _SET_VALUES) * _SET_VALUES)


def allowed_mask(rank: IdArray, predicate: str, *, selectivity: float, far: bool = False) -> Mask:
    """Return the rows that a predicate allows.

    Parameters
    ----------
    rank : ndarray of shape (n,), int64
        The attribute.
    predicate : {"equality", "range", "set"}
        How the rows are named.
    selectivity : float
        Share of the rows, up to 1; at least eight rows are allowed.
    far : bool, default False
        The highest ranks instead of the lowest.

    Returns
    -------
    ndarray of shape (n,), bool
        The same for every predicate.

    Examples
    --------
    >>> allowed_mask(np.arange(80), "range", selectivity=0.1).sum()
    np.int64(8)
    """
    check_choice(predicate, PREDICATES, name="predicate")
    return dict(wordings(rank, selectivity=selectivity, far=far))[predicate]


def wordings(rank: IdArray, *, selectivity: float, far: bool = False) -> Iterator[tuple[str, Mask]]:
    """Yield masks of equivalent predicates, each computed as it is worded.

    Parameters
    ----------
    rank : ndarray of shape (n,), int64
        The attribute.
    selectivity : float
        Share of the rows.
    far : bool, default False
        The highest ranks instead of the lowest.

    Yields
    ------
    (str, ndarray of shape (n,), bool)
        Equality, range, set, a disjunction of equalities, and the negation of the complement.
    """
    n = len(rank)
    width = min(_width(n, selectivity), n)
    value = n - 1 - rank if far else rank
    bucket, fine = value // width, value // max(1, width // _SET_VALUES)
    yield "equality", bucket == 0
    yield "range", (value >= 0) & (value < width)
    yield "set", np.isin(fine, np.arange(-(-width // max(1, width // _SET_VALUES)))) & (value < width)
    either = np.zeros(n, dtype=bool)
    for one in range(_SET_VALUES + 1):
        either |= (fine == one) & (value < width)
    yield "or of equalities", either
    yield "not of the complement", ~(value >= width)
