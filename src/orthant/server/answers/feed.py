"""Answers of a feed."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from orthant.server.answers.shapes import Answer

__all__ = ["FeedAnswer"]


class EntryAnswer(Answer):
    """A record as a feed shows it."""

    id: str
    title: str
    text: str
    metadata: dict[str, Any]
    date: float | None = Field(description="Seconds since 1970, UTC; null without a date.")
    day: str = Field(description="The date as exact as it was given; empty without one.")
    views: int
    saves: int
    score: float | None = Field(description="How close it is, where something was searched.")


class FeedAnswer(Answer):
    """Entries in their order."""

    entries: list[EntryAnswer]
    total: int | None = Field(description="Entries of the whole order; null for a search.")
