"""Training with torch: makes better encoders, transforms, quantizers and tables.

Rows, texts or vectors enter; artefacts in safetensors and JSON, or sentence-transformers folders, leave.
Never needed to serve what it made: that runs on NumPy, Numba or onnxruntime.
Start with `training`: a `Curriculum` of `Stage`s.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "ContrastiveLoss": "orthant.learn.losses.contrastive",
    "ContrastiveSettings": "orthant.learn.losses.settings",
    "DistillationLoss": "orthant.learn.losses.distillation",
    "EmbeddingDistillation": "orthant.learn.losses.distillation",
    "GradCache": "orthant.learn.gradcache",
    "LossOutput": "orthant.learn.losses.protocol",
    "MaxSimContrastiveLoss": "orthant.learn.losses.late_interaction",
    "TextContrastiveLoss": "orthant.learn.losses.text",
    "TextDistillationLoss": "orthant.learn.losses.text",
    "TextMaxSimLoss": "orthant.learn.losses.text",
    "maxsim_scores": "orthant.learn.losses.late_interaction",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
