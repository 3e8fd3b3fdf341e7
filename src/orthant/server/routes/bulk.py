"""Bulk loading: records one per line, read no quicker than they are stored."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from orthant.errors import InputError, OrthantError, message
from orthant.server.answers.records import BulkAnswer
from orthant.server.failures import Refusal, status_of
from orthant.server.routes.requests import Body, json_answer, require_type
from orthant.server.service import Served, Service
from orthant.server.wire import decode_vectors

__all__ = ["RecordLine", "routes"]

NDJSON = "application/x-ndjson"
_BATCH = 1_000
_BATCH_BYTES = 8 * 2**20


class RecordLine(Body):
    """One line of a bulk load."""

    id: str
    text: str | None = None
    metadata: dict[str, Any] | None = None
    vector: list[Any] | str | None = None
    vectors: dict[str, Any] | None = None


def routes(service: Service) -> APIRouter:
    """Return the route of bulk loading.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/collections/{name}/bulk``.
    """
    router = APIRouter(tags=["records"])
    lines = {"content": {NDJSON: {"schema": RecordLine.model_json_schema()}}, "required": True}

    @router.post("/collections/{name}/bulk", response_model=BulkAnswer, openapi_extra={"requestBody": lines})
    async def bulk(name: str, request: Request) -> Response:
        """Upsert records, one JSON object per line, of any number.

        Batches of a thousand are durable one after the other, and the next is read only when the last is stored. After
        an error, `error.records` of the answer says how many records, from the first line on, are stored.
        """
        served = service.collection(request, name, "write")
        require_type(request, NDJSON)
        return json_answer(await _Load(served, service).run(request))

    return router


class _Load:
    """One bulk load: the lines that wait for their batch, and what is stored already."""

    def __init__(self, served: Served, service: Service) -> None:
        self._served = served
        self._most = service.limits.max_record_bytes
        self._hide = service.hide
        self._records: list[RecordLine] = []
        self._bytes = 0
        self._stored = 0
        self._replaced = 0
        self._batches = 0
        self._generation = 0

    async def run(self, request: Request) -> dict[str, Any]:
        started, number = time.perf_counter(), 0
        try:
            async for line in self._lines(request):
                number += 1
                if line.strip():
                    self._records.append(_parsed(line, number))
                    self._bytes += len(line)
                if len(self._records) >= _BATCH or self._bytes >= _BATCH_BYTES:
                    await self._store()
            await self._store()
        except (OrthantError, Refusal) as error:
            # Without this figure the client could not know where to go on.
            status = error.status_code if isinstance(error, Refusal) else status_of(error)
            kind = error.kind if isinstance(error, Refusal) else type(error).__name__
            text = str(error.detail) if isinstance(error, Refusal) else self._hide(str(error))
            raise Refusal(
                status, kind, text, headers={"Connection": "close"}, details={"records": self._stored}
            ) from None
        return {
            "records": self._stored,
            "replaced": self._replaced,
            "batches": self._batches,
            "generation": self._generation,
            "seconds": time.perf_counter() - started,
        }

    async def _lines(self, request: Request) -> AsyncIterator[bytes]:
        kept = bytearray()
        async for piece in request.stream():
            *whole, rest = piece.split(b"\n")
            for end in whole:
                kept += end
                self._check_length(kept)
                yield bytes(kept)
                kept.clear()
            kept += rest
            self._check_length(kept)
        if kept:
            yield bytes(kept)

    def _check_length(self, line: bytearray) -> None:
        if len(line) > self._most:
            most = f"at most {self._most:,} bytes (max_record_bytes)"
            raise Refusal(413, "InputError", message("a line that is too long", most, "divide the record"))

    async def _store(self) -> None:
        if not self._records:
            return
        records, self._records, self._bytes = self._records, [], 0
        arguments = _arguments(records)
        report = await self._served.write(lambda c: c.upsert(**arguments))
        self._stored += report.records
        self._replaced += report.replaced
        self._generation = report.generation
        self._batches += 1


def _parsed(line: bytes, number: int) -> RecordLine:
    try:
        return RecordLine.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"][:3])[:80] or "no JSON object"
        raise InputError(
            message(f"line {number}: {place}: {first['msg'].lower()[:200]}", "a record", "correct the line")
        ) from None


def _arguments(records: list[RecordLine]) -> dict[str, Any]:
    count = len(records)
    arguments: dict[str, Any] = {"ids": [record.id for record in records]}
    if any(record.text is not None for record in records):
        arguments["texts"] = [record.text for record in records]
    if any(record.metadata for record in records):
        arguments["metadata"] = [record.metadata for record in records]
    spaces: dict[str, list[Any]] = {}
    for i, record in enumerate(records):
        given = dict(record.vectors or {})
        if record.vector is not None:
            given["default"] = record.vector
        for space, vector in given.items():
            spaces.setdefault(space, [None] * count)[i] = vector
    if spaces:
        arguments["vectors"] = decode_vectors(spaces, count)
    return arguments
