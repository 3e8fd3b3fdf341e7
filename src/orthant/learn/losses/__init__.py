"""Losses: metric learning over pairs, triplets and proxies, and regularisers for any of them.

Embeddings, tokens or scores enter as torch tensors; a scalar to minimise and its parts leave.
Never reads data, never owns an optimiser, never moves a model.
Start with `metric`; `regularisers` are added to its losses.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "LossOutput": "orthant.learn.losses.protocol",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.losses' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
