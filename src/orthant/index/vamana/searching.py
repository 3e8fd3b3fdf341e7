"""Running a search on a graph: working room, threads, plans, and what it cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant import threads as pool
from orthant.index.vamana.planner import Filter, Plan, PlanName, allowed_slots, choose, choose_again, force
from orthant.index.vamana.state import State
from orthant.kernels import bitmaps
from orthant.kernels.graph import answers
from orthant.kernels.graph.beam import SHIFT
from orthant.kernels.graph.scan import search_slots
from orthant.kernels.graph.sketch import SKETCH_BYTES
from orthant.types import FloatArray, Hits, IdArray, SearchCost

__all__ = ["Request", "run"]

METRICS = {"dot": answers.DOT, "cosine": answers.COSINE, "l2": answers.L2}

_LEAST_QUERIES = 12
"""Queries that are worth a thread of their own."""
_LEAST_BLOCK, _MOST_BLOCK = 12, 64
"""Queries that are prepared and answered together, an eighth of all within these bounds: it must not depend on the
number of threads, since products of matrices may depend on it in the last bit."""
_FEW = 256
"""Slots that are compared by their full vectors without looking at codes."""
_SCANNED = 40_000
"""Slots to compare that are worth a thread of their own."""
_MANY = np.iinfo(np.int64).max
_EVERYTHING = np.zeros(0, np.uint64)
_TOGETHER = 1
"""Candidates expanded at once: memory is already asked for one step ahead."""


@dataclass(slots=True)
class Request:
    """A checked search.

    Attributes
    ----------
    queries : ndarray of shape (q, dim), float32
        Queries.
    k, effort : int
        Neighbours wanted and width of the beam.
    fewest : int
        Allowed slots that a walk past others needs where they are rare.
    allowed : Filter or None
        Slots that may be returned.
    margin : float
        Standard errors of slack when sketches decide.
    sketched : bool
        Whether they do.
    threads : int or None
        Threads.
    skips : ndarray of int32
        Empty, or a slot per query to treat as absent.
    view : ndarray of int64
        The graph as kernels see it.
    forced : {"graph", "graph-filtered", "scan-allowed"}, optional
        The plan, where it is not to be chosen; heeded under a filter only.
    full : bool, default True
        Whether full vectors decide. False lists the k nearest by their codes, best first, with minus the
        squared distances of the codes as scores.
    """

    queries: FloatArray
    k: int
    effort: int
    fewest: int
    allowed: Filter | None
    margin: float
    sketched: bool
    threads: int | None
    skips: npt.NDArray[np.int32]
    view: npt.NDArray[np.int64]
    forced: PlanName | None = None
    full: bool = True


class _Rooms:
    """Working room of searches, handed from one to the next: clearing it costs what a search touched, not its size."""

    def __init__(self) -> None:
        # Without a lock, which a process that is copied could find taken for good: taking and giving are atomic.
        self._free: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]] = []

    def take(self, state: State) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
        capacity = state.capacity
        room = capacity + (_TOGETHER + 1) * state.room + 64
        try:
            while True:
                pair = self._free.pop()
                if 64 * len(pair[0]) >= capacity and len(pair[1]) >= room:
                    return pair
        except IndexError:
            return np.zeros(bitmaps.words_for(capacity), np.uint64), np.empty(room, np.int32)

    def give(self, pair: tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]) -> None:
        if len(self._free) < 8:
            self._free.append(pair)


_rooms = _Rooms()


def rerank_count(state: State, k: int, effort: int) -> int:
    """Return how many candidates are scored by their full vectors."""
    # Codes of a reduced space order candidates less well than those of all dimensions.
    wanted = max(4 * k, k + 24) if state.space.basis is not None else max(2 * k, k + 16)
    return max(k, min(wanted, effort))


def _kept(state: State, request: Request, effort: int) -> int:
    """Return how many candidates are scored by their full vectors, or listed."""
    return rerank_count(state, request.k, effort) if request.full else request.k


def _metric(state: State, request: Request) -> int:
    return METRICS[state.space.metric] if request.full else answers.LISTED


def run(state: State, request: Request, *, told: Mapping[str, Any] | None = None) -> Hits:
    """Answer a request.

    Parameters
    ----------
    state : State
        The graph; must not change meanwhile.
    request : Request
        What is asked.
    told : mapping, optional
        Further details of the cost, where the graph was walked.

    Returns
    -------
    Hits
        Neighbours and cost.
    """
    begun = time.perf_counter()
    queries = np.ascontiguousarray(request.queries)
    if not queries.flags.writeable:
        # Kernels are compiled for arrays that may be written to; another kind would be compiled in the middle of this.
        queries = queries.copy()
    effort = max(request.effort, request.k)
    fewest = min(effort, max(request.fewest, request.k + max(1, request.k // 5)))
    if request.forced is not None and request.allowed is not None:
        plan = force(state, request.allowed, request.forced, effort=effort)
    else:
        plan = choose(state, request.allowed, k=request.k, effort=effort, fewest=fewest)
    out = _Answers.empty(len(queries), request.k)
    slots = _allowed(state, request) if plan.name == "scan-allowed" else None
    if slots is not None and len(slots) <= _FEW and request.full:
        out.compare(state, request, state.space.full_queries(queries), slots)
    else:
        given = _Queries(state, request, queries)
        if slots is not None:
            given.prepare_all()
            out.scan(state, request, given, slots)
        else:
            out.walk_blocks(state, request, plan, given)
            if out.fewest() < min(request.k, state.live):
                out.walk_again(state, request, given)
                out.complete(state, request, given)
    seen, expanded, compared, rescored = out.spent.tolist()
    details = {"effort": plan.effort, "expanded": expanded, "compared": compared, "rescored": rescored}
    if out.gave_up:
        details["gave_up"] = out.gave_up
    if told and slots is None:
        details.update(told)
    read = seen * SKETCH_BYTES * request.sketched + compared * state.space.width + rescored * 4 * state.space.dim
    cost = SearchCost(plan.name, seen, time.perf_counter() - begun, read, details)
    return Hits(ids=out.ids, scores=out.scores, counts=out.counts, cost=cost)


def _allowed(state: State, request: Request) -> npt.NDArray[np.int32]:
    """List the slots that a request allows."""
    if request.allowed is None:
        return state.live_slots().astype(np.int32)
    return allowed_slots(state, request.allowed, shift=int(request.view[SHIFT]))


class _Queries:
    """Queries as kernels want them, a block at a time: who prepares one answers it while it is in the cache."""

    def __init__(self, state: State, request: Request, queries: FloatArray) -> None:
        self.queries, self.full, self._space = queries, queries, state.space
        self._margin, self._threads = request.margin if request.sketched else 0.0, request.threads
        if state.space.metric == "cosine":
            self.full = np.empty_like(queries)
        self.rows = np.zeros((len(queries), state.space.query_bytes), np.uint8)
        self._block = min(max(-(-len(queries) // 8), _LEAST_BLOCK), _MOST_BLOCK)

    def __len__(self) -> int:
        return len(self.queries)

    @property
    def blocks(self) -> int:
        return -(-len(self.queries) // self._block)

    def prepare(self, block: int) -> tuple[int, int]:
        """Prepare a block and return its bounds."""
        start = block * self._block
        stop = min(start + self._block, len(self.queries))
        self._space.prepare(self.queries[start:stop], self._margin, self.full[start:stop], self.rows[start:stop])
        return start, stop

    def prepare_all(self) -> None:
        """Prepare what a scan of all queries needs."""
        pool.map_tasks(self.prepare, range(self.blocks), threads=self._threads)

    def some(self, which: IdArray) -> tuple[Any, FloatArray]:
        """Return rows and vectors of some of the queries, all of them prepared."""
        if len(which) == len(self.queries):
            return self.rows, self.full
        return np.ascontiguousarray(self.rows[which]), self.full[which]


@dataclass
class _Answers:
    ids: IdArray
    scores: FloatArray
    counts: npt.NDArray[np.int64]
    spent: npt.NDArray[np.int64]
    gave_up: int = 0

    @classmethod
    def empty(cls, queries: int, k: int) -> _Answers:
        """Return room for answers; whoever answers a query fills its row."""
        return cls(
            np.empty((queries, k), np.int64), np.empty((queries, k), np.float32), np.zeros(queries, np.int64),
            np.zeros(4, np.int64),
        )  # fmt: skip

    def fewest(self) -> int:
        """Return the fewest hits that a query has, -1 where a walk gave up."""
        if len(self.counts) == 1:
            return int(self.counts[0])
        return min(self.counts.tolist(), default=_MANY)

    def compare(self, state: State, request: Request, full: FloatArray, slots: Any) -> None:
        """Score every slot by its full vector: so few are quicker compared than encoded for."""
        answers.search_few(
            request.view, full, 0, len(full), request.k, METRICS[state.space.metric], slots,
            self.ids, self.scores, self.counts,
        )  # fmt: skip
        self.spent[0] += len(slots) * len(full)
        self.spent[3] += len(slots) * len(full)

    def walk_blocks(self, state: State, request: Request, plan: Plan, given: _Queries) -> None:
        """Prepare and answer all queries."""

        def part(first: int, last: int) -> npt.NDArray[np.int64]:
            spent = np.zeros(4, np.int64)
            for block in range(first, last):
                start, stop = given.prepare(block)
                _walk(state, request, plan, given.rows, given.full, self, spent, start, stop)
            return spent

        blocks = given.blocks
        if blocks == 1:
            # One query at a time is the commonest call.
            start, stop = given.prepare(0)
            _walk(state, request, plan, given.rows, given.full, self, self.spent, start, stop)
            return
        for spent in pool.map_ranges(part, blocks, threads=request.threads):
            self.spent += spent

    def walk(self, state: State, request: Request, plan: Plan, given: _Queries, which: IdArray) -> None:
        """Answer some queries that were prepared."""
        rows, full = given.some(which)
        whole = len(which) == len(given)
        out = self if whole else _Answers.empty(len(which), request.k)

        def part(start: int, stop: int) -> npt.NDArray[np.int64]:
            spent = np.zeros(4, np.int64)
            _walk(state, request, plan, rows, full, out, spent, start, stop)
            return spent

        for spent in pool.map_ranges(part, len(which), threads=request.threads, minimum=_LEAST_QUERIES):
            self.spent += spent
        if not whole:
            self.put(out, which)

    def put(self, part: _Answers, which: IdArray) -> None:
        """Take over the answers to some of the queries."""
        self.ids[which], self.scores[which], self.counts[which] = part.ids, part.scores, part.counts

    def walk_again(self, state: State, request: Request, given: _Queries) -> None:
        """Answer the queries whose walk gave up in another way."""
        which = np.flatnonzero(self.counts < 0)
        if not len(which) or request.allowed is None:
            return
        self.gave_up = len(which)
        plan = choose_again(state, request.allowed, effort=max(request.effort, request.k))
        if plan.name == "scan-allowed":
            self.scan(state, request, given, _allowed(state, request), which)
        else:
            self.walk(state, request, plan, given, which)

    def scan(self, state: State, request: Request, given: _Queries, slots: Any, which: IdArray | None = None) -> None:
        """Answer some queries, or all, that were prepared by comparing all slots."""
        view = request.view
        rerank = _kept(state, request, max(request.effort, 4 * request.k))
        # A part of the queries is answered in place only when it is all of them.
        count = len(given) if which is None else len(which)
        whole = which is None or count == len(given)
        chosen, exact = (given.rows, given.full) if which is None else given.some(which)
        out = self if whole else _Answers.empty(count, request.k)

        def part(start: int, stop: int) -> npt.NDArray[np.int64]:
            spent = np.zeros(4, np.int64)
            search_slots(
                view, chosen, exact, start, stop, request.k, rerank, _metric(state, request), slots,
                out.ids, out.scores, out.counts, spent,
            )  # fmt: skip
            return spent

        minimum = max(1, _SCANNED // max(1, len(slots)))
        for spent in pool.map_ranges(part, count, threads=request.threads, minimum=minimum):
            self.spent += spent
        if which is not None and not whole:
            self.put(out, which)

    def complete(self, state: State, request: Request, given: _Queries) -> None:
        """Scan for queries whose walk ended with fewer hits than there are."""
        if len(request.skips) or not (self.counts < min(request.k, state.live)).any():
            return
        slots = _allowed(state, request)
        short = np.flatnonzero(self.counts < min(request.k, len(slots)))
        if len(short):
            self.scan(state, request, given, slots, short)


def _walk(
    state: State, request: Request, plan: Plan, rows: Any, full: FloatArray, out: _Answers,
    spent: npt.NDArray[np.int64], start: int, stop: int,
) -> None:  # fmt: skip
    bitmap, words, mode = _EVERYTHING, -1, answers.ANY
    if request.allowed is not None and request.allowed.bitmap is not None:
        bitmap = request.allowed.bitmap
        words, mode = len(bitmap), answers.OVER if plan.name == "graph-filtered" else answers.PAST
    room = _rooms.take(state)
    answers.search_graph(
        request.view, rows, full, start, stop, request.k, plan.effort, _TOGETHER, _kept(state, request, plan.effort),
        _metric(state, request), plan.starts, bitmap, words, mode, plan.fewest, plan.spare, np.float32(plan.usual),
        plan.patience, request.skips, *room, out.ids, out.scores, out.counts, spent,
    )  # fmt: skip
    _rooms.give(room)
