"""Stages of training, run one after the other, resumable after a kill: one way to train everything.

A model, tables of rows and factories of losses enter; the model, trained, and a plain table of what happened leave.
Never defines a loss or a sampler, never reads a file of data, never writes a pickle.
Start with `stage` and `curriculum`; `run` is what happens in one step, whoever computes the loss.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Callback": "orthant.learn.training.callbacks",
    "Curriculum": "orthant.learn.training.curriculum",
    "EMATeacher": "orthant.learn.training.ema",
    "History": "orthant.learn.training.history",
    "LoRA": "orthant.learn.training.lora",
    "Stage": "orthant.learn.training.stage",
    "TorchLoop": "orthant.learn.training.loop",
    "TrainingRun": "orthant.learn.training.run",
    "Validation": "orthant.learn.training.validation",
    "read_checkpoint": "orthant.learn.training.checkpoints",
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
    "read_checkpoint",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.training' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
