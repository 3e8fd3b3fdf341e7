"""Retrieval quality as ``orthant eval`` prints it: every search mode with its default settings.

python benchmarks/retrieval.py
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from orthant.cli.evaluate import eval_command
from orthant.datasets.registry import data_hash, load_retrieval
from orthant.evaluation.context import run_context

SETS = {"cranfield": {}, "npl": {}, "cisi": {}, "cosqa": {"split": "test"}}
MODES = ("lexical", "dense", "hybrid")
METRIC = "ndcg@10"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="static")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "retrieval.json"))
    options = parser.parse_args()
    sets: dict[str, dict[str, float]] = {}
    for name, settings in SETS.items():
        judged = load_retrieval(name, **settings)
        sets[name] = {}
        for mode in MODES:
            report = eval_command(judged, encoder=options.encoder, mode=mode, metrics=[METRIC])
            sets[name][mode] = report.metrics[METRIC]
        print(name, sets[name], file=sys.stderr)
    hashes = {name: data_hash(name) for name in SETS}
    result = {"metric": METRIC, "encoder": options.encoder, "sets": sets, "data_sha256": hashes}
    result["context"] = run_context(seed=0, data_hash=None)
    Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key != "context"}, indent=1))


if __name__ == "__main__":
    main()
