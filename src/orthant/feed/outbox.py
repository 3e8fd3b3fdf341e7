"""The outbox: letters that are written, handed over, and known to be sent or not.

A letter is written once, in the transaction that notes which records it tells of. It is ``pending`` until it is handed
over, ``handing`` while nobody can say whether the other side has it, and then ``sent``, ``refused`` or ``pending``
again. A process that dies while it hands over leaves ``handing``, which the next one reads as ``uncertain``.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Literal

from orthant.feed.database import FeedDatabase

__all__ = ["MOST_ATTEMPTS", "Letter", "Outbox", "State"]

State = Literal["pending", "handing", "sent", "refused", "uncertain", "dropped"]
MOST_ATTEMPTS = 10
_LONGEST_PROBLEM = 300


@dataclass(frozen=True)
class Letter:
    """A letter of the outbox.

    Attributes
    ----------
    id : int
        Its number.
    subscription : int
        Saved search that it is about.
    kind : {"digest", "confirm"}
        What it is.
    address : str
        Where it goes.
    content : bytes
        The message.
    attempts : int
        How often it was tried.
    """

    id: int
    subscription: int
    kind: str
    address: str
    content: bytes
    attempts: int


class Outbox:
    """The letters of a feed's database.

    Parameters
    ----------
    database : FeedDatabase
        Where they lie.
    """

    def __init__(self, database: FeedDatabase) -> None:
        self._database = database

    def write(
        self, connection: sqlite3.Connection, subscription: int, kind: str, address: str, content: bytes, records: int
    ) -> None:
        """Add a letter.

        Parameters
        ----------
        connection : sqlite3.Connection
            Inside the transaction that notes what the letter tells of.
        subscription : int
            Saved search.
        kind : {"digest", "confirm"}
            What it is.
        address : str
            Where it goes.
        content : bytes
            The message.
        records : int
            How many records it tells of.
        """
        now = self._database.clock()
        connection.execute(
            "INSERT INTO outbox (subscription, kind, address, letter, records, state, created, changed) "
            "VALUES (?, ?, ?, ?, ?, 'pending', ?, ?)",
            (subscription, kind, address, content, records, now, now),
        )

    def recover(self, *, repeatable: bool, resend_uncertain: bool) -> None:
        """Settle what a process that died left behind; only for who holds the lock of the run.

        Parameters
        ----------
        repeatable : bool
            Handing over twice does no harm, as with files of fixed names.
        resend_uncertain : bool
            Also letters of which nobody can say whether they arrived.
        """
        now = self._database.clock()
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE outbox SET state = ?, changed = ? WHERE state = 'handing'",
                ("pending" if repeatable else "uncertain", now),
            )
            if resend_uncertain or repeatable:
                connection.execute("UPDATE outbox SET state = 'pending', changed = ? WHERE state = 'uncertain'", (now,))

    def pending(self) -> list[Letter]:
        """Return the letters to be handed over, oldest first."""
        found = self._database.rows(
            "SELECT id, subscription, kind, address, letter, attempts FROM outbox WHERE state = 'pending' ORDER BY id"
        )
        return [Letter(*row) for row in found]

    def handing(self, letter: Letter) -> bool:
        """Note, durably, that a letter is about to be handed over.

        Parameters
        ----------
        letter : Letter
            Which.

        Returns
        -------
        bool
            False where it was dropped meanwhile, and must not be handed over.
        """
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE outbox SET state = 'handing', attempts = attempts + 1, changed = ? "
                "WHERE id = ? AND state = 'pending'",
                (self._database.clock(), letter.id),
            ).rowcount
        return changed == 1

    def settle(self, letter: Letter, state: State, problem: str = "", *, counted: bool = True) -> None:
        """Note what became of a letter.

        Parameters
        ----------
        letter : Letter
            Which.
        state : {"pending", "sent", "refused", "uncertain"}
            What became of it; the 10th attempt that would leave it pending refuses it.
        problem : str, default ""
            What was in the way.
        counted : bool, default True
            The letter itself was tried; False where there was no connection.
        """
        # A confirmation asks once; what it said is of no use after it went out, and neither is a digest's text.
        kept = "x''" if state == "sent" else "letter"
        with self._database.writing() as connection:
            connection.execute(
                f"UPDATE outbox SET letter = {kept}, changed = ?, problem = ?, "
                "attempts = attempts + CASE WHEN state = 'handing' THEN 0 ELSE ? END, "
                "state = CASE WHEN ? = 'pending' AND attempts + ? >= ? THEN 'refused' ELSE ? END WHERE id = ?",
                (
                    *(self._database.clock(), problem[:_LONGEST_PROBLEM], int(counted)),
                    *(state, int(counted), MOST_ATTEMPTS, state, letter.id),
                ),
            )

    def counts(self) -> dict[str, int]:
        """Return how many letters are in each state.

        Returns
        -------
        dict of str to int
            States that occur.
        """
        return dict(self._database.rows("SELECT state, count(*) FROM outbox GROUP BY state ORDER BY state"))  # type: ignore[arg-type]
