"""Answers about the replacement of an encoder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from orthant.server.answers.shapes import Answer

__all__ = ["AcceptedAnswer", "RehearsalAnswer", "UpgradeAnswer"]


class ShareAnswer(Answer):
    """What would be had of the gain with a share of the records encoded again; null is what is not finite."""

    share: float | None = Field(description="Part of the gain.")
    interval: list[float | None] = Field(min_length=2, max_length=2, description="95 %, over resampled queries.")
    gain: float | None = Field(description="New encoder alone, less old encoder alone.")
    gain_interval: list[float | None] = Field(min_length=2, max_length=2)
    queries: int


class SettingsAnswer(Answer):
    """What was rehearsed; `run` takes the same."""

    encoder: str
    using: str
    space: str
    pairs: int
    seed: int


class RehearsalAnswer(Answer):
    """What an upgrade would come to."""

    using: str
    metric: str = Field(description="ndcg@10 with judgements, else overlap@10.")
    queries: int
    documents: int
    arms: dict[str, float]
    shares: dict[str, ShareAnswer] = Field(
        description="By the share of records encoded again, '0.00' to '1.00', of records that the map has not seen."
    )
    means: dict[str, float] = Field(description="The metric by the same shares.")
    now: dict[str, ShareAnswer] = Field(
        description="The same of this collection as the run leaves it, part of which the map is learned from."
    )
    now_means: dict[str, float] = Field(description="The metric by the same shares.")
    seen: float = Field(description="Share of the records that the map is learned from.")
    decided_by: Literal["unseen", "now"]
    action: Literal["do", "reencode", "don't"]
    reason: str
    ways: dict[str, float] = Field(description="Where the way was chosen: what each found of the new neighbours.")
    settings: SettingsAnswer


class RunAnswer(Answer):
    """What this server does for it."""

    state: Literal["idle", "running", "pausing", "paused", "failed"]
    share: float | None = Field(description="What the last run was to encode again.")
    error: str | None = Field(description="Why it failed.")


class OpenUpgrade(Answer):
    """An upgrade that has begun and has not been released or rolled back."""

    space: str
    using: str
    encoder: str | None = Field(description="The new one, where it is one of `encoders`.")
    phase: Literal["running", "committed"]
    records: int
    encoded: int = Field(description="Records with a vector of the new encoder.")
    mapped: int
    failed: dict[str, str] = Field(description="Some of the records that could not be encoded, and why.")
    failed_count: int
    newer_only: int = Field(description="Records written since the commit that only the new encoder has encoded.")
    spaces: list[str] = Field(description="With the old vectors, and with the new ones.")


class UpgradeAnswer(Answer):
    """Where the replacement of an encoder stands."""

    encoders: list[str] = Field(description="What may be changed to.")
    run: RunAnswer
    upgrade: OpenUpgrade | None = Field(description="Null where none is open.")
    rehearsal: RehearsalAnswer | None = Field(description="The last one of this server.")


class AcceptedAnswer(Answer):
    """Records that were let go."""

    accepted: int
