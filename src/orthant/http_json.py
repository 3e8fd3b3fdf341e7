"""JSON over HTTP with manners, on the standard library: retries, rate, timeouts, no redirects, no key in sight."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from orthant.errors import EndpointError, NotFoundError, message
from orthant.urls import retry_after_s
from orthant.validate import check_count, check_fraction

__all__ = ["JsonClient", "UnexpectedAnswerError"]

T = TypeVar("T")

_RETRIED = frozenset({408, 409, 425, 429})
_LONGEST_WAIT_S = 120.0


class UnexpectedAnswerError(Exception):
    """An answer that may be better the next time; raised by a reader, caught by :class:`JsonClient`.

    Parameters
    ----------
    reason : str
        What was wrong.
    wait_s : float, optional
        Seconds that the server asks to wait.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuse redirects: they would carry the key to another host."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


class JsonClient:
    """Ask servers for JSON: one object per endpoint, safe for threads.

    Parameters
    ----------
    key_from_env : str, optional
        Environment variable that holds the key, read at every request and never stored, logged or shown. Left out, no
        key is sent. It travels as ``Authorization: Bearer``.
    timeout_s : float, default 60.0
        Longest wait for the server's next bytes, 0.001 to 86,400. Too small, and slow answers are asked for (and paid)
        again.
    retries : int, default 4
        Further attempts after a dropped connection, a timeout, an answer of another form, or status 408, 409, 425, 429
        and 5xx. 0 gives up at once.
    backoff_s : float, default 1.0
        Wait before the first retry, 0 to 120; it doubles each time, with up to a quarter added at random, up to two
        minutes. A ``Retry-After`` of the server comes first.
    requests_per_minute, tokens_per_minute : float, optional
        Rates that are not exceeded, over all threads of this object; requests are spread evenly.
    largest_answer_bytes : int, default 33,554,432
        A longer answer is refused.

    Raises
    ------
    InputError
        A setting out of range.

    Notes
    -----
    Plain http sends the key in the clear: use it on your own machine or network only. Proxies named by the environment
    are used.

    Examples
    --------
    >>> client = JsonClient(retries=0, requests_per_minute=60)
    >>> client.retried
    0
    """

    def __init__(
        self,
        *,
        key_from_env: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 4,
        backoff_s: float = 1.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        largest_answer_bytes: int = 32 * 2**20,
    ) -> None:
        self._key_name = key_from_env
        self._timeout_s = check_fraction(timeout_s, name="timeout_s", low=0.001, high=86_400)
        self._retries = check_count(retries, name="retries", minimum=0, maximum=100)
        self._backoff_s = check_fraction(backoff_s, name="backoff_s", high=_LONGEST_WAIT_S)
        self._request_s = _interval(requests_per_minute, "requests_per_minute", 1e6)
        self._token_s = _interval(tokens_per_minute, "tokens_per_minute", 1e12)
        self._largest = check_count(largest_answer_bytes, name="largest_answer_bytes")
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._retried = 0

    @property
    def retried(self) -> int:
        """Further attempts so far."""
        with self._lock:
            return self._retried

    def spaced_s(self, *, requests: int, tokens: int) -> float:
        """Return the shortest time that the rates allow for some requests.

        Parameters
        ----------
        requests : int
            How many.
        tokens : int
            Tokens of all of them together.

        Returns
        -------
        float
            Seconds; 0 without rates.
        """
        return max(self._request_s * requests, self._token_s * tokens)

    def key(self) -> str:
        """Return the key from the environment, or an empty str where none is used.

        Returns
        -------
        str
            Do not keep it.

        Raises
        ------
        NotFoundError
            The variable is not set.
        """
        if self._key_name is None:
            return ""
        key = os.environ.get(self._key_name, "").strip()
        if not key:
            raise NotFoundError(
                message(f"no environment variable {self._key_name}", "one with the endpoint's key", "set it")
            )
        return key

    def ask(self, url: str, body: Mapping[str, Any] | None, *, read: Callable[[Any], T], tokens: int = 0) -> T:
        """Post a JSON body, or get without one, and return what the reader makes of the answer.

        Parameters
        ----------
        url : str
            Full address.
        body : mapping or None
            JSON values; None sends GET.
        read : callable
            Takes the parsed answer. It raises :class:`UnexpectedAnswerError` for what another attempt may mend; any
            other error of its own passes through.
        tokens : int, default 0
            What the request counts for ``tokens_per_minute``.

        Returns
        -------
        object
            The reader's result.

        Raises
        ------
        EndpointError
            The server stays down, refuses the request, or answers in another form, after all retries.
        NotFoundError
            The environment variable of the key is not set.
        """
        data = None if body is None else json.dumps(body).encode()
        attempt = 0
        while True:
            self._wait_for_turn(tokens)
            try:
                return read(self._parsed(self._send(url, data)))
            except UnexpectedAnswerError as error:
                if attempt == self._retries:
                    raise EndpointError(
                        message(
                            f"{error} from {url}, {attempt + 1} times",
                            "an answer",
                            "start the endpoint or try later; what was answered is kept where there is a cache",
                        )
                    ) from error
                wait = error.wait_s
                if wait is None:
                    wait = self._backoff_s * 2**attempt * (1 + random.random() / 4)
                with self._lock:
                    self._retried += 1
                time.sleep(min(wait, _LONGEST_WAIT_S))
                attempt += 1

    def _wait_for_turn(self, tokens: int) -> None:
        interval = max(self._request_s, self._token_s * tokens)
        if not interval:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + interval
        if start > now:
            time.sleep(start - now)

    def _send(self, url: str, data: bytes | None) -> bytes:
        key = self.key()
        headers = {"Accept": "application/json", "User-Agent": "orthant"}
        if data is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(url, data=data, headers=headers, method="GET" if data is None else "POST")
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                payload: bytes = response.read(self._largest + 1)
        except urllib.error.HTTPError as error:
            raise self._refusal(url, error, key) from None
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise UnexpectedAnswerError(f"no answer ({type(error).__name__}: {why})") from None
        if len(payload) > self._largest:
            raise EndpointError(
                message(f"an answer of over {self._largest} bytes from {url}", "a shorter one", "ask for less at once")
            )
        return payload

    def _refusal(self, url: str, error: urllib.error.HTTPError, key: str) -> Exception:
        try:
            shown = error.read(2000).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            shown = ""  # the status says enough
        # Some servers repeat the header they dislike.
        shown = " ".join((shown.replace(key, "***") if key else shown).split())[:300]
        reason = f"status {error.code} ({shown or error.reason})"
        if error.code in _RETRIED or error.code >= 500:
            return UnexpectedAnswerError(reason, retry_after_s(error.headers.get("Retry-After")))
        text = message(f"{reason} from {url}", "an accepted request", "check address, model and key")
        return EndpointError(text, status=error.code)

    @staticmethod
    def _parsed(payload: bytes) -> Any:
        try:
            return json.loads(payload)
        except (ValueError, RecursionError):
            raise UnexpectedAnswerError(f"an answer that is no JSON ({payload[:80]!r})") from None


def _interval(rate: float | None, name: str, high: float) -> float:
    return 0.0 if rate is None else 60 / check_fraction(rate, name=name, low=1e-3, high=high)
