"""Arms of a study that need no other library: the planner, its plans by force, and graphs for one kind of filter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from orthant.datasets.readers.filtered import Filters
from orthant.evaluation.filtered.asking import Asked, labels_of, numbers_of
from orthant.index.filtered import FilteredVamana, NavigatingGraph, SegmentGraph, StitchedVamana
from orthant.index.graph import Graph
from orthant.index.vamana.planner import PlanName
from orthant.index.vamana.searching import run
from orthant.types import FloatArray, Hits, IdArray, Metric

__all__ = ["ARMS", "StudyArm", "make_arm", "of_labels"]

Found = tuple[IdArray, int | None]

EFFORTS = (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512)
_FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 16.0)


class StudyArm(Protocol):
    """One way to answer filtered queries.

    Attributes
    ----------
    name : str
        Its key in results.
    links : int
        Links that it keeps, 0 where it keeps none or does not tell.
    """

    name: str
    links: int

    def settings(self) -> list[Any]:
        """Return settings of rising effort; one where there is nothing to set."""
        ...

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
        """Return ids of shape (k,) for a query of shape (1, d), and the vectors compared where the arm tells."""
        ...


def _graph(X: FloatArray, metric: Metric, threads: int | None) -> Graph:
    index = Graph(X.shape[1], metric, scan_below=1)
    index.add(X, threads=threads) if threads is not None else index.add(X)
    return index


class _OfGraph:
    """An arm over the one graph of all rows."""

    def __init__(self, name: str, index: Graph, plan: PlanName | None = None) -> None:
        self.name, self._index, self._plan = name, index, plan
        state = index._state
        self.links = 0 if state is None else int((state.links[: state.used] >= 0).sum())

    def settings(self) -> list[Any]:
        """Rise in the beam; a scan has none."""
        return [EFFORTS[0]] if self._plan == "scan-allowed" else list(EFFORTS)

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
        """Search under the bitmap."""
        if self._plan is None:
            return _told(self._index.search(q, k, allowed=asked.bitmap, effort=setting, threads=1))
        state = self._index._state
        if state is None:
            return _told(self._index.search(q, k, allowed=asked.bitmap, threads=1))
        request = self._index._request(q, k, setting, asked.bitmap, 1, state)
        return _told(run(state, replace(request, forced=self._plan)))


class _PostFilter:
    """The graph without the filter, asked for more, of which the allowed ones are kept."""

    name = "post-filter"

    def __init__(self, index: Graph, n: int) -> None:
        self._index, self._n = index, n
        self.links = _OfGraph("", index).links

    def settings(self) -> list[Any]:
        """Ask for what chance would leave k of, and for more."""
        return list(_FACTORS)

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
        """Search, then drop; where fewer are left than there are, search again for twice as many."""
        wanted = min(self._n, int(setting * k / max(asked.share, 1e-9)) + k)
        spent = 0
        while True:
            hits = self._index.search(q, wanted, effort=max(wanted, 16), threads=1)
            spent += hits.cost.distances
            ids = hits.ids[0]
            kept = ids[(ids >= 0) & asked.mask[np.maximum(ids, 0)]][:k]
            if len(kept) >= min(k, len(asked.rows)) or wanted >= self._n:
                return np.pad(kept, (0, k - len(kept)), constant_values=-1), spent
            wanted = min(self._n, 2 * wanted)


class _Specialist:
    """A graph made for the attribute."""

    def __init__(self, name: str, index: Any, search: Callable[[FloatArray, int, Any, int], Hits]) -> None:
        self.name, self.links, self.index, self._search = name, index.link_count, index, search

    def settings(self) -> list[Any]:
        """Rise in the beam."""
        return list(EFFORTS)

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
        """Search by the value itself; a value that no row has allows none."""
        if not len(asked.rows):
            return np.full(k, -1, np.int64), 0
        return _told(self._search(q, k, asked.value, setting))


def _told(hits: Hits) -> Found:
    return hits.ids[0], hits.cost.distances


ARMS = {
    "planner": ("equality", "range", "set"),
    "scan": ("equality", "range", "set"),
    "two-hop": ("equality", "range", "set"),
    "post-filter": ("equality", "range", "set"),
    "filtered-vamana": ("equality", "set"),
    "stitched-vamana": ("equality", "set"),
    "navigating-graph": ("equality", "set"),
    "segment-graph": ("range",),
}
"""Arms that are always there, and the kinds of filters that each one serves."""


def make_arm(
    name: str,
    X: FloatArray,
    filters: Filters,
    metric: Metric,
    *,
    shared: dict[str, Any],
    threads: int | None,
    seed: int,
) -> StudyArm:
    """Build one arm.

    Parameters
    ----------
    name : str
        One of ``ARMS``, for a kind that it serves.
    X : ndarray of shape (n, d), float32
        Base.
    filters : Filters
        The attribute.
    metric : {"cosine", "dot", "l2"}
        Score.
    shared : dict
        What arms share; the graph of all rows is kept here for the next one.
    threads : int or None
        Threads for building.
    seed : int
        Of the builds.

    Returns
    -------
    StudyArm
        Ready to be asked.
    """
    if name in ("planner", "scan", "two-hop", "post-filter"):
        if "graph" not in shared:
            shared["graph"] = _graph(X, metric, threads)
        index = shared["graph"]
        if name == "post-filter":
            return _PostFilter(index, len(X))
        plans: dict[str, PlanName | None] = {"planner": None, "scan": "scan-allowed", "two-hop": "graph-filtered"}
        return _OfGraph(name, index, plans[name])
    if name == "segment-graph":
        return _segments(X, filters, metric, threads, seed)
    labels = labels_of(filters)
    if name == "navigating-graph":
        unified = NavigatingGraph(X, labels, metric, seed=seed, threads=threads)
        return _Specialist(name, unified, lambda q, k, value, e: unified.search(q, k, labels=[value], effort=e))
    kind = FilteredVamana if name == "filtered-vamana" else StitchedVamana
    return of_labels(name, kind(X, labels, metric, seed=seed, threads=threads))


def of_labels(name: str, index: Any) -> StudyArm:
    """Return an index that is searched by one label as an arm.

    Parameters
    ----------
    name : str
        Its key in results.
    index : FilteredVamana or StitchedVamana
        Ready to be searched.

    Returns
    -------
    StudyArm
        The arm.
    """
    return _Specialist(name, index, lambda q, k, value, e: index.search(q, k, label=value, effort=e))


def _segments(X: FloatArray, filters: Filters, metric: Metric, threads: int | None, seed: int) -> StudyArm:
    numbers = numbers_of(filters)
    known = np.flatnonzero(np.isfinite(numbers))
    index = SegmentGraph(X[known], numbers[known], metric, seed=seed, threads=threads)

    def search(q: FloatArray, k: int, value: Any, effort: int) -> Hits:
        hits = index.search(q, k, low=value[0], high=value[1], effort=effort)
        return replace(hits, ids=np.where(hits.ids >= 0, known[hits.ids], -1))

    return _Specialist("segment-graph", index, search)
