"""What the page needs beside the calls of a collection: documents as files, and where an upgrade stands."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from orthant.datasets.documents.kinds import SUFFIXES
from orthant.errors import InputError, OrthantError, message
from orthant.server.routes.requests import Body, described, json_answer, read_body, require_type
from orthant.server.service import Service
from orthant.server.wire import to_json

__all__ = ["RehearsalBody", "check_file_name", "routes"]

_FOLDER = "uploads"
_STRANGE = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|]")
_LONGEST_NAME = 150


class RehearsalBody(Body):
    """What is to be tried; any other encoder would be a folder of the host, or a download."""

    encoder: Literal["static", "minilm", "minilm-int8"]
    queries: list[str]
    space: str = "default"
    pairs: int = Field(500, json_schema_extra={"minimum": 1})


def routes(service: Service) -> APIRouter:
    """Return the routes of documents and of upgrades.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``documents``, ``upgrade`` and ``upgrade/rehearse`` below a collection.
    """
    router = APIRouter(tags=["page"])
    raw = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}

    @router.post("/collections/{name}/documents", openapi_extra={"requestBody": {**raw, "required": True}})
    async def documents(name: str, file: str, request: Request) -> Response:
        """Divide a document into chunks and index them, as `add_documents` does; sent again, it replaces itself."""
        served = service.collection(request, name, "write")
        require_type(request, "application/octet-stream")
        called = check_file_name(file)
        body = await request.body()
        return json_answer(await served.write(lambda c: _index(c, called, body)))

    @router.get("/collections/{name}/upgrade")
    async def upgrade(name: str, request: Request) -> Response:
        """Return where the replacement of an encoder stands; null where none is open."""
        served = service.collection(request, name)
        return json_answer({"upgrade": await served.read(_upgrade)})

    @router.post("/collections/{name}/upgrade/rehearse", openapi_extra=described(RehearsalBody))
    async def rehearse(name: str, request: Request) -> Response:
        """Measure on a sample what another encoder would bring, and change nothing."""
        served = service.collection(request, name, "admin")
        body = await read_body(request, RehearsalBody)
        service.limits.require("pairs", body.pairs, "max_records")
        service.limits.require("queries", len(body.queries), "max_queries")

        def run(collection: Any) -> bytes:
            plan = collection.upgrade(body.encoder, space=body.space, pairs=body.pairs)
            return to_json(plan.rehearse(body.queries).to_dict())

        # It may take minutes, which the bound of searches is not meant for.
        return json_answer(await served.calls.read(run))

    return router


def check_file_name(name: str) -> str:
    """Refuse a name that is more than a name, or no document's.

    Parameters
    ----------
    name : str
        As the browser gives it.

    Returns
    -------
    str
        The same.

    Raises
    ------
    InputError
        A path, a hidden file, or an ending that is not read.

    Examples
    --------
    >>> check_file_name("notes.md")
    'notes.md'
    """
    if not name or name.startswith(".") or len(name.encode()) > _LONGEST_NAME or _STRANGE.search(name):
        given = "a file name with a path, strange characters or too many"
        raise InputError(message(given, f"at most {_LONGEST_NAME} bytes, no separators", "rename the file"))
    if Path(name).suffix.lower() not in SUFFIXES:
        known = " ".join(sorted(SUFFIXES))
        raise InputError(message("a file of another kind", f"a document ({known})", "convert it, or send records"))
    return name


def _index(collection: Any, name: str, body: bytes) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="orthant-") as home:
        # Every upload has the same folder, so that a document replaces itself and no other.
        folder = Path(home) / _FOLDER
        folder.mkdir()
        path = folder / name
        path.write_bytes(body)
        try:
            report = collection.add_documents([path], root=folder)
        except OrthantError as error:
            # The folder is the host's business.
            raise type(error)(str(error).replace(f"{folder}/", "").replace(str(folder), _FOLDER)) from None
    told: dict[str, Any] = report.to_dict()
    return told


def _upgrade(collection: Any) -> dict[str, Any] | None:
    now = collection._store.refreshed()
    state = now.upgrade
    if not state:
        return None

    def counted(space: str | None) -> int:
        return int(now.spaces[space].live_count(now.live)) if space in now.spaces else 0

    return {
        "space": state.space,
        "using": state.using,
        "phase": "committed" if state.committed else "running",
        "records": now.count,
        "encoded": counted(state.fresh),
        "mapped": counted(state.mapped),
        "failed": dict(list(state.unresolved.items())[:20]),
        "spaces": [state.former, state.fresh],
    }
