"""An encoder behind an API: cached, paced, counted, watched."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.encoders.api.batches import check_texts_are_unicode, checked_rows, counted_tokens, plan_batches
from orthant.encoders.api.canaries import CANARIES, CanaryWatch
from orthant.encoders.api.fetching import ApiCost, Fetcher, Item
from orthant.encoders.api.shapes import Described, Request, Shape, named_shape
from orthant.encoders.api.vector_cache import VectorCache
from orthant.encoders.fingerprint import Fingerprint, prompt_label
from orthant.encoders.progress import progress_bar
from orthant.errors import EncoderMismatchError, EndpointError, InputError, message
from orthant.http_json import JsonClient, UnexpectedAnswerError
from orthant.types import EncodeReport, FloatArray, Role
from orthant.urls import check_url
from orthant.validate import as_texts, check_choice, check_count, check_fraction

__all__ = ["ApiEncoder", "ApiEstimate"]

_LARGEST_ANSWER = 512 * 2**20


@dataclass(frozen=True)
class ApiEstimate:
    """What encoding some texts would take.

    Attributes
    ----------
    texts : int
        Texts given.
    cached : int
        Texts that the cache would answer, repetitions and blank texts included.
    requests : int
        Requests without retries and canaries.
    tokens : int
        By ``count_tokens``, or a third of the bytes.
    price : float
        In the currency of the price given; 0 without one.
    seconds : float
        The least that the rates allow; 0 without rates.
    """

    texts: int
    cached: int
    requests: int
    tokens: int
    price: float
    seconds: float


class ApiEncoder:
    """Encode texts on a server: OpenAI, Cohere, text-embeddings-inference, Ollama, or an API that you describe.

    Use it when the model cannot run in this process. Unless ``canary_every`` is None, it asks for three short canary
    texts when it is made; these also tell the dimension.

    Parameters
    ----------
    shape : {"openai", "cohere", "tei", "ollama"} or Shape
        How to speak with the server.
    model : str, optional
        Name of the model at the server. Only ``"tei"`` may leave it out, since its servers say.
    url : str, optional
        Base address, such as ``"http://localhost:8000/v1"``; default the provider's own.
    dimensions : int, optional
        Shorter vectors, where model and shape know how.
    revision : str, default ""
        What tells two models of one name apart. TEI and Ollama say it themselves.
    query_prompt, document_prompt : str, default ""
        Put before every text. Cohere's ``input_type`` follows from the role without it.
    key_from_env : str, optional
        Environment variable of the key; it is read at every request, and never stored, logged or shown. Default
        ``OPENAI_API_KEY`` or ``CO_API_KEY`` at the provider's own address; no key is sent to another ``url``
        unless you name one.
    max_tokens : int, optional
        Window of the model. It is not enforced here: servers are told to refuse longer texts, not to cut them.
    count_tokens : callable, optional
        From a text to its tokens. Left out, a third of the bytes is assumed.
    max_batch : int, optional
        Most texts per request; default what the provider takes. ``batch_size`` of a call may ask for fewer.
    max_batch_tokens : int, optional
        Most tokens per request. Too small makes many requests; too large is refused by the server.
    timeout_s, retries, backoff_s, requests_per_minute, tokens_per_minute
        As for :class:`orthant.http_json.JsonClient`.
    parallel : int, default 4
        Requests at a time, 1 to 256.
    cache : str or Path, optional
        Folder for vectors; see :class:`~orthant.encoders.api.vector_cache.VectorCache`. With it a failed call resumes
        where it stopped, and canaries are compared with those of the first day.
    price : float, optional
        Of a million tokens, in any currency.
    canary_every : int or None, default 1000
        Requests between two comparisons of the canaries. Small costs requests; large notices late. None never compares,
        and the server is asked at making only where the dimension is not known from ``dimensions``.
    canary_tolerance : float, default 0.001
        How far a canary's cosine may be from 1. Hosted models do not answer twice alike to the last digit: much smaller
        raises false alarms, much larger misses a change.

    Attributes
    ----------
    dim : int
        Dimension of the vectors.
    max_tokens : int or None
        As given, or as the server says.
    fingerprint : str
        From provider, model, revision, dimension and prompts; not from the address.

    Raises
    ------
    EndpointError
        The server does not answer, or refuses.
    EncoderMismatchError
        The canaries are elsewhere than the cache remembers, or a TEI server serves another model.
    NotFoundError
        The environment variable of the key is not set.
    InputError
        A setting out of range or without effect.

    Examples
    --------
    >>> ApiEncoder("openai", "text-embedding-3-small", dimensions=256, canary_every=None)
    ApiEncoder('name=openai:text-embedding-3-small|dim=256|dtype=float32|#...')
    """

    def __init__(
        self,
        shape: str | Shape,
        model: str | None = None,
        *,
        url: str | None = None,
        dimensions: int | None = None,
        revision: str = "",
        query_prompt: str = "",
        document_prompt: str = "",
        key_from_env: str | None = None,
        max_tokens: int | None = None,
        count_tokens: Callable[[str], int] | None = None,
        max_batch: int | None = None,
        max_batch_tokens: int | None = None,
        timeout_s: float = 60.0,
        retries: int = 4,
        backoff_s: float = 1.0,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        parallel: int = 4,
        cache: str | Path | None = None,
        price: float | None = None,
        canary_every: int | None = 1000,
        canary_tolerance: float = 1e-3,
    ) -> None:
        self._shape = shape if isinstance(shape, Shape) else named_shape(shape)
        base = check_url(self._shape.url if url is None else url)
        if url is None and key_from_env is None:
            key_from_env = self._shape.key_from_env
        self._prompts = dict(zip(("query", "document"), as_texts([query_prompt, document_prompt]), strict=True))
        self._dimensions = _checked_dimensions(dimensions, self._shape)
        self._count_tokens, self._price = count_tokens, check_fraction(price or 0.0, name="price", high=1e9)
        self._max_batch_tokens = (
            None if max_batch_tokens is None else check_count(max_batch_tokens, name="max_batch_tokens")
        )
        every = None if canary_every is None else check_count(canary_every, name="canary_every")
        tolerance = check_fraction(canary_tolerance, name="canary_tolerance", high=2.0)
        check_count(parallel, name="parallel", maximum=256)
        limit = None if max_batch is None else check_count(max_batch, name="max_batch")
        window = None if max_tokens is None else check_count(max_tokens, name="max_tokens")
        self._client = JsonClient(
            key_from_env=key_from_env,
            timeout_s=timeout_s,
            retries=retries,
            backoff_s=backoff_s,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            largest_answer_bytes=_LARGEST_ANSWER,
        )
        said = Described() if self._shape.describe is None else self._describe(base, model)
        name, revision = _agreed(model, revision, said, self._shape.name)
        self.max_tokens = window if window is not None else said.max_tokens
        self._max_batch = min(n for n in (limit, said.max_batch, self._shape.max_batch) if n is not None)
        self._fetcher = Fetcher(self._client, base, self._shape, name, dimensions=self._dimensions, parallel=parallel)
        self._model, self._cache = name, None if cache is None else VectorCache(cache)
        self._identity = "|".join((self._shape.name, base, name, revision, str(self._dimensions)))
        self._watch = self._watched(every, tolerance)
        self.dim = self._known_dim()
        self.fingerprint = str(
            Fingerprint(
                name=f"{self._shape.name}:{name}",
                revision=revision,
                prompt=prompt_label(query_prompt, document_prompt),
                dim=self.dim,
            )
        )

    def __repr__(self) -> str:
        """Return the identity in one line; there is no key in it."""
        return f"ApiEncoder({self.fingerprint!r})"

    @property
    def cost(self) -> ApiCost:
        """What the server was asked for so far, by this object, canaries included."""
        return self._fetcher.cost(self._price)

    def encode(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> FloatArray:
        """Return one vector per text.

        Parameters
        ----------
        items : sequence of str
            Texts. One that is blank is not sent and gets zeros.
        role : {"query", "document"}, default "document"
            Chooses the prompt, and ``input_type`` where the server has one.
        batch_size : int, default 64
            Most texts per request; the encoder's own limits come first.
        progress : bool, default False
            Show a bar on stderr.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            In the order given.

        Raises
        ------
        EndpointError
            The server gave up or refused; a refused text is named by its position. What was answered before is in the
            cache, where there is one, so the next call resumes.
        DimensionError, NonFiniteError
            The server answered with another number of vectors, another dimension or NaN; the text names the position.
        EncoderMismatchError
            The canaries moved.
        InputError
            Not texts, or a bad setting.
        StoreError
            The cache cannot be read or written.
        """
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and a report: items, blank items, cache hits, seconds. Nothing is ever cut.

        Parameters
        ----------
        items, role, batch_size, progress
            As for ``encode``.

        Returns
        -------
        vectors : ndarray of shape (n, dim), float32, C-contiguous
            As from ``encode``.
        report : EncodeReport
            The figures.

        Raises
        ------
        EndpointError
            As for ``encode``.
        """
        started = time.perf_counter()
        wanted = self._wanted(items, role, batch_size)
        known = self._kept(wanted)
        hits = len(known)
        missing = self._missing(wanted, known)
        with progress_bar(len(missing), shown=progress) as advance:
            if missing:
                self._ask(missing, known, role=role, batch_size=batch_size, advance=advance)
        out = np.zeros((len(wanted), self.dim), dtype=np.float32)
        for row, item in zip(out, wanted, strict=True):
            if item is not None:
                row[:] = known[item.key]
        self._fetcher.count_cached(hits)
        blank = sum(item is None for item in wanted)
        return out, EncodeReport(
            items=len(out), empty_items=blank, seconds=time.perf_counter() - started, cache_hits=hits
        )

    def encode_fresh(self, items: Sequence[str], *, role: Role = "document") -> FloatArray:
        """Return vectors as the server makes them now, past the cache in both directions.

        Parameters
        ----------
        items : sequence of str
            Texts.
        role : {"query", "document"}, default "document"
            As for ``encode``.

        Returns
        -------
        ndarray of shape (n, dim), float32, C-contiguous
            In the order given. Collections compare their canaries by it.

        Raises
        ------
        EndpointError
            As for ``encode``.
        """
        wanted = self._wanted(items, role, self._max_batch)
        known: dict[bytes, FloatArray] = {}

        def keep(got: Sequence[Item], rows: FloatArray) -> None:
            _note(known, got, rows)

        self._fetch(self._missing(wanted, known), role, self._max_batch, keep)
        out = np.zeros((len(wanted), self.dim), dtype=np.float32)
        for row, item in zip(out, wanted, strict=True):
            if item is not None:
                row[:] = known[item.key]
        return out

    def estimate(self, items: Sequence[str], *, role: Role = "document", batch_size: int = 64) -> ApiEstimate:
        """Tell what encoding these texts would cost, without asking the server.

        Parameters
        ----------
        items, role, batch_size
            As for ``encode``.

        Returns
        -------
        ApiEstimate
            What the cache holds costs nothing.

        Raises
        ------
        InputError
            As for ``encode``.
        """
        wanted = self._wanted(items, role, batch_size)
        missing = self._missing(wanted, self._kept(wanted))
        tokens = sum(item.tokens for item in missing)
        requests = len(self._planned(missing, batch_size))
        return ApiEstimate(
            texts=len(wanted),
            cached=len(wanted) - len(missing),
            requests=requests,
            tokens=tokens,
            price=tokens * self._price / 1e6,
            seconds=self._client.spaced_s(requests=requests, tokens=tokens),
        )

    def _wanted(self, items: Sequence[str], role: Role, batch_size: int) -> list[Item | None]:
        """What to ask for, by position; None for a blank text."""
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        texts = as_texts(items, name="items")
        check_texts_are_unicode(texts)
        sent = [self._prompts[role] + text for text in texts]
        counts = counted_tokens(sent, self._count_tokens)
        return [
            Item(i, text, self._key(text, role), count) if texts[i].strip() else None
            for i, (text, count) in enumerate(zip(sent, counts, strict=True))
        ]

    def _key(self, text: str, role: Role) -> bytes:
        """Hash of the request for this text alone: whatever would change the vector changes the key."""
        body = self._shape.body(Request((text,), self._model, role, self._dimensions))
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()

    def _kept(self, wanted: Sequence[Item | None]) -> dict[bytes, FloatArray]:
        if self._cache is None:
            return {}
        keys = list({item.key for item in wanted if item is not None})
        found = self._cache.get(self._identity, keys)
        return {key: vector for key, vector in found.items() if vector.size == self.dim and np.isfinite(vector).all()}

    @staticmethod
    def _missing(wanted: Sequence[Item | None], known: dict[bytes, FloatArray]) -> list[Item]:
        """The first of each text that is not known."""
        first: dict[bytes, Item] = {}
        for item in wanted:
            if item is not None and item.key not in known:
                first.setdefault(item.key, item)
        return list(first.values())

    def _planned(self, items: Sequence[Item], batch_size: int) -> list[list[Item]]:
        ranges = plan_batches(
            [item.tokens for item in items],
            max_batch=min(batch_size, self._max_batch),
            max_batch_tokens=self._max_batch_tokens,
        )
        return [[items[i] for i in part] for part in ranges]

    def _fetch(
        self, items: Sequence[Item], role: Role, batch_size: int, keep: Callable[[Sequence[Item], FloatArray], None]
    ) -> None:
        self._client.key()  # a missing key is found before anything is sent
        self._fetcher.fetch(self._planned(items, batch_size), role=role, keep=keep)

    def _ask(
        self,
        missing: Sequence[Item],
        known: dict[bytes, FloatArray],
        *,
        role: Role,
        batch_size: int,
        advance: Callable[[float], None],
    ) -> None:
        if self._watch is not None:
            self._watch.compare_if_due()

        def keep(items: Sequence[Item], rows: FloatArray) -> None:
            found = _note(known, items, rows)
            if self._cache is not None:
                # The label is read after the answer came: what may be new must be forgotten with the new.
                self._cache.put(self._identity, found, batch="" if self._watch is None else self._watch.batch)
            advance(len(items))

        self._fetch(missing, role, batch_size, keep)

    def _describe(self, base: str, model: str | None) -> Described:
        describe = self._shape.describe

        def get(path: str) -> Any:
            return self._client.ask(base + path, None, read=lambda answer: answer)

        try:
            return Described() if describe is None else describe(get, model or "")
        except EndpointError as error:
            if error.status in (404, 405):
                return Described()  # a server of that shape that says nothing about itself
            raise
        except (KeyError, TypeError, ValueError, AttributeError, UnexpectedAnswerError):
            raise EndpointError(
                message(
                    f"no description of a model from {base}", f"a server of shape {self._shape.name!r}", "check url"
                )
            ) from None

    def _canaries(self, texts: list[str]) -> FloatArray:
        items = [Item(i, self._prompts["document"] + text, b"", 1) for i, text in enumerate(texts)]
        rows: dict[int, FloatArray] = {}

        def keep(got: Sequence[Item], found: FloatArray) -> None:
            for item, row in zip(got, found, strict=True):
                rows[item.position] = row

        self._fetch(items, "document", self._max_batch, keep)
        # Several requests need not have agreed on a dimension that was not known before.
        listed = [rows[i] for i in range(len(items))]
        return checked_rows(
            listed, positions=range(len(items)), dim=self._fetcher.dim, source=f"{self._fetcher.source} (canaries)"
        )

    def _watched(self, every: int | None, tolerance: float) -> CanaryWatch | None:
        if every is None:
            return None
        # The document prompt changes the canaries, so they are kept apart by it.
        identity = f"{self._identity}|{self._prompts['document']}" if self._prompts["document"] else self._identity
        return CanaryWatch(
            self._canaries,
            cache=self._cache,
            identity=identity,
            requests=lambda: self._fetcher.requests,
            every=every,
            tolerance=tolerance,
            source=self._fetcher.source,
        )

    def _known_dim(self) -> int:
        if self._dimensions is None:
            self._fetcher.dim = self._canaries([CANARIES[0]]).shape[1] if self._watch is None else self._watch.dim
        return int(self._fetcher.dim or 0)


def _note(known: dict[bytes, FloatArray], items: Sequence[Item], rows: FloatArray) -> dict[bytes, FloatArray]:
    found = {item.key: row for item, row in zip(items, rows, strict=True)}
    known.update(found)
    return found


def _checked_dimensions(dimensions: int | None, shape: Shape) -> int | None:
    if dimensions is None:
        return None
    if not shape.takes_dimensions:
        raise InputError(
            message(f"dimensions={dimensions!r}", f"none: shape {shape.name!r} cannot ask for them", "leave it out")
        )
    return check_count(dimensions, name="dimensions", maximum=65_536)


def _agreed(model: str | None, revision: str, said: Described, provider: str) -> tuple[str, str]:
    """Name and revision, as given and as the server says."""
    if model is not None and said.model is not None and model != said.model:
        raise EncoderMismatchError(
            message(
                f"model {said.model!r} from the server", f"{model!r}", "start it with that model, or leave model out"
            )
        )
    name = model if model is not None else said.model
    if not isinstance(name, str) or not name.strip():
        raise InputError(message(f"model={model!r} for {provider!r}", "a name", "name the model at the server"))
    if not isinstance(revision, str):
        raise InputError(message(f"revision={revision!r}", "a str", "write it as one"))
    return name, revision or said.revision
