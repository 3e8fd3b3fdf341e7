"""Texts from an OpenAI-compatible endpoint, over the standard library: retries, rate limit, cost, cache."""

from __future__ import annotations

import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthant.errors import InputError, NotFoundError, message
from orthant.learn.synthesis.generator import Generated, GenerationError, check_request
from orthant.learn.synthesis.response_cache import ResponseCache
from orthant.validate import check_count, check_fraction

__all__ = ["GenerationCost", "OpenAICompatible"]

_RETRIED = frozenset({408, 409, 425, 429})
_LONGEST_WAIT_S = 120.0
_LARGEST_ANSWER = 32 * 2**20


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuse redirects: they would carry the key to another host."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


class _RetryableError(Exception):
    """An answer that may be better the next time."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class GenerationCost:
    """What an endpoint was asked for so far.

    Attributes
    ----------
    requests : int
        Requests that were answered.
    retries : int
        Further attempts that failed.
    cached : int
        Prompts answered by the cache.
    prompt_tokens, completion_tokens : int
        As the endpoint counted them.
    price : float
        In the currency of the prices given; 0 without prices.
    """

    requests: int = 0
    retries: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    price: float = 0.0


class OpenAICompatible:
    """Ask a server that speaks OpenAI's chat completions: a hosted service, vLLM, llama.cpp, Ollama.

    Parameters
    ----------
    url : str
        Base address such as ``"http://localhost:8000/v1"``; ``/chat/completions`` is added.
    model : str
        Name of the model at the server.
    key_from_env : str, optional
        Environment variable that holds the key, read at every call and never stored, logged or shown. Left out, no
        key is sent.
    revision : str, default ""
        Anything that tells two models of one name apart; part of the cache's key.
    system : str, optional
        A system message before every prompt.
    timeout_s : float, default 60.0
        Longest wait for one answer.
    retries : int, default 4
        Further attempts after a dropped connection, a timeout, an answer that is no JSON, or status 408, 409, 425,
        429 and 5xx. 0 gives up at once.
    backoff_s : float, default 1.0
        Wait before the first retry; it doubles each time, with up to a quarter added at random, up to two minutes. A
        ``Retry-After`` of the server comes first.
    requests_per_minute : float, optional
        Rate that is not exceeded, over all threads of this object.
    parallel : int, default 1
        Requests at a time.
    cache : str or Path, optional
        Folder where answers are kept.
    prices : (float, float), optional
        Price of a million prompt tokens and of a million completion tokens.

    Raises
    ------
    InputError
        An address that is not http or https, or a setting out of range.

    Notes
    -----
    Plain http sends the key in the clear: use it on your own machine or network only. Redirects are refused, since they
    would carry the key elsewhere.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key_from_env: str | None = None,
        revision: str = "",
        system: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 4,
        backoff_s: float = 1.0,
        requests_per_minute: float | None = None,
        parallel: int = 1,
        cache: str | Path | None = None,
        prices: tuple[float, float] | None = None,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            # The address may hold a password: it is not repeated here.
            raise InputError(
                message(
                    "an address that is no plain http or https URL",
                    "such as 'http://localhost:8000/v1'",
                    "pass the key by key_from_env",
                )
            )
        if not model.strip():
            raise InputError(message(f"model={model!r}", "a name", "name the model at the server"))
        self._url = url.rstrip("/") + "/chat/completions"
        self._model, self._revision, self._system, self._key_name = model, revision, system, key_from_env
        self._timeout_s = check_fraction(timeout_s, name="timeout_s", low=0.001, high=86_400)
        self._retries = check_count(retries, name="retries", minimum=0, maximum=100)
        self._backoff_s = check_fraction(backoff_s, name="backoff_s", high=_LONGEST_WAIT_S)
        rate = requests_per_minute
        self._interval_s = (
            0.0 if rate is None else 60 / check_fraction(rate, name="requests_per_minute", low=1e-3, high=1e6)
        )
        self._parallel = check_count(parallel, name="parallel", maximum=256)
        self._cache = None if cache is None else ResponseCache(cache)
        self._prices = None if prices is None else tuple(check_fraction(p, name="prices", high=1e9) for p in prices)
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._lock = threading.Lock()
        self._next_start = 0.0
        self._counts = dict.fromkeys(("requests", "retries", "cached", "prompt_tokens", "completion_tokens"), 0)
        self.fingerprint = f"openai:{self._url}:{model}:{revision}"

    def __repr__(self) -> str:
        return f"OpenAICompatible({self._url!r}, {self._model!r})"

    @property
    def cost(self) -> GenerationCost:
        """What was asked for so far, by this object."""
        with self._lock:
            counts = dict(self._counts)
        price = 0.0
        if self._prices is not None:
            price = (counts["prompt_tokens"] * self._prices[0] + counts["completion_tokens"] * self._prices[1]) / 1e6
        return GenerationCost(**counts, price=price)

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> list[Generated]:
        """Return one text per prompt.

        Parameters
        ----------
        prompts : sequence of str
            Each becomes a user message of its own.
        max_tokens : int, default 128
            Longest answer.
        temperature : float, default 0.0
            Passed on.
        seed : int, default 0
            Passed on; servers honour it as far as they can.
        stop : sequence of str, default ()
            Passed on; most servers take up to four.

        Returns
        -------
        list of Generated
            In the order of the prompts.

        Raises
        ------
        GenerationError
            An endpoint that stays down, refuses a request or answers nonsense; ``partial`` holds the other texts, and
            the cache keeps them.
        NotFoundError
            The environment variable of the key is not set.
        InputError
            A blank prompt or an argument out of range.
        """
        listed, ends = check_request(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed, stop=stop)
        requests = [self._request(p, max_tokens, temperature, seed, ends) for p in listed]
        out: list[Generated | None] = [None] * len(requests)
        failed = threading.Event()
        errors: list[GenerationError] = []

        def answer(i: int) -> None:
            if failed.is_set():
                return
            try:
                out[i] = self._answer(requests[i])
            except GenerationError as error:
                errors.append(error)
                failed.set()

        self._key()  # a missing key is found before anything is sent
        if self._parallel == 1 or len(requests) < 2:
            for i in range(len(requests)):
                answer(i)
        else:
            # A pool of its own: requests that wait would hold up the shared pool's computations.
            with ThreadPoolExecutor(max_workers=min(self._parallel, len(requests))) as pool:
                list(pool.map(answer, range(len(requests))))
        if errors:
            done = sum(g is not None for g in out)
            raise GenerationError(f"{errors[0]} {done} of {len(out)} prompts were answered.", out) from errors[
                0
            ].__cause__
        return [g for g in out if g is not None]

    def _request(
        self, prompt: str, max_tokens: int, temperature: float, seed: int, stop: tuple[str, ...]
    ) -> dict[str, Any]:
        messages = [{"role": "user", "content": prompt}]
        if self._system is not None:
            messages.insert(0, {"role": "system", "content": self._system})
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
        }
        return {**body, "stop": list(stop)} if stop else body

    def _key(self) -> str:
        if self._key_name is None:
            return ""
        key = os.environ.get(self._key_name, "").strip()
        if not key:
            raise NotFoundError(
                message(f"no environment variable {self._key_name}", "one with the endpoint's key", "set it")
            )
        return key

    def _answer(self, request: dict[str, Any]) -> Generated:
        identity = {"url": self._url, "revision": self._revision, **request}
        found = None if self._cache is None else self._cache.get(identity)
        if found is not None:
            with self._lock:
                self._counts["cached"] += 1
            return found
        generated = self._with_retries(json.dumps(request).encode())
        with self._lock:
            self._counts["requests"] += 1
            self._counts["prompt_tokens"] += generated.prompt_tokens
            self._counts["completion_tokens"] += generated.completion_tokens
        if self._cache is not None:
            self._cache.put(identity, generated)
        return generated

    def _with_retries(self, body: bytes) -> Generated:
        attempt = 0
        while True:
            self._wait_for_turn()
            try:
                return _parsed(self._post(body))
            except _RetryableError as error:
                if attempt == self._retries:
                    raise GenerationError(
                        message(
                            f"{error} from {self._url}, {attempt + 1} times",
                            "an answer",
                            "start the endpoint or try later; what was answered is kept",
                        )
                    ) from error
                wait = error.wait_s
                if wait is None:
                    wait = self._backoff_s * 2**attempt * (1 + random.random() / 4)
                with self._lock:
                    self._counts["retries"] += 1
                time.sleep(min(wait, _LONGEST_WAIT_S))
                attempt += 1

    def _wait_for_turn(self) -> None:
        if not self._interval_s:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next_start)
            self._next_start = start + self._interval_s
        if start > now:
            time.sleep(start - now)

    def _post(self, body: bytes) -> bytes:
        key = self._key()
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "orthant"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                return response.read(_LARGEST_ANSWER)
        except urllib.error.HTTPError as error:
            shown = error.read(2000).decode("utf-8", "replace")
            # Some servers repeat the header they dislike.
            shown = " ".join((shown.replace(key, "***") if key else shown).split())[:300]
            reason = f"status {error.code} ({shown or error.reason})"
            if error.code in _RETRIED or error.code >= 500:
                raise _RetryableError(reason, _retry_after(error.headers.get("Retry-After"))) from None
            raise GenerationError(
                message(f"{reason} from {self._url}", "an accepted request", "check address, model and key")
            ) from None
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise _RetryableError(f"no answer ({type(error).__name__}: {why})") from None


def _retry_after(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None  # a date: the usual wait will do


def _parsed(payload: bytes) -> Generated:
    """Read an answer; anything but the expected form is worth another attempt."""
    try:
        answer = json.loads(payload)
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        usage = answer.get("usage") or {}
        counts = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
        finish = "length" if choice.get("finish_reason") == "length" else "stop"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise _RetryableError(f"an answer that is no chat completion ({payload[:80]!r})") from None
    if not isinstance(text, str):
        raise _RetryableError("a chat completion without text")
    return Generated(text, finish, counts[0], counts[1])
