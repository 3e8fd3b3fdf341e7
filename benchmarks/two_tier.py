"""What an index of codes in memory over vectors on disk finds and reads, under a memory limit.

    python benchmarks/two_tier.py [--quick] [--rows N] [--untimed] [--folder DIR] [--share 4] [--data token_vectors]
                                  [--queries 200] [--effort N ...] [--search graph|scan ...] [--cgroup DIR]

Vectors (a million of 384 dimensions by default, which `orthant bench ann --data token_vectors` makes once) are indexed
where they lie and saved to DIR, whose disk is measured. The memory limit is their size divided by ``--share``; of it 32
MiB are for what a search takes beside the index. A process of its own loads the index and may take no more writable
memory (RLIMIT_DATA) nor address space (RLIMIT_AS) than the limit above what it has after loading its libraries; the
kernel enforces both. The page cache is no part of these limits, so the arms under them do without: "direct" reads past
the cache (O_DIRECT), so that no vector can be answered from memory; "uncached" has pages dropped after each search
(posix_fadvise); both begin with none, and what the cache holds of the vectors after an arm is counted (cachestat).
"cached" leaves pages to the system, and is under the limit only with ``--cgroup``: a folder of the memory controller
(v1 or v2) in which a group with this limit is made for the process, and removed afterwards; where none can be made,
that is found out before anything is built. Queries come one at a time,
other ones than those that efforts are calibrated on. Beside them stand, without a limit, the same index with the
vectors in memory, `Graph` as it is by default with everything in memory, and Flat. Run it alone; with ``--untimed``,
which writes recall, comparisons, reads and what the limits refuse to a file of its own, beside anything.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import InputError
from orthant.evaluation.ann.inputs import named_inputs
from orthant.evaluation.context import run_context
from orthant.evaluation.memory_groups import MemoryGroup, memory_group
from orthant.index import Flat, Graph, TwoTier
from orthant.index.tiers.searching import best_codes
from orthant.kernels.distances import exact_scores
from orthant.kernels.topk import top_k
from orthant.measures import recall_at_k

SEED = 7
HERE = Path(__file__).parent
UNDER_LIMIT = ("direct", "uncached")
LIMITS = {"VmData": resource.RLIMIT_DATA, "VmSize": resource.RLIMIT_AS}
SPARE = 32 << 20
RECALL = 0.95
_CACHESTAT = 451
SCANNED = 5
"""Queries by a scan: of a million codes it takes seconds each, which is why only a graph is measured by default."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def memory(kind: str) -> int:
    """Bytes of this process: "VmData" as RLIMIT_DATA counts writable memory, "VmSize" as RLIMIT_AS counts addresses."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def in_page_cache(path: Path) -> int | None:
    """Bytes of a file that the page cache holds; None on a kernel that does not tell."""
    counts, whole = (ctypes.c_uint64 * 5)(), (ctypes.c_uint64 * 2)(0, 0)
    with path.open("rb") as file:
        refused = ctypes.CDLL(None).syscall(_CACHESTAT, file.fileno(), whole, counts, 0)
    return None if refused else int(counts[0]) * resource.getpagesize()


def drop_pages(path: Path) -> None:
    """Have the page cache forget a file."""
    with path.open("rb") as file:
        os.fdatasync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def timed(search: Callable[[Any], Any], queries: Any) -> tuple[Any, dict[str, float]]:
    ids, seconds = [], []
    for query in queries:
        begun = time.perf_counter()
        ids.append(search(query))
        seconds.append(time.perf_counter() - begun)
    found = {"p50_ms": 1000 * float(np.median(seconds)), "p95_ms": 1000 * float(np.quantile(seconds, 0.95))}
    return np.stack(ids), found


def measured(index: Any, queries: Any, truth: Any, effort: int) -> dict[str, float]:
    """Time, recall, comparisons and reads of an index at an effort."""
    spent: list[Any] = []

    def search(query: Any) -> Any:
        hits = index.search(query, 10, effort=effort)
        spent.append(hits.cost)
        return hits.ids[0]

    ids, figures = timed(search, queries)
    figures["recall@10"] = recall_at_k(ids, truth[: len(ids)])
    figures["compared_per_query"] = float(np.mean([cost.distances for cost in spent]))
    for name in ("reads", "rows_read", "bytes_from_disk"):
        if name in spent[0].details:
            figures[f"{name}_per_query"] = float(np.mean([cost.details[name] for cost in spent]))
    return figures


def serve(folder: Path, ways: list[str], efforts: list[int], limit: int, home: str | None) -> None:
    """The process under the limit: one JSON object on stdout."""
    queries, truth = np.load(folder / "queries.npy"), np.load(folder / "truth.npy")
    # Kernels are compiled and libraries loaded by small indexes, threads of readers included.
    rng = np.random.default_rng(SEED)
    for way in ways:
        small = TwoTier(queries.shape[1], train_rows=1000, access="direct", folder=folder, search=way)
        small.add(rng.standard_normal((3000, queries.shape[1])))
        for _ in range(5):
            small.search(queries[0], 10, effort=max(efforts))
        small.save(folder / "small")
        TwoTier.load(folder / "small", mmap=False, verify=False)
    del small
    out: dict[str, Any] = {"arms": {}, "index_bytes": {}, "page_cache_bytes": {}}
    before = {kind: memory(kind) for kind in LIMITS}
    for kind, limited in LIMITS.items():
        resource.setrlimit(limited, (before[kind] + limit, before[kind] + limit))
    if home is not None:
        MemoryGroup(Path(home), limit).join(os.getpid())
    for way in ways:
        asked = queries if way == "graph" else queries[:SCANNED]
        rows = next((folder / way).glob("vectors-*"))
        for access in (*UNDER_LIMIT, "cached"):
            drop_pages(rows)
            index = TwoTier.load(folder / way, mmap=False, access=access, folder=folder, verify=False)
            index.search(queries[0], 10)
            for effort in efforts:
                out["arms"][f"{way}, {access}, {effort} candidates"] = measured(index, asked, truth, effort)
            out["index_bytes"][way] = index.stats().memory_bytes
            out["page_cache_bytes"][f"{way}, {access}"] = in_page_cache(rows)
            del index
    out["data_memory_above_start"] = memory("VmData") - before["VmData"]
    out["addresses_above_start"] = memory("VmSize") - before["VmSize"]
    # The limits must bite: vectors as a whole do not fit, neither read nor mapped.
    for name, take in (("limit_refuses_the_vectors", np.fromfile), ("limit_refuses_a_map_of_them", np.memmap)):
        try:
            take(next((folder / ways[0]).glob("vectors-*")), np.float32)
            out[name] = False
        except (MemoryError, OSError):
            out[name] = True
    print(json.dumps(out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="30,000 rows, nothing written")
    parser.add_argument("--rows", type=int, default=None, help="fewer rows than there are; nothing written")
    parser.add_argument("--data", default="token_vectors")
    parser.add_argument("--folder", default=None, help="on the disk to measure")
    parser.add_argument("--share", type=float, default=4.0, help="size of the vectors over the memory limit")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--effort", type=int, nargs="+", default=[20, 50, 100, 200])
    parser.add_argument("--search", nargs="+", default=["graph"], choices=["graph", "scan"])
    parser.add_argument("--cgroup", default=None, help="where a group with the limit may be made")
    parser.add_argument("--untimed", action="store_true", help="no times: may run beside other work")
    parser.add_argument("--out", default=None, help="results/two_tier.json, or two_tier_limits.json with --untimed")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(Path(options.serve[0]), options.search, options.effort, int(options.serve[1]), options.cgroup)
        return
    if options.cgroup is not None:
        try:
            with memory_group(options.cgroup, SPARE):
                pass
        except InputError as error:
            raise SystemExit(f"--cgroup: {error}") from None
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        inputs = named_inputs(
            options.data,
            folder=Path(name),
            tune=200,
            judge=options.queries,
            limit=30_000 if options.quick else options.rows,
        )
        found = measure(Path(name), inputs, options)
    if options.untimed:
        found = untimed(found)
    found["context"] = {**run_context(seed=SEED), "data": inputs.data_sha256, "share": options.share}
    print(json.dumps(found, indent=2))
    if not options.quick and (options.rows is None or options.out):
        named = "two_tier_limits.json" if options.untimed else "two_tier.json"
        Path(options.out or HERE / "results" / named).write_text(json.dumps(found, indent=2) + "\n")


def in_memory(index: TwoTier, base: Any, effort: int) -> Callable[[Any], Any]:
    """Return a search by the codes of an index with the vectors in memory."""
    state = index._state

    def search(query: Any) -> Any:
        if state.graph is not None:
            own = state.graph.nearest(query[None], effort, None).ids[0]
        else:
            own = best_codes(state, query[None], effort, "cosine", None)[0]
        return top_k(exact_scores(query[None], base[own], "cosine"), 10, ids=own)[0][0]

    return search


def indexes(folder: Path, path: Path, limit: int, tune: Any, ways: list[str]) -> tuple[dict[str, TwoTier], Any]:
    """Make and save an index of each way, with what is told of them."""
    made, told = {}, {}
    for way in ways:
        begun = time.perf_counter()
        index = TwoTier.over(path, memory_limit_bytes=limit, folder=folder, search=way)
        told[way] = {"build_s": time.perf_counter() - begun}
        if way == "graph":
            calibration = index.calibrate(tune)
            told[way]["effort_for_recall"] = calibration.choose(10, RECALL)[0] if calibration else None
        index.save(folder / way)
        told[way] |= {name: value for name, value in index.stats().details.items() if name != "disk_bytes"}
        made[way] = index
        say(f"{way}: {told[way]}")
    return made, told


def measure(folder: Path, inputs: Any, options: argparse.Namespace) -> dict[str, Any]:
    split = inputs.queries["in"]
    base, tune, queries = np.ascontiguousarray(inputs.base), split.tune, split.judge
    limit = int(base.nbytes / options.share)
    # At the size of a trial nothing is to spare: there the process gets so much more.
    within = limit - SPARE if limit > 4 * SPARE else limit
    flat = Flat.over([(base, np.arange(len(base)))], dim=base.shape[1])
    truth = flat.search(queries, 10).ids
    for each, values in (("queries", queries), ("truth", truth)):
        np.save(folder / f"{each}.npy", values)
    say(f"{len(base)} vectors, {base.nbytes >> 20} MiB; limit {limit >> 20} MiB")
    made, told = indexes(folder, inputs.base_path, within, tune, options.search)
    _, exact = timed(lambda query: flat.search(query, 10).ids[0], queries[:SCANNED])
    arms: dict[str, Any] = {"Flat, in memory": {**exact, "recall@10": 1.0}}
    efforts = sorted({*options.effort, *(e for t in told.values() if (e := t.get("effort_for_recall")))})
    for way, index in made.items():
        for effort in efforts:
            ids, figures = timed(in_memory(index, base, effort), queries if way == "graph" else queries[:SCANNED])
            figures["recall@10"] = recall_at_k(ids, truth[: len(ids)])
            arms[f"{way}, vectors in memory, {effort} candidates"] = figures
    if not options.untimed:
        graph = Graph.over([(base, np.arange(len(base)))], dim=base.shape[1])
        for effort in (32, 64, 128, 256):
            arms[f"Graph, in memory, effort {effort}"] = measured(graph, queries, truth, effort)
        del graph
    held = limit if within < limit else limit + SPARE
    order = [sys.executable, __file__, "--serve", str(folder), str(held), "--effort", *map(str, efforts)]
    with nullcontext() if options.cgroup is None else memory_group(options.cgroup, held) as made_group:
        order += ["--search", *options.search, *(["--cgroup", str(made_group.folder)] if made_group else [])]
        # One arena: each further one takes 64 MiB of addresses, of which hardly any are used.
        env = {**os.environ, "MALLOC_ARENA_MAX": "1"}
        done = subprocess.run(order, capture_output=True, text=True, check=False, env=env)
        peak = made_group.peak_bytes() if made_group else None
    if done.returncode:
        say(done.stderr)
        killed = " (killed: the group has no more memory)" if made_group and done.returncode == -signal.SIGKILL else ""
        raise SystemExit(f"the process under the limit ended with {done.returncode}{killed}")
    served = json.loads(done.stdout)
    arms |= served.pop("arms")
    return {
        "vectors": len(base),
        "vector_bytes": base.nbytes,
        "memory_limit_bytes": held,
        "limit_by": ["RLIMIT_DATA", "RLIMIT_AS", *(["cgroup"] if options.cgroup else [])],
        **({} if peak is None else {"cgroup_peak_bytes": peak}),
        "indexes": told,
        **served,
        "arms": arms,
        "against_memory": ratios(arms, options.search, efforts, exact),
    }


def untimed(found: dict[str, Any]) -> dict[str, Any]:
    """Leave out what other work on the machine changes."""
    timed_too = ("p50_ms", "p95_ms", "build_s")
    for part in ("arms", "indexes"):
        for name, figures in found[part].items():
            found[part][name] = {key: value for key, value in figures.items() if key not in timed_too}
    del found["against_memory"]
    return found


def ratios(arms: dict[str, Any], ways: list[str], efforts: list[int], exact: dict[str, float]) -> dict[str, Any]:
    """Return each arm under the limit over the same index with the vectors in memory."""
    out = {}
    for way in ways:
        for effort in efforts:
            there = arms[f"{way}, vectors in memory, {effort} candidates"]
            for access in UNDER_LIMIT:
                here = arms[f"{way}, {access}, {effort} candidates"]
                out[f"{way}, {access}, {effort} candidates"] = {
                    "p50_ratio": here["p50_ms"] / there["p50_ms"],
                    "p50_ratio_to_flat": here["p50_ms"] / exact["p50_ms"],
                    "recall_ratio": here["recall@10"] / there["recall@10"],
                }
    return out


if __name__ == "__main__":
    main()
