"""Learn from judged queries how a collection should weigh meaning against words, and only believe what is shown.

Run: python examples/10_learn_fusion_weights.py [FOLDER]
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import orthant
from orthant.datasets.pydocs import read_python_documentation

PACKAGES = ("csv", "json", "email", "http", "sqlite3", "urllib", "zipfile", "logging", "unittest", "asyncio")
JUDGED = 150


def main(folder: Path) -> None:
    """Tune weights that were set by feel, find nothing more to gain, and ask with other users' queries."""
    rng = random.Random(0)
    documents = read_python_documentation(PACKAGES, processes=1).documents
    # A docstring without its signature, so that a name in a query does not simply match itself.
    texts = {d.id: d.text.partition("\n\n")[2] for d in documents}
    texts = {key: text for key, text in texts.items() if len(text.split()) >= 8}
    by_sentence = judged(texts, lambda key: " ".join(texts[key].split()[:6]), rng)
    by_name = judged(texts, spelled_out, rng)

    with orthant.open(folder / "docs.orthant", encoder="static") as docs:
        docs.upsert(list(texts), texts=list(texts.values()))
        docs.set_fusion({"dense": 0.95, "lexical": 0.05})
        print(f"{len(docs):,} docstrings; somebody felt that meaning should count 0.95\n")

        report = docs.tune_fusion(by_sentence, apply=True)
        print(f"1. {report}\n   applied: {report.applied}\n")
        used = docs.search(next(iter(by_sentence))).plan.fusion
        print(f"2. Every hybrid search now uses {used['weights']}, in other processes as well.")
        print(f"   stats say where they come from: {docs.stats().fusion['source']}\n")

        again = docs.tune_fusion(by_sentence, apply=True, seed=1)
        print(f"3. Once more: {again.sentence}\n   applied: {again.applied}\n")

        docs.reset_fusion()
        names = docs.tune_fusion(by_name)
        print(f"4. Back to the default, and queries that are names of functions:\n   {names.sentence}")
        optimism = names.in_sample - names.held_out
        print(f"   On the queries that chose them the weights look {optimism:.4f} better than on others.")


def judged(texts: dict[str, str], query_of: Callable[[str], str], rng: random.Random) -> dict[str, list[str]]:
    """Return some queries with the ids that answer them."""
    asked: dict[str, list[str]] = {}
    for key in texts:
        asked.setdefault(query_of(key), []).append(key)
    return {query: asked[query] for query in rng.sample(sorted(asked), JUDGED)}


def spelled_out(key: str) -> str:
    """Return the words of a dotted name."""
    parted = re.sub(r"([a-z])([A-Z])", r"\1 \2", key)
    return " ".join(re.split(r"[._ ]+", parted)).lower().strip()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(Path(made))
