"""Candidates from codes in memory, their vectors from disk, the order from the vectors."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from orthant.index.blocks import ALIVE, Block, BlockSet, Selection
from orthant.index.scan import scan
from orthant.index.tiers.light import Light
from orthant.index.tiers.ranking import ranked
from orthant.index.tiers.row_files import Reads
from orthant.kernels.topk import merge_top_k, top_k
from orthant.types import FloatArray, Hits, IdArray, Metric, SearchCost

__all__ = ["Asked", "answer", "best_codes"]

Found = tuple[IdArray, FloatArray, npt.NDArray[np.int64]]

_CODE_ROWS = 1 << 15
_QUERIES = 64
_READ_BYTES = 16 << 20


@dataclass(frozen=True)
class Asked:
    """A checked search.

    Attributes
    ----------
    queries : ndarray of shape (q, dim), float32
        Queries.
    k : int
        Neighbours wanted.
    candidates : int or None
        Vectors read for each query; None reads all that may be returned.
    metric : {"dot", "cosine", "l2"}
        The score.
    readers : int
        Direct reads under way at a time.
    sure : float
        A candidate is not read when its code would have to be off by more standard deviations than this.
    """

    queries: FloatArray
    k: int
    candidates: int | None
    metric: Metric
    readers: int
    sure: float = np.inf


@dataclass(frozen=True)
class _Spent:
    """The plan, comparisons, bytes of codes, and reads of a search."""

    plan: str
    scored: int = 0
    touched: int = 0
    reads: Reads = field(default_factory=Reads)


def answer(state: Light, asked: Asked, rows: IdArray | None) -> Hits:
    """Return the k best rows of each query.

    Parameters
    ----------
    state : Light
        The snapshot.
    asked : Asked
        What is wanted.
    rows : ndarray of shape (m,), int64, or None
        Rows that may be returned, ascending; None for all.

    Returns
    -------
    Hits
        With the reads in ``cost.details``.
    """
    begun = time.perf_counter()
    count = len(state.ids) if rows is None else len(rows)
    everything = asked.candidates is None or not state.coded or count <= asked.candidates
    if everything:
        found, near = _exactly(state, asked, rows, count)
    else:
        found, near = _in_two_steps(state, asked, rows)
    reads = near.reads
    queries = max(1, len(asked.queries))
    details = {
        "candidates": count if everything else asked.candidates,
        "reads": reads.calls,
        "reads_per_query": reads.calls / queries,
        "rows_read": reads.rows,
        "bytes_from_disk": reads.nbytes,
    }
    cost = SearchCost(near.plan, near.scored, time.perf_counter() - begun, near.touched + reads.nbytes, details)
    return Hits(*found, cost=cost)


def _exactly(state: Light, asked: Asked, rows: IdArray | None, count: int) -> tuple[Found, _Spent]:
    """Read every row that may be returned, a few MiB at a time."""
    chosen = np.arange(count) if rows is None else rows
    q, k = len(asked.queries), asked.k
    best = (np.full((q, k), -1, dtype=np.int64), np.full((q, k), -np.inf, dtype=np.float32), np.zeros(q, np.int64))
    cost = Reads()
    if q:
        for part, vectors, spent in state.rows.chunks(chosen, readers=asked.readers):
            cost += spent
            block = Block(vectors, state.ids[part], metric=asked.metric, died=np.full(len(part), ALIVE))
            data = BlockSet(vectors.shape[1], (block,))
            hits = scan(data, asked.queries, k, metric=asked.metric, selection=Selection("scan", masks=(None,)))
            best = merge_top_k([best[:2], (hits.ids, hits.scores)], k)
    return best, _Spent("vectors" if rows is None else "vectors-allowed", q * count, 0, cost)


def _in_two_steps(state: Light, asked: Asked, rows: IdArray | None) -> tuple[Found, _Spent]:
    wanted = asked.candidates or 0
    step = max(1, min(_QUERIES, _READ_BYTES // (wanted * state.rows.dim * 4)))
    found, total = [], _Spent("codes" if state.graph is None else "graph")
    for start in range(0, len(asked.queries), step):
        queries = asked.queries[start : start + step]
        near, told, spent = _candidates(state, queries, wanted, asked.metric, rows)
        result, read, reads = ranked(
            state, queries, near, told, k=asked.k, metric=asked.metric, readers=asked.readers, sure=asked.sure
        )
        found.append(result)
        scored = total.scored + spent.scored + read
        total = _Spent(spent.plan, scored, total.touched + spent.touched, total.reads + reads)
    if not found:
        found = [(np.zeros((0, asked.k), np.int64), np.zeros((0, asked.k), np.float32), np.zeros(0, np.int64))]
    ids, scores, counts = (np.concatenate([part[i] for part in found]) for i in range(3))
    return (ids, scores, counts), total


def _candidates(
    state: Light, queries: FloatArray, wanted: int, metric: Metric, rows: IdArray | None
) -> tuple[IdArray, FloatArray, _Spent]:
    """Return the rows to read for each query and what their codes score, by a walk where there is a graph."""
    if state.graph is None:
        compared = len(queries) * (len(state.ids) if rows is None else len(rows))
        near, told = _scored(state, queries, wanted, metric, rows)
        return near, told, _Spent("codes", compared, compared * state.codes.shape[1])
    hits = state.graph.nearest(queries, wanted, rows)
    # Rows that were added since this snapshot was taken are none of it.
    near = np.where(hits.ids < len(state.ids), hits.ids, -1)
    return near, hits.scores, _Spent(hits.cost.plan, hits.cost.distances, hits.cost.bytes_read)


def best_codes(state: Light, queries: FloatArray, wanted: int, metric: Metric, rows: IdArray | None) -> IdArray:
    """Return the rows whose codes score best.

    Parameters
    ----------
    state : Light
        A snapshot with a quantizer.
    queries : ndarray of shape (q, dim), float32
        Queries.
    wanted : int
        Rows for each.
    metric : {"dot", "cosine", "l2"}
        The score.
    rows : ndarray of shape (m,), int64, or None
        Rows to choose from, ascending; None for all.

    Returns
    -------
    ndarray of shape (q, wanted), int64
        Row numbers, best first; -1 where there were fewer.
    """
    return _scored(state, queries, wanted, metric, rows)[0]


def _scored(
    state: Light, queries: FloatArray, wanted: int, metric: Metric, rows: IdArray | None
) -> tuple[IdArray, FloatArray]:
    count = len(state.ids) if rows is None else len(rows)
    best = None
    for start in range(0, count, _CODE_ROWS):
        stop = min(count, start + _CODE_ROWS)
        part = np.arange(start, stop) if rows is None else rows[start:stop]
        codes = state.codes[start:stop] if rows is None else np.ascontiguousarray(state.codes[part])
        scores = state.quantizer.score(queries, codes, metric=metric)
        ids, values, _ = top_k(scores, min(wanted, len(part)), ids=part)
        best = (ids, values) if best is None else merge_top_k([best, (ids, values)], wanted)[:2]
    if best is None:
        return np.zeros((len(queries), 0), np.int64), np.zeros((len(queries), 0), np.float32)
    return best
