"""Answers of searches, and of the question why a record is not found."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orthant.collection.insight.outcome import Change, Step
from orthant.collection.results import LegScore, Plan, StageScore
from orthant.collection.sparse.shared import SharedTerm
from orthant.collection.stages.facets import Bucket
from orthant.collection.tokens.alignment import TokenMatch
from orthant.server.answers.shapes import Answer

__all__ = ["FacetAnswer", "GroupAnswer", "HitAnswer", "SearchAnswer", "SearchManyAnswer", "WhyNotAnswer"]

Scalar = str | int | float | bool | None


class HitAnswer(Answer):
    """One found record; see ``orthant.collection.results.Hit``."""

    id: str
    score: float = Field(description="Larger is closer; of a hybrid search comparable within one query only.")
    rank: int = Field(description="1 for the best of the whole result, counted through all pages.")
    text: str | None
    metadata: dict[str, Any]
    legs: dict[str, LegScore] = Field(description="Raw score and rank per leg.")
    matched: list[str] = Field(description="Query terms found in the text, with explain=true.")
    stages: dict[str, StageScore] = Field(
        default_factory=dict, description="Score and rank in every stage after retrieval, where one ran."
    )
    alignment: list[TokenMatch] = Field(
        default_factory=list, description="With explain=true, where tokens were compared."
    )
    shared: list[SharedTerm] = Field(
        default_factory=list, description="With explain=true, where a sparse space was searched."
    )


class GroupAnswer(Answer):
    """Hits that share a value of a field."""

    value: Scalar
    score: float = Field(description="Of its best hit.")
    rank: int
    count: int = Field(description="Records of the group that match, whether shown or not.")
    hits: list[str] = Field(description="Ids of its hits.")


class ValueCount(Answer):
    """A value of a field, and how many matching records have it."""

    value: Scalar
    count: int


class FacetAnswer(Answer):
    """Counts of a field over all records that match, not only over the hits."""

    values: list[ValueCount] = Field(description="Most frequent first.")
    distinct: int
    other: int = Field(description="Sum of the counts that are not listed.")
    missing: int = Field(description="Matching records without the field.")
    buckets: list[Bucket] = Field(description="Ranges, where all values are numbers or dates.")


class SearchAnswer(Answer):
    """The hits of one query, best first, and how they were found."""

    hits: list[HitAnswer]
    plan: Plan
    groups: list[GroupAnswer] = Field(default_factory=list, description="With group_by, best first.")
    facets: dict[str, FacetAnswer] = Field(default_factory=dict, description="With facets, by field.")


class SearchManyAnswer(Answer):
    """The results of several queries, in their order."""

    results: list[SearchAnswer]


class WhyNotAnswer(Answer):
    """Why a record is not in the result of a search."""

    id: str
    found: bool = Field(description="It is in the result after all.")
    stage: str = Field(description="What dropped it.")
    sentence: str
    rank: int | None = Field(description="Its place before `min_score` and page; null where it is in no ranking.")
    score: float | None
    steps: list[Step]
    changes: list[Change] = Field(description="Other settings that bring it in; each was tried.")
    mode: str
    generation: int
