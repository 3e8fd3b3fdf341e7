"""Requests over HTTP on the standard library: connections that stay open, errors as they were raised on the server."""

from __future__ import annotations

import http.client
import json
import os
import random
import ssl
import threading
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from orthant import errors
from orthant.errors import EndpointError, InputError, NotFoundError, OrthantError, message
from orthant.urls import check_url, retry_after_s

__all__ = ["Connection", "encode_body", "key_of", "parsed", "raised"]

_IDLE_S = 30.0
_BUSY = frozenset({429, 503})


class Connection:
    """Asks one server; safe for threads, each of which has a connection of its own.

    Parameters
    ----------
    url : str
        Address of the server.
    key_from_env : str or None
        Environment variable with the key, read at every request.
    timeout_s : float
        Longest wait for the server's next bytes.
    retries : int
        Further attempts after status 503 or 429, and after a lost connection where asking twice does no harm.
    """

    def __init__(self, url: str, *, key_from_env: str | None, timeout_s: float, retries: int) -> None:
        self.url = check_url(url)
        parts = urllib.parse.urlsplit(self.url)
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self._prefix = parts.path.rstrip("/")
        self._key_from_env = key_from_env
        if not timeout_s > 0 or retries < 0:
            raise InputError(
                message(f"timeout_s={timeout_s}, retries={retries}", "above 0, and 0 or more", "correct them")
            )
        self._timeout_s, self._retries = timeout_s, retries
        self._tls = ssl.create_default_context() if self._secure else None
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[http.client.HTTPConnection] = set()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None,
        *,
        kind: str = "application/json",
        repeatable: bool = True,
    ) -> Any:
        """Send a request and return the parsed answer.

        Parameters
        ----------
        method : str
            HTTP method.
        path : str
            Below the server's address.
        body : bytes, iterable of bytes or None
            What is sent; pieces are sent as they come, and never twice.
        kind : str, default "application/json"
            Media type of the body.
        repeatable : bool, default True
            Whether asking twice does the same as asking once.

        Returns
        -------
        object
            JSON values.

        Raises
        ------
        OrthantError
            As the server raised it.
        EndpointError
            No answer, or one of another form.
        """
        once = body is not None and not isinstance(body, bytes)
        attempt = 0
        while True:
            try:
                status, payload, wait_s = self._send(method, path, body, kind)
            except (OSError, http.client.HTTPException) as error:
                self._drop()
                if once or not repeatable or attempt == self._retries:
                    raise self._lost(error) from error
                wait_s = None
            else:
                if status not in _BUSY or once or attempt == self._retries:
                    return parsed(status, payload)
            wait = 0.1 * 2**attempt if wait_s is None else wait_s
            time.sleep(min(wait, 30.0) * (1 + random.random() / 4))
            attempt += 1

    def _send(self, method: str, path: str, body: Any, kind: str) -> tuple[int, bytes, float | None]:
        connection = self._connection()
        headers = {"Accept": "application/json", "User-Agent": "orthant"}
        if body is not None:
            headers["Content-Type"] = kind
        key = key_of(self._key_from_env)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        early = False
        try:
            connection.request(method, self._prefix + path, body, headers)
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a long body answers before it has read all of it.
            early = True
            if connection.sock is None:
                raise
        response = _response_of(connection) if early else connection.getresponse()
        payload = response.read()
        if response.will_close or early:
            self._drop()
        self._local.used = time.monotonic()
        return response.status, payload, retry_after_s(response.getheader("Retry-After"))

    def _connection(self) -> http.client.HTTPConnection:
        held: http.client.HTTPConnection | None = getattr(self._local, "connection", None)
        if held is not None and self._local.process != os.getpid():
            # Two processes that read from one socket get each other's answers.
            self._drop()
            held = None
        # The server closes connections that rest; asking on one that is just being closed would be lost.
        if held is not None and time.monotonic() - self._local.used > _IDLE_S:
            self._drop()
            held = None
        if held is None:
            if self._tls is None:
                held = http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)
            else:
                held = http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)
            self._local.connection, self._local.used = held, time.monotonic()
            self._local.process = os.getpid()
            with self._lock:
                self._open.add(held)
        return held

    def _drop(self) -> None:
        held = getattr(self._local, "connection", None)
        if held is not None:
            held.close()
            self._local.connection = None
            with self._lock:
                self._open.discard(held)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            held, self._open = list(self._open), set()
        for connection in held:
            connection.close()
        self._local = threading.local()

    def _lost(self, error: Exception) -> EndpointError:
        what = f"no answer from {self.url} ({type(error).__name__})"
        return EndpointError(
            message(what, "a server that answers", "start it with `orthant serve`, or check the address")
        )


def _response_of(connection: http.client.HTTPConnection) -> http.client.HTTPResponse:
    response = http.client.HTTPResponse(connection.sock)
    response.begin()
    return response


def key_of(variable: str | None) -> str:
    """Return the key from the environment, or an empty str where none is used.

    Parameters
    ----------
    variable : str or None
        Name of the environment variable.

    Returns
    -------
    str
        Not to be kept.

    Raises
    ------
    NotFoundError
        It is not set.
    InputError
        It holds what cannot be part of a header.
    """
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise NotFoundError(message(f"no environment variable {variable}", "one with the server's key", "set it"))
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(
            message(f"a key in {variable} with blanks or signs", "one as `orthant keys add` shows it", "correct it")
        )
    return key


def encode_body(body: Mapping[str, Any] | None) -> bytes | None:
    """Return a body as JSON.

    Parameters
    ----------
    body : mapping or None
        Plain values.

    Returns
    -------
    bytes or None
        UTF-8.

    Raises
    ------
    InputError
        A value that JSON does not have.
    """
    if body is None:
        return None
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":"), default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            message(f"a value that is no JSON: {error}", "JSON values, without NaN", "convert it")
        ) from error


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")


def parsed(status: int, payload: bytes) -> Any:
    """Return the values of an answer, or raise the error that it reports.

    Parameters
    ----------
    status : int
        HTTP status.
    payload : bytes
        The body.

    Returns
    -------
    object
        JSON values.

    Raises
    ------
    OrthantError
        As the server raised it; :class:`EndpointError` with ``status`` for what has no class of its own.
    """
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError):
        what = f"status {status} without JSON"
        raise EndpointError(message(what, "an answer of `orthant serve`", "check the address"), status=status) from None
    if status < 400:
        return values
    raise raised(status, values)


def raised(status: int, values: Any) -> OrthantError:
    """Return the error that an answer reports.

    Parameters
    ----------
    status : int
        HTTP status.
    values : object
        The parsed body.

    Returns
    -------
    OrthantError
        Of the class that the server named, where that is one of ``orthant.errors``.
    """
    told = values.get("error") if isinstance(values, dict) else None
    if not isinstance(told, dict) or not isinstance(told.get("message"), str):
        what = f"status {status} in another form"
        return EndpointError(message(what, "an answer of `orthant serve`", "check the address"), status=status)
    kind = getattr(errors, str(told.get("type")), None) if told.get("type") in errors.__all__ else None
    text = told["message"]
    if isinstance(told.get("records"), int):
        text += f" {told['records']:,} records were stored before."
    if isinstance(kind, type) and issubclass(kind, OrthantError) and kind is not EndpointError:
        return kind(text)
    return EndpointError(text, status=status)
