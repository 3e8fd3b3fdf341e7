"""The files of the page, read once; everything else about it happens in the browser."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from orthant.errors import message
from orthant.server.failures import Refusal
from orthant.server.service import Service

__all__ = ["POLICY", "routes"]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing from elsewhere, nothing inline, and no text that becomes markup: the browser refuses it."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def _read() -> dict[str, tuple[bytes, str, str]]:
    out: dict[str, tuple[bytes, str, str]] = {}
    for file in (files("orthant.server.page") / "static").iterdir():
        kind = _TYPES.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            body = file.read_bytes()
            out[file.name] = (body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return out


def routes(service: Service) -> APIRouter:
    """Return the routes of the page's files, which need no key: they hold nothing of a collection.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/`` and ``/page/{file}``.
    """
    router = APIRouter(include_in_schema=False)
    held = _read()
    service.public |= {"/", "/page", "/page/", "/favicon.ico"}

    @router.get("/")
    @router.get("/page")
    async def home() -> Response:
        return RedirectResponse("/page/", 307)

    @router.get("/favicon.ico")
    async def icon() -> Response:
        return RedirectResponse("/page/icon.svg", 307)

    @router.get("/page/")
    @router.get("/page/{file}")
    async def page(request: Request, file: str = "index.html") -> Response:
        # A look-up by name: no path is ever made of what was asked for.
        if file not in held:
            raise Refusal(404, "NotFoundError", message("a file that the page does not have", "/page/", "look there"))
        body, kind, tag = held[file]
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Content-Security-Policy": POLICY}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type=kind, headers=headers)

    return router
