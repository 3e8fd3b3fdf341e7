"""Filtered nearest-neighbour search over a million token vectors: recall and latency in every cell, against rivals.

Cells: equality, range and set predicates, four selectivities, three relations between filter and query. Then 70,000
short texts under filters on their real attributes: each method swept, by kind of filter and bucket of selectivity.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from ann import make_if_missing
from orthant.datasets.readers.filtered import short_text_filters
from orthant.evaluation.ann.inputs import data_files_hash, index_folder, named_inputs
from orthant.evaluation.filtered.run import run_filtered
from orthant.evaluation.filtered.study import run_study

RESULT = Path(__file__).parent / "results" / "filtered.json"
RECALL = 0.95


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="token_vectors")
    parser.add_argument("--limit", type=int, help="index so many vectors only, for a trial; nothing is written")
    parser.add_argument("--cell-budget-s", type=float, default=1.0)
    parser.add_argument("--study-queries", type=int, default=60, help="queries per kind of filter on real attributes")
    given = parser.parse_args()
    make_if_missing(given.data)
    begin = time.perf_counter()
    with TemporaryDirectory() as folder:
        inputs = named_inputs(given.data, folder=Path(folder), limit=given.limit)
        record = run_filtered(
            inputs,
            recall=RECALL,
            cell_budget_s=given.cell_budget_s,
            judge=200,
            index_folder=index_folder(),
            report=say,
        )
    record["context"]["data"]["files_sha256"] = data_files_hash(given.data)
    record["targets"] = {"recall": RECALL, "speedup": 1.0, "kept_below_asked": 0.01}
    # Real filters on real attributes: every method, other libraries where they are installed.
    if given.limit is None:
        record["study"] = {
            relation: run_study(short_text_filters(relation=relation), queries=given.study_queries, report=say)
            for relation in ("drawn", "own")
        }
    record["seconds"] = round(time.perf_counter() - begin, 1)
    for cell in record["cells"]:
        mine = cell["arms"]["orthant"]
        print(
            f"{cell['relation']:16} {cell['predicate']:8} {cell['selectivity']:6.1%} recall {mine['recall']:.3f}"
            f" {mine['p50_ms']:8.3f} ms, {cell['speedup']} x {cell['best_rival']}",
            file=sys.stderr,
        )
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    if given.limit is None and given.data == "token_vectors":
        RESULT.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
