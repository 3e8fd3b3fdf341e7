"""What happens to candidates after retrieval: rerank, diversity, groups, facets, and search by example.

Ranked rows of one query enter, with records, stored vectors and columns; an order, groups and counts leave.
Never retrieves by itself, never writes, and never turns a failing reranker into a score.
Start with `options.StageOptions`, then `pipeline.arrange`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "CrossEncoderReranker": "orthant.collection.stages.rerankers",
    "Facet": "orthant.collection.stages.facets",
    "FunctionReranker": "orthant.collection.stages.rerankers",
    "LLMReranker": "orthant.collection.stages.language_model",
    "RerankError": "orthant.collection.stages.rerankers",
}

__all__ = ["CrossEncoderReranker", "Facet", "FunctionReranker", "LLMReranker", "RerankError"]

if TYPE_CHECKING:
    from orthant.collection.stages.facets import Facet
    from orthant.collection.stages.language_model import LLMReranker
    from orthant.collection.stages.rerankers import CrossEncoderReranker, FunctionReranker, RerankError


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
