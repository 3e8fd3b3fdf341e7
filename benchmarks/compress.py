"""How long `compress` takes to say what codes would cost on a hundred thousand vectors, and what it says.

    python benchmarks/compress.py [--vectors 100000] [--fresh]

Chunks of newsgroup posts encoded by MiniLM (384 dimensions) in a collection that has its graph, made once and kept in a
cache; questions of another set are the queries. Measured in two: the report with rows held out and with those queries.
Seconds are wall-clock, so run it alone on the machine; CPU seconds of the process stand beside them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

import orthant
from orthant.evaluation.context import run_context
from orthant.kernels.compile_cache import cache_base

RESULT = Path(__file__).parent / "results" / "compress.json"
VECTORS = "newsgroups_chunks"
TARGETS = {"report_s": 60.0}
BUDGET = 96


def collection(place: Path, count: int) -> Any:
    """The collection, filled and with its graph built where it is not there yet."""
    if not place.exists():
        rows = np.load(cache_base() / "vectors" / VECTORS / "base.npy", mmap_mode="r")[:count]
        with orthant.open(place) as made:
            with made.bulk():
                for start in range(0, len(rows), 10_000):
                    part = np.asarray(rows[start : start + 10_000], dtype=np.float32)
                    made.upsert([str(i) for i in range(start, start + len(part))], vectors=part)
            made.finish()
    return orthant.open(place, read_only=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--fresh", action="store_true", help="make the collection anew")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    place = cache_base() / "compress" / f"{VECTORS}-{given.vectors}.orthant"
    place.parent.mkdir(parents=True, exist_ok=True)
    if given.fresh:
        shutil.rmtree(place, ignore_errors=True)
    queries = np.load(cache_base() / "vectors" / VECTORS / "queries_out.npy")[:500]
    reports: dict[str, Any] = {}
    with collection(place, given.vectors) as opened:
        for name, asked in (("rows held out", None), ("queries of another set", queries)):
            began, cpu = time.perf_counter(), time.process_time()
            found = opened.compress(budget_bytes=BUDGET, queries=asked)
            spent = {"report_s": time.perf_counter() - began, "cpu_s": time.process_time() - cpu}
            reports[name] = {**spent, **found.to_dict()}
            print(name, spent, found, sep="\n", flush=True)
            record = {
                "targets": TARGETS, "vectors": given.vectors, "data": VECTORS, "budget_bytes": BUDGET,
                "reports": reports, "context": run_context(seed=0, packages=("numpy", "numba")),
            }  # fmt: skip
            given.out.write_text(json.dumps(record, indent=1, allow_nan=False, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
