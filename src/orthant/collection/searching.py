"""Running a search: filter, legs, fusion, stages, page, fetch."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np

from orthant.collection.columns.table import Evaluation
from orthant.collection.columns.where import Predicate
from orthant.collection.dense import dense_index
from orthant.collection.legs.fused import rank_all
from orthant.collection.legs.postings import PostingLegs, posting_legs
from orthant.collection.legs.ranking import Ranking
from orthant.collection.legs.vectors import VECTOR_LEGS, SpaceChangedError, space_leg, vector_legs
from orthant.collection.results import Group, LegPlan, Plan, SearchResult, StagePlan
from orthant.collection.sparse.explaining import shared_terms
from orthant.collection.sparse.leg import found_rows
from orthant.collection.stages.facets import Facet, facets_of
from orthant.collection.stages.listing import Listing
from orthant.collection.stages.options import StageOptions
from orthant.collection.stages.pipeline import Arrangement, arrange, prepare
from orthant.collection.stages.showing import Entry, StoredRecord, make_hits, read_raw, read_records
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

_TOGETHER = 256
"""Queries whose candidates are held at once."""


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


def rank_queries(generation: Generation, queries: Sequence[Query], options: SearchOptions) -> Iterator[Ranking]:
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
    Ranking
        ``rows`` and ``scores`` of shape (m,), best first, and per leg in ``legs`` its ``scores``, ``ranks`` (0 for a
        row that the leg did not bring) and, in hybrid search, ``normalized``, all of shape (m,).
    """
    allowed = None
    if options.predicate is not None:
        allowed = generation.columns.evaluate(options.predicate, live=generation.live)
    vectors = vector_legs(generation, queries, options, allowed)
    for part in _blocks(len(queries)):
        asked, found = queries[part], {name: _part(hits, part) for name, hits in vectors.items()}
        postings = posting_legs(generation, asked, options, allowed, found)
        yield from rank_all(generation, asked, options, found, postings)


def _blocks(queries: int) -> list[slice]:
    """Parts of many queries whose candidates are held at once."""
    return [slice(begin, min(begin + _TOGETHER, queries)) for begin in range(0, queries, _TOGETHER)]


def _part(hits: Hits, part: slice) -> Hits:
    return Hits(hits.ids[part], hits.scores[part], hits.counts[part], hits.cost)


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
    for part in _blocks(len(queries)):
        asked, found = queries[part], {name: _part(hits, part) for name, hits in vectors.items()}
        own = clock.fresh()
        postings = posting_legs(generation, asked, options, allowed, found, lap=own.lap)
        rankings = rank_all(generation, asked, options, found, postings)
        own.lap("fuse")
        sources = [
            _Source(generation, query, options, allowed, ranking, found, postings, i)
            for i, (query, ranking) in enumerate(zip(asked, rankings, strict=True))
        ]
        out += _answers(store, connection, sources, own, counted)
    return out


def _answers(
    store: Store, connection: sqlite3.Connection, sources: Sequence[_Source], clock: _Clock, counted: _Counted
) -> list[Callable[[], SearchResult]]:
    """Read the records of plain lists together; what has stages is answered one after the other."""
    if not sources or sources[0].options.stages.ordered:
        return [_answer(store, connection, source, clock.fresh(), counted) for source in sources]
    if not sources[0].options.explain:
        return _listed(store, connection, sources, clock, counted)
    pages = [_page(source.ranking, source.options) for source in sources]
    records = read_records(store, connection, list({entry.row: None for page in pages for entry in page}))
    clock.lap("fetch")
    out: list[Callable[[], SearchResult]] = []
    for source, page in zip(sources, pages, strict=True):
        facets, plans, warnings = _facets(source, counted)
        arrangement = Arrangement(tuple(page), (), (), ())
        out.append(partial(_result, source, arrangement, records, facets, plans, warnings, clock))
    return out


def _listed(
    store: Store, connection: sqlite3.Connection, sources: Sequence[_Source], clock: _Clock, counted: _Counted
) -> list[Callable[[], SearchResult]]:
    """Answer plain lists that nobody wants explained: without a hit before somebody looks at one."""
    options = sources[0].options
    places = [_places(source.ranking, options) for source in sources]
    rows = [source.ranking.rows[shown].tolist() for source, shown in zip(sources, places, strict=True)]
    records = read_raw(store, connection, list(dict.fromkeys(chain.from_iterable(rows))))
    if not options.include_text:
        records = {row: (key, None, about) for row, (key, _, about) in records.items()}
    clock.lap("fetch")
    out: list[Callable[[], SearchResult]] = []
    plans: dict[tuple[Any, ...], Plan] = {}
    for source, shown, own in zip(sources, places, rows, strict=True):
        facets, stages, warnings = _facets(source, counted)
        ranking = source.ranking
        legs = {name: leg.of(shown) for name, leg in ranking.legs.items()}
        listing = Listing(options.offset + 1, ranking.scores[shown].tolist(), legs, [records[row] for row in own])
        told = source.told
        # Queries of a batch that were answered alike share what says so.
        if stages or told not in plans:
            seconds = {**clock.seconds, **{stage.name: stage.seconds for stage in stages}}
            plans[told] = _plan(source, seconds, stages, warnings)
        out.append(partial(SearchResult._listed, listing, plans[told], facets))
    return out


def _answer(
    store: Store, connection: sqlite3.Connection, source: _Source, clock: _Clock, counted: _Counted
) -> Callable[[], SearchResult]:
    """Read what the stages of a query need, and return what makes its hits; only a reranker is left to run by it."""
    options, generation, stages = source.options, source.generation, source.options.stages

    def read(rows: Sequence[int]) -> dict[int, StoredRecord]:
        return read_records(store, connection, rows)

    facets, facet_plans, warnings = _facets(source, counted)
    clock.skip()
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

    def fresh(self) -> _Clock:
        """Go on from here, apart from others: what queries shared so far counts for each of them."""
        return _Clock(dict(self.seconds))


class _Source:
    """One query with what its legs brought, and the way to more."""

    def __init__(
        self,
        generation: Generation,
        query: Query,
        options: SearchOptions,
        allowed: Evaluation | None,
        ranking: Ranking,
        vectors: Mapping[str, Hits],
        postings: PostingLegs,
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

    @property
    def told(self) -> tuple[Any, ...]:
        """What the plan says of this query alone, and not of its batch."""
        query, i = self.query, self.place
        given = (query.vector is None, None if query.sparse is None else len(query.sparse))
        spaces = (frozenset(query.vectors), frozenset(query.tokens))
        vectors = tuple(int(hits.counts[i]) for hits in self.vectors.values())
        postings = tuple(
            (bool(hits.asked[i]), int(hits.counts[i]), float(hits.seconds[i])) for hits in self.postings.hits.values()
        )
        return given, spaces, vectors, postings

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

    def deeper(self, min_score: float | None) -> Ranking | None:
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

    def within(self, allowed: BitmapArray, k: int) -> Ranking | None:
        """Return the best of some rows; None in hybrid search, whose scores hang on the other candidates."""
        if self.options.mode == "hybrid":
            return None
        return self._again(k, Evaluation(allowed, bitmaps.count_bits(allowed)))[0]

    def _again(self, depth: int, allowed: Evaluation | None) -> tuple[Ranking, Mapping[str, Hits], PostingLegs]:
        options, asked = replace(self.options, depth=depth), [self.query]
        vectors = vector_legs(self.generation, asked, options, allowed)
        postings = posting_legs(self.generation, asked, options, allowed, vectors)
        return rank_all(self.generation, asked, options, vectors, postings)[0], vectors, postings


def _places(ranking: Ranking, options: SearchOptions) -> slice | IdArray:
    if options.min_score is None:
        return slice(options.offset, options.offset + options.k)
    reached = np.flatnonzero(ranking.scores.astype(np.float64) >= options.min_score)
    return reached[options.offset : options.offset + options.k]


def _page(ranking: Ranking, options: SearchOptions) -> list[Entry]:
    places = np.arange(len(ranking.rows))[_places(ranking, options)]
    shown = zip(ranking.rows[places].tolist(), ranking.scores[places].tolist(), ranking.said_of(places), strict=True)
    return [Entry(row, score, rank, legs) for rank, (row, score, legs) in enumerate(shown, options.offset + 1)]


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
    for leg, found in source.postings.hits.items():
        if found.asked[i]:
            told = {"space": options.sparse_space, "terms": len(query.sparse or ())} if leg == "sparse" else {}
            legs.append(LegPlan(leg, "postings", int(found.counts[i]), float(found.seconds[i]), told))
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
