"""The token leg of a space: exact MaxSim over the stored tokens of live, allowed records, or over candidates.

Where a space has a shortcut, it proposes records among the merged ones, and newer ones are compared one and all;
scores are exact either way. Segments are read where they lie. Runs of records of which all count are compared in place;
others, and tokens stored as float16, are gathered tile by tile, so a filter costs only what it lets through.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from orthant.collection.dense import DEFAULT_RECALL, by_pages
from orthant.collection.storage.generation import Generation, SegmentView, SpaceState, runs
from orthant.kernels import bitmaps
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.kernels.topk import merge_top_k, top_k
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, Ragged, SearchCost

__all__ = ["TokenIndex", "token_index"]

_TILE_BYTES = 16 << 20
_CANDIDATES_PER_HIT = 2


def token_index(generation: Generation, space: str) -> TokenIndex:
    """Return the token leg of a space, made once per generation.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    space : str
        Its name.

    Returns
    -------
    TokenIndex
        Shared by every search of the generation.
    """
    return generation.kept(("tokens", space), lambda: _make(generation, space))


def _make(generation: Generation, name: str) -> TokenIndex:
    space, live = generation.spaces[name], generation.live
    codes = space.attached_graph()
    if codes is None or space.graph is None:
        problem = None if space.graph is None else space.graph.problem
        return TokenIndex(space, live, problem=problem)
    below = space.graph.below
    dead = space.graph.rows - space.live_records(live, below=below)
    return TokenIndex(space, live, codes=codes, below=below, dead=dead)


class _Records:
    """The records of one segment: their rows, where their tokens begin, and which of them are live."""

    def __init__(self, view: SegmentView, space: SpaceState, live: BitmapArray, first_row: int) -> None:
        self.matrix = view.matrix(space.folder)
        space.folder.require_sound(view.state, self.matrix)
        begin = int(np.searchsorted(view.rows, first_row))
        rows = view.rows[begin:]
        first = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
        self.bounds = begin + np.append(first, len(rows)).astype(np.int64)
        self.rows = rows[first]
        self.live = bitmaps.contains_rows(live, self.rows)

    def tiles(self, chosen: IdArray, tokens: int) -> Iterator[tuple[IdArray, FloatArray, IdArray]]:
        """Yield rows, their tokens, and the offsets of each row's tokens, about so many tokens at a time."""
        sizes = np.cumsum(self.bounds[chosen + 1] - self.bounds[chosen])
        begin = 0
        while begin < len(chosen):
            before = sizes[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(sizes, before + tokens, side="right")))
            part, begin = chosen[begin:end], end
            yield self.rows[part], *self._tokens(part)

    def _tokens(self, part: IdArray) -> tuple[FloatArray, IdArray]:
        starts, stops = self.bounds[part], self.bounds[part + 1]
        if self.matrix.dtype == np.float32 and part[-1] - part[0] + 1 == len(part):
            return self.matrix, np.append(starts, stops[-1])
        lengths = stops - starts
        values = np.ascontiguousarray(self.matrix[runs(starts, lengths)], dtype=np.float32)
        return values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


class TokenIndex:
    """Searches the tokens of one space of one generation.

    Parameters
    ----------
    space : SpaceState
        The space; its checksums are verified at the first search.
    live : ndarray of uint64
        Live rows.
    codes : SetCodes, optional
        What proposes candidates among the merged rows. None compares everything.
    below : int, default 0
        Rows from here on are not merged, and are compared one and all.
    dead : int, default 0
        Merged rows that were deleted since.
    problem : str, optional
        Why there are no codes although there should be.
    """

    def __init__(
        self,
        space: SpaceState,
        live: BitmapArray,
        *,
        codes: Any | None = None,
        below: int = 0,
        dead: int = 0,
        problem: str | None = None,
    ) -> None:
        self._space = space
        self._live = live
        self.codes = codes
        self.below = below
        self.dead = dead
        self.problem = problem

    @cached_property
    def _all(self) -> list[_Records]:
        return [_Records(view, self._space, self._live, 0) for view in self._space.segments if len(view.rows)]

    @cached_property
    def _late(self) -> list[_Records]:
        views = (view for view in self._space.segments if len(view.rows) and view.rows[-1] >= self.below)
        return [_Records(view, self._space, self._live, self.below) for view in views]

    @cached_property
    def _held(self) -> BitmapArray:
        """Live rows with tokens."""
        return self._live & bitmaps.resize(self._space.rows_bitmap(), len(self._live))

    @cached_property
    def tail(self) -> int:
        """Live records that are not merged."""
        return 0 if self.codes is None else sum(int(part.live.sum()) for part in self._late)

    def search(
        self,
        Q: Ragged,
        k: int = 10,
        *,
        allowed: BitmapArray | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return the k records of the largest MaxSim for each query.

        Parameters
        ----------
        Q : Ragged of q queries
            Token vectors, one at least per query.
        k : int, default 10
            Records wanted.
        allowed : ndarray of uint64, optional
            Bitmap over rows. Where fewer rows pass than the space compares exactly, all of these are.
        effort : int, optional
            Candidates compared exactly where there is a shortcut; at least k are.
        recall : float, optional
            Instead, the share of the true neighbours to find on average, default 0.95: by the least effort that was
            measured to reach it, on queries of the user or else on parts of records. Where none does, everything is
            compared, as for 1.
        threads : int, optional
            Left out, all that the process may use.

        Returns
        -------
        Hits
            Scores are exact; equal scores by the smaller row. ``cost.plan`` is ``"scan"``, ``"scan-allowed"``, or the
            method of the shortcut, perhaps with ``"-filtered"`` and ``"+tail"``.

        Notes
        -----
        Cost of a scan: tokens of the queries times tokens of the allowed records times dim.
        """
        if self.codes is None or (recall is not None and recall >= 1.0):
            return self._scan(self._all, Q, k, allowed, threads)
        passing = bitmaps.count_bits(self._held if allowed is None else self._held & self._fitting(allowed))
        if allowed is not None and passing < self._space.shortcut.exact_below:
            return self._scan(self._all, Q, k, allowed, threads)
        width = self._width(k, effort, recall)
        if width is None:
            why = f"no measured effort reaches a recall of {DEFAULT_RECALL if recall is None else recall:g}"
            return self._scan(self._all, Q, k, allowed, threads, why=why)
        began = time.perf_counter()
        mask = allowed if not self.dead else self._held if allowed is None else self._held & self._fitting(allowed)
        found = self.codes.search(Q, k, allowed=mask, effort=width, threads=threads)
        late = self._scan(self._late, Q, k, allowed, threads) if self.tail else None
        joined = [(part.ids, part.scores) for part in (found, late) if part is not None]
        ids, scores, counts = merge_top_k(joined, k)
        if counts.min(initial=k) < min(k, passing):
            # A page must not come out short because too little was proposed.
            return self._scan(self._all, Q, k, allowed, threads, why="too few candidates were proposed")
        cost = _joined(found.cost, late, self.tail, filtered=allowed is not None, stride=self._space.folder.stride)
        return Hits(ids, scores, counts, replace(cost, seconds=time.perf_counter() - began))

    def search_page(
        self,
        Q: Ragged,
        k: int,
        *,
        first: int,
        allowed: BitmapArray | None = None,
        effort: int | None = None,
        recall: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return k records that begin with those that a search for fewer of them returns; see ``DenseIndex``.

        Parameters
        ----------
        Q : Ragged of q queries
            Token vectors.
        k : int
            Records wanted.
        first : int
            Size of the first page.
        allowed, effort, recall, threads
            As in :meth:`search`.

        Returns
        -------
        Hits
            In the order of the pages.
        """

        def search(size: int) -> Hits:
            return self.search(Q, size, allowed=allowed, effort=effort, recall=recall, threads=threads)

        exact = self.codes is None or (recall is not None and recall >= 1.0)
        return by_pages(search, len(Q), k, k if exact else first)

    def _fitting(self, allowed: BitmapArray) -> BitmapArray:
        return bitmaps.resize(allowed, len(self._live))

    def _width(self, k: int, effort: int | None, recall: float | None) -> int | None:
        """Return how many candidates are compared; None where none that was measured is enough."""
        if effort is not None:
            return max(effort, k)
        wanted = DEFAULT_RECALL if recall is None else recall
        known = self._space.shortcut.measured or self.codes.calibration  # type: ignore[union-attr]
        enough = [width for width, measured in known if measured >= wanted]
        # What was measured is for some ten neighbours; more of them take candidates in proportion.
        return max(min(enough), _CANDIDATES_PER_HIT * k) if enough else None

    def _scan(
        self,
        parts: list[_Records],
        Q: Ragged,
        k: int,
        allowed: BitmapArray | None,
        threads: int | None,
        *,
        why: str | None = None,
    ) -> Hits:
        began = time.perf_counter()
        size = max(1, _TILE_BYTES // (4 * self._space.definition.dim))
        nothing = np.full((len(Q), 1), -1, dtype=np.int64), np.full((len(Q), 1), -np.inf, dtype=np.float32)
        best, compared = nothing, 0
        for segment in parts:
            keep = segment.live if allowed is None else segment.live & bitmaps.contains_rows(allowed, segment.rows)
            for rows, tokens, offsets in segment.tiles(np.flatnonzero(keep), size):
                compared += int(offsets[-1] - offsets[0])
                scores = maxsim_scores(Q.values, Q.offsets, tokens, offsets, threads=threads)
                best = merge_top_k([best, top_k(scores, k, ids=rows)[:2]], k)[:2]
        ids, found, counts = merge_top_k([best], k)
        cost = SearchCost(
            plan="scan" if allowed is None else "scan-allowed",
            distances=len(Q.values) * compared,
            seconds=time.perf_counter() - began,
            bytes_read=compared * self._space.folder.stride,
            details={"tokens": compared, **({} if why is None else {"why": why})},
        )
        return Hits(ids, found, counts, cost)

    def score_ids(self, tokens: FloatArray, ids: IdArray) -> FloatArray:
        """Return one query's MaxSim with given rows.

        Parameters
        ----------
        tokens : ndarray of shape (t, dim), float32
            The query.
        ids : ndarray of shape (m,), int64
            Rows.

        Returns
        -------
        ndarray of shape (m,), float32
            -inf where a row has no tokens.
        """
        present, held = self._space.tokens_of(ids)
        return present_scores(tokens, present, held)


def present_scores(tokens: FloatArray, present: IdArray, held: Ragged) -> FloatArray:
    """Return one query's MaxSim with sets of tokens of which some are empty.

    Parameters
    ----------
    tokens : ndarray of shape (t, dim), float32
        The query.
    present : ndarray of shape (m,), bool
        Which sets have tokens.
    held : Ragged of m sets
        The tokens.

    Returns
    -------
    ndarray of shape (m,), float32
        -inf for an empty set.
    """
    out = np.full(len(held), -np.inf, dtype=np.float32)
    if present.any():
        offsets = np.append(held.offsets[:-1][present], held.offsets[-1])
        query = np.array([0, len(tokens)], dtype=np.int64)
        out[present] = maxsim_scores(tokens, query, held.values, offsets)[0]
    return out


def _joined(proposed: SearchCost, late: Hits | None, tail: int, *, filtered: bool, stride: int) -> SearchCost:
    """Return what a search by candidates cost, in the units of a scan: products of two tokens."""
    told = dict(proposed.details)
    tokens = 0 if late is None else int(late.cost.details["tokens"])
    details = {
        "candidates": told["effort"],
        "products": told["products"],
        "proposal_compared": told["proposal_compared"],
        "tail_rows": tail,
        "tail_tokens": tokens,
    }
    return SearchCost(
        plan=proposed.plan + "-filtered" * filtered + "+tail" * (late is not None),
        distances=told["products"] + told["proposal_compared"] + (0 if late is None else late.cost.distances),
        bytes_read=proposed.bytes_read + tokens * stride,
        details=details,
    )
