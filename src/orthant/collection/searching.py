"""Running a search: filter, legs, fusion, stages, page, fetch."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from orthant.collection import fusion
from orthant.collection.columns.table import Evaluation
from orthant.collection.columns.where import Predicate
from orthant.collection.dense import dense_index
from orthant.collection.legs.vectors import VECTOR_LEGS, SpaceChangedError, leg_size, space_leg, vector_legs
from orthant.collection.results import Group, LegPlan, LegScore, Plan, SearchResult, StagePlan
from orthant.collection.sparse.explaining import shared_terms
from orthant.collection.sparse.leg import found_rows, search_leg
from orthant.collection.stages.facets import Facet, facets_of
from orthant.collection.stages.options import StageOptions
from orthant.collection.stages.pipeline import Arrangement, arrange, prepare
from orthant.collection.stages.showing import Entry, StoredRecord, make_hits, read_records
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.collection.tokens.explaining import alignments
from orthant.collection.tokens.index import token_index
from orthant.collection.tokens.queries import TokenSettings
from orthant.collection.tokens.reranking import BoundTokens, StoredTokens
from orthant.encoders.sparse.rows import SparseVector
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, Hits, IdArray

__all__ = ["Mode", "Query", "SearchOptions", "SpaceChangedError", "execute", "rank_queries"]

Mode = Literal["dense", "lexical", "sparse", "tokens", "hybrid"]


@dataclass(frozen=True)
class Query:
    """One query, ready to run.

    Attributes
    ----------
    text : str or None
        For the lexical leg.
    vector : ndarray of shape (dim,), float32, or None
        For the dense leg.
    tokens : mapping of str to ndarray of shape (t, dim), float32
        By space of tokens; absent where the query has none that counts.
    vectors : mapping of str to ndarray of shape (dim,), float32
        For the legs of a search over several spaces, by space; absent where the query has no known token.
    sparse : SparseVector or None
        For the sparse leg.
    """

    text: str | None
    vector: FloatArray | None
    sparse: SparseVector | None = None
    tokens: Mapping[str, FloatArray] = field(default_factory=dict)
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)


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
    stages: StageOptions
    sparse_space: str | None = None
    fingerprint: str | None = None
    tokens: TokenSettings = field(default_factory=TokenSettings)
    # Several spaces of vectors searched together, with the fingerprints that the query was encoded for.
    spaces: Mapping[str, str | None] = field(default_factory=dict)
    vocabulary: Sequence[str] | None = None
    notes: tuple[str, ...] = ()

    @property
    def reach(self) -> int:
        """The most candidates that the legs of a hybrid search can bring."""
        single = sum(one is not None for one in (self.space, self.sparse_space, self.tokens.leg))
        return self.depth * (self.by_words + single + len(self.spaces))

    @property
    def by_words(self) -> bool:
        """Whether a hybrid search has a lexical leg: over several spaces only where words have a weight."""
        return "lexical" in self.weights


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

    def extended(self, more: _Leg, chosen: IdArray) -> _Leg:
        """Return this leg followed by some places of another."""
        normalized = None
        if self.normalized is not None and more.normalized is not None:
            normalized = np.concatenate([self.normalized, more.normalized[chosen]])
        scores = np.concatenate([self.scores, more.scores[chosen]])
        return _Leg(scores, np.concatenate([self.ranks, more.ranks[chosen]]), normalized, self.weight)


@dataclass(frozen=True)
class _Ranking:
    """Rows of one query, best first, with what each leg said."""

    rows: IdArray
    scores: FloatArray
    legs: dict[str, _Leg]

    def leg_scores(self, place: int) -> dict[str, LegScore]:
        return {name: leg.score(place) for name, leg in self.legs.items()}

    def extended(self, more: _Ranking) -> _Ranking:
        """Return this ranking followed by what only another one has, so that no page shown before changes."""
        chosen = np.flatnonzero(~np.isin(more.rows, self.rows))
        legs = {name: leg.extended(more.legs[name], chosen) for name, leg in self.legs.items()}
        rows = np.concatenate([self.rows, more.rows[chosen]])
        return _Ranking(rows, np.concatenate([self.scores, more.scores[chosen]]), legs)


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

    def run(connection: sqlite3.Connection, generation: Generation) -> list[Callable[[], SearchResult]]:
        return _execute(store, connection, generation, queries, options, _Clock({"encode": encode_seconds}))

    # A reranker may take seconds, for which no read transaction should stay open.
    return [finish() for finish in store.read(run)]


def rank_queries(generation: Generation, queries: Sequence[Query], options: SearchOptions) -> Iterator[_Ranking]:
    """Rank every candidate of some queries as a search would, without stages, pages and records.

    Parameters
    ----------
    generation : Generation
        What is seen.
    queries : sequence of Query
        Checked queries.
    options : SearchOptions
        Shared by all queries.

    Yields
    ------
    ranking
        ``rows`` and ``scores`` of shape (m,), best first, and per leg in ``legs`` its ``scores``, ``ranks`` (0 for a
        row that the leg did not bring) and, in hybrid search, ``normalized``, all of shape (m,).
    """
    allowed = None
    if options.predicate is not None:
        allowed = generation.columns.evaluate(options.predicate, live=generation.live)
    vectors, clock = vector_legs(generation, queries, options, allowed), _Clock({})
    for i, query in enumerate(queries):
        yield _rank(generation, query, options, vectors, i, _postings(generation, query, options, allowed, clock))


def _execute(
    store: Store,
    connection: sqlite3.Connection,
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    clock: _Clock,
) -> list[Callable[[], SearchResult]]:
    allowed = None
    if options.predicate is not None:
        allowed = generation.columns.evaluate(options.predicate, live=generation.live)
        clock.lap("filter")
    vectors = vector_legs(generation, queries, options, allowed, lap=clock.lap)
    out: list[Callable[[], SearchResult]] = []
    counted: _Counted = {}
    for i, query in enumerate(queries):
        postings = _postings(generation, query, options, allowed, clock)
        ranking = _rank(generation, query, options, vectors, i, postings)
        clock.lap("fuse")
        source = _Source(generation, query, options, allowed, ranking, vectors, postings, i)
        out.append(_answer(store, connection, source, clock, counted))
        clock = clock.fresh(keep=("encode", "filter", *VECTOR_LEGS))
    return out


def _answer(
    store: Store, connection: sqlite3.Connection, source: _Source, clock: _Clock, counted: _Counted
) -> Callable[[], SearchResult]:
    """Read what a query's hits need, and return what makes them; only a reranker is left to run by it."""
    options, generation, stages = source.options, source.generation, source.options.stages

    def read(rows: Sequence[int]) -> dict[int, StoredRecord]:
        return read_records(store, connection, rows)

    facets, facet_plans, warnings = _facets(source, counted)
    clock.skip()
    if not stages.ordered:
        entries = _page(source.ranking, options)
        records = read([entry.row for entry in entries])
        clock.lap("fetch")
        arrangement = Arrangement(tuple(entries), (), (), ())
        return lambda: _result(source, arrangement, records, facets, facet_plans, warnings, clock)
    pool = prepare(generation, source.ranking, stages, depth=options.depth, read=read, bind=_binding(source))
    clock.lap("fetch")

    def arranged() -> Arrangement:
        return arrange(
            pool,
            stages,
            query=source.query.text if source.query.text is not None else source.query.vector,
            k=options.k,
            offset=options.offset,
            min_score=options.min_score,
            generation=generation,
            matched=source.matched(),
            source=source,
        )

    if stages.reranker is not None:
        return lambda: _result(source, arranged(), pool.records, facets, facet_plans, warnings, clock)
    arrangement = arranged()
    clock.skip()
    records = read([entry.row for entry in arrangement.entries])
    clock.lap("fetch")
    return lambda: _result(source, arrangement, records, facets, facet_plans, warnings, clock)


def _binding(source: _Source) -> Callable[[IdArray], BoundTokens] | None:
    """Return what compares the stored tokens of candidates, where these order them again."""
    space = source.options.tokens.rerank
    if space is None or not isinstance(source.options.stages.reranker, StoredTokens):
        return None
    return lambda rows: BoundTokens(source.generation, space, rows, source.query.tokens.get(space))


def _result(
    source: _Source,
    arrangement: Arrangement,
    records: Mapping[int, StoredRecord],
    facets: Mapping[str, Facet],
    facet_plans: Sequence[StagePlan],
    warnings: Sequence[str],
    clock: _Clock,
) -> SearchResult:
    options = source.options
    hits = make_hits(
        arrangement.entries,
        records,
        query=source.query.text,
        analyzer=source.generation.lexical.analyzer,
        explain=options.explain,
        include_text=options.include_text,
        alignments=alignments(source.generation, source.query, options, arrangement.entries, records),
        shared=shared_terms(source.generation, source.query, options, arrangement.entries),
    )
    groups, begin = [], 0
    for group in arrangement.groups:
        own = hits[begin : begin + group.size]
        groups.append(Group(group.value, max(hit.score for hit in own), group.rank, group.count, own))
        begin += group.size
    stages = (*arrangement.plans, *facet_plans)
    seconds = {**clock.seconds, **{stage.name: stage.seconds for stage in stages}}
    plan = _plan(source, seconds, stages, (*arrangement.warnings, *warnings))
    return SearchResult(hits, plan, tuple(groups), facets)


_Counted = dict[int, tuple[dict[str, Facet], list[str]]]
"""Facets by the identity of the set that they count, which queries without conditions of their own share."""


def _facets(source: _Source, counted: _Counted) -> tuple[dict[str, Facet], tuple[StagePlan, ...], list[str]]:
    wanted = source.options.stages.facets
    if not wanted:
        return {}, (), []
    began = time.perf_counter()
    matched = source.matched()
    shared = matched is source.everything
    found = counted.get(id(matched)) if shared else None
    if found is None:
        found = facets_of(source.generation, wanted, matched)
        if shared:
            counted[id(matched)] = found
    seconds = time.perf_counter() - began
    details = {"shared": shared}
    plan = StagePlan("facets", "columns", bitmaps.count_bits(matched), len(wanted), seconds, details)
    return found[0], (plan,), found[1]


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def skip(self) -> None:
        """Leave out what a stage has counted itself."""
        self._last = time.perf_counter()

    def fresh(self, *, keep: Sequence[str]) -> _Clock:
        return _Clock({stage: self.seconds[stage] for stage in keep if stage in self.seconds})


class _Source:
    """One query with what its legs brought, and the way to more."""

    def __init__(
        self,
        generation: Generation,
        query: Query,
        options: SearchOptions,
        allowed: Evaluation | None,
        ranking: _Ranking,
        vectors: Mapping[str, Hits],
        postings: Mapping[str, _Found],
        place: int,
    ) -> None:
        self.generation = generation
        self.query = query
        self.options = options
        self.allowed = allowed
        self.ranking = ranking
        self.vectors = vectors
        self.postings = postings
        self.place = place
        self._depth = options.depth

    @property
    def everything(self) -> BitmapArray:
        """All rows that pass the filter."""
        return self.generation.live if self.allowed is None else self.allowed.bitmap

    def matched(self) -> BitmapArray:
        """Return all rows that match: filter, words or terms of the one leg, conditions on words of a hybrid search."""
        generation, text, rows = self.generation, self.query.text, self.everything
        if self.options.mode == "sparse":
            return found_rows(generation, self.options.sparse_space, self.query.sparse, rows)
        if self.options.mode in VECTOR_LEGS or text is None:
            return rows
        if self.options.mode == "lexical":
            return generation.lexical.found(text, allowed=rows & generation.live, syntax=self.options.syntax)
        condition = generation.lexical.matching(text, syntax=self.options.syntax)
        return rows if condition is None else rows & bitmaps.resize(condition, len(rows))

    def deeper(self, min_score: float | None) -> _Ranking | None:
        """Return the ranking with twice the candidates behind it, or None where there can be no more."""
        hybrid = self.options.mode == "hybrid"
        scores = self.ranking.scores
        if self._depth >= self.generation.count:
            return None
        if not hybrid and (len(scores) < self._depth or (min_score is not None and scores[-1] < min_score)):
            return None
        self._depth = min(2 * self._depth, self.generation.count)
        more, self.vectors, self.postings = self._again(self._depth, self.allowed)
        self.place = 0
        self.ranking = self.ranking.extended(more)
        return self.ranking

    def within(self, allowed: BitmapArray, k: int) -> _Ranking | None:
        """Return the best of some rows; None in hybrid search, whose scores hang on the other candidates."""
        if self.options.mode == "hybrid":
            return None
        return self._again(k, Evaluation(allowed, bitmaps.count_bits(allowed)))[0]

    def _again(
        self, depth: int, allowed: Evaluation | None
    ) -> tuple[_Ranking, Mapping[str, Hits], Mapping[str, _Found]]:
        options = replace(self.options, depth=depth)
        generation, query, clock = self.generation, self.query, _Clock({})
        vectors = vector_legs(generation, [query], options, allowed)
        postings = _postings(generation, query, options, allowed, clock)
        return _rank(generation, query, options, vectors, 0, postings), vectors, postings


@dataclass(frozen=True)
class _Found:
    """What a leg over posting lists brought."""

    rows: IdArray
    scores: FloatArray
    seconds: float


def _postings(
    generation: Generation, query: Query, options: SearchOptions, allowed: Evaluation | None, clock: _Clock
) -> dict[str, _Found]:
    """Run the legs over posting lists: words, and weighted terms."""
    out: dict[str, _Found] = {}
    size, bitmap = leg_size(options, generation), None if allowed is None else allowed.bitmap
    if options.mode in ("lexical", "hybrid") and query.text is not None and options.by_words:
        started = time.perf_counter()
        rows, scores = generation.lexical.search(
            query.text, k=size, allowed=bitmap, live=generation.live, syntax=options.syntax
        )
        out["lexical"] = _Found(rows, scores, time.perf_counter() - started)
    clock.lap("lexical")
    if options.sparse_space is not None and query.sparse is not None:
        started = time.perf_counter()
        condition = None
        if options.mode == "hybrid" and query.text is not None:
            condition = generation.lexical.matching(query.text, syntax=options.syntax)
        space = options.sparse_space
        rows, scores = search_leg(generation, space, query.sparse, k=size, allowed=bitmap, condition=condition)
        out["sparse"] = _Found(rows, scores, time.perf_counter() - started)
        clock.lap("sparse")
    return out


def _rank(
    generation: Generation,
    query: Query,
    options: SearchOptions,
    vectors: Mapping[str, Hits],
    i: int,
    postings: Mapping[str, _Found],
) -> _Ranking:
    found: dict[str, tuple[IdArray, FloatArray]] = {}
    for name, hits in vectors.items():
        count = int(hits.counts[i])
        found[name] = (hits.ids[i, :count], hits.scores[i, :count])
    found |= {leg: (brought.rows, brought.scores) for leg, brought in postings.items()}
    if options.mode == "hybrid":
        return _fused(generation, query, options, found)
    ((leg, (rows, scores)),) = (
        found.items() if found else ((options.mode, (np.zeros(0, np.int64), np.zeros(0, np.float32))),)
    )
    return _Ranking(rows, scores, {leg: _Leg(scores, np.arange(1, len(rows) + 1))})


def _fused(
    generation: Generation,
    query: Query,
    options: SearchOptions,
    found: Mapping[str, tuple[IdArray, FloatArray]],
) -> _Ranking:
    none = np.zeros(0, dtype=np.int64)
    candidates = np.unique(np.concatenate([none, *(rows for rows, _ in found.values())]))
    raw: dict[str, FloatArray] = {}
    # Every leg scores every candidate, so a record that one leg ranked low is not taken for one it never saw.
    if "dense" in found and query.vector is not None and options.space is not None:
        raw["dense"] = dense_index(generation, options.space).score_ids(query.vector, candidates)
    for space, vector in query.vectors.items():
        if space_leg(space) in found:
            raw[space_leg(space)] = dense_index(generation, space).score_ids(vector, candidates)
    leg = options.tokens.leg
    if "tokens" in found and leg is not None and leg in query.tokens:
        raw["tokens"] = token_index(generation, leg).score_ids(query.tokens[leg], candidates)
    if "lexical" in found and query.text is not None:
        raw["lexical"] = generation.lexical.score_rows(query.text, candidates, syntax=options.syntax)
    if "sparse" in found and query.sparse is not None and options.sparse_space is not None:
        raw["sparse"] = generation.sparse[options.sparse_space].index.score_rows(query.sparse, candidates)
    places = {leg: fusion.ranks(candidates, found[leg][0]) for leg in raw}
    if options.fusion == "rrf":
        parts = {leg: fusion.reciprocal_ranks(places[leg]) for leg in raw}
    else:
        parts = {leg: fusion.scaled(leg, raw[leg]) for leg in raw}
    fused = fusion.weighted_sum(parts, options.weights) if parts else np.zeros(0, np.float32)
    order = np.lexsort((candidates, -fused))
    legs = {leg: _Leg(raw[leg][order], places[leg][order], parts[leg][order], options.weights[leg]) for leg in raw}
    return _Ranking(candidates[order], fused[order], legs)


def _page(ranking: _Ranking, options: SearchOptions) -> list[Entry]:
    places = np.arange(len(ranking.rows))
    if options.min_score is not None:
        places = places[ranking.scores.astype(np.float64) >= options.min_score]
    page = places[options.offset : options.offset + options.k].tolist()
    return [
        Entry(int(ranking.rows[place]), float(ranking.scores[place]), rank, ranking.leg_scores(place))
        for rank, place in enumerate(page, options.offset + 1)
    ]


def _leg_plan(name: str, found: Hits, i: int) -> LegPlan:
    cost = found.cost
    details = {"distances": cost.distances, "bytes_read": cost.bytes_read, "exact": cost.plan.startswith("scan")}
    return LegPlan(name, cost.plan, int(found.counts[i]), cost.seconds, {**details, **cost.details})


def _plan(
    source: _Source, seconds: Mapping[str, float], stages: tuple[StagePlan, ...], more_warnings: Sequence[str]
) -> Plan:
    generation, options, query, allowed = source.generation, source.options, source.query, source.allowed
    dense, i = source.vectors.get("dense"), source.place
    legs: list[LegPlan] = []
    warnings = [*options.notes, *(() if allowed is None else allowed.warnings)]
    if options.space is not None and query.vector is None:
        warnings.append("the query has no token that the encoder knows, so the dense leg found nothing")
    if dense is not None:
        legs.append(_leg_plan("dense", dense, i))
        problem = None if options.space is None else dense_index(generation, options.space).problem
        if problem is not None:
            warnings.append(f"every vector was compared, since the graph is out of use: {problem}")
    elif options.space is not None and options.space not in generation.spaces:
        warnings.append("no vectors are stored yet, so the dense leg found nothing")
    for space in options.spaces:
        if space not in query.vectors:
            warnings.append(f"the query has no token that the encoder of space {space!r} knows")
        elif space_leg(space) in source.vectors:
            legs.append(_leg_plan(space_leg(space), source.vectors[space_leg(space)], i))
    late = options.tokens.leg
    if late is not None and late not in query.tokens:
        warnings.append("the query has no token that counts, so the token leg found nothing")
    if "tokens" in source.vectors:
        legs.append(_leg_plan("tokens", source.vectors["tokens"], i))
        problem = token_index(generation, late or "").problem
        if problem is not None:
            warnings.append(f"every token was compared, since the codes are out of use: {problem}")
    if options.sparse_space is not None and query.sparse is None:
        warnings.append("the query has no weighted term, so the sparse leg found nothing")
    for leg, found in source.postings.items():
        told = {"space": options.sparse_space, "terms": len(query.sparse or ())} if leg == "sparse" else {}
        legs.append(LegPlan(leg, "postings", len(found.rows), found.seconds, told))
    fused = None
    if options.mode == "hybrid":
        fused = {"method": options.fusion, "weights": dict(options.weights), "depth": options.depth}
    return Plan(
        mode=options.mode,
        space=options.space or late or ", ".join(options.spaces) or None,
        generation=generation.number,
        records=generation.count,
        allowed=None if allowed is None else allowed.count,
        where=options.where,
        legs=tuple(legs),
        fusion=fused,
        seconds=dict(seconds),
        warnings=(*warnings, *more_warnings),
        stages=stages,
    )
