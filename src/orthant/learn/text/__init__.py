"""Text models out of parts: a transformer, a pooling or token reducer, a projection.

Folders and settings enter; sentence-transformers models leave, and save as plain sentence-transformers folders.
Never trains, never downloads anything.
Start with `encoder.build_text_encoder`; `backbone` loads what it is built on, `multivector` keeps a vector per token.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "BiGranular": "orthant.learn.text.bi_granular",
    "BiGranularTrainer": "orthant.learn.text.bi_granular",
    "PoolingModule": "orthant.learn.text.modules",
    "ReducerModule": "orthant.learn.text.modules",
    "attends_both_ways": "orthant.learn.text.backbone",
    "build_text_encoder": "orthant.learn.text.encoder",
    "build_token_encoder": "orthant.learn.text.multivector",
    "load_backbone": "orthant.learn.text.backbone",
    "load_text_model": "orthant.learn.text.encoder",
    "minilm_backbone": "orthant.learn.text.backbone",
    "train_aspect_encoder": "orthant.learn.text.aspects.encoder",
    "train_aspect_heads": "orthant.learn.text.aspects.heads",
    "train_concepts": "orthant.learn.text.explicit.training",
}

__all__ = [
    "BiGranular",
    "BiGranularTrainer",
    "PoolingModule",
    "ReducerModule",
    "attends_both_ways",
    "build_text_encoder",
    "build_token_encoder",
    "load_backbone",
    "load_text_model",
    "minilm_backbone",
    "train_aspect_encoder",
    "train_aspect_heads",
    "train_concepts",
]

if TYPE_CHECKING:
    from orthant.learn.text.aspects.encoder import train_aspect_encoder
    from orthant.learn.text.aspects.heads import train_aspect_heads
    from orthant.learn.text.backbone import attends_both_ways, load_backbone, minilm_backbone
    from orthant.learn.text.bi_granular import BiGranular, BiGranularTrainer
    from orthant.learn.text.encoder import build_text_encoder, load_text_model
    from orthant.learn.text.explicit.training import train_concepts
    from orthant.learn.text.modules import PoolingModule, ReducerModule
    from orthant.learn.text.multivector import build_token_encoder


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.text' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
