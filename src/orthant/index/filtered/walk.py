"""What the graphs for filters share: encoded vectors, searches within a part of the graph, scans that fill up."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant import threads as pool
from orthant.errors import DimensionError, message
from orthant.index.vamana.build import BuildSettings
from orthant.index.vamana.building import encoded_state
from orthant.index.vamana.inputs import as_piece, check_settings
from orthant.index.vamana.searching import METRICS, rerank_count
from orthant.kernels import bitmaps
from orthant.kernels.graph import answers, labelled
from orthant.kernels.topk import check_answers
from orthant.types import FloatArray, Hits, IdArray, Metric, SearchCost
from orthant.validate import as_vectors, check_count

__all__ = ["FilteredWalk", "Slots", "check_rows"]

Slots = npt.NDArray[np.int32]

_MARGIN = 0.5
_DEFAULT_EFFORT = 64


def check_rows(X: FloatArray, count: int, what: str) -> None:
    """Raise unless there is one value per vector.

    Parameters
    ----------
    X : ndarray of shape (n, dim), float32
        Vectors.
    count : int
        Values.
    what : str
        What they are called.

    Raises
    ------
    DimensionError
        More or fewer values than vectors.
    """
    if len(X) != count:
        raise DimensionError(message(f"{what} of {count} rows", f"{len(X)}, as vectors", "pass one per vector"))


class FilteredWalk:
    """The half that the graphs for filters share; not made by itself.

    Parameters
    ----------
    X : ndarray of shape (n, dim), float32
        Checked vectors in the order of slots; kept, not copied.
    ids : ndarray of shape (n,), int64
        The row of each slot.
    metric : {"cosine", "dot", "l2"}
        Score.
    degree, beam, alpha, seed : any
        As ``Graph`` describes.
    room : int
        Links that fit into a row.
    threads : int or None
        Threads for encoding.
    """

    def __init__(
        self, X: FloatArray, ids: IdArray, *, metric: Metric, degree: int, beam: int, alpha: float, seed: int,
        room: int, threads: int | None,
    ) -> None:  # fmt: skip
        self._settings = check_settings(degree, beam, alpha, None, True, "given", seed, 0)
        self._X, self._threads = X, threads
        self._rng = np.random.default_rng(seed)
        self._state, _ = encoded_state(
            [as_piece(X, ids, metric)], self._settings, metric=metric, own=False, threads=threads, room=room,
            rng=np.random.default_rng(seed),
        )  # fmt: skip
        self._sketched = self._state.space.dims > 64

    @property
    def dim(self) -> int:
        """Dimension of the vectors."""
        return self._state.space.dim

    @property
    def metric(self) -> Metric:
        """Score of the index."""
        return self._state.space.metric

    @property
    def link_count(self) -> int:
        """Links of the whole graph."""
        return int((self._state.links[: self._state.used] >= 0).sum())

    def __len__(self) -> int:
        """Return the number of vectors."""
        return self._state.used

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dim={self.dim}, metric={self.metric!r}, {len(self)} vectors)"

    def _links(self, **changes: Any) -> BuildSettings:
        """How links are chosen: equal vectors stay apart, since their labels may differ."""
        made = replace(self._settings.links(self.metric, self._threads), collapse=False, sketched=self._sketched)
        return replace(made, **changes)

    def _queries(self, Q: npt.ArrayLike, k: int, effort: int | None) -> tuple[FloatArray, int, int]:
        queries = as_vectors(Q, dim=self.dim, name="queries", nonzero=self.metric == "cosine", single=True)
        wanted = check_answers(k, queries=len(queries), held=len(self))
        width = max(_DEFAULT_EFFORT, 2 * wanted) if effort is None else check_count(effort, name="effort")
        return queries, wanted, max(width, wanted)

    def _answer(
        self, queries: FloatArray, k: int, effort: int, *, starts: Slots, allowed: Slots, hide: bool, plan: str
    ) -> Hits:
        """Walk from the start slots, hiding what is not allowed if ``hide``; short answers are filled up by a scan."""

        def walk(part: Any, view: Any, rows: Any, full: Any, out: Any) -> None:
            start, stop = part
            visited = np.empty(bitmaps.words_for(self._state.capacity), np.uint64)
            mask = bitmaps.from_rows(allowed.astype(np.int64), self._state.capacity) if hide else _NO_MASK
            touched = np.empty(self._state.capacity + 2 * self._state.room + 64, np.int32)
            labelled.search_within(
                view, rows, full, start, stop, k, effort, rerank_count(self._state, k, effort), METRICS[self.metric],
                starts, mask, visited, touched, *out,
            )  # fmt: skip

        return self._run(queries, k, walk, allowed=allowed, plan=plan, effort=effort)

    def _run(self, queries: FloatArray, k: int, walk: Any, *, allowed: Slots, plan: str, effort: int) -> Hits:
        begun = time.perf_counter()
        ids, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
        counts, spent = np.zeros(len(queries), np.int64), np.zeros(4, np.int64)
        full, rows = self._encoded(queries)
        view = self._state.view(sketched=self._sketched)
        if len(allowed):
            if len(allowed) > k:
                walk((0, len(queries)), view, rows, full, (ids, scores, counts, spent))
            short = np.flatnonzero(counts < min(k, len(allowed)))
            for i in short.tolist():
                answers.search_few(
                    view, full, i, i + 1, k, METRICS[self.metric], allowed, ids, scores, counts,
                )  # fmt: skip
            spent[[0, 3]] += len(short) * len(allowed)
        cost = SearchCost(
            plan=plan if len(allowed) > k else "scan-allowed",
            distances=int(spent[0]),
            seconds=time.perf_counter() - begun,
            details={"effort": effort, "expanded": int(spent[1]), "compared": int(spent[2]), "rescored": int(spent[3])},
        )
        return Hits(ids=ids, scores=scores, counts=counts, cost=cost)

    def _encoded(self, queries: FloatArray) -> tuple[FloatArray, Any]:
        full = queries
        if self.metric == "cosine":
            norms = np.linalg.norm(queries.astype(np.float64), axis=1, keepdims=True)
            full = (queries / norms).astype(np.float32)
        return np.ascontiguousarray(full), self._state.space.query_rows(queries, _MARGIN if self._sketched else 0.0)

    def _nearest(self, slots: Slots, points: FloatArray, count: int) -> IdArray:
        """Return for each point the nearest of some slots by full vectors, (q, count), -1 behind the last."""
        full, _ = self._encoded(points)
        ids, scores = np.full((len(full), count), -1, np.int64), np.empty((len(full), count), np.float32)
        counts, view = np.zeros(len(full), np.int64), self._state.view(sketched=self._sketched)

        def part(start: int, stop: int) -> None:
            answers.search_few(view, full, start, stop, count, METRICS[self.metric], slots, ids, scores, counts)

        pool.map_ranges(part, len(full), threads=self._threads, minimum=64)
        return ids


_NO_MASK = np.zeros(0, np.uint64)
