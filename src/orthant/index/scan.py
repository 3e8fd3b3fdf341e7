"""Exact search over a block set: fast tiles decide who can be among the best, exact arithmetic decides who is.

Each tile score comes with a bound on its rounding. A row stays a candidate while its score plus the bound reaches the
k-th best score minus its own bound, so no rounding can lose a neighbour; the few candidates are then scored in float64.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from orthant import threads as pool
from orthant.index.blocks import Block, BlockSet, Selection
from orthant.kernels import distances, topk
from orthant.kernels.files.rows import Files, gather, table_of
from orthant.kernels.retrieval import exact
from orthant.kernels.rows import plain
from orthant.types import FloatArray, Hits, IdArray, Metric, SearchCost

__all__ = ["scan", "score_lists", "score_rows"]

_QUERY_CHUNK = 512
_CHUNK_HITS = 1 << 17
"""Neighbours (queries times k) that one chunk of the batch collects at most."""

_PENDING = 1 << 18
"""Candidates held before they are settled exactly: bounds memory when thousands of rows tie."""

_WORK_PER_THREAD = 1 << 28
"""Multiplications below which a part of the batch is not worth a thread."""

_MANY = 64
"""Rows of a file per row wanted from it at which wanted rows are many."""

_LEAST_PAIRS = 512
"""Pairs of a query and a row that are worth a thread of their own."""

_TIE, _TINY = 2.0**-22, 1e-44
"""Relative and absolute distance within which two scores may round to the same float32."""

_SAFE_LOW, _SAFE_HIGH = 1e-15, 1e15
"""Norms outside this range under- or overflow in float32 products; such tiles run in float64."""


class _Batch:
    """The running state of one batch of queries: candidates with certified score intervals."""

    def __init__(self, Q: FloatArray, k: int, metric: Metric, data: BlockSet) -> None:
        self.Q, self.k, self.metric, self.data = Q, k, metric, data
        self.query_norms = distances.norms(Q)
        wide = Q.astype(np.float64)
        if metric == "cosine":
            wide /= self.query_norms[:, None]
        self.wide = wide
        self.narrow: FloatArray = np.ascontiguousarray(wide, dtype=np.float32)
        self.precise = metric != "cosine" and not _safe(self.query_norms)
        # The k-th best score of each query is at least this.
        self.threshold = np.full(len(Q), -np.inf)
        self.compared = self.rescored = self.bytes_read = 0
        self._prune_at = 0
        self.queries = np.zeros(0, dtype=np.int64)
        self.rows = np.zeros(0, dtype=np.int64)
        self.low = np.zeros(0)
        self.high = np.zeros(0)

    def tile(
        self, X: FloatArray, scale: FloatArray, first: int, rows: IdArray | None, mask: npt.NDArray[np.bool_] | None
    ) -> None:
        """Take in the rows of a tile, numbered from ``first`` or by ``rows``; ``mask`` says which to keep."""
        self.compared += len(self.Q) * len(X)
        self.bytes_read += X.nbytes
        largest, safe = _norm_range(scale, self.metric)
        if not self.precise and safe:
            scores = distances.tile_scores(self.narrow, X, scale, self.metric)
            bound = distances.tile_bound(self.query_norms, largest, X.shape[1], self.metric)
            if self._take(scores, bound, first, rows, mask, limit=len(self.Q) * (8 * self.k + 256)):
                return
            # Vectors far from the origin compared with their distances: float32 cannot tell them apart, here or later.
            self.precise = True
        for start, stop in distances.row_chunks(len(X), max(X.shape[1], len(self.Q)) * 8):
            part = X[start:stop].astype(np.float64)
            scores = distances.tile_scores(self.wide, part, None, self.metric)
            bound = distances.tile_bound(self.query_norms, largest, X.shape[1], self.metric, np.float64)
            inner_rows = None if rows is None else rows[start:stop]
            inner_mask = None if mask is None else mask[start:stop]
            self._take(scores, bound, first + start, inner_rows, inner_mask, limit=None)

    def _take(
        self,
        scores: npt.NDArray[np.floating],
        bound: npt.NDArray[np.float64],
        first: int,
        rows: IdArray | None,
        mask: npt.NDArray[np.bool_] | None,
        *,
        limit: int | None,
    ) -> bool:
        """Keep the tile's candidates; False, and nothing kept, where there would be more than ``limit``."""
        if mask is not None:
            scores[:, ~mask] = -np.inf
        threshold = self.threshold
        if np.isneginf(threshold).any():
            threshold = np.maximum(threshold, topk.kth_largest(scores, self.k).astype(np.float64) - bound)
        threshold = _representable(threshold)
        # Rows whose exact score rounds to the same float32 as the k-th tie with it, and then the smaller id wins.
        floor = threshold - bound
        floor -= _TIE * np.abs(threshold) + _TINY
        lowest = np.finfo(scores.dtype).min
        with np.errstate(over="ignore"):
            cut = np.nextafter(np.maximum(floor, lowest).astype(scores.dtype), np.array(-np.inf, scores.dtype))
        # Not below the smallest finite value, so that masked rows never pass.
        cut = np.maximum(cut, lowest)
        flat = np.flatnonzero(scores >= cut[:, None])
        if limit is not None and len(flat) > limit:
            return False
        self.threshold = threshold
        if len(flat):
            queries, places = np.divmod(flat, scores.shape[1])
            found = scores.reshape(-1)[flat].astype(np.float64)
            self._absorb(queries, places + first if rows is None else rows[places], found, bound[queries])
        return True

    def _absorb(
        self, queries: IdArray, rows: IdArray, scores: npt.NDArray[np.float64], bound: npt.NDArray[np.float64]
    ) -> None:
        self.queries = np.concatenate([self.queries, queries])
        self.rows = np.concatenate([self.rows, rows])
        self.low = np.concatenate([self.low, scores - bound])
        self.high = np.concatenate([self.high, scores + bound])
        # Sorting at every tile would cost more than the tile; a threshold that lags keeps a few rows too many.
        if len(self.rows) >= self._prune_at:
            self._prune()
            if len(self.rows) > max(_PENDING, 4 * self.k * len(self.Q)):
                self.settle()
            self._prune_at = 2 * len(self.rows)

    def _prune(self) -> None:
        order = np.lexsort((-self.low, self.queries))
        group = self.queries[order]
        kth = topk.rank_within(group) == self.k - 1
        raised = self.low[order[kth]]
        at = group[kth]
        self.threshold[at] = np.maximum(self.threshold[at], _representable(raised))
        reach = self.threshold[self.queries]
        kept = self.high >= reach - (_TIE * np.abs(reach) + _TINY)
        self.queries, self.rows = self.queries[kept], self.rows[kept]
        self.low, self.high = self.low[kept], self.high[kept]

    def spent(self) -> Counter[str]:
        """Return what the batch cost, by name."""
        names = ("compared", "bytes_read", "rescored", "precise")
        return Counter({name: int(getattr(self, name)) for name in names})

    def settle(self) -> tuple[IdArray, FloatArray, npt.NDArray[np.int64]]:
        """Score the candidates exactly, keep each query's k best and return them as padded arrays."""
        self._prune()
        exact = np.empty(len(self.rows))
        for start, stop in distances.row_chunks(len(self.rows), self.Q.shape[1] * 24):
            A = self.Q[self.queries[start:stop]]
            exact[start:stop] = distances.pair_scores(A, self.data.vectors_of(self.rows[start:stop]), self.metric)
        self.rescored += len(exact)
        ids = self.data.ids_of(self.rows)
        count = len(self.Q)
        out = topk.top_k_pairs(self.queries, ids, distances.to_float32(exact), count=count, k=self.k)
        order = np.lexsort((ids, -distances.to_float32(exact), self.queries))
        order = order[topk.rank_within(self.queries[order]) < self.k]
        self.queries, self.rows = self.queries[order], self.rows[order]
        self.low = self.high = exact[order]
        return out


def _representable(threshold: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return thresholds as float32 scores see them: what it cannot hold ties at its largest or smallest value."""
    largest = float(np.finfo(np.float32).max)
    return np.where(threshold <= -largest, -np.inf, np.minimum(threshold, largest))


def _norm_range(scale: FloatArray, metric: Metric) -> tuple[float, bool]:
    """Return the largest norm of a tile's rows and whether float32 products of them are safe."""
    if metric == "cosine":
        return 1.0, bool(scale.max() < _SAFE_HIGH and scale.min() > _SAFE_LOW)
    power = 2 if metric == "l2" else 1
    return float(scale.max()) ** (1 / power) * (1 + 1e-6), _safe(scale, power)


def _safe(row_norms: npt.NDArray[np.floating], power: int = 1) -> bool:
    low, high = _SAFE_LOW**power, _SAFE_HIGH**power
    if not len(row_norms) or row_norms.min() >= low:
        return not len(row_norms) or bool(row_norms.max() <= high)
    # A zero row is harmless; only a norm that is small without being zero loses digits.
    return not bool(((row_norms > 0) & (row_norms < low)).any()) and bool(row_norms.max() <= high)


def _scan_blocks(batch: _Batch, selection: Selection) -> None:
    for block, start, mask in zip(batch.data.blocks, batch.data.starts, selection.masks, strict=False):
        if mask is not None and not mask.any():
            continue
        # A single query's scores are one row: the whole block is one pass, whatever its length.
        for a, b in distances.row_chunks(len(block), 4 * len(batch.Q)):
            part = None if mask is None else mask[a:b]
            if part is None or part.any():
                batch.tile(block.matrix[a:b], block.scale[a:b], int(start) + a, None, part)


def _scan_rows(batch: _Batch, rows: IdArray) -> None:
    for block, at, inner in batch.data.parts(rows):
        row_bytes = max(4 * batch.Q.shape[1], 4 * len(batch.Q))
        for a, b in distances.row_chunks(len(inner), row_bytes):
            X = _gather(block, inner[a:b])
            batch.tile(X, block.scale_of(inner[a:b], X), 0, rows[at[a:b]], None)


def _gather(block: Block, rows: IdArray) -> FloatArray:
    return np.ascontiguousarray(block.matrix[rows])


def scan(
    data: BlockSet, Q: FloatArray, k: int, *, metric: Metric, selection: Selection, threads: int | None = None
) -> Hits:
    """Return the exact k nearest selected rows of each query.

    Parameters
    ----------
    data : BlockSet
        The rows.
    Q : ndarray of shape (q, dim), float32
        Queries; non-zero for cosine.
    k : int
        Neighbours wanted.
    metric : {"dot", "cosine", "l2"}
        The score.
    selection : Selection
        From ``BlockSet.select``.
    threads : int, optional
        Parts that the batch is split into at most. Left out, 1: the linear-algebra library under NumPy spreads each
        product over the cores by itself, and splitting above it as well only makes its threads wait for each other.

    Returns
    -------
    Hits
        Ids, scores exact to float32 rounding, counts and cost.
    """
    begun = time.perf_counter()
    rows = int(data.total if selection.rows is None else len(selection.rows))
    work = max(1, rows * Q.shape[1])
    chunk = max(1, min(_QUERY_CHUNK, _CHUNK_HITS // k))

    def run(start: int, stop: int) -> list[tuple[tuple[IdArray, FloatArray, npt.NDArray[np.int64]], Counter[str]]]:
        out = []
        for a in range(start, stop, chunk):
            batch = _Batch(Q[a : min(a + chunk, stop)], k, metric, data)
            if selection.rows is None:
                _scan_blocks(batch, selection)
            else:
                _scan_rows(batch, selection.rows)
            # Only the figures outlive the chunk: its copies of the queries would add up over a large batch.
            out.append((batch.settle(), batch.spent()))
        return out

    parts = pool.map_ranges(run, len(Q), threads=threads or 1, minimum=max(16, _WORK_PER_THREAD // work))
    done = [item for part in parts for item in part]
    found = [result for result, _ in done] or [
        (np.zeros((0, k), np.int64), np.zeros((0, k), np.float32), np.zeros(0, np.int64))
    ]
    spent: Counter[str] = sum((figures for _, figures in done), Counter())
    cost = SearchCost(
        plan=selection.plan,
        distances=spent["compared"],
        seconds=time.perf_counter() - begun,
        bytes_read=spent["bytes_read"],
        details={"rescored": spent["rescored"], "float64": spent["precise"] > 0},
    )
    ids, scores, counts = (np.concatenate([item[i] for item in found]) for i in range(3))
    return Hits(ids=ids, scores=scores, counts=counts, cost=cost)


def score_rows(data: BlockSet, q: FloatArray, rows: IdArray, *, metric: Metric) -> FloatArray:
    """Return the exact scores of chosen rows.

    Parameters
    ----------
    data : BlockSet
        The rows.
    q : ndarray of shape (1, dim), float32
        One query.
    rows : ndarray of shape (m,), int64
        Row numbers; -1 where there is none.

    metric : {"dot", "cosine", "l2"}
        The score.

    Returns
    -------
    ndarray of shape (m,), float32
        Scores; -inf where the row is -1.
    """
    out = np.full(len(rows), -np.inf, dtype=np.float32)
    real = np.flatnonzero(rows >= 0)
    for start, stop in distances.row_chunks(len(real), q.shape[1] * 16):
        at = real[start:stop]
        out[at] = distances.exact_scores(q, data.vectors_of(rows[at]), metric)[0]
    return out


def score_lists(
    data: BlockSet,
    Q: FloatArray,
    queries: Sequence[int],
    ids: IdArray,
    bounds: IdArray,
    out: FloatArray,
    *,
    metric: Metric,
    threads: int | None = None,
) -> None:
    """Score a list of ids for each of several queries, exactly and by compiled code.

    Parameters
    ----------
    data : BlockSet
        The rows.
    Q : ndarray of shape (m, dim), float32
        Queries; non-zero for cosine.
    queries : sequence of int, length m
        Which list each query asks.
    ids, bounds : ndarray of int64
        The lists, back to back: list i is ``ids[bounds[i]:bounds[i + 1]]``.
    out : ndarray of shape (len(ids),), float32
        Receives the scores where it is -inf; left alone elsewhere, where an id is absent and where no query asks.
    metric : {"dot", "cosine", "l2"}
        The score.
    threads : int, optional
        Threads; the scores do not depend on it.
    """
    wide = Q.astype(np.float64)
    if metric == "cosine":
        wide /= np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    numbers = np.asarray(queries, dtype=np.int64)
    spans = bounds[numbers + 1] - bounds[numbers]
    owners = np.repeat(np.arange(len(numbers)), spans)
    places = np.arange(len(owners)) + np.repeat(bounds[numbers] - (np.cumsum(spans) - spans), spans)
    # A score that is known already costs no read.
    wanted = np.isneginf(out[places])
    owners, places = owners[wanted], places[wanted]
    rows = data.locate(ids[places])
    kind = {"dot": exact.DOT, "cosine": exact.COSINE, "l2": exact.L2}[metric]
    for block, at, inner in data.parts(rows):
        # Single rows of a file are read, not looked at: each look would map the pages around it. Where they are many,
        # those pages hold several of them, and a look takes a fifth of the time of a read.
        matrix = block.matrix
        files = table_of([matrix]) if len(inner) * _MANY < len(matrix) else None
        if files is not None and not matrix.flags.c_contiguous:
            matrix, inner, files = gather(matrix, inner), np.arange(len(inner)), None
        work = partial(
            _score_part, files, plain(matrix), wide, queries=owners[at], rows=inner, places=places[at], kind=kind,
            out=out,
        )  # fmt: skip
        pool.map_ranges(work, len(at), threads=threads, minimum=_LEAST_PAIRS)


def _score_part(
    files: Files | None, X: FloatArray, Q: npt.NDArray[np.float64], start: int, stop: int, *,
    queries: IdArray, rows: IdArray, places: IdArray, kind: int, out: FloatArray,
) -> None:  # fmt: skip
    some, room = slice(start, stop), np.empty(X.shape[1], dtype=np.float32)
    table = 0 if files is None else files.ctypes.data
    exact.score_pairs(table, X, Q, queries[some], rows[some], places[some], kind, room, out)
