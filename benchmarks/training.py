"""Two recipes trained from the command line's own code, judged beside their base, and searched in a collection.

Both follow ``examples/training``. Runs are kept in the cache and go on where they were; a finished one is judged again.
The collection arms search the same held-out questions and documents through ``orthant.open``: the base model, the
exported int8 model, and for late interaction the base's candidates ranked anew by MaxSim over exported tokens.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orthant
from orthant.encoders import MaxSimReranker, load_token_encoder
from orthant.evaluation.context import run_context
from orthant.evaluation.retrieval import evaluate
from orthant.index.flat import Flat
from orthant.kernels.compile_cache import cache_base
from orthant.learn.recipes.judging import JudgedPairs
from orthant.learn.recipes.reading import read_recipe
from orthant.learn.recipes.running import RecipeRun
from orthant.measures.significance import compare_arms

HERE = Path(__file__).parent
RECIPES = HERE.parent / "examples" / "training"
RESULT = HERE / "results" / "training.json"
NAMES = ("medical-minilm", "token-minilm")
TARGETS = {"most_lost_by_export": 0.01, "longest_s": 1200}
CANDIDATES = 50


class Searching:
    """A collection as the evaluation harness wants it, its hits perhaps ranked anew."""

    def __init__(self, collection: Any, reranker: Any = None) -> None:
        self.collection, self.reranker = collection, reranker

    def search_texts(self, queries: list[str], *, k: int) -> list[list[tuple[str, float]]]:
        """Ranked ids and scores of each query."""
        out = []
        found = self.collection.search_many(queries, k=CANDIDATES, mode="dense")
        for query, result in zip(queries, found, strict=True):
            hits = list(result)
            scores = [hit.score for hit in hits] if self.reranker is None else self.reranker.score(query, hits)
            out.append([(hit.id, float(score)) for hit, score in zip(hits, scores, strict=True)][:k])
        return out


def in_collection(task: JudgedPairs, run: RecipeRun, metric: str) -> dict[str, Any]:
    documents = {str(i): text for i, text in enumerate(task.documents)}
    queries = {str(i): text for i, text in enumerate(task.queries)}
    qrels = {str(i): {str(j): 1 for j in found} for i, found in enumerate(task.relevant)}
    export = run.folder / "export"
    tokens = run.recipe.model.kind == "tokens"
    reports = {}
    with TemporaryDirectory() as folder:
        arms: dict[str, tuple[Any, Any]] = {"base": ("minilm", None)}
        if tokens:
            encoder = load_token_encoder(export)
            stored = dict(zip(documents, encoder.encode_tokens(task.documents, role="document"), strict=True))
            arms["exported"] = ("minilm", MaxSimReranker(encoder, tokens=stored))
        else:
            arms["exported"] = (str(export), None)
        for arm, (name, reranker) in arms.items():
            with orthant.open(f"{folder}/{arm}", encoder=name) as collection:
                collection.upsert(list(documents), texts=list(documents.values()))
                reports[arm] = evaluate(
                    Searching(collection, reranker), queries=queries, qrels=qrels, metrics=[metric], depth=CANDIDATES
                ).scores[metric]
    found = compare_arms(reports, baseline="base", metric=metric).comparisons[0]
    return {
        **{arm: round(one.mean, 5) for arm, one in reports.items()},
        "difference": round(found.difference, 5),
        "interval": [round(found.low, 5), round(found.high, 5)],
        "p_value": found.p_value,
        "candidates": CANDIDATES,
    }


def training_seconds(folder: Path) -> float:
    """Seconds of all stages, those before a resumption included."""
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    return round(sum({row["stage"]: row["seconds"] for row in rows}.values()), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NAMES))
    given = parser.parse_args()
    record: dict[str, Any] = {"targets": TARGETS, "runs": {}}
    if RESULT.is_file():
        record |= json.loads(RESULT.read_text(encoding="utf-8")) | {"targets": TARGETS}
    for name in given.names:
        begin = time.perf_counter()
        recipe = read_recipe(RECIPES / f"{name}.yaml")
        folder = cache_base() / "trainings" / name
        run = RecipeRun(recipe, folder, make_index=lambda dim: Flat(dim), say=lambda text: print(text, file=sys.stderr))
        report = run.train(progress=True)
        searched = {
            data: in_collection(task, run, recipe.evaluation.metric) for data, task in run.tasks("test").items()
        }
        record["runs"][name] = {
            "recipe": recipe.as_dict(),
            "report": report.to_dict(),
            "collection": searched,
            "training_s": training_seconds(folder),
            "seconds": round(time.perf_counter() - begin, 1),
            "context": run_context(seed=recipe.seed, packages=("torch", "sentence-transformers", "transformers")),
        }
        RESULT.write_text(json.dumps(record, indent=1, allow_nan=False, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
