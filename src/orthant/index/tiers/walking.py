"""A graph over codes alone: candidates without a scan of all codes, and without a full vector in memory."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from orthant.index.tiers.budget import Plan
from orthant.index.tiers.row_files import DiskRows
from orthant.index.vamana.building import Settings, connect, fitted_space
from orthant.index.vamana.inputs import check_settings
from orthant.index.vamana.planner import Filter
from orthant.index.vamana.searching import Request, run
from orthant.index.vamana.space import SAMPLE_ROWS
from orthant.index.vamana.state import State
from orthant.kernels import bitmaps
from orthant.kernels.distances import norms
from orthant.kernels.warmup import wait
from orthant.threads import ReadersWriterLock
from orthant.types import FloatArray, Hits, IdArray, Metric

__all__ = ["CodeGraph", "settings_for"]

_BEAM, _LEAST_BEAM = 2, 64
"""A walk is twice as wide as what is read, since steps are cheap beside reads, and never narrower than 64."""

_TOGETHER = 1024
"""Rows linked at a time while searches wait."""

_NO_SKIPS = np.zeros(0, np.int32)


def settings_for(plan: Plan, seed: int) -> Settings:
    """Return the settings of a graph that a plan stands for.

    Parameters
    ----------
    plan : Plan
        Dimensions and links.
    seed : int
        Of the rotation and the order.

    Returns
    -------
    Settings
        Those of ``Graph`` otherwise.
    """
    return check_settings(plan.degree, max(100, plan.degree), 1.1, plan.dims, True, "random", seed, 0)


@dataclass(frozen=True)
class CodeGraph:
    """Codes and links of rows that lie elsewhere. A slot is a row, since no slot is ever given free.

    Attributes
    ----------
    state : State
        The graph; its ids are row numbers. Rows that were removed stay in it until it is built anew.
    settings : Settings
        How rows are linked.
    lock : ReadersWriterLock
        Walks share it; whoever links rows holds it alone.
    """

    state: State
    settings: Settings
    lock: ReadersWriterLock = field(default_factory=ReadersWriterLock)

    @classmethod
    def built(
        cls, rows: DiskRows, plan: Plan, *, metric: Metric, seed: int, capacity: int, readers: int, most: int
    ) -> CodeGraph:
        """Build a graph over all rows of a file, which are read twice, a few MiB at a time.

        Parameters
        ----------
        rows : DiskRows
            At least one row.
        plan : Plan
            What is kept of each.
        metric : {"cosine", "dot", "l2"}
            The score.
        seed : int
            Of the sample, the rotation and the order.
        capacity : int
            Rows to make room for.
        readers : int
            Direct reads under way at a time.
        most : int
            Rows of the sample at most, which is held in memory.

        Returns
        -------
        CodeGraph
            The graph.
        """
        wait("graph")
        settings, count, rng = settings_for(plan, seed), len(rows), np.random.default_rng(seed)
        every = np.arange(count, dtype=np.int64)
        largest = 1.0
        if metric != "cosine":
            largest = max(float(norms(part).max()) for _, part, _ in rows.chunks(every, readers=readers)) or 1.0
        chosen = np.sort(rng.choice(count, min(count, most, SAMPLE_ROWS), replace=False))
        sample = rows.read(chosen, readers=readers)[0]
        space = fitted_space(sample, settings, metric=metric, largest=largest, bits=plan.bits)
        state = State.empty(space, 2 * plan.degree, max(count, capacity), own=False)
        # Made whole at once: it would grow by halves.
        state.table = np.full(state.capacity, -1, np.int32)
        out = cls(state, settings)
        for _, part, _ in rows.chunks(every, readers=readers):
            out._fill(part)
        connect(state, rng.permutation(count).astype(np.int32), settings, threads=None)
        return out

    def _fill(self, matrix: FloatArray) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        state = self.state
        slots = state.take_slots(len(matrix))
        state.ids[slots] = slots
        state.note(slots.astype(np.int64), slots)
        state.encode(slots, matrix)
        return slots

    def extend(self, matrix: FloatArray, *, most: int | None = None) -> None:
        """Encode and link further rows in place.

        Parameters
        ----------
        matrix : ndarray of shape (m, dim), float32
            Checked vectors, whose rows follow those that are there.
        most : int, optional
            Rows that room is made for at most, unless there are more.
        """
        wait("graph")
        for start in range(0, len(matrix), _TOGETHER):
            with self.lock.writing():
                part = matrix[start : start + _TOGETHER]
                wanted = self.state.used + len(part)
                # What is mapped is copied by growing, too.
                if wanted > self.state.capacity or not self.state.codes.flags.writeable:
                    self.state.grow(wanted + (len(matrix) - start - len(part)), most)
                slots = self._fill(part)
                rng = np.random.default_rng([self.settings.seed, self.state.used])
                connect(self.state, rng.permutation(slots), self.settings, threads=None)

    def nearest(self, queries: FloatArray, wanted: int, rows: IdArray | None) -> Hits:
        """Return the rows whose codes a walk finds nearest.

        Parameters
        ----------
        queries : ndarray of shape (q, dim), float32
            Checked queries.
        wanted : int
            Rows for each; the beam is twice as wide.
        rows : ndarray of shape (m,), int64, or None
            Rows that may be returned, ascending; None for all.

        Returns
        -------
        Hits
            Row numbers as ids, best first by their codes, -1 where fewer were found. Scores are those of the codes, but
            for what is the same for all rows of a query.
        """
        wait("graph")
        beam = max(_LEAST_BEAM, _BEAM * wanted)
        with self.lock.reading():
            state, settings = self.state, self.settings
            allowed = None if rows is None else Filter(bitmaps.from_rows(rows), None, len(rows))
            # Where signs say little, as in few dimensions, codes of one cache line do as well.
            sketched = settings.sketch and state.space.dims > 64
            view = state.view(sketched=sketched)
            request = Request(
                queries, wanted, beam, beam, allowed, settings.margin, sketched, None, _NO_SKIPS, view, full=False
            )
            hits = run(state, request)
        return replace(hits, scores=hits.scores * self._unit(queries))

    def _unit(self, queries: FloatArray) -> FloatArray:
        """Return what a squared distance between codes is worth in scores, shape (q, 1)."""
        space = self.state.space
        if space.metric == "l2":
            unit = np.full(len(queries), space.largest**2)
        else:
            unit = np.full(len(queries), 0.5) if space.metric == "cosine" else 0.5 * space.largest * norms(queries)
        return unit.astype(np.float32)[:, None]

    @property
    def plan(self) -> Plan:
        """What it keeps of each vector."""
        return Plan(self.state.space.dims, self.state.space.bits, self.settings.degree)

    @property
    def nbytes(self) -> int:
        """Bytes in memory, room to grow and what was learned included."""
        space = self.state.space
        learned = (space.mean, *space.rotation, *(() if space.basis is None else (space.basis,)))
        return sum(self.state.memory().values()) + sum(one.nbytes for one in learned)
