"""Ranking the documents of an index for several queries in one compiled pass over their posting lists."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant import threads as pool
from orthant.collection.lexical.analysis import Clause
from orthant.collection.lexical.chunks import Chunk, IntArray, Vocabulary
from orthant.collection.lexical.plan import QueryPlan, apply_condition, rows_mask
from orthant.kernels.retrieval.bm25 import CHUNK_FIELDS, GROUP, LIST_FIELDS, find_lists, rank_documents
from orthant.kernels.warmup import ensure_compiling, is_ready
from orthant.types import BitmapArray, FloatArray, IdArray
from orthant.validate import check_count

__all__ = ["BatchSearch", "Ranked", "Ranker", "compiled", "no_answers"]

# A process that searches a few times and ends should not start a compiler.
_SEARCHES_BEFORE_COMPILING = 8
_QUERIES_PER_THREAD = 8
_ROOMS = 16

_searches = count()
_rooms: list[FloatArray] = []


@dataclass(frozen=True)
class Ranked:
    """The best rows of several queries, padded.

    Attributes
    ----------
    rows : ndarray of shape (q, k), int64
        Best first, -1 where there are fewer.
    scores : ndarray of shape (q, k), float32
        Their scores, -inf where there are fewer.
    counts : ndarray of shape (q,), int64
        How many there are.
    also : ndarray of shape (q, w), float32
        Scores of the further rows that were asked for.
    """

    rows: IdArray
    scores: FloatArray
    counts: npt.NDArray[np.int64]
    also: FloatArray


def compiled() -> bool:
    """Return whether the compiled pass can answer; after a few searches that it could not, it is made behind them.

    Returns
    -------
    bool
        False until then: NumPy gives the same answers.
    """
    if is_ready(GROUP):
        return True
    if next(_searches) >= _SEARCHES_BEFORE_COMPILING:
        ensure_compiling(GROUP)
    return False


def no_answers(queries: int, k: int, also: IdArray) -> Ranked:
    """Return arrays for answers, without any.

    Parameters
    ----------
    queries, k : int
        Their shape.
    also : ndarray of shape (q, w), int64
        Further rows whose scores are wanted.

    Returns
    -------
    Ranked
        Padding alone.
    """
    return Ranked(
        np.full((queries, k), -1, dtype=np.int64),
        np.full((queries, k), -np.inf, dtype=np.float32),
        np.zeros(queries, dtype=np.int64),
        np.zeros(also.shape, dtype=np.float32),
    )


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


@dataclass(frozen=True)
class _Lines:
    """Posting lists of a batch, as the kernel takes them, and what keeps those alive that no chunk holds."""

    lists: IntArray
    bounds: IntArray
    weights: FloatArray
    kept: tuple[np.ndarray, ...] = ()


class Ranker:
    """The postings of one state of an index as the kernel sees them.

    Parameters
    ----------
    chunks : sequence of Chunk
        The documents.
    norms : sequence of ndarray of shape (n,), float32
        Length norms of each chunk's documents.
    vocabulary : Vocabulary
        Numbers of the terms.
    live : int
        Live documents.
    """

    def __init__(self, chunks: Sequence[Chunk], norms: Sequence[FloatArray], vocabulary: Vocabulary, live: int) -> None:
        self._chunks = chunks
        self._vocabulary = vocabulary
        self._live = live
        # The set that was looked at last, and whether it holds every row: that of the live rows comes with each search.
        self._last_set: tuple[BitmapArray, bool] | None = None
        self._largest = max((len(chunk.documents.rows) for chunk in chunks), default=0)
        self._table = np.zeros((len(chunks), len(CHUNK_FIELDS)), dtype=np.int64)
        # What the table points to, kept for as long as it.
        self._kept: list[np.ndarray] = []
        for i, (chunk, norm) in enumerate(zip(chunks, norms, strict=True)):
            known, indptr, docs, counts = chunk.documents.postings
            arrays: list[np.ndarray] = [chunk.documents.rows, norm, known, indptr, docs, counts]
            self._kept += arrays
            rows, norms_at, *lists = map(_address, arrays)
            dead = 0 if chunk.dead is None else _address(chunk.dead)
            self._table[i] = len(norm), rows, norms_at, dead, len(known), *lists, counts.itemsize

    def rank(
        self,
        asked: Sequence[Sequence[Clause]],
        plan: Callable[[int], QueryPlan],
        *,
        k: int,
        allowed: BitmapArray | None,
        live: BitmapArray | None,
        also: IdArray,
        threads: int | None = None,
    ) -> Ranked:
        """Return the best documents of several queries.

        Parameters
        ----------
        asked : sequence of sequence of Clause
            The conditions of each query.
        plan : callable of int
            Gives the plan of a query that has phrases, prefixes or conditions.
        k : int
            Documents wanted of each.
        allowed, live : ndarray of uint64, or None
            Bitmaps over rows; only rows in both are returned. The live ones are expected to be the same in many calls.
        also : ndarray of shape (q, w), int64
            Further rows whose scores are wanted, -1 for none; the bitmaps do not matter to them.
        threads : int, optional
            Threads for a batch.

        Returns
        -------
        Ranked
            Rows and scores as :meth:`Lexical.search` returns them.

        Notes
        -----
        Cost: O(postings of the terms + documents) per query, at about 2 ns each, outside of the interpreter lock.
        """
        queries = len(asked)
        fits = np.zeros((queries, len(self._chunks)), dtype=np.int64)
        others = [i for i, clauses in enumerate(asked) if any(c.kind != "word" or c.mode != "may" for c in clauses)]
        lines = self._words(asked if not others else [[] if i in others else one for i, one in enumerate(asked)])
        if others:
            lines = self._with_plans(lines, {i: plan(i) for i in others}, fits)
        sets = [] if allowed is None else [np.ascontiguousarray(allowed)]
        if live is not None and not self._holds_all(live):
            sets.append(np.ascontiguousarray(live))
        marks = np.array([(_address(one), len(one)) for one in sets], dtype=np.int64).reshape(-1, 2)
        # What they point to lives as long as what is called with them, whatever becomes of this call.
        lines = replace(lines, kept=(*lines.kept, *sets))
        out = no_answers(queries, k, also)

        def part(start: int, stop: int) -> None:
            room = self._room()
            rank_documents(
                self._table, lines.lists, lines.bounds, lines.weights, marks, fits, also, out.also, start, stop, k,
                room, out.rows, out.scores, out.counts,
            )  # fmt: skip
            if len(_rooms) < _ROOMS:
                _rooms.append(room)

        pool.map_ranges(part, queries, threads=threads, minimum=_QUERIES_PER_THREAD)
        return out

    def _words(self, asked: Sequence[Sequence[Clause]]) -> _Lines:
        """Look up the words of queries that are nothing but words, together."""
        number = self._vocabulary.term_number
        terms = np.array([number(clause.words[0]) for clauses in asked for clause in clauses], dtype=np.int64)
        said = np.array([clause.weight for clauses in asked for clause in clauses], dtype=np.float64)
        starts = np.array([0, *accumulate(map(len, asked))], dtype=np.int64)
        lists = np.empty((len(terms) * len(self._chunks), len(LIST_FIELDS)), dtype=np.int64)
        bounds = np.empty((len(asked) * len(self._chunks), 2), dtype=np.int64)
        frequencies = np.zeros(len(terms), dtype=np.int64)
        find_lists(self._table, terms, starts, lists, bounds, frequencies)
        rarity = np.log1p((self._live - frequencies + 0.5) / (frequencies + 0.5))
        return _Lines(lists, bounds, (said * rarity).astype(np.float32))

    def _with_plans(self, known: _Lines, plans: Mapping[int, QueryPlan], fits: IntArray) -> _Lines:
        """Add the lists of queries with phrases, prefixes or conditions; the latter go to ``fits``."""
        lines: list[tuple[int, ...]] = []
        weights: list[float] = []
        kept: list[np.ndarray] = []
        for i, plan in plans.items():
            for c, lists in enumerate(plan.lists):
                begin = len(known.lists) + len(lines)
                for clause, (docs, counts), weight in zip(plan.clauses, lists, plan.weights, strict=True):
                    if clause.mode == "not" or not len(docs):
                        continue
                    docs = np.ascontiguousarray(docs, dtype=np.int32)
                    if counts.dtype not in (np.uint8, np.uint16, np.uint32):
                        counts = counts.astype(np.uint32)
                    kept += [docs, counts]
                    term = len(known.weights) + len(weights)
                    lines.append((_address(docs), _address(counts), len(docs), counts.itemsize, term))
                    weights.append(weight)
                known.bounds[i * len(self._chunks) + c] = begin, len(known.lists) + len(lines)
                mask = self._mask(plan, c)
                if mask is not None:
                    kept.append(mask)
                    fits[i, c] = _address(mask)
        table = np.array(lines, dtype=np.int64).reshape(-1, len(LIST_FIELDS))
        both = np.concatenate([known.weights, np.array(weights, dtype=np.float32)])
        return _Lines(np.concatenate([known.lists, table]), known.bounds, both, tuple(kept))

    def _mask(self, plan: QueryPlan, c: int) -> Any:
        """Which documents of a chunk satisfy a query's conditions; None where it has none."""
        if all(clause.mode == "may" for clause in plan.clauses):
            return None
        mask = np.ones(len(self._chunks[c].documents.rows), dtype=bool)
        for clause, (docs, _) in zip(plan.clauses, plan.lists[c], strict=True):
            apply_condition(mask, clause, docs)
        return mask

    def _holds_all(self, bitmap: BitmapArray) -> bool:
        """Whether a set leaves nothing out, as that of the live rows mostly does."""
        last = self._last_set
        if last is None or last[0] is not bitmap:
            rows = [chunk.documents.rows for chunk in self._chunks]
            last = self._last_set = bitmap, all(bool(rows_mask(bitmap, own).all()) for own in rows)
        return last[1]

    def _room(self) -> FloatArray:
        # Taking one is atomic; a thread that finds none makes another.
        while _rooms:
            try:
                room = _rooms.pop()
            except IndexError:
                break
            if len(room) >= self._largest:
                return room
        return np.zeros(self._largest, dtype=np.float32)


class BatchSearch:
    """What an index answers for several queries at once; a part of ``Lexical``."""

    _chunks: tuple[Chunk, ...]
    _vocabulary: Vocabulary
    _count: int
    _compiled: Ranker | None
    search: Callable[..., tuple[IdArray, FloatArray]]
    _norm: Callable[[int], FloatArray]
    _clauses: Callable[[str, str], list[Clause]]
    _plan: Callable[[str, str], QueryPlan]
    _scored: Callable[[str, IdArray, str], FloatArray]

    def search_many(
        self,
        queries: Sequence[str],
        *,
        k: int = 10,
        allowed: BitmapArray | None = None,
        live: BitmapArray | None = None,
        also: IdArray | None = None,
        syntax: str = "operators",
        threads: int | None = None,
    ) -> Ranked:
        """Return for several queries what :meth:`search` returns for each, and the scores of further rows.

        Parameters
        ----------
        queries : sequence of str, length q
            As for ``search``.
        k : int, default 10
            Rows wanted of each, at least 1.
        allowed, live : ndarray of uint64, optional
            Bitmaps of rows that may be returned.
        also : ndarray of shape (q, w), int64, optional
            Rows whose scores are wanted whatever their rank, as from ``score_rows``; -1 is none.
        syntax : {"operators", "plain"}, default "operators"
            As for ``search``.
        threads : int, optional
            Threads for a batch.

        Returns
        -------
        Ranked
            Padded rows and scores.

        Notes
        -----
        Compiled code answers once it is ready, and NumPy until then: with the same scores, bit by bit.
        """
        k = check_count(k, name="k")
        also = np.zeros((len(queries), 0), dtype=np.int64) if also is None else also
        if compiled():
            asked = [self._clauses(query, syntax) for query in queries]
            settings: Any = {"k": k, "allowed": allowed, "live": live, "also": also, "threads": threads}
            return self._ranker().rank(asked, lambda i: self._plan(queries[i], syntax), **settings)
        out = no_answers(len(queries), k, also)
        for i, query in enumerate(queries):
            rows, scores = self.search(query, k=k, allowed=allowed, live=live, syntax=syntax)
            out.rows[i, : len(rows)], out.scores[i, : len(rows)], out.counts[i] = rows, scores, len(rows)
            wanted = also[i] >= 0
            out.also[i, wanted] = self._scored(query, also[i, wanted], syntax)
        return out

    def _ranker(self) -> Ranker:
        if self._compiled is None:
            norms = [self._norm(i) for i in range(len(self._chunks))]
            self._compiled = Ranker(self._chunks, norms, self._vocabulary, self._count)
        return self._compiled
