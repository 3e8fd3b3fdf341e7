"""What the page needs beside the calls of a collection: documents as files."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orthant.collection.documents.report import DocumentsReport
from orthant.datasets.documents.kinds import SUFFIXES
from orthant.errors import InputError, OrthantError, message
from orthant.server.routes.requests import json_answer, require_type
from orthant.server.service import Service

__all__ = ["check_file_name", "routes"]

_FOLDER = "uploads"
_STRANGE = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|]")
_LONGEST_NAME = 150


def routes(service: Service) -> APIRouter:
    """Return the route of documents.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``documents`` below a collection.
    """
    router = APIRouter(tags=["page"])
    raw = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}

    @router.post(
        "/collections/{name}/documents",
        response_model=DocumentsReport,
        openapi_extra={"requestBody": {**raw, "required": True}},
    )
    async def documents(name: str, file: str, request: Request) -> Response:
        """Divide a document into chunks and index them, as `add_documents` does; sent again, it replaces itself."""
        served = service.collection(request, name, "write")
        require_type(request, "application/octet-stream")
        called = check_file_name(file)
        body = await request.body()
        return json_answer(await served.write(lambda c: _index(c, called, body)))

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
