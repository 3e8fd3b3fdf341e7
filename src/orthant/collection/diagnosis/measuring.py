"""One diagnosis: draws the samples, measures part by part, and notes what could not be measured and why."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from orthant.collection.dense import dense_index
from orthant.collection.diagnosis import searches, shape
from orthant.collection.diagnosis.advice import advise
from orthant.collection.diagnosis.report import Diagnosis, Estimate
from orthant.collection.diagnosis.sampling import Sample, distances_to, draw, live_rows
from orthant.collection.storage.generation import Generation
from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = ["measure"]

_LEAST_ROWS = 50
_SCANNED = 100_000_000
_GROUPS = 4
_GROUP_ROWS = 2_000
_ORDER_ROWS = 4_000
_ORDER_QUERIES = 200
_ORDER_LEAST = 2_500


class _Work:
    """Figures as they come in."""

    def __init__(self, progress: Callable[[str], None] | None) -> None:
        self.figures: dict[str, Estimate] = {}
        self.curves: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._began = time.perf_counter()

    def done(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = now - self._began
        self._began = now
        if self._progress is not None:
            self._progress(part)


def measure(
    path: str,
    generation: Generation,
    space: str,
    *,
    queries: FloatArray | None,
    sample: int,
    order: bool,
    seed: int,
    progress: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Diagnose a space as of one commit.

    Parameters
    ----------
    path : str
        Of the collection; only shown.
    generation : Generation
        What is seen; its segments are mapped first.
    space : str
        Name of the space.
    queries : ndarray of shape (q, dim), float32, optional
        Queries to judge searches by; None takes sampled rows.
    sample : int
        Rows whose neighbours are found exactly; fewer where the space is so large that this would take long.
    order : bool
        Whether small graphs are built in several orders.
    seed : int
        Of every draw.
    progress : callable of str, optional
        Called with the name of every part that is done.

    Returns
    -------
    Diagnosis
        The figures.

    Raises
    ------
    InputError
        Fewer than 50 vectors that are not zero.
    """
    state = generation.spaces[space]
    state.hold()
    rows = live_rows(generation, space)
    rng = np.random.default_rng(seed)
    work = _Work(progress)
    if len(rows) >= _LEAST_ROWS:
        size = max(_LEAST_ROWS, min(sample, len(rows), max(100, _SCANNED // len(rows))))
        order_of_rows = rows[rng.permutation(len(rows))]
        own = _Rows(state, order_of_rows)
        about = own.take(size)
    if len(rows) < _LEAST_ROWS or len(about[0]) < _LEAST_ROWS:
        raise InputError(
            message(
                f"{len(rows)} vectors in space {space!r}", f"at least {_LEAST_ROWS} that are not zero", "add records"
            )
        )
    drawn = draw(distances_to(generation, space), *about)
    work.done("neighbours")
    local = _vectors(work, drawn, own, state.definition.metric, seed)
    _search_parts(work, generation, space, drawn, local, queries, seed)
    _order_part(work, own, state.definition.metric, order, seed)
    effective = work.figures.get("effective_dimension")
    work.facts["room"] = shape.room(state.definition.dim, len(rows), None if effective is None else effective.value)
    origin = "sampled records" if queries is None else "given"
    return Diagnosis(
        path=path, space=space, metric=state.definition.metric, records=generation.count, vectors=len(rows),
        dim=state.definition.dim,
        sample={"rows": len(drawn.rows), "neighbours": drawn.distances.shape[1], "queries": origin, "seed": seed},
        figures=work.figures, curves=work.curves, facts=work.facts, missing=work.missing,
        advice=advise(work.figures, work.facts, work.curves, dim=state.definition.dim, vectors=len(rows)),
        seconds=work.seconds,
    )  # fmt: skip


class _Rows:
    """Rows in random order, each handed out once."""

    def __init__(self, state: Any, rows: Any) -> None:
        self.state = state
        self._rows = rows
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._rows) - self._at

    def take(self, count: int) -> tuple[Any, FloatArray]:
        """Return up to so many further rows with their vectors, those without a direction left out."""
        rows = self._rows[self._at : self._at + count]
        self._at += len(rows)
        vectors = self.state.vectors_of(rows)[1]
        usable = (vectors != 0).any(axis=1)
        return rows[usable], vectors[usable]

    def restart(self) -> None:
        self._at = 0


def _vectors(work: _Work, drawn: Sample, own: _Rows, metric: Any, seed: int) -> Any:
    found, local = shape.dimension_figures(drawn, seed)
    work.figures |= found
    work.curves["local_dimension"] = shape.histogram(local)
    work.facts["without_local_dimension"] = int((~np.isfinite(local)).sum())
    lengths = np.linalg.norm(drawn.vectors.astype(np.float64), axis=1)
    work.curves["length"] = shape.histogram(lengths)
    spread = float(np.std(lengths) / np.mean(lengths))
    work.facts["length"] = {"median": float(np.median(lengths)), "relative_spread": spread}
    unit = drawn.vectors / lengths[:, None].astype(np.float32)
    closest = own.state.vectors_of(drawn.neighbours[:, 0])[1]
    # A neighbour without a direction resembles nothing.
    norms = np.maximum(np.linalg.norm(closest, axis=1), np.finfo(np.float32).tiny)
    cosines = np.einsum("ij,ij->i", unit.astype(np.float64), closest / norms[:, None])
    equal, work.curves["similar"] = shape.duplicate_figures(cosines)
    work.figures |= equal
    work.curves["nearest_cosine"] = shape.histogram(cosines)
    work.done("dimension, lengths, duplicates")
    own.restart()
    size = min(_GROUP_ROWS, own.left // _GROUPS)
    if size < _LEAST_ROWS:
        work.missing["hubness"] = f"it needs {_GROUPS * _LEAST_ROWS} vectors"
        return local
    groups = [own.take(size)[1] for _ in range(_GROUPS)]
    figures, facts = shape.group_figures(groups, metric)
    work.figures |= figures
    work.curves["times_a_neighbour"] = shape.histogram(facts.pop("times_a_neighbour"))
    work.facts["hubness"] = facts
    work.done("hubs, directions")
    return local


def _search_parts(
    work: _Work, generation: Generation, space: str, drawn: Sample, local: Any, queries: FloatArray | None, seed: int
) -> None:
    index, flat = dense_index(generation, space), generation.index(space)
    asked = drawn
    if queries is not None:
        asked = draw(distances_to(generation, space), np.full(len(queries), -1, np.int64), queries)
        figures, local = shape.dimension_figures(asked, seed)
        if "local_dimension" in figures:
            work.figures["local_dimension_of_queries"] = figures["local_dimension"]
    recall, plan = searches.recall_of_searches(index, flat, asked)
    ends = searches.bootstrap_interval(recall, seed=seed)
    work.figures["recall"] = Estimate(float(recall.mean()), *ends, len(recall))
    work.curves["recall_by_local_dimension"] = searches.by_quarter(local, recall, seed)
    if asked.distances.shape[1] > searches.K:
        work.curves["recall_by_margin"] = searches.by_quarter(searches.margins(asked.distances), recall, seed)
    figures, facts = searches.cost_figures(index, asked, seed)
    work.figures |= figures
    work.facts["search"] = {**facts, "plan": plan}
    work.done("searches")


def _order_part(work: _Work, own: _Rows, metric: Any, wanted: bool, seed: int) -> None:
    own.restart()
    if not wanted:
        work.missing["order"] = "it was left out"
        return
    if own.left < _ORDER_LEAST:
        work.missing["order"] = f"it needs {_ORDER_LEAST:,} vectors; fewer are scanned, and a scan has no order"
        return
    asked = own.take(_ORDER_QUERIES)[1]
    X = own.take(_ORDER_ROWS)[1]
    work.curves["order"], work.facts["order"] = searches.order_bins(X, asked, metric, seed)
    work.done("order of insertion")
