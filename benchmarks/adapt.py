"""What ``collection.adapt`` gains on held-out questions, by record and by whole kinds of records, on five real sets.

By the shipped word table, at the defaults, from at most 5,000 pairs of which a fifth judges: nDCG@10 of the dense leg
over all records, three splits each. ``sides="auto"`` judges: what is corrected is chosen for each split by pairs that
are set aside among those to learn from. The arms of one choice for all (``query``, ``both``) are reported beside it.
``nl2code`` is where the defaults were chosen (other splits of it); the others had no say in them: requests to programs
(``smcalflow``, whose kind of record is the outermost operator), questions to answers (``medquad``, the illness), titles
to abstracts (``papers``, venue and year), web queries to functions (``cosqa``, which has none).
``python benchmarks/adapt.py [--only="by kind, auto"] [SET ...]``; minutes of one core.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import orthant
from orthant.datasets import load
from orthant.evaluation.context import run_context

SETS: dict[str, dict[str, Any]] = {
    "nl2code": {"name": "nl2code", "every": 1},
    "smcalflow": {"name": "nl2code", "part": "smcalflow", "every": 1},
    "medquad": {"name": "medquad", "every": 1},
    "papers": {"name": "papers", "every": 1},
    "cosqa": {"name": "cosqa"},
}
SEEDS, MOST_PAIRS, ALPHA = (101, 102, 103), 5_000, 0.05
RESULT = Path(__file__).parent / "results" / "adapt.json"


def kind_of(name: str, document: Any) -> str | None:
    """What is held out whole beside single records."""
    if name == "nl2code":
        return document.content.split("(")[0].split(".")[0]
    if name == "smcalflow":
        return document.content.replace("(Yield ", "", 1).strip("( ").split(" ")[0].rstrip(")")
    if name == "medquad":
        return str((document.metadata.get("cui") or [document.title])[0])
    if name == "papers":
        return f"{document.metadata.get('venue')} {document.metadata.get('year')}"
    return None


def pairs_of(judged: Any, seed: int) -> list[tuple[str, str]]:
    pairs = [(judged.queries[q], d) for q in judged.judged for d, grade in judged.qrels[q].items() if grade > 0]
    order = np.random.default_rng(seed).permutation(len(pairs))[:MOST_PAIRS]
    return [pairs[i] for i in order]


def study(name: str, only: Sequence[str]) -> None:
    settings = dict(SETS[name])
    judged: Any = load(settings.pop("name"), **settings)
    kinds = [kind_of(name, document) for document in judged.corpus]
    with tempfile.TemporaryDirectory() as folder, orthant.open(folder, encoder="static") as collection:
        metadata = [{} if kind is None else {"kind": kind} for kind in kinds]
        texts = [document.content for document in judged.corpus]
        collection.upsert([document.id for document in judged.corpus], texts=texts, metadata=metadata)
        for by, sides in product((None, "kind") if any(kinds) else (None,), ("auto", "query", "both")):
            key = f"by {by or 'record'}, {sides}"
            if only and key not in only:
                continue
            reports = [
                collection.adapt(pairs_of(judged, seed), sides=sides, group_by=by, seed=seed, apply=False)
                for seed in SEEDS
            ]
            found = told(reports)
            print(name, key, found, flush=True)
            store(name, len(texts), len(set(kinds)), {key: found})


def store(name: str, records: int, kinds: int, gains: dict[str, Any]) -> None:
    """Put an arm in place of its former figures, so that a run which is stopped loses only the arm it was at."""
    known = json.loads(RESULT.read_text())["results"] if RESULT.exists() else {}
    merged = {**known.get(name, {}).get("gains", {}), **gains}
    known[name] = {"records": records, "kinds": kinds, "gains": merged}
    RESULT.write_text(json.dumps({"results": known, "context": run_context(seed=SEEDS[0])}, indent=1) + "\n")


def told(reports: Sequence[Any]) -> dict[str, Any]:
    return {
        "sides": [one.sides for one in reports],
        "validated": [{key: round(value, 4) for key, value in one.validated.items()} for one in reports],
        "queries": [one.queries for one in reports],
        "trained_pairs": [one.trained_pairs for one in reports],
        "before": [round(one.before, 4) for one in reports],
        "after": [round(one.after, 4) for one in reports],
        "intervals": [[round(one.low, 4), round(one.high, 4)] for one in reports],
        "p_values": [round(one.p_value, 5) for one in reports],
        "difference": round(float(np.mean([one.difference for one in reports])), 4),
        "significant": all(one.difference > 0 and one.p_value < ALPHA for one in reports),
    }


def main(arguments: Sequence[str]) -> None:
    only = [one.removeprefix("--only=") for one in arguments if one.startswith("--only=")]
    for name in [one for one in arguments if not one.startswith("--")] or SETS:
        study(name, only)


if __name__ == "__main__":
    main(sys.argv[1:])
