"""Answers about collections as a whole."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orthant.collection.checking import Problem
from orthant.collection.diagnosis.report import Histogram
from orthant.collection.snapshots.manifest import SnapshotInfo
from orthant.collection.spaces import SpaceDefinition
from orthant.collection.sparse.state import SparseDefinition
from orthant.server.answers.shapes import Answer

__all__ = [
    "CheckAnswer",
    "CollectionAnswer",
    "CollectionsAnswer",
    "DiagnosisAnswer",
    "DroppedAnswer",
    "SnapshotsAnswer",
    "SpaceAnswer",
]

SpaceAnswer = SpaceDefinition | SparseDefinition
"""A space as it was made."""


class CollectionAnswer(Answer):
    """The number of records and the spaces of a collection."""

    name: str
    records: int
    date_field: str | None = Field(description="Field by which it is a feed; null where none holds dates.")
    spaces: dict[str, SpaceDefinition]
    sparse_spaces: dict[str, SparseDefinition]


class CollectionsAnswer(Answer):
    """The collections that the key may read."""

    collections: list[CollectionAnswer]


class SnapshotsAnswer(Answer):
    """Snapshots, oldest first."""

    snapshots: list[SnapshotInfo]


class DroppedAnswer(Answer):
    """The snapshot that is gone."""

    dropped: str


class CheckAnswer(Answer):
    """The outcome of a check."""

    ok: bool = Field(description="Nothing is wrong any more.")
    records: int
    vectors: int
    problems: list[Problem]
    notes: list[str]


class EstimateAnswer(Answer):
    """A figure of a sample with its 95 % interval; null is what is not finite."""

    value: float | None
    low: float | None
    high: float | None
    count: int = Field(description="Observations that it rests on.")


class BinAnswer(Answer):
    """The figure of observations that are alike in something."""

    label: str
    estimate: EstimateAnswer


class DiagnosisAnswer(Answer):
    """What the vectors of a space are like, what searches miss and cost, and what to do."""

    path: str = Field(description="The collection's name.")
    space: str
    metric: str
    records: int
    vectors: int
    dim: int
    sample: dict[str, Any]
    figures: dict[str, EstimateAnswer]
    curves: dict[str, Histogram | list[BinAnswer]]
    facts: dict[str, Any]
    missing: dict[str, str] = Field(description="Why a part was not measured.")
    advice: list[str]
    seconds: dict[str, float]
