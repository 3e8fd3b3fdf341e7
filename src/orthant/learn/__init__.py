"""Training with torch: makes better encoders, transforms, quantizers and tables.

Rows, texts or vectors enter; artefacts in safetensors and JSON, or sentence-transformers folders, leave.
Never needed to serve what it made: that runs on NumPy, Numba or onnxruntime.
Start with `training`: a `Curriculum` of `Stage`s.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "Callback": "orthant.learn.training.callbacks",
    "Curriculum": "orthant.learn.training.curriculum",
    "EMATeacher": "orthant.learn.training.ema",
    "History": "orthant.learn.training.history",
    "LoRA": "orthant.learn.training.lora",
    "Stage": "orthant.learn.training.stage",
    "TorchLoop": "orthant.learn.training.loop",
    "TrainingRun": "orthant.learn.training.run",
    "Validation": "orthant.learn.training.validation",
}

__all__ = [
    "Callback",
    "Curriculum",
    "EMATeacher",
    "History",
    "LoRA",
    "Stage",
    "TorchLoop",
    "TrainingRun",
    "Validation",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
