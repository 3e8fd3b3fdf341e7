"""Exact MaxSim and its shortcuts side by side: latency at equal recall of what exact MaxSim finds.

    python benchmarks/multivector.py

Tokens are those of the trained model of ``examples/training/token-minilm.yaml`` (``benchmarks/training.py`` trains
it), on documents of sets that it was not trained on, copied with noise until there are enough, since encoding a hundred
thousand texts would take hours: a query's neighbours are then partly copies of each other, which are harder to tell
apart than new documents would be. The effort of each method is chosen on half of the queries and judged on the other
half. One thread, one query at a time, the methods in turns: a query counts with the least CPU time of its rounds, which
other jobs on the machine disturb less than the clock on the wall. ``--keep FOLDER`` saves what was built, and takes it
from there the next time. The PLAID-like arm is ours: centroids, inverted lists, pruning, residual codes; all arms score
their candidates by the same code. ``missing`` in the result says why no other PLAID stands beside.
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
ROUNDS = 4
METHODS: dict[str, dict[str, Any]] = {
    "pooled": {"method": "pooled"},
    "fde": {"method": "fde"},
    "fde, product codes": {"method": "fde", "codes": "product"},
    "plaid": {"method": "plaid"},
    # Learned in less time from a quarter of the sets.
    "plaid, 4096 sets": {"method": "plaid", "sample": 4096},
}
GROUPS = ("maxsim", "fde", "cells", "graph", "build", "tables", "clustering")
TARGETS = {"times_below_exact": 5.0, "times_below_plaid": 1.0}
MISSING = {
    "fast-plaid": "fast-plaid 1.7.0.2110 asks for torch 2.11.0. With torch 2.13.0 for CPUs it ends in a segmentation "
    "fault when an index is created, as does fast-plaid 1.1.0, to which pip falls back for that torch. With torch's "
    "own libc10 in place of the copy in the wheel, and one missing symbol put in its place, 1.7.0.2110 raises "
    "'layout_impl is only implemented for TensorImpl subclasses': the layout of tensors differs between the two.",
}


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
        began = time.process_time()
        hits = index.search([query], 10, threads=1, **how)
        seconds.append(time.process_time() - began)
        ids.append(hits.ids[0])
        costs.append(hits.cost)
    return np.stack(ids), seconds, costs


def figures(seconds: list[float]) -> dict[str, float]:
    return {"p50_ms": 1000 * float(np.median(seconds)), "p95_ms": 1000 * float(np.quantile(seconds, 0.95))}


def built(documents: Ragged, name: str, seed: int, keep: Path | None) -> tuple[MultiVector, float]:
    """An index and the CPU seconds that it took, from ``keep`` where it is there."""
    place = None if keep is None else keep / name
    if place is not None and (place / "build_s.txt").exists():
        return MultiVector.load(place, mmap=False), float((place / "build_s.txt").read_text())
    began = time.process_time()
    index = MultiVector(documents.values.shape[1], exact_below=0, seed=seed, **METHODS[name])
    index.add(documents)
    spent = time.process_time() - began
    if place is not None:
        index.save(place)
        (place / "build_s.txt").write_text(str(spent))
    return index, spent


def chosen_effort(index: MultiVector, queries: list[Any], truth: Any) -> int:
    """The least that reaches the recall wanted on queries that do not judge."""
    for effort in EFFORTS:
        if recall_at_k(timed(index, queries, effort=effort)[0], truth) >= TARGET_RECALL:
            return effort
    return EFFORTS[-1]


def judged_arms(
    arms: dict[str, MultiVector], efforts: dict[str, int], queries: list[Any], truth: Any
) -> dict[str, Any]:
    """Figures of every arm over the judging queries, the arms in turns."""
    least: dict[str, Any] = {}
    out: dict[str, Any] = {}
    for turn in range(ROUNDS):
        for name, index in arms.items():
            if name == "exact" and turn:
                # A hundred times the work of the others: nothing that a second round would change.
                continue
            how = {} if name == "exact" else {"effort": efforts[name]}
            ids, seconds, costs = timed(index, queries, **how)
            least[name] = np.minimum(least.get(name, np.inf), seconds)
            parts = index.stats().details["parts"]
            out[name] = {
                "effort": efforts.get(name),
                "recall": float(recall_at_k(ids, truth)),
                "products": float(np.mean([cost.details["products"] for cost in costs])),
                "compared": float(np.mean([cost.distances for cost in costs])),
                "megabytes_read": float(np.mean([cost.bytes_read for cost in costs])) / 1e6,
                "bytes_beside_per_set": (parts["codes"] + parts["stage"]) / len(index),
            }
    return {name: {**row, **figures(least[name])} for name, row in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    for group in GROUPS:
        wait(group)
    documents, queries = material(given.documents, given.seed)
    some = np.random.default_rng(given.seed).permutation(len(queries))[: given.queries]
    queries = joined([Ragged(queries[int(i)], np.array([0, len(queries[int(i)])])) for i in some])
    exact = MultiVector(documents.values.shape[1], "exact")
    exact.add(documents)
    tuning, judging = half(queries, 0), half(queries, 1)
    tuned, judged = (timed(exact, side)[0] for side in (tuning, judging))
    began = time.process_time()
    encoding = FixedDimensionalEncoding(normalize=True, seed=given.seed).fit(documents)
    few = Ragged(documents.values[: documents.offsets[2_000]], documents.offsets[:2_001])
    encoding.transform(few, threads=1)
    encoded = {"columns": encoding.dim_, "sets_per_s": 2_000 / (time.process_time() - began)}
    arms, efforts, spent = {"exact": exact}, {}, {}
    for name in given.methods:
        arms[name], spent[name] = built(documents, name, given.seed, given.keep)
        efforts[name] = chosen_effort(arms[name], tuning, tuned)
        print(name, efforts[name], flush=True)
    record = judged_arms(arms, efforts, judging, judged)
    for name, seconds in spent.items():
        record[name]["build_s"] = seconds
    times = {name: record["exact"]["p50_ms"] / row["p50_ms"] for name, row in record.items()}
    found = {
        "targets": TARGETS, "target_recall": TARGET_RECALL, "documents": len(documents), "noise": NOISE,
        "tokens_per_document": len(documents.values) / len(documents), "queries": len(queries) // 2,
        "encoding": encoded, "arms": record, "times_below_exact": times, "missing": MISSING,
        "context": run_context(seed=given.seed, packages=("numpy", "numba")),
    }  # fmt: skip
    given.out.write_text(json.dumps(found, indent=1, allow_nan=False, default=float) + "\n", encoding="utf-8")
    print(json.dumps({"arms": record, "times_below_exact": times}, indent=1))


if __name__ == "__main__":
    main()
