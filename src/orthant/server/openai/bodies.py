"""Bodies of requests for embeddings and reranking, as clients of OpenAI, Cohere and Jina send them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from orthant.server.routes.requests import Body

__all__ = ["EmbeddingsBody", "RerankBody"]


class EmbeddingsBody(Body):
    """What ``/v1/embeddings`` takes."""

    input: str | list[Any] = Field(description="A text, or a list of texts; token ids are refused.")
    model: str = Field(max_length=200, description="One of /v1/models.")
    encoding_format: Literal["float", "base64"] = Field("float", description="Numbers, or little-endian float32.")
    dimensions: int | None = Field(None, description="A width for which the model was made; default its own.")
    user: str | None = Field(None, description="Taken and ignored.")
    input_type: Literal["query", "document"] = Field("document", description="Not of OpenAI: what the texts are.")
    truncate: bool = Field(False, description="Not of OpenAI: accept that ends of long texts are not read.")


class RerankBody(Body):
    """What ``/v1/rerank`` and ``/v2/rerank`` take."""

    model: str = Field(max_length=200, description="One of /v1/models.")
    query: str
    documents: list[str | dict[str, Any]]
    top_n: int | None = Field(None, ge=1, description="Default all.")
    return_documents: bool = False
