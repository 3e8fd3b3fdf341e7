"""The entries of a collection: newest, trending, found by meaning, and what is near one of them."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from orthant.collection.collection import Collection
from orthant.collection.columns.where import parse_where
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.errors import InputError, message
from orthant.feed.database import FeedDatabase
from orthant.feed.dates import DATE_FIELDS, date_field_of, parse_date, show_date
from orthant.feed.trending import DAY_S, HALF_LIFE_DAYS, SAVE_WEIGHT, fade
from orthant.kernels import bitmaps
from orthant.types import IdArray
from orthant.validate import check_choice, check_count

__all__ = ["Entry", "Feed", "Page", "dated_by", "title_of"]

TITLE_FIELDS = ("title", "headline", "subject", "name")
_EXAMPLES = 256
_TITLE_LETTERS = 160
_REMEMBERED_HALVES = 30
_MOST_CLICKED = 5_000


@dataclass(frozen=True)
class Entry:
    """A record as a feed shows it.

    Attributes
    ----------
    id : str
        The record's id.
    title : str
        Its title, or the beginning of its text, or its id; one line.
    text : str
        Its text, without a first line that is the title already.
    metadata : dict
        Its metadata.
    date : float
        Seconds since 1970, UTC; NaN without a date.
    day : str
        The date as it is shown: a day, a month or a year, as exact as it was given; empty without one.
    views, saves : int
        Clicks within the time that counts for trending.
    score : float or None
        How close it is, where something was searched.
    """

    id: str
    title: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    date: float = math.nan
    day: str = ""
    views: int = 0
    saves: int = 0
    score: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as JSON-ready values.

        Returns
        -------
        dict
            ``date`` is None without one.
        """
        date = None if math.isnan(self.date) else self.date
        return {**vars(self), "metadata": dict(self.metadata), "date": date}


@dataclass(frozen=True)
class Page:
    """Some entries of an order.

    Attributes
    ----------
    entries : tuple of Entry
        In their order.
    total : int or None
        Entries of the whole order; None for a search, which has no end but the collection's.
    """

    entries: tuple[Entry, ...]
    total: int | None = None


@dataclass(frozen=True)
class _Order:
    """Rows of one generation, newest first, and their dates."""

    generation: int
    date_field: str | None
    rows: IdArray
    dates: npt.NDArray[np.float64]


class Feed:
    """A collection as a feed; it reads the collection and writes only to the database beside it.

    Use it for records that arrive over time. It works without a date field too, in the order of writing.

    Parameters
    ----------
    collection : Collection
        An open collection.
    database : FeedDatabase, optional
        Clicks and settings. Without one nothing is counted, and trending is newest.
    date_field : str, optional
        Field with dates; default the one that the database names, else the first of
        :data:`~orthant.feed.dates.DATE_FIELDS` that holds dates.
    title_field : str, optional
        Field with titles; default the one that the database names, else ``title``, ``headline``, ``subject`` or
        ``name``.

    Examples
    --------
    >>> import tempfile, orthant
    >>> with orthant.open(tempfile.mkdtemp()) as notes:
    ...     report = notes.upsert(["a", "b"], texts=["old", "new"], metadata=[{"year": 1999}, {"year": 2024}])
    ...     [entry.id for entry in Feed(notes).newest().entries]
    ['b', 'a']
    """

    def __init__(
        self,
        collection: Collection,
        database: FeedDatabase | None = None,
        *,
        date_field: str | None = None,
        title_field: str | None = None,
    ) -> None:
        self.collection = collection
        self.database = database
        self._named = (date_field, title_field)
        self._order: _Order | None = None

    @classmethod
    def beside(cls, collection: Collection) -> Self:
        """Return the feed of a collection with the database beside its folder, made when missing.

        Parameters
        ----------
        collection : Collection
            An open collection.

        Returns
        -------
        Feed
            Close its ``database`` after use.
        """
        return cls(collection, FeedDatabase(FeedDatabase.beside(Path(collection.path))))

    @property
    def settings(self) -> FeedDatabase:
        """The database, for what cannot be done without one.

        Raises
        ------
        InputError
            There is none.
        """
        if self.database is None:
            raise InputError(message("a feed without a database", "one with it", "use Feed.beside(collection)"))
        return self.database

    @property
    def date_field(self) -> str | None:
        """The field with the dates, None where there is none."""
        return self.collection._store.read(lambda _, now: self._ordered(now).date_field)

    def newest(self, *, k: int = 20, offset: int = 0, where: Mapping[str, Any] | None = None) -> Page:
        """Return entries by date, newest first; those without a date come last, latest written first.

        Parameters
        ----------
        k : int, default 20
            Entries at most.
        offset : int, default 0
            Entries to skip.
        where : mapping, optional
            A where-expression.

        Returns
        -------
        Page
            The entries and how many there are.

        Notes
        -----
        Cost: O(n log n) once per commit to the collection, then O(n / 64 + k).
        """
        return self._paged("newest", k, offset, where)

    def trending(self, *, k: int = 20, offset: int = 0, where: Mapping[str, Any] | None = None) -> Page:
        """Return entries by heat, hottest first: see :func:`orthant.feed.heat`.

        Parameters
        ----------
        k, offset, where
            As in :meth:`newest`.

        Returns
        -------
        Page
            The entries and how many there are.

        Notes
        -----
        Clicks count for 30 half-lives, and those of the 5,000 entries that have most of them. Equal heat is ordered by
        date. Cost: O(n log n + clicked entries).
        """
        return self._paged("trending", k, offset, where)

    def _paged(self, by: Literal["newest", "trending"], k: int, offset: int, where: Mapping[str, Any] | None) -> Page:
        k, offset = check_count(k, name="k"), check_count(offset, name="offset", minimum=0)
        predicate = None if where is None else parse_where(where)

        def run(connection: sqlite3.Connection, now: Generation) -> Page:
            order = self._ordered(now)
            rows = order.rows if by == "newest" else self._by_heat(connection, order)
            if predicate is not None:
                allowed = now.columns.evaluate(predicate, live=now.live).bitmap
                rows = rows[bitmaps.contains_rows(allowed, rows)]
            found = self._read(connection, rows[offset : offset + k], order.date_field)
            return Page(tuple(found), len(rows))

        return self.collection._store.read(run)

    def search(
        self,
        query: str,
        *,
        k: int = 20,
        offset: int = 0,
        mode: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> Page:
        """Return the entries closest to a query.

        Parameters
        ----------
        query : str
            What to look for.
        k, offset, where
            As in :meth:`newest`.
        mode : {"dense", "lexical", "hybrid"}, optional
            By meaning, by words or by both; default the richest that the collection can.

        Returns
        -------
        Page
            The entries, closest first, each with its score.
        """
        if mode is not None:
            check_choice(mode, ("dense", "lexical", "hybrid"), name="mode")
        collection: Any = self.collection
        found = collection.search(
            query, k=k, offset=offset, mode=mode, where=where, syntax=None if mode == "dense" else "plain"
        )
        return Page(self._found(found))

    def item(self, record_id: str) -> Entry:
        """Return one entry.

        Parameters
        ----------
        record_id : str
            Its id.

        Returns
        -------
        Entry
            The entry.

        Raises
        ------
        NotFoundError
            No such record.
        """
        record = self.collection.get(record_id)
        return self._entry(record.id, record.text, record.metadata, self.date_field, self._clicks([record.id]))

    def neighbours(self, record_id: str, *, k: int = 6) -> tuple[Entry, ...]:
        """Return the entries closest in meaning to one.

        Parameters
        ----------
        record_id : str
            Its id.
        k : int, default 6
            Entries at most.

        Returns
        -------
        tuple of Entry
            Closest first; empty where the record has no vector.
        """
        if "default" not in self.collection.spaces:
            return ()
        try:
            return self._found(self.collection.similar(record_id, k=k))
        except InputError:
            # A record without text has no vector; that is no reason to refuse its page.
            return ()

    def _found(self, hits: Any) -> tuple[Entry, ...]:
        name, clicks = self.date_field, self._clicks([hit.id for hit in hits])
        return tuple(self._entry(h.id, h.text, h.metadata, name, clicks, score=h.score) for h in hits)

    # ---- orders -------------------------------------------------------------------------------------------------

    def _ordered(self, now: Generation) -> _Order:
        held = self._order
        if held is not None and held.generation == now.number:
            return held
        rows = bitmaps.to_rows(now.live)
        name = self._named[0] or (self.database.setting("date_field") if self.database is not None else None)
        if name is None:
            name = dated_by(now)
        dates = np.full(len(rows), math.nan)
        for i, value in enumerate([] if name is None else _values(now, name, rows)):
            dates[i] = parse_date(value)
        order = np.lexsort((-rows, np.where(np.isnan(dates), math.inf, -dates)))
        self._order = _Order(now.number, name, rows[order], dates[order])
        return self._order

    def _by_heat(self, connection: sqlite3.Connection, order: _Order) -> IdArray:
        if self.database is None:
            return order.rows
        time = self.database.clock()
        warm = fade((time - order.dates) / DAY_S)
        glow = {record: _glow(days, time / DAY_S) for record, days in self._clicks().items()}
        if glow:
            # Their records are read, so there must not be any number of them.
            hottest = sorted(glow, key=glow.__getitem__, reverse=True)[:_MOST_CLICKED]
            known = tables.find_rows(connection, self.collection._store.database, hottest)
            ids = tables.fetch_records(connection, self.collection._store.database, known.tolist())
            by_row = np.argsort(order.rows)
            places = by_row[np.searchsorted(order.rows, known, sorter=by_row)]
            for place, row in zip(places.tolist(), known.tolist(), strict=True):
                warm[place] += glow[ids[row][0]]
        return order.rows[np.argsort(-warm, kind="stable")]

    def _clicks(self, ids: Sequence[str] | None = None) -> dict[str, list[tuple[int, int, int]]]:
        if self.database is None:
            return {}
        first = int(self.database.clock() // DAY_S - _REMEMBERED_HALVES * HALF_LIFE_DAYS)
        return self.database.clicks(since_day=first, records=ids)

    def _read(self, connection: sqlite3.Connection, rows: IdArray, date_field: str | None) -> list[Entry]:
        records = tables.fetch_records(connection, self.collection._store.database, rows.tolist())
        lost = [row for row in rows.tolist() if row not in records]
        if lost:
            raise self.collection._store.database.corrupted(f"row {lost[0]} is indexed but has no record")
        clicks = self._clicks([record[0] for record in records.values()])
        return [self._entry(*records[row], date_field, clicks) for row in rows.tolist()]

    def _entry(
        self,
        record_id: str,
        text: str | None,
        metadata: dict[str, Any],
        date_field: str | None,
        clicks: Mapping[str, list[tuple[int, int, int]]],
        *,
        score: float | None = None,
    ) -> Entry:
        named = self._named[1] or (self.database.setting("title_field") if self.database is not None else None)
        title, rest = title_of(record_id, text, metadata, TITLE_FIELDS if named is None else (named,))
        days = clicks.get(record_id, [])
        given = None if date_field is None else _at(metadata, date_field)
        views, saves = sum(day[1] for day in days), sum(day[2] for day in days)
        return Entry(record_id, title, rest, dict(metadata), parse_date(given), show_date(given), views, saves, score)


def title_of(
    record_id: str, text: str | None, metadata: Mapping[str, Any], fields: Sequence[str] = TITLE_FIELDS
) -> tuple[str, str]:
    r"""Return the title of a record and the text below it.

    Parameters
    ----------
    record_id : str
        Its id, the title of a record that has nothing else.
    text : str or None
        Its text.
    metadata : mapping
        Its metadata.
    fields : sequence of str
        Fields that may hold a title, best first.

    Returns
    -------
    title : str
        One line of at most 160 characters.
    text : str
        The text; without its first line where that is the title.

    Examples
    --------
    >>> title_of("a", "Moby Dick\nCall me Ishmael.", {})
    ('Moby Dick', 'Call me Ishmael.')
    """
    body = (text or "").strip()
    named = next((value for name in fields if isinstance(value := _at(metadata, name), str) and value.strip()), None)
    first, _, rest = body.partition("\n")
    title = " ".join((named or first or record_id).split())
    if title == " ".join(first.split()) and len(title) <= _TITLE_LETTERS:
        body = rest.strip()
    return (title if len(title) <= _TITLE_LETTERS else f"{title[: _TITLE_LETTERS - 1].rstrip()}…"), body


def _glow(days: Sequence[tuple[int, int, int]], today: float) -> float:
    """What clicks add to the heat of an entry."""
    table = np.array(days, dtype=np.float64)
    return float(((table[:, 1] + SAVE_WEIGHT * table[:, 2]) * fade(today - table[:, 0])).sum())


def _at(metadata: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    if path in metadata:
        return metadata[path]
    value: Any = metadata
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def dated_by(now: Generation) -> str | None:
    """Return the field by which a collection is a feed.

    Parameters
    ----------
    now : Generation
        What a reader sees.

    Returns
    -------
    str or None
        As :func:`~orthant.feed.dates.date_field_of` finds it in some records; None where no field holds dates.

    Notes
    -----
    Cost: some hundreds of values are read, whatever the number of records.
    """
    rows = bitmaps.to_rows(now.live)
    examples = rows[:: max(1, len(rows) // _EXAMPLES)]
    return date_field_of({one: _values(now, one, examples) for one in DATE_FIELDS})


def _values(now: Generation, name: str, rows: IdArray) -> list[Any]:
    if name not in now.columns.names:
        return []
    try:
        return now.columns.values(name, rows)
    except InputError:
        # A field of objects holds no dates.
        return []
