"""Requests side by side: asked, checked, counted, and halved where a server refuses a batch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from orthant.encoders.api.batches import checked_rows
from orthant.encoders.api.shapes import Request, Shape
from orthant.errors import EndpointError
from orthant.http_json import JsonClient, UnexpectedAnswerError
from orthant.types import FloatArray, Role

__all__ = ["ApiCost", "Fetcher", "Item"]

_REFUSED_FOR_A_TEXT = (400, 413, 422)


@dataclass(frozen=True)
class ApiCost:
    """What a server was asked for so far.

    Attributes
    ----------
    requests : int
        Requests that were answered.
    retries : int
        Further attempts.
    cached : int
        Texts answered by the cache.
    tokens : int
        As the server counted them; estimated where it does not say.
    estimated_tokens : int
        The part of ``tokens`` that is an estimate.
    price : float
        In the currency of the price given; 0 without one.
    """

    requests: int = 0
    retries: int = 0
    cached: int = 0
    tokens: int = 0
    estimated_tokens: int = 0
    price: float = 0.0


@dataclass(frozen=True)
class Item:
    """One text to ask for.

    Attributes
    ----------
    position : int
        Where it stands in the user's call.
    text : str
        With its prompt.
    key : bytes
        Hash of what is asked.
    tokens : int
        Counted or estimated.
    """

    position: int
    text: str
    key: bytes
    tokens: int


class Fetcher:
    """Ask one server for vectors.

    Parameters
    ----------
    client : JsonClient
        Retries and rates.
    url : str
        Base address.
    shape : Shape
        How to speak with it.
    model : str
        Name of the model at the server.
    dimensions : int or None
        Asked for, and required of every answer.
    parallel : int
        Requests at a time.

    Attributes
    ----------
    dim : int or None
        Required of every vector once it is known.
    source : str
        Who answers, for messages.
    """

    def __init__(
        self, client: JsonClient, url: str, shape: Shape, model: str, *, dimensions: int | None, parallel: int
    ) -> None:
        self._client, self._url, self._shape, self._model = client, url + shape.path, shape, model
        self._dimensions, self._parallel = dimensions, parallel
        self.dim = dimensions
        self.source = f"{shape.name}:{model}"
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(("requests", "cached", "tokens", "estimated_tokens"), 0)

    @property
    def requests(self) -> int:
        """Requests answered so far."""
        return self._counts["requests"]

    def count_cached(self, texts: int) -> None:
        """Note texts that the cache answered.

        Parameters
        ----------
        texts : int
            How many.
        """
        with self._lock:
            self._counts["cached"] += texts

    def cost(self, price: float) -> ApiCost:
        """Return what was asked for.

        Parameters
        ----------
        price : float
            Of a million tokens.

        Returns
        -------
        ApiCost
            Of this object, since it was made.
        """
        with self._lock:
            counts = dict(self._counts)
        return ApiCost(**counts, retries=self._client.retried, price=counts["tokens"] * price / 1e6)

    def fetch(
        self,
        batches: Sequence[Sequence[Item]],
        *,
        role: Role,
        keep: Callable[[Sequence[Item], FloatArray], None],
    ) -> None:
        """Ask for batches and hand each answer on as it comes.

        Parameters
        ----------
        batches : sequence of sequences of Item
            One request each.
        role : {"query", "document"}
            What the texts are.
        keep : callable
            Takes the items of an answer and their vectors, of shape (n, dim); called from several threads.

        Raises
        ------
        EndpointError
            The server gave up or refused; the text says how many texts had been answered.
        DimensionError, NonFiniteError
            A wrong answer; the text names the position.
        """
        failed = threading.Event()
        answered = [0]

        def one(batch: Sequence[Item]) -> None:
            if failed.is_set():
                return
            try:
                for items, rows in self._answers(batch, role, failed):
                    keep(items, rows)
                    with self._lock:
                        answered[0] += len(items)
            except BaseException:
                failed.set()
                raise

        try:
            if self._parallel == 1 or len(batches) < 2:
                for batch in batches:
                    one(batch)
            else:
                # A pool of its own: requests that wait would hold up the shared pool's computations.
                with ThreadPoolExecutor(max_workers=min(self._parallel, len(batches))) as pool:
                    try:
                        list(pool.map(one, batches))
                    except BaseException:
                        failed.set()  # an interrupt must not wait for the requests that have not begun
                        raise
        except EndpointError as error:
            total = sum(map(len, batches))
            raise EndpointError(
                f"{error} {answered[0]} of {total} texts were answered before.", status=error.status
            ) from error

    def _answers(self, batch: Sequence[Item], role: Role, failed: threading.Event) -> Any:
        """Yield (items, vectors). A refused batch is halved until the text that is refused stands alone."""
        waiting = [list(batch)]
        while waiting and not failed.is_set():
            items = waiting.pop()
            try:
                yield items, self._ask(items, role)
            except EndpointError as error:
                if error.status not in _REFUSED_FOR_A_TEXT:
                    raise
                if len(items) == 1:
                    one = items[0]
                    raise EndpointError(
                        f"{error} It was asked for one text: position {one.position}, {len(one.text)} characters, "
                        f"{one.tokens} tokens by count or estimate.",
                        status=error.status,
                    ) from error
                half = len(items) // 2
                waiting += [items[half:], items[:half]]

    def _ask(self, items: Sequence[Item], role: Role) -> FloatArray:
        request = Request(tuple(item.text for item in items), self._model, role, self._dimensions)
        positions = [item.position for item in items]

        def read(answer: Any) -> tuple[FloatArray, int | None]:
            try:
                found = self._shape.read(answer)
                rows, counted = list(found.vectors), found.tokens
            except (KeyError, IndexError, TypeError, ValueError, AttributeError):
                raise UnexpectedAnswerError(f"an answer without vectors ({repr(answer)[:80]})") from None
            # What was answered is paid for, usable or not.
            self._count(counted, sum(item.tokens for item in items))
            return checked_rows(rows, positions=positions, dim=self.dim, source=self.source), counted

        tokens = sum(item.tokens for item in items)
        return self._client.ask(self._url, self._shape.body(request), read=read, tokens=tokens)[0]

    def _count(self, counted: int | None, estimated: int) -> None:
        with self._lock:
            self._counts["requests"] += 1
            self._counts["tokens"] += estimated if counted is None else counted
            self._counts["estimated_tokens"] += estimated if counted is None else 0
