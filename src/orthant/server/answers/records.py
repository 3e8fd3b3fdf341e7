"""Answers about records."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orthant.server.answers.shapes import Answer

__all__ = ["BulkAnswer", "DeleteAnswer", "FindAnswer", "GetAnswer", "IdsAnswer", "RecordAnswer"]


class PackedRows(Answer):
    """A matrix: little-endian float32 in base64, row after row."""

    base64: str
    shape: list[int] = Field(min_length=2, max_length=2)


class Terms(Answer):
    """Weighted terms of one record."""

    indices: list[int]
    values: list[float]


Vector = list[float] | list[list[float]] | str | PackedRows


class RecordAnswer(Answer):
    """A stored record."""

    id: str
    text: str | None
    metadata: dict[str, Any]
    vectors: dict[str, Vector] = Field(
        default_factory=dict,
        description="By space, where they were asked for: numbers, or little-endian float32 in base64; of tokens one "
        "row each.",
    )
    sparse: dict[str, Terms] = Field(default_factory=dict, description="Weighted terms by space, where asked for.")


class GetAnswer(Answer):
    """Records in the order of the ids; null stands where one is absent."""

    records: list[RecordAnswer | None]


class FindAnswer(Answer):
    """Records in insertion order."""

    records: list[RecordAnswer]


class IdsAnswer(Answer):
    """Every id, in insertion order."""

    ids: list[str]


class DeleteAnswer(Answer):
    """How many records were removed."""

    removed: int


class BulkAnswer(Answer):
    """What a bulk load stored."""

    records: int
    replaced: int
    batches: int
    generation: int = Field(description="The commit that holds the last batch; 0 without a record.")
    seconds: float
