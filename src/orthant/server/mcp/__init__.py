"""Collections as tools of agents: the Model Context Protocol over standard input and output, and over HTTP.

Messages of JSON-RPC enter, one at a time; replies leave. The protocol is spoken here, so no package is needed for it.
Never keeps anything between two messages, and never writes unless the operator allowed it.
Start with `tools`, then `protocol`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {"Toolbox": "tools", "routes": "http", "serve_stdio": "stdio", "take": "protocol"}

__all__ = ["Toolbox", "routes", "serve_stdio", "take"]

if TYPE_CHECKING:
    from orthant.server.mcp.http import routes
    from orthant.server.mcp.protocol import take
    from orthant.server.mcp.stdio import serve_stdio
    from orthant.server.mcp.tools import Toolbox


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"orthant.server.mcp.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'orthant.server.mcp' has no attribute {name!r}")
