"""Codes of 1, 2 or 4 bits for each dimension, compared with each other or with float queries.

Vectors enter; packed codes leave, and scores against them.
Never trains with torch: what `orthant.learn.train_recurrent_binary` made is read and served here.
Start with `signs`; `grid` is what all kinds share, `scan` searches their codes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "CodeScan": "orthant.quantization.binary.scan",
    "GridQuantizer": "orthant.quantization.binary.grid",
    "ITQ": "orthant.quantization.binary.signs",
    "RaBitQ": "orthant.quantization.binary.rabitq",
    "RecurrentBinary": "orthant.quantization.binary.recurrent",
    "SignCodes": "orthant.quantization.binary.signs",
}

__all__ = ["ITQ", "CodeScan", "GridQuantizer", "RaBitQ", "RecurrentBinary", "SignCodes"]

if TYPE_CHECKING:
    from orthant.quantization.binary.grid import GridQuantizer
    from orthant.quantization.binary.rabitq import RaBitQ
    from orthant.quantization.binary.recurrent import RecurrentBinary
    from orthant.quantization.binary.scan import CodeScan
    from orthant.quantization.binary.signs import ITQ, SignCodes


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.quantization.binary' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
