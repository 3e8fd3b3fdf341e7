"""Networks in a few bits a weight: weights as low-rank codes, trained, clustered, trained again, and exported.

Trained torch modules, settings and a callback that trains enter; coded matrices, reports and model folders leave.
Never chooses the loss: what a network is for stays with the caller, except for text encoders, which imitate themselves.
Start with `compress`; `text` does it for a sentence encoder, `ranks` says which width to choose.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Compression": "orthant.learn.compression.course",
    "LowRankVQ": "orthant.learn.compression.policy",
    "LowRankWeight": "orthant.learn.compression.parametrisation",
    "compress": "orthant.learn.compression.course",
    "compress_text_encoder": "orthant.learn.compression.text",
    "error_curves": "orthant.learn.compression.ranks",
    "suggest_rank": "orthant.learn.compression.ranks",
}

__all__ = [
    "Compression",
    "LowRankVQ",
    "LowRankWeight",
    "compress",
    "compress_text_encoder",
    "error_curves",
    "suggest_rank",
]

if TYPE_CHECKING:
    from orthant.learn.compression.course import Compression, compress
    from orthant.learn.compression.parametrisation import LowRankWeight
    from orthant.learn.compression.policy import LowRankVQ
    from orthant.learn.compression.ranks import error_curves, suggest_rank
    from orthant.learn.compression.text import compress_text_encoder


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.compression' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
