"""The page: what a person sees of the served collections, and the few routes that only the page needs.

Requests of a browser enter; files, places on a map and reports of documents leave.
Never asks another host for anything, never makes markup of what is stored.
Start with `files`; `static/main.js` is where the page begins.
"""

from __future__ import annotations

from fastapi import APIRouter

from orthant.server.page import files, maps, tools
from orthant.server.service import Service

__all__ = ["routes"]


def routes(service: Service) -> APIRouter:
    """Return the routes of the page.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/``, ``/page/``, and below a collection ``map``, ``map/values`` and ``documents``.
    """
    router = APIRouter()
    for part in (files, maps, tools):
        router.include_router(part.routes(service))
    return router
