"""Training with torch: makes better encoders, transforms, quantizers and tables.

Rows, texts or vectors enter; artefacts in safetensors and JSON, or sentence-transformers folders, leave.
Never needed to serve what it made: that runs on NumPy, Numba or onnxruntime.
Start with `training`: a `Curriculum` of `Stage`s.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "GradientConflict": "orthant.learn.analysis.conflict",
    "GradientStatistics": "orthant.learn.analysis.gradients",
    "LearnedMerge": "orthant.learn.merging.functional",
    "TaskVector": "orthant.learn.merging.task_vectors",
    "WeightDifference": "orthant.learn.analysis.weights",
    "collect_gradients": "orthant.learn.analysis.gradients",
    "fisher_diagonal": "orthant.learn.analysis.gradients",
    "gradient_conflict": "orthant.learn.analysis.conflict",
    "greedy_soup": "orthant.learn.merging.merge",
    "linear_cka": "orthant.learn.analysis.representations",
    "merge_models": "orthant.learn.merging.merge",
    "merged_state": "orthant.learn.merging.merge",
    "prune_folder": "orthant.learn.pruning.folders",
    "structured_masks": "orthant.learn.pruning.masks",
    "unstructured_masks": "orthant.learn.pruning.masks",
    "weight_difference": "orthant.learn.analysis.weights",
}

__all__: list[str] = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
