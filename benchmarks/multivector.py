"""Exact MaxSim and its shortcuts side by side: latency at equal recall of what exact MaxSim finds.

    python benchmarks/multivector.py

Tokens are those of the trained model of ``examples/training/token-minilm.yaml`` (``benchmarks/training.py`` trains
it), on documents of sets that it was not trained on, copied with noise until there are enough, since encoding a hundred
thousand texts would take hours: a query's neighbours are then partly copies of each other, which are harder to tell
apart than new documents would be. The effort of each method is chosen on half of the queries and judged on the other
half. One thread, one query at a time; run it alone on the machine. The PLAID-like arm is ours: centroids, inverted
lists, pruning, residual codes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets import load_retrieval
from orthant.evaluation.context import run_context
from orthant.evaluation.judged_tokens import trained_tokens
from orthant.evaluation.judged_vectors import shrink
from orthant.index import MultiVector
from orthant.kernels.warmup import wait
from orthant.measures import recall_at_k
from orthant.transforms import FixedDimensionalEncoding
from orthant.types import Ragged

RESULT = Path(__file__).parent / "results" / "multivector.json"
SOURCES = {"medquad": (2_500, 300), "cranfield": (1_400, 225)}
TARGET_RECALL = 0.95
EFFORTS = (10, 15, 20, 30, 45, 70, 100, 150, 220, 330, 500, 750, 1000)
NOISE = 0.25
GROUPS = ("maxsim", "fde", "cells", "graph", "build", "tables", "clustering")
TARGETS = {"times_below_exact": 5.0, "times_below_plaid": 1.0}


def joined(parts: list[Ragged]) -> Ragged:
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    return Ragged(np.concatenate([part.values for part in parts]), np.concatenate([[0], np.cumsum(lengths)]))


def material(count: int, seed: int) -> tuple[Ragged, Ragged]:
    found = [
        trained_tokens(shrink(load_retrieval(name), documents=documents, queries=queries))
        for name, (documents, queries) in SOURCES.items()
    ]
    documents, queries = (joined([getattr(one, side) for one in found]) for side in ("documents", "queries"))
    rng = np.random.default_rng(seed)
    parts = [documents]
    while sum(map(len, parts)) < count:
        lengths = np.linalg.norm(documents.values, axis=1, keepdims=True)
        noise = rng.standard_normal(documents.values.shape, dtype=np.float32) / np.sqrt(documents.values.shape[1])
        moved = documents.values + np.float32(NOISE) * lengths * noise
        moved *= lengths / np.linalg.norm(moved, axis=1, keepdims=True)
        parts.append(Ragged(moved, documents.offsets))
    return joined(parts), queries


def half(queries: Ragged, which: int) -> list[Any]:
    return [queries[i] for i in range(which, len(queries), 2)]


def timed(index: MultiVector, queries: list[Any], **how: Any) -> tuple[Any, list[float], list[Any]]:
    ids, seconds, costs = [], [], []
    for query in queries:
        began = time.perf_counter()
        hits = index.search([query], 10, threads=1, **how)
        seconds.append(time.perf_counter() - began)
        ids.append(hits.ids[0])
        costs.append(hits.cost)
    return np.stack(ids), seconds, costs


def figures(seconds: list[float]) -> dict[str, float]:
    return {"p50_ms": 1000 * float(np.median(seconds)), "p95_ms": 1000 * float(np.quantile(seconds, 0.95))}


def arm(documents: Ragged, sides: list[tuple[list[Any], Any]], seed: int, **settings: Any) -> dict[str, Any]:
    """Build, choose the effort on the first half of the queries, judge on the second."""
    began = time.perf_counter()
    index = MultiVector(documents.values.shape[1], exact_below=0, seed=seed, **settings)
    index.add(documents)
    build = time.perf_counter() - began
    (tuning, truth), (judging, judged) = sides
    chosen = EFFORTS[-1]
    for effort in EFFORTS:
        if recall_at_k(timed(index, tuning, effort=effort)[0], truth) >= TARGET_RECALL:
            chosen = effort
            break
    ids, seconds, costs = timed(index, judging, effort=chosen)
    stats = index.stats()
    beside = stats.details["parts"]["codes"] + stats.details["parts"]["stage"]
    return {
        "effort": chosen,
        "recall": float(recall_at_k(ids, judged)),
        **figures(seconds),
        "products": float(np.mean([cost.details["products"] for cost in costs])),
        "compared": float(np.mean([cost.distances for cost in costs])),
        "megabytes_read": float(np.mean([cost.bytes_read for cost in costs])) / 1e6,
        "bytes_beside_per_set": beside / len(documents),
        "build_s": build,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="*", default=["pooled", "fde", "plaid"])
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    for group in GROUPS:
        wait(group)
    documents, queries = material(given.documents, given.seed)
    some = np.random.default_rng(given.seed).permutation(len(queries))[: given.queries]
    queries = joined([Ragged(queries[int(i)], np.array([0, len(queries[int(i)])])) for i in some])
    exact = MultiVector(documents.values.shape[1], "exact")
    exact.add(documents)
    sides: list[tuple[list[Any], Any]] = []
    record: dict[str, Any] = {}
    for which in (0, 1):
        ids, seconds, costs = timed(exact, half(queries, which))
        sides.append((half(queries, which), ids))
    record["exact"] = {
        **figures(seconds),
        "recall": 1.0,
        "products": float(np.mean([c.details["products"] for c in costs])),
    }
    del exact
    began = time.perf_counter()
    encoding = FixedDimensionalEncoding(normalize=True, seed=given.seed).fit(documents)
    few = Ragged(documents.values[: documents.offsets[2_000]], documents.offsets[:2_001])
    encoding.transform(few, threads=1)
    encoded = {"columns": encoding.dim_, "sets_per_s": 2_000 / (time.perf_counter() - began)}
    for method in given.methods:
        record[method] = arm(documents, sides, given.seed, method=method)
        print(method, record[method], flush=True)
    times = {name: record["exact"]["p50_ms"] / row["p50_ms"] for name, row in record.items()}
    found = {
        "targets": TARGETS, "target_recall": TARGET_RECALL, "documents": len(documents), "noise": NOISE,
        "tokens_per_document": len(documents.values) / len(documents), "queries": len(queries) // 2,
        "encoding": encoded, "arms": record, "times_below_exact": times,
        "context": run_context(seed=given.seed, packages=("numpy", "numba")),
    }  # fmt: skip
    given.out.write_text(json.dumps(found, indent=1, allow_nan=False, default=float) + "\n", encoding="utf-8")
    print(json.dumps({"arms": record, "times_below_exact": times}, indent=1))


if __name__ == "__main__":
    main()
