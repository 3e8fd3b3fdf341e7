"""Run a comparison: one process per engine, builds and tuning one after the other, timing in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from orthant.evaluation.ann.curves import pareto, qps_at
from orthant.evaluation.ann.engine import ENGINES, expand_peers, is_installed
from orthant.evaluation.ann.inputs import AnnInputs
from orthant.evaluation.ann.measuring import usable_cpus
from orthant.evaluation.ann.process import EngineFailedError, EngineProcess
from orthant.evaluation.ann.truth import ground_truth
from orthant.evaluation.context import hash_data, run_context, versions
from orthant.validate import check_count, check_fraction

__all__ = ["run_ann"]

OURS = ("orthant", "orthant-query-aware")
_PACKAGES = ("faiss-cpu", "scann", "usearch", "hnswlib")
_TIMED_QUERIES = 300
# A build that was started is let finish within reason; beyond, the engine is missing.
_PATIENCE = 6.0
_PATIENCE_PER_VALUE_S = 2e-6


@dataclass
class _Arm:
    """One engine while it is compared."""

    name: str
    process: EngineProcess
    prepared: dict[str, Any]
    recalls: dict[str, list[float]] = field(default_factory=dict)
    # By kind of queries: one list of queries per second per repetition, in the order of the settings.
    speeds: dict[str, list[list[float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plan:
    """What all engines are told alike."""

    inputs: AnnInputs
    k: int
    threads: int
    build_threads: int
    budget_s: float
    sample_rows: int
    targets: tuple[float, ...]
    cache: str | None
    judged: str

    def spec(self, engine: str) -> dict[str, Any]:
        """Return the worker's first request."""
        return {
            "engine": engine,
            "base": str(self.inputs.base_path),
            "judged": self.judged,
            "kinds": list(self.inputs.queries),
            "metric": self.inputs.metric,
            "k": self.k,
            "threads": self.threads,
            "build_threads": self.build_threads,
            "budget_s": self.budget_s,
            "sample_rows": self.sample_rows,
            "targets": list(self.targets),
            "cache": self.cache,
        }


def run_ann(
    inputs: AnnInputs,
    *,
    k: int = 10,
    peers: Sequence[str] = ("faiss", "scann", "usearch", "hnswlib"),
    threads: int = 1,
    build_threads: int | None = None,
    targets: Sequence[float] = (0.95, 0.99),
    asked: Sequence[float] = (0.9, 0.95, 0.99),
    repetitions: int = 5,
    budget_s: float = 60.0,
    sample_rows: int = 20_000,
    truth_folder: Path | None = None,
    index_folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    report: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Compare Orthant's index with tuned peers: recall, queries per second, build and memory.

    Every engine runs in its own process, bound to as many CPUs as it has threads. Its build and its search settings
    are chosen on the tuning half of the queries; recall and speed are measured on the other half, the engines taking
    turns within every repetition.

    Parameters
    ----------
    inputs : AnnInputs
        Vectors and queries.
    k : int, default 10
        Neighbours.
    peers : sequence of str
        Libraries or engines, see ``expand_peers``. One that is not installed is listed as missing.
        ``"orthant-query-aware"`` is Orthant's graph after it was suited to the queries that neither tune nor judge.
    threads : int, default 1
        Threads of a search.
    build_threads : int, optional
        Threads of a build; left out, every usable CPU. CPU seconds are reported too.
    targets : sequence of float, default (0.95, 0.99)
        Recalls at which speeds are compared and for which engines are tuned.
    asked : sequence of float, default (0.9, 0.95, 0.99)
        Recalls that Orthant's index is asked for by ``recall=``.
    repetitions : int, default 5
        Passes over the settings; the median counts. Fewer than 5 leave the spread uncertain.
    budget_s : float, default 60
        Seconds per engine for trying candidate builds. Too few leave a peer untuned; its search settings are swept in
        any case. With the full build it may take six times as long, and longer for many vectors, before the engine
        counts as missing.
    sample_rows : int, default 20000
        Random rows on which candidate builds are ranked; the best is built in full.
    truth_folder, index_folder : Path, optional
        Where exact neighbours and indexes of peers are kept for later runs. Orthant's own is always built.
    environment : mapping of str to str, optional
        Variables for every engine's process, such as those that switch instruction sets off.
    report : callable of str, optional
        Told what happens next.

    Returns
    -------
    dict
        ``results`` (one entry per engine and kind of queries), ``ratios`` (to the best peer, with spread), ``kept``
        (recall asked and measured), ``missing`` (engine and reason) and ``context``; JSON-serialisable.

    Raises
    ------
    InputError
        An unknown peer, counts below 1, recalls outside 0 to 1, or cached neighbours of other data.

    Notes
    -----
    Cost: about ``budget_s`` per engine, plus full builds, plus repetitions times settings times half a second.
    """
    check_count(k, name="k", maximum=len(inputs.base))
    check_count(threads, name="threads")
    check_count(repetitions, name="repetitions")
    for value in (*targets, *asked):
        check_fraction(value, name="recall")
    names = ["orthant", *expand_peers(peers)]
    missing = {name: "not installed" for name in names if not is_installed(name)}
    say = report or (lambda text: None)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        say("exact neighbours")
        judged = Path(folder) / "judged.npz"
        np.savez(judged, **_judged(inputs, k, truth_folder))
        cache = None
        if index_folder is not None:
            cache = str(index_folder / hash_data(inputs.data_sha256, k, versions(_PACKAGES), sample_rows)[:16])
        plan = _Plan(
            inputs,
            k,
            threads,
            build_threads or len(usable_cpus()),
            float(budget_s),
            sample_rows,
            tuple(targets),
            cache,
            str(judged),
        )
        arms = []
        for name in (one for one in names if one not in missing):
            say(f"building and tuning {name}")
            try:
                arms.append(_prepared(name, plan, stack, environment))
            except EngineFailedError as error:
                missing[name] = str(error)
        _measure(arms, plan, repetitions, missing, say)
        kept = _kept(arms, asked, missing)
    return {
        "results": [entry for arm in arms if arm.name not in missing for entry in _entries(arm, plan)],
        "ratios": _ratios([arm for arm in arms if arm.name not in missing], plan),
        "kept": kept,
        "missing": [{"engine": name, "reason": reason} for name, reason in missing.items()],
        "context": _context(inputs, k, repetitions, plan),
    }


def _judged(inputs: AnnInputs, k: int, folder: Path | None) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for kind, split in inputs.queries.items():
        for half, Q in (("tune", split.tune), ("judge", split.judge)):
            digest = hash_data(inputs.data_sha256, kind, half, k)
            truth = ground_truth(inputs.base, Q, k=k, metric=inputs.metric, data_sha256=digest, folder=folder)
            arrays |= {f"{kind}/{half}": Q, f"{kind}/{half}/ids": truth.ids, f"{kind}/{half}/scores": truth.scores}
        arrays[f"{kind}/rest"] = split.rest
    return arrays


def _prepared(name: str, plan: _Plan, stack: ExitStack, environment: Mapping[str, str] | None) -> _Arm:
    process = stack.enter_context(EngineProcess(plan.spec(name), environment=environment))
    try:
        patience = _PATIENCE * plan.budget_s + 60 + _PATIENCE_PER_VALUE_S * plan.inputs.base.size
        return _Arm(name, process, process.ask("prepare", timeout_s=patience))
    except EngineFailedError:
        process.close()
        raise


def _measure(
    arms: list[_Arm], plan: _Plan, repetitions: int, missing: dict[str, str], say: Callable[[str], None]
) -> None:
    """Recall once, then every engine in turn within every repetition, so that a slow minute hits all alike."""
    for arm in arms:
        for kind, settings in arm.prepared["chosen"].items():
            _tell(arm, "judge", {"kind": kind, "settings": settings}, missing, plan, arm.recalls, kind)
    for turn in range(repetitions):
        say(f"timing, {turn + 1} of {repetitions}")
        for arm in arms[turn % len(arms) :] + arms[: turn % len(arms)] if arms else []:
            for kind, settings in arm.prepared["chosen"].items():
                request = {"kind": kind, "settings": settings, "queries": _TIMED_QUERIES}
                _tell(arm, "clock", request, missing, plan, arm.speeds, kind)


def _tell(
    arm: _Arm,
    verb: str,
    request: dict[str, Any],
    missing: dict[str, str],
    plan: _Plan,
    into: dict[str, Any],
    kind: str,
) -> None:
    if arm.name in missing:
        return
    try:
        answer = arm.process.ask(verb, request, timeout_s=plan.budget_s + 60)
    except EngineFailedError as error:
        missing[arm.name] = str(error)
        return
    if verb == "judge":
        into[kind] = answer["recall"]
    else:
        into.setdefault(kind, []).append([answer["queries"] / max(s, 1e-9) for s in answer["seconds"]])


def _kept(arms: list[_Arm], asked: Sequence[float], missing: Mapping[str, str]) -> list[dict[str, Any]]:
    mine = next((arm for arm in arms if arm.name == "orthant" and arm.name not in missing), None)
    if mine is None or not asked:
        return []
    return mine.process.ask("ask", {"recalls": list(asked)}, timeout_s=600)["kept"]


def _medians(arm: _Arm, kind: str) -> list[float]:
    return [statistics.median(one) for one in zip(*arm.speeds[kind], strict=True)]


def _entries(arm: _Arm, plan: _Plan) -> list[dict[str, Any]]:
    rows, prepared = len(plan.inputs.base), arm.prepared
    memory = prepared["anonymous_bytes"]
    shared = {
        "engine": arm.name,
        "threads": plan.threads,
        "build_s": round(prepared["build_s"], 3),
        "build_cpu_s": round(prepared["build_cpu_s"], 3),
        "build_threads": plan.build_threads,
        "build": prepared["build"],
        "built_before": prepared["from_cache"],
        "bytes_per_vector": None if memory is None else round((memory + prepared["mapped_bytes"]) / rows, 1),
    }
    entries = []
    for kind, settings in prepared["chosen"].items():
        recalls, medians = arm.recalls[kind], _medians(arm, kind)
        every = list(zip(*arm.speeds[kind], strict=True))
        points = [
            {
                "recall": round(recalls[i], 5),
                "qps": round(medians[i], 1),
                "qps_min": round(min(every[i]), 1),
                "qps_max": round(max(every[i]), 1),
                "setting": settings[i],
            }
            for i in pareto(recalls, medians)
        ]
        at = {f"{target:.2f}": qps_at(recalls, medians, target) for target in plan.targets}
        entries.append(
            shared
            | {
                "queries": kind,
                "points": points,
                "qps_at": {key: None if value is None else round(value, 1) for key, value in at.items()},
            }
        )
    return entries


def _ratios(arms: list[_Arm], plan: _Plan) -> list[dict[str, Any]]:
    ours = [arm for arm in arms if arm.name in OURS]
    others = [arm for arm in arms if arm.name not in OURS]
    out = []
    for mine in ours if others else ():
        for kind in plan.inputs.queries:
            for target in plan.targets:
                at = {arm.name: qps_at(arm.recalls[kind], _medians(arm, kind), target) for arm in others}
                reached = {name: value for name, value in at.items() if value is not None}
                if not reached:
                    continue
                best = max(reached, key=lambda name: reached[name])
                ratio = _ratio(mine, _named(others, best), kind, target)
                out.append({"engine": mine.name, "queries": kind, "recall": target} | ratio)
    return out


def _named(arms: list[_Arm], name: str) -> _Arm:
    return next(arm for arm in arms if arm.name == name)


def _ratio(mine: _Arm, peer: _Arm, kind: str, target: float) -> dict[str, Any]:
    """Ratio of speeds within each repetition, of build CPU seconds, and of memory."""
    pairs = [
        (qps_at(mine.recalls[kind], a, target), qps_at(peer.recalls[kind], b, target))
        for a, b in zip(mine.speeds[kind], peer.speeds[kind], strict=True)
    ]
    ratios = [a / b for a, b in pairs if a is not None and b is not None]
    memory = mine.prepared["anonymous_bytes"], peer.prepared["anonymous_bytes"]
    held = None
    if memory[0] is not None and memory[1]:
        held = (memory[0] + mine.prepared["mapped_bytes"]) / (memory[1] + peer.prepared["mapped_bytes"])
    return {
        "best_peer": peer.name,
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "ratio_min": round(min(ratios), 3) if ratios else None,
        "ratio_max": round(max(ratios), 3) if ratios else None,
        "build_cpu_ratio": round(mine.prepared["build_cpu_s"] / max(peer.prepared["build_cpu_s"], 1e-9), 3),
        "memory_ratio": None if held is None else round(held, 3),
    }


def _context(inputs: AnnInputs, k: int, repetitions: int, plan: _Plan) -> dict[str, Any]:
    return run_context(seed=0, data_hash=inputs.data_sha256, packages=_PACKAGES) | {
        "data": {
            "name": inputs.name,
            "vectors": len(inputs.base),
            "dim": int(inputs.base.shape[1]),
            "metric": inputs.metric,
            "queries": {
                kind: {"tune": len(split.tune), "judge": len(split.judge)} for kind, split in inputs.queries.items()
            },
        },
        "k": k,
        "repetitions": repetitions,
        "budget_s": plan.budget_s,
        "sample_rows": plan.sample_rows,
        "timed_queries": _TIMED_QUERIES,
        "peers": [name for name in ENGINES if name != "orthant"],
    }
