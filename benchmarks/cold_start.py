"""How soon does a new process answer? 100,000 records, with an empty cache of compiled kernels and with a filled one.

Three lives of a process: one that searches once and ends, one that ends while the compiler is at work, and one that
stays until every kernel that its searches want is compiled. Times are from the start of the process, interpreter
included. Run alone on the machine: ``python benchmarks/cold_start.py``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orthant
from collection_speed import BATCH, chunks
from orthant.datasets.registry import data_hash
from orthant.evaluation.context import run_context
from orthant.kernels import warmup

RECORDS = 100_000
LIMIT_S = 2.0
PATIENCE_S = 120.0
INTERRUPTED_AFTER_S = 1.0
WANTED = ("scan", "graph")
QUERIES = ("how do I connect a modem", "the shuttle was launched", "which motorcycle should I buy")


def child(folder: str, life: str, started: float) -> None:
    """Live one life in this process and print what it saw."""
    from orthant.kernels.compiling import known_groups

    with orthant.open(folder, read_only=True) as collection:

        def search(number: int = 0) -> float:
            began = time.perf_counter()
            result = collection.search(QUERIES[number % len(QUERIES)], mode="dense", k=10)
            if not result.ids:
                raise SystemExit("no hit")
            return time.perf_counter() - began

        search()
        seen: dict[str, object] = {"first_hit_s": time.time() - started}
        if life == "interrupted":
            until, number = time.perf_counter() + INTERRUPTED_AFTER_S, 0
            while time.perf_counter() < until:
                number += 1
                search(number)
        if life == "stays":
            groups = [group for group in WANTED if group in known_groups()]
            ready: dict[str, float] = {}
            behind: list[float] = []
            until = time.perf_counter() + PATIENCE_S
            while len(ready) < len(groups) and time.perf_counter() < until:
                behind.append(search(len(behind)))
                for group in groups:
                    if group not in ready and warmup.is_ready(group):
                        ready[group] = time.time() - started
            after = [search(number) for number in range(50)]
            seen["ready_s"] = {group: ready.get(group) for group in groups}
            seen["search_while_compiling_ms"] = {
                "p50": statistics.median(behind or [0.0]) * 1e3,
                "max": max(behind or [0.0]) * 1e3,
            }
            seen["search_afterwards_p50_ms"] = statistics.median(after) * 1e3
    print(json.dumps({**seen, "last_answer": time.time()}))


def live(folder: Path, cache: Path, life: str) -> dict[str, object]:
    environment = {**os.environ, "ORTHANT_CACHE": str(cache)}
    started = time.time()
    command = [sys.executable, __file__, "--child", str(folder), "--life", life, "--started", repr(started)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    seen = json.loads(done.stdout)
    seen["to_end_s"] = time.time() - seen.pop("last_answer")
    return seen


def compare(folder: Path, base: Path, runs: int) -> dict[str, dict[str, list[dict[str, object]]]]:
    """Return what each run of each life saw, with an empty cache and with one that ``orthant warmup`` filled."""
    warm = base / "warm"
    environment = {**os.environ, "ORTHANT_CACHE": str(warm)}
    subprocess.run(
        [sys.executable, "-m", "orthant", "warmup", "--json"], check=True, env=environment, stdout=subprocess.DEVNULL
    )
    out: dict[str, dict[str, list[dict[str, object]]]] = {"empty": {}, "warm": {}}
    for run in range(runs):
        # Both caches in turn, so that a drift of the machine meets both.
        for life in ("once", "interrupted", "stays"):
            empty = base / f"empty-{life}-{run}"
            for name, cache in (("empty", empty), ("warm", warm)):
                out[name].setdefault(life, []).append(live(folder, cache, life))
                print(f"{name} {life} {run}: {out[name][life][-1]}", file=sys.stderr)
            shutil.rmtree(empty, ignore_errors=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--encoder", default="static")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "cold_start.json"))
    for name in ("--child", "--life"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.life, options.started)
        return
    texts, metadata, _ = chunks(options.records)
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / "collection"
        with orthant.open(folder, encoder=options.encoder) as collection:
            for i in range(0, len(texts), BATCH):
                part = slice(i, i + BATCH)
                ids = [f"chunk-{n}" for n in range(i, i + len(texts[part]))]
                collection.upsert(ids, texts=texts[part], metadata=metadata[part])
        lives = compare(folder, Path(base), options.runs)
    hits = [seen["first_hit_s"] for life in lives["empty"].values() for seen in life]
    result = {
        "records": len(texts),
        "limit_s": LIMIT_S,
        "first_hit_empty_cache_s": {"median": statistics.median(hits), "worst": max(hits)},
        "first_hit_within_limit": max(hits) <= LIMIT_S,
        "lives": lives,
        "context": run_context(seed=None, data_hash=data_hash("newsgroups20")),
    }
    Path(options.out).parent.mkdir(exist_ok=True)
    Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "context"}, indent=1))


if __name__ == "__main__":
    main()
