"""Nearest neighbours among vectors with int64 ids.

Vectors, ids and row sets enter; `Hits` leave.
Never sees documents, where-expressions or encoders.
Start with `flat`, the oracle of every other index.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "CodeIndex": "orthant.index.codes",
    "Flat": "orthant.index.flat",
    "Graph": "orthant.index.graph",
    "MultiVector": "orthant.index.multivector.index",
    "QueryTuning": "orthant.index.vamana.query_tuning",
    "IVF": "orthant.index.ivf.index",
    "TwoTier": "orthant.index.two_tier",
    "insertion_order": "orthant.index.ordering",
    "local_dimensions": "orthant.index.ordering",
    "to_faiss": "orthant.index.export",
    "to_hnswlib": "orthant.index.export",
}

__all__ = [
    "IVF",
    "CodeIndex",
    "Flat",
    "Graph",
    "MultiVector",
    "QueryTuning",
    "TwoTier",
    "insertion_order",
    "local_dimensions",
    "to_faiss",
    "to_hnswlib",
]

if TYPE_CHECKING:
    from orthant.index.codes import CodeIndex
    from orthant.index.export import to_faiss, to_hnswlib
    from orthant.index.flat import Flat
    from orthant.index.graph import Graph
    from orthant.index.ivf.index import IVF
    from orthant.index.multivector.index import MultiVector
    from orthant.index.ordering import insertion_order, local_dimensions
    from orthant.index.two_tier import TwoTier
    from orthant.index.vamana.query_tuning import QueryTuning


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.index' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
