"""Maps of collections: computed once in the background, kept, and coloured by fields."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orthant.collection.layout.points import Layout, field_of_rows, lay_out, records_of_rows
from orthant.errors import InputError, message
from orthant.server.answers.page import ColoursAnswer, MapAnswer, WorkingAnswer
from orthant.server.failures import Refusal
from orthant.server.routes.requests import Body, described, json_answer, read_body
from orthant.server.service import Served, Service
from orthant.server.wire import encode_vector, to_json

__all__ = ["MAX_POINTS", "MapBody", "ValuesBody", "colours", "routes"]

MAX_POINTS = 20_000
_KEPT = 8
_NAMED = 8
_SHADES = 255
_LONGEST_LABEL = 80


class MapBody(Body):
    """Which map is wanted."""

    space: str = "default"
    refresh: bool = False


class ValuesBody(Body):
    """What a map is coloured by."""

    space: str = "default"
    field: str


class _Job:
    """One map: under way, failed or ready."""

    def __init__(self) -> None:
        self.stage, self.share = "reading vectors", 0.0
        self.layout: Layout | None = None
        self.error: Exception | None = None
        self.task: asyncio.Task[None] | None = None

    async def run(self, served: Served, space: str) -> None:
        def told(stage: str, share: float) -> None:
            self.stage, self.share = stage, share

        try:
            # Not under the bound of searches: it is nobody's request, and there is one of it.
            self.layout = await served.calls.read(lambda c: lay_out(c, space=space, limit=MAX_POINTS, progress=told))
        except Exception as error:  # noqa: BLE001 - whoever asks next is told, and it is tried anew
            self.error = error


class _Maps:
    """Maps by collection and space; the least recently asked for is forgotten."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[tuple[str, str], _Job] = OrderedDict()

    def ask(self, served: Served, space: str, *, refresh: bool) -> _Job:
        key = (served.name, space)
        job = self._jobs.get(key)
        if job is None or job.error is not None or (refresh and job.layout is not None):
            job = self._jobs[key] = _Job()
            job.task = asyncio.create_task(job.run(served, space))
        self._jobs.move_to_end(key)
        ready = [one for one, other in self._jobs.items() if other.layout is not None or other.error is not None]
        for old in ready[: max(0, len(self._jobs) - _KEPT)]:
            if old != key:
                del self._jobs[old]
        return job

    def layout(self, name: str, space: str) -> Layout:
        job = self._jobs.get((name, space))
        if job is None or job.layout is None:
            raise Refusal(
                404, "NotFoundError", message("colours of a map that is not there", "a map", "ask for it first")
            )
        return job.layout


def routes(service: Service) -> APIRouter:
    """Return the routes of maps.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``map`` and ``map/values`` below a collection.
    """
    router = APIRouter(tags=["page"])
    maps = _Maps()

    @router.post(
        "/collections/{name}/map",
        response_model=MapAnswer,
        responses={202: {"model": WorkingAnswer, "description": "It is being computed; ask again."}},
        openapi_extra=described(MapBody),
    )
    async def map_of(name: str, request: Request) -> Response:
        """Return places of up to 20,000 records on a plane; status 202 with the progress until they are there.

        It is computed once per space and kept; `refresh` computes it anew where the collection has changed since.
        """
        served = service.collection(request, name)
        body = await read_body(request, MapBody)
        now = await served.read(lambda c: _generation(c, body.space))
        job = maps.ask(served, body.space, refresh=False)
        if body.refresh and job.layout is not None and job.layout.generation != now:
            job = maps.ask(served, body.space, refresh=True)
        if job.task is not None:
            await asyncio.wait([job.task], timeout=0.2)
        if job.error is not None:
            raise job.error
        layout = job.layout
        if layout is None:
            return json_answer({"state": "working", "stage": job.stage, "share": round(job.share, 3)}, status=202)
        return json_answer(await served.read(lambda c: to_json(_values(c, layout, now))))

    @router.post("/collections/{name}/map/values", response_model=ColoursAnswer, openapi_extra=described(ValuesBody))
    async def values(name: str, request: Request) -> Response:
        """Return a metadata field of the records on a map, as a few named values or as shades between two numbers."""
        served = service.collection(request, name)
        body = await read_body(request, ValuesBody)
        layout = maps.layout(name, body.space)
        return json_answer(await served.read(lambda c: to_json(colours(field_of_rows(c, body.field, layout.rows)))))

    return router


def _generation(collection: Any, space: str) -> int:
    if space not in collection.spaces:
        # Before a job is begun, so that strange names leave nothing behind.
        raise InputError(message("a map of a space that is not there", "a space of vectors", "choose another"))
    return int(collection._store.generation.number)


def _values(collection: Any, layout: Layout, generation: int) -> dict[str, Any]:
    return {
        "state": "ready",
        "space": layout.space,
        "ids": records_of_rows(collection, layout.rows),
        "places": encode_vector(layout.places.ravel(), "base64"),
        "records": layout.records,
        "generation": layout.generation,
        "current": layout.generation == generation,
    }


def colours(values: Sequence[Any]) -> dict[str, Any]:
    """Return what to colour points by.

    Parameters
    ----------
    values : sequence of length n
        Values of a field; of a list the most frequent element counts, and none that every record has.

    Returns
    -------
    dict
        ``kind`` is ``"values"``: ``labels`` with ``counts``, most frequent first, and ``codes`` of length n into them;
        the label null stands for all others. Or ``"numbers"``: ``low`` and ``high``, and shades from 0 to 255. -1 is
        a record without a value.

    Examples
    --------
    >>> colours(["a", None, "b", "a"])["codes"]
    [0, -1, 1, 0]
    """
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    known = sum(value is not None for value in values)
    if numbers and len(numbers) == known and len(set(numbers)) > _NAMED:
        return _shades(values, numbers)
    counted: Counter[Any] = Counter()
    for value in values:
        counted.update({_key(one) for one in (value if isinstance(value, list) else [value]) if one is not None})
    # What every record has tells none of them apart.
    common = {key for key, count in counted.items() if count == known and len(counted) > 1}
    counted = Counter({key: count for key, count in counted.items() if key not in common})
    named = [key for key, _ in sorted(counted.items(), key=lambda pair: (-pair[1], str(pair[0])))]
    more = len(named) > _NAMED
    places = {key: i for i, key in enumerate(named[:_NAMED])}
    codes = [_code(value, places, common) for value in values]
    tally = Counter(codes)
    labels: list[Any] = [str(key[1])[:_LONGEST_LABEL] for key in named[:_NAMED]] + ([None] if more else [])
    return {
        "kind": "values",
        "labels": labels,
        "counts": [tally[i] for i in range(len(labels))],
        "distinct": len(named),
        "missing": tally[-1],
        "codes": codes,
    }


def _key(value: Any) -> tuple[str, Any]:
    # 1, 1.0 and True are equal in Python, and three values to a reader.
    return type(value).__name__, value


def _code(value: Any, places: Mapping[tuple[str, Any], int], common: Set[tuple[str, Any]]) -> int:
    found = {_key(one) for one in (value if isinstance(value, list) else [value]) if one is not None}
    return min((places.get(key, len(places)) for key in found - common), default=-1)


def _shades(values: Sequence[Any], numbers: Sequence[float]) -> dict[str, Any]:
    exact = [float(value) for value in numbers]
    low, high = (float(edge) for edge in np.percentile(exact, (1, 99)))
    width = high - low if math.isfinite(high - low) and high > low else 1.0
    codes = [
        -1 if value is None else round(_SHADES * min(1.0, max(0.0, (float(value) - low) / width))) for value in values
    ]
    return {"kind": "numbers", "low": low, "high": high, "missing": codes.count(-1), "codes": codes}
