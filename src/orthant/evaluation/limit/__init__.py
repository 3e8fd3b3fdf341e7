"""What one vector per text can hold: generated tasks, free vectors, constructions, and arms that are put to them.

Patterns of relevance and encoders enter; retrieval sets, vectors and counts leave.
Never calls a fit a bound: what an optimisation reaches and what a construction reaches are kept apart.
Start with `generate`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "CriticalN": "critical",
    "FreeVectors": "critical",
    "LimitReport": "arms",
    "MultiVectorSearcher": "arms",
    "SignRank": "sign_rank",
    "WordVectors": "arms",
    "compare_arms": "arms",
    "critical_n": "critical",
    "curve_vectors": "sign_rank",
    "fit_free_vectors": "critical",
    "generate": "generating",
    "pattern_rows": "generating",
    "sign_rank_upper_bound": "sign_rank",
}

__all__ = [
    "CriticalN",
    "FreeVectors",
    "LimitReport",
    "MultiVectorSearcher",
    "SignRank",
    "WordVectors",
    "capacity_bound",
    "compare_arms",
    "critical_n",
    "curve_vectors",
    "fit_free_vectors",
    "generate",
    "pattern_rows",
    "sign_rank_upper_bound",
]

if TYPE_CHECKING:
    from orthant.evaluation.limit.arms import LimitReport, MultiVectorSearcher, WordVectors, compare_arms
    from orthant.evaluation.limit.critical import CriticalN, FreeVectors, critical_n, fit_free_vectors
    from orthant.evaluation.limit.generating import generate, pattern_rows
    from orthant.evaluation.limit.sign_rank import SignRank, curve_vectors, sign_rank_upper_bound
    from orthant.measures.capacity import capacity_bound


def __getattr__(name: str) -> Any:
    if name == "capacity_bound":
        # It lives among the measures, since a collection shows it too.
        return importlib.import_module("orthant.measures.capacity").capacity_bound
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
