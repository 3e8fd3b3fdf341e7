"""Reading a request's body into a checked model, and describing it to readers of the OpenAPI document."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from orthant.errors import InputError, message
from orthant.server.failures import Refusal
from orthant.server.wire import to_json

__all__ = ["Body", "described", "json_answer", "read_body", "require_type"]


class Body(BaseModel):
    """A request's body: names as in ``Collection``, nothing unknown, no conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True)


M = TypeVar("M", bound=Body)


def described(model: type[Body]) -> dict[str, Any]:
    """Return what the OpenAPI document says of a body.

    Parameters
    ----------
    model : type of Body
        The body.

    Returns
    -------
    dict
        For ``openapi_extra``.
    """
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def require_type(request: Request, *accepted: str) -> str:
    """Return the media type of a body, or refuse it.

    Parameters
    ----------
    request : Request
        The request.
    *accepted : str
        Media types.

    Returns
    -------
    str
        One of them.

    Raises
    ------
    Refusal
        Status 415. A page of another origin can send texts and forms without asking, but not JSON.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given not in accepted:
        text = message("a body of another media type", " or ".join(accepted), "say so in Content-Type")
        raise Refusal(415, "InputError", text)
    return given


async def read_body(request: Request, model: type[M]) -> M:
    """Read and check a JSON body.

    Parameters
    ----------
    request : Request
        The request.
    model : type of Body
        What it must be.

    Returns
    -------
    Body
        The values.

    Raises
    ------
    Refusal
        Another media type, or a body that is too large or too slow.
    InputError
        Not JSON, or not these names and types.
    """
    require_type(request, "application/json")
    raw = await request.body()
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"][:3])[:80] or "the body"
        raise InputError(
            message(f"{place}: {first['msg'].lower()[:200]}", "a body as /docs describes it", "correct it")
        ) from None


def json_answer(value: Any, *, status: int = 200) -> Response:
    """Return values as a JSON response.

    Parameters
    ----------
    value : object or bytes
        Plain values, or JSON already.
    status : int, default 200
        HTTP status.

    Returns
    -------
    Response
        JSON.
    """
    return Response(value if isinstance(value, bytes) else to_json(value), status, media_type="application/json")
