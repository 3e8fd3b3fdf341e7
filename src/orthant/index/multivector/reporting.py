"""What the shortcuts of an index of sets lose on given queries, beside exact MaxSim."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.index.multivector.scoring import exact_top, scan
from orthant.index.multivector.sets import Sets
from orthant.index.multivector.settings import METHODS, Settings, make_stage, sample_of
from orthant.index.multivector.stages import Stage
from orthant.index.multivector.staging import staged
from orthant.measures.neighbours import recall_per_query
from orthant.types import Ragged
from orthant.validate import check_choice, check_count

__all__ = ["MethodFigures", "MultiVectorReport", "measure"]


@dataclass(frozen=True)
class MethodFigures:
    """One method at one effort.

    Attributes
    ----------
    method : str
        ``"fde"``, ``"pooled"`` or ``"plaid"``.
    effort : int
        Candidates scored exactly.
    recall : float
        Share of the true k nearest that were found.
    recall_halfwidth : float
        Half of its 95 % interval over the queries.
    compared : float
        Codes, vectors and sets compared for a query.
    products : float
        Dot products of full tokens for a query.
    bytes_per_set : float
        Held beside the tokens.
    latency_ms : float
        Mean time of a query, searched in one batch; only worth reading on an idle machine.
    """

    method: str
    effort: int
    recall: float
    recall_halfwidth: float
    compared: float
    products: float
    bytes_per_set: float
    latency_ms: float


@dataclass(frozen=True)
class MultiVectorReport:
    """Shortcuts beside exact MaxSim.

    Attributes
    ----------
    rows : tuple of MethodFigures
        By method, then by effort.
    k, sets, queries : int
        Neighbours, live sets and queries measured.
    tokens_per_set : float
        Mean number of tokens.
    exact_products : float
        Dot products of full tokens of an exact search for a query.
    exact_ms : float
        Its mean time.
    """

    rows: tuple[MethodFigures, ...]
    k: int
    sets: int
    queries: int
    tokens_per_set: float
    exact_products: float
    exact_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return a table."""
        lines = [
            f"{self.sets} sets of {self.tokens_per_set:.1f} tokens, {self.queries} queries; recall@{self.k} of exact "
            f"MaxSim ({self.exact_products:,.0f} products, {self.exact_ms:.2f} ms)",
            f"{'method':<8}{'effort':>8}{'recall':>15}{'compared':>11}{'products':>13}{'bytes/set':>11}{'ms':>8}",
        ]
        lines += [
            f"{r.method:<8}{r.effort:>8}{r.recall:>8.3f} ±{r.recall_halfwidth:.3f}{r.compared:>11,.0f}"
            f"{r.products:>13,.0f}{r.bytes_per_set:>11,.0f}{r.latency_ms:>8.2f}"
            for r in self.rows
        ]
        return "\n".join(lines)

    __repr__ = __str__


def measure(
    sets: Sets,
    queries: Ragged,
    k: int,
    efforts: Iterable[int],
    methods: Iterable[str] | None,
    *,
    current: tuple[str, Stage | None],
    settings: Settings,
    threads: int | None,
) -> MultiVectorReport:
    """Measure methods against a scan.

    Parameters
    ----------
    sets : Sets
        The sets.
    queries : Ragged
        Checked queries.
    k : int
        Neighbours.
    efforts : iterable of int
        Candidates, at least k; not empty.
    methods : iterable of str or None
        Which, not empty; None takes the current one, or all.
    current : tuple of str and Stage or None
        What is in use, which is not built again.
    settings : Settings
        For what is built.
    threads : int or None
        Threads.

    Returns
    -------
    MultiVectorReport
        The figures.
    """
    if not len(queries) or not len(sets):
        given = f"{len(queries)} queries and {len(sets)} sets"
        raise InputError(message(given, "at least one of each", "add sets, and pass real queries"))
    if k > len(sets):
        raise InputError(message(f"k={k} for {len(sets)} sets", "no more than there are", "ask for fewer neighbours"))
    widths = [
        check_count(effort, name="efforts", minimum=k)
        for effort in _several(efforts, name="efforts", expected="numbers of candidates", example="(20, 100)")
    ]
    named: Sequence[str] = METHODS[2:] if current[1] is None else (current[0],)
    if methods is not None:
        named = _several(methods, name="methods", expected="names of methods", example="('pooled', 'plaid')")
    for name in named:
        check_choice(name, METHODS[2:], name="methods")
    began = time.perf_counter()
    (truth, _, _), spent = scan(sets, queries, k, selection=sets.rows.select(None), threads=threads)
    exact_ms = 1000 * (time.perf_counter() - began) / len(queries)
    rows = []
    for name in named:
        if current[1] is not None and current[0] == name:
            stage, held = current[1], sets
        else:
            sample = sample_of(sets, settings.sample, settings.seed)
            stage = make_stage(name, sample, settings, expected=sets.tokens)
            held = staged(sets, stage)
        rows += [_figures(name, effort, held, stage, queries, truth, threads) for effort in widths]
    per_set = sets.tokens / max(1, sets.rows.total)
    return MultiVectorReport(
        tuple(rows), k, len(sets), len(queries), per_set, spent["products"] / len(queries), exact_ms
    )


def _several(given: Any, *, name: str, expected: str, example: str) -> tuple[Any, ...]:
    """Return what was given as a tuple; a report of nothing would look like one that found nothing."""
    found = None if isinstance(given, (str, bytes)) or not isinstance(given, Iterable) else tuple(given)
    if not found:
        raise InputError(
            message(f"{name}={given!r}", f"{expected}, one at least", f"pass {name}={example}, or leave it out")
        )
    return found


def _figures(
    name: str, effort: int, sets: Sets, stage: Stage, queries: Ragged, truth: Any, threads: int | None
) -> MethodFigures:
    began = time.perf_counter()
    proposal = stage.rows(sets, queries, effort, truth.shape[1], None, threads)
    (found, _, _), spent = exact_top(sets, queries, proposal.rows, truth.shape[1])
    seconds = time.perf_counter() - began
    recalls = np.asarray(recall_per_query(found, truth))
    spread = float(recalls.std(ddof=1)) if len(recalls) > 1 else 0.0
    beside = sum(array.nbytes for block in sets.blocks for array in block.extras.values()) + stage.nbytes
    return MethodFigures(
        method=name,
        effort=effort,
        recall=float(recalls.mean()),
        recall_halfwidth=1.96 * spread / float(np.sqrt(len(recalls))),
        compared=(proposal.compared + spent["compared"]) / len(queries),
        products=spent["products"] / len(queries),
        bytes_per_set=beside / max(1, sets.rows.total),
        latency_ms=1000 * seconds / len(queries),
    )
