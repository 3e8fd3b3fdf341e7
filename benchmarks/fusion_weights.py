"""What fusion weights learned from a collection's own judged queries are worth, on queries that did not teach them.

For every judged set, ``Collection.tune_fusion`` with the folds of three seeds: the held-out gain over the default
weights and over each leg alone, with interval and p-value, next to the gain on the queries that chose the weights,
which is what one would report without folds. Then the false alarms: where learning cannot help, because every setting
of every query has the same expectation, how often is a change recommended: by a paired test on the queries that chose,
by one on held-out queries, and by the test that repeats the choice, which the recommendation rests on? And with how
many judged queries is a change recommended, over draws from the sets of ``DRAWN``?

    python benchmarks/fusion_weights.py
    python benchmarks/fusion_weights.py --sets cosqa     measures one set anew and keeps the others
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

import orthant
from orthant.collection.tuning.crossvalidation import chance_of_choice, cross_validated
from orthant.datasets.registry import data_hash, load_retrieval
from orthant.evaluation.context import run_context
from orthant.measures.significance import paired_randomisation

# The static encoder was trained on MedQuAD's and the papers' texts: its dense leg is stronger there than elsewhere.
SETS = {
    "cranfield": {},
    "npl": {},
    "cisi": {},
    "cosqa": {"split": "test"},
    "trecqa": {},
    "teleqna": {},
    "medquad": {},
    "limit": {"part": "small"},
}
SEEDS = (0, 1, 2)
DRAWN = ("cranfield", "cosqa")
SIZES, DRAWS = (50, 100, 200), 20


def judge(name: str, options: dict, encoder: str, limit: int) -> dict[str, object]:
    judged = load_retrieval(name, **options)
    qrels = dict(list(judged.qrels.items()))
    if len(qrels) > limit:
        keys = np.random.default_rng(0).choice(sorted(qrels), size=limit, replace=False)
        qrels = {key: qrels[key] for key in keys.tolist()}
    with tempfile.TemporaryDirectory() as folder, orthant.open(f"{folder}/c", encoder=encoder) as collection:
        for begin in range(0, len(judged.corpus), 4096):
            part = judged.corpus[begin : begin + 4096]
            collection.upsert([d.id for d in part], texts=[d.content for d in part])
        reports = [collection.tune_fusion(queries=judged.queries, qrels=qrels, seed=seed) for seed in SEEDS]
        few = drawn(collection, judged.queries, qrels) if name in DRAWN else None
    first = reports[0]
    print(f"{name}: {first.sentence}", file=sys.stderr, flush=True)
    return {
        "options": options,
        "data_sha256": data_hash(name),
        "documents": len(judged.corpus),
        "queries": first.queries,
        "left_out": first.left_out,
        "values": first.values,
        "by_seed": [summary(report) for report in reports],
        "recommended_by_queries": few,
    }


def drawn(collection: orthant.Collection, queries: dict, qrels: dict) -> dict[str, object]:
    """Of draws of some queries: the share for which a change is recommended, and the mean held-out gain."""
    rng = np.random.default_rng(1)
    out = {}
    for size in SIZES:
        reports = []
        for seed in range(DRAWS):
            keys = rng.choice(sorted(qrels), size=size, replace=False).tolist()
            chosen = {key: qrels[key] for key in keys}
            reports.append(collection.tune_fusion(queries=queries, qrels=chosen, seed=seed))
        gains = [report.against("present").difference for report in reports]
        out[str(size)] = {
            "recommended": float(np.mean([report.recommended for report in reports])),
            "held_out_gain": float(np.mean(gains)),
        }
    return out


def summary(report) -> dict[str, object]:
    against = {
        c.baseline: {"gain": c.difference, "low": c.low, "high": c.high, "p": c.p_adjusted} for c in report.comparisons
    }
    return {
        "recommended": report.recommended,
        "p_value": report.p_value,
        "sentence": report.sentence,
        "chosen": report.chosen,
        "held_out": report.held_out,
        "in_sample_gain": report.in_sample - report.values["present"],
        "against": against,
        "queries": report.queries,
    }


def false_alarms(*, queries: int = 100, settings: int = 42, trials: int = 2000) -> dict[str, float]:
    """Settings that differ by noise only: the share of trials in which the best one is taken for better."""
    rng = np.random.default_rng(7)
    told = {"in_sample": 0, "held_out": 0, "repeated_choice": 0}
    for trial in range(trials):
        base = rng.random((1, queries))
        values = base + 0.1 * rng.standard_normal((settings, queries))
        held = cross_validated(values, folds=5, seed=trial)
        for name, arm in (("held_out", held.values), ("in_sample", values[held.chosen])):
            p, _ = paired_randomisation(values[0], arm, resamples=1000, seed=trial)
            told[name] += p < 0.05 and arm.mean() > values[0].mean()
        told["repeated_choice"] += chance_of_choice(values, resamples=1000, seed=trial) < 0.05
    return {"queries": queries, "settings": settings, "trials": trials} | {k: v / trials for k, v in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="static")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--limit", type=int, default=2000, help="judged queries per set at most")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "fusion_weights.json"))
    options = parser.parse_args()
    result = {"metric": "ndcg@10", "encoder": options.encoder, "seeds": list(SEEDS), "sets": {}}
    result["false_alarms"] = false_alarms()
    out = Path(options.out)
    if out.exists() and len(options.sets) < len(SETS):
        result["sets"] = {k: v for k, v in json.loads(out.read_text())["sets"].items() if k not in options.sets}
    for name in options.sets:
        result["sets"][name] = judge(name, SETS[name], options.encoder, options.limit)
    judged = result["sets"].values()
    result["sets_where_recommended_by_every_seed"] = sum(all(r["recommended"] for r in s["by_seed"]) for s in judged)
    result["sets_where_recommended_by_no_seed"] = sum(not any(r["recommended"] for r in s["by_seed"]) for s in judged)
    result["context"] = run_context(seed=0, data_hash=None)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "context"}, indent=1))


if __name__ == "__main__":
    main()
