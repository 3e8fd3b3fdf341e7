"""What a second thread brings: search and build of the graph with one and with two, taking turns.

The same index and the same efforts on both sides: those with which ``ann.py`` reached 0.95 and 0.99. The ratio is that
of medians; its spread is between the quartiles of the ratios of neighbouring rounds.

Two processes that share nothing but the machine do the same searches beside each other: what they gain over one is what
two threads could gain at best, since processors share caches, memory and, on a rented machine, more than that.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from orthant.evaluation.ann.inputs import AnnInputs, named_inputs
from orthant.evaluation.ann.orthant_engine import OrthantEngine
from orthant.evaluation.context import run_context

ANN = Path(__file__).parent / "results" / "ann.json"
RESULT = ANN.with_name("two_threads.json")
DATA = "minilm_short_texts"
TARGET = 1.8
SEARCHES, BUILDS = 15, 5


def main() -> None:
    begin = time.perf_counter()
    engine = OrthantEngine()
    engine.warm()
    with TemporaryDirectory() as folder:
        inputs = named_inputs(DATA, folder=Path(folder))
        build = gain(lambda threads: engine.build(inputs.base, inputs.metric, threads=threads, settings={}), BUILDS)
        search = {}
        for kind, level, effort in settings():
            queries = inputs.queries[kind].judge
            search[f"{kind} at {level}"] = {
                "effort": effort,
                **gain(
                    lambda threads, queries=queries, effort=effort: engine.search(
                        queries, 10, {"effort": effort}, threads=threads
                    ),
                    SEARCHES,
                ),
            }
        ceiling = apart(engine, inputs, Path(folder) / "index")
        for name, one in search.items():
            one["two_processes"] = ceiling[name]
        record = {
            "targets": {"ratio": TARGET},
            "search": search,
            "build": build,
            "context": context(inputs),
            "seconds": round(time.perf_counter() - begin, 1),
        }
    RESULT.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    print(json.dumps({"search": search, "build": build}), file=sys.stderr)


def settings() -> list[tuple[str, str, int]]:
    """Kind of queries, recall, and the smallest effort that reached it."""
    results = json.loads(ANN.read_text(encoding="utf-8"))["sets"][DATA]["results"]
    out = []
    for one in results:
        if one["engine"] != "orthant":
            continue
        for level in ("0.95", "0.99"):
            reached = [p["setting"]["effort"] for p in one["points"] if p["recall"] >= float(level)]
            if reached:
                out.append((one["queries"], level, min(reached)))
    return out


def gain(work: Callable[[int], Any], rounds: int) -> dict[str, float]:
    """Median seconds with one and two threads, in turns, and their ratio."""
    work(2)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads in (1, 2):
            start = time.perf_counter()
            work(threads)
            seconds[threads].append(time.perf_counter() - start)
    one, two = np.array(seconds[1]), np.array(seconds[2])
    low, high = np.quantile(one / two, [0.25, 0.75])
    return {
        "one_s": round(float(np.median(one)), 5),
        "two_s": round(float(np.median(two)), 5),
        "ratio": round(float(np.median(one) / np.median(two)), 3),
        "ratio_low": round(float(low), 3),
        "ratio_high": round(float(high), 3),
    }


def apart(engine: OrthantEngine, inputs: AnnInputs, folder: Path) -> dict[str, float]:
    """What two processes do beside each other, as a multiple of what one does alone."""
    engine.index.save_links(folder)
    np.save(folder.with_name("shared.npy"), inputs.base)
    spawn, ends, out = get_context("spawn"), [], {}
    for _ in range(2):
        here, there = spawn.Pipe()
        spawn.Process(target=serve, args=(there, str(folder)), daemon=True).start()
        ends.append(here)
    for kind, level, effort in settings():
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(SEARCHES + 1):
            for asked in (ends[:1], ends):
                for end in asked:
                    end.send((inputs.queries[kind].judge, effort))
                took = [end.recv() for end in asked]
                if turn:
                    seconds[len(asked)].append(float(np.mean(took)))
        out[f"{kind} at {level}"] = round(2 * float(np.median(seconds[1]) / np.median(seconds[2])), 3)
    for end in ends:
        end.send(None)
    return out


def serve(end: Connection, folder: str) -> None:
    from orthant.index import Graph

    base = np.load(Path(folder).with_name("shared.npy"), mmap_mode="r")
    index = Graph.attach(folder, [(base, np.arange(len(base), dtype=np.int64))])
    while (asked := end.recv()) is not None:
        queries, effort = asked
        start = time.perf_counter()
        index.search(queries, 10, effort=effort, threads=1)
        end.send(time.perf_counter() - start)


def context(inputs: AnnInputs) -> dict[str, Any]:
    return {**run_context(data_hash=inputs.data_sha256), "data": DATA}


if __name__ == "__main__":
    main()
