"""Searching: by text, by vector, by example, and why a record is not found."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from orthant.errors import InputError, message
from orthant.server.answers.searching import SearchAnswer, SearchManyAnswer, WhyNotAnswer
from orthant.server.limits import Limits
from orthant.server.routes.bodies import RankingBody, SearchBody, SearchManyBody, SimilarBody, WhyNotBody
from orthant.server.routes.requests import described, json_answer, read_body
from orthant.server.service import Service
from orthant.server.wire import (
    decode_named,
    decode_terms,
    decode_vector,
    decode_vectors,
    result_json,
    results_json,
    to_json,
)
from orthant.threads import default_threads

__all__ = ["check_ranking", "routes"]

_QUERY = {"query", "vector", "sparse_vector"}


def check_ranking(body: RankingBody | SimilarBody, limits: Limits) -> None:
    """Refuse settings that cost more than a request may.

    Parameters
    ----------
    body : RankingBody or SimilarBody
        The request.
    limits : Limits
        The server's bounds.

    Raises
    ------
    InputError
        A number beyond its bound, or a reranker that would be loaded from the host.
    """
    for name in ("k", "groups", "per_group"):
        limits.require(name, getattr(body, name, None), "max_k")
    for name in ("offset", "depth", "effort", "rerank_depth"):
        limits.require(name, getattr(body, name, None), "max_depth")
    facets = getattr(body, "facets", None)
    for count in facets.values() if isinstance(facets, dict) else ():
        limits.require("a facet's values", count, "max_k")
    threads, rerank = getattr(body, "threads", None), getattr(body, "rerank", None)
    if threads is not None and threads > default_threads():
        raise InputError(message(f"threads={threads}", f"at most {default_threads()} here", "leave it out"))
    # Any other text names a model: a folder of the host, or a download.
    if rerank is not None and rerank != "tokens" and not rerank.startswith("tokens:"):
        raise InputError(message("a reranker by name", "'tokens' or 'tokens:SPACE'", "rerank in the client"))


def _settings(body: Any, *without: str) -> dict[str, Any]:
    """The arguments that were given; the collection knows the others."""
    return {name: getattr(body, name) for name in body.model_fields_set if name not in without}


def _shared(body: SearchBody) -> bool:
    """Whether a search can share a pass with others of equal settings: one that goes to its own space, and is quick.

    A reranker takes seconds, for which nobody else should wait; stages of their own gain nothing from company.
    """
    plain = (body.query is None or isinstance(body.query, str)) and not isinstance(body.vector, dict)
    asked = body.query is not None or body.vector is not None
    staged = any(getattr(body, name) is not None for name in ("rerank", "diversity", "group_by", "facets"))
    return plain and asked and body.spaces is None and body.sparse_vector is None and not staged


def routes(service: Service) -> APIRouter:
    """Return the routes that search.

    Parameters
    ----------
    service : Service
        The server's state.

    Returns
    -------
    APIRouter
        ``/collections/{name}/search`` and its kin.
    """
    router = APIRouter(tags=["search"])

    @router.post("/collections/{name}/search", response_model=SearchAnswer, openapi_extra=described(SearchBody))
    async def search(name: str, request: Request) -> Response:
        """Find the records closest to a query; equal searches of several clients share one pass."""
        served = service.collection(request, name)
        body = await read_body(request, SearchBody)
        check_ranking(body, service.limits)
        settings, vector = _settings(body, *_QUERY), decode_named(body.vector)
        if _shared(body):
            kind = ("text" if body.query is not None else "") + ("vector" if vector is not None else "")
            key = kind + json.dumps(settings, sort_keys=True)
            return json_answer(await served.search_together(key, settings, (body.query, vector)))
        given = {"vector": vector, "sparse_vector": decode_terms(body.sparse_vector)}
        return json_answer(
            await served.read(lambda c: result_json(c.search(decode_query(body.query), **given, **settings)))
        )

    @router.post(
        "/collections/{name}/search_many", response_model=SearchManyAnswer, openapi_extra=described(SearchManyBody)
    )
    async def search_many(name: str, request: Request) -> Response:
        """Run several queries of equal settings at once."""
        served = service.collection(request, name)
        body = await read_body(request, SearchManyBody)
        check_ranking(body, service.limits)
        service.limits.require("queries", len(body.queries), "max_queries")
        settings = _settings(body, "queries", "vectors", "sparse_vectors")
        sparse = None if body.sparse_vectors is None else [decode_terms(one) for one in body.sparse_vectors]
        queries = [decode_query(query) for query in body.queries]
        given = {"vectors": decode_vectors(body.vectors, len(queries)), "sparse_vectors": sparse}

        def run(collection: Any) -> bytes:
            found = collection.search_many(queries, **given, **settings)
            return b'{"results":[%b]}' % b",".join(results_json(found))

        return json_answer(await served.read(run))

    _by_example(router, service)
    return router


def _by_example(router: APIRouter, service: Service) -> None:
    @router.post("/collections/{name}/similar", response_model=SearchAnswer, openapi_extra=described(SimilarBody))
    async def similar(name: str, request: Request) -> Response:
        """Find records like some examples and unlike others."""
        served = service.collection(request, name)
        body = await read_body(request, SimilarBody)
        check_ranking(body, service.limits)
        for examples in (body.positive, body.negative):
            service.limits.require("examples", len(examples) if isinstance(examples, list) else 1, "max_queries")
        settings = _settings(body, "positive", "negative")
        positive, negative = body.positive, body.negative
        return json_answer(await served.read(lambda c: result_json(c.similar(positive, negative, **settings))))

    @router.post("/collections/{name}/why_not", response_model=WhyNotAnswer, openapi_extra=described(WhyNotBody))
    async def why_not(name: str, request: Request) -> Response:
        """Explain why a search does not return a record, and find changes that would return it."""
        served = service.collection(request, name)
        body = await read_body(request, WhyNotBody)
        check_ranking(body, service.limits)
        settings = _settings(body, "record_id", *_QUERY)
        given = {"vector": decode_vector(body.vector), "sparse_vector": decode_terms(body.sparse_vector)}
        query = decode_query(body.query)
        return json_answer(
            await served.read(lambda c: to_json(c.why_not(query, body.record_id, **given, **settings).to_dict()))
        )


def decode_query(query: Any) -> Any:
    """Return a query as a collection takes it.

    Parameters
    ----------
    query : str, list, dict or None
        A text stays one; ``{"base64", "shape"}`` becomes a matrix.

    Returns
    -------
    object
        For ``Collection.search``.
    """
    return query if query is None or isinstance(query, str) else decode_vector(query)
