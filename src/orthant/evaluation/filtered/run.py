"""Run every arm in every cell: recall, latency, and whether equivalent predicates are answered alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.evaluation.ann.curves import lower_bound
from orthant.evaluation.ann.inputs import AnnInputs
from orthant.evaluation.ann.measuring import pin, usable_cpus
from orthant.evaluation.ann.truth import Truth, ground_truth
from orthant.evaluation.context import hash_data, run_context, versions
from orthant.evaluation.filtered.arms import Arm, make_arms
from orthant.evaluation.filtered.cells import (
    PREDICATES,
    RELATIONS,
    Cell,
    Group,
    Wanted,
    allowed_mask,
    make_groups,
    wordings,
)
from orthant.evaluation.filtered.others import check_others, column_name, make_others
from orthant.index.flat import Flat
from orthant.kernels.bitmaps import from_mask
from orthant.validate import check_count, check_fraction

__all__ = ["run_filtered"]

_TURNS = 3
# However slow an arm is, so many of its queries are timed.
_LEAST = 5
_COMPARED = 8
# An arm that has not found its setting after so many budgets of a cell is too slow to win there.
_TUNING = 3


@dataclass(frozen=True)
class _Plan:
    inputs: AnnInputs
    kind: str
    k: int
    recall: float
    cell_budget_s: float
    tune: int
    judge: int


def run_filtered(
    inputs: AnnInputs,
    *,
    kind: str | None = None,
    k: int = 10,
    recall: float = 0.95,
    selectivities: Sequence[float] = (0.001, 0.01, 0.1, 0.5),
    predicates: Sequence[str] = PREDICATES,
    relations: Sequence[str] = RELATIONS,
    tune: int = 24,
    judge: int = 80,
    cell_budget_s: float = 1.0,
    asked: Sequence[float] = (0.9, 0.95, 0.99),
    asked_queries: int = 400,
    pivots: int = 4,
    rivals: Sequence[str] = (),
    rivals_python: str | None = None,
    build_threads: int | None = None,
    index_folder: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Measure filtered search: Orthant's planner against exact scans, post-filtering and FAISS's selectors.

    Every query is one call on one thread. An arm with a setting gets the cheapest one that reaches the recall on the
    tuning queries of the cell, else its most thorough one.

    Parameters
    ----------
    inputs : AnnInputs
        Vectors and queries.
    kind : str, optional
        Of the queries; left out, the first.
    k : int, default 10
        Neighbours.
    recall : float, default 0.95
        What every arm should reach and the planner is asked for.
    selectivities : sequence of float
        Shares of the rows that a filter allows.
    predicates : sequence of {"equality", "range", "set"}
        How filters are worded.
    relations : sequence of {"uncorrelated", "correlated", "anti-correlated"}
        Between filter and query.
    tune, judge : int
        Queries per cell of each half. Below 50 judging queries the recall of a cell is uncertain by 0.01 and more.
    cell_budget_s : float, default 1.0
        Seconds after which an arm stops repeating a cell; at least five queries are timed.
    asked : sequence of float, default (0.9, 0.95, 0.99)
        Recalls that the planner is asked for in every relation and selectivity, to see whether they are kept.
    asked_queries : int, default 400
        Judging queries for that; fewer make the lower bound loose.
    pivots : int, default 4
        Filters per cell whose attribute follows the vectors; a store holds a column for each.
    rivals : sequence of str, default none
        Further arms, of ``"hnswlib-filter"``, ``"lancedb"``, ``"milvus-lite"`` and ``"pgvector"``. A store is told the
        filter in its own words and timed in its own process.
    rivals_python : str, optional
        Interpreter of an environment that has LanceDB, milvus-lite and pgvector; left out, this one is looked at.
    build_threads : int, optional
        Threads of builds; left out, every usable CPU.
    index_folder : Path, optional
        Where FAISS's graph and the rivals are kept for later runs.
    report : callable of str, optional
        Told what happens next.

    Returns
    -------
    dict
        ``cells`` (recall, latency and plan by arm, and the ratio to the best rival), ``equivalent`` (by selectivity
        and relation), ``kept`` (recall asked and measured), ``missing`` and ``context``; JSON-serialisable.

    Raises
    ------
    InputError
        Unknown predicates, relations or kinds; counts below 1; shares outside 0 to 1.

    Notes
    -----
    Cost: about 36 cells times six arms times two seconds at most, plus the builds.
    """
    plan = _checked(_Plan(inputs, kind or next(iter(inputs.queries)), k, recall, cell_budget_s, tune, judge))
    for share in (*selectivities, *asked):
        check_fraction(share, name="selectivity or recall")
    check_count(asked_queries, name="asked_queries")
    check_others(rivals)
    say = report or (lambda text: None)
    cpus = usable_cpus()
    cache = None
    if index_folder is not None:
        cache = index_folder / hash_data(inputs.data_sha256, "filtered", versions(["faiss-cpu"]))[:16]
    say("building the arms")
    # A rival's table has the columns of every relation, so that it serves runs of some.
    all_of = RELATIONS if rivals else relations
    groups = {one: make_groups(inputs, one, kind=plan.kind, tune=tune, judge=judge, pivots=pivots) for one in all_of}
    threads = build_threads or len(cpus)
    with ExitStack() as held:
        others = make_others(
            rivals, inputs, groups, _all_wanted(groups, selectivities, predicates),
            python=rivals_python, cache=cache, threads=threads, held=held,
        )  # fmt: skip
        calibration = inputs.queries[plan.kind].tune
        arms, missing = make_arms(inputs, recall=recall, calibration=calibration, k=k, cache=cache, threads=threads)
        arms, missing = arms + others.arms, missing | others.missing
        pin(cpus[-1:])
        held.callback(pin, cpus)
        cells, equivalent, kept = [], [], []
        for relation in relations:
            many = make_groups(inputs, relation, kind=plan.kind, tune=1, judge=asked_queries, pivots=pivots)
            for share in selectivities:
                say(f"{relation}, {share:.1%}")
                far = relation == "anti-correlated"
                equivalent.append(_equivalent(arms[0], groups[relation][0], plan, share, far) | {"relation": relation})
                about = {"relation": relation, "selectivity": share}
                kept += [about | one for one in _kept(arms[0], many, asked, plan, share, far)]
                truths = None
                for predicate in predicates:
                    made = _cells(groups[relation], relation, predicate, share)
                    # All predicates name the same rows, so their exact neighbours are found once.
                    truths = truths or [(_truth(c, c.tune, plan), _truth(c, c.judge, plan)) for c in made]
                    about = {"predicate": predicate, "selectivity": share, "relation": relation}
                    cells.append(about | _measure(arms, made, truths, plan))
    return {
        "cells": cells,
        "equivalent": equivalent,
        "kept": kept,
        "missing": [{"arm": name, "reason": reason} for name, reason in missing.items()],
        "context": _context(plan) | ({"rivals": others.about} if rivals else {}),
    }


def _wanted(relation: str, i: int, predicate: str, share: float) -> Wanted:
    return Wanted(column_name(relation, i), predicate, share, relation == "anti-correlated")


def _all_wanted(
    groups: Mapping[str, Sequence[Group]], selectivities: Sequence[float], predicates: Sequence[str]
) -> list[Wanted]:
    return [
        _wanted(relation, i, predicate, share)
        for relation, some in groups.items()
        for i in range(len(some))
        for share in selectivities
        for predicate in predicates
    ]


def _cells(groups: Sequence[Group], relation: str, predicate: str, share: float) -> list[Cell]:
    far = relation == "anti-correlated"
    masks = [allowed_mask(group.rank, predicate, selectivity=share, far=far) for group in groups]
    return [
        Cell.of(mask, group, _wanted(relation, i, predicate, share))
        for i, (mask, group) in enumerate(zip(masks, groups, strict=True))
    ]


def _checked(plan: _Plan) -> _Plan:
    check_count(plan.k, name="k")
    check_count(plan.tune, name="tune")
    check_count(plan.judge, name="judge")
    check_fraction(plan.recall, name="recall")
    return plan


def _truth(cell: Cell, Q: np.ndarray, plan: _Plan) -> Truth:
    inputs = plan.inputs
    if len(cell.rows) < 0.25 * len(inputs.base):
        found = ground_truth(
            np.ascontiguousarray(inputs.base[cell.rows]), Q, k=plan.k, metric=inputs.metric, data_sha256=""
        )
        return Truth(np.where(found.ids >= 0, cell.rows[found.ids], -1), found.scores, "")
    rows = np.arange(len(inputs.base), dtype=np.int64)
    index = Flat.over([(inputs.base, rows)], dim=inputs.base.shape[1], metric=inputs.metric)
    hits = index.search(Q, plan.k, allowed=cell.bitmap)
    return Truth(hits.ids, hits.scores, "")


def _measure(arms: list[Arm], cells: list[Cell], truths: list[tuple[Truth, Truth]], plan: _Plan) -> dict[str, Any]:
    found = {arm.name: _arm_in_cell(arm, cells, truths, plan) for arm in arms}
    mine = found["orthant"]
    good = {n: f for n, f in found.items() if n != "orthant" and f["recall"] >= plan.recall}
    best = min(good, key=lambda name: good[name]["p50_ms"]) if good else None
    return {
        "allowed": len(cells[0].rows),
        "arms": found,
        "recall_kept": mine["recall"] >= plan.recall,
        "best_rival": best,
        "speedup": None if best is None else round(good[best]["p50_ms"] / mine["p50_ms"], 3),
    }


def _choose(arm: Arm, cell: Cell, truth: Truth, plan: _Plan) -> dict[str, Any]:
    """The cheapest setting that reaches the recall on the tuning queries, else the most thorough one."""
    settings = arm.settings(cell, plan.k)
    if len(settings) == 1:
        return settings[0]
    begin = time.perf_counter()
    for setting in settings:
        if time.perf_counter() - begin > _TUNING * plan.cell_budget_s:
            return setting
        ids = np.concatenate([arm.search(q[None], plan.k, cell, setting)[0] for q in cell.tune])
        if np.nanmean(truth.recall(ids, cell.tune, plan.inputs.base, plan.inputs.metric)) >= plan.recall:
            return setting
    return settings[-1]


def _arm_in_cell(arm: Arm, cells: list[Cell], truths: list[tuple[Truth, Truth]], plan: _Plan) -> dict[str, Any]:
    recalls: list[float] = []
    times: list[float] = []
    plans: set[str] = set()
    settings = []
    for cell, (to_tune, to_judge) in zip(cells, truths, strict=True):
        arm.ready(cell)
        setting = _choose(arm, cell, to_tune, plan)
        ids, spent, labels = _timed(arm, cell, setting, plan, plan.cell_budget_s / len(cells))
        done = len(ids)
        part = Truth(to_judge.ids[:done], to_judge.scores[:done], "")
        recalls += part.recall(ids, cell.judge[:done], plan.inputs.base, plan.inputs.metric).tolist()
        times += spent
        plans |= labels
        settings.append(setting)
    return {
        "recall": round(float(np.nanmean(recalls)), 4),
        "recall_lower_95": round(lower_bound(recalls), 4),
        "p50_ms": round(statistics.median(times) * 1e3, 4),
        "p95_ms": round(float(np.quantile(times, 0.95)) * 1e3, 4),
        "mean_ms": round(statistics.fmean(times) * 1e3, 4),
        "timed": len(times),
        "judged": len(recalls),
        "settings": settings,
        "plans": sorted(plans - {""}),
    }


def _timed(
    arm: Arm, cell: Cell, setting: dict[str, Any], plan: _Plan, limit_s: float
) -> tuple[np.ndarray, list[float], set[str]]:
    """Ask query by query, three times over or until the time is up; the first round also gives the answers."""
    arm.search(cell.judge[:1], plan.k, cell, setting)
    found: list[np.ndarray] = []
    times: list[float] = []
    labels: set[str] = set()
    begin = time.perf_counter()
    for turn in range(_TURNS):
        for q in cell.judge:
            if len(times) >= _LEAST and time.perf_counter() - begin > limit_s:
                return np.concatenate(found), times, labels
            start = time.perf_counter()
            ids, label = arm.search(q[None], plan.k, cell, setting)
            # A store in a process of its own says what it took there.
            times.append(getattr(arm, "took_s", time.perf_counter() - start))
            labels.add(label)
            if turn == 0:
                found.append(ids)
    return np.concatenate(found), times, labels


def _equivalent(arm: Arm, group: Group, plan: _Plan, share: float, far: bool) -> dict[str, Any]:
    """Ask the planner in every wording and every form of the same rows; all answers must be the same bits."""
    index, queries = arm.index, group.judge[:_COMPARED]  # type: ignore[attr-defined]
    answers = {}
    for name, mask in wordings(group.rank, selectivity=share, far=far):
        forms = {"bitmap": from_mask(mask), "mask": mask, "ids": np.flatnonzero(mask).astype(np.int64)}
        for form, allowed in forms.items():
            hits = index.search(queries, plan.k, allowed=allowed, recall=plan.recall, threads=1)
            answers[f"{name}, as {form}"] = hits
    first = next(iter(answers.values()))
    unlike = [
        name
        for name, hits in answers.items()
        if not (np.array_equal(hits.ids, first.ids) and np.array_equal(hits.scores, first.scores))
    ]
    return {"selectivity": share, "identical": not unlike, "wordings": len(answers), "unlike": unlike}


def _kept(
    arm: Arm, groups: list[Group], asked: Sequence[float], plan: _Plan, share: float, far: bool
) -> Iterator[dict[str, Any]]:
    """Recall measured where a recall is asked for under the filter, over the queries of all groups."""
    index, inputs = arm.index, plan.inputs  # type: ignore[attr-defined]
    cells = [Cell.of(allowed_mask(g.rank, "range", selectivity=share, far=far), g) for g in groups]
    truths = [_truth(cell, cell.judge, plan) for cell in cells]
    for recall in asked:
        each: list[float] = []
        plans = set()
        for cell, truth in zip(cells, truths, strict=True):
            hits = index.search(cell.judge, plan.k, allowed=cell.bitmap, recall=recall, threads=1)
            each += truth.recall(hits.ids, cell.judge, inputs.base, inputs.metric).tolist()
            plans.add(hits.cost.plan)
        yield {
            "asked": recall,
            "measured": round(float(np.nanmean(each)), 5),
            "lower_95": round(lower_bound(each), 5),
            "queries": len(each),
            "plans": sorted(plans),
        }


def _context(plan: _Plan) -> dict[str, Any]:
    inputs = plan.inputs
    return run_context(seed=0, data_hash=inputs.data_sha256, packages=["faiss-cpu"]) | {
        "data": {
            "name": inputs.name,
            "vectors": len(inputs.base),
            "dim": int(inputs.base.shape[1]),
            "metric": inputs.metric,
            "queries": plan.kind,
        },
        "k": plan.k,
        "recall": plan.recall,
        "threads_searched": 1,
        "cell_budget_s": plan.cell_budget_s,
    }
