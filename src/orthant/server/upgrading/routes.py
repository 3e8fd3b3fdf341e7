"""Addresses of upgrades; each of them needs a key with the scope admin."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from orthant.collection.upgrade.returning import newer_only
from orthant.collection.upgrade.status import UpgradeStatus
from orthant.errors import InputError, message
from orthant.server.answers.upgrades import AcceptedAnswer, RehearsalAnswer, UpgradeAnswer
from orthant.server.routes.requests import Body, described, json_answer, read_body
from orthant.server.service import Served, Service
from orthant.server.upgrading.runs import Progress
from orthant.server.wire import to_json

__all__ = ["AcceptBody", "RehearsalBody", "RollbackBody", "RunBody", "routes"]

_MOST_FAILED = 20
_LEAST_ONE: dict[str, Any] = {"minimum": 1}


class _PlanBody(Body):
    using: str = Field(
        "auto", description="How records are found that are not encoded again; as in `Collection.upgrade`."
    )
    space: str = "default"
    pairs: int = Field(5000, json_schema_extra=_LEAST_ONE, description="Records encoded for rehearsal and map.")
    seed: int = Field(0, json_schema_extra={"minimum": 0})


class RehearsalBody(_PlanBody):
    """What is to be tried."""

    encoder: str = Field(description="One of `encoders` in what GET answers.")
    queries: list[str] | dict[str, str] = Field(description="Ten or more texts, or texts by id.")
    judgements: dict[str, dict[str, int]] | None = Field(
        None, description="Grades of records by query; without them figures say how near the new model's own hits are."
    )
    decide_by: str = Field(
        "unseen",
        json_schema_extra={"enum": ["unseen", "now"]},
        description="Whose figures decide: of records that the map has not seen, or of the collection as it will be.",
    )


class RunBody(_PlanBody):
    """What is to be carried out."""

    encoder: str | None = Field(None, description="Left out, the open upgrade goes on.")
    share: float | None = Field(
        None,
        json_schema_extra={"minimum": 0, "maximum": 1},
        description="Of all records, what is encoded again; default 1 for 'reencode', else 0.",
    )
    batch_size: int = Field(256, json_schema_extra=_LEAST_ONE, description="Records per commit.")
    pause_s: float = Field(0.0, json_schema_extra={"minimum": 0}, description="Seconds of rest after each batch.")


class AcceptBody(Body):
    """Records that may go without a vector of the new encoder."""

    ids: list[str] | None = Field(None, description="Default all that failed.")


class RollbackBody(Body):
    """How to go back."""

    accept: bool = Field(False, description="Also where records cannot be encoded by the old encoder.")


def routes(service: Service) -> APIRouter:
    """Return the routes of upgrades.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``upgrade`` below a collection, and what can be done with it.
    """
    router = APIRouter(tags=["upgrade"])
    _running(router, service)
    _deciding(router, service)

    @router.get("/collections/{name}/upgrade", response_model=UpgradeAnswer)
    async def upgrade(name: str, request: Request) -> Response:
        """Return where the replacement of an encoder stands, and which encoders may be chosen."""
        return json_answer(await _told(service, service.collection(request, name, "admin")))

    @router.post(
        "/collections/{name}/upgrade/rehearse", response_model=RehearsalAnswer, openapi_extra=described(RehearsalBody)
    )
    async def rehearse(name: str, request: Request) -> Response:
        """Measure on a sample what another encoder would bring, with intervals and advice, and change nothing."""
        served = service.collection(request, name, "admin")
        body = await read_body(request, RehearsalBody)
        service.limits.require("pairs", body.pairs, "max_records")
        service.limits.require("queries", len(body.queries), "max_queries")
        # Relevant records are encoded beside the pairs.
        relevant = {key for grades in (body.judgements or {}).values() for key, grade in grades.items() if grade > 0}
        service.limits.require("judged records", len(relevant), "max_records")
        found = await service.upgrades.rehearse(served, _settings(body), body.queries, body.judgements, body.decide_by)
        return json_answer(found)

    return router


def _running(router: APIRouter, service: Service) -> None:
    @router.post("/collections/{name}/upgrade/run", response_model=UpgradeAnswer, openapi_extra=described(RunBody))
    async def run(name: str, request: Request) -> Response:
        """Begin an upgrade, or go on with it, beside searches and writes; answered at once."""
        served = service.collection(request, name, "admin")
        body = await read_body(request, RunBody)
        service.limits.require("pairs", body.pairs, "max_records")
        if body.share is not None and not 0 <= body.share <= 1:
            raise InputError(message(f"share={body.share:g}", "0 to 1", "correct it"))
        if body.batch_size < 1 or not 0 <= body.pause_s <= 3600:
            raise InputError(message("this batch_size or pause_s", "1 or more records, 0 to 3600 s", "correct it"))
        given = {"share": body.share, "batch_size": body.batch_size, "pause_s": body.pause_s}
        await service.upgrades.start(served, {} if body.encoder is None else _settings(body), **given)
        return json_answer(await _told(service, served))

    @router.post("/collections/{name}/upgrade/pause", response_model=UpgradeAnswer)
    async def pause(name: str, request: Request) -> Response:
        """Let the run end after its present batch; nothing is lost, and `run` goes on from there."""
        served = service.collection(request, name, "admin")
        await service.upgrades.pause(served)
        return json_answer(await _told(service, served))


def _deciding(router: APIRouter, service: Service) -> None:
    async def done(request: Request, name: str, action: Any) -> Response:
        served = service.collection(request, name, "admin")
        status = await service.upgrades.act(served, action)
        return json_answer(service.hide(to_json(_whole(status)).decode("ascii")).encode("ascii"))

    @router.post("/collections/{name}/upgrade/commit", response_model=UpgradeStatus)
    async def commit(name: str, request: Request) -> Response:
        """Search with the new encoder from now on; the old vectors stay until `release`."""
        return await done(request, name, lambda plan: plan.commit())

    @router.post("/collections/{name}/upgrade/release", response_model=UpgradeStatus)
    async def release(name: str, request: Request) -> Response:
        """Drop the old vectors; there is no way back then."""
        return await done(request, name, lambda plan: plan.release())

    @router.post(
        "/collections/{name}/upgrade/rollback", response_model=UpgradeStatus, openapi_extra=described(RollbackBody)
    )
    async def rollback(name: str, request: Request) -> Response:
        """Go back to the old encoder and its vectors, to the byte."""
        service.collection(request, name, "admin")
        body = await read_body(request, RollbackBody)
        return await done(request, name, lambda plan: plan.rollback(accept=body.accept))

    @router.post(
        "/collections/{name}/upgrade/accept", response_model=AcceptedAnswer, openapi_extra=described(AcceptBody)
    )
    async def accept(name: str, request: Request) -> Response:
        """Let records go without a vector of the new encoder; they are still found by their words."""
        served = service.collection(request, name, "admin")
        body = await read_body(request, AcceptBody)
        return json_answer({"accepted": await service.upgrades.act(served, lambda plan: plan.accept(body.ids))})


def _settings(body: Any) -> dict[str, Any]:
    return {one: getattr(body, one) for one in ("encoder", "using", "space", "pairs", "seed")}


def _whole(status: UpgradeStatus) -> dict[str, Any]:
    return {**status.to_dict(), "failed": dict(list(status.failed.items())[:_MOST_FAILED])}


async def _told(service: Service, served: Served) -> bytes:
    progress, rehearsal = service.upgrades.progress(served.name)

    def read(collection: Any) -> str:
        state = _state(collection, service)
        # The state above is of this moment, the run's may have ended since it was asked for.
        return to_json(_answer(service, state, progress, rehearsal)).decode("ascii")

    return service.hide(await served.read(read)).encode("ascii")


def _answer(
    service: Service, state: dict[str, Any] | None, progress: Progress, rehearsal: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "encoders": service.upgrades.names,
        "run": asdict(progress),
        "upgrade": state,
        "rehearsal": rehearsal,
    }


def _state(collection: Any, service: Service) -> dict[str, Any] | None:
    now = collection._store.refreshed()
    state = now.upgrade
    if not state:
        return None

    def counted(space: str | None) -> int:
        return int(now.spaces[space].live_count(now.live)) if space in now.spaces else 0

    return {
        "space": state.space,
        "using": state.using,
        "encoder": service.upgrades.name_of(state),
        "phase": "committed" if state.committed else "running",
        "records": now.count,
        "encoded": counted(state.fresh),
        "mapped": counted(state.mapped),
        "failed": dict(list(state.unresolved.items())[:_MOST_FAILED]),
        "failed_count": len(state.unresolved),
        "newer_only": len(newer_only(now, state)),
        "spaces": [state.former, state.fresh],
    }
