"""What a graph loses, on which data, for which queries, and whether the order of insertion matters.

    python benchmarks/hnsw_study.py [--quick]

Recall@10 against intrinsic dimension on generated spheres, by local dimension of the query and by insertion order on
sentence vectors, and seven encoders ranked through exact and approximate search on six judged sets. Every engine that
is installed runs; the others are listed as missing. The judged sets are encoded once and kept in ORTHANT_CACHE, which
takes some minutes the first time. ``--quick`` takes fewer points, two engines at most and no leaderboard.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets.registry import data_hash, load, load_retrieval
from orthant.evaluation.ann_study import compare_orders, recall_against_dimension, recall_by_local_dimension
from orthant.evaluation.context import run_context
from orthant.evaluation.graph_engines import ENGINES, installed_engines
from orthant.evaluation.judged_vectors import encode_judged, shrink
from orthant.evaluation.leaderboard import leaderboard_shift

SETS = ("cranfield", "npl", "cosqa", "teleqna", "papers", "medquad")
ORDERS = ("lid-descending", "lid-ascending", "category")
SEED = 7


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def by_dimension(engines: list[str], points: int) -> dict[str, Any]:
    out = {}
    for engine in engines:
        study = recall_against_dimension(engine=engine, points=points, queries=300, seed=SEED)
        out[engine] = study.to_dict() | {"spearman": {str(e): study.correlation(e) for e in study.recall}}
        falling = dict(zip(study.intrinsic_dims, study.recall[10], strict=True))
        say(f"{engine}: recall@10 at effort 10 by dimension {falling}")
    return out


def sentences(points: int) -> tuple[Any, Any, list[str]]:
    found = load("minilm_short_texts")
    rng = np.random.default_rng(SEED)
    rows = np.sort(rng.choice(len(found.base), points, replace=False))
    return found.base[rows], found.queries, [found.base_records[i]["source"] for i in rows]


def by_query(engines: list[str], points: int) -> dict[str, Any]:
    X, queries, _ = sentences(points)
    out: dict[str, Any] = {}
    for engine in engines:
        out[engine] = {}
        for kind in ("in", "out"):
            study = recall_by_local_dimension(X, queries[kind][:1000], engine=engine, effort=32, seed=SEED)
            quarters = study.by_quantile(4)
            out[engine][kind] = {
                "spearman": study.correlation,
                "recall": float(study.recall.mean()),
                "median_dimension": float(np.median(study.dimension)),
                "quarters": quarters,
            }
            say(f"{engine}, queries {kind}: recall by quarter {[round(q['recall'], 3) for q in quarters]}")
    return out


def by_order(engines: list[str], points: int) -> dict[str, Any]:
    X, queries, kinds = sentences(points)
    out = {}
    for engine in engines:
        report = compare_orders(X, queries["in"][:1000], orders=ORDERS, categories=kinds, engine=engine)
        say(f"{engine}\n{report}")
        out[engine] = report.to_dict()
    return out


def leaderboards(engines: list[str]) -> dict[str, Any]:
    sets = [encode_judged(shrink(load_retrieval(name), documents=2_500, queries=250), progress=say) for name in SETS]
    out = {}
    for engine in engines:
        report = leaderboard_shift(sets, engine=engine, seeds=(SEED,))
        say(f"{engine}\n{report}")
        out[engine] = report.to_dict()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "hnsw_study.json"))
    options = parser.parse_args()
    started = time.perf_counter()
    engines = installed_engines()[: 2 if options.quick else None]
    result: dict[str, Any] = {
        "quick": options.quick,
        "engines": engines,
        "missing": [name for name in ENGINES if name not in engines],
        "recall_by_intrinsic_dimension": by_dimension(engines, 2_000 if options.quick else 10_000),
        "recall_by_local_dimension_of_the_query": by_query(engines, 4_000 if options.quick else 20_000),
        "recall_by_insertion_order": by_order(engines, 1_500 if options.quick else 6_000),
    }
    if not options.quick:
        # hnswlib and FAISS build the same graph, and this part takes longest.
        result["leaderboard"] = leaderboards([name for name in engines if name != "hnswlib"] or engines)
    names = ("minilm_short_texts", *(() if options.quick else SETS))
    result["data_sha256"] = {name: data_hash(name) for name in names}
    result["seconds"] = time.perf_counter() - started
    result["context"] = run_context(seed=SEED, packages=("faiss-cpu", "hnswlib"))
    Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    say(f"wrote {Path(options.out).name} in {result['seconds']:.0f} s")


if __name__ == "__main__":
    main()
