"""Harnesses that judge encoders, indexes and anything that searches.

Targets that fit a protocol and judged data enter; reports leave.
Never imports a collection, a server or a paper; a missing arm is missing, never zero.
Start with `retrieval`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "DenseSearcher": "dense",
    "DimensionStudy": "ann_study",
    "JudgedVectors": "judged_vectors",
    "LeaderboardReport": "leaderboard",
    "LocalRecall": "ann_study",
    "OrderReport": "ann_study",
    "RetrievalReport": "retrieval",
    "Searcher": "retrieval",
    "Table": "tables",
    "compare": "retrieval",
    "compare_orders": "ann_study",
    "encode_judged": "judged_vectors",
    "evaluate": "retrieval",
    "evaluate_sts": "sts",
    "hash_data": "context",
    "leaderboard_shift": "leaderboard",
    "read_corpus": "trec",
    "read_qrels": "trec",
    "read_queries": "trec",
    "read_run": "trec",
    "recall_against_dimension": "ann_study",
    "recall_by_local_dimension": "ann_study",
    "run_context": "context",
    "tabulate": "tables",
    "write_qrels": "trec",
    "write_run": "trec",
}

__all__ = [
    "DenseSearcher",
    "DimensionStudy",
    "JudgedVectors",
    "LeaderboardReport",
    "LocalRecall",
    "OrderReport",
    "RetrievalReport",
    "Searcher",
    "Table",
    "compare",
    "compare_orders",
    "encode_judged",
    "evaluate",
    "evaluate_sts",
    "hash_data",
    "leaderboard_shift",
    "read_corpus",
    "read_qrels",
    "read_queries",
    "read_run",
    "recall_against_dimension",
    "recall_by_local_dimension",
    "run_context",
    "tabulate",
    "write_qrels",
    "write_run",
]

if TYPE_CHECKING:
    from orthant.evaluation.ann_study import (
        DimensionStudy,
        LocalRecall,
        OrderReport,
        compare_orders,
        recall_against_dimension,
        recall_by_local_dimension,
    )
    from orthant.evaluation.context import hash_data, run_context
    from orthant.evaluation.dense import DenseSearcher
    from orthant.evaluation.judged_vectors import JudgedVectors, encode_judged
    from orthant.evaluation.leaderboard import LeaderboardReport, leaderboard_shift
    from orthant.evaluation.retrieval import RetrievalReport, Searcher, compare, evaluate
    from orthant.evaluation.sts import evaluate_sts
    from orthant.evaluation.tables import Table, tabulate
    from orthant.evaluation.trec import (
        read_corpus,
        read_qrels,
        read_queries,
        read_run,
        write_qrels,
        write_run,
    )


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
