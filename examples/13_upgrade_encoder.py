"""Another encoder for a collection that is in use: rehearsed, run, cut over, and taken back.

Run ``python examples/13_upgrade_encoder.py``; it works in a temporary folder and needs no network.
"""

from __future__ import annotations

import re
import tempfile
import zlib
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np

import orthant
from orthant.types import EncodeReport


class HashedWords:
    """The model of yesterday: every word adds one direction, and no word is near another."""

    dim = 128
    fingerprint = "hashed-words:128"
    max_tokens = None

    def encode(self, items: Any, **_: Any) -> np.ndarray:
        """Return the sum of the words' directions, shape (n, 128)."""
        X = np.zeros((len(items), self.dim), dtype=np.float32)
        for x, item in zip(X, items, strict=True):
            for word in re.findall(r"\w+", item.lower()):
                rng = np.random.default_rng(zlib.crc32(word.encode()))
                x += rng.standard_normal(self.dim).astype(np.float32)
        return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-9)

    def encode_with_report(self, items: Any, **_: Any) -> tuple[np.ndarray, EncodeReport]:
        """Return the same with an empty report."""
        return self.encode(items), EncodeReport(items=len(items))


def passages() -> dict[str, str]:
    """Paragraphs of the language reference that comes with Python."""
    found = {}
    for topic, text in sorted(topics.items()):
        for i, paragraph in enumerate(text.split("\n\n")):
            words = paragraph.split()
            if 15 <= len(words) <= 80:
                found[f"{topic}-{i}"] = " ".join(words)
    return dict(list(found.items())[:1500])


def questions(texts: dict[str, str], count: int = 150) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Five words out of a paragraph, which is to be found by them."""
    rng = np.random.default_rng(0)
    queries, judgements = {}, {}
    for key in rng.permutation(sorted(texts))[:count].tolist():
        words = texts[key].split()
        queries[key] = " ".join(words[i] for i in sorted(rng.permutation(len(words))[:5]))
        judgements[key] = {key: 1}
    return queries, judgements


def main() -> None:
    """Go through the whole upgrade."""
    texts = passages()
    queries, judgements = questions(texts)
    with (
        tempfile.TemporaryDirectory() as folder,
        orthant.open(Path(folder) / "reference", encoder=HashedWords()) as reference,
    ):
        reference.upsert(list(texts), texts=list(texts.values()))
        before = reference.search("what a generator yields", mode="dense").ids

        plan = reference.upgrade("static", using="reencode")
        rehearsed = plan.rehearse(queries, judgements)
        print(rehearsed)

        report = plan.run(0.5)
        print(f"half way: {report.share:.0%} encoded again")
        same = reference.search("what a generator yields", mode="dense").ids == before
        print(f"answers are the old ones until the commit: {same}")
        plan.run()
        print(f"committed: {plan.commit().phase}, {reference.spaces['default'].fingerprint[:12]}...")
        print("now:", reference.search("what a generator yields", mode="dense", k=3).ids)

        plan.rollback()
        same = reference.search("what a generator yields", mode="dense").ids == before
        print(f"answers after the rollback are those from before: {same}")


if __name__ == "__main__":
    main()
