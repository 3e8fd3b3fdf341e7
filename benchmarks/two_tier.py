"""What an index of codes in memory over vectors on disk finds and reads, under a memory limit.

    python benchmarks/two_tier.py [--quick] [--folder DIR] [--share 4] [--repeat 1] [--effort N ...]

Sentence vectors of minilm_short_texts (``--repeat`` adds copies with noise, to make more of them) are saved to DIR,
whose disk is measured. The memory limit is their size divided by ``--share``. A process of its own opens the index and
may take no more writable memory than the limit above what it has after loading its libraries: RLIMIT_DATA, which the
kernel enforces. Arms: "direct" reads past the page cache, so that no vector can be answered from memory; "uncached" has
pages dropped after each search; "cached" leaves them to the system, and is no arm under the limit. Queries come one at
a time. Beside them stand, without a limit, the same codes with the vectors in memory, and Flat. Run it alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets.registry import data_hash, load
from orthant.evaluation.context import run_context
from orthant.index import Flat, TwoTier
from orthant.index.tiers.searching import best_codes
from orthant.kernels.distances import exact_scores
from orthant.kernels.topk import top_k
from orthant.measures import recall_at_k

SEED = 7
HERE = Path(__file__).parent
UNDER_LIMIT = ("direct", "uncached")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def data_memory() -> int:
    """Writable memory of this process in bytes, as RLIMIT_DATA counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))


def timed(search: Any, queries: Any) -> tuple[Any, dict[str, float]]:
    ids, seconds = [], []
    for query in queries:
        begun = time.perf_counter()
        ids.append(search(query))
        seconds.append(time.perf_counter() - begun)
    found = {"p50_ms": 1000 * float(np.median(seconds)), "p95_ms": 1000 * float(np.quantile(seconds, 0.95))}
    return np.stack(ids), found


def serve(folder: Path, efforts: list[int], limit: int) -> None:
    """The process under the limit: one JSON object on stdout."""
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / "truth.npy")
    # Kernels are compiled and libraries loaded by a small index, threads of readers included.
    rng = np.random.default_rng(SEED)
    small = TwoTier(queries.shape[1], train_rows=1000, access="direct", folder=folder)
    small.add(rng.standard_normal((3000, queries.shape[1])))
    for _ in range(5):
        small.search(queries[0], 10, effort=max(efforts))
    del small
    out: dict[str, Any] = {"arms": {}}
    before = data_memory()
    resource.setrlimit(resource.RLIMIT_DATA, (before + limit, before + limit))
    for access in (*UNDER_LIMIT, "cached"):
        index = TwoTier.load(folder / "index", mmap=False, access=access, folder=folder, verify=False)
        index.search(queries[0], 10)
        for effort in efforts:
            spent: list[Any] = []

            def search(query: Any, index: Any = index, effort: int = effort, spent: list[Any] = spent) -> Any:
                hits = index.search(query, 10, effort=effort)
                spent.append(hits.cost.details)
                return hits.ids[0]

            ids, figures = timed(search, queries)
            figures["recall@10"] = recall_at_k(ids, truth)
            for name in ("reads", "rows_read", "bytes_from_disk"):
                figures[f"{name}_per_query"] = float(np.mean([each[name] for each in spent]))
            out["arms"][f"{access}, {effort} candidates"] = figures
        out["index_bytes"] = index.stats().memory_bytes
        del index
    out["data_memory_above_start"] = data_memory() - before
    # The limit must bite: vectors as a whole do not fit.
    try:
        np.load(folder / "base.npy").sum()
        out["limit_refuses_the_vectors"] = False
    except MemoryError:
        out["limit_refuses_the_vectors"] = True
    print(json.dumps(out))


def made_vectors(rows: int | None, repeat: int) -> tuple[Any, Any]:
    found = load("minilm_short_texts", texts="drop")
    rng = np.random.default_rng(SEED)
    base = found.base[rng.permutation(len(found.base))[:rows]].astype(np.float32)
    noise = 0.3 / np.sqrt(base.shape[1])
    copies = [base + noise * rng.standard_normal(base.shape).astype(np.float32) for _ in range(repeat - 1)]
    return np.concatenate([base, *copies]), found.queries["in"].astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    parser.add_argument("--share", type=float, default=4.0, help="size of the vectors over the memory limit")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--effort", type=int, nargs="+", default=[20, 50, 100, 200])
    parser.add_argument("--out", default=str(HERE / "results" / "two_tier.json"))
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(Path(options.serve[0]), options.effort, int(options.serve[1]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        found = measure(Path(name), options)
    found["context"] = {**run_context(seed=SEED), "data": data_hash("minilm_short_texts"), "share": options.share}
    print(json.dumps(found, indent=2))
    if not options.quick:
        Path(options.out).write_text(json.dumps(found, indent=2) + "\n")


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    base, queries = made_vectors(8000 if options.quick else None, options.repeat)
    queries = queries[:100] if options.quick else queries[:500]
    limit = int(base.nbytes / options.share)
    flat = Flat(base.shape[1])
    flat.add(base)
    truth, exact = timed(lambda query: flat.search(query, 10).ids[0], queries)
    for each, values in (("base", base), ("queries", queries), ("truth", truth)):
        np.save(folder / f"{each}.npy", values)
    say(f"{len(base)} vectors, {base.nbytes >> 20} MiB; limit {limit >> 20} MiB")
    # What searching takes beside the index must fit as well: half is left to it.
    index = TwoTier.over(folder / "base.npy", memory_limit_bytes=limit // 2, folder=folder)
    index.save(folder / "index")
    state = index._state
    arms: dict[str, Any] = {"Flat, in memory": {**exact, "recall@10": 1.0}}
    for effort in options.effort:

        def in_memory(query: Any, effort: int = effort) -> Any:
            own = best_codes(state, query[None], effort, "cosine", None)[0]
            return top_k(exact_scores(query[None], base[own], "cosine"), 10, ids=own)[0][0]

        ids, figures = timed(in_memory, queries)
        arms[f"same codes, vectors in memory, {effort} candidates"] = {**figures, "recall@10": recall_at_k(ids, truth)}
    order = [sys.executable, __file__, "--serve", str(folder), str(limit), "--effort", *map(str, options.effort)]
    done = subprocess.run(order, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        say(done.stderr)
        raise SystemExit(f"the process under the limit ended with {done.returncode}")
    served = json.loads(done.stdout)
    arms |= served.pop("arms")
    ratios = {}
    for effort in options.effort:
        there = arms[f"same codes, vectors in memory, {effort} candidates"]
        for access in UNDER_LIMIT:
            here = arms[f"{access}, {effort} candidates"]
            ratios[f"{access}, {effort} candidates"] = {
                "p50_ratio": here["p50_ms"] / there["p50_ms"],
                "p50_ratio_to_flat": here["p50_ms"] / exact["p50_ms"],
                "recall_ratio": here["recall@10"] / there["recall@10"],
            }
    stats = index.stats()
    return {
        "vectors": len(base),
        "vector_bytes": base.nbytes,
        "memory_limit_bytes": limit,
        "code_size": stats.details["code_size"],
        "quantizer": stats.details["quantizer"],
        **served,
        "arms": arms,
        "against_memory": ratios,
    }


if __name__ == "__main__":
    main()
