"""Which share of a better model's gain maps keep when only the pairs are encoded again.

The shipped word table is the old model, MiniLM the new one. Documents keep their old vectors, mapped; queries are the
new model's. Gain recovered = (mapped - old/old) / (new/new - old/old) in nDCG@10, with a bootstrap interval over
queries. The pairs are documents of the same collection, drawn three times; no judgement is used to fit or choose. With
3,000 pairs most of these small collections are paired, so that row says what a map does for rows much like its pairs.

    python benchmarks/alignment.py
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets import load
from orthant.evaluation.context import run_context
from orthant.evaluation.judged_vectors import JudgedVectors, encode_judged, shrink
from orthant.index import Flat
from orthant.measures import gain_recovered, ndcg, run_from_arrays
from orthant.transforms import LowRankMap, Procrustes, RelativeRepresentation, SpaceMap

SETS = ("cranfield", "npl", "cosqa", "medquad")
DOCUMENTS, QUERIES = 4_000, 250
PAIRS = (300, 1_000, 3_000)
SEEDS = (101, 102, 103)
RESULT = Path(__file__).parent / "results" / "alignment.json"


def maps(pairs: int) -> dict[str, SpaceMap]:
    return {
        "Procrustes": Procrustes(),
        "Procrustes, whitened": Procrustes(whiten=True),
        "LowRankMap": LowRankMap(),
        "RelativeRepresentation": RelativeRepresentation(anchors=min(1_500, pairs), center=True, space="target"),
    }


def per_query(judged: JudgedVectors, documents: Any, queries: Any) -> Any:
    known = np.flatnonzero(documents.any(axis=1))
    index = Flat(documents.shape[1], "cosine")
    index.add(documents[known], ids=known)
    # A query without a known word has no direction; any will do, for it finds nothing on purpose.
    hits = index.search(np.where(queries.any(axis=1, keepdims=True), queries, np.float32(1)), 10)
    run = run_from_arrays(hits.ids, hits.scores, query_ids=judged.query_ids, document_ids=judged.document_ids)
    found = ndcg(run, judged.qrels, k=10).per_query
    return np.array([found[query] for query in judged.query_ids])


def main() -> None:
    warnings.simplefilter("ignore", UserWarning)
    record: dict[str, Any] = {"context": run_context(seed=SEEDS[0], packages=("numpy",)), "sets": {}}
    for name in SETS:
        whole: Any = load(name)
        small = shrink(whole, documents=DOCUMENTS, queries=QUERIES) if len(whole.corpus) > DOCUMENTS else whole
        judged = encode_judged(small, ("static", "minilm"), progress=lambda line: print(line, file=sys.stderr))
        (old_rows, old_queries), (new_rows, new_queries) = judged.vectors["static"], judged.vectors["minilm"]
        old, new = per_query(judged, old_rows, old_queries), per_query(judged, new_rows, new_queries)
        known = np.flatnonzero(old_rows.any(axis=1) & new_rows.any(axis=1))
        arms: dict[str, Any] = {}
        for count in PAIRS:
            draws = [np.random.default_rng(seed).permutation(known)[:count] for seed in SEEDS]
            for label, made in maps(min(count, len(known))).items():
                mapped = [made.fit(old_rows[d], new_rows[d]).transform(old_rows) for d in draws]
                values = np.mean([per_query(judged, rows, new_queries) for rows in mapped], axis=0)
                gain = gain_recovered(values, old, new)
                arms[f"{label}, {len(draws[0])} pairs"] = {
                    "ndcg@10": round(float(values.mean()), 4),
                    "gain_recovered": round(gain.share, 3),
                    "interval": [round(end, 3) for end in gain.interval],
                    "worth_it": gain.worth_it,
                }
        record["sets"][name] = {"old": round(float(old.mean()), 4), "new": round(float(new.mean()), 4), "arms": arms}
        print(name, json.dumps(record["sets"][name], indent=1), file=sys.stderr)
    RESULT.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
