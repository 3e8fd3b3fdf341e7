"""Collections over HTTP: REST with an OpenAPI document, keys, limits, metrics.

Requests of other programs enter; JSON leaves, with one form for every error.
Never changes what a collection answers, and never lets a request name a path of the host.
Start with `app.create_app`, then `service.Service`, which every router is given.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "KeyFile": "orthant.server.keys",
    "Limits": "orthant.server.limits",
    "Service": "orthant.server.service",
    "background": "orthant.server.running",
    "create_app": "orthant.server.app",
    "serve": "orthant.server.running",
}

__all__ = ["KeyFile", "Limits", "Service", "background", "create_app", "serve"]

if TYPE_CHECKING:
    from orthant.server.app import create_app
    from orthant.server.keys import KeyFile
    from orthant.server.limits import Limits
    from orthant.server.running import background, serve
    from orthant.server.service import Service


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.server' has no attribute {name!r}")
