"""From ranked rows to hits with their records."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orthant.collection.lexical.analysis import Analyzer
from orthant.collection.results import Hit, LegScore, StageScore
from orthant.collection.sparse.shared import SharedTerm
from orthant.collection.storage import tables
from orthant.collection.storage.store import Store
from orthant.collection.storage.texts.fetching import fetch_raw
from orthant.collection.storage.texts.records import RawRecord
from orthant.collection.tokens.alignment import TokenMatch

__all__ = ["Entry", "StoredRecord", "make_hits", "read_raw", "read_records"]

StoredRecord = tuple[str, str | None, dict[str, Any]]
"""Id, text and metadata."""


@dataclass(frozen=True)
class Entry:
    """A row that is to be shown.

    Attributes
    ----------
    row : int
        The record's row.
    score : float
        What it is ordered by.
    rank : int
        From 1, through all pages.
    legs : mapping of str to LegScore
        What each leg said.
    stages : mapping of str to StageScore
        What each stage said.
    """

    row: int
    score: float
    rank: int
    legs: Mapping[str, LegScore]
    stages: Mapping[str, StageScore] = field(default_factory=dict)


def read_records(store: Store, connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, StoredRecord]:
    """Return the records of rows that the indexes hold.

    Parameters
    ----------
    store : Store
        The opened collection.
    connection : sqlite3.Connection
        In the transaction of the search.
    rows : sequence of int
        Rows.

    Returns
    -------
    dict of int to (id, text, metadata)
        Every row.

    Raises
    ------
    StoreCorruptedError
        A row without a record.
    """
    records: dict[int, StoredRecord] = tables.fetch_records(connection, store.database, rows)
    _require_all(store, rows, records)
    return records


def read_raw(store: Store, connection: sqlite3.Connection, rows: Sequence[int]) -> dict[int, RawRecord]:
    """Return the records of rows that the indexes hold, their metadata as it is stored.

    Parameters
    ----------
    store, connection, rows
        As for :func:`read_records`.

    Returns
    -------
    dict of int to (id, text, metadata)
        Every row; metadata as JSON text.

    Raises
    ------
    StoreCorruptedError
        A row without a record.
    """
    records = fetch_raw(connection, store.database, rows)
    _require_all(store, rows, records)
    return records


def _require_all(store: Store, rows: Sequence[int], records: Mapping[int, object]) -> None:
    missing = [row for row in rows if row not in records]
    if missing:
        raise store.database.corrupted(f"row {missing[0]} is indexed but has no record")


def make_hits(
    entries: Sequence[Entry],
    records: Mapping[int, StoredRecord],
    *,
    query: str | None,
    analyzer: Analyzer,
    explain: bool,
    include_text: bool,
    alignments: Mapping[int, tuple[TokenMatch, ...]] | None = None,
    shared: Mapping[int, tuple[SharedTerm, ...]] | None = None,
) -> tuple[Hit, ...]:
    """Return the hits of entries.

    Parameters
    ----------
    entries : sequence of Entry
        In the order wanted.
    records : mapping of int to (id, text, metadata)
        Their records.
    query : str or None
        The query's text.
    analyzer : Analyzer
        Says which words are one term.
    explain : bool
        Fill the matched terms.
    include_text : bool
        Keep the texts.
    alignments : mapping of int to tuple of TokenMatch, optional
        By row, where tokens are explained.
    shared : mapping of int to tuple of SharedTerm, optional
        By row, where weighted terms are explained.

    Returns
    -------
    tuple of Hit
        One per entry.
    """
    asked = _terms(analyzer, query) if explain else {}
    hits = []
    for entry in entries:
        key, text, metadata = records[entry.row]
        present = _terms(analyzer, text) if asked else {}
        matched = tuple(sorted(word for term, word in asked.items() if term in present))
        shown = text if include_text else None
        legs, stages = dict(entry.legs), dict(entry.stages)
        hits.append(
            Hit(
                key,
                entry.score,
                entry.rank,
                shown,
                metadata,
                legs,
                matched,
                stages,
                (alignments or {}).get(entry.row, ()),
                None if shared is None else shared[entry.row],
            )
        )
    return tuple(hits)


def _terms(analyzer: Analyzer, text: str | None) -> dict[str, str]:
    return {analyzer.term(word): word for word in analyzer.words(text or "") if not analyzer.is_stop_word(word)}
