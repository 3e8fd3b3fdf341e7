"""What the inverted file does beside FAISS IVF-PQ of equal bytes, re-ranked and by codes alone.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/ivf.py [--quick] [--counts] [--codes 96x4 ...]
                                                                      [--indexes DIR]

70,000 sentence vectors of 384 dimensions, queries of their own kind and of another. Both libraries get the same number
of lists and the same bytes: codes of 4 bits (FAISS fast scan) and of 8 bits, with full float32 vectors for the
candidates. For every arm the number of lists and of candidates is chosen on 500 queries and judged on others:
recall@10, queries per second of one thread (all at once, and one by one), and bytes. Run it alone on the machine.
``--counts`` takes no time but that of building, in seconds of CPU: for every recall it tells codes compared, vectors
scored again and bytes read by the setting that reads the fewest, of finer steps than those that are timed, and may run
beside other work. Settings reach no recall exactly: ``bytes_at_recall`` lies on the line between the two next to it
among those that are best on the tuning queries, ``against`` has the ratios of the libraries. ``--codes`` measures
some codes, ``--libraries`` some libraries, and the rest of the result stays. ``--indexes`` keeps what was built, and
the seconds it took.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets.registry import data_hash, load
from orthant.evaluation.context import run_context
from orthant.index import IVF, Flat
from orthant.kernels.clustering.list_rank import GROUP
from orthant.kernels.clustering.nearest import GROUP as NEAREST
from orthant.kernels.warmup import wait
from orthant.measures import recall_at_k
from orthant.quantization import ProductQuantizer

SEED, K, TUNE = 7, 10, 500
LISTS = 512
RECALLS = (0.8, 0.9, 0.95, 0.99)
EFFORTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FACTORS = (4, 8, 16, 32)
CODES = ((96, 4), (48, 8), (192, 4), (96, 8))
COUNTED_EFFORTS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)
COUNTED_FACTORS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
REPEATS = 5


@dataclass(frozen=True)
class Arm:
    """One index and one factor of candidates; both calls take queries and lists to look into.

    ``search`` gives ids; ``spent`` gives codes compared and full vectors read for each query, on average.
    """

    name: str
    search: Callable[[np.ndarray, int], np.ndarray]
    spent: Callable[[np.ndarray, int], tuple[float, float]]
    code_bytes: int
    build_cpu_s: float | None


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def built(kept: Path | None, name: str, make: Callable[[], Any], save: Any, load: Any) -> tuple[Any, float | None]:
    """An index made, or taken from where it is kept, and the seconds of CPU that making it took."""
    path, note = (None, None) if kept is None else (kept / name, kept / f"{name}.json")
    if path is not None and note is not None and path.exists():
        return load(path), json.loads(note.read_text())["build_cpu_s"] if note.exists() else None
    began = time.process_time()
    made = make()
    seconds = time.process_time() - began
    if path is not None and note is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        save(made, path)
        note.write_text(json.dumps({"build_cpu_s": seconds}))
    return made, seconds


def ours(X: np.ndarray, m: int, bits: int, kept: Path | None, factors: tuple[int, ...]) -> list[Arm]:
    for group in (GROUP, NEAREST, "tables"):
        wait(group)

    def make() -> IVF:
        index = IVF(X.shape[1], "cosine", lists=LISTS, quantizer=ProductQuantizer(m=m, bits=bits), seed=SEED)
        index.add(X)
        return index

    made, seconds = built(kept, f"orthant-{m}x{bits}", make, IVF.save, lambda path: IVF.load(path, mmap=False))
    light = IVF(X.shape[1], "cosine", codec=made.codec, keep_vectors=False, rerank=1)
    light.add(X)
    arms = []
    for factor in (0, *factors):
        # The same lists and vectors for all: they differ in the candidates that they look at.
        index = copy.copy(made) if factor else light
        index._settings = replace(index._settings, rerank=max(1, factor))

        def search(Q: np.ndarray, effort: int, index: IVF = index) -> np.ndarray:
            return index.search(Q, K, effort=effort, threads=1).ids

        def spent(Q: np.ndarray, effort: int, index: IVF = index) -> tuple[float, float]:
            cost = index.search(Q, K, effort=effort, threads=1).cost
            exact = cost.details["reranked"]
            return (cost.distances - exact) / len(Q), exact / len(Q)

        arms.append(Arm(f"orthant PQ{m}x{bits} rerank {factor}", search, spent, m * bits // 8, seconds))
    return arms


def theirs(X: np.ndarray, m: int, bits: int, kept: Path | None, factors: tuple[int, ...]) -> list[Arm]:
    import faiss

    faiss.omp_set_num_threads(1)
    dim, fast = X.shape[1], f"IVF{LISTS},PQ{m}x4fs" if bits == 4 else f"IVF{LISTS},PQ{m}"

    def make() -> Any:
        index = faiss.index_factory(dim, fast, faiss.METRIC_INNER_PRODUCT)
        index.train(X)
        index.add(X)
        return index

    inner, seconds = built(
        kept,
        f"faiss-{m}x{bits}",
        make,
        lambda index, path: faiss.write_index(index, str(path)),
        lambda path: faiss.read_index(str(path)),
    )
    full = faiss.IndexFlatIP(dim)
    full.add(X)
    lengths = np.array([inner.invlists.list_size(i) for i in range(LISTS)])
    if bits == 4:
        # The fast scan reads whole blocks of 32 codes.
        lengths = -(-lengths // 32) * 32
    arms = []
    for factor in (0, *factors):
        index = inner
        if factor:
            index = faiss.IndexRefine(inner, full)
            index.k_factor = factor

        def search(Q: np.ndarray, effort: int, index: Any = index, parts: Any = (inner, full)) -> np.ndarray:
            parts[0].nprobe = effort
            return index.search(Q, K)[1]

        def spent(Q: np.ndarray, effort: int, factor: int = factor, inner: Any = inner) -> tuple[float, float]:
            probed = inner.quantizer.search(Q, effort)[1]
            return float(lengths[probed].sum(axis=1).mean()), float(K * factor)

        arms.append(Arm(f"faiss {fast} refine {factor}", search, spent, m * bits // 8, seconds))
    return arms


def rate(arm: Arm, Q: np.ndarray, effort: int, *, single: bool) -> float:
    asked = [Q[i : i + 1] for i in range(len(Q))] if single else [Q]
    best = np.inf
    for _ in range(REPEATS):
        began = time.perf_counter()
        for part in asked:
            arm.search(part, effort)
        best = min(best, time.perf_counter() - began)
    return len(Q) / best


def settings(
    arms: list[Arm], tune: tuple[np.ndarray, np.ndarray], efforts: tuple[int, ...]
) -> list[tuple[float, Arm, int]]:
    """Recall of every arm with every number of lists that it is asked to look into."""
    tried = []
    for arm in arms:
        for effort in efforts:
            recall = recall_at_k(arm.search(tune[0], effort), tune[1])
            tried.append((recall, arm, effort))
            if recall > 0.995:
                break
    return tried


def read_bytes(arm: Arm, Q: np.ndarray, effort: int) -> dict[str, float]:
    """What a query reads: codes, vectors, and the bytes of both."""
    codes, exact = arm.spent(Q, effort)
    return {"codes": codes, "vectors": exact, "bytes": codes * arm.code_bytes + exact * Q.shape[1] * 4}


def counted(
    arms: list[Arm], tune: tuple[np.ndarray, np.ndarray], judge: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """For each recall, the setting that reads the fewest bytes on the tuning queries, and what it reads for others."""
    tried = settings(arms, tune, COUNTED_EFFORTS)
    out: dict[str, Any] = {"highest_recall": max(recall for recall, _, _ in tried)}
    read = {(arm.name, effort): read_bytes(arm, tune[0], effort)["bytes"] for _, arm, effort in tried}
    for wanted in RECALLS:
        enough = [(arm, effort) for recall, arm, effort in tried if recall >= wanted]
        if enough:
            arm, effort = min(enough, key=lambda one: read[one[0].name, one[1]])
            recall = recall_at_k(arm.search(judge[0], effort), judge[1])
            told = {"arm": arm.name, "lists": effort, "recall": recall}
            out[str(wanted)] = {**told, **read_bytes(arm, judge[0], effort)}
    out["bytes_at_recall"] = at_recall(tried, read, judge)
    return out


def at_recall(
    tried: list[tuple[float, Arm, int]], read: dict[tuple[str, int], float], judge: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Bytes read at each recall of the judged queries, between the settings that are best on the tuning queries."""
    best, ends = 0.0, []
    for recall, arm, effort in sorted(tried, key=lambda one: (read[one[1].name, one[2]], -one[0])):
        if recall > best:
            best = recall
            ends.append(
                (recall_at_k(arm.search(judge[0], effort), judge[1]), read_bytes(arm, judge[0], effort)["bytes"])
            )
    out = {}
    for wanted in RECALLS:
        for (low, fewer), (high, more) in itertools.pairwise(ends):
            if low < wanted <= high:
                out[str(wanted)] = fewer + (more - fewer) * (wanted - low) / (high - low)
                break
    return out


def against(counts: dict[str, Any]) -> dict[str, Any]:
    """Bytes of this library over those of the other, by codes, queries and recall."""
    out: dict[str, Any] = {}
    for name, row in counts.items():
        codes = name.removeprefix("orthant ")
        if codes == name or f"faiss {codes}" not in counts:
            continue
        other = counts[f"faiss {codes}"]
        for kind in ("in", "out"):
            here, there = (one[kind]["reranked"].get("bytes_at_recall", {}) for one in (row, other))
            out.setdefault(codes, {})[kind] = {at: here[at] / there[at] for at in here if at in there}
    return out


def judged(
    arms: list[Arm], tune: tuple[np.ndarray, np.ndarray], judge: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """For each recall, the fastest setting on the tuning queries, and what it comes to on the others."""
    tried = settings(arms, tune, EFFORTS)
    out: dict[str, Any] = {"highest_recall": max(recall for recall, _, _ in tried)}
    for wanted in RECALLS:
        enough: dict[str, tuple[float, Arm, int]] = {}
        for recall, arm, effort in tried:
            if recall >= wanted and (arm.name not in enough or effort < enough[arm.name][2]):
                enough[arm.name] = (recall, arm, effort)
        if not enough:
            continue
        _, arm, effort = max(enough.values(), key=lambda item: rate(item[1], tune[0], item[2], single=False))
        out[str(wanted)] = {
            "arm": arm.name,
            "lists": effort,
            "recall": recall_at_k(arm.search(judge[0], effort), judge[1]),
            "qps_batch": rate(arm, judge[0], effort, single=False),
            "qps_single": rate(arm, judge[0], effort, single=True),
        }
    return out


LIBRARIES = {"orthant": ours, "faiss": theirs}


def measured(
    make: Callable[..., list[Arm]], m: int, bits: int, X: np.ndarray, queries: dict[str, Any], options: Any
) -> dict[str, Any]:
    """One kind of codes of one library, by time or by counts."""
    arms = make(X, m, bits, options.indexes, COUNTED_FACTORS if options.counts else FACTORS)
    row: dict[str, Any] = {"code_bytes": arms[0].code_bytes, "build_cpu_s": arms[0].build_cpu_s}
    for kind, (tune, judge) in queries.items():
        found = (counted if options.counts else judged)(arms[1:], tune, judge)
        row[kind] = {"reranked": found, "codes": {}}
        for effort in (4, 16, 64, 256):
            row[kind]["codes"][str(effort)] = recall_at_k(arms[0].search(judge[0], effort), judge[1])
        say(f"{arms[0].name}, queries {kind}: {json.dumps(found)}")
    return row


def begun(options: Any, vectors: int) -> dict[str, Any]:
    """The result to add to: the one there is where it is of the same data, else an empty one."""
    out = {"vectors": vectors, "lists": LISTS, "quick": options.quick, "data_sha256": data_hash("minilm_short_texts")}
    path = Path(options.out)
    there = json.loads(path.read_text()) if path.exists() else {}
    same = all(there.get(name) == value for name, value in out.items())
    return there if same else {**out, "arms": {}, "counts": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 vectors and two kinds of codes")
    parser.add_argument("--counts", action="store_true", help="recall, comparisons and bytes; no time of searches")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "ivf.json"))
    names = [f"{m}x{bits}" for m, bits in CODES]
    parser.add_argument("--codes", nargs="+", default=names, choices=names, help="parts and bits")
    parser.add_argument("--libraries", nargs="+", default=list(LIBRARIES), choices=list(LIBRARIES))
    parser.add_argument("--indexes", type=Path, help="where built indexes are kept")
    options = parser.parse_args()
    if os.environ.get("OMP_NUM_THREADS") != "1":
        parser.error("set OMP_NUM_THREADS=1 and OPENBLAS_NUM_THREADS=1: one thread in every library")
    found = load("minilm_short_texts", texts="drop")
    unit = {kind: _unit(rows) for kind, rows in {"base": found.base, **found.queries}.items()}
    X = unit["base"][: 10_000 if options.quick else None]
    exact = Flat(X.shape[1], "cosine")
    exact.add(X)
    queries = {}
    for kind in ("in", "out"):
        rows = unit[kind][np.random.default_rng(SEED).permutation(len(unit[kind]))]
        truth = exact.search(rows, K).ids
        queries[kind] = ((rows[:TUNE], truth[:TUNE]), (rows[TUNE : 3 * TUNE], truth[TUNE : 3 * TUNE]))
    result, part = begun(options, len(X)), "counts" if options.counts else "arms"
    missing = set()
    for m, bits in CODES[: 2 if options.quick else None]:
        if f"{m}x{bits}" not in options.codes:
            continue
        for library in options.libraries:
            try:
                row = measured(LIBRARIES[library], m, bits, X, queries, options)
            except ImportError:
                missing.add(library)
                continue
            result.setdefault(part, {})[f"{library} {m}x{bits}"] = row
            result["against"] = against(result.get("counts", {}))
            # Of each part its own: they may be measured on different days.
            about = "counts_context" if options.counts else "context"
            result[about] = run_context(seed=SEED, packages=("faiss-cpu",))
            Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    say(f"wrote {Path(options.out).name}" + (f"; missing: {', '.join(sorted(missing))}" if missing else ""))


def _unit(rows: np.ndarray) -> np.ndarray:
    wide = rows.astype(np.float64)
    return np.ascontiguousarray(wide / np.linalg.norm(wide, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
