"""What stands before every route: whose key, from where, how large, how slow; and what is told and counted after."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from orthant.errors import OrthantError, message
from orthant.server.failures import Refusal, answer, status_of
from orthant.server.metrics import LOGGER
from orthant.server.service import Service

__all__ = ["Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
)
_STREAMED = "/bulk"
_TRACED = (b"traceparent", b"tracestate")


class Guard:
    """An ASGI application around the routes.

    It refuses before a body is read: a wrong name of the host where there are no keys (a page elsewhere could point a
    name of its own at this machine), a write that a page of another origin sends, a key that is not known, a body that
    is announced too large. While a body is read it counts bytes and seconds. It answers what nobody caught, and counts
    and logs every request by its route, never by what the client wrote.

    Parameters
    ----------
    app : ASGI application
        The routes.
    service : Service
        Keys, limits, figures.
    """

    def __init__(self, app: Any, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:
                # There are no websockets here; ending one before it is accepted is status 403.
                await send({"type": "websocket.close", "code": 1008})
            return
        started, metrics = time.perf_counter(), self._service.metrics
        reply = _Reply(send)
        metrics.in_flight += 1
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _TRACED}
        try:
            with self._service.tracing.request(scope["method"], headers) as span:
                try:
                    await self._guarded(scope, receive, reply)
                finally:
                    self._service.tracing.answered(span, scope["method"], _route(scope), reply.status or 499)
        finally:
            metrics.in_flight -= 1
            seconds = time.perf_counter() - started
            route, status = _route(scope), reply.status or 499
            metrics.request(scope["method"], route, status, seconds)
            grant = scope.get("orthant.grant")
            method = scope["method"] if scope["method"].isalpha() else "other"
            key = "-" if grant is None else grant.key
            LOGGER.info("%s %s %d %.1f ms key=%s", method[:12], route, status, 1e3 * seconds, key)

    async def _guarded(self, scope: Scope, receive: Receive, reply: _Reply) -> None:
        try:
            headers = _single(scope)
            self._check_origin(scope, headers)
            if not self._is_public(scope["path"]):
                scope["orthant.grant"] = self._service.admit(headers.get(b"authorization"))
            body = _Body(receive, self._service.limits, headers, streamed=scope["path"].endswith(_STREAMED))
            await self._app(scope, body, reply)
        except Refusal as refusal:
            await self._refuse(
                scope, reply, refusal.status_code, refusal.kind, str(refusal.detail), dict(refusal.headers or {})
            )
        except OrthantError as error:
            await self._refuse(scope, reply, status_of(error), type(error).__name__, self._service.hide(str(error)), {})
        except Exception as error:  # noqa: BLE001 - what nobody foresaw still gets an answer of the one form
            # The text of an unforeseen error may hold what a client wrote: the place says enough.
            frames = traceback.extract_tb(error.__traceback__)[-3:]
            places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
            LOGGER.error("unexpected %s at %s", type(error).__name__, places)
            text = message("an unexpected error", "an answer", "report it with the server's log, which names the place")
            await self._refuse(scope, reply, 500, "InternalError", text, {})

    def _is_public(self, path: str) -> bool:
        # "/" is the entrance alone; everything lies below it.
        return any(
            path == one or (one != "/" and one.endswith("/") and path.startswith(one)) for one in self._service.public
        )

    def _check_origin(self, scope: Scope, headers: dict[bytes, str]) -> None:
        host = headers.get(b"host", "").lower()
        if self._service.keys is None and _without_port(host) not in _LOCAL:
            text = message("another name of this host", "localhost or 127.0.0.1", "use it, or serve with keys")
            raise Refusal(421, "Misdirected", text)
        origin = headers.get(b"origin")
        foreign = origin is not None and origin.lower().partition("://")[2] != host
        foreign = foreign or headers.get(b"sec-fetch-site") == "cross-site"
        if foreign and scope["method"] not in _SAFE:
            text = message("a write that a page of another origin sends", "a page of this server", "use a client")
            raise Refusal(403, "CrossOrigin", text)

    async def _refuse(
        self, scope: Scope, reply: _Reply, status: int, kind: str, text: str, headers: dict[str, str]
    ) -> None:
        if reply.status:
            # The answer is under way; cutting it off is the only way left to say that it is not whole.
            raise ConnectionAbortedError(kind)
        # What of the body was not read would be taken for the next request.
        response = answer(status, kind, text, headers={**headers, "Connection": "close"})
        await response(scope, _nothing, reply)


class _Reply:
    """Passes an answer on with the headers that every answer has, and keeps its status."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, event: Message) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            given = list(event.get("headers", ()))
            own = {name.lower() for name, _ in given}
            event["headers"] = given + [pair for pair in _HEADERS if pair[0] not in own]
        await self._send(event)


class _Body:
    """Receives a body within its bounds of bytes and seconds."""

    def __init__(self, receive: Receive, limits: Any, headers: dict[bytes, str], *, streamed: bool) -> None:
        self._receive = receive
        self._limits = limits
        self._streamed = streamed
        self._read = 0
        self._ended = False
        self._deadline: float | None = None
        announced = headers.get(b"content-length", "0")
        if not announced.isascii() or not announced.isdigit() or (not streamed and self._too_large(int(announced))):
            raise self._refusal()

    async def __call__(self) -> Message:
        if self._ended:
            # From here on the application only waits to hear that the client went away.
            return await self._receive()
        now = asyncio.get_running_loop().time()
        if self._deadline is None or self._streamed:
            self._deadline = now + self._limits.body_timeout_s
        try:
            async with asyncio.timeout_at(self._deadline):
                event = await self._receive()
        except TimeoutError:
            seconds = f"{self._limits.body_timeout_s:g} s"
            text = message(f"a body that was not there after {seconds}", "a quicker one", "send less at once")
            raise Refusal(408, "TimeoutError", text) from None
        self._ended = event["type"] != "http.request" or not event.get("more_body", False)
        self._read += len(event.get("body", b""))
        if not self._streamed and self._too_large(self._read):
            raise self._refusal()
        return event

    def _too_large(self, count: int) -> bool:
        return count > self._limits.max_body_bytes

    def _refusal(self) -> Refusal:
        most = f"at most {self._limits.max_body_bytes:,} bytes (max_body_bytes)"
        return Refusal(413, "InputError", message("a body that is too large", most, "send less at once, or use bulk"))


def _route(scope: Scope) -> str:
    """The pattern of the route that answered: never the path, which a client wrote."""
    return getattr(scope.get("route"), "path", None) or "none"


async def _nothing() -> Message:
    return {"type": "http.disconnect"}


def _single(scope: Scope) -> dict[bytes, str]:
    """Headers by name; one that decides about access must not be there twice."""
    out: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name in out and name in (b"authorization", b"host", b"content-length", b"origin"):
            shown = name.decode("ascii")
            raise Refusal(400, "InputError", message(f"the header {shown} twice", "once", "send one"))
        out[name] = value.decode("latin-1")
    return out


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
