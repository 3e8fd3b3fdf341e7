"""Running a search: filter, legs, fusion, page, fetch."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from orthant.collection import fusion
from orthant.collection.columns.table import Evaluation
from orthant.collection.columns.where import Predicate
from orthant.collection.dense import dense_index
from orthant.collection.lexical.analysis import Analyzer
from orthant.collection.results import Hit, LegPlan, LegScore, Plan, SearchResult
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, SearchCost

__all__ = ["Mode", "Query", "SearchOptions", "execute"]

Mode = Literal["dense", "lexical", "hybrid"]


@dataclass(frozen=True)
class Query:
    """One query, ready to run.

    Attributes
    ----------
    text : str or None
        For the lexical leg.
    vector : ndarray of shape (dim,), float32, or None
        For the dense leg.
    """

    text: str | None
    vector: FloatArray | None


@dataclass(frozen=True)
class SearchOptions:
    """Checked settings of a search; see ``Collection.search`` for their meaning."""

    mode: Mode
    space: str | None
    k: int
    offset: int
    predicate: Predicate | None
    where: Mapping[str, Any] | None
    depth: int
    fusion: Literal["minmax", "rrf"]
    weights: Mapping[str, float]
    min_score: float | None
    recall: float | None
    effort: int | None
    threads: int | None
    explain: bool
    include_text: bool
    syntax: Literal["operators", "plain"]


@dataclass(frozen=True)
class _Leg:
    """What one leg said of every ranked row; made into a `LegScore` only for the rows that are returned."""

    scores: FloatArray
    ranks: IdArray
    normalized: FloatArray | None = None
    weight: float | None = None

    def score(self, place: int) -> LegScore:
        score, rank = float(self.scores[place]), int(self.ranks[place])
        normalized = None if self.normalized is None else float(self.normalized[place])
        return LegScore(score if np.isfinite(score) else None, rank or None, normalized, self.weight)


@dataclass(frozen=True)
class _Ranking:
    """Rows of one query, best first, with what each leg said."""

    rows: IdArray
    scores: FloatArray
    legs: dict[str, _Leg]


def execute(
    store: Store, queries: Sequence[Query], options: SearchOptions, *, encode_seconds: float
) -> list[SearchResult]:
    """Run queries against one consistent generation.

    Parameters
    ----------
    store : Store
        The opened collection.
    queries : sequence of Query
        Checked queries.
    options : SearchOptions
        Shared by all queries.
    encode_seconds : float
        Time already spent on encoding the queries, for the plan.

    Returns
    -------
    list of SearchResult
        One per query.
    """

    def run(connection: sqlite3.Connection, generation: Generation) -> list[SearchResult]:
        return _execute(store, connection, generation, queries, options, _Clock({"encode": encode_seconds}))

    return store.read(run)


def _execute(
    store: Store,
    connection: sqlite3.Connection,
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    clock: _Clock,
) -> list[SearchResult]:
    allowed = None
    if options.predicate is not None:
        allowed = generation.columns.evaluate(options.predicate, live=generation.live)
        clock.lap("filter")
    dense = _dense(generation, queries, options, allowed) if options.mode != "lexical" else None
    clock.lap("dense")
    out: list[SearchResult] = []
    for i, query in enumerate(queries):
        lexical = _lexical(generation, query, options, allowed)
        clock.lap("lexical")
        ranking = _rank(generation, query, options, dense, i, lexical)
        clock.lap("fuse")
        hits = _fetch(store, connection, generation, ranking, query, options)
        clock.lap("fetch")
        plan = _plan(generation, query, options, allowed, dense, i, lexical, clock.seconds)
        out.append(SearchResult(hits, plan))
        clock = clock.fresh(keep=("encode", "filter", "dense"))
    return out


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def fresh(self, *, keep: Sequence[str]) -> _Clock:
        return _Clock({stage: self.seconds[stage] for stage in keep if stage in self.seconds})


def _leg_size(options: SearchOptions, generation: Generation) -> int:
    wanted = options.depth if options.mode == "hybrid" else options.offset + options.k
    # Room for more hits than there are records would only cost memory.
    return max(1, min(wanted, generation.count))


def _dense(
    generation: Generation, queries: Sequence[Query], options: SearchOptions, allowed: Evaluation | None
) -> Hits | None:
    if options.space is None or options.space not in generation.spaces:
        return None
    index = dense_index(generation, options.space)
    size = _leg_size(options, generation)
    ids = np.full((len(queries), size), -1, dtype=np.int64)
    scores = np.full(ids.shape, -np.inf, dtype=np.float32)
    counts = np.zeros(len(queries), dtype=np.int64)
    costs: list[SearchCost] = []
    for places, bitmap in _groups(generation, queries, options, allowed):
        vectors = np.stack([queries[i].vector for i in places])  # type: ignore[misc]
        found = index.search(
            vectors, size, allowed=bitmap, effort=options.effort, recall=options.recall, threads=options.threads
        )
        ids[places], scores[places], counts[places] = found.ids, found.scores, found.counts
        costs.append(found.cost)
    return Hits(ids, scores, counts, costs[0]) if costs else None


def _groups(
    generation: Generation, queries: Sequence[Query], options: SearchOptions, allowed: Evaluation | None
) -> list[tuple[list[int], BitmapArray | None]]:
    """Group queries that may see the same rows: ``-word``, ``+word`` and phrases bind the dense leg of a hybrid too."""
    shared = None if allowed is None else allowed.bitmap
    together: list[int] = []
    out: list[tuple[list[int], BitmapArray | None]] = []
    for i, query in enumerate(queries):
        if query.vector is None:
            continue
        condition = None
        if options.mode == "hybrid" and query.text is not None:
            condition = generation.lexical.matching(query.text, syntax=options.syntax)
        if condition is None:
            together.append(i)
        else:
            words = len(generation.live)
            condition = bitmaps.resize(condition, words)
            out.append(([i], condition if shared is None else condition & bitmaps.resize(shared, words)))
    return [(together, shared), *out] if together else out


@dataclass(frozen=True)
class _Lexical:
    rows: IdArray
    scores: FloatArray
    seconds: float


def _lexical(
    generation: Generation, query: Query, options: SearchOptions, allowed: Evaluation | None
) -> _Lexical | None:
    if options.mode == "dense" or query.text is None:
        return None
    started = time.perf_counter()

    rows, scores = generation.lexical.search(
        query.text,
        k=_leg_size(options, generation),
        allowed=None if allowed is None else allowed.bitmap,
        live=generation.live,
        syntax=options.syntax,
    )
    return _Lexical(rows, scores, time.perf_counter() - started)


def _rank(
    generation: Generation,
    query: Query,
    options: SearchOptions,
    dense: Hits | None,
    i: int,
    lexical: _Lexical | None,
) -> _Ranking:
    found: dict[str, tuple[IdArray, FloatArray]] = {}
    if dense is not None:
        count = int(dense.counts[i])
        found["dense"] = (dense.ids[i, :count], dense.scores[i, :count])
    if lexical is not None:
        found["lexical"] = (lexical.rows, lexical.scores)
    if options.mode == "hybrid":
        return _fused(generation, query, options, found)
    ((leg, (rows, scores)),) = (
        found.items() if found else (("dense", (np.zeros(0, np.int64), np.zeros(0, np.float32))),)
    )
    return _Ranking(rows, scores, {leg: _Leg(scores, np.arange(1, len(rows) + 1))})


def _fused(
    generation: Generation,
    query: Query,
    options: SearchOptions,
    found: Mapping[str, tuple[IdArray, FloatArray]],
) -> _Ranking:
    candidates = np.unique(np.concatenate([rows for rows, _ in found.values()]))
    raw: dict[str, FloatArray] = {}
    # Both legs score every candidate, so a record that one leg ranked low is not taken for one it never saw.
    if "dense" in found and query.vector is not None and options.space is not None:
        raw["dense"] = dense_index(generation, options.space).score_ids(query.vector, candidates)
    if "lexical" in found and query.text is not None:
        raw["lexical"] = generation.lexical.score_rows(query.text, candidates, syntax=options.syntax)
    places = {leg: fusion.ranks(candidates, found[leg][0]) for leg in raw}
    if options.fusion == "rrf":
        parts = {leg: fusion.reciprocal_ranks(places[leg]) for leg in raw}
    else:
        parts = {leg: fusion.min_max(raw[leg], low=0.0 if leg == "lexical" else None) for leg in raw}
    fused = fusion.weighted_sum(parts, options.weights) if parts else np.zeros(0, np.float32)
    order = np.lexsort((candidates, -fused))
    legs = {leg: _Leg(raw[leg][order], places[leg][order], parts[leg][order], options.weights[leg]) for leg in raw}
    return _Ranking(candidates[order], fused[order], legs)


def _fetch(
    store: Store,
    connection: sqlite3.Connection,
    generation: Generation,
    ranking: _Ranking,
    query: Query,
    options: SearchOptions,
) -> tuple[Hit, ...]:
    kept = len(ranking.rows)
    if options.min_score is not None:
        kept = int(np.searchsorted(-ranking.scores, -options.min_score, side="right"))
    page = slice(options.offset, min(kept, options.offset + options.k))
    rows = ranking.rows[page].tolist()
    records = tables.fetch_records(connection, store.database, rows)
    missing = [row for row in rows if row not in records]
    if missing:
        raise store.database.corrupted(f"row {missing[0]} is indexed but has no record")
    analyzer = generation.lexical.analyzer
    asked = _terms(analyzer, query.text) if options.explain else {}
    hits = []
    for place, (row, score) in enumerate(zip(rows, ranking.scores[page].tolist(), strict=True)):
        key, text, metadata = records[row]
        present = _terms(analyzer, text) if asked else {}
        matched = tuple(sorted(word for term, word in asked.items() if term in present))
        legs = {name: leg.score(options.offset + place) for name, leg in ranking.legs.items()}
        shown = text if options.include_text else None
        hits.append(Hit(key, score, options.offset + place + 1, shown, metadata, legs, matched))
    return tuple(hits)


def _terms(analyzer: Analyzer, text: str | None) -> dict[str, str]:
    return {analyzer.term(word): word for word in analyzer.words(text or "") if not analyzer.is_stop_word(word)}


def _plan(
    generation: Generation,
    query: Query,
    options: SearchOptions,
    allowed: Evaluation | None,
    dense: Hits | None,
    i: int,
    lexical: _Lexical | None,
    seconds: Mapping[str, float],
) -> Plan:
    legs: list[LegPlan] = []
    warnings = [] if allowed is None else list(allowed.warnings)
    if options.mode != "lexical" and query.vector is None:
        warnings.append("the query has no token that the encoder knows, so the dense leg found nothing")
    if dense is not None:
        cost = dense.cost
        details = {"distances": cost.distances, "bytes_read": cost.bytes_read, "exact": cost.plan.startswith("scan")}
        legs.append(LegPlan("dense", cost.plan, int(dense.counts[i]), cost.seconds, {**details, **cost.details}))
        problem = None if options.space is None else dense_index(generation, options.space).problem
        if problem is not None:
            warnings.append(f"every vector was compared, since the graph is out of use: {problem}")
    elif options.space is not None and options.space not in generation.spaces:
        warnings.append("no vectors are stored yet, so the dense leg found nothing")
    if lexical is not None:
        legs.append(LegPlan("lexical", "postings", len(lexical.rows), lexical.seconds))
    fused = None
    if options.mode == "hybrid":
        fused = {"method": options.fusion, "weights": dict(options.weights), "depth": options.depth}
    return Plan(
        mode=options.mode,
        space=options.space,
        generation=generation.number,
        records=generation.count,
        allowed=None if allowed is None else allowed.count,
        where=options.where,
        legs=tuple(legs),
        fusion=fused,
        seconds=dict(seconds),
        warnings=tuple(warnings),
    )
