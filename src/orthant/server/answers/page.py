"""Answers that the page asks for: maps and their colours."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orthant.server.answers.shapes import Answer

__all__ = ["ColoursAnswer", "MapAnswer", "WorkingAnswer"]


class WorkingAnswer(Answer):
    """It is being computed; ask again."""

    state: Literal["working"]
    stage: str
    share: float = Field(ge=0, le=1)


class MapAnswer(Answer):
    """Places of records on a plane."""

    state: Literal["ready"]
    space: str
    ids: list[str]
    places: str = Field(description="Two little-endian float32 per record, in base64.")
    records: int = Field(description="Of the collection, when the map was made.")
    generation: int
    current: bool = Field(description="Nothing was written since.")


class ValuesAnswer(Answer):
    """A few named values of a field."""

    kind: Literal["values"]
    labels: list[str | None] = Field(description="Most frequent first; null stands for all others.")
    counts: list[int]
    distinct: int
    missing: int
    codes: list[int] = Field(description="Places among the labels, one per record of the map; -1 without a value.")


class ShadesAnswer(Answer):
    """Numbers of a field between two edges."""

    kind: Literal["numbers"]
    low: float
    high: float
    missing: int
    codes: list[int] = Field(description="0 to 255, one per record of the map; -1 without a value.")


ColoursAnswer = ValuesAnswer | ShadesAnswer
"""What points are coloured by."""
