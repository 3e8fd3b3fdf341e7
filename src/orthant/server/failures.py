"""Errors as answers: one JSON form, a status for each class, and nothing of the host in the text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from orthant import errors
from orthant.errors import OrthantError, message
from orthant.server.limits import Limits

__all__ = ["ERROR_SCHEMA", "Refusal", "answer", "install", "status_of", "within"]

T = TypeVar("T")
_STATUS: tuple[tuple[type[OrthantError], int], ...] = (
    (errors.NotFoundError, 404),
    (errors.OverloadedError, 503),
    (errors.EncoderMismatchError, 409),
    (errors.StoreReadOnlyError, 409),
    (errors.StoreLockedError, 409),
    (errors.NotFittedError, 409),
    (errors.MissingExtraError, 501),
    (errors.EndpointError, 502),
    (errors.InputError, 400),
)
_UNREAD = frozenset({408, 413, 415})
_TITLES = {400: "InputError", 404: "NotFoundError", 405: "MethodNotAllowed", 413: "InputError", 415: "InputError"}

ERROR_SCHEMA: dict[str, Any] = {
    "description": "Refused: what was given, what was expected, what to do.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["type", "message"],
                        "properties": {
                            "type": {
                                "type": "string",
                                "description": "Class of the error in orthant.errors, or a name.",
                            },
                            "message": {"type": "string"},
                        },
                    }
                },
            }
        }
    },
}
"""The one form of an error, for the OpenAPI document."""


class Refusal(HTTPException):
    """A request that is refused before or beside a collection: no key, too large, too slow.

    Parameters
    ----------
    status : int
        HTTP status.
    kind : str
        The ``type`` of the answer.
    text : str
        Its ``message``.
    headers : mapping of str to str, optional
        Further headers.
    details : mapping, optional
        Further members of ``error``.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        text: str,
        *,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, text, dict(headers or {}))
        self.kind = kind
        self.details = dict(details or {})


def status_of(error: OrthantError) -> int:
    """Return the HTTP status of an error.

    Parameters
    ----------
    error : OrthantError
        What a collection raised.

    Returns
    -------
    int
        500 for damaged or failing files.
    """
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def answer(
    status: int,
    kind: str,
    text: str,
    *,
    headers: Mapping[str, str] | None = None,
    details: Mapping[str, Any] | None = None,
) -> Response:
    """Return an error as a response.

    Parameters
    ----------
    status, kind, text, headers, details
        As in :class:`Refusal`.

    Returns
    -------
    Response
        JSON.
    """
    body = {"error": {"type": kind, "message": text, **(details or {})}}
    return Response(json.dumps(body), status, headers=dict(headers or {}), media_type="application/json")


def install(app: Any, hide: Any) -> None:
    """Let an application answer errors in the one form.

    Parameters
    ----------
    app : FastAPI
        The application.
    hide : callable of str
        Takes paths of the host out of a text.
    """

    async def orthant_error(request: Request, error: Exception) -> Response:
        status = status_of(error) if isinstance(error, OrthantError) else 500
        headers = {"Retry-After": "1"} if status == 503 else {}
        return answer(status, type(error).__name__, hide(str(error)), headers=headers)

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, Refusal):
            # What of such a body was not read would be taken for the next request.
            ends = {"Connection": "close"} if error.status_code in _UNREAD else {}
            headers = {**(error.headers or {}), **ends}
            return answer(error.status_code, error.kind, error.detail, headers=headers, details=error.details)
        if not isinstance(error, HTTPException):
            return answer(400, "InputError", message("a malformed request", "what /docs describes", "compare the two"))
        kind = _TITLES.get(error.status_code, "Refused")
        text = message(f"status {error.status_code}: {error.detail}", "a path and a method of /docs", "look there")
        headers = {**(error.headers or {}), **({"Allow": _allowed(request)} if error.status_code == 405 else {})}
        return answer(error.status_code, kind, text, headers=headers)

    from fastapi.exceptions import RequestValidationError

    app.add_exception_handler(OrthantError, orthant_error)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, refused)


def _allowed(request: Request) -> str:
    """Every method of an address: the router names those of its first route only."""
    asked = {"type": "http", "path": request.scope["path"], "root_path": request.scope.get("root_path", "")}
    found: set[str] = set()
    for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"):
        scope = {**asked, "method": method}
        if any(route.matches(scope)[0] is Match.FULL for route in request.app.routes):
            found.add(method)
    return ", ".join(sorted(found))


async def within(call: Awaitable[T], limits: Limits) -> T:
    """Await a call for as long as one may take.

    Parameters
    ----------
    call : awaitable
        The call; it is cancelled when the time is over.
    limits : Limits
        Bounds.

    Returns
    -------
    object
        What it gave.

    Raises
    ------
    Refusal
        Status 504.
    """
    try:
        # Without the task of its own that `wait_for` makes of every call.
        async with asyncio.timeout(limits.call_timeout_s):
            return await call
    except TimeoutError:
        text = message(f"a call of over {limits.call_timeout_s:g} s", "a shorter one", "ask for less, or again later")
        raise Refusal(504, "TimeoutError", text) from None
