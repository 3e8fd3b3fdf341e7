"""What training did to weights, gradients and representations.

Model folders, state dicts, modules, batches or vectors enter; tables, JSON and pictures leave.
Never changes a model.
Start with `weight_difference`; `gradients` is what pruning and conflict analysis share.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "GradientConflict": "orthant.learn.analysis.conflict",
    "GradientStatistics": "orthant.learn.analysis.gradients",
    "TensorDifference": "orthant.learn.analysis.weights",
    "WeightDifference": "orthant.learn.analysis.weights",
    "collect_gradients": "orthant.learn.analysis.gradients",
    "fisher_diagonal": "orthant.learn.analysis.gradients",
    "gradient_alignment": "orthant.learn.analysis.gradients",
    "gradient_conflict": "orthant.learn.analysis.conflict",
    "gradient_cosines": "orthant.learn.analysis.gradients",
    "linear_cka": "orthant.learn.analysis.representations",
    "weight_difference": "orthant.learn.analysis.weights",
}

__all__ = [
    "GradientConflict",
    "GradientStatistics",
    "TensorDifference",
    "WeightDifference",
    "collect_gradients",
    "fisher_diagonal",
    "gradient_alignment",
    "gradient_conflict",
    "gradient_cosines",
    "linear_cka",
    "weight_difference",
]

if TYPE_CHECKING:
    from orthant.learn.analysis.conflict import GradientConflict, gradient_conflict
    from orthant.learn.analysis.gradients import (
        GradientStatistics,
        collect_gradients,
        fisher_diagonal,
        gradient_alignment,
        gradient_cosines,
    )
    from orthant.learn.analysis.representations import linear_cka
    from orthant.learn.analysis.weights import TensorDifference, WeightDifference, weight_difference


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.analysis' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
