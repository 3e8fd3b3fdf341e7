"""Two graphs for one label per query: links that heed labels, and one graph per label stitched together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.filtered.labels import Labels
from orthant.index.filtered.walk import FilteredWalk, Slots, check_rows
from orthant.index.vamana import build
from orthant.kernels.graph import links as link_kernels
from orthant.kernels.graph.sketch import aligned_rows
from orthant.types import Hits, IdArray, Metric
from orthant.validate import as_vectors, check_metric

__all__ = ["FilteredVamana", "StitchedVamana"]

_SAMPLED = 64


class _OneLabel(FilteredWalk):
    """Searches over the rows of one label, from that label's start."""

    _plan = ""

    def __init__(
        self, X: npt.ArrayLike, labels: Labels | Any, metric: Metric, degree: int, beam: int, alpha: float, seed: int,
        threads: int | None,
    ) -> None:  # fmt: skip
        vectors = as_vectors(X, name="vectors", nonzero=check_metric(metric) == "cosine")
        self.labels = labels if isinstance(labels, Labels) else Labels(labels)
        check_rows(vectors, len(self.labels), "labels")
        super().__init__(
            vectors, np.arange(len(vectors), dtype=np.int64), metric=metric, degree=degree, beam=beam, alpha=alpha,
            seed=seed, room=2 * degree, threads=threads,
        )  # fmt: skip
        self._starts = self._choose_starts()

    def _choose_starts(self) -> Slots:
        """Return a start per label: of some of its rows drawn at random, one that starts the fewest other labels."""
        used = np.zeros(len(self), np.int64)
        out = np.zeros(len(self.labels.names), np.int32)
        for code in range(len(out)):
            rows = self.labels.rows_of(code)
            drawn = self._rng.choice(rows, min(len(rows), _SAMPLED), replace=False)
            out[code] = drawn[np.argmin(used[drawn])]
            used[out[code]] += 1
        return out

    def search(self, Q: npt.ArrayLike, k: int = 10, *, label: Any, effort: int | None = None) -> Hits:
        """Return about the k nearest vectors that have a label.

        Parameters
        ----------
        Q : array-like of shape (q, dim) or (dim,)
            Queries.
        k : int, default 10
            Neighbours wanted.
        label : str or int
            The label.
        effort : int, optional
            Width of the beam; left out, 64 or twice k.

        Returns
        -------
        Hits
            ids (q, k) int64 are rows; padded with -1 where fewer rows have the label.

        Raises
        ------
        InputError
            A label that no row has, or k or effort below 1.
        """
        queries, wanted, width = self._queries(Q, k, effort)
        code = self.labels.code(label)
        allowed = self.labels.rows_of(code).astype(np.int32)
        return self._answer(
            queries, wanted, width, starts=self._starts[code : code + 1], allowed=allowed, hide=True, plan=self._plan
        )


class FilteredVamana(_OneLabel):
    """One graph whose links heed labels: a row is walked to only from rows that share a label with it.

    For filters by one label out of up to some thousands, where most searches carry one. It serves nothing else:
    ``Graph`` takes any filter. Rows without a label are never found.

    Parameters
    ----------
    X : array-like of shape (n, dim)
        Vectors.
    labels : Labels or sequence of length n
        Labels of each row; see ``Labels``.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Score.
    degree : int, default 32
        Links chosen per row; rows have room for twice as many. Too few lose rows of rare labels.
    beam : int, default 100
        Candidates examined for the links of a row.
    alpha : float, default 1.2
        As ``Graph``.
    seed : int, default 0
        Of the order, the starts and the rotation.
    threads : int, optional
        Threads for building.

    Raises
    ------
    InputError, DimensionError
        Labels that do not fit the vectors, or parameters outside their range.

    Notes
    -----
    A candidate is ruled out only by a kept one that has all labels that it shares with the row. Cost: a walk compares
    about ``effort`` times the links of its label; building is that of ``Graph``, and a bit per row and label.

    References
    ----------
    Gollapudi, Karia, Sivashankar and others, "Filtered-DiskANN: Graph Algorithms for Approximate Nearest Neighbor
    Search with Filters", WWW 2023, algorithms 1 to 4.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
    >>> index = FilteredVamana(X, np.arange(500) % 5, degree=8, beam=16)
    >>> bool((index.search(X[:3], 5, label=2).ids % 5 == 2).all())
    True
    """

    _plan = "filtered-vamana"

    def __init__(
        self, X: npt.ArrayLike, labels: Labels | Any, metric: Metric = "cosine", *, degree: int = 32, beam: int = 100,
        alpha: float = 1.2, seed: int = 0, threads: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(X, labels, metric, degree, beam, alpha, seed, threads)
        state = self._state
        settings = self._links(marks=self.labels.marks(state.capacity), columns=self.labels.columns(state.capacity))
        state.entries = self._starts
        # Starts go first: until they are linked, the walks to them end where they begin.
        first = np.unique(self._starts)
        some = np.flatnonzero(np.diff(self.labels.offsets) > 0)
        rest = self._rng.permutation(np.setdiff1d(some, first))
        build.link(state, np.concatenate([first, rest]).astype(np.int32), settings)


class StitchedVamana(_OneLabel):
    """A graph per label, all of them laid over each other and pruned with regard to labels.

    Builds slower than ``FilteredVamana`` where rows have many labels, and finds somewhat more at the same cost. The
    same limits hold.

    Parameters
    ----------
    X, labels, metric, alpha, seed, threads : any
        As for ``FilteredVamana``.
    degree : int, default 32
        Links that a row is pruned to where those of its labels are more than twice as many.
    small_degree : int, default 16
        Links chosen per row in the graph of one label.
    beam : int, default 100
        Candidates examined for the links of a row within a label.

    Raises
    ------
    InputError, DimensionError
        As for ``FilteredVamana``.

    Notes
    -----
    Rows that need no pruning keep all their links, where the paper prunes every row. Cost of building: one graph per
    label over its rows.

    References
    ----------
    Gollapudi and others, as for ``FilteredVamana``, algorithm 5.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)
    >>> index = StitchedVamana(X, np.arange(500) % 5, degree=8, small_degree=4, beam=16)
    >>> bool((index.search(X[:3], 5, label=2).ids % 5 == 2).all())
    True
    """

    _plan = "stitched-vamana"

    def __init__(
        self, X: npt.ArrayLike, labels: Labels | Any, metric: Metric = "cosine", *, degree: int = 32,
        small_degree: int = 16, beam: int = 100, alpha: float = 1.2, seed: int = 0, threads: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(X, labels, metric, degree, beam, alpha, seed, threads)
        sources, targets = self._edges(small_degree)
        order = np.argsort(sources, kind="stable")
        heads, first = np.unique(sources[order], return_index=True)
        bounds = np.append(first, len(sources)).astype(np.int64)
        settings = self._links()
        link_kernels.reverse_links(
            self._state.view(sketched=self._sketched), heads.astype(np.int32), targets[order], bounds, 0, len(heads),
            settings.degree, settings.least, np.float32(settings.alpha), self._state.links,
            self.labels.marks(self._state.capacity),
        )  # fmt: skip

    def _edges(self, degree: int) -> tuple[IdArray, Slots]:
        """Build the graph of each label in room of its own, and return the edges of all of them."""
        state = self._state
        scratch = aligned_rows(state.capacity, 8 * degree).view(np.int32)
        scratch[:] = -1
        settings = self._links(degree=degree, least=0)
        sources, targets = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for code in range(len(self.labels.names)):
            rows = self.labels.rows_of(code)
            others = np.setdiff1d(rows, self._starts[code : code + 1])
            order = np.concatenate([self._starts[code : code + 1], self._rng.permutation(others)]).astype(np.int32)
            part = replace(
                state, links=scratch, linked=np.zeros_like(state.linked), entries=self._starts[code : code + 1]
            )
            build.link(part, order, settings)
            part.entries = self._starts[code : code + 1]
            build.ensure_reachable(part, settings)
            found = scratch[rows]
            present = found >= 0
            sources.append(np.repeat(rows, present.sum(axis=1)))
            targets.append(found[present])
            scratch[rows] = -1
        return np.concatenate(sources), np.concatenate(targets)
