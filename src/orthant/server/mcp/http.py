"""The protocol over HTTP: every message a POST of its own to ``/mcp``, answered by JSON, with nothing remembered."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orthant.errors import OrthantError
from orthant.errors import message as told
from orthant.server.failures import ERROR_SCHEMA, Refusal
from orthant.server.mcp.protocol import HANDSHAKE_VERSIONS, Pending, Problem, declared_version, read, take
from orthant.server.mcp.tools import Toolbox
from orthant.server.routes.requests import json_answer, require_type
from orthant.server.service import Service

__all__ = ["routes"]

_MISMATCH, _REQUEST = -32020, -32600
_STATUS = {-32700: 400, -32600: 400, -32601: 404, -32602: 400, _MISMATCH: 400, -32022: 400}

_JSONRPC = {"const": "2.0"}
_MESSAGE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "A request, or without an id a notification, of JSON-RPC 2.0.",
                    "required": ["jsonrpc", "method"],
                    "properties": {
                        "jsonrpc": _JSONRPC,
                        "id": {"type": ["string", "integer"]},
                        "method": {"type": "string", "examples": ["tools/list", "tools/call"]},
                        "params": {"description": "An object; anything else is answered by an error of JSON-RPC."},
                    },
                }
            }
        },
    }
}
_ID: dict[str, Any] = {"type": ["string", "integer", "null"], "description": "That of the request."}
_REPLY: dict[str, Any] = {
    "type": "object",
    "required": ["jsonrpc", "id", "result"],
    "properties": {
        "jsonrpc": _JSONRPC,
        "id": _ID,
        "result": {"type": "object", "description": "As the protocol has it for the method."},
    },
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["jsonrpc", "error"],
    "properties": {
        "jsonrpc": _JSONRPC,
        "id": _ID,
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "integer"},
                "message": {"type": "string"},
                "data": {"description": "Further figures, where there are any."},
            },
        },
    },
}
_REFUSED: dict[str, Any] = {
    "description": "Refused by the protocol, in the form of JSON-RPC, or by the server before a message was read.",
    "content": {
        "application/json": {
            "schema": {"anyOf": [_PROBLEM, ERROR_SCHEMA["content"]["application/json"]["schema"]]},
        }
    },
}
_REPLIES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The reply to a request; older versions of the protocol answer errors so, too.",
        "content": {"application/json": {"schema": {"anyOf": [_REPLY, _PROBLEM]}}},
    },
    202: {"description": "A notification was taken; there is no body."},
    400: _REFUSED,
    404: _REFUSED,
}


def routes(service: Service) -> APIRouter:
    """Return the route of agents.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``POST /mcp``.
    """
    router = APIRouter(tags=["agents"])

    @router.post("/mcp", openapi_extra=_MESSAGE, responses=_REPLIES)
    async def mcp(request: Request) -> Response:
        """Answer one message of the Model Context Protocol; the tools are those that the sender's key allows."""
        require_type(request, "application/json")
        _require_accepts(request)
        try:
            message = read(await request.body())
        except Problem as problem:
            return json_answer(problem.reply(), status=_STATUS[problem.code])
        try:
            _check_headers(request.headers, message)
        except Problem as problem:
            return json_answer(problem.reply(message.get("id")), status=_STATUS[problem.code])
        step = take(message, _toolbox(service, request))
        if step is None:
            return Response(status_code=202)
        reply = await _run(service, request, step) if isinstance(step, Pending) else step
        modern = declared_version(message) is not None
        return json_answer(reply, status=_STATUS.get(reply.get("error", {}).get("code"), 200) if modern else 200)

    return router


def _toolbox(service: Service, request: Request) -> Toolbox:
    grant = service.grant(request)
    names = [served.name for served in service.visible(request)]
    writable = [name for name in names if service.agents_write and grant.allows(name, "write")]
    return Toolbox(names, writable, limits=service.limits)


async def _run(service: Service, request: Request, step: Pending) -> dict[str, Any]:
    call = step.call
    try:
        served = service.collection(request, call.collection, "write" if call.writes else "read")
        return step.done(await (served.write if call.writes else served.read)(call.run))
    except OrthantError as error:
        return step.failed(service.hide(str(error)))
    except Refusal as refusal:
        return step.failed(refusal.detail)


def _require_accepts(request: Request) -> None:
    accepted = request.headers.get("accept", "*/*")
    if not any(kind in accepted for kind in ("application/json", "application/*", "*/*")):
        text = told("a client that takes no JSON", "Accept: application/json, text/event-stream", "say so")
        raise Refusal(406, "InputError", text)


def _check_headers(headers: Mapping[str, str], message: Mapping[str, Any]) -> None:
    """What a proxy decided by must be what is done here."""
    version = declared_version(message)
    named = headers.get("mcp-protocol-version")
    if version is None:
        if named is not None and named not in HANDSHAKE_VERSIONS and "id" in message:
            raise Problem(_REQUEST, f"MCP-Protocol-Version is none of {', '.join(HANDSHAKE_VERSIONS)}")
        return
    if named != version:
        raise Problem(_MISMATCH, "MCP-Protocol-Version is not the revision that the message names")
    if headers.get("mcp-method") != message["method"]:
        raise Problem(_MISMATCH, "Mcp-Method is not the method of the message")
    name = message["params"].get("name")
    if message["method"] == "tools/call" and isinstance(name, str) and _decoded(headers.get("mcp-name")) != name:
        raise Problem(_MISMATCH, "Mcp-Name is not the tool that the message names")


def _decoded(value: str | None) -> str | None:
    """A header's value; what a header cannot hold comes in base64 between marks."""
    if value is None or not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    try:
        return base64.b64decode(value[9:-2], validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None
