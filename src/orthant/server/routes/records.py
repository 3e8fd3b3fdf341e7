"""Records: written, read by id or by filter, removed."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orthant.collection.ingest import UpsertReport
from orthant.errors import InputError, MissingExtraError, message
from orthant.server.answers.records import DeleteAnswer, FindAnswer, GetAnswer, IdsAnswer
from orthant.server.routes.bodies import DeleteBody, FindBody, GetBody, UpsertBody
from orthant.server.routes.requests import described, json_answer, read_body, require_type
from orthant.server.service import Service
from orthant.server.wire import decode_vectors, record_values, to_json

__all__ = ["routes"]

ARROW = "application/vnd.apache.arrow.stream"


def routes(service: Service) -> APIRouter:
    """Return the routes of records.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``upsert``, ``get``, ``find``, ``ids`` and ``delete``.
    """
    router = APIRouter(tags=["records"])
    _writing(router, service)

    @router.post("/collections/{name}/get", response_model=GetAnswer, openapi_extra=described(GetBody))
    async def get(name: str, request: Request) -> Response:
        """Return records by id; null stands where one is absent."""
        served = service.collection(request, name)
        body = await read_body(request, GetBody)
        service.limits.require("ids", len(body.ids), "max_records")

        def run(collection: Any) -> bytes:
            found = collection.get(body.ids, vectors=body.vectors)
            return to_json({"records": [None if one is None else record_values(one, body.form) for one in found]})

        return json_answer(await served.read(run))

    @router.post("/collections/{name}/find", response_model=FindAnswer, openapi_extra=described(FindBody))
    async def find(name: str, request: Request) -> Response:
        """Return records by filter alone, in insertion order."""
        served = service.collection(request, name)
        body = await read_body(request, FindBody)
        service.limits.require("limit", body.limit, "max_records")

        def run(collection: Any) -> bytes:
            found = collection.find(body.where, limit=body.limit, offset=body.offset)
            return to_json({"records": [record_values(one) for one in found]})

        return json_answer(await served.read(run))

    @router.get("/collections/{name}/ids", response_model=IdsAnswer)
    async def ids(name: str, request: Request) -> Response:
        """Return every record's id in insertion order."""
        served = service.collection(request, name)
        return json_answer(await served.read(lambda c: to_json({"ids": list(c.ids())})))

    return router


def _writing(router: APIRouter, service: Service) -> None:
    body_of = described(UpsertBody)
    body_of["requestBody"]["content"][ARROW] = {"schema": {"type": "string", "format": "binary"}}

    @router.post("/collections/{name}/upsert", response_model=UpsertReport, openapi_extra=body_of)
    async def upsert(name: str, request: Request) -> Response:
        """Write records, replacing those whose id exists; durable when answered, all of them or none.

        As JSON, or as an Arrow stream with the columns of `to_arrow`: `id`, `text`, `metadata` (JSON text) and
        `vector_SPACE`.
        """
        served = service.collection(request, name, "write")
        if require_type(request, "application/json", ARROW) == ARROW:
            raw = await request.body()
            return json_answer(asdict(await served.write(lambda c: _upsert_arrow(c, raw, service))))
        body = await read_body(request, UpsertBody)
        service.limits.require("records", len(body.ids), "max_records")
        vectors = decode_vectors(body.vectors, len(body.ids))
        report = await served.write(
            lambda c: c.upsert(body.ids, texts=body.texts, metadata=body.metadata, vectors=vectors)
        )
        return json_answer(asdict(report))

    @router.post("/collections/{name}/delete", response_model=DeleteAnswer, openapi_extra=described(DeleteBody))
    async def delete(name: str, request: Request) -> Response:
        """Remove records by id or by filter; durable when answered."""
        served = service.collection(request, name, "write")
        body = await read_body(request, DeleteBody)
        service.limits.require("ids", len(body.ids or ()), "max_records")
        return json_answer({"removed": await served.write(lambda c: c.delete(body.ids, where=body.where))})


def _upsert_arrow(collection: Any, raw: bytes, service: Service) -> Any:
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError(
            message("Arrow", "the extra 'arrow' on the server", "send JSON, or install it there")
        ) from error
    import json

    try:
        table = pa.ipc.open_stream(io.BytesIO(raw)).read_all()
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            message("a body that is no Arrow stream", "the Arrow IPC stream format", "correct it")
        ) from error
    service.limits.require("records", table.num_rows, "max_records")
    names = set(table.column_names)
    strange = [name for name in names if name not in ("id", "text", "metadata") and not name.startswith("vector_")]
    if "id" not in names or strange or len(names) != table.num_columns:
        columns = "each once: id, text, metadata and vector_SPACE"
        raise InputError(message("other columns", columns, "put further fields into metadata, as JSON text"))
    column = {name: table.column(name).to_pylist() for name in names & {"id", "text", "metadata"}}
    try:
        metadata = [None if one is None else json.loads(one) for one in column.get("metadata", ())]
    except (ValueError, TypeError, RecursionError) as error:
        raise InputError(message("metadata that is no JSON", "one JSON object per record", "correct it")) from error
    vectors = {name[7:]: _vectors_of(table.column(name)) for name in names if name.startswith("vector_")}
    return collection.upsert(column["id"], texts=column.get("text"), metadata=metadata or None, vectors=vectors or None)


def _vectors_of(column: Any) -> Any:
    import pyarrow as pa

    chunk = column.combine_chunks()
    if pa.types.is_fixed_size_list(chunk.type) and not chunk.null_count:
        return chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
    return chunk.to_pylist()
