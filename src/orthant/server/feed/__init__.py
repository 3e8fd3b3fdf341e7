"""The feed as pages: newest, trending, search, an entry with its neighbours, saved searches, papers with their claims.

Requests of browsers enter; pages without a script leave, with every word of a record escaped.
Never asks another host for anything, and never counts a click anywhere but in the database beside the collection.
Start with `routes`, then `views`.
"""

from __future__ import annotations

from orthant.server.feed.routes import routes

__all__ = ["routes"]
