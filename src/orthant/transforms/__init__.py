"""Vectors to vectors, as scikit-learn estimators.

float32 vectors enter; float32 vectors leave.
Never trains with torch, never touches a collection.
Start with `reduction`; `moments` is what every linear transform learns from.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "LeanVec": "orthant.transforms.leanvec",
    "Layer": "orthant.transforms.layers",
    "Network": "orthant.transforms.network",
    "Reduction": "orthant.transforms.reduction",
    "TokenClusterer": "orthant.transforms.token_clustering",
    "choose_dim": "orthant.transforms.choosing",
    "leanvec_loss": "orthant.transforms.leanvec",
}

__all__ = ["Layer", "LeanVec", "Network", "Reduction", "TokenClusterer", "choose_dim", "leanvec_loss"]

if TYPE_CHECKING:
    from orthant.transforms.choosing import choose_dim
    from orthant.transforms.layers import Layer
    from orthant.transforms.leanvec import LeanVec, leanvec_loss
    from orthant.transforms.network import Network
    from orthant.transforms.reduction import Reduction
    from orthant.transforms.token_clustering import TokenClusterer


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.transforms' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
