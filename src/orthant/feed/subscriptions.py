"""Saved searches: who wants to hear of what, since when, and how often."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from orthant.collection.columns.where import parse_where
from orthant.errors import InputError, NotFoundError, OverloadedError, message
from orthant.feed.addresses import check_address, one_line
from orthant.feed.entries import Feed
from orthant.feed.links import Purpose, read_link, sign_link
from orthant.feed.matching import as_close_as_now, find_matches
from orthant.validate import check_choice, check_count, check_fraction

__all__ = ["EVERY", "Every", "SearchKind", "Subscription", "Subscriptions"]

Every = Literal["run", "day", "week"]
SearchKind = Literal["dense", "lexical", "filter"]
EVERY: Mapping[str, float] = {"run": 0.0, "day": 86_400.0, "week": 7 * 86_400.0}
"""Seconds between two digests of one saved search, at least."""

CONFIRM_WITHIN_S = 7 * 86_400.0
_LONGEST_QUERY = 500
_MOST_OF_ADDRESS, _MOST_WAITING, _MOST_ALL = 20, 500, 100_000
_KNOWN_AT_FIRST = 1000
_COLUMNS = "id, address, query, mode, conditions, min_score, most, every, created, confirmed, ended, mark, composed"


@dataclass(frozen=True)
class Subscription:
    """A saved search.

    Attributes
    ----------
    id : int
        Its number.
    address : str
        Where digests go.
    query : str
        What is looked for; empty where only the filter counts.
    mode : {"dense", "lexical", "filter"}
        By meaning, by words, or by the filter alone.
    where : dict
        A where-expression; empty for none.
    min_score : float or None
        With ``"dense"``: a record closer than this matches.
    most : int
        Entries that one digest shows; what is beyond is counted.
    every : {"run", "day", "week"}
        How often a digest may go out.
    created, confirmed, ended : float or None
        Seconds since 1970; None for what has not happened.
    mark : int
        Rows from here on have not been looked at.
    composed : float or None
        When the last digest was written.
    """

    id: int
    address: str
    query: str
    mode: SearchKind
    where: dict[str, Any]
    min_score: float | None
    most: int
    every: Every
    created: float
    confirmed: float | None
    ended: float | None
    mark: int
    composed: float | None

    @property
    def state(self) -> str:
        """``"active"``, ``"unconfirmed"`` or ``"ended"``."""
        if self.ended is not None:
            return "ended"
        return "unconfirmed" if self.confirmed is None else "active"

    def to_dict(self) -> dict[str, Any]:
        """Return the saved search as JSON-ready values.

        Returns
        -------
        dict
            With its ``state``.
        """
        return {**vars(self), "state": self.state}


class Subscriptions:
    """The saved searches of a feed.

    Parameters
    ----------
    feed : Feed
        With a database.

    Attributes
    ----------
    database : FeedDatabase
        Where they lie.

    Raises
    ------
    InputError
        A feed without a database.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.database = feed.settings

    def add(
        self,
        address: str,
        query: str = "",
        *,
        mode: SearchKind | None = None,
        where: Mapping[str, Any] | None = None,
        min_score: float | None = None,
        most: int = 20,
        every: Every = "day",
        confirmed: bool = True,
    ) -> Subscription:
        """Save a search; records that are there already are not new and are never sent.

        Parameters
        ----------
        address : str
            Where digests go.
        query : str, default ""
            What is looked for; may be empty with ``where``.
        mode : {"dense", "lexical", "filter"}, optional
            By meaning, by words, or by the filter alone. Default by meaning where the collection has an encoder, else
            by words; the filter where there is no query.
        where : mapping, optional
            A where-expression that new records must meet as well.
        min_score : float, optional
            With ``"dense"``: how close a record must be. Too low sends everything, too high nothing. Default: as close
            as the 20th record is now, or the best tenth of a small collection.
        most : int, default 20
            Entries of one digest, 1 to 200.
        every : {"run", "day", "week"}, default "day"
            How often a digest may go out.
        confirmed : bool, default True
            False waits for the reader to follow a link before anything but that link is sent: for addresses that
            somebody else may have typed.

        Returns
        -------
        Subscription
            The saved search; an equal one of the same address is returned as it is, not doubled.

        Raises
        ------
        InputError
            A malformed address, nothing to look for, or settings that do not fit together.
        OverloadedError
            Too many saved searches of this address, too many that wait for their reader, or too many at all.
        """
        address, query = check_address(address), one_line(query, _LONGEST_QUERY)
        most = check_count(most, name="most", maximum=200)
        check_choice(every, get_args(Every), name="every")
        predicate = None if where is None else parse_where(where)
        mode = self._mode(mode, query, wants=predicate is not None)
        conditions = {} if predicate is None else dict(predicate.to_json())
        if min_score is not None:
            if mode != "dense":
                raise InputError(message(f"min_score= with mode={mode!r}", "mode='dense' for it", "leave it out"))
            min_score = check_fraction(min_score, name="min_score", low=-1e30, high=1e30)
        elif mode == "dense":
            min_score = as_close_as_now(self.feed, query)
        now, mark = self.database.clock(), self.feed.collection._store.refreshed().next_row
        # What matches already is not new, even where it is written again later.
        known = find_matches(self.feed, query, mode=mode, where=conditions, min_score=min_score, most=_KNOWN_AT_FIRST)
        known_ids = [entry.id for entry in known]
        values = (address, query, mode, json.dumps(conditions, sort_keys=True), most, every)
        with self.database.writing() as connection:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM subscriptions WHERE address = ? AND query = ? AND mode = ? AND conditions = ? "
                "AND most = ? AND every = ? AND ended IS NULL",
                values,
            ).fetchone()
            if found is not None:
                return _subscription(found)
            self._check_room(connection, address, now, confirmed=confirmed)
            row = connection.execute(
                "INSERT INTO subscriptions (address, query, mode, conditions, most, every, min_score, created, "
                "confirmed, mark) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, min_score, now, now if confirmed else None, mark),
            ).lastrowid
            connection.executemany("INSERT INTO told VALUES (?, ?)", [(row, known) for known in known_ids])
        return self.get(int(row or 0))

    def list(self, *, ended: bool = False) -> list[Subscription]:
        """Return the saved searches, oldest first.

        Parameters
        ----------
        ended : bool, default False
            Also those that have ended.

        Returns
        -------
        list of Subscription
            The saved searches.
        """
        condition = "" if ended else "WHERE ended IS NULL"
        found = self.database.rows(f"SELECT {_COLUMNS} FROM subscriptions {condition} ORDER BY id")
        return [_subscription(row) for row in found]

    def get(self, number: int) -> Subscription:
        """Return one saved search.

        Parameters
        ----------
        number : int
            Its id.

        Returns
        -------
        Subscription
            The saved search.

        Raises
        ------
        NotFoundError
            No such one.
        """
        found = self.database.rows(f"SELECT {_COLUMNS} FROM subscriptions WHERE id = ?", number)
        if not found:
            raise NotFoundError(message(f"saved search {number}", "one that exists", "list them"))
        return _subscription(found[0])

    def remove(self, number: int) -> Subscription:
        """End a saved search; letters of it that have not gone out are dropped.

        Parameters
        ----------
        number : int
            Its id.

        Returns
        -------
        Subscription
            As it is now.

        Raises
        ------
        NotFoundError
            No such one.
        """
        self.get(number)
        now = self.database.clock()
        with self.database.writing() as connection:
            connection.execute("UPDATE subscriptions SET ended = ? WHERE id = ? AND ended IS NULL", (now, number))
            connection.execute(
                "UPDATE outbox SET state = 'dropped', changed = ? WHERE subscription = ? AND state = 'pending'",
                (now, number),
            )
        return self.get(number)

    # ---- links out of letters -----------------------------------------------------------------------------------

    def link(self, purpose: Purpose, subscription: Subscription) -> str:
        """Return the signed part of a link.

        Parameters
        ----------
        purpose : {"confirm", "unsubscribe"}
            What it does.
        subscription : Subscription
            Which saved search.

        Returns
        -------
        str
            Letters, digits, ``-`` and ``_``.
        """
        return sign_link(self.database.secret(), purpose, subscription.id, subscription.address)

    def of_link(self, purpose: Purpose, token: str) -> Subscription:
        """Return the saved search that a link is about, without doing anything.

        Parameters
        ----------
        purpose : {"confirm", "unsubscribe"}
            What it is to be used for.
        token : str
            As it came.

        Returns
        -------
        Subscription
            The saved search.

        Raises
        ------
        NotFoundError
            Not a link of a letter.
        """
        return self.get(read_link(self.database.secret(), purpose, token, self._address_of))

    def confirm(self, token: str) -> Subscription:
        """Begin a saved search whose reader followed the link.

        Parameters
        ----------
        token : str
            From the letter.

        Returns
        -------
        Subscription
            As it is now.

        Raises
        ------
        NotFoundError
            Not a link of a letter, one of a search that has ended, or one that is older than a week.
        """
        found = self.of_link("confirm", token)
        now = self.database.clock()
        late = found.confirmed is None and now - found.created > CONFIRM_WITHIN_S
        if found.ended is not None or late:
            raise NotFoundError(message("a link that is no longer valid", "one of this week", "subscribe again"))
        with self.database.writing() as connection:
            connection.execute(
                "UPDATE subscriptions SET confirmed = ? WHERE id = ? AND confirmed IS NULL", (now, found.id)
            )
        return self.get(found.id)

    def unsubscribe(self, token: str) -> Subscription:
        """End the saved search whose letter a link is from; a second time changes nothing.

        Parameters
        ----------
        token : str
            From a letter.

        Returns
        -------
        Subscription
            As it is now.

        Raises
        ------
        NotFoundError
            Not a link of a letter.
        """
        return self.remove(self.of_link("unsubscribe", token).id)

    def _address_of(self, number: int) -> str | None:
        found = self.database.rows("SELECT address FROM subscriptions WHERE id = ?", number)
        return str(found[0][0]) if found else None

    # ---- what a new one may be ----------------------------------------------------------------------------------

    def _mode(self, mode: SearchKind | None, query: str, *, wants: bool) -> SearchKind:
        if not query and not wants:
            raise InputError(message("nothing to look for", "a query or a filter", "pass query or where="))
        if mode is None:
            meaning: SearchKind = "dense" if self.feed.collection._encoders.at_hand("default") else "lexical"
            mode = meaning if query else "filter"
        check_choice(mode, get_args(SearchKind), name="mode")
        if mode == "filter" and query:
            raise InputError(message("mode='filter'", "a filter and no query", "pass where=, or another mode"))
        if mode != "filter" and not query:
            raise InputError(message(f"mode={mode!r} without a query", "a query", "pass one, or mode='filter'"))
        return mode

    def _check_room(self, connection: sqlite3.Connection, address: str, now: float, *, confirmed: bool) -> None:
        for what, most, condition, values in (
            ("saved searches of one address", _MOST_OF_ADDRESS, "address = ?", (address,)),
            ("saved searches that wait for their reader", _MOST_WAITING, "confirmed IS NULL AND created > ?",
             (now - CONFIRM_WITHIN_S,)),
            ("saved searches", _MOST_ALL, "1", ()),
        ):  # fmt: skip
            if confirmed and "wait" in what:
                continue
            (count,) = connection.execute(
                f"SELECT count(*) FROM subscriptions WHERE ended IS NULL AND {condition}", values
            ).fetchone()
            if count >= most:
                raise OverloadedError(message(f"more than {most:,} {what}", "fewer", "end some, or try again later"))


def _subscription(row: tuple[Any, ...]) -> Subscription:
    held = dict(zip(_COLUMNS.split(", "), row, strict=True))
    held["where"] = json.loads(held.pop("conditions"))
    return Subscription(**held)
