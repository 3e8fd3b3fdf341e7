"""Classes on fixed directions: one classifier, or a model that goes on learning while what it encoded stays of use.

Vectors with labels enter, task by task; networks that NumPy serves, one generation per task, leave.
Never encodes texts, never touches an index: galleries are whatever was encoded with a generation.
Start with `classifier` for one training and with `trainer` for a sequence of them.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "CompatibilityReport": "orthant.learn.continual.generations",
    "ContinualTrainer": "orthant.learn.continual.trainer",
    "FixedPrototypeClassifier": "orthant.learn.continual.classifier",
    "Generation": "orthant.learn.continual.generations",
    "RehearsalMemory": "orthant.learn.continual.memory",
    "TrainedPrototypeHead": "orthant.learn.continual.objective",
    "template_accuracy": "orthant.learn.continual.generations",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.continual' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
