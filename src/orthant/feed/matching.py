"""Which records a saved search finds among those written since it last looked."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from orthant.collection.columns.predicates import And, Predicate, RowsFrom
from orthant.collection.columns.where import parse_where
from orthant.collection.storage.generation import Generation
from orthant.feed.entries import Entry, Feed
from orthant.kernels import bitmaps

__all__ = ["as_close_as_now", "find_matches"]

_REFERENCE_HIT = 20


def find_matches(
    feed: Feed,
    query: str,
    *,
    mode: str,
    where: Mapping[str, Any] | None = None,
    min_score: float | None = None,
    from_row: int = 0,
    most: int = 1000,
) -> tuple[Entry, ...]:
    """Return the entries that a saved search finds.

    Parameters
    ----------
    feed : Feed
        The feed.
    query : str
        What is looked for; of no use with ``"filter"``.
    mode : {"dense", "lexical", "filter"}
        By meaning, by words, or by the filter alone.
    where : mapping, optional
        A where-expression.
    min_score : float, optional
        With ``"dense"``: how close an entry must be.
    from_row : int, default 0
        First row that counts.
    most : int, default 1000
        Entries at most.

    Returns
    -------
    tuple of Entry
        Closest first; newest first where only the filter counts.

    Raises
    ------
    EncoderMismatchError, InputError, FilterError
        The collection cannot be searched so any more.
    """
    condition: Predicate | None = parse_where(where) if where else None
    if from_row:
        since = RowsFrom(from_row)
        condition = since if condition is None else And((condition, since))
    collection: Any = feed.collection
    if not _any(feed, from_row):
        return ()
    if mode == "filter":
        return feed.newest(k=most, where=condition).entries  # type: ignore[arg-type]
    settings: dict[str, Any] = {"min_score": min_score} if mode == "dense" else {"syntax": "plain"}
    return feed._found(collection.search(query, k=most, mode=mode, where=condition, **settings))


def as_close_as_now(feed: Feed, query: str) -> float | None:
    """Return a score that separates what a query is about from the rest.

    Parameters
    ----------
    feed : Feed
        The feed.
    query : str
        What is looked for.

    Returns
    -------
    float or None
        The score of the 20th hit, or of the last one of the best tenth of a small collection. None where there is
        nothing to compare with.
    """
    count = len(feed.collection)
    if not count:
        return None
    wanted = min(_REFERENCE_HIT, max(1, count // 10))
    found = feed.collection.search(query, k=wanted, mode="dense", include_text=False)
    return float(found.hits[-1].score) if found.hits else None


def _any(feed: Feed, from_row: int) -> bool:
    def run(_: sqlite3.Connection, now: Generation) -> bool:
        rows = bitmaps.to_rows(now.live)
        return bool(len(rows)) and int(rows[-1]) >= from_row

    return feed.collection._store.read(run)
