"""Unfiltered nearest-neighbour search against tuned peers: speed at equal recall, build, memory, recall kept.

One thread, the engines taking turns; settings are chosen on other queries than those that judge. Sets of vectors that
are missing are made first (``make_vectors.py``). The query-aware arm is the same graph after it was suited to queries
that neither tune nor judge, of the kind that is unlike the vectors; peers have nothing of the
sort. Indexes of peers are kept in the cache, with what their builds took.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from orthant.datasets.made.store import MADE_SETS, load_made
from orthant.errors import NotFoundError
from orthant.evaluation.ann.inputs import data_files_hash, index_folder, named_inputs, truth_folder
from orthant.evaluation.ann.run import run_ann

RESULT = Path(__file__).parent / "results" / "ann.json"
EVERY_PEER = ("orthant-query-aware", "faiss", "scann", "usearch", "hnswlib")
# A million vectors leave time for the strongest only; the others lose to them on every smaller set.
SETS: dict[str, tuple[str, ...]] = {
    "minilm_short_texts": EVERY_PEER,
    "newsgroups_chunks": EVERY_PEER,
    "token_vectors": ("orthant-query-aware", "faiss-pca-sq8-refine", "faiss-ivfpq-refine", "scann"),
    "mnist": ("faiss-pca-sq8-refine", "scann", "hnswlib"),
}
TARGETS = {
    "in": {"0.95": 1.2, "0.99": 1.1},
    "out": {"0.95": 1.2, "0.99": 1.2},
    "build_cpu_ratio": 1.0,
    "memory_ratio": 0.5,
    "without_avx512": 1.0,
    "kept_below_asked": 0.01,
}
WITHOUT_SET = "minilm_short_texts"
STRONGEST = ("faiss-pca-sq8-refine",)


def without_avx512() -> dict[str, str]:
    """Environment in which neither our kernels nor FAISS's use AVX-512 or VNNI."""
    from llvmlite import binding

    found = binding.get_host_cpu_features()
    gone = ("avx512", "avx10", "avxvnni", "avx-vnni", "evex512", "amx")
    features = ",".join(
        f"{'+' if present and not name.startswith(gone) else '-'}{name}" for name, present in found.items()
    )
    own = {"ORTHANT_SIMD": "avx2", "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features}
    return {**own, "FAISS_SIMD_LEVEL": "AVX2", "FAISS_OPT_LEVEL": "avx2"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"from {', '.join(SETS)}; default all")
    parser.add_argument(
        "--without-avx512", action=argparse.BooleanOptionalAction, default=True, help="also without AVX-512"
    )
    parser.add_argument("--limit", type=int, help="index so many vectors only, for a trial; nothing is written")
    parser.add_argument("--peers", help="instead of each set's own, with commas; nothing is written")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--budget-s", type=float, default=25.0)
    given = parser.parse_args()
    begin = time.perf_counter()
    trial = given.limit is not None or given.peers is not None
    record: dict[str, Any] = {"targets": TARGETS, "sets": {}}
    if RESULT.is_file() and not trial:
        # A set takes minutes: each run replaces what it measured and keeps the rest, whose context tells its code.
        record |= json.loads(RESULT.read_text(encoding="utf-8")) | {"targets": TARGETS}
    for name in given.sets:
        make_if_missing(name)
        record["sets"][name] = compare(name, given, SETS[name])
        show(name, record["sets"][name])
        keep(record, trial)
    if given.without_avx512 and WITHOUT_SET in record["sets"]:
        record["without_avx512"] = compare(WITHOUT_SET, given, STRONGEST, environment=without_avx512(), kept=False)
        keep(record, trial)
    print(f"{time.perf_counter() - begin:.0f} s", file=sys.stderr)
    if trial:
        print(json.dumps(record, indent=1, allow_nan=False))


def keep(record: dict[str, Any], trial: bool) -> None:
    if not trial:
        RESULT.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def make_if_missing(name: str) -> None:
    if name not in MADE_SETS:
        return
    try:
        load_made(name)
    except NotFoundError:
        subprocess.run([sys.executable, str(Path(__file__).with_name("make_vectors.py")), name], check=True)


def compare(
    name: str,
    given: argparse.Namespace,
    peers: tuple[str, ...],
    *,
    threads: int = 1,
    build_threads: int | None = None,
    environment: dict[str, str] | None = None,
    kept: bool = True,
) -> dict[str, Any]:
    chosen = peers if given.peers is None or not peers else tuple(given.peers.split(","))
    with TemporaryDirectory() as folder:
        inputs = named_inputs(name, folder=Path(folder), limit=given.limit)
        found = run_ann(
            inputs,
            peers=chosen,
            threads=threads,
            build_threads=build_threads,
            asked=(0.9, 0.95, 0.99) if kept else (),
            repetitions=given.repetitions,
            budget_s=given.budget_s,
            truth_folder=truth_folder(),
            # What was built with other instructions must not stand in.
            index_folder=None if environment else index_folder(),
            environment=environment,
            report=lambda text: print(f"  {name}: {text}", file=sys.stderr, flush=True),
        )
    found["context"]["data"]["files_sha256"] = data_files_hash(name)
    return found


def show(name: str, found: dict[str, Any]) -> None:
    for ratio in found["ratios"]:
        print(
            f"{ratio['engine']}, {name}, {ratio['queries']}, {ratio['recall']}: {ratio['ratio']} x {ratio['best_peer']}"
            f" ({ratio['ratio_min']} to {ratio['ratio_max']}), build {ratio['build_cpu_ratio']},"
            f" memory {ratio['memory_ratio']}",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    main()
