"""What a collection holds and costs, its spaces and snapshots, and looking after it."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orthant.collection.results import FinishReport
from orthant.collection.snapshots.manifest import SnapshotInfo
from orthant.collection.snapshots.restoring import RestoreReport
from orthant.collection.statistics import CollectionStats
from orthant.feed.entries import dated_by
from orthant.server.answers.upkeep import (
    CheckAnswer,
    CollectionAnswer,
    CollectionsAnswer,
    DiagnosisAnswer,
    DroppedAnswer,
    SnapshotsAnswer,
    SpaceAnswer,
)
from orthant.server.routes.bodies import CheckBody, DiagnoseBody, SnapshotBody, SpaceBody
from orthant.server.routes.requests import described, json_answer, read_body
from orthant.server.service import Service
from orthant.server.wire import to_json

__all__ = ["routes"]


def _about(collection: Any, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "records": len(collection),
        "date_field": dated_by(collection._store.refreshed()),
        "spaces": {one: asdict(definition) for one, definition in collection.spaces.items()},
        "sparse_spaces": {one: asdict(definition) for one, definition in collection.sparse_spaces.items()},
    }


def routes(service: Service) -> APIRouter:
    """Return the routes about collections as a whole.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/collections``, ``stats``, ``spaces``, ``snapshots``, ``check``, ``finish`` and ``diagnose``.
    """
    router = APIRouter(tags=["collections"])
    _snapshots(router, service)
    _care(router, service)

    @router.get("/collections", response_model=CollectionsAnswer)
    async def collections(request: Request) -> Response:
        """List the collections that the key may read."""
        found = [await served.read(partial(_about, name=served.name)) for served in service.visible(request)]
        return json_answer({"collections": found})

    @router.get("/collections/{name}", response_model=CollectionAnswer)
    async def about(name: str, request: Request) -> Response:
        """Return the number of records and the spaces of a collection."""
        served = service.collection(request, name)
        return json_answer(await served.read(lambda c: _about(c, name)))

    @router.get("/collections/{name}/stats", response_model=CollectionStats)
    async def stats(name: str, request: Request) -> Response:
        """Return counts, bytes, spaces and fields."""
        served = service.collection(request, name)
        # The folder is the host's business.
        return json_answer(await served.read(lambda c: to_json({**c.stats().to_dict(), "path": name})))

    @router.post("/collections/{name}/spaces", response_model=SpaceAnswer, openapi_extra=described(SpaceBody))
    async def add_space(name: str, request: Request) -> Response:
        """Add a space for vectors that clients bring."""
        served = service.collection(request, name, "admin")
        body = await read_body(request, SpaceBody)
        service.limits.require("dim", body.dim, "max_body_bytes")
        made = await served.write(
            lambda c: c.add_space(**{name: getattr(body, name) for name in body.model_fields_set})
        )
        return json_answer(asdict(made))

    return router


def _snapshots(router: APIRouter, service: Service) -> None:
    @router.get("/collections/{name}/snapshots", response_model=SnapshotsAnswer)
    async def snapshots(name: str, request: Request) -> Response:
        """List the snapshots, oldest first."""
        served = service.collection(request, name)
        return json_answer({"snapshots": await served.read(lambda c: [one.to_dict() for one in c.snapshots()])})

    @router.post("/collections/{name}/snapshots", response_model=SnapshotInfo, openapi_extra=described(SnapshotBody))
    async def snapshot(name: str, request: Request) -> Response:
        """Keep the present state under a name."""
        served = service.collection(request, name, "admin")
        body = await read_body(request, SnapshotBody)
        return json_answer((await served.write(lambda c: c.snapshot(body.name))).to_dict())

    @router.delete("/collections/{name}/snapshots/{snapshot}", response_model=DroppedAnswer)
    async def drop_snapshot(name: str, snapshot: str, request: Request) -> Response:
        """Forget a snapshot."""
        served = service.collection(request, name, "admin")
        await served.write(lambda c: c.drop_snapshot(snapshot))
        return json_answer({"dropped": snapshot})

    @router.post("/collections/{name}/snapshots/{snapshot}/restore", response_model=RestoreReport)
    async def restore(name: str, snapshot: str, request: Request) -> Response:
        """Go back to a snapshot."""
        served = service.collection(request, name, "admin")
        return json_answer(asdict(await served.write(lambda c: c.restore(snapshot))))


def _care(router: APIRouter, service: Service) -> None:
    @router.post("/collections/{name}/check", response_model=CheckAnswer, openapi_extra=described(CheckBody))
    async def check(name: str, request: Request) -> Response:
        """Verify every checksum and every cross-reference, and mend what can be mended."""
        served = service.collection(request, name, "admin")
        body = await read_body(request, CheckBody)
        report = await served.write(lambda c: c.check(repair=body.repair))
        # Problems name files; their folder is the host's business.
        return json_answer(service.hide(to_json(report.to_dict()).decode("ascii")).encode("ascii"))

    @router.post("/collections/{name}/finish", response_model=FinishReport)
    async def finish(name: str, request: Request) -> Response:
        """Merge every vector into the graph of its space."""
        served = service.collection(request, name, "admin")
        return json_answer(asdict(await served.write(lambda c: c.finish())))

    @router.post("/collections/{name}/diagnose", response_model=DiagnosisAnswer, openapi_extra=described(DiagnoseBody))
    async def diagnose(name: str, request: Request) -> Response:
        """Measure properties of a space's vectors, what searches miss and cost, and give advice."""
        served = service.collection(request, name, "admin")
        body = await read_body(request, DiagnoseBody)
        service.limits.require("sample", body.sample, "max_depth")
        settings = {one: getattr(body, one) for one in body.model_fields_set}
        # It may take minutes, which the bound of searches is not meant for.
        return json_answer(
            await served.calls.read(lambda c: to_json({**c.diagnose(**settings).to_dict(), "path": name}))
        )
