"""Whether the server lives, whether it is ready, and its figures."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from orthant.errors import message
from orthant.server.answers.shapes import ReadyAnswer, StateAnswer
from orthant.server.failures import Refusal
from orthant.server.routes.requests import json_answer
from orthant.server.service import Service

__all__ = ["routes"]


def routes(service: Service) -> APIRouter:
    """Return the routes that watch the server.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/healthz``, ``/readyz`` and ``/metrics``.
    """
    router = APIRouter(tags=["server"])

    @router.get("/healthz", response_model=StateAnswer)
    async def healthz() -> Response:
        """Answer as long as the process does."""
        return json_answer({"status": "alive"})

    @router.get("/readyz", response_model=ReadyAnswer)
    async def readyz() -> Response:
        """Answer 200 while the collections are open, and 503 before and after.

        While `preparing` is true graphs are being loaded or code compiled: searches are answered, and slowly.
        """
        if not service.ready:
            raise Refusal(503, "NotReady", message("a server that starts or stops", "a ready one", "try again"))
        return json_answer({"status": "ready", "preparing": service.preparing})

    @router.get("/metrics", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        """Return figures in the text format of Prometheus; needs a key that may read every collection."""
        service.require(request, "*", "read")
        text = service.metrics.text(await service.figures())
        return Response(text, media_type="text/plain; version=0.0.4")

    return router
