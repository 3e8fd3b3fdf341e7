"""Regularisers: terms added to any loss that shape the embeddings or the last layer, whatever the task is.

Embeddings, labels or weights enter as torch tensors; a scalar to add leaves.
Never a loss alone, never changes a model itself, never reads data.
Start with `interface`, which adds them to a loss.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Alignment": "orthant.learn.losses.regularisers.spread",
    "Brownian": "orthant.learn.losses.regularisers.dispersion",
    "EnergyConfusion": "orthant.learn.losses.regularisers.confusion",
    "EntropyCost": "orthant.learn.losses.regularisers.weights",
    "InitialDistance": "orthant.learn.losses.regularisers.weights",
    "KoLeo": "orthant.learn.losses.regularisers.spread",
    "Orthogonality": "orthant.learn.losses.regularisers.weights",
    "Regulariser": "orthant.learn.losses.regularisers.interface",
    "RowNorm": "orthant.learn.losses.regularisers.weights",
    "SingularValue": "orthant.learn.losses.regularisers.dispersion",
    "SpreadOut": "orthant.learn.losses.regularisers.spread",
    "Uniformity": "orthant.learn.losses.regularisers.spread",
    "VarianceCovariance": "orthant.learn.losses.regularisers.dispersion",
    "WithRegularisers": "orthant.learn.losses.regularisers.interface",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.losses.regularisers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
