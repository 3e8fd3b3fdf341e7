"""Development and test figures of a text encoder: STS-B Spearman and nDCG@10 with one cosine score per document."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

Encode = Callable[[list[str]], np.ndarray]


def _rows(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as handle:
        if path.name.endswith(".tsv.gz"):
            return list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
        return [json.loads(line) for line in handle]


def spearman_stsb(encode: Encode, data: Path, split: str, language: str = "en") -> float:
    from scipy.stats import spearmanr

    pairs = _rows(data / f"stsb/{language}_{split}.tsv.gz")
    left = encode([row["sentence1"] for row in pairs])
    right = encode([row["sentence2"] for row in pairs])
    return float(spearmanr((left * right).sum(1), [float(row["score"]) for row in pairs]).statistic)


def mean_ndcg(scores: np.ndarray, relevant: list[set[int]], k: int = 10) -> float:
    """Binary nDCG@k from a (q, n) score matrix; to be replaced by ``orthant.measures`` where that is installed."""
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    figures = []
    for row, wanted in zip(scores, relevant, strict=True):
        top = np.argsort(-row, kind="stable")[:k]
        found = np.fromiter((position in wanted for position in top), bool, len(top))
        figures.append(gains[: len(top)][found].sum() / gains[: min(k, len(wanted))].sum())
    return float(np.mean(figures))


def retrieval_set(data: Path, name: str) -> tuple[list[str], list[str], list[set[int]]]:
    """Queries, documents and the positions of each query's relevant documents."""
    folder = data / name.split("_")[0]
    corpus = _rows(folder / "corpus.jsonl.gz")
    place = {row["_id"]: position for position, row in enumerate(corpus)}
    documents = [f"{row['title']} {row['text']}".strip() for row in corpus]
    if name.startswith("cosqa"):
        queries = _rows(folder / f"queries_{name.split('_')[1]}.jsonl.gz")
        return [row["text"] for row in queries], documents, [{place[row["relevant"]]} for row in queries]
    wanted: dict[str, set[int]] = {}
    for row in _rows(folder / "qrels.tsv.gz"):
        if float(row["score"]) > 0 and row["corpus-id"] in place:
            wanted.setdefault(row["query-id"], set()).add(place[row["corpus-id"]])
    queries = [row for row in _rows(folder / "queries.jsonl.gz") if row["_id"] in wanted]
    return [row["text"] for row in queries], documents, [wanted[row["_id"]] for row in queries]


def retrieval_ndcg(encode: Encode, data: Path, name: str) -> float:
    queries, documents, relevant = retrieval_set(data, name)
    return mean_ndcg(encode(queries) @ encode(documents).T, relevant)


def development_figures(encode: Encode, data: Path, held: dict[str, tuple[list[str], list[str]]]) -> dict[str, float]:
    """The figures settings are chosen by; no test split is read here."""
    figures = {"stsb_dev": spearman_stsb(encode, data, "dev"), "cosqa_dev": retrieval_ndcg(encode, data, "cosqa_dev")}
    for name, (questions, documents) in held.items():
        wanted = [{position} for position in range(len(questions))]
        figures[name] = mean_ndcg(encode(questions) @ encode(documents).T, wanted)
    figures["mean"] = float(np.mean(list(figures.values())))
    return figures


def test_figures(encode: Encode, data: Path) -> dict[str, float]:
    """The figures that are reported once and never selected on."""
    figures = {"stsb_test": spearman_stsb(encode, data, "test")}
    for name in ("cranfield", "npl", "cosqa_test"):
        figures[f"{name}_ndcg@10"] = retrieval_ndcg(encode, data, name)
    return figures
