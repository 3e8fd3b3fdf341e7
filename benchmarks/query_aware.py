"""What queries from elsewhere read in a graph, before and after it was suited to others of their kind.

    python benchmarks/query_aware.py [minilm_short_texts] [newsgroups_chunks] [token_vectors]

Counts only, so it may run beside other work. Arms of one graph: as it is; suited to queries from elsewhere
(`Graph.tune`); the same links from as many rows of the data (ablated, and not refused). Alternatives that are built
anew: half as many links again, which take more memory, and the queries learned from as vectors of the graph, which are
passed over in the answers. No judged query was learned from.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from orthant.evaluation.ann.inputs import AnnInputs, named_inputs
from orthant.evaluation.context import run_context
from orthant.index import Flat, Graph
from orthant.index.vamana import query_tuning
from orthant.kernels.warmup import wait
from orthant.measures import recall_at_k

RESULT = Path(__file__).parent / "results" / "query_aware.json"
SETS = ("minilm_short_texts", "newsgroups_chunks", "token_vectors")
LEARNED, JUDGED = 2500, 500
EFFORTS = (10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 448, 640, 896, 1280, 1792)
RECALLS = (0.9, 0.95, 0.99)
NEAR = 0.75


def main(names: tuple[str, ...]) -> None:
    wait("graph")
    wait("build")
    record = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"sets": {}}
    for name in names:
        begin = time.perf_counter()
        with TemporaryDirectory() as folder:
            inputs = named_inputs(name, folder=Path(folder), tune=LEARNED, judge=JUDGED)
            record["sets"][name] = measured(inputs)
        record["sets"][name]["seconds"] = round(time.perf_counter() - begin, 1)
        RESULT.write_text(json.dumps(record, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        print(name, json.dumps(record["sets"][name]["arms"]), file=sys.stderr)


def measured(inputs: AnnInputs) -> dict[str, Any]:
    rows, learned = np.asarray(inputs.base), inputs.queries["out"].tune
    truth = {}
    flat = Flat(rows.shape[1], inputs.metric)
    flat.add(rows)
    for kind, split in inputs.queries.items():
        truth[kind] = flat.search(split.judge, 10).ids
    arms: dict[str, Any] = {}

    def judge(name: str, graph: Graph) -> None:
        arms[name] = {kind: curve(graph, split.judge, truth[kind], len(rows)) for kind, split in inputs.queries.items()}

    graph = built(rows, inputs)
    judge("as it is", graph)
    report = graph.tune(learned)
    judge("suited to queries", graph)
    # Queries of one log resemble each other: what is left where none that is judged has a near twin among the learned.
    judged = inputs.queries["out"].judge
    apart = (unit(learned) @ unit(judged).T).max(axis=1) < NEAR
    graph = built(rows, inputs)
    graph.tune(learned[apart])
    judge("suited to queries, none like a judged one", graph)
    graph = built(rows, inputs)
    least, query_tuning._LEAST_GAIN = query_tuning._LEAST_GAIN, -np.inf
    try:
        graph.tune(rows[np.random.default_rng(0).choice(len(rows), len(learned), replace=False)])
    finally:
        query_tuning._LEAST_GAIN = least
    judge("ablated: rows in place of queries", graph)
    judge("half as many links again", built(rows, inputs, degree=48, beam=100))
    judge("queries as vectors", built(np.concatenate([rows, learned]), inputs))
    return {"report": report.as_dict() if report else None, "arms": arms, **context(inputs)}


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def built(rows: np.ndarray, inputs: AnnInputs, **settings: Any) -> Graph:
    return Graph.over([(rows, np.arange(len(rows)))], dim=rows.shape[1], metric=inputs.metric, **settings)


def curve(graph: Graph, queries: np.ndarray, truth: np.ndarray, rows: int) -> dict[str, Any]:
    """Comparisons, codes and kilobytes per query at each recall; None where no effort reaches it."""
    points = []
    for effort in EFFORTS:
        hits = graph.search(queries, 20 if len(graph) > rows else 10, effort=effort)
        ids = np.stack([np.append(row[row < rows], np.full(10, -1))[:10] for row in hits.ids])
        cost = hits.cost
        figures = (cost.distances, cost.details["compared"], cost.bytes_read / 1000)
        points.append((recall_at_k(ids, truth), *(figure / len(queries) for figure in figures)))
        if points[-1][0] > 0.995:
            break
    table = np.array(points)
    recalls = np.maximum.accumulate(table[:, 0])
    out: dict[str, Any] = {}
    for wanted in RECALLS:
        names = ("comparisons", "codes", "kilobytes")
        reached = recalls[-1] >= wanted
        at = [round(float(np.exp(np.interp(wanted, recalls, np.log(table[:, i])))), 1) for i in (1, 2, 3)]
        out[str(wanted)] = dict(zip(names, at, strict=True)) if reached else None
    return out


def context(inputs: AnnInputs) -> dict[str, Any]:
    return {"context": {**run_context(data_hash=inputs.data_sha256), "data": inputs.name}}


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or SETS)
