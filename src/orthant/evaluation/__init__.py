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
    "RetrievalReport": "retrieval",
    "Searcher": "retrieval",
    "Table": "tables",
    "compare": "retrieval",
    "evaluate": "retrieval",
    "evaluate_sts": "sts",
    "hash_data": "context",
    "read_corpus": "trec",
    "read_qrels": "trec",
    "read_queries": "trec",
    "read_run": "trec",
    "run_context": "context",
    "tabulate": "tables",
    "write_qrels": "trec",
    "write_run": "trec",
}

__all__ = [
    "DenseSearcher",
    "RetrievalReport",
    "Searcher",
    "Table",
    "compare",
    "evaluate",
    "evaluate_sts",
    "hash_data",
    "read_corpus",
    "read_qrels",
    "read_queries",
    "read_run",
    "run_context",
    "tabulate",
    "write_qrels",
    "write_run",
]

if TYPE_CHECKING:
    from orthant.evaluation.context import hash_data, run_context
    from orthant.evaluation.dense import DenseSearcher
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
