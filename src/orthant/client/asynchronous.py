"""``AsyncRemoteCollection``: the same calls, awaited, over httpx."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar
from urllib.parse import quote

from orthant.client.calls import Call, Calls
from orthant.client.connection import encode_body, key_of, parsed
from orthant.errors import EndpointError, InputError, MissingExtraError, message
from orthant.urls import check_url

__all__ = ["AsyncRemoteCollection", "connect_async"]

P = ParamSpec("P")
T = TypeVar("T")


def _awaited(
    method: Callable[Concatenate[Calls, P], Call[T]],
) -> Callable[Concatenate[AsyncRemoteCollection, P], Awaitable[T]]:
    @functools.wraps(method)
    async def call(self: AsyncRemoteCollection, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._ask(method(self._calls, *args, **kwargs))

    return call


class AsyncRemoteCollection:
    """A collection on a server, with coroutine methods; made by :func:`connect_async`.

    Parameters
    ----------
    url : str
        Address of the server.
    name : str
        Of the collection there.
    key_from_env : str or None
        Environment variable with the key.
    timeout_s : float
        Longest wait for the server's next bytes.
    retries : int
        Further attempts when the server is busy.
    """

    search = _awaited(Calls.search)
    search_many = _awaited(Calls.search_many)
    similar = _awaited(Calls.similar)
    why_not = _awaited(Calls.why_not)
    get = _awaited(Calls.get)
    find = _awaited(Calls.find)
    ids = _awaited(Calls.ids)
    upsert = _awaited(Calls.upsert)
    delete = _awaited(Calls.delete)
    add_space = _awaited(Calls.add_space)
    stats = _awaited(Calls.stats)
    check = _awaited(Calls.check)
    finish = _awaited(Calls.finish)
    diagnose = _awaited(Calls.diagnose)
    snapshots = _awaited(Calls.snapshots)
    snapshot = _awaited(Calls.snapshot)
    drop_snapshot = _awaited(Calls.drop_snapshot)
    restore = _awaited(Calls.restore)

    def __init__(self, url: str, name: str, *, key_from_env: str | None, timeout_s: float, retries: int) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError(
                message(
                    "no httpx", "the extra 'client'", "install it, or use orthant.client.connect, which needs nothing"
                )
            ) from error
        self.name = name
        self._calls = Calls()
        self._url = check_url(url)
        self._path = f"/collections/{quote(name, safe='')}"
        self._key_from_env = key_from_env
        self._retries = retries
        self._lost: Any = httpx.TransportError
        # A redirect would carry the key to another host.
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False)

    async def _ask(self, call: Call[T]) -> T:
        url = f"{self._url}{self._path}/{call.path}".rstrip("/")
        headers = {"Content-Type": "application/json"}
        key = key_of(self._key_from_env)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        body = encode_body(call.body)
        attempt = 0
        while True:
            try:
                response = await self._client.request(call.method, url, content=body, headers=headers)
            except self._lost as error:
                if not call.repeatable or attempt == self._retries:
                    what = f"no answer from {self._url} ({type(error).__name__})"
                    raise EndpointError(
                        message(what, "a server that answers", "start it with `orthant serve`, or check the address")
                    ) from error
            else:
                if response.status_code not in (429, 503) or attempt == self._retries:
                    return call.read(parsed(response.status_code, response.content))
            await asyncio.sleep(0.1 * 2**attempt)
            attempt += 1

    async def close(self) -> None:
        """Close the connections; the collection goes on."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def connect_async(
    url: str,
    collection: str,
    *,
    key_from_env: str | None = None,
    timeout_s: float = 60.0,
    retries: int = 3,
) -> AsyncRemoteCollection:
    """Return a collection on a server, for asyncio: ``async with connect_async(...) as books``.

    Parameters
    ----------
    url, collection, key_from_env, timeout_s, retries
        As in :func:`orthant.client.connect`.

    Returns
    -------
    AsyncRemoteCollection
        Nothing is asked yet.

    Raises
    ------
    InputError
        An address that is none, or a name that cannot be one.
    MissingExtraError
        httpx is not installed.
    """
    if not isinstance(collection, str) or not collection:
        raise InputError(message(f"collection={collection!r}", "the name of a collection", "look at /collections"))
    return AsyncRemoteCollection(url, collection, key_from_env=key_from_env, timeout_s=timeout_s, retries=retries)
