"""What a sentence encoder loses in a tenth of its bytes.

    python benchmarks/small_models.py [--steps 200] [--documents 1000] [--queries 200]

MiniLM whole, in int8, and as codes with and without low rank, with and without activations, at equal bytes of codes:
nDCG@10 on four judged sets, cosine to the whole model, and bytes on disk. Texts of the training are of other sets. Run
it alone on the machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets import load, load_retrieval
from orthant.encoders.transformer import TransformerEncoder, minilm_folder
from orthant.evaluation.judged_vectors import shrink
from orthant.index import Flat
from orthant.learn.compression import LowRankVQ, compress_text_encoder
from orthant.learn.compression.text import DEFAULT_POLICY
from orthant.measures import ndcg as ndcg_of

SETS = ("cranfield", "npl", "cosqa", "medquad")
RESULT = Path(__file__).parent / "results" / "small_models.json"
RANK_SHARE = 0.5


def texts(count: int, seed: int) -> list[str]:
    """Short texts of sets that are not judged here."""
    found = [one["text"] for one in load("minilm_short_texts").base_records if one["source"] != "medquad"]
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))[:count]]


def low_rank() -> dict[str, LowRankVQ | None]:
    """The default policy with half the rank where a block has room for it."""
    return {
        name: one and replace(one, rank=max(1, int(one.block * RANK_SHARE))) for name, one in DEFAULT_POLICY.items()
    }


def ndcg(encoder: TransformerEncoder, name: str, documents: int, queries: int) -> float:
    """Mean over the judged queries that a fixed draw keeps."""
    judged = shrink(load_retrieval(name), documents=documents, queries=queries)
    rows = encoder.encode([one.content for one in judged.corpus], role="document")
    index = Flat(encoder.dim, "cosine")
    index.add(rows)
    asked = encoder.encode(list(judged.queries.values()), role="query")
    found = index.search(asked, 10).ids
    names = [one.id for one in judged.corpus]
    run = {query: [names[i] for i in ids] for query, ids in zip(judged.queries, found, strict=True)}
    return ndcg_of(run, judged.qrels, k=10).mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--documents", type=int, default=1_000)
    parser.add_argument("--queries", type=int, default=200)
    options = parser.parse_args()
    arms: dict[str, dict[str, Any]] = {
        "codes": {},
        "codes, untrained": {"steps": 0},
        "codes by weights alone": {"observed": 0},
        "codes of half the rank": {"policy": low_rank()},
    }
    out: dict[str, Any] = {"steps": options.steps, "arms": {}}
    given = texts(20_000, 0)
    with tempfile.TemporaryDirectory() as place:
        encoders = {"whole": TransformerEncoder.minilm(), "int8": TransformerEncoder.minilm(backend="onnx-int8")}
        for name, settings in arms.items():
            report = compress_text_encoder(
                minilm_folder(), Path(place, name), given, **{"steps": options.steps, "min_cosine": -1.0, **settings}
            )
            encoders[name] = TransformerEncoder.load(report.path)
            out["arms"][name] = {"bytes": report.nbytes, "cosine": report.kept.cosine_mean}
        for name, encoder in encoders.items():
            scores = {one: ndcg(encoder, one, options.documents, options.queries) for one in SETS}
            out["arms"].setdefault(name, {})["ndcg@10"] = scores
            print(name, out["arms"][name])
    RESULT.write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    main()
