"""Smaller forms of vectors that are there already: trained on vectors, without the model that made them.

Arrays enter; quantizers that NumPy serves leave.
Never encodes texts, never touches an index.
Start with `binary`, or `vq` for inverted files.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "distill_vq": "orthant.learn.distillation.vq",
    "train_recurrent_binary": "orthant.learn.distillation.binary",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.distillation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
