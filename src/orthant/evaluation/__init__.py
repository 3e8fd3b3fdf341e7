"""Harnesses that judge encoders, indexes and anything that searches.

Targets that fit a protocol and judged data enter; reports leave.
Never imports a collection, a server or a paper; a missing arm is missing, never zero.
Start with `retrieval`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Association": "intrinsic.bias",
    "DenseSearcher": "dense",
    "DimensionStudy": "ann_study",
    "JudgedVectors": "judged_vectors",
    "LeaderboardReport": "leaderboard",
    "LocalRecall": "ann_study",
    "OrderReport": "ann_study",
    "RetrievalReport": "retrieval",
    "Searcher": "retrieval",
    "Table": "tables",
    "association_test": "intrinsic.bias",
    "compare": "retrieval",
    "compare_orders": "ann_study",
    "direct_bias": "intrinsic.bias",
    "encode_judged": "judged_vectors",
    "evaluate": "retrieval",
    "evaluate_sts": "sts",
    "evaluate_words": "intrinsic.words",
    "hash_data": "context",
    "leaderboard_shift": "leaderboard",
    "read_corpus": "trec",
    "read_qrels": "trec",
    "read_queries": "trec",
    "read_run": "trec",
    "recall_against_dimension": "ann_study",
    "recall_by_local_dimension": "ann_study",
    "remaining_bias": "intrinsic.bias",
    "run_context": "context",
    "tabulate": "tables",
    "weat": "intrinsic.bias",
    "write_qrels": "trec",
    "write_run": "trec",
}

__all__ = [
    "Association",
    "DenseSearcher",
    "DimensionStudy",
    "JudgedVectors",
    "LeaderboardReport",
    "LocalRecall",
    "OrderReport",
    "RetrievalReport",
    "Searcher",
    "Table",
    "association_test",
    "compare",
    "compare_orders",
    "direct_bias",
    "encode_judged",
    "evaluate",
    "evaluate_sts",
    "evaluate_words",
    "hash_data",
    "leaderboard_shift",
    "read_corpus",
    "read_qrels",
    "read_queries",
    "read_run",
    "recall_against_dimension",
    "recall_by_local_dimension",
    "remaining_bias",
    "run_context",
    "tabulate",
    "weat",
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
    from orthant.evaluation.intrinsic.bias import (
        Association,
        association_test,
        direct_bias,
        remaining_bias,
        weat,
    )
    from orthant.evaluation.intrinsic.words import evaluate_words
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
