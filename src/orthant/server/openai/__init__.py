"""Embeddings and reranking under the addresses and shapes that clients of OpenAI, Cohere and Jina know.

Texts enter; vectors, or an order of texts, leave.
Never cuts a text, shortens a vector or picks another model unless the request says so.
Start with `routing.routes`, then `models`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {"Models": "models", "ServedModel": "models", "embed": "embeddings", "rank": "ranking", "routes": "routing"}

__all__ = ["Models", "ServedModel", "embed", "rank", "routes"]

if TYPE_CHECKING:
    from orthant.server.openai.embeddings import embed
    from orthant.server.openai.models import Models, ServedModel
    from orthant.server.openai.ranking import rank
    from orthant.server.openai.routing import routes


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"orthant.server.openai.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'orthant.server.openai' has no attribute {name!r}")
