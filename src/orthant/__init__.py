"""Orthant: the whole life of a vector embedding, from making it to replacing it.

Names are loaded on demand, so importing the package costs little more than importing NumPy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "AsyncCollection": "orthant.collection.asynchronous.wrapper",
    "Collection": "orthant.collection.collection",
    "Flat": "orthant.index.flat",
    "Hit": "orthant.collection.results",
    "SearchResult": "orthant.collection.results",
    "load_artifact": "orthant.artifact",
    "load_encoder": "orthant.encoders.registry",
    "open": "orthant.collection.opening",
    "open_async": "orthant.collection.asynchronous.wrapper",
}
_MODULES = (
    "collection",
    "datasets",
    "encoders",
    "errors",
    "evaluation",
    "index",
    "measures",
    "papers",
    "quantization",
    "transforms",
    "types",
)

__all__ = [
    "AsyncCollection",
    "Collection",
    "Flat",
    "Hit",
    "SearchResult",
    "__version__",
    "load_artifact",
    "load_encoder",
    "open",
    "open_async",
]

if TYPE_CHECKING:
    from orthant.artifact import load_artifact
    from orthant.collection.asynchronous.wrapper import AsyncCollection, open_async
    from orthant.collection.collection import Collection
    from orthant.collection.opening import open
    from orthant.collection.results import Hit, SearchResult
    from orthant.encoders.registry import load_encoder
    from orthant.index.flat import Flat


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"orthant.{name}")
    raise AttributeError(f"module 'orthant' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
