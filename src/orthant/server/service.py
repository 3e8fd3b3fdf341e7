"""What every router is given: the served collections, who may use them, bounds and figures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request

from orthant.collection.asynchronous.wrapper import AsyncCollection
from orthant.collection.collection import Collection
from orthant.collection.legs.preparing import prepare_searches
from orthant.collection.opening import open
from orthant.errors import InputError, NotFoundError, OrthantError, message
from orthant.kernels.warmup import pending
from orthant.server.batching import QueryBatcher
from orthant.server.failures import Refusal, within
from orthant.server.keys import Grant, KeyFile, check_served_name
from orthant.server.limits import Limits
from orthant.server.metrics import Metrics
from orthant.server.openai.models import Models
from orthant.server.tracing import Tracing
from orthant.server.upgrading.runs import Upgrades
from orthant.server.wire import results_json

if TYPE_CHECKING:
    from orthant.server.app import Opener

__all__ = ["Served", "Service"]

T = TypeVar("T")
_EVERYTHING = Grant("-", {"*": "admin"})


class Served:
    """One collection of a running server.

    Attributes
    ----------
    name : str
        As in its address.
    calls : AsyncCollection
        Its calls, awaited: ``await served.calls.read(lambda c: ...)``, ``await served.calls.write(...)``.

    Parameters
    ----------
    name : str
        As in its address.
    opener : callable
        Opens the collection.
    limits : Limits
        Bounds.
    metrics : Metrics
        Where passes are counted.
    tracing : Tracing
        Where calls are told.
    """

    def __init__(self, name: str, opener: Opener, limits: Limits, metrics: Metrics, tracing: Tracing) -> None:
        self.name = name
        self.calls = AsyncCollection(opener, concurrency=limits.concurrency, max_waiting=limits.max_waiting)
        self._limits = limits
        self._metrics = metrics
        self._tracing = tracing
        self._batcher = QueryBatcher(self._pass, max_batch=limits.max_batch, max_waiting=limits.max_waiting)

    async def read(self, function: Callable[[Collection], T]) -> T:
        """Run a reading call on a thread, for as long as a call may take.

        Parameters
        ----------
        function : callable of Collection
            May block.

        Returns
        -------
        object
            What it gave.

        Raises
        ------
        Refusal
            Status 504: it took too long; its result is dropped.
        OverloadedError
            Too many calls wait.
        """
        with self._tracing.span("orthant.read", collection=self.name):
            return await within(self.calls.read(function), self._limits)

    async def write(self, function: Callable[[Collection], T]) -> T:
        """Run a writing call after those before it; once begun it is finished, whatever becomes of the client.

        Parameters
        ----------
        function : callable of Collection
            May block.

        Returns
        -------
        object
            What it gave; what was written is durable.
        """
        with self._tracing.span("orthant.write", collection=self.name):
            return await self.calls.write(function)

    async def search_together(self, key: str, settings: Mapping[str, Any], query: Any) -> bytes:
        """Answer one query, in one pass with those of other clients.

        Parameters
        ----------
        key : str
            Equal for equal settings.
        settings : mapping
            Arguments of ``search_many`` but the queries.
        query : tuple
            The text or None, and the vector or None.

        Returns
        -------
        bytes
            The result as JSON.
        """
        with self._tracing.span("orthant.search_together", collection=self.name):
            return await within(self._batcher.ask(key, settings, query), self._limits)

    async def prepare(self) -> None:
        """Load graphs and code before anybody asks; what is damaged is told to who searches."""
        with suppress(OrthantError, OSError):
            await self.calls.read(lambda collection: prepare_searches(collection._store.refreshed()))

    async def _pass(self, settings: Mapping[str, Any], queries: Sequence[tuple[Any, Any]]) -> list[bytes]:
        self._metrics.batch(len(queries))
        texts = [text for text, _ in queries]
        vectors = None if queries[0][1] is None else [vector for _, vector in queries]

        def run(collection: Collection) -> list[bytes]:
            return results_json(collection.search_many(texts, vectors=vectors, **settings))

        with self._tracing.span("orthant.pass", collection=self.name, queries=len(queries)):
            return await self.calls.read(run)


class Service:
    """The state of a server; routers keep it and ask it for collections.

    Parameters
    ----------
    collections : mapping of str to (str, Path, Collection or callable)
        Folders, opened collections or functions that open one, by name. What is opened here is closed here, and so is
        what was handed over.
    keys : KeyFile, optional
        Who may come in. None lets in everyone who reaches the server under a name of this machine.
    limits : Limits, optional
        Bounds.
    models : mapping of str to model, optional
        Further models, as in :func:`create_app`.
    tracing : Tracing, optional
        Where requests are told.
    agents_write : bool, default False
        Let programs that speak the Model Context Protocol add records, where their key may write.
    upgrades : mapping of str to encoder, or sequence of str, optional
        Encoders that spaces may be changed to, as in :func:`create_app`.

    Attributes
    ----------
    metrics : Metrics
        Figures.
    models : Models
        Models that are served beside the encoders of the collections.
    upgrades : Upgrades
        Replacements of encoders, one per collection.
    public : set of str
        Addresses that need no key; those that end in ``/`` stand for everything below, but for ``/``.
    """

    def __init__(
        self,
        collections: Mapping[str, str | Path | Collection | Opener],
        *,
        keys: KeyFile | None = None,
        limits: Limits | None = None,
        models: Mapping[str, Any] | None = None,
        tracing: Tracing | None = None,
        agents_write: bool = False,
        upgrades: Mapping[str, Any] | Sequence[str] | None = None,
    ) -> None:
        self.keys = keys
        self.limits = Limits() if limits is None else limits
        self.metrics = Metrics()
        self.tracing = Tracing() if tracing is None else tracing
        self.agents_write = agents_write
        self.public = {"/healthz", "/readyz", "/docs", "/docs.css", "/openapi.json"}
        self.ready = False
        self._openers = {check_served_name(name): _opener(given) for name, given in collections.items()}
        # Models and collections share one set of names, and so the scopes of keys.
        both = sorted(set(models or {}) & set(self._openers))
        if both:
            given = f"a model and a collection called {both[0]!r}"
            raise InputError(message(given, "a name for each", "choose another name for the model"))
        self.models = Models({check_served_name(name): model for name, model in (models or {}).items()})
        self.upgrades = Upgrades(upgrades, self.hide)
        self._served: dict[str, Served] = {}
        self._paths: dict[str, str] = {}
        self._preparing: asyncio.Future[list[None]] | None = None

    @property
    def preparing(self) -> bool:
        """Whether graphs are being loaded or code compiled, behind answers that do without."""
        return (self._preparing is not None and not self._preparing.done()) or bool(pending())

    @property
    def names(self) -> list[str]:
        """Names of the served collections."""
        return list(self._openers)

    async def run(self, stack: AsyncExitStack) -> None:
        """Open every collection; they are closed with the stack, after the calls that run.

        Parameters
        ----------
        stack : AsyncExitStack
            Entered by the application for as long as it runs.
        """
        for name, opener in self._openers.items():
            served = Served(name, opener, self.limits, self.metrics, self.tracing)
            await stack.enter_async_context(served.calls)
            path = await served.calls.read(lambda collection: collection.path)
            self._paths |= {str(path): name, str(path.resolve()): name}
            self._served[name] = served
        # Left before the collections are closed.
        stack.push_async_callback(self.upgrades.close)
        self._preparing = asyncio.gather(*(served.prepare() for served in self._served.values()))
        await self.models.run(stack, self.limits)
        self.ready = True
        stack.callback(self._stop)

    def _stop(self) -> None:
        self.ready = False
        self._served = {}

    def admit(self, authorization: str | None) -> Grant:
        """Return what a client may do, by the header that it sent.

        Parameters
        ----------
        authorization : str or None
            ``"Bearer KEY"``.

        Returns
        -------
        Grant
            Everything where the server has no keys.

        Raises
        ------
        Refusal
            Status 401: no key, or one that does not exist.
        """
        if self.keys is None:
            return _EVERYTHING
        scheme, _, key = (authorization or "").partition(" ")
        grant = self.keys.verify(key.strip()) if scheme.lower() == "bearer" else None
        if grant is None:
            text = message(
                "no key" if not authorization else "a key that is not known",
                "'Authorization: Bearer KEY'",
                "ask the operator for one, made by `orthant keys add`",
            )
            raise Refusal(401, "Unauthorized", text, headers={"WWW-Authenticate": "Bearer"})
        return grant

    def grant(self, request: Request) -> Grant:
        """Return what the sender of a request may do.

        Parameters
        ----------
        request : Request
            Any request that came through the application.

        Returns
        -------
        Grant
            As checked before the body was read.
        """
        held = request.scope.get("orthant.grant")
        return held if isinstance(held, Grant) else self.admit(request.headers.get("authorization"))

    def require(self, request: Request, name: str, scope: str) -> Grant:
        """Refuse a request that its key does not allow.

        Parameters
        ----------
        request : Request
            The request.
        name : str
            Collection, or ``"*"`` for all of them.
        scope : {"read", "write", "admin"}
            What is to be done.

        Returns
        -------
        Grant
            The sender's.

        Raises
        ------
        Refusal
            Status 403; the same whether or not there is such a collection.
        """
        grant = self.grant(request)
        if not grant.allows(name, scope):
            text = message(f"a key without {scope!r} for this collection", f"one with {scope!r}", "use another key")
            raise Refusal(403, "Forbidden", text)
        return grant

    def collection(self, request: Request, name: str, scope: str = "read") -> Served:
        """Return a collection, where the sender may use it so.

        Parameters
        ----------
        request : Request
            The request.
        name : str
            Its name.
        scope : {"read", "write", "admin"}, default "read"
            What is to be done.

        Returns
        -------
        Served
            The collection.

        Raises
        ------
        Refusal
            Status 403, or 503 before the server is ready and while it stops.
        NotFoundError
            No such collection.
        """
        self.require(request, name, scope)
        return self.served(name)

    def served(self, name: str) -> Served:
        """Return a collection without asking who wants it; for routes that check something else first.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        Served
            The collection.

        Raises
        ------
        Refusal
            Status 503 before the server is ready and while it stops.
        NotFoundError
            No such collection.
        """
        if name in self._served:
            return self._served[name]
        if name in self._openers:
            text = message("a server that starts or stops", "one that is ready", "try again")
            raise Refusal(503, "NotReady", text, headers={"Retry-After": "1"})
        raise NotFoundError(message("a collection that is not served", "one of /collections", "look there"))

    def visible(self, request: Request) -> list[Served]:
        """Return the collections that the sender may read.

        Parameters
        ----------
        request : Request
            The request.

        Returns
        -------
        list of Served
            By the order in which they were given.
        """
        grant = self.grant(request)
        return [served for name, served in self._served.items() if grant.allows(name, "read")]

    def hide(self, text: str) -> str:
        """Return a text without paths of the host.

        Parameters
        ----------
        text : str
            Such as an error's.

        Returns
        -------
        str
            Folders of collections are replaced by their names.
        """
        for path, name in sorted(self._paths.items(), key=lambda pair: -len(pair[0])):
            text = text.replace(path, name)
        return text

    async def figures(self) -> dict[str, dict[str, float]]:
        """Return gauges of every collection.

        Returns
        -------
        dict of str to dict of str to float
            Records, generation, calls that run and wait.
        """
        out: dict[str, dict[str, float]] = {}
        for name, served in self._served.items():
            records, generation = await served.read(lambda c: (len(c), c._store.generation.number))
            out[name] = {"records": records, "generation": generation, **served.calls.load}
        return out


def _opener(given: Any) -> Opener:
    if isinstance(given, Collection):
        return lambda: given
    if isinstance(given, (str, Path)):
        path = given
        return lambda: open(path)
    if callable(given):
        return given
    raise InputError(message(f"a collection of type {type(given).__name__}", "a folder", "pass its path"))
