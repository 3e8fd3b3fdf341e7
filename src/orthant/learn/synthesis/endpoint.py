"""Texts from an OpenAI-compatible endpoint, over the standard library: retries, rate limit, cost, cache."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthant.errors import EndpointError, InputError, message
from orthant.http_json import JsonClient, UnexpectedAnswerError
from orthant.learn.synthesis.generator import Generated, GenerationError, check_request
from orthant.learn.synthesis.response_cache import ResponseCache
from orthant.urls import check_url
from orthant.validate import check_count, check_fraction

__all__ = ["GenerationCost", "OpenAICompatible"]


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
        self._url = check_url(url) + "/chat/completions"
        if not model.strip():
            raise InputError(message(f"model={model!r}", "a name", "name the model at the server"))
        self._model, self._revision, self._system = model, revision, system
        self._client = JsonClient(
            key_from_env=key_from_env,
            timeout_s=timeout_s,
            retries=retries,
            backoff_s=backoff_s,
            requests_per_minute=requests_per_minute,
        )
        self._parallel = check_count(parallel, name="parallel", maximum=256)
        self._cache = None if cache is None else ResponseCache(cache)
        self._prices = None if prices is None else tuple(check_fraction(p, name="prices", high=1e9) for p in prices)
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(("requests", "cached", "prompt_tokens", "completion_tokens"), 0)
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
        return GenerationCost(**counts, retries=self._client.retried, price=price)

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

        self._client.key()  # a missing key is found before anything is sent
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

    def _answer(self, request: dict[str, Any]) -> Generated:
        identity = {"url": self._url, "revision": self._revision, **request}
        found = None if self._cache is None else self._cache.get(identity)
        if found is not None:
            with self._lock:
                self._counts["cached"] += 1
            return found
        try:
            generated = self._client.ask(self._url, request, read=_parsed)
        except EndpointError as error:
            raise GenerationError(str(error)) from error
        with self._lock:
            self._counts["requests"] += 1
            self._counts["prompt_tokens"] += generated.prompt_tokens
            self._counts["completion_tokens"] += generated.completion_tokens
        if self._cache is not None:
            self._cache.put(identity, generated)
        return generated


def _parsed(answer: Any) -> Generated:
    """Read an answer; anything but the expected form is worth another attempt."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        usage = answer.get("usage") or {}
        counts = [int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")]
        finish = "length" if choice.get("finish_reason") == "length" else "stop"
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise UnexpectedAnswerError(f"an answer that is no chat completion ({repr(answer)[:80]})") from None
    if not isinstance(text, str):
        raise UnexpectedAnswerError("a chat completion without text")
    return Generated(text, finish, counts[0], counts[1])
