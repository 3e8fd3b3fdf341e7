"""A graph whose links lead from sets of labels to larger ones, so that a walk meets matching rows only."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message, warn
from orthant.index.filtered.labels import Labels
from orthant.index.filtered.walk import FilteredWalk, Slots, check_rows
from orthant.index.vamana import build
from orthant.kernels import bitmaps
from orthant.kernels.graph import links as link_kernels
from orthant.kernels.graph.sketch import aligned_rows
from orthant.types import Hits, IdArray, Metric
from orthant.validate import as_vectors, check_count, check_metric

__all__ = ["NavigatingGraph"]

_MANY_GROUPS = 1 << 16
_SPARE = 8
"""Links of a row beyond its own and those to larger sets: for groups that nothing else leads to."""


class NavigatingGraph(FilteredWalk):
    """Rows grouped by their exact set of labels, and links from each group to the next larger sets: a unified graph.

    For filters that ask for one or several labels at once, over rows with few distinct sets of labels. Where nearly
    every row has a set of its own, such as authors of papers, groups are as many as rows and nothing is gained.

    Parameters
    ----------
    X : array-like of shape (n, dim)
        Vectors.
    labels : Labels or sequence of length n
        Labels of each row.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score.
    degree : int, default 32
        Links chosen per row within its group; rows have room for twice as many.
    cross : int, default 6
        Links of each row to rows of larger sets. Fewer than 2 lose neighbours in other groups.
    beam : int, default 100
        Candidates examined for the links of a row.
    alpha : float, default 1.2
        As ``Graph``.
    seed : int, default 0
        Of the order and the rotation.
    threads : int, optional
        Threads for building.

    Attributes
    ----------
    groups : int
        Distinct sets of labels.

    Raises
    ------
    InputError, DimensionError
        Labels that do not fit the vectors, or parameters outside their range.

    Notes
    -----
    A group is followed by its minimal strict supersets. A search begins in the minimal groups that hold every label
    asked for; from there, only rows that hold them can be reached, so no row is tested. Cost of building: one graph
    per group, and per row one comparison with each row of the next larger sets.

    References
    ----------
    Cai, Shi, Chen and Zheng, "Navigating Labels and Vectors: A Unified Approach to Filtered Approximate Nearest
    Neighbor Search", SIGMOD 2025.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((300, 8)).astype(np.float32)
    >>> sets = [{"a"} if i % 3 else {"a", "b"} for i in range(300)]
    >>> index = NavigatingGraph(X, sets, degree=8, beam=16)
    >>> index.groups, bool((index.search(X[:2], 5, labels=["b"]).ids % 3 == 0).all())
    (2, True)
    """

    def __init__(
        self, X: npt.ArrayLike, labels: Labels | Any, metric: Metric = "cosine", *, degree: int = 32, cross: int = 6,
        beam: int = 100, alpha: float = 1.2, seed: int = 0, threads: int | None = None,
    ) -> None:  # fmt: skip
        vectors = as_vectors(X, name="vectors", nonzero=check_metric(metric) == "cosine")
        self.labels = labels if isinstance(labels, Labels) else Labels(labels)
        check_rows(vectors, len(self.labels), "labels")
        cross = check_count(cross, name="cross")
        super().__init__(
            vectors, np.arange(len(vectors), dtype=np.int64), metric=metric, degree=degree, beam=beam, alpha=alpha,
            seed=seed, room=2 * degree + cross + _SPARE, threads=threads,
        )  # fmt: skip
        self._marks, inverse = np.unique(self.labels.marks(len(vectors)), axis=0, return_inverse=True)
        order = np.argsort(inverse.ravel(), kind="stable")
        bounds = np.searchsorted(inverse.ravel()[order], np.arange(len(self._marks) + 1))
        self._members = [order[a:b].astype(np.int32) for a, b in pairwise(bounds.tolist())]
        self.groups = len(self._members)
        if self.groups > _MANY_GROUPS:
            warn(f"{self.groups:,} distinct sets of labels: most groups hold a row or two, and a scan is quicker")
        self._scratch = aligned_rows(self._state.capacity, 8 * degree).view(np.int32)
        self._scratch[:] = -1
        self._starts = np.array([self._link_group(rows) for rows in self._members], np.int32)
        for group in range(self.groups):
            self._link_onwards(group, cross)
        del self._scratch

    def _link_group(self, rows: Slots) -> int:
        """Link the rows of a group among themselves; return where walks begin."""
        state = self._state
        mean = self._X[rows].mean(axis=0)
        start = int(self._nearest(rows, mean[None], 1)[0, 0]) if mean.any() else int(rows[0])
        if len(rows) <= self._settings.degree + 1:
            for row in rows:
                state.links[row, : len(rows) - 1] = rows[rows != row]
            return start
        # In rows of their own: what a group leaves free belongs to links to other groups.
        part = replace(
            state, links=self._scratch, linked=np.zeros_like(state.linked), entries=np.array([start], np.int32)
        )
        settings = self._links(least=0)
        rest = self._rng.permutation(rows[rows != start])
        build.link(part, np.concatenate([[start], rest]).astype(np.int32), settings)
        part.entries = np.array([start], np.int32)
        build.ensure_reachable(part, settings)
        state.links[rows, : self._scratch.shape[1]] = self._scratch[rows]
        return start

    def supersets(self, group: int) -> IdArray:
        """Return the groups whose sets are the smallest that hold all labels of a group and more.

        Parameters
        ----------
        group : int
            A group.

        Returns
        -------
        ndarray of shape (m,), int64
            Groups; none of their sets holds another.
        """
        return self._minimal(self._marks[group], but=group)

    def _minimal(self, wanted: npt.NDArray[np.uint64], *, but: int = -1) -> IdArray:
        """Return the minimal groups that hold all wanted labels, leaving out one group."""
        holding = np.flatnonzero(((self._marks & wanted) == wanted).all(axis=1))
        holding = holding[holding != but]
        sizes = np.bitwise_count(self._marks[holding]).sum(axis=1)
        kept: list[int] = []
        for group in holding[np.argsort(sizes, kind="stable")].tolist():
            mine = self._marks[group]
            if not any(((mine & self._marks[other]) == self._marks[other]).all() for other in kept):
                kept.append(group)
        return np.array(kept, np.int64)

    def _link_onwards(self, group: int, cross: int) -> None:
        """Link the rows of a group to their nearest rows of the next larger sets, and to groups that got none."""
        above = self.supersets(group)
        if not len(above):
            return
        rows, links = self._members[group], self._state.links
        pooled = np.concatenate([self._members[other] for other in above])
        near = self._nearest(pooled, self._X[rows], cross)
        at = (links[rows] >= 0).sum(axis=1)
        for j in range(near.shape[1]):
            fits = near[:, j] >= 0
            links[rows[fits], at[fits] + j] = near[fits, j]
        reached = np.unique(near[near >= 0])
        owner = np.repeat(above, [len(self._members[other]) for other in above])
        found = np.unique(owner[np.isin(pooled, reached)])
        for other in np.setdiff1d(above, found).tolist():
            self._attach(rows, int(self._starts[other]))

    def _attach(self, rows: Slots, target: int) -> None:
        """Link to a slot from the nearest row that has room; the last link of the nearest gives way where none has."""
        links = self._state.links
        order = self._nearest(rows, self._X[target][None], min(len(rows), 32))[0]
        free = [int(row) for row in order if row >= 0 and links[row, -1] < 0]
        if not free:
            free = rows[links[rows, -1] < 0].tolist()
        if free:
            links[free[0], int((links[free[0]] >= 0).sum())] = target

    def entries(self, labels: Any) -> Slots:
        """Return where a search for some labels begins.

        Parameters
        ----------
        labels : iterable of str or int
            Labels that rows must all have; none, every row fits.

        Returns
        -------
        ndarray of shape (m,), int32
            One row of each minimal group that holds all of them.

        Raises
        ------
        InputError
            A label that no row has.
        """
        wanted = np.zeros(self._marks.shape[1], np.uint64)
        for label in _as_labels(labels):
            code = self.labels.code(label)
            wanted[code >> 6] |= np.uint64(1) << np.uint64(code & 63)
        return self._starts[self._minimal(wanted)]

    def search(self, Q: npt.ArrayLike, k: int = 10, *, labels: Any, effort: int | None = None) -> Hits:
        """Return about the k nearest vectors that have all of some labels.

        Parameters
        ----------
        Q : array-like of shape (q, dim) or (dim,)
            Queries.
        k : int, default 10
            Neighbours wanted.
        labels : iterable of str or int
            Labels; rows may have more. None of them, every row fits.
        effort : int, optional
            Width of the beam, at least the number of entries; left out, 64 or twice k.

        Returns
        -------
        Hits
            ids (q, k) int64 are rows; padded with -1 where fewer fit.

        Raises
        ------
        InputError
            A label that no row has, or k or effort below 1.
        """
        queries, wanted, width = self._queries(Q, k, effort)
        asked = _as_labels(labels)
        starts = self.entries(asked)
        rows = self.labels.rows(*asked) if asked else np.arange(len(self))
        return self._answer(
            queries, wanted, width, starts=starts, allowed=rows.astype(np.int32), hide=False, plan="navigating-graph"
        )

    def reachable(self, labels: Any) -> IdArray:
        """Return the rows that walks from the entries of some labels can reach; all of them have the labels.

        Parameters
        ----------
        labels : iterable of str or int
            As for ``search``.

        Returns
        -------
        ndarray of shape (m,), int64
            Rows, rising.
        """
        starts, state = self.entries(labels), self._state
        visited = np.zeros(bitmaps.words_for(state.capacity), np.uint64)
        link_kernels.reach(state.view(sketched=False), starts, visited, np.empty(state.capacity, np.int32))
        return np.flatnonzero(bitmaps.to_mask(visited, state.used))


def _as_labels(labels: Any) -> list[Any]:
    if isinstance(labels, (str, bytes)):
        raise InputError(message(f"labels={labels!r}", "a list of labels", f"pass [{labels!r}]"))
    return list(labels)
