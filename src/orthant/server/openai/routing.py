"""``/v1/embeddings``, ``/v1/rerank``, ``/v1/models``: requests to a model by its name, for keys that may read it."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orthant.collection.collection import Collection
from orthant.errors import InputError, message
from orthant.server.answers.models import EmbeddingsAnswer, ModelAnswer, ModelsAnswer, RankingAnswer
from orthant.server.failures import Refusal
from orthant.server.openai.bodies import EmbeddingsBody, RerankBody
from orthant.server.openai.embeddings import check_texts, count_tokens, embed
from orthant.server.openai.ranking import check_documents, rank
from orthant.server.routes.requests import described, json_answer, read_body
from orthant.server.service import Service
from orthant.server.wire import encode_vector, to_json

__all__ = ["collection_models", "routes"]

_DEFAULT = "default"


@dataclass(frozen=True)
class _Target:
    """A model that a request may use: how to run a function of it, and the widths it allows."""

    run: Callable[[Callable[[Any], bytes]], Awaitable[bytes]]
    dimensions: tuple[int, ...] = ()


def routes(service: Service) -> APIRouter:
    """Return the routes that other programs know from OpenAI, Cohere and Jina.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/v1/embeddings``, ``/v1/rerank``, ``/v2/rerank`` and ``/v1/models``.
    """
    router = APIRouter(tags=["models"])

    @router.post("/v1/embeddings", response_model=EmbeddingsAnswer, openapi_extra=described(EmbeddingsBody))
    async def embeddings(request: Request) -> Response:
        """Return a vector per text, in the shape of OpenAI."""
        body = await read_body(request, EmbeddingsBody)
        target = _target(service, request, body.model)
        if isinstance(body.input, list):
            service.limits.require("inputs", len(body.input), "max_inputs")
        texts = check_texts(body.input)
        with service.tracing.span("orthant.embed", inputs=len(texts)):
            return json_answer(await target.run(lambda encoder: _embeddings(encoder, texts, body, target.dimensions)))

    async def rerank(request: Request) -> Response:
        """Return the order of documents for a query, in the shape of Cohere and Jina."""
        body = await read_body(request, RerankBody)
        target = _target(service, request, body.model)
        service.limits.require("documents", len(body.documents), "max_inputs")
        texts = check_documents(body.documents)
        with service.tracing.span("orthant.rerank", documents=len(texts)):
            return json_answer(await target.run(lambda model: _ranking(model, texts, body)))

    for path in ("/v1/rerank", "/v2/rerank"):
        router.post(
            path,
            response_model=RankingAnswer,
            openapi_extra=described(RerankBody),
            operation_id=f"rerank_{path[1:3]}",
        )(rerank)
    _listing(router, service)
    return router


def _listing(router: APIRouter, service: Service) -> None:
    @router.get("/v1/models", response_model=ModelsAnswer)
    async def models(request: Request) -> Response:
        """List the models that the sender's key may use."""
        return json_answer({"object": "list", "data": await _listed(service, request)})

    @router.get("/v1/models/{model:path}", response_model=ModelAnswer)
    async def model(request: Request, model: str) -> Response:
        """Tell about one model."""
        found = [one for one in await _listed(service, request) if one["id"] == model]
        if not found:
            raise _unknown()
        return json_answer(found[0])


async def _listed(service: Service, request: Request) -> list[dict[str, Any]]:
    grant = service.grant(request)
    out = []
    for name, model in service.models.by_name.items():
        if not grant.allows(name, "read"):
            continue
        encoder = model.encoder
        if encoder is None:
            out.append(_told(name, "rerank"))
            continue
        fingerprint, window = service.hide(encoder.fingerprint), encoder.max_tokens
        out.append(
            _told(name, "embedding", dim=encoder.dim, fingerprint=fingerprint)
            | ({} if window is None else {"max_tokens": window})
            | ({"dimensions": list(model.dimensions)} if model.dimensions else {})
        )
    for served in service.visible(request):
        for space, kind, dim, fingerprint in await served.read(collection_models):
            name = served.name if space == _DEFAULT else f"{served.name}/{space}"
            what = "embedding" if kind == "dense" else "rerank"
            out.append(_told(name, what, dim=dim, fingerprint=service.hide(fingerprint)))
    return out


def _told(name: str, kind: str, **further: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "orthant", "kind": kind, **further}


def collection_models(collection: Collection) -> list[tuple[str, str, int, str]]:
    """Return the spaces of a collection whose encoders are at hand; none is loaded.

    Parameters
    ----------
    collection : Collection
        The collection.

    Returns
    -------
    list of (str, str, int, str)
        Name, kind (``"dense"`` or ``"tokens"``), dimension and fingerprint.

    Examples
    --------
    >>> import orthant, tempfile
    >>> with orthant.open(tempfile.mkdtemp(), encoder="static") as notes:
    ...     [(name, kind) for name, kind, _, _ in collection_models(notes)]
    [('default', 'dense')]
    """
    encoders = collection._encoders
    held: list[tuple[str, str, int, str]] = [
        (name, one.kind, one.dim, one.fingerprint or "")
        for name, one in collection.spaces.items()
        if one.encoder is not None or encoders.given(name) is not None
    ]
    # Before the first record there is no space yet, only the encoder that will make it.
    first = encoders.given(_DEFAULT) if _DEFAULT not in collection.spaces else None
    if first is not None and callable(getattr(first, "encode", None)):
        held.insert(0, (_DEFAULT, "dense", first.dim, first.fingerprint))
    return held


def _target(service: Service, request: Request, model: str) -> _Target:
    base, _, space = model.partition("/")
    # The same answer whether or not there is such a model, as for collections.
    service.require(request, base, "read")
    own = service.models.by_name.get(model)
    if own is not None:
        return _Target(lambda function: service.models.call(model, function), own.dimensions)
    if base not in service.names:
        raise _unknown()
    served = service.collection(request, base)

    def on(collection: Collection, function: Callable[[Any], bytes]) -> bytes:
        wanted = space or _DEFAULT
        if wanted not in {name for name, *_ in collection_models(collection)}:
            raise _unknown()
        return function(collection._encoders.require(wanted))

    return _Target(lambda function: served.read(lambda collection: on(collection, function)))


def _unknown() -> Refusal:
    text = message(
        "a model that is not served", "one of /v1/models", "look there, or serve it with --model NAME=FOLDER"
    )
    return Refusal(404, "NotFoundError", text, details={"param": "model", "code": "model_not_found"})


def _embeddings(encoder: Any, texts: list[str], body: EmbeddingsBody, allowed: tuple[int, ...]) -> bytes:
    if not callable(getattr(encoder, "encode", None)):
        given, way = f"the model {body.model!r}, which makes no vector of a text", "use it with /v1/rerank"
        raise InputError(message(given, "one of kind 'embedding'", way))
    made = embed(
        encoder,
        texts,
        role=body.input_type,
        dimensions=body.dimensions,
        allowed=allowed,
        truncate=body.truncate,
    )
    form: Any = "base64" if body.encoding_format == "base64" else "json"
    data = [
        {"object": "embedding", "index": i, "embedding": encode_vector(row, form)} for i, row in enumerate(made.vectors)
    ]
    usage = {"prompt_tokens": made.tokens, "total_tokens": made.tokens}
    if made.truncated:
        usage["truncated_tokens"] = made.truncated
    return to_json({"object": "list", "data": data, "model": body.model, "usage": usage})


def _ranking(model: Any, texts: list[str], body: RerankBody) -> bytes:
    order, scores = rank(model, body.query, texts)
    results: list[dict[str, Any]] = [
        {"index": int(place), "relevance_score": float(score)}
        for place, score in list(zip(order, scores, strict=True))[: body.top_n]
    ]
    if body.return_documents:
        for one in results:
            one["document"] = {"text": texts[one["index"]]}
    tokens = count_tokens(model, [body.query, *texts])
    return to_json(
        {
            "id": str(uuid.uuid4()),
            "object": "list",
            "model": body.model,
            "results": results,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )
