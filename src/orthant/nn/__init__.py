"""Torch modules that more than one way of training needs: poolings, heads, codebooks.

Tensors enter; tensors leave.
Never trains, never reads data, never imports an encoder or an index.
Start with `poolings`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "DifferentiablePQ": "orthant.nn.codebooks.product",
    "Quantized": "orthant.nn.codebooks.usage",
    "ResidualVQ": "orthant.nn.codebooks.residual",
    "SimVQ": "orthant.nn.codebooks.simvq",
    "VectorQuantizer": "orthant.nn.codebooks.vector",
    "gumbel_softmax": "orthant.nn.functional",
    "measure_usage": "orthant.nn.codebooks.usage",
    "straight_through_one_hot": "orthant.nn.functional",
    "straight_through_round": "orthant.nn.functional",
    "straight_through_sign": "orthant.nn.functional",
}

__all__: list[str] = [
    "DifferentiablePQ",
    "Quantized",
    "ResidualVQ",
    "SimVQ",
    "VectorQuantizer",
    "gumbel_softmax",
    "measure_usage",
    "straight_through_one_hot",
    "straight_through_round",
    "straight_through_sign",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
