"""Answers in the shapes of OpenAI, Cohere and Jina."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orthant.server.answers.shapes import Answer

__all__ = ["EmbeddingsAnswer", "ModelAnswer", "ModelsAnswer", "RankingAnswer"]


class Usage(Answer):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsUsage(Usage):
    """Tokens that were read."""

    truncated_tokens: int = Field(
        0, description="Not of OpenAI: ends of texts that were not read, where there are any."
    )


class Embedding(Answer):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(description="Numbers, or little-endian float32 in base64.")


class EmbeddingsAnswer(Answer):
    """A vector per text."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


class RankedText(Answer):
    """The text of a document."""

    text: str


class Ranked(Answer):
    """One document's place."""

    index: int = Field(description="Its place in the request.")
    relevance_score: float
    document: RankedText | None = Field(None, description="With return_documents.")


class RankingAnswer(Answer):
    """Documents, best first."""

    id: str
    object: Literal["list"]
    model: str
    results: list[Ranked]
    usage: Usage


class ModelAnswer(Answer):
    """A model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    kind: Literal["embedding", "rerank"]
    dim: int = Field(0, description="Values per vector; absent of a reranker.")
    fingerprint: str = Field("", description="What it is, weights included; absent of a reranker.")
    max_tokens: int = Field(0, description="Its window, where it has one.")
    dimensions: list[int] = Field(default_factory=list, description="Widths it may be asked for, where there are any.")


class ModelsAnswer(Answer):
    """The models that the key may use."""

    object: Literal["list"]
    data: list[ModelAnswer]
