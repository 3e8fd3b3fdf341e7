"""Pictures and texts in one space, learned from pairs.

Pictures with texts enter; a `PictureTextEncoder` that NumPy serves leaves.
Never reads files of pictures, never downloads a model.
Start with `picture_text.train_picture_text`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {"train_picture_text": "orthant.learn.multimodal.picture_text"}

__all__ = ["train_picture_text"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.multimodal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
