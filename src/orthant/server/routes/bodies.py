"""Bodies of requests: the arguments of the calls of a collection under their own names."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from orthant.server.routes.requests import Body

__all__ = [
    "CheckBody",
    "DeleteBody",
    "DiagnoseBody",
    "FindBody",
    "GetBody",
    "RankingBody",
    "SearchBody",
    "SearchManyBody",
    "SimilarBody",
    "SnapshotBody",
    "SpaceBody",
    "UpsertBody",
    "WhyNotBody",
]

Mode = Literal["dense", "lexical", "sparse", "tokens", "hybrid"]
Fusion = Literal["minmax", "rrf"]
Syntax = Literal["operators", "plain"]
Query = str | list[Any] | dict[str, Any] | None
Vector = list[Any] | str | dict[str, Any] | None
_VECTOR = "Numbers, or little-endian float32 in base64."
# Told to readers, and checked by the collection, whose messages name the argument and what to do.
_ONE: dict[str, Any] = {"minimum": 1}
_NONE: dict[str, Any] = {"minimum": 0}
_ZERO_TO_ONE: dict[str, Any] = {"minimum": 0, "maximum": 1}
_NAME: dict[str, Any] = {"minLength": 1, "maxLength": 64, "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$"}
_ID: dict[str, Any] = {"minLength": 1, "maxLength": 512}
_IDS: dict[str, Any] = {"items": {"type": "string", **_ID}}
_WHERE = 'A where-expression, such as {"year": {"gte": 1900}}.'


class RankingBody(Body):
    """What decides what is found, and in which order."""

    k: int = Field(10, description="Hits wanted.", json_schema_extra=_ONE)
    mode: Mode | None = None
    where: dict[str, Any] | None = Field(None, description=_WHERE)
    space: str = "default"
    sparse_space: str | None = None
    offset: int = Field(0, json_schema_extra=_NONE)
    min_score: float | None = None
    weights: dict[str, float] | None = None
    fusion: Fusion | None = None
    depth: int | None = Field(None, json_schema_extra=_ONE)
    recall: float | None = Field(
        None,
        description="Share of the true neighbours to find; 1 compares every vector.",
        json_schema_extra=_ZERO_TO_ONE,
    )
    effort: int | None = Field(None, json_schema_extra=_ONE)
    threads: int | None = Field(None, json_schema_extra=_ONE)
    syntax: Syntax | None = None
    rerank: str | None = Field(None, description="'tokens' or 'tokens:SPACE'.")
    rerank_depth: int | None = Field(None, json_schema_extra=_ONE)
    diversity: float | None = Field(None, json_schema_extra=_ZERO_TO_ONE)
    group_by: str | None = None
    groups: int | None = Field(None, json_schema_extra=_ONE)
    per_group: int | None = Field(None, json_schema_extra=_ONE)
    steer: dict[str, Any] | None = Field(None, description='Such as {"away": ["noise"], "strength": 0.5}.')


class _ShownBody(RankingBody):
    spaces: dict[str, float] | None = Field(None, description="Weights of several spaces that are searched together.")
    exact: bool = Field(False, description="Compare every vector, or every set of tokens.")
    explain: bool = False
    include_text: bool = True
    facets: list[str] | dict[str, int] | None = None


class SearchBody(_ShownBody):
    """The arguments of ``Collection.search``."""

    query: Query = Field(None, description="A text, a vector, or a part of a record.")
    vector: Vector = Field(None, description=_VECTOR + " With `spaces`, vectors by space.")
    sparse_vector: dict[str, Any] | None = None


class SearchManyBody(_ShownBody):
    """The arguments of ``Collection.search_many``."""

    queries: list[Query]
    vectors: list[Any] | str | None = Field(None, description="One per query, or all in one base64 text.")
    sparse_vectors: list[dict[str, Any]] | None = None


class WhyNotBody(RankingBody):
    """The arguments of ``Collection.why_not``."""

    query: Query = None
    record_id: str = Field(json_schema_extra=_ID)
    vector: Vector = Field(None, description=_VECTOR)
    sparse_vector: dict[str, Any] | None = None


class SimilarBody(Body):
    """The arguments of ``Collection.similar``; an example is an id, or a list of numbers."""

    positive: str | list[Any]
    negative: str | list[Any] = Field(default_factory=list)
    k: int = Field(10, json_schema_extra=_ONE)
    where: dict[str, Any] | None = Field(None, description=_WHERE)
    space: str = "default"
    strategy: Literal["average", "best"] = "average"
    offset: int = Field(0, json_schema_extra=_NONE)
    min_score: float | None = None
    recall: float | None = Field(None, json_schema_extra=_ZERO_TO_ONE)
    include_text: bool = True


class GetBody(Body):
    """The arguments of ``Collection.get``, and the form of vectors."""

    ids: list[str] = Field(json_schema_extra=_IDS)
    vectors: bool = False
    form: Literal["json", "base64"] = "json"


class FindBody(Body):
    """The arguments of ``Collection.find``."""

    where: dict[str, Any] | None = Field(None, description=_WHERE)
    limit: int = Field(100, json_schema_extra=_ONE)
    offset: int = Field(0, json_schema_extra=_NONE)


class UpsertBody(Body):
    """The arguments of ``Collection.upsert``."""

    ids: list[str] = Field(json_schema_extra=_IDS)
    texts: list[str | None] | None = None
    metadata: list[dict[str, Any] | None] | None = None
    vectors: list[Any] | str | dict[str, Any] | None = Field(
        None, description=f"{_VECTOR} One per record, all in one base64 text, or either by space."
    )


class DeleteBody(Body):
    """The arguments of ``Collection.delete``."""

    ids: list[str] | None = None
    where: dict[str, Any] | None = Field(None, description=_WHERE)


class SpaceBody(Body):
    """The arguments of ``Collection.add_space`` for vectors that the clients bring."""

    name: str = Field(json_schema_extra=_NAME)
    dim: int = Field(json_schema_extra=_ONE)
    metric: Literal["cosine", "dot", "l2"] | None = None
    kind: Literal["dense", "tokens", "sparse"] | None = None
    dtype: Literal["float32", "float16"] = "float32"
    method: str | None = Field(None, description="How sets of tokens are searched; see the guide.")
    exact_below: int | None = None


class SnapshotBody(Body):
    """The argument of ``Collection.snapshot``."""

    name: str = Field(json_schema_extra=_NAME)


class CheckBody(Body):
    """The argument of ``Collection.check``."""

    repair: bool = False


class DiagnoseBody(Body):
    """The arguments of ``Collection.diagnose``."""

    space: str = "default"
    queries: list[Any] | None = None
    sample: int = Field(1_000, json_schema_extra=_ONE)
    order: bool = True
    seed: int = Field(0, json_schema_extra=_NONE)
