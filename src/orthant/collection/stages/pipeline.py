"""The stages of one query in their order: rerank, minimum score, diversity, groups, page.

What the stages need is collected while the search reads (`prepare`), and they run afterwards (`arrange`), so that a
slow reranker holds no read transaction open.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from orthant.collection import fusion
from orthant.collection.results import LegScore, Record, StagePlan, StageScore
from orthant.collection.stages.diversity import mmr, unit_rows
from orthant.collection.stages.grouping import Members, gather, group_keys, members_of, require_scalars
from orthant.collection.stages.options import StageOptions
from orthant.collection.stages.rerankers import checked_scores
from orthant.collection.stages.showing import Entry, StoredRecord
from orthant.collection.storage.generation import Generation
from orthant.collection.tokens.reranking import BoundTokens
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, IdArray, Reranker

__all__ = ["Arrangement", "GroupEntry", "Pool", "Ranked", "Source", "arrange", "prepare"]


class Ranked(Protocol):
    """Ranked rows of one query with what each leg said."""

    @property
    def rows(self) -> IdArray:
        """Rows, best first, shape (m,)."""

    @property
    def scores(self) -> FloatArray:
        """Their scores, shape (m,)."""

    def leg_scores(self, place: int) -> dict[str, LegScore]:
        """Return what each leg said of one of them."""
        ...


class Source(Protocol):
    """Where more candidates come from."""

    def deeper(self, min_score: float | None) -> Ranked | None:
        """Return a ranking that begins with all of the last one, or None where no more can reach a score."""
        ...

    def within(self, allowed: BitmapArray, k: int) -> Ranked | None:
        """Return the best of some rows, or None where their scores would not compare with the others."""
        ...


@dataclass(frozen=True)
class Pool:
    """The candidates of one query with what the stages need of them.

    Attributes
    ----------
    ranking : Ranked
        At least the candidates, best first.
    count : int
        How many of them are candidates.
    records : mapping of int to (id, text, metadata)
        By row, where there is a reranker.
    vectors : ndarray of shape (count, dim), float32, or None
        Unit vectors; zero for a record without one.
    warnings : tuple of str
        What the caller should know.
    reranker : Reranker or None
        What orders the candidates again.
    """

    ranking: Ranked
    count: int
    records: dict[int, StoredRecord] = field(default_factory=dict)
    vectors: FloatArray | None = None
    warnings: tuple[str, ...] = ()
    reranker: Reranker | None = None


@dataclass(frozen=True)
class GroupEntry:
    """A group that is to be shown.

    Attributes
    ----------
    value : object
        The value that its records share.
    rank : int
        From 1, through all pages.
    count : int
        Its records that match.
    size : int
        How many entries it takes.
    """

    value: Any
    rank: int
    count: int
    size: int


@dataclass(frozen=True)
class Arrangement:
    """What the stages made of a pool.

    Attributes
    ----------
    entries : tuple of Entry
        The page, group by group.
    groups : tuple of GroupEntry
        Its groups, where there are any.
    plans : tuple of StagePlan
        What ran.
    warnings : tuple of str
        What the caller should know.
    """

    entries: tuple[Entry, ...]
    groups: tuple[GroupEntry, ...]
    plans: tuple[StagePlan, ...]
    warnings: tuple[str, ...]


def prepare(
    generation: Generation,
    ranking: Ranked,
    options: StageOptions,
    *,
    depth: int,
    read: Callable[[Sequence[int]], dict[int, StoredRecord]],
    bind: Callable[[IdArray], BoundTokens] | None = None,
) -> Pool:
    """Collect what the stages need, while the search reads.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    ranking : Ranked
        The candidates.
    options : StageOptions
        The stages.
    depth : int
        Candidates per leg.
    read : callable
        Gives the records of rows.
    bind : callable of ndarray of shape (m,), int64, optional
        Gives the stored tokens of rows, where the reranker compares these.

    Returns
    -------
    Pool
        The candidates. Where the list is closed, only the window.
    """
    warnings = [] if options.group_by is None else require_scalars(generation, options.group_by)
    count = len(ranking.rows)
    if options.reranker is not None:
        count = min(count, options.window(depth))
    rows = ranking.rows[:count]
    reranker = options.reranker
    if bind is not None:
        reranker = bound = bind(rows)
        if bound.lacking:
            warnings.append(f"{bound.lacking} of {count} candidates have no tokens and were put last")
    records = {} if options.reranker is None else read(rows.tolist())
    vectors = None
    if options.diversity is not None:
        vectors, lacking = _vectors(generation, options.space, rows)
        if lacking:
            warnings.append(
                f"{lacking} of {count} candidates have no vector in space {options.space!r} to tell likeness"
            )
    return Pool(ranking, count, records, vectors, tuple(warnings), reranker)


def _vectors(generation: Generation, name: str, rows: IdArray) -> tuple[FloatArray, int]:
    space = generation.spaces.get(name)
    if space is None:
        return np.zeros((len(rows), 1), dtype=np.float32), len(rows)
    present, X = space.vectors_of(rows)
    out = np.zeros((len(rows), space.definition.dim), dtype=np.float32)
    out[present] = unit_rows(X)
    return out, int(np.count_nonzero(~present))


@dataclass
class _Order:
    """Places of the pool in their present order, and what the stages so far said of every place."""

    places: IdArray
    scores: npt.NDArray[np.float64]
    said: dict[str, dict[int, StageScore]] = field(default_factory=dict)
    plans: list[StagePlan] = field(default_factory=list)

    def note(self, stage: str, values: Sequence[float]) -> None:
        """Write down each place's value and rank, in the present order."""
        ranked = zip(self.places.tolist(), values, strict=True)
        self.said[stage] = {place: StageScore(value, rank) for rank, (place, value) in enumerate(ranked, 1)}

    def stages(self, place: int) -> dict[str, StageScore]:
        return {stage: said[place] for stage, said in self.said.items() if place in said}


def arrange(
    pool: Pool,
    options: StageOptions,
    *,
    query: str | FloatArray | None,
    k: int,
    offset: int,
    min_score: float | None,
    generation: Generation,
    matched: BitmapArray,
    source: Source,
) -> Arrangement:
    """Run the stages over the candidates of a query.

    Parameters
    ----------
    pool : Pool
        The candidates.
    options : StageOptions
        The stages.
    query : str, ndarray of shape (dim,), or None
        For the reranker.
    k, offset : int
        The page: hits, or groups with ``group_by``.
    min_score : float or None
        Hits below it are dropped, by the score of the reranker where there is one.
    generation : Generation
        What the search sees.
    matched : ndarray of uint64
        Bitmap of the rows that match filter and query, for the counts of groups.
    source : Source
        Where more candidates come from. It is asked only where there is neither reranker nor diversity.

    Returns
    -------
    Arrangement
        The page.
    """
    order = _Order(np.arange(pool.count), pool.ranking.scores[: pool.count].astype(np.float64))
    order.note("retrieve", order.scores.tolist())
    if options.reranker is not None:
        _rerank(order, pool, options, query)
    if min_score is not None:
        kept = order.scores >= min_score
        order.places, order.scores = order.places[kept], order.scores[kept]
    if options.diversity is not None and pool.vectors is not None:
        _diversify(order, pool.vectors, options.diversity, options.space)
    if options.group_by is None:
        page = slice(offset, offset + k)
        shown = zip(order.places[page].tolist(), order.scores[page].tolist(), strict=True)
        entries = tuple(
            _entry(pool.ranking, order, place, score, rank) for rank, (place, score) in enumerate(shown, offset + 1)
        )
        return Arrangement(entries, (), tuple(order.plans), pool.warnings)
    return _Grouping(pool, options, order, generation, matched, source, min_score).run(offset)


def _entry(ranking: Ranked, order: _Order, place: int, score: float, rank: int) -> Entry:
    return Entry(int(ranking.rows[place]), score, rank, ranking.leg_scores(place), order.stages(place))


def _rerank(order: _Order, pool: Pool, options: StageOptions, query: Any) -> None:
    began = time.perf_counter()
    records = [Record(*pool.records[row]) for row in pool.ranking.rows[: pool.count].tolist()]
    scores = checked_scores(pool.reranker, query, records)  # type: ignore[arg-type]
    # Equal scores keep the order of the search.
    best = np.argsort(-scores, kind="stable")
    order.places, order.scores = order.places[best], scores[best]
    order.note("rerank", order.scores.tolist())
    moved = int(np.count_nonzero(best != np.arange(len(best))))
    details = {"depth": options.rerank_depth, "moved": moved}
    seconds = time.perf_counter() - began
    order.plans.append(StagePlan("rerank", type(pool.reranker).__name__, len(records), len(records), seconds, details))


def _diversify(order: _Order, vectors: FloatArray, diversity: float, space: str) -> None:
    began = time.perf_counter()
    relevance = fusion.min_max(order.scores)  # type: ignore[arg-type]
    taken, values = mmr(relevance, vectors[order.places], diversity=diversity)
    order.places, order.scores = order.places[taken], order.scores[taken]
    order.note("diversity", values.tolist())
    seconds = time.perf_counter() - began
    details = {"diversity": diversity, "space": space}
    order.plans.append(StagePlan("diversity", "mmr", len(taken), len(taken), seconds, details))


class _Grouping:
    """Gathers groups, deepening the search until there are enough, and fills them."""

    def __init__(
        self,
        pool: Pool,
        options: StageOptions,
        order: _Order,
        generation: Generation,
        matched: BitmapArray,
        source: Source,
        min_score: float | None,
    ) -> None:
        self._ranking = pool.ranking
        self._warnings = list(pool.warnings)
        self._field = options.group_by or ""
        self._options = options
        self._order = order
        self._generation = generation
        self._matched = matched
        self._source = source
        self._min_score = min_score

    def run(self, offset: int) -> Arrangement:
        began = time.perf_counter()
        wanted = offset + self._options.groups
        found, rounds = self._gathered(wanted)
        if self._options.closed and len(found) < wanted:
            self._warnings.append(
                f"{len(found)} groups among the candidates of rerank or diversity; a larger depth may bring more"
            )
        entries: list[Entry] = []
        groups: list[GroupEntry] = []
        for rank, members in enumerate(found[offset:wanted], offset + 1):
            count, own = self._members(members, rank)
            groups.append(GroupEntry(members.value, rank, count, len(own)))
            entries.extend(own)
        looked = len(self._order.places)
        details = {"field": self._field, "per_group": self._options.per_group, "rounds": rounds}
        seconds = time.perf_counter() - began
        self._order.plans.append(StagePlan("group", "best hit", looked, len(groups), seconds, details))
        return Arrangement(tuple(entries), tuple(groups), tuple(self._order.plans), tuple(self._warnings))

    def _gathered(self, wanted: int) -> tuple[list[Members], int]:
        rounds = 1
        while True:
            rows = self._ranking.rows[self._order.places]
            found = gather(group_keys(self._generation, self._field, rows))
            if self._options.closed or len(found) >= wanted:
                return found, rounds
            deeper = self._source.deeper(self._min_score)
            if deeper is None:
                return found, rounds
            rounds += 1
            self._ranking = deeper
            scores = deeper.scores.astype(np.float64)
            order = _Order(np.arange(len(scores)), scores, plans=self._order.plans)
            order.note("retrieve", scores.tolist())
            if self._min_score is not None:
                kept = scores >= self._min_score
                order.places, order.scores = order.places[kept], scores[kept]
            self._order = order

    def _members(self, members: Members, rank: int) -> tuple[int, list[Entry]]:
        """Return how many records a group has, and its best ones."""
        best = members.places[: self._options.per_group]
        own = [
            _entry(self._ranking, self._order, int(self._order.places[i]), float(self._order.scores[i]), rank)
            for i in best
        ]
        if members.key[0] == "row":
            return 1, _placed(own)
        rows = members_of(self._generation, self._field, members.key, self._matched)
        count = bitmaps.count_bits(rows)
        if not self._options.closed and len(own) < min(self._options.per_group, count):
            own = self._filled(own, rows, rank)
        return count, _placed(own)

    def _filled(self, own: list[Entry], rows: BitmapArray, rank: int) -> list[Entry]:
        """Add the hits of a group that lie deeper than the search went."""
        more = self._source.within(rows, self._options.per_group)
        if more is None:
            return own
        known = {entry.row for entry in own}
        for place, (row, score) in enumerate(zip(more.rows.tolist(), more.scores.tolist(), strict=True)):
            if row not in known and (self._min_score is None or score >= self._min_score):
                # The leg's rank in a search of the group alone says nothing about the whole.
                legs = {name: LegScore(leg.score, None) for name, leg in more.leg_scores(place).items()}
                own.append(Entry(row, score, rank, legs))
        return sorted(own, key=lambda entry: (-entry.score, entry.row))[: self._options.per_group]


def _placed(entries: list[Entry]) -> list[Entry]:
    return [
        Entry(e.row, e.score, e.rank, e.legs, {**e.stages, "group": StageScore(e.score, place)})
        for place, e in enumerate(entries, 1)
    ]
