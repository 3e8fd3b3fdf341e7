"""More like this: search by examples of what is wanted and what is not."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from orthant.collection.columns.predicates import Predicate
from orthant.collection.columns.table import Evaluation
from orthant.collection.columns.where import parse_where
from orthant.collection.dense import DenseIndex, dense_index
from orthant.collection.results import LegPlan, LegScore, Plan, SearchResult
from orthant.collection.stages.showing import Entry, make_hits, read_records
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.errors import InputError, NotFoundError, message
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, IdArray, Metric
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["SimilarOptions", "Strategy", "average_query", "check_similar", "run_similar"]

Strategy = Literal["average", "best"]


@dataclass(frozen=True)
class SimilarOptions:
    """Checked settings; see ``Collection.similar`` for their meaning."""

    positive: Sequence[Any]
    negative: Sequence[Any]
    k: int
    offset: int
    where: Mapping[str, Any] | None
    predicate: Predicate | None
    space: str
    strategy: Strategy
    min_score: float | None
    recall: float | None
    include_text: bool


def check_similar(
    positive: Any,
    negative: Any,
    *,
    k: int,
    offset: int,
    where: Mapping[str, Any] | None,
    space: str,
    strategy: Strategy,
    min_score: float | None,
    recall: float | None,
    include_text: bool,
) -> SimilarOptions:
    """Check what a search by examples asks for.

    Parameters
    ----------
    positive, negative, k, offset, where, space, strategy, min_score, recall, include_text
        As in ``Collection.similar``.

    Returns
    -------
    SimilarOptions
        The settings.

    Raises
    ------
    InputError
        No positive example, or a setting out of range.
    FilterError
        A malformed filter.
    """
    wanted, unwanted = _examples(positive, name="positive"), _examples(negative, name="negative")
    if not wanted:
        raise InputError(message("no positive example", "at least one id or vector", "pass positive=['...']"))
    if not isinstance(space, str):
        raise InputError(message(f"space of type {type(space).__name__}", "a name", "pass space='...'"))
    return SimilarOptions(
        positive=wanted,
        negative=unwanted,
        k=check_count(k, name="k"),
        offset=check_count(offset, name="offset", minimum=0),
        where=where,
        predicate=None if where is None else parse_where(where),
        space=space,
        strategy=check_choice(strategy, get_args(Strategy), name="strategy"),  # type: ignore[arg-type]
        min_score=None if min_score is None else check_fraction(min_score, name="min_score", low=-1e30, high=1e30),
        recall=None if recall is None else check_fraction(recall, name="recall"),
        include_text=include_text,
    )


def _examples(given: Any, *, name: str) -> list[Any]:
    if isinstance(given, str):
        return [given]
    if isinstance(given, np.ndarray) and given.ndim == 1:
        return [given]
    try:
        examples = list(given)
        # One vector written as a list, not a list of examples.
        return (
            [examples] if examples and all(isinstance(one, (int, float, np.number)) for one in examples) else examples
        )
    except TypeError as error:
        raise InputError(
            message(f"{name} of type {type(given).__name__}", "ids or vectors", f"pass {name}=['...']")
        ) from error


def average_query(P: FloatArray, N: FloatArray, *, metric: Metric) -> FloatArray:
    """Return one query vector for examples.

    Parameters
    ----------
    P : ndarray of shape (p, dim), float32
        What is wanted, p at least 1.
    N : ndarray of shape (n, dim), float32
        What is not.
    metric : {"cosine", "dot", "l2"}
        Under ``"cosine"`` every example counts with length 1.

    Returns
    -------
    ndarray of shape (dim,), float32
        ``mean(P)``, and as far again away from ``mean(N)``: ``mean(P) + (mean(P) - mean(N))``.

    Notes
    -----
    The weights sum to 1, so that moving all vectors moves the query along, as ``"l2"`` demands.

    References
    ----------
    J. Rocchio: Relevance feedback in information retrieval, in Salton: The SMART retrieval system, 1971.

    Examples
    --------
    >>> import numpy as np
    >>> average_query(np.eye(2, dtype=np.float32)[:1], np.eye(2, dtype=np.float32)[1:], metric="dot").tolist()
    [2.0, -1.0]
    """
    if metric == "cosine":
        P, N = _unit(P), _unit(N)
    centre = P.mean(axis=0, dtype=np.float64)
    if len(N):
        centre = 2 * centre - N.mean(axis=0, dtype=np.float64)
    return centre.astype(np.float32)


def _unit(X: FloatArray) -> FloatArray:
    return X / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True) if len(X) else X


def run_similar(store: Store, options: SimilarOptions) -> SearchResult:
    """Search by examples against one consistent generation.

    Parameters
    ----------
    store : Store
        The opened collection.
    options : SimilarOptions
        Checked settings.

    Returns
    -------
    SearchResult
        Hits without the examples.

    Raises
    ------
    NotFoundError
        No such space or id.
    InputError
        An example without a vector, or one that does not fit the space.
    """

    def run(connection: sqlite3.Connection, generation: Generation) -> SearchResult:
        return _run(store, connection, generation, options)

    return store.read(run)


def _run(store: Store, connection: sqlite3.Connection, generation: Generation, options: SimilarOptions) -> SearchResult:
    began = time.perf_counter()
    if options.space not in generation.spaces:
        raise NotFoundError(
            message(f"space {options.space!r}", "a space with vectors", "check the spelling, or add some")
        )
    P, own = _vectors(store, connection, generation, options.positive, options.space, name="positive")
    N, other = _vectors(store, connection, generation, options.negative, options.space, name="negative")
    filtered = None
    allowed = generation.live
    if options.predicate is not None:
        filtered = generation.columns.evaluate(options.predicate, live=generation.live)
        allowed = filtered.bitmap
    allowed = bitmaps.clear_rows(bitmaps.resize(allowed, len(generation.live)), np.concatenate([own, other]))
    prepared = time.perf_counter()
    search = _Search(dense_index(generation, options.space), allowed, options.recall)
    metric = generation.spaces[options.space].definition.metric
    end = options.offset + options.k
    if options.strategy == "average":
        rows, scores = search.average(average_query(P, N, metric=metric), end, options.k, metric)
    else:
        rows, scores = search.best(P, N, end)
    if options.min_score is not None:
        kept = scores.astype(np.float64) >= options.min_score
        rows, scores = rows[kept], scores[kept]
    searched = time.perf_counter()
    page = slice(options.offset, end)
    shown = zip(rows[page].tolist(), scores[page].tolist(), strict=True)
    entries = [
        Entry(row, score, rank, {"dense": LegScore(score, rank)})
        for rank, (row, score) in enumerate(shown, options.offset + 1)
    ]
    records = read_records(store, connection, [entry.row for entry in entries])
    hits = make_hits(
        entries,
        records,
        query=None,
        analyzer=generation.lexical.analyzer,
        explain=False,
        include_text=options.include_text,
    )
    seconds = {
        "examples": prepared - began,
        "dense": searched - prepared,
        "fetch": time.perf_counter() - searched,
    }
    return SearchResult(hits, _plan(generation, options, filtered, search, seconds, counts=(len(P), len(N))))


def _plan(
    generation: Generation,
    options: SimilarOptions,
    filtered: Evaluation | None,
    search: _Search,
    seconds: Mapping[str, float],
    *,
    counts: tuple[int, int],
) -> Plan:
    details = {
        "strategy": options.strategy,
        "positive": counts[0],
        "negative": counts[1],
        "distances": search.distances,
        "searches": search.searches,
        "exact": search.plan.startswith("scan"),
    }
    return Plan(
        mode="dense",
        space=options.space,
        generation=generation.number,
        records=generation.count,
        allowed=None if filtered is None else filtered.count,
        where=options.where,
        legs=(LegPlan("dense", search.plan, search.candidates, seconds["dense"], details),),
        fusion=None,
        seconds=seconds,
        warnings=() if filtered is None else filtered.warnings,
    )


def _vectors(
    store: Store,
    connection: sqlite3.Connection,
    generation: Generation,
    examples: Sequence[Any],
    space: str,
    *,
    name: str,
) -> tuple[FloatArray, IdArray]:
    """Return the vectors of examples, and the rows of those that are records."""
    state = generation.spaces[space]
    ids = [example for example in examples if isinstance(example, str)]
    given = [example for example in examples if not isinstance(example, str)]
    metric, dim = state.definition.metric, state.definition.dim
    parts = []
    rows = np.zeros(0, dtype=np.int64)
    if given:
        parts.append(as_vectors(given, dim=dim, name=f"{name} vector", nonzero=metric == "cosine"))
    if ids:
        rows = tables.find_rows(connection, store.database, ids)
        records = tables.fetch_records(connection, store.database, rows.tolist())
        known = {record[0] for record in records.values()}
        absent = next((key for key in ids if key not in known), None)
        if absent is not None:
            raise NotFoundError(message(f"{name} id {absent!r}", "the id of a stored record", "check it"))
        present, X = state.vectors_of(rows)
        if not present.all():
            lacking = records[int(rows[~present][0])][0]
            given_text = f"{name} example {lacking!r} without a vector in space {space!r}"
            raise InputError(message(given_text, "examples with vectors", "leave it out, or pass a vector"))
        parts.append(X)
    return np.concatenate(parts) if parts else np.zeros((0, dim), dtype=np.float32), rows


class _Search:
    """Runs the searches of one call and counts them."""

    def __init__(self, index: DenseIndex, allowed: BitmapArray, recall: float | None) -> None:
        self._index = index
        self._allowed = allowed
        self._count = bitmaps.count_bits(allowed)
        self._recall = recall
        self.plan = "scan"
        self.distances = 0
        self.searches = 0
        self.candidates = 0

    def _nearest(self, Q: FloatArray, k: int, *, first: int | None = None) -> tuple[list[IdArray], list[FloatArray]]:
        found = self._index.search_page(
            Q, k, first=k if first is None else first, allowed=self._allowed, recall=self._recall
        )
        self.plan = found.cost.plan
        self.distances += found.cost.distances
        self.searches += 1
        counts = found.counts.tolist()
        self.candidates += sum(counts)
        return (
            [found.ids[i, :count] for i, count in enumerate(counts)],
            [found.scores[i, :count] for i, count in enumerate(counts)],
        )

    def average(self, q: FloatArray, end: int, first: int, metric: Metric) -> tuple[IdArray, FloatArray]:
        if metric == "cosine" and not q.any():
            raise InputError(
                message(
                    "examples whose average has no direction",
                    "examples that do not cancel out",
                    "use strategy='best', or fewer negative examples",
                )
            )
        rows, scores = self._nearest(q[None], max(1, min(end, self._count)), first=first)
        return rows[0], scores[0]

    def best(self, P: FloatArray, N: FloatArray, end: int) -> tuple[IdArray, FloatArray]:
        """Search around every positive example, deepening until no record outside can be among the best."""
        size = max(1, min(max(2 * end, 16), self._count))
        while True:
            lists, scores = self._nearest(P, size)
            rows = np.unique(np.concatenate(lists))
            wanted = _closest(self._index, P, rows)
            kept = wanted > _closest(self._index, N, rows)
            order = np.lexsort((rows[kept], -wanted[kept]))
            ranked, values = rows[kept][order], wanted[kept][order]
            # A record that no list holds is no closer to any example than the last record of that example's list.
            beyond = max((float(s[-1]) for s in scores if len(s) == size), default=-np.inf)
            if size >= self._count or (len(values) >= end and values[end - 1] > beyond) or beyond == -np.inf:
                return ranked, values
            size = min(2 * size, self._count)


def _closest(index: DenseIndex, X: FloatArray, rows: IdArray) -> FloatArray:
    if not len(X) or not len(rows):
        return np.full(len(rows), -np.inf, dtype=np.float32)
    return np.max([index.score_ids(x, rows) for x in X], axis=0)
