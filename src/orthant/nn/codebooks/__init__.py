"""Codebooks that are trained: torch twins of the product and residual quantizers, behind one interface.

Vectors of shape (..., d) enter; a `Quantized` with values, codes, loss and usage leaves.
Never serves codes: what was trained goes to `orthant.quantization` and back, with the same codes.
Start with `vector`; `usage` says how many codes live.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "DifferentiablePQ": "orthant.nn.codebooks.product",
    "Quantized": "orthant.nn.codebooks.usage",
    "ResidualVQ": "orthant.nn.codebooks.residual",
    "SimVQ": "orthant.nn.codebooks.simvq",
    "VectorQuantizer": "orthant.nn.codebooks.vector",
    "measure_usage": "orthant.nn.codebooks.usage",
    "nearest_codes": "orthant.nn.codebooks.assignment",
}

__all__ = [
    "DifferentiablePQ",
    "Quantized",
    "ResidualVQ",
    "SimVQ",
    "VectorQuantizer",
    "measure_usage",
    "nearest_codes",
]

if TYPE_CHECKING:
    from orthant.nn.codebooks.assignment import nearest_codes
    from orthant.nn.codebooks.product import DifferentiablePQ
    from orthant.nn.codebooks.residual import ResidualVQ
    from orthant.nn.codebooks.simvq import SimVQ
    from orthant.nn.codebooks.usage import Quantized, measure_usage
    from orthant.nn.codebooks.vector import VectorQuantizer


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.nn.codebooks' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
