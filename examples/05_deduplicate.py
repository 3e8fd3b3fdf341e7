"""Clean a collection of news: plant copies, choose a threshold on judged pairs, mark what is found, take it back.

Reads AG News from ``ORTHANT_DATA`` where it is set, else the documentation of Python that is installed.
Run: ``python examples/05_deduplicate.py``.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

import orthant
from orthant.datasets import load, read_python_documentation

SEED = 0
TEXTS, COPIES, JUDGED = 2000, 300, 120


def read_texts() -> tuple[str, list[str]]:
    """Return the name and the texts of a corpus, those of fewer than twelve words left out."""
    if os.environ.get("ORTHANT_DATA"):
        name, texts = "AG News", load("ag_news").texts
    else:
        found = read_python_documentation()
        name, texts = "the documentation of Python", [document.text for document in found.documents]
    texts = [text for text in texts if len(text.split()) >= 12]
    chosen = np.random.default_rng(SEED).permutation(len(texts))[:TEXTS]
    return name, [texts[i] for i in chosen]


def edited(text: str, kind: int, rng: np.random.Generator) -> str:
    """Return a copy as it comes about: other case and white space, words lost, or words changed."""
    words = text.split()
    if kind == 0:
        return "  ".join(words).upper()
    places = rng.choice(len(words), size=max(1, len(words) // 12), replace=False)
    if kind == 1:
        return " ".join(word for i, word in enumerate(words) if i not in places)
    for place in places:
        words[place] = "[...]" if place % 2 else words[int(rng.integers(len(words)))]
    return " ".join(words)


def judged_pairs(truth: dict[str, str], found: list[tuple[str, str]], rng: np.random.Generator) -> list:
    """Stand in for a person: judge a few copies and as many of the most similar pairs that are none."""
    copies = list(truth.items())
    positive = [(*copies[i], True) for i in rng.permutation(len(copies))[: JUDGED // 2]]
    strangers = [pair for pair in found if truth.get(pair[1]) != pair[0]]
    return positive + [(*pair, False) for pair in strangers[: JUDGED // 2]]


def main() -> None:
    """Run the journey and print what a person would look at."""
    rng = np.random.default_rng(SEED)
    name, texts = read_texts()
    truth = {f"copy-{i}": f"text-{i}" for i in rng.permutation(len(texts))[:COPIES]}
    with tempfile.TemporaryDirectory() as folder, orthant.open(Path(folder) / "news.orthant", encoder="static") as news:
        news.upsert([f"text-{i}" for i in range(len(texts))], texts=texts)
        copies = [edited(texts[int(key[5:])], i % 3, rng) for i, key in enumerate(truth)]
        news.upsert(list(truth), texts=copies, metadata=[{"kind": i % 3} for i in range(len(copies))])
        print(f"{len(news):,} records of {name}, {len(truth)} of them planted copies")
        print("precision and recall are of the planted copies: what the corpus repeats by itself counts as wrong")
        print(f"{'by':8s} {'threshold':>9s} {'interval':>13s} {'precision':>9s} {'recall':>7s}  F1 on unseen pairs")
        for by, low in (("text", 0.1), ("vectors", 0.75)):
            near = [(pair.first, pair.second) for pair in news.duplicates(by=by, threshold=low).pairs]
            report = news.duplicates(by=by, labelled=judged_pairs(truth, near, rng))
            choice, found = report.choice, report.duplicates
            right = sum(truth.get(key) == kept for key, kept in found.items())
            print(
                f"{by:8s} {choice.threshold:9.3f} {choice.low:6.3f}-{choice.high:.3f} "
                f"{right / max(1, len(found)):9.3f} {right / len(truth):7.3f}  {choice.f1_unseen:.3f}"
            )
        others = sorted((pair for pair in report.pairs if pair.second not in truth), key=lambda pair: -pair.cosine)
        if others:
            print(f"not planted, but in the corpus (cosine {others[0].cosine:.3f}):")
            for key in (others[0].first, others[0].second):
                print(f"  {' '.join(news.get(key).text.split())[:100]}")
        report = news.duplicates(by="text", threshold=0.5, keep="oldest")
        marked = report.mark()
        hits = news.search(texts[0], k=5, where={"duplicate_of": {"exists": False}})
        print(f"marked {marked} records; a search that leaves them out finds {len(hits)} hits")
        print(f"taken back: {report.unmark()}")
        for cluster in news.clusters(4, words=6).clusters:
            print(f"cluster of {cluster.size:,}: {', '.join(cluster.words)}")


if __name__ == "__main__":
    main()
