"""What a second thread brings: search and build of the graph with one and with two, taking turns.

The same index and the same efforts on both sides: those with which ``ann.py`` reached 0.95 and 0.99. The ratio is that
of medians; its spread is between the quartiles of the ratios of neighbouring rounds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
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


def context(inputs: AnnInputs) -> dict[str, Any]:
    return {**run_context(data_hash=inputs.data_sha256), "data": DATA}


if __name__ == "__main__":
    main()
