"""Vectors to codes, as scikit-learn estimators.

float32 vectors enter; uint8 codes leave, and scores against codes.
Never stores, never searches a structure.
Start with `scalar` and `lvq`, or `product` and `binary` for less; `report` says what each choice costs on your vectors.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "CodeScan": "orthant.quantization.binary.scan",
    "ITQ": "orthant.quantization.binary.signs",
    "RaBitQ": "orthant.quantization.binary.rabitq",
    "RecurrentBinary": "orthant.quantization.binary.recurrent",
    "SignCodes": "orthant.quantization.binary.signs",
    "Candidate": "orthant.quantization.comparing",
    "CompressionReport": "orthant.quantization.comparing",
    "CodeUsage": "orthant.quantization.usage",
    "IVFCodec": "orthant.quantization.inverted",
    "LVQ": "orthant.quantization.lvq",
    "LowRankVQMatrix": "orthant.quantization.lowrank",
    "ProductQuantizer": "orthant.quantization.product",
    "ResidualQuantizer": "orthant.quantization.residual",
    "SQ8": "orthant.quantization.scalar",
    "report": "orthant.quantization.comparing",
}

__all__ = [
    "ITQ",
    "IVFCodec",
    "LVQ",
    "SQ8",
    "Candidate",
    "CodeScan",
    "CodeUsage",
    "CompressionReport",
    "LowRankVQMatrix",
    "ProductQuantizer",
    "RaBitQ",
    "RecurrentBinary",
    "ResidualQuantizer",
    "SignCodes",
    "report",
]

if TYPE_CHECKING:
    from orthant.quantization.binary.rabitq import RaBitQ
    from orthant.quantization.binary.recurrent import RecurrentBinary
    from orthant.quantization.binary.scan import CodeScan
    from orthant.quantization.binary.signs import ITQ, SignCodes
    from orthant.quantization.comparing import Candidate, CompressionReport, report
    from orthant.quantization.inverted import IVFCodec
    from orthant.quantization.lowrank import LowRankVQMatrix
    from orthant.quantization.lvq import LVQ
    from orthant.quantization.product import ProductQuantizer
    from orthant.quantization.residual import ResidualQuantizer
    from orthant.quantization.scalar import SQ8
    from orthant.quantization.usage import CodeUsage


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.quantization' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
