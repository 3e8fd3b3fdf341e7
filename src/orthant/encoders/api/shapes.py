"""What servers are asked and what they answer: the shapes of OpenAI, Cohere, TEI and Ollama, and your own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.http_json import UnexpectedAnswerError
from orthant.types import Role
from orthant.validate import check_choice, check_count

__all__ = ["Answer", "Described", "Request", "Shape", "named_shape"]


@dataclass(frozen=True)
class Request:
    """What one request is about.

    Attributes
    ----------
    texts : tuple of str
        Prompts already put before them; none is blank.
    model : str
        Name of the model at the server.
    role : {"query", "document"}
        What the texts are.
    dimensions : int or None
        Dimension asked for; None for the model's own.
    """

    texts: tuple[str, ...]
    model: str
    role: Role
    dimensions: int | None


@dataclass(frozen=True)
class Answer:
    """What a server answered, not yet checked.

    Attributes
    ----------
    vectors : sequence
        One row of numbers per text, in the order of the texts.
    tokens : int or None
        Tokens that the server counted, where it says.
    """

    vectors: Sequence[Any]
    tokens: int | None = None


@dataclass(frozen=True)
class Described:
    """What a server says about its model.

    Attributes
    ----------
    model : str or None
        Its name.
    revision : str
        What tells its weights from others of that name; empty where the server does not say.
    max_tokens : int or None
        Longest text.
    max_batch : int or None
        Most texts per request.
    """

    model: str | None = None
    revision: str = ""
    max_tokens: int | None = None
    max_batch: int | None = None


@dataclass(frozen=True)
class Shape:
    """How to speak with one kind of server; two functions suffice for a server of your own.

    Parameters
    ----------
    name : str
        Goes into the fingerprint as the provider.
    path : str
        Added to the base address.
    body : callable
        From a :class:`Request` to the JSON body.
    read : callable
        From the parsed JSON answer to an :class:`Answer`. A ``KeyError``, ``TypeError``, ``IndexError`` or
        ``ValueError`` in it counts as an answer of another form, which is asked for again.
    url : str, optional
        Base address when none is given.
    key_from_env : str, optional
        Environment variable of the key for that base address; it is not sent to any other.
    max_batch : int, default 64
        Most texts that the server takes per request.
    takes_dimensions : bool, default False
        Whether ``body`` honours ``Request.dimensions``.
    describe : callable, optional
        Takes a function that gets JSON from a path below the base address, and the model's name; returns
        :class:`Described`.

    Raises
    ------
    InputError
        A part that is not callable, an empty name, or a count below 1.

    Examples
    --------
    >>> mine = Shape("mine", "/vectors", lambda r: {"in": list(r.texts)}, lambda answer: Answer(answer["out"]))
    >>> mine.body(Request(("a",), "m", "query", None))
    {'in': ['a']}
    """

    name: str
    path: str
    body: Callable[[Request], Mapping[str, Any]]
    read: Callable[[Any], Answer]
    url: str | None = None
    key_from_env: str | None = None
    max_batch: int = 64
    takes_dimensions: bool = False
    describe: Callable[[Callable[[str], Any], str], Described] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not isinstance(self.path, str):
            raise InputError(message(f"a shape called {self.name!r}", "a name and a path as str", "give it both"))
        for part in (self.body, self.read, *([self.describe] if self.describe is not None else [])):
            if not callable(part):
                raise InputError(message(f"a {type(part).__name__} in a shape", "a function", "pass body and read"))
        check_count(self.max_batch, name="max_batch")


def named_shape(name: str) -> Shape:
    """Return the shape of a known kind of server.

    Parameters
    ----------
    name : {"openai", "cohere", "tei", "ollama"}
        ``"openai"`` also fits what speaks like it: vLLM, llama.cpp, LM Studio and many hosted services.

    Returns
    -------
    Shape
        Long texts are refused by all of them, never cut: they are told not to.

    Raises
    ------
    InputError
        Another name.

    Examples
    --------
    >>> named_shape("cohere").body(Request(("a",), "m", "query", None))["input_type"]
    'search_query'
    """
    return _SHAPES[check_choice(name, tuple(_SHAPES), name="shape")]


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value >= 0 else None


def _openai_body(request: Request) -> dict[str, Any]:
    body = {"model": request.model, "input": list(request.texts), "encoding_format": "base64"}
    return body if request.dimensions is None else {**body, "dimensions": request.dimensions}


def _openai_read(answer: Any) -> Answer:
    rows = answer["data"]
    order = [row.get("index", i) for i, row in enumerate(rows)]
    if sorted(order) != list(range(len(rows))):
        raise UnexpectedAnswerError(f"vectors numbered {order[:8]}")
    vectors: list[Any] = [None] * len(rows)
    for place, row in zip(order, rows, strict=True):
        vectors[place] = _numbers(row["embedding"])
    return Answer(vectors, _count((answer.get("usage") or {}).get("prompt_tokens")))


def _numbers(embedding: Any) -> Any:
    """Servers that do not know base64 send numbers, whatever was asked."""
    if not isinstance(embedding, str):
        return embedding
    try:
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    except (binascii.Error, ValueError):
        raise UnexpectedAnswerError("a vector that is no base64 of float32 values") from None


def _cohere_body(request: Request) -> dict[str, Any]:
    body = {
        "model": request.model,
        "texts": list(request.texts),
        "input_type": "search_query" if request.role == "query" else "search_document",
        "embedding_types": ["float"],
        "truncate": "NONE",
    }
    return body if request.dimensions is None else {**body, "output_dimension": request.dimensions}


def _cohere_read(answer: Any) -> Answer:
    billed = (answer.get("meta") or {}).get("billed_units") or {}
    return Answer(answer["embeddings"]["float"], _count(billed.get("input_tokens")))


def _tei_body(request: Request) -> dict[str, Any]:
    return {"inputs": list(request.texts), "truncate": False, "normalize": True}


def _tei_read(answer: Any) -> Answer:
    if not isinstance(answer, list):
        raise UnexpectedAnswerError(f"an answer that is no list of vectors ({repr(answer)[:80]})")
    return Answer(answer)


def _tei_describe(get: Callable[[str], Any], model: str) -> Described:
    info = get("/info")
    return Described(
        model=str(info["model_id"]),
        revision=str(info.get("model_sha") or ""),
        max_tokens=_count(info.get("max_input_length")) or None,
        max_batch=_count(info.get("max_client_batch_size")) or None,
    )


def _ollama_body(request: Request) -> dict[str, Any]:
    body = {"model": request.model, "input": list(request.texts), "truncate": False}
    return body if request.dimensions is None else {**body, "dimensions": request.dimensions}


def _ollama_read(answer: Any) -> Answer:
    return Answer(answer["embeddings"], _count(answer.get("prompt_eval_count")))


def _ollama_describe(get: Callable[[str], Any], model: str) -> Described:
    """The digest of a pulled model changes when its tag is pulled again."""
    wanted = model if ":" in model else f"{model}:latest"
    for entry in get("/api/tags")["models"]:
        if entry.get("name") == wanted or entry.get("model") == wanted:
            return Described(revision=str(entry.get("digest") or "")[:16])
    return Described()


_SHAPES = {
    "openai": Shape(
        "openai",
        "/embeddings",
        _openai_body,
        _openai_read,
        url="https://api.openai.com/v1",
        key_from_env="OPENAI_API_KEY",
        max_batch=2048,
        takes_dimensions=True,
    ),
    "cohere": Shape(
        "cohere",
        "/embed",
        _cohere_body,
        _cohere_read,
        url="https://api.cohere.com/v2",
        key_from_env="CO_API_KEY",
        max_batch=96,
        takes_dimensions=True,
    ),
    "tei": Shape("tei", "/embed", _tei_body, _tei_read, max_batch=32, describe=_tei_describe),
    "ollama": Shape(
        "ollama",
        "/api/embed",
        _ollama_body,
        _ollama_read,
        url="http://localhost:11434",
        max_batch=512,
        takes_dimensions=True,
        describe=_ollama_describe,
    ),
}
