"""The dense leg of a space: the graph over merged rows, an exact scan of the tail, one list.

A space that was compressed has codes where others have a graph. One below the break-even has neither, and one whose
file is damaged does without it until the writer has made it anew; both are scanned, exactly.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from orthant.collection.storage.generation import Generation
from orthant.index.flat import Flat
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, SearchCost

__all__ = ["DEFAULT_RECALL", "DenseIndex", "by_pages", "dense_index"]

DEFAULT_RECALL = 0.95
"""Share of the true neighbours that a search of a graph finds on average unless it asks for another."""


def dense_index(generation: Generation, space: str) -> DenseIndex:
    """Return the dense leg of a space, made once per generation.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    space : str
        Its name.

    Returns
    -------
    DenseIndex
        Shared by every search of the generation.
    """
    return generation.kept(("dense", space), lambda: _make(generation, space))


def _make(generation: Generation, name: str) -> Any:
    if generation.upgrade.committed and name == generation.upgrade.space and generation.upgrade.mapped is not None:
        return _bridged(generation, name)
    return _plain(generation, name)


def _bridged(generation: Generation, name: str) -> Any:
    """Search new and mapped vectors as one; a record may have either or both."""
    from orthant.collection.upgrade.bridge import BridgedIndex

    mapped = generation.upgrade.mapped or name
    fresh, older, live = generation.spaces[name], generation.spaces[mapped], generation.live
    encoded = live & bitmaps.resize(fresh.rows_bitmap(), len(live))
    return BridgedIndex(
        _plain(generation, name),
        _plain(generation, mapped),
        encoded=encoded,
        placed=live & bitmaps.resize(older.rows_bitmap(), len(live)),
        live=live,
        dim=fresh.definition.dim,
        mapped_dim=older.definition.dim,
    )


def _plain(generation: Generation, name: str) -> DenseIndex:
    space, live, whose = generation.spaces[name], generation.live, weakref.ref(generation)

    def flat() -> Flat:
        # The generation keeps this index: by holding it in turn, old states would wait for the collector of cycles.
        alive = whose()
        return space.flat(live) if alive is None else alive.index(name)

    graph = space.attached_graph()
    if graph is None or space.graph is None:
        problem = None if space.graph is None else space.graph.problem
        return DenseIndex(flat, live=generation.live, problem=problem)
    below = space.graph.below
    tail = space.flat(generation.live, first_row=below) if space.slots_from(below) else None
    dead = space.graph.rows - space.live_count(generation.live, below=below)
    coded = space.graph.codes is not None
    return DenseIndex(flat, live=generation.live, graph=graph, tail=tail, dead=dead, coded=coded)


class DenseIndex:
    """Searches one space of one generation.

    Parameters
    ----------
    flat : callable
        Gives the exact index over all rows; called only where a scan is needed.
    live : ndarray of uint64
        Live rows.
    graph : Graph, optional
        The graph over merged rows. None scans.
    tail : Flat, optional
        The exact index over the rows that are not in the graph.
    dead : int, default 0
        Rows of the graph that were deleted since it was made.
    problem : str, optional
        Why there is no graph although there should be one.
    coded : bool, default False
        Whether what stands for the graph is the codes of a compressed space.
    """

    def __init__(
        self,
        flat: Callable[[], Flat],
        *,
        live: BitmapArray,
        graph: Any | None = None,
        tail: Flat | None = None,
        dead: int = 0,
        problem: str | None = None,
        coded: bool = False,
    ) -> None:
        self._flat = flat
        self._live = live
        self.graph = graph
        self.tail = tail
        self.dead = dead
        self.problem = problem
        self.coded = coded

    def search(
        self,
        Q: FloatArray,
        k: int = 10,
        *,
        allowed: BitmapArray | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return the k nearest live, allowed vectors of each query.

        Parameters
        ----------
        Q : ndarray of shape (q, dim), float32
            Queries.
        k : int, default 10
            Neighbours wanted.
        allowed : ndarray of uint64, optional
            Bitmap over rows.
        effort : int, optional
            Candidates that the graph keeps. A scan needs none and ignores it.
        recall : float, optional
            Share of the true neighbours to find on average; default 0.95, or what a compressed space was compressed to;
            1.0 scans.
        threads : int, optional
            As for the indexes.

        Returns
        -------
        Hits
            ``cost.plan`` is ``"scan"``, ``"scan-allowed"``, ``"graph"``, ``"graph-filtered"``, ``"codes"``,
            ``"codes-filtered"``, or one of the last four with ``"+tail"``.
        """
        if self.graph is None or (recall is not None and recall >= 1.0):
            return self._flat().search(Q, k, allowed=allowed, recall=recall, threads=threads)
        began = time.perf_counter()
        wanted = DEFAULT_RECALL if recall is None and effort is None and not self.coded else recall
        found = self.graph.search(Q, k, allowed=self._masked(allowed), effort=effort, recall=wanted, threads=threads)
        if allowed is None:
            # The mask of deleted rows is no filter that anybody asked for.
            found = replace(found, cost=replace(found.cost, plan=found.cost.plan.removesuffix("-filtered")))
        if self.tail is None:
            return found
        late = self.tail.search(Q, k, allowed=allowed, threads=threads)
        ids, scores = _merged(found, late, k)
        cost = _joined(found.cost, late.cost, rows=len(self.tail), seconds=time.perf_counter() - began)
        return Hits(ids, scores, np.count_nonzero(ids >= 0, axis=1).astype(np.int64), cost)

    def search_page(
        self,
        Q: FloatArray,
        k: int,
        *,
        first: int,
        allowed: BitmapArray | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return k neighbours that begin with those that a search for fewer of them returns.

        A graph that is asked for more looks further, and may then find one that belongs among the first; put there, it
        would push another onto the next page, where it was already seen or never is.

        Parameters
        ----------
        Q : ndarray of shape (q, dim), float32
            Queries.
        k : int
            Neighbours wanted.
        first : int
            Size of the first page; the list begins as those for ``first``, twice ``first`` and so on do.
        allowed, effort, recall, threads
            As in :meth:`search`.

        Returns
        -------
        Hits
            Of a graph: in the order of the pages, where a late find may have a higher score than one before it.
        """

        def search(size: int) -> Hits:
            return self.search(Q, size, allowed=allowed, effort=effort, recall=recall, threads=threads)

        exact = self.graph is None or (recall is not None and recall >= 1.0)
        return by_pages(search, len(Q), k, k if exact else first)

    @property
    def exact(self) -> bool:
        """Whether the scores of hits come from full vectors, and so are what ``score_ids`` returns, up to rounding."""
        return not self.coded

    def _masked(self, allowed: BitmapArray | None) -> BitmapArray | None:
        if not self.dead:
            return allowed
        return self._live if allowed is None else self._live & bitmaps.resize(allowed, len(self._live))

    def score_ids(self, q: FloatArray, ids: IdArray) -> FloatArray:
        """Return one query's exact scores with given rows, from the full vectors.

        Parameters
        ----------
        q : ndarray of shape (dim,), float32
            The query.
        ids : ndarray of shape (m,), int64
            Rows.

        Returns
        -------
        ndarray of shape (m,), float32
            -inf where a row has no vector.
        """
        return self._flat().score_ids(q, ids)

    def score_lists(
        self,
        Q: Sequence[FloatArray],
        queries: Sequence[int],
        ids: IdArray,
        bounds: IdArray,
        out: FloatArray,
        *,
        threads: int | None = None,
    ) -> None:
        """Score a list of rows for each of several queries: as ``score_ids``, but compiled and at once.

        Parameters
        ----------
        Q : sequence of ndarray of shape (dim,), float32, length m
            Queries.
        queries : sequence of int, length m
            Which list each query asks.
        ids, bounds : ndarray of int64
            The lists, back to back: list i is ``ids[bounds[i]:bounds[i + 1]]``.
        out : ndarray of shape (len(ids),), float32
            Receives the scores where it is -inf; left alone elsewhere, where a row has no vector, and where no query
            asks.
        threads : int, optional
            Threads; the scores do not depend on it.
        """
        self._flat().score_lists(np.stack(Q), queries, ids, bounds, out, threads=threads)


def by_pages(search: Callable[[int], Hits], queries: int, k: int, first: int) -> Hits:
    """Return k neighbours that begin with those that searches for fewer of them return.

    Parameters
    ----------
    search : callable of int
        Searches for so many neighbours of every query.
    queries : int
        How many queries there are.
    k : int
        Neighbours wanted.
    first : int
        Size of the first page. From k on there is nothing to keep in order, and one search is enough.

    Returns
    -------
    Hits
        In the order of the pages, with the cost of the last search.
    """
    if first >= k:
        return search(k)
    ids = np.full((queries, k), -1, dtype=np.int64)
    scores = np.full((queries, k), -np.inf, dtype=np.float32)
    counts = np.zeros(queries, dtype=np.int64)
    size = first
    while True:
        found = search(size)
        for i, count in enumerate(found.counts.tolist()):
            new = np.flatnonzero(~np.isin(found.ids[i, :count], ids[i, : counts[i]]))[: k - counts[i]]
            place = slice(int(counts[i]), int(counts[i]) + len(new))
            ids[i, place], scores[i, place] = found.ids[i, new], found.scores[i, new]
            counts[i] += len(new)
        if size >= k:
            return Hits(ids, scores, counts, found.cost)
        size *= 2


def _merged(first: Hits, second: Hits, k: int) -> tuple[IdArray, FloatArray]:
    """Join two lists that share no id; equal scores in order of ids, as within each of them."""
    ids = np.concatenate([first.ids, second.ids], axis=1)
    scores = np.concatenate([first.scores, second.scores], axis=1)
    order = np.lexsort((ids, -scores), axis=1)[:, :k]
    return np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)


def _joined(graph: SearchCost, tail: SearchCost, *, rows: int, seconds: float) -> SearchCost:
    exact = graph.plan.startswith("scan")
    return SearchCost(
        plan=graph.plan if exact else f"{graph.plan}+tail",
        distances=graph.distances + tail.distances,
        seconds=seconds,
        bytes_read=graph.bytes_read + tail.bytes_read,
        details={**graph.details, "tail_rows": rows},
    )
