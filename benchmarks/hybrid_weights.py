"""Whether hybrid search beats BM25 alone, with weights chosen on other sets.

For every judged set, dense, lexical and hybrid runs over a grid of dense weights. The weight used on a set is the one
with the best mean nDCG@10 over all *other* sets; the difference to BM25 is tested by paired randomisation. The default
of the package is the best weight over all sets; it is reported, but no claim rests on it.

    python benchmarks/hybrid_weights.py
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import orthant
from orthant.cli.evaluate import CollectionSearcher
from orthant.collection.fusion import DEFAULT_WEIGHTS
from orthant.datasets.registry import data_hash, load_retrieval
from orthant.evaluation import compare, evaluate
from orthant.evaluation.context import run_context

# Sets whose texts the static encoder was not trained on; MedQuAD, XQuAD, nl2code, papers and QMSum were in its corpus.
SETS = {
    "cranfield": {},
    "npl": {},
    "cisi": {},
    "cosqa": {"split": "test"},
    "trecqa": {},
    "teleqna": {},
    "limit": {"part": "small"},
}
WEIGHTS = [round(0.1 * i, 1) for i in range(1, 10)]
METRIC = "ndcg@10"


def runs(name: str, options: dict, encoder: str) -> dict[str, object]:
    judged = load_retrieval(name, **options)
    corpus = {d.id: d.content for d in judged.corpus}
    out = {}
    with tempfile.TemporaryDirectory() as folder, orthant.open(f"{folder}/c", encoder=encoder) as collection:
        for begin in range(0, len(judged.corpus), 4096):
            part = judged.corpus[begin : begin + 4096]
            collection.upsert([d.id for d in part], texts=[d.content for d in part])

        def measure(mode: str, **settings: object):
            target = CollectionSearcher(collection, mode, settings)
            return evaluate(target, queries=judged.queries, qrels=judged.qrels, corpus=corpus, metrics=[METRIC])

        out["lexical"], out["dense"] = measure("lexical"), measure("dense")
        out["rrf"] = measure("hybrid", fusion="rrf", weights={"dense": 0.5, "lexical": 0.5})
        for weight in WEIGHTS:
            out[weight] = measure("hybrid", weights={"dense": weight, "lexical": 1 - weight})
    print(name, {str(k): round(v.metrics[METRIC], 4) for k, v in out.items()}, file=sys.stderr)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="static")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "hybrid_weights.json"))
    options = parser.parse_args()
    measured = {name: runs(name, settings, options.encoder) for name, settings in SETS.items()}
    mean = {w: sum(measured[s][w].metrics[METRIC] for s in SETS) / len(SETS) for w in WEIGHTS}
    result = {"metric": METRIC, "encoder": options.encoder, "sets": {}}
    for name, found in measured.items():
        others = {w: sum(measured[s][w].metrics[METRIC] for s in SETS if s != name) for w in WEIGHTS}
        weight = max(others, key=others.get)
        report = compare({"lexical": found["lexical"], "hybrid": found[weight]}, baseline="lexical", metrics=[METRIC])
        result["sets"][name] = {
            "options": SETS[name],
            "data_sha256": data_hash(name),
            "lexical": found["lexical"].metrics[METRIC],
            "dense": found["dense"].metrics[METRIC],
            "rrf": found["rrf"].metrics[METRIC],
            "weight_chosen_on_the_other_sets": weight,
            "hybrid": found[weight].metrics[METRIC],
            "hybrid_above_lexical": found[weight].metrics[METRIC] > found["lexical"].metrics[METRIC],
            "p_value": report.comparisons[0].p_value,
            "by_weight": {str(w): found[w].metrics[METRIC] for w in WEIGHTS},
        }
    result["sets_where_hybrid_is_above_lexical"] = sum(s["hybrid_above_lexical"] for s in result["sets"].values())
    result["best_weight_over_all_sets"] = max(mean, key=mean.get)
    result["mean_by_weight"] = {str(w): value for w, value in mean.items()}
    result["default_weight"] = DEFAULT_WEIGHTS["dense"]
    result["context"] = run_context(seed=0, data_hash=None)
    Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({k: v for k, v in result.items() if k != "context"}, indent=1))


if __name__ == "__main__":
    main()
