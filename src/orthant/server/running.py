"""Running the application: uvicorn with time limits on heads of requests, and keys wherever others can reach it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orthant.collection.collection import Collection
from orthant.errors import InputError, MissingExtraError, StoreError, message
from orthant.server.app import Opener, create_app
from orthant.server.keys import KeyFile
from orthant.server.limits import Limits
from orthant.server.pauses import short_pauses
from orthant.urls import is_loopback
from orthant.validate import check_count

__all__ = ["DEFAULT_PORT", "background", "serve"]

DEFAULT_PORT = 8372
_KEEP_ALIVE_S = 75
_GRACE_S = 30
_MOST_HEAD_BYTES = 64 * 1024


def serve(
    collections: Mapping[str, str | Path | Collection | Opener],
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    keys: KeyFile | str | Path | None = None,
    limits: Limits | None = None,
    models: Mapping[str, Any] | None = None,
    mcp_write: bool = False,
    upgrades: Mapping[str, Any] | Sequence[str] | None = None,
    tls_certificate: str | Path | None = None,
    tls_key: str | Path | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve collections until the process is told to stop; then finish running requests and close them.

    Parameters
    ----------
    collections, limits, models, mcp_write, upgrades
        As in :func:`create_app`.
    host : str, default "127.0.0.1"
        Where to listen. Anything beyond loopback needs ``keys``.
    port : int, default 8372
        Port, 0 for any that is free.
    keys : KeyFile, str or Path, optional
        Who may come in.
    tls_certificate, tls_key : str or Path, optional
        PEM files for https. Without them keys travel in the clear: use a proxy with TLS, or a network of your own.
    ready : callable of str, optional
        Told the address once it answers.

    Raises
    ------
    InputError
        A host beyond loopback without a key, or one of certificate and key without the other.
    MissingExtraError
        FastAPI or uvicorn is not installed.
    StoreError
        The port is taken.
    OrthantError
        What opening a collection raised.

    Notes
    -----
    One process serves: a collection has one writer, and its threads use all CPUs. After SIGTERM or Ctrl-C no connection
    is accepted any more, requests that run get 30 s, and a write that has begun is always finished. What was answered
    is durable in any case.
    """
    server = _server(
        collections,
        host=host,
        port=port,
        keys=keys,
        limits=limits,
        models=models,
        mcp_write=mcp_write,
        upgrades=upgrades,
        tls=(tls_certificate, tls_key),
        ready=ready,
    )
    _run(server)


@contextmanager
def background(
    collections: Mapping[str, str | Path | Collection | Opener],
    *,
    keys: KeyFile | str | Path | None = None,
    limits: Limits | None = None,
    models: Mapping[str, Any] | None = None,
    mcp_write: bool = False,
    upgrades: Mapping[str, Any] | Sequence[str] | None = None,
) -> Iterator[str]:
    """Serve collections on a free port of this machine from a thread; for notebooks and tests.

    Parameters
    ----------
    collections, keys, limits, models, mcp_write, upgrades
        As in :func:`create_app`.

    Yields
    ------
    str
        The address, such as ``"http://127.0.0.1:40123"``.

    Raises
    ------
    StoreError
        The server did not start.

    Examples
    --------
    >>> import tempfile, urllib.request
    >>> with background({"books": tempfile.mkdtemp()}) as url:
    ...     urllib.request.urlopen(f"{url}/readyz").status
    200
    """
    told: list[str] = []
    failed: list[BaseException] = []
    server = _server(
        collections,
        host="127.0.0.1",
        port=0,
        keys=keys,
        limits=limits,
        models=models,
        mcp_write=mcp_write,
        upgrades=upgrades,
        tls=(None, None),
        ready=told.append,
    )

    def run() -> None:
        try:
            _run(server)
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            failed.append(error)

    thread = threading.Thread(target=run, name="orthant-server", daemon=True)
    thread.start()
    try:
        while not told:
            if not thread.is_alive():
                raise failed[0] if failed else StoreError(_not_started())
            time.sleep(0.005)
        yield told[0]
    finally:
        server.should_exit = True
        thread.join()


def _server(
    collections: Mapping[str, Any],
    *,
    host: str,
    port: int,
    keys: KeyFile | str | Path | None,
    limits: Limits | None,
    models: Mapping[str, Any] | None,
    mcp_write: bool,
    upgrades: Mapping[str, Any] | Sequence[str] | None,
    tls: tuple[str | Path | None, str | Path | None],
    ready: Callable[[str], None] | None,
) -> Any:
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError(
            message("no uvicorn", "the extra 'serve'", "install it with: pip install 'orthant[serve]'")
        ) from error
    held = KeyFile(keys) if isinstance(keys, (str, Path)) else keys
    if not is_loopback(host) and (held is None or not held.list()):
        raise InputError(
            message(
                f"host={host!r}, which others can reach, without a key",
                "a key for each of them",
                "make one with `orthant keys add`, or listen at 127.0.0.1",
            )
        )
    if (tls[0] is None) != (tls[1] is None):
        raise InputError(message("one of tls_certificate and tls_key", "both or neither", "pass both files"))
    check_count(port, name="port", minimum=0, maximum=65_535)
    limits = Limits() if limits is None else limits
    app = create_app(collections, keys=held, limits=limits, models=models, mcp_write=mcp_write, upgrades=upgrades)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=_protocol(limits.header_timeout_s),
        ws="none",
        log_config=None,
        log_level=logging.WARNING,
        # Its lines would hold addresses, and addresses hold what clients write.
        access_log=False,
        # Only the operator could say which proxy to believe.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.max_connections,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_MOST_HEAD_BYTES,
        ssl_certfile=tls[0],
        ssl_keyfile=tls[1],
        lifespan="on",
    )
    return _telling(uvicorn.Server)(config, ready)


def _telling(kind: Any) -> Any:
    """A server that says where it listens."""

    class Telling(kind):  # type: ignore[misc]
        def __init__(self, config: Any, ready: Callable[[str], None] | None) -> None:
            super().__init__(config)
            self._ready = ready

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started and self._ready is not None:
                host, port = self.servers[0].sockets[0].getsockname()[:2]
                scheme = "https" if self.config.is_ssl else "http"
                self._ready(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")

    return Telling


def _run(server: Any) -> None:
    state, log = server.config.app.state, logging.getLogger("uvicorn.error")

    def unsaid(_: logging.LogRecord) -> bool:
        """Leave out the traceback of what is raised here."""
        return state.refused is None

    log.addFilter(unsaid)
    try:
        with short_pauses():
            server.run()
    except SystemExit as ended:
        if not ended.code:
            raise
        if state.refused is not None:
            raise state.refused from None
        # uvicorn's way to say that it could not start; its log has the reason.
        raise StoreError(_not_started()) from None
    finally:
        log.removeFilter(unsaid)


def _not_started() -> str:
    return message(
        "a server that could not start", "a free port, and collections that open", "read the lines above, and mend that"
    )


def _protocol(timeout_s: float) -> Any:
    """The protocol of uvicorn, which alone would wait for ever for the rest of a head."""
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as Quick

        kind: Any = Quick
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol

        kind = H11Protocol

    class Timed(kind):  # type: ignore[misc]
        _timer: Any = None
        _head_bytes = 0

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._timer = self.loop.call_later(timeout_s, self._late)

        def _between(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _late(self) -> None:
            self._timer = None
            if self._between():
                self.transport.close()

        def data_received(self, data: bytes) -> None:
            if self._between():
                self._head_bytes += len(data)
                if self._timer is None:
                    self._timer = self.loop.call_later(timeout_s, self._late)
            super().data_received(data)
            if not self._between():
                self._head_bytes = 0
                self._disarm()
            elif self._head_bytes > _MOST_HEAD_BYTES:
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    return Timed
