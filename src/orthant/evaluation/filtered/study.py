"""The protocol of a published study: each method swept, recall against queries per second, by kind and selectivity."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.readers.filtered import FilteredVectors, FilterKind
from orthant.errors import InputError, message
from orthant.evaluation.ann.measuring import usable_cpus
from orthant.evaluation.ann.truth import Truth
from orthant.evaluation.context import hash_data, run_context
from orthant.evaluation.filtered.asking import Asked, ask_all, exact_answers
from orthant.evaluation.filtered.rivals import RIVALS, STORES, make_rival, why_missing
from orthant.evaluation.filtered.specialists import ARMS, StudyArm, make_arm
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_count

__all__ = ["BUCKETS", "cheapest", "run_study"]

BUCKETS = (0.0, 0.001, 0.01, 0.05, 0.2, 1.0)
"""Edges of the selectivity buckets: shares of the rows that a filter allows."""


@dataclass(frozen=True, eq=False)
class _Task:
    """Queries of one kind with their exact answers."""

    X: FloatArray
    Q: FloatArray
    asked: list[Asked]
    truth: Truth
    k: int
    metric: Any
    buckets: tuple[float, ...]


def run_study(
    data: FilteredVectors,
    *,
    k: int = 10,
    queries: int = 200,
    limit: int | None = None,
    kinds: Sequence[FilterKind] | None = None,
    arms: Sequence[str] | None = None,
    buckets: Sequence[float] = BUCKETS,
    enough: float = 0.995,
    seed: int = 0,
    threads: int | None = None,
    rivals_python: str | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Sweep every method over filtered queries: recall, queries per second and vectors compared, by selectivity.

    Parameters
    ----------
    data : FilteredVectors
        Such as ``datasets.readers.filtered.read_fanns`` returns.
    k : int, default 10
        Neighbours.
    queries : int, default 200
        Queries per kind, drawn at random; fewer than 50 in a bucket make its recall uncertain by 0.02 and more.
    limit : int, optional
        Rows to index, drawn at random; left out, all. Truth that came with the data is not compared then.
    kinds : sequence of {"equality", "range", "set"}, optional
        Kinds of filters; left out, all that the data have.
    arms : sequence of str, optional
        Methods; left out, all of ``specialists.ARMS`` and the installed ones of ``rivals.RIVALS``.
    buckets : sequence of float
        Rising edges of selectivity; the first is 0, the last 1.
    enough : float, default 0.995
        Recall at which a sweep stops.
    seed : int, default 0
        Of the draws and builds.
    threads : int, optional
        Threads for building; left out, every usable CPU. Queries are asked one at a time on one.
    rivals_python : str, optional
        Interpreter of an environment that has LanceDB and milvus-lite; left out, this one is looked at.
    report : callable of str, optional
        Told what happens next.

    Returns
    -------
    dict
        ``kinds`` (for each: ``kind``, ``column``, ``queries``, ``allowed`` quantiles, ``filter_ms``,
        ``truth_agreement``, and ``arms`` with ``build_s``, ``links`` and ``points``), ``missing`` and ``context``;
        JSON-serialisable. A point has ``setting``, ``recall``, ``qps``, ``compared`` (vectors per query, None where an
        arm does not tell) and the same by bucket.

    Raises
    ------
    InputError
        Unknown kinds or arms, edges that do not rise from 0 to 1, or counts below 1.

    Notes
    -----
    Recall counts against ``min(k, rows that fit)``; queries that no row fits are left out. Finding the rows of a filter
    is timed apart (``filter_ms``), since stores do it in different places. Cost: sweeps of ``queries`` searches, and
    the builds.
    """
    check_count(k, name="k")
    check_count(queries, name="queries")
    edges = _check_buckets(buckets)
    names, missing = _check_arms(arms, rivals_python)
    say = report or (lambda text: None)
    rng = np.random.default_rng(seed)
    rows = None
    if limit is not None and check_count(limit, name="limit") < len(data.base):
        rows = np.sort(rng.permutation(len(data.base))[:limit])
    X = as_vectors(data.base if rows is None else data.base[rows], name="vectors", nonzero=data.metric == "cosine")
    if data.metric == "cosine":
        X = X / np.linalg.norm(X, axis=1, keepdims=True)
    chosen = np.sort(rng.permutation(len(data.queries))[:queries])
    found: list[dict[str, Any]] = []
    shared: dict[str, Any] = {}
    for kind in _check_kinds(data, kinds):
        filters = data.filters[kind] if rows is None else _part(data.filters[kind], rows)
        say(f"{kind}: exact answers")
        asked = ask_all(filters, chosen.tolist())
        fitting = np.array([len(one.rows) > 0 for one in asked], dtype=bool)
        some = [one for one in asked if len(one.rows)]
        Q = as_vectors(data.queries[chosen[fitting]], name="queries")
        task = _Task(X, Q, some, exact_answers(X, Q, some, k, data.metric), k, data.metric, edges)
        entry = _about(filters, task, chosen[fitting], whole=rows is None)
        for name in names:
            if name in ARMS and kind not in ARMS[name]:
                continue
            say(f"{kind}: {name}")
            begin = time.perf_counter()
            with ExitStack() as held:
                arm = _make(name, X, filters, data.metric, shared, _Building(threads, seed, rivals_python, held))
                built = time.perf_counter() - begin
                entry["arms"].append(
                    {"arm": name, "build_s": round(built, 2), "links": arm.links, "points": _sweep(arm, task, enough)}
                )
        found.append(entry)
    context = run_context(seed=seed, data_hash=hash_data(X[:1000], data.name, len(X)), packages=_packages())
    about = {"name": data.name, "vectors": len(X), "dim": X.shape[1], "metric": data.metric}
    return {
        "kinds": found,
        "missing": [{"arm": name, "reason": reason} for name, reason in missing.items()],
        "context": context | {"data": about, "k": k, "buckets": list(edges)},
    }


def cheapest(entry: dict[str, Any], recall: float, *, by: str = "compared") -> dict[str, dict[str, float | None]]:
    """Return for each bucket what each arm needs to reach a recall.

    Parameters
    ----------
    entry : dict
        One of ``kinds`` of ``run_study``.
    recall : float
        To reach, from 0 to 1.
    by : {"compared", "qps"}, default "compared"
        Vectors compared per query, or queries per second.

    Returns
    -------
    dict
        By bucket, such as ``"0.01-0.05"``, by arm: the figure of the cheapest point that reaches the recall in that
        bucket, None where none does or the arm does not tell.
    """
    out: dict[str, dict[str, float | None]] = {}
    for arm in entry["arms"]:
        for point in arm["points"]:
            for bucket in point["by_bucket"]:
                cell = out.setdefault(bucket["bucket"], {})
                cell.setdefault(arm["arm"], None)
                value, best = bucket[by], cell[arm["arm"]]
                if bucket["recall"] < recall or value is None:
                    continue
                if best is None or (value < best if by == "compared" else value > best):
                    cell[arm["arm"]] = value
    return out


@dataclass(frozen=True)
class _Building:
    """How arms are built, and who ends the processes that they hold."""

    threads: int | None
    seed: int
    python: str | None
    held: ExitStack


def _make(name: str, X: FloatArray, filters: Any, metric: Any, shared: Any, how: _Building) -> StudyArm:
    if name in ARMS:
        return make_arm(name, X, filters, metric, shared=shared, threads=how.threads, seed=how.seed)
    threads = how.threads or len(usable_cpus())
    if name in STORES:
        # A store holds the attribute itself, so it is made anew for each kind.
        store = make_rival(name, X, filters, metric, threads=threads, python=how.python)
        how.held.callback(store.close)
        return store  # type: ignore[no-any-return]
    # A rival's index over all rows serves every kind.
    if name not in shared:
        shared[name] = make_rival(name, X, filters, metric, threads=threads)
    return shared[name]  # type: ignore[no-any-return]


def _about(filters: Any, task: _Task, chosen: npt.NDArray[Any], *, whole: bool) -> dict[str, Any]:
    shares = np.array([one.share for one in task.asked])
    distinct = {id(one): one.seconds for one in task.asked}
    agreement = None
    if whole and filters.truth is not None:
        given = np.full((len(chosen), task.k), -1, np.int64)
        for i, query in enumerate(chosen.tolist()):
            ids = filters.truth[query][: task.k]
            given[i, : len(ids)] = ids
        agreement = round(float(np.nanmean(task.truth.recall(given, task.Q, task.X, task.metric))), 4)
    return {
        "kind": filters.kind,
        "column": filters.column,
        "queries": len(task.asked),
        "allowed": [round(float(x), 6) for x in np.quantile(shares, [0, 0.25, 0.5, 0.75, 1])],
        "filter_ms": round(1e3 * float(np.mean(list(distinct.values()))), 4),
        "truth_agreement": agreement,
        "arms": [],
    }


def _sweep(arm: StudyArm, task: _Task, enough: float) -> list[dict[str, Any]]:
    points = []
    arm.ask(task.Q[:1], task.k, task.asked[0], arm.settings()[0])
    for setting in arm.settings():
        ids = np.full((len(task.Q), task.k), -1, np.int64)
        seconds, compared = np.zeros(len(task.Q)), np.full(len(task.Q), np.nan)
        for i, asked in enumerate(task.asked):
            begin = time.perf_counter()
            ids[i], spent = arm.ask(task.Q[i : i + 1], task.k, asked, setting)
            # A store in a process of its own says what it took there.
            seconds[i] = getattr(arm, "took_s", time.perf_counter() - begin)
            compared[i] = np.nan if spent is None else spent
        recalls = task.truth.recall(ids, task.Q, task.X, task.metric)
        points.append({"setting": setting, **_figures(recalls, seconds, compared)})
        points[-1]["by_bucket"] = _by_bucket(task, recalls, seconds, compared)
        if points[-1]["recall"] >= enough and all(one["recall"] >= enough for one in points[-1]["by_bucket"]):
            break
    return points


def _figures(recalls: npt.NDArray[Any], seconds: npt.NDArray[Any], compared: npt.NDArray[Any]) -> dict[str, Any]:
    spent = float(np.mean(compared))
    return {
        "recall": round(float(np.nanmean(recalls)), 4),
        "qps": round(len(seconds) / max(float(seconds.sum()), 1e-9), 1),
        "compared": None if np.isnan(spent) else round(spent, 1),
    }


def _by_bucket(
    task: _Task, recalls: npt.NDArray[Any], seconds: npt.NDArray[Any], compared: Any
) -> list[dict[str, Any]]:
    shares = np.array([one.share for one in task.asked])
    out = []
    for low, high in pairwise(task.buckets):
        inside = (shares > low) & (shares <= high)
        if inside.any():
            about = {"bucket": f"{low:g}-{high:g}", "queries": int(inside.sum())}
            out.append(about | _figures(recalls[inside], seconds[inside], compared[inside]))
    return out


def _part(filters: Any, rows: npt.NDArray[Any]) -> Any:
    return type(filters)(filters.kind, filters.column, [filters.values[i] for i in rows], filters.asked, None)


def _check_buckets(buckets: Sequence[float]) -> tuple[float, ...]:
    edges = tuple(float(edge) for edge in buckets)
    if len(edges) < 2 or edges[0] != 0 or edges[-1] != 1 or any(a >= b for a, b in pairwise(edges)):
        raise InputError(message(f"buckets={edges}", "edges that rise from 0 to 1", "such as 0, 0.01, 0.1, 1"))
    return edges


def _check_kinds(data: FilteredVectors, kinds: Sequence[FilterKind] | None) -> list[FilterKind]:
    unknown = [kind for kind in kinds or () if kind not in data.filters]
    if unknown:
        raise InputError(message(f"kinds {unknown}", f"of {', '.join(data.filters)}", "leave kinds out for all"))
    return list(kinds) if kinds is not None else list(data.filters)  # type: ignore[arg-type]


def _check_arms(arms: Sequence[str] | None, python: str | None) -> tuple[list[str], dict[str, str]]:
    known = [*ARMS, *RIVALS]
    unknown = [name for name in arms or () if name not in known]
    if unknown:
        raise InputError(message(f"arms {unknown}", f"of {', '.join(known)}", "leave arms out for all"))
    wanted = list(arms) if arms is not None else known
    missing = {name: reason for name in wanted if name in RIVALS and (reason := why_missing(name, python)) is not None}
    return [name for name in wanted if name not in missing], missing


def _packages() -> list[str]:
    return ["faiss-cpu", "hnswlib", "lancedb", "pymilvus", "milvus-lite"]
