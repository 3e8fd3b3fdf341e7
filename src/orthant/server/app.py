"""The application: collections, routes and what stands before them."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from orthant import __version__
from orthant.collection.collection import Collection
from orthant.errors import MissingExtraError, OrthantError, message
from orthant.server.keys import KeyFile
from orthant.server.limits import Limits
from orthant.server.service import Service

__all__ = ["Opener", "Routes", "create_app"]

Opener = Callable[[], Collection]
"""Opens a collection."""
Routes = Callable[[Service], Any]
"""Makes an ``APIRouter`` for a service."""

_OWN = (
    "orthant.server.routes.searching",
    "orthant.server.routes.records",
    "orthant.server.routes.bulk",
    "orthant.server.routes.upkeep",
    "orthant.server.routes.health",
    "orthant.server.upgrading.routes",
    "orthant.server.documentation",
)
# Pieces that bring a function `routes(service) -> APIRouter` of their own; each may be left out of a build.
_PIECES = ("orthant.server.openai", "orthant.server.mcp", "orthant.server.page", "orthant.server.feed")


def create_app(
    collections: Mapping[str, str | Path | Collection | Opener],
    *,
    keys: KeyFile | str | Path | None = None,
    limits: Limits | None = None,
    models: Mapping[str, Any] | None = None,
    mcp_write: bool = False,
    upgrades: Mapping[str, Any] | Sequence[str] | None = None,
    routes: Sequence[Routes] = (),
) -> Any:
    """Return an ASGI application that serves collections.

    Use :func:`orthant.server.serve` to run one; use this to put one into a server of your own. It opens the collections
    when it starts and closes them when it stops, after the calls that run.

    Parameters
    ----------
    collections : mapping of str to (str, Path, Collection or callable)
        Folders, opened collections or functions that open one, by the name in their address.
    keys : KeyFile, str or Path, optional
        Who may come in. None lets in everyone who reaches it under a name of this machine: for loopback only.
    limits : Limits, optional
        Bounds of a request.
    models : mapping of str to model, optional
        What ``/v1/embeddings`` and ``/v1/rerank`` offer beside the encoders of the collections: encoders or what
        ``load_encoder`` takes, rerankers, or :class:`orthant.server.openai.models.ServedModel`.
    mcp_write : bool, default False
        Let programs that use the tools under ``/mcp`` add records, where their key may write.
    upgrades : mapping of str to encoder, or sequence of str, optional
        Encoders that a key with the scope admin may change a space to: what ``load_encoder`` takes, by the names that
        requests use. Default those that are shipped.
    routes : sequence of callable, default ()
        Functions of the :class:`Service` that return further ``APIRouter`` objects.

    Returns
    -------
    FastAPI
        With ``app.state.service``, the :class:`Service`.

    Raises
    ------
    MissingExtraError
        FastAPI is not installed.
    InputError
        A name that does not fit into an address.

    Examples
    --------
    >>> import tempfile
    >>> app = create_app({"books": tempfile.mkdtemp()})
    >>> app.state.service.names
    ['books']
    """
    try:
        from fastapi import FastAPI
    except ImportError as error:
        raise MissingExtraError(
            message("no FastAPI", "the extra 'serve'", "install it with: pip install 'orthant[serve]'")
        ) from error
    from orthant.server.failures import ERROR_SCHEMA, install
    from orthant.server.guard import Guard

    service = Service(
        collections,
        keys=KeyFile(keys) if isinstance(keys, (str, Path)) else keys,
        limits=limits,
        models=models,
        agents_write=mcp_write,
        upgrades=upgrades,
    )

    @asynccontextmanager
    async def running(app: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await service.run(stack)
            except OrthantError as error:
                # Kept for whoever runs the application, whose server only knows that it did not start.
                app.state.refused = error
                raise
            yield

    app = FastAPI(
        title="Orthant",
        version=__version__,
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        responses={"default": ERROR_SCHEMA},
        **_untraced(FastAPI),
    )
    # FastAPI's own way to change the document.
    app.openapi = _document(app, service)  # type: ignore[method-assign]
    app.state.service, app.state.refused = service, None
    install(app, service.hide)
    for name in (*_OWN, *filter(_exists, _PIECES)):
        app.include_router(importlib.import_module(name).routes(service))
    for make in routes:
        app.include_router(make(service))
    app.add_middleware(Guard, service=service)
    return app


def _document(app: Any, service: Service) -> Callable[[], dict[str, Any]]:
    """Let the OpenAPI document tell the fields of answers, and that all but the public addresses need a key."""
    from orthant.server.answers.shapes import finished

    plain = app.openapi
    held: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not held:
            held.update(finished(plain()))
        told: dict[str, Any] = held
        if service.keys is None:
            return told
        schemes = told.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["key"] = {"type": "http", "scheme": "bearer", "description": "Made by `orthant keys add`."}
        for path, methods in told["paths"].items():
            for call in methods.values():
                call["security"] = [] if path in service.public else [{"key": []}]
        return told

    return document


def _untraced(kind: Any) -> dict[str, Any]:
    """Newer versions of FastAPI trace and log by themselves, with paths, queries and messages that clients wrote."""
    if "telemetry" not in inspect.signature(kind).parameters:
        return {}
    return {"telemetry": dict.fromkeys(("tracing", "metrics", "logs", "operation_spans", "auto_configure"), False)}


def _exists(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
