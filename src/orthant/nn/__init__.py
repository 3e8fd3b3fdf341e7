"""Torch modules that more than one way of training needs: poolings, heads, codebooks.

Tensors enter; tensors leave.
Never trains, never reads data, never imports an encoder or an index.
Start with `poolings`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "Residual": "orthant.nn.residual",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
