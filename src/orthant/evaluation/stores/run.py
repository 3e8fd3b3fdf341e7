"""Ask every store the same questions, one store at a time, each in processes of its own."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.evaluation.ann.process import EngineFailedError, EngineProcess
from orthant.evaluation.context import run_context
from orthant.evaluation.stores.crashes import crash
from orthant.evaluation.stores.inputs import Corpus, read_queries, recall_of, write_inputs
from orthant.evaluation.stores.places import places
from orthant.evaluation.stores.store import MODES

__all__ = ["StoreSettings", "disk_bytes", "run_stores"]

WORKER = "orthant.evaluation.stores.worker"
_OPEN_S = 120.0


@dataclass(frozen=True)
class StoreSettings:
    """How much is asked.

    Attributes
    ----------
    records : int, default 100,000
        Loaded into every store. Below about 20,000 most stores scan, and nothing is learned about their graphs.
    k : int, default 10
        Hits.
    recall : float, default 0.95
        Effort is raised on the tuning queries until a dense search reaches it.
    tune, judge : int, default 300 and 500
        Queries; fewer than some 300 say little about the 99th percentile.
    rounds, per_round : int, default 50 and 1,000
        Records deleted and as many added, again and again.
    kills : int, default 3
        Times that a writing process is killed.
    kill_batch : int, default 200
        Records per write meanwhile.
    cold_starts : int, default 3
        New processes that open the store; the median counts.
    load_budget_s, mode_budget_s, churn_budget_s : float, default 240, 6 and 45
        Seconds for loading, for the queries of one mode, and for the rounds. What was done by then is told.
    seed : int, default 0
        Of the moments of killing.
    """

    records: int = 100_000
    k: int = 10
    recall: float = 0.95
    tune: int = 300
    judge: int = 500
    rounds: int = 50
    per_round: int = 1_000
    kills: int = 3
    kill_batch: int = 200
    cold_starts: int = 3
    load_budget_s: float = 240.0
    mode_budget_s: float = 6.0
    churn_budget_s: float = 45.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Bench:
    """One store under test: where it is, what it is asked, and what it runs in.

    Attributes
    ----------
    name, home : str
        Its key and ``module:class``.
    python : str or None
        Interpreter of its environment; None for this one.
    inputs, folder : Path
        Where the data lies and where the store is.
    corpus : Corpus
        For the exact answers.
    settings : StoreSettings
        How much.
    """

    name: str
    home: str
    python: str | None
    inputs: Path
    folder: Path
    corpus: Corpus
    settings: StoreSettings
    efforts: dict[str, Any] = field(default_factory=dict)

    def process(self, folder: Path | None = None) -> EngineProcess:
        """Start a process of the store."""
        spec = {
            "home": self.home,
            "inputs": str(self.inputs),
            "folder": str(folder or self.folder),
            "k": self.settings.k,
        }
        return EngineProcess(spec, module=WORKER, python=self.python)


def disk_bytes(folder: Path) -> int:
    """Return what the files of a folder occupy on the disk.

    Parameters
    ----------
    folder : Path
        Read with all below it.

    Returns
    -------
    int
        Bytes of allocated blocks where the system tells, else lengths of files.
    """
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(one.st_blocks * 512 if hasattr(one, "st_blocks") else one.st_size for one in found)


def run_stores(
    corpus: Corpus,
    *,
    stores: Mapping[str, str],
    pythons: Mapping[str, str] | None = None,
    settings: StoreSettings = StoreSettings(),
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Measure stores one after the other on the same records and queries.

    Parameters
    ----------
    corpus : Corpus
        At least ``settings.records`` records; those beyond replace others in the rounds.
    stores : mapping of str to str
        Name to ``module:class``; `STORES` has those of other projects.
    pythons : mapping of str to str, optional
        Interpreters of stores that live in another environment.
    settings : StoreSettings
        How much is asked.
    report : callable
        Told what is going on.

    Returns
    -------
    dict
        ``results`` (one entry per store), ``missing`` (with reasons), ``places`` (who is where in each column) and
        ``context``; JSON. ``context["load_average"]``, before the first and after every store, tells whether the
        machine did other work: then seconds mean little.

    Raises
    ------
    InputError
        Fewer records than asked for, or more changed in the rounds than there are.

    Notes
    -----
    Cost: minutes; alone on the machine, or the seconds mean nothing.
    """
    if settings.records > len(corpus.texts) or settings.rounds * settings.per_round > settings.records:
        raise InputError(
            message(
                f"{settings.records} of {len(corpus.texts)} records, {settings.rounds} rounds of {settings.per_round}",
                "no more records than there are, and no more changed than are loaded",
                "lower records, rounds or per_round",
            )
        )
    results, missing = [], []
    busy = [os.getloadavg()[0]] if hasattr(os, "getloadavg") else []
    with tempfile.TemporaryDirectory(prefix="orthant-stores-") as place:
        inputs = Path(place) / "inputs"
        inputs.mkdir()
        write_inputs(corpus, inputs, tune=settings.tune, judge=settings.judge)
        for name, home in stores.items():
            folder = Path(place) / name
            folder.mkdir()
            bench = Bench(name, home, (pythons or {}).get(name), inputs, folder, corpus, settings)
            try:
                results.append(measure(bench, report))
            except EngineFailedError as error:
                missing.append({"store": name, "reason": str(error)})
                report(f"{name} is missing: {error}")
            shutil.rmtree(folder, ignore_errors=True)
            busy += [os.getloadavg()[0]] if busy else []
    return {
        "results": results,
        "missing": missing,
        "places": places(results, settings.recall),
        "settings": {name: getattr(settings, name) for name in StoreSettings.__dataclass_fields__},
        "context": run_context(seed=settings.seed)
        | {"data": corpus.name, "dim": int(corpus.vectors.shape[1]), "load_average": busy},
    }


def measure(bench: Bench, report: Callable[[str], None]) -> dict[str, Any]:
    """Ask one store everything.

    Parameters
    ----------
    bench : Bench
        The store.
    report : callable
        Told what is going on.

    Returns
    -------
    dict
        Its entry in the results. A part that failed has the key ``failed`` with the reason.
    """
    settings, store = bench.settings, bench.folder / "store"
    store.mkdir()
    stored = Bench(bench.name, bench.home, bench.python, bench.inputs, store, bench.corpus, settings)
    report(f"{bench.name}: loading {settings.records:,} records")
    with stored.process() as process:
        entry: dict[str, Any] = {"store": bench.name, **process.ask("about", timeout_s=_OPEN_S)}
        load = process.ask("load", {"records": settings.records}, timeout_s=settings.load_budget_s)
    load["records_per_s"] = settings.records / load["closed_s"]
    entry["load"] = load | {"disk_bytes": disk_bytes(store)}
    report(f"{bench.name}: {load['records_per_s']:,.0f} records/s; searching")
    # Without a search there is nothing to compare; every later part may fail alone.
    entry["search"] = _search(stored)
    parts = {"cold_open": _cold_open, "churn": _churn}
    for part, ask in parts.items():
        entry[part] = _guarded(ask, stored)
        report(f"{bench.name}: {part} done")
    crashes = bench.folder / "crashes"
    crashes.mkdir()
    entry["crash"] = _guarded(lambda one: crash(one, crashes), stored)
    churn = entry["churn"]
    if "failed" not in churn:
        churn["disk_ratio"] = churn["disk_bytes"] / entry["load"]["disk_bytes"]
    return entry


def _guarded(ask: Callable[[Bench], dict[str, Any]], bench: Bench) -> dict[str, Any]:
    try:
        return ask(bench)
    except EngineFailedError as error:
        return {"failed": str(error)}


def _times(answer: Mapping[str, Any]) -> dict[str, Any]:
    milliseconds = np.array(answer["seconds"]) * 1e3
    return {
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "cpu_ms": 1e3 * answer["cpu_s"] / len(milliseconds),
        "queries": len(milliseconds),
    }


def _recall(bench: Bench, part: str, live: np.ndarray, found: Sequence[list[str]], *, filtered: bool) -> float:
    queries = getattr(read_queries(bench.inputs), part)[: len(found)]
    return recall_of(bench.corpus, live, queries, list(found), bench.settings.k, filtered=filtered)


def _ask(bench: Bench, process: EngineProcess, mode: str, part: str, effort: dict[str, Any]) -> dict[str, Any]:
    budget = bench.settings.mode_budget_s
    request = {"mode": mode, "part": part, "effort": effort, "budget_s": budget}
    return process.ask("ask", request, timeout_s=10 * budget + _OPEN_S)


def _tuned(bench: Bench, process: EngineProcess, mode: str) -> tuple[float, dict[str, Any]]:
    """Recall and the least effort that reaches it on the tuning queries, else the one that comes closest."""
    live = np.arange(bench.settings.records)
    tried: list[tuple[float, dict[str, Any]]] = []
    for effort in process.ask("efforts", timeout_s=_OPEN_S)["efforts"]:
        found = _ask(bench, process, mode, "tune", effort)["found"]
        tried.append((_recall(bench, "tune", live, found, filtered=mode.startswith("filtered")), effort))
        if tried[-1][0] >= bench.settings.recall:
            return tried[-1]
    return max(tried, key=lambda one: one[0])


def _search(bench: Bench) -> dict[str, Any]:
    live = np.arange(bench.settings.records)
    figures: dict[str, Any] = {}
    reached: dict[str, float] = {}
    with bench.process() as process:
        offered = process.ask("about", timeout_s=_OPEN_S)["modes"]
        process.ask("open", timeout_s=_OPEN_S)
        for mode in ("dense", "filtered dense"):
            reached[mode], bench.efforts[mode] = _tuned(bench, process, mode)
        for mode in MODES:
            if mode not in offered:
                continue
            filtered = mode.startswith("filtered")
            effort = bench.efforts["filtered dense" if filtered else "dense"]
            answer = _ask(bench, process, mode, "judge", effort)
            figures[mode] = _times(answer) | {"effort": effort}
            if mode.endswith("dense"):
                figures[mode]["recall_tuned"] = reached[mode]
                figures[mode]["recall"] = _recall(bench, "judge", live, answer["found"], filtered=filtered)
        memory = process.ask("memory", timeout_s=_OPEN_S)
        process.ask("close", timeout_s=_OPEN_S)
    return {"modes": figures, "memory": memory}


def _cold_open(bench: Bench) -> dict[str, Any]:
    seconds = []
    for _ in range(bench.settings.cold_starts):
        began = time.perf_counter()
        with bench.process() as process:
            process.ask("first", {"effort": bench.efforts["dense"]}, timeout_s=_OPEN_S)
            seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "median_s": statistics.median(seconds)}


def _churn(bench: Bench) -> dict[str, Any]:
    settings = bench.settings
    pool = len(bench.corpus.texts)
    changed = {"records": settings.records, "rounds": settings.rounds, "per_round": settings.per_round}
    with bench.process() as process:
        process.ask("open", timeout_s=_OPEN_S)
        request = changed | {"pool": pool, "budget_s": settings.churn_budget_s}
        done = process.ask("churn", request, timeout_s=4 * settings.churn_budget_s + _OPEN_S)
    count = done["rounds"] * settings.per_round
    added = np.concatenate([np.arange(settings.records, pool), np.arange(count)])[:count]
    live = np.unique(np.concatenate([np.arange(count, settings.records), added]))
    with bench.process() as process:
        process.ask("open", timeout_s=_OPEN_S)
        answer = _ask(bench, process, "dense", "judge", bench.efforts["dense"])
        memory = process.ask("memory", timeout_s=_OPEN_S)
    recall = _recall(bench, "judge", live, answer["found"], filtered=False)
    per_s = 2 * count / done["seconds"]
    return {
        **done,
        "changes_per_s": per_s,
        "recall": recall,
        **_times(answer),
        "memory": memory,
        "disk_bytes": disk_bytes(bench.folder),
    }
