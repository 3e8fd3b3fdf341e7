"""A collection on a server, with the names and arguments of one that is embedded.

The calls of ``Collection`` enter; requests leave, and their answers come back as objects of the same shape.
Never needs anything but the standard library; the asynchronous one needs httpx.
Start with `connect`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "AsyncRemoteCollection": "orthant.client.asynchronous",
    "Hit": "orthant.client.results",
    "Record": "orthant.client.results",
    "RemoteCollection": "orthant.client.collection",
    "SearchResult": "orthant.client.results",
    "connect": "orthant.client.collection",
    "connect_async": "orthant.client.asynchronous",
}

__all__ = [
    "AsyncRemoteCollection",
    "Hit",
    "Record",
    "RemoteCollection",
    "SearchResult",
    "connect",
    "connect_async",
]

if TYPE_CHECKING:
    from orthant.client.asynchronous import AsyncRemoteCollection, connect_async
    from orthant.client.collection import RemoteCollection, connect
    from orthant.client.results import Hit, Record, SearchResult


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.client' has no attribute {name!r}")
