"""What guides image generators: their text vectors, changed on the way.

A pipeline of the diffusers kind and prompts enter; the same pipeline leaves, with a hook that can be taken off.
Never downloads a model, never changes a weight.
Start with `decor`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "DecorHook": "orthant.learn.generative.decor",
    "apply_decor": "orthant.learn.generative.decor",
}

__all__ = ["DecorHook", "apply_decor"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.generative' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
