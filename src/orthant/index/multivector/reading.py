"""What readers of an index of sets may do: search, measure, look up, check and save."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NotFoundError, message
from orthant.index.blocks import shown
from orthant.index.multivector.files import write_sets
from orthant.index.multivector.reporting import MultiVectorReport, measure
from orthant.index.multivector.scoring import exact_top, rescored, scan
from orthant.index.multivector.sets import Sets
from orthant.index.multivector.settings import Settings
from orthant.index.multivector.stages import Linked, Stage
from orthant.kernels.topk import check_answers
from orthant.threads import Turn
from orthant.transforms.fixed_dimensional import carve_balls
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, IndexStats, Metric, Ragged, SearchCost
from orthant.validate import as_allowed, as_ids, as_ragged, check_count, check_effort

__all__ = ["MultiVectorReading", "State"]

_LEAST_EFFORT = 100
_EFFORT_PER_HIT = 5


@dataclass(frozen=True)
class State:
    """One generation.

    Attributes
    ----------
    sets : Sets
        Tokens.
    stage : Stage or None
        What proposes candidates; None compares everything.
    method : str
        ``"exact"``, or the stage's name.
    """

    sets: Sets
    stage: Stage | None = None
    method: str = "exact"


class MultiVectorReading:
    """The half of ``MultiVector`` that changes nothing; not made by itself.

    Parameters
    ----------
    dim : int
        Dimension of the tokens.
    settings : Settings
        Checked parameters.
    """

    _same_ids = True
    """Whether a graph holds the sets and no others."""

    def __init__(self, dim: int, settings: Settings) -> None:
        self._dim = check_count(dim, name="dim")
        self._settings = settings
        self._lock = Turn()
        self._state = State(Sets(self._dim))
        self._next_id = 0
        self._measured: tuple[tuple[int, float], ...] = ()

    @property
    def dim(self) -> int:
        """Dimension of the tokens."""
        return self._dim

    @property
    def metric(self) -> Metric:
        """``"dot"``: what MaxSim adds up."""
        return "dot"

    @property
    def method(self) -> str:
        """How the next search finds candidates: ``"exact"`` compares everything."""
        return self._state.method

    def __len__(self) -> int:
        """Return the number of live sets."""
        return len(self._state.sets)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dim={self._dim}, method={self.method!r}, {len(self)} sets)"

    def search(
        self,
        Q: Any,
        k: int = 10,
        *,
        allowed: BitmapArray | IdArray | npt.NDArray[np.bool_] | None = None,
        effort: int | None = None,
        recall: float | None = None,
        carve: float | None = None,
        threads: int | None = None,
    ) -> Hits:
        """Return the k sets of highest MaxSim score for each query: all of them compared, or the best candidates.

        Parameters
        ----------
        Q : Ragged, or sequence of array-like of shape (length, dim)
            Queries, none empty, without padding.
        k : int, default 10
            Sets wanted, at least 1. Where there are fewer, rows are padded.
        allowed : uint64 bitmap over ids, bool mask over ids, or array of ids, optional
            Restricts the answer before candidates are chosen.
        effort : int, optional
            Candidates scored exactly, at least k; left out, the larger of 100 and 5 k. More finds more. Refused by
            method "exact"; without effect while an index of another method is still compared as a whole.
        recall : float, optional
            Share of the true neighbours wanted, 0 to 1, instead of ``effort``: 1 compares everything, less takes the
            smallest effort that ``report`` found to reach it.
        carve : float, optional
            Choose among the candidates with query tokens joined by `orthant.transforms.carve_balls` at this threshold;
            the final scores are of all tokens. Saves time for queries that repeat themselves, and may lose a hit.
        threads : int, optional
            Threads.

        Returns
        -------
        Hits
            ids (q, k) int64 padded with -1, scores (q, k) float32 padded with -inf: exact MaxSim, whatever proposed
            the candidates. ``cost.plan`` is ``"scan"``, ``"scan-allowed"`` or the method; ``cost.details`` has the
            effort, the sets scored exactly and the products of token vectors.

        Raises
        ------
        InputError
            k or effort below 1, effort below k, both effort and recall, a recall that was never measured, or queries
            without tokens.
        DimensionError, DtypeError, NonFiniteError
            Q or ``allowed`` do not fit.
        """
        began = time.perf_counter()
        queries = as_ragged(Q, dim=self._dim, name="queries", nonempty=True)
        wanted = check_answers(k, queries=len(queries), held=len(self))
        state = self._state
        check_effort(effort, recall, threads)
        width = self._width(state, wanted, effort, recall)
        rows = as_allowed(allowed)
        asked = None if carve is None else carve_balls(queries, carve)
        stage = state.stage
        if stage is None or width is None:
            selection = state.sets.rows.select(rows)
            (ids, scores, counts), spent = scan(state.sets, queries, wanted, selection=selection, threads=threads)
            return Hits(ids, scores, counts, _cost(selection.plan, spent, began, {}))
        proposal = stage.rows(state.sets, queries, width, wanted, rows, threads)
        # A graph may be younger than these sets: what they lack is not among the rows.
        (ids, scores, counts), spent = exact_top(state.sets, queries, proposal.rows, wanted, scored=asked)
        told = {"effort": width, "proposal_compared": proposal.compared, "proposal_bytes": proposal.bytes_read}
        return Hits(ids, scores, counts, _cost(state.method, spent, began, told))

    def _width(self, state: State, k: int, effort: int | None, recall: float | None) -> int | None:
        """Return how many candidates to score; None compares everything."""
        if effort is not None:
            if self._settings.method == "exact":
                given = f"effort={effort} for method='exact'"
                raise InputError(message(given, "no effort", "leave it out: every set is compared"))
            if effort < k:
                raise InputError(message(f"effort={effort} for k={k}", "k at least", "raise effort"))
        if state.stage is None or recall == 1.0:
            return None
        if recall is not None:
            enough = [width for width, measured in self._measured if measured >= recall and width >= k]
            if not enough:
                given = f"recall={recall:g}, which no measured effort reaches"
                raise InputError(message(given, "effort, or a recall that report() found", "call report(queries)"))
            return min(enough)
        return effort if effort is not None else max(_LEAST_EFFORT, _EFFORT_PER_HIT * k)

    def report(
        self,
        queries: Any,
        *,
        k: int = 10,
        efforts: Sequence[int] = (20, 50, 100, 200),
        methods: Sequence[str] | None = None,
        threads: int | None = None,
    ) -> MultiVectorReport:
        """Measure on your own queries what the shortcut loses against exact MaxSim, and what others would.

        Parameters
        ----------
        queries : Ragged, or sequence of array-like of shape (length, dim)
            Real queries, a hundred or more.
        k : int, default 10
            True neighbours looked for.
        efforts : sequence of int, default (20, 50, 100, 200)
            Candidates scored exactly, each at least k.
        methods : sequence of str, optional
            Some of "fde", "pooled" and "plaid", each built on the live sets for the comparison; left out, the method
            in use, or all three while everything is compared.
        threads : int, optional
            Threads.

        Returns
        -------
        MultiVectorReport
            Recall with its interval, bytes and work by method and effort; prints as a table.

        Raises
        ------
        InputError
            No queries, an empty index, a k above its size, an unknown method, efforts below k, or none of either.

        Notes
        -----
        What is measured of the method in use is what ``search(recall=...)`` goes by from then on. Cost: an exact search
        of all queries, a build for each method that is not in use, and a search for each effort.
        """
        asked = as_ragged(queries, dim=self._dim, name="queries", nonempty=True)
        state = self._state
        found = measure(
            state.sets, asked, check_count(k, name="k"), efforts, methods,
            current=(state.method, state.stage), settings=self._settings, threads=threads,
        )  # fmt: skip
        own = tuple((row.effort, row.recall) for row in found.rows if row.method == state.method)
        with self._lock:
            self._measured = own or self._measured
        return found

    def ids(self) -> IdArray:
        """Return the ids of all live sets, shape (n,), int64, in the order of the rows."""
        rows = self._state.sets.rows
        return rows.ids_of(rows.alive_rows())

    def score_ids(self, q: npt.ArrayLike, ids: npt.ArrayLike) -> FloatArray:
        """Return one query's exact MaxSim scores with given ids.

        Parameters
        ----------
        q : array-like of shape (length, dim)
            The query's tokens.
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        ndarray of shape (m,), float32
            Scores in the order of ``ids``; -inf where the id is absent.
        """
        query = as_ragged([q], dim=self._dim, name="query", nonempty=True)
        wanted, sets = as_ids(ids), self._state.sets
        rows = sets.rows.locate(wanted)
        out = np.full(len(wanted), -np.inf, dtype=np.float32)
        out[rows >= 0] = rescored(query.values, sets.gathered(rows[rows >= 0]))
        return out

    def reconstruct(self, ids: npt.ArrayLike) -> Ragged:
        """Return the tokens of given ids.

        Parameters
        ----------
        ids : array-like of shape (m,), int
            Distinct ids.

        Returns
        -------
        Ragged
            Copies, exactly as added.

        Raises
        ------
        NotFoundError
            Ids that are not present (listed).
        """
        wanted, sets = as_ids(ids), self._state.sets
        rows = sets.rows.locate(wanted)
        missing = wanted[rows < 0]
        if len(missing):
            raise NotFoundError(message(f"ids {shown(missing)}", "ids in the index", "check them with score_ids"))
        return sets.gathered(rows)

    def check(self) -> list[str]:
        """Return what is wrong with the index, one line each; empty when all is well."""
        state, out = self._state, []
        if isinstance(state.stage, Linked):
            out += state.stage.graph.check()
            linked, own = np.sort(state.stage.graph.ids()), np.sort(self.ids())
            if not (np.array_equal(linked, own) if self._same_ids else np.isin(own, linked).all()):
                out.append("the graph and the sets hold different ids")
        for number, block in enumerate(state.sets.blocks):
            if len(block.spans) and ((block.spans[:, 1] <= block.spans[:, 0]).any()):
                out.append(f"block {number} holds a set without tokens")
            for name, array in block.extras.items():
                if len(array) != (len(block.values) if name.startswith("token") else len(block.rows)):
                    out.append(f"block {number} has {len(array)} rows of {name}")
        return out

    def stats(self) -> IndexStats:
        """Return counts and bytes.

        Returns
        -------
        IndexStats
            ``memory_bytes`` counts tokens, codes, the stage and lookup, mapped files included. ``details`` has the
            method, tokens, tokens per set, bytes by part and blocks.
        """
        state = self._state
        sets, stage = state.sets, state.stage
        own = 0 if stage is None else stage.nbytes
        codes = sum(array.nbytes for block in sets.blocks for array in block.extras.values())
        total, tokens = sets.nbytes + own, sets.tokens
        parts = {"tokens": sum(block.values.nbytes for block in sets.blocks), "codes": codes, "stage": own}
        details = {
            "method": state.method,
            "tokens": tokens,
            "tokens_per_set": tokens / sets.rows.total if sets.rows.total else 0.0,
            "parts": parts,
            "blocks": len(sets.blocks),
            "measured": dict(self._measured),
        }
        return IndexStats(
            kind=type(self).__name__, count=len(sets), dead=sets.rows.dead, dim=self._dim, metric="dot",
            memory_bytes=total, bytes_per_vector=total / sets.rows.total if sets.rows.total else 0.0, details=details,
        )  # fmt: skip

    def save(self, path: str | Path) -> None:
        """Write the live sets to a folder, replacing what it held.

        Parameters
        ----------
        path : str or Path
            Folder; created if missing. It may be moved later.

        Raises
        ------
        InputError
            The path is a file.
        """
        with self._lock:
            state, next_id = self._state, self._next_id
            told: dict[str, Any] = {"next_id": next_id, "measured": self._measured}
            write_sets(path, state.sets, state.stage, state.method, self._settings, **told)


def _cost(plan: str, spent: dict[str, int], began: float, told: dict[str, Any]) -> SearchCost:
    details = {**told, "rescored": spent["rescored"], "products": spent["products"]}
    compared = spent["compared"] + int(told.get("proposal_compared", 0))
    read = spent["bytes_read"] + int(told.get("proposal_bytes", 0))
    return SearchCost(plan, compared, time.perf_counter() - began, read, details)
