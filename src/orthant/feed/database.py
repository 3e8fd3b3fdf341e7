"""The small database beside a collection: clicks, saved searches, and the letters that they led to."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from orthant.collection.storage.files import storage_error
from orthant.errors import InputError, StoreCorruptedError, StoreError, StoreLockedError, StoreVersionError, message
from orthant.threads import Copied

__all__ = ["Clock", "FeedDatabase"]

Clock = Callable[[], float]
"""Gives seconds since 1970, UTC."""

_FORMAT = 1
_WAIT_S = 10.0
_BEFORE_COPY_S = 2.0
"""Seconds that a copy of the process (``os.fork``) waits for a call that is under way in another thread."""
_never_closed: list[sqlite3.Connection] = []
_DAY_S = 86_400
_MOST_SAVES = 1_000
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE activity (
    record TEXT NOT NULL, day INTEGER NOT NULL, views INTEGER NOT NULL DEFAULT 0, saves INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (record, day)
) WITHOUT ROWID;
CREATE INDEX activity_by_day ON activity (day);
CREATE TABLE saves (
    reader TEXT NOT NULL, record TEXT NOT NULL, day INTEGER NOT NULL, PRIMARY KEY (reader, record)
) WITHOUT ROWID;
CREATE TABLE subscriptions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL, query TEXT NOT NULL, mode TEXT NOT NULL,
    conditions TEXT NOT NULL, min_score REAL, most INTEGER NOT NULL, every TEXT NOT NULL, created REAL NOT NULL,
    confirmed REAL, ended REAL, mark INTEGER NOT NULL, composed REAL
);
CREATE TABLE told (
    subscription INTEGER NOT NULL, record TEXT NOT NULL, PRIMARY KEY (subscription, record)
) WITHOUT ROWID;
CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, subscription INTEGER NOT NULL, kind TEXT NOT NULL, address TEXT NOT NULL,
    letter BLOB NOT NULL, records INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, changed REAL NOT NULL, problem TEXT NOT NULL DEFAULT ''
);
CREATE INDEX outbox_by_state ON outbox (state);
"""


class FeedDatabase(Copied):
    """A SQLite file beside a collection's folder, for what a feed must remember and a collection must not hold.

    It lies beside the folder and not in it, so a copy, a snapshot or an export of the collection carries no address of
    a reader. Any number of threads and processes may use it; its owner alone can read it.

    Parameters
    ----------
    path : str or Path
        The file; made when missing. See :meth:`beside`.
    clock : callable, default time.time
        Gives the time; tests pass their own.

    Raises
    ------
    StoreReadOnlyError, StoreError
        The file cannot be made or opened.
    StoreCorruptedError
        It is not a database, or one of something else.
    StoreVersionError
        A newer release made it.

    Examples
    --------
    >>> import tempfile
    >>> with FeedDatabase(Path(tempfile.mkdtemp()) / "books.feed.sqlite") as database:
    ...     database.setting("date_field", "published")
    ...     database.setting("date_field")
    'published'
    'published'
    """

    def __init__(self, path: str | Path, *, clock: Clock = time.time) -> None:
        self.path = Path(path)
        self.clock = clock
        self._lock = threading.RLock()
        self._resting = self._torn = self._closed = False
        try:
            # SQLite gives its log and index the permissions of the file, so all are private from the start.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise storage_error(error, self.path, "open") from error
        self._opened: sqlite3.Connection | None = None
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        super().__init__()

    @property
    def _connection(self) -> sqlite3.Connection:
        """The connection, made when it is first asked for."""
        if self._torn:
            given = f"{self.path.name}, which was in use while this process was copied from another (os.fork)"
            remedy = "start processes by 'spawn' or 'forkserver', or while no call is under way"
            raise StoreError(message(given, "a database that was at rest then", remedy))
        if self._closed:
            raise StoreError(message(f"{self.path.name}, which was closed", "an open one", "open it again"))
        if self._opened is None:
            self._opened = sqlite3.connect(self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
            # A letter that is noted as sent must be noted so after a power cut, too.
            self._opened.execute("PRAGMA synchronous=FULL")
        return self._opened

    def rest(self) -> None:
        """Close the file while the process is copied, since SQLite forbids to take it along; keep the lock."""
        self._resting = self._lock.acquire(timeout=_BEFORE_COPY_S)
        if self._resting and self._opened is not None and not self._opened.in_transaction:
            self._opened.close()
            self._opened = None

    def go_on(self) -> None:
        """Give the lock back; the file is opened when it is needed."""
        if self._resting:
            self._lock.release()

    def begin_anew(self) -> None:
        """Begin without the file, in a copy of the process."""
        self.go_on()
        self._torn = self._torn or self._opened is not None
        if not self._resting:
            self._lock = threading.RLock()
        # Closing here what is open there would give its locks up.
        _never_closed.extend([] if self._opened is None else [self._opened])
        self._opened = None

    @staticmethod
    def beside(collection: str | Path) -> Path:
        """Return where the database of a collection lies.

        Parameters
        ----------
        collection : str or Path
            The collection's folder.

        Returns
        -------
        Path
            ``books.orthant.feed.sqlite`` for ``books.orthant``.
        """
        folder = Path(collection).resolve()
        return folder.with_name(f"{folder.name}.feed.sqlite")

    def _prepare(self) -> None:
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            with self.writing() as connection:
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                if version == 0 and tables == 0:
                    for statement in _SCHEMA.split(";"):
                        if statement.strip():
                            connection.execute(statement)
                    connection.execute("INSERT INTO settings VALUES ('secret', ?)", (secrets.token_hex(32),))
                    connection.execute(f"PRAGMA user_version={_FORMAT}")
                elif version == 0:
                    raise self._damaged("tables of something else")
                elif version > _FORMAT:
                    raise StoreVersionError(
                        message(f"{self.path.name} of format {version}", f"format {_FORMAT}", "upgrade orthant")
                    )
        except sqlite3.OperationalError as error:
            raise StoreError(
                message(f"{self.path.name}: {error}", "a database that can be written", "check its permissions")
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, what: str) -> StoreCorruptedError:
        return StoreCorruptedError(
            message(
                f"{self.path.name} with {what}",
                "the database of a feed",
                "restore it from a copy; without one move it away: saved searches and clicks are lost then",
            )
        )

    def __enter__(self) -> Self:
        """Return the database."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close the file; harmless when closed."""
        with self._lock:
            self._closed = True
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a transaction that is committed at the end, or undone by an error.

        Yields
        ------
        sqlite3.Connection
            Used by one thread at a time.

        Raises
        ------
        StoreLockedError
            Another process wrote for 10 s.
        """
        with self._lock:
            self._begin()
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # Also where the commit fails: a transaction that stays open refuses every later one.
                if self._opened is not None and self._opened.in_transaction:
                    with suppress(sqlite3.Error):
                        self._opened.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise StoreLockedError(
                message(f"{self.path.name}: {error}", f"a turn to write within {_WAIT_S:g} s", "try again")
            ) from error

    def rows(self, statement: str, *values: object) -> list[tuple]:
        """Return what a query finds.

        Parameters
        ----------
        statement : str
            SQL from the source, never from data.
        *values : object
            For its question marks.

        Returns
        -------
        list of tuple
            The rows.
        """
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def setting(self, name: str, value: str | None = None) -> str | None:
        """Return a setting, after changing it where a value is given.

        Parameters
        ----------
        name : str
            ``"date_field"`` or ``"title_field"``.
        value : str, optional
            What it is to be from now on.

        Returns
        -------
        str or None
            None where it was never set.

        Raises
        ------
        InputError
            An unknown name.
        """
        if name not in ("date_field", "title_field"):
            raise InputError(message(f"setting {name!r}", "date_field or title_field", "correct it"))
        if value is not None:
            with self.writing() as connection:
                connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))
        found = self.rows("SELECT value FROM settings WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def secret(self) -> bytes:
        """Return the key of links, which whoever has it could forge.

        Returns
        -------
        bytes
            32 random bytes of this database.
        """
        return bytes.fromhex(self.rows("SELECT value FROM settings WHERE name = 'secret'")[0][0])

    # ---- clicks -------------------------------------------------------------------------------------------------

    def view(self, record_id: str) -> None:
        """Count one look at a record today; who looked is not kept.

        Parameters
        ----------
        record_id : str
            The record.
        """
        with self.writing() as connection:
            _count(connection, record_id, self._today(), views=1)

    def save(self, reader: str, record_id: str) -> bool:
        """Put a record on a reader's list; it counts once for each reader.

        Parameters
        ----------
        reader : str
            A token that the reader's browser keeps; only its hash is stored.
        record_id : str
            The record.

        Returns
        -------
        bool
            False where it was on the list already, or the list holds 1,000 records.
        """
        hashed, today = _hash(reader), self._today()
        with self.writing() as connection:
            (held,) = connection.execute("SELECT count(*) FROM saves WHERE reader = ?", (hashed,)).fetchone()
            if held >= _MOST_SAVES:
                return False
            added = connection.execute(
                "INSERT OR IGNORE INTO saves VALUES (?, ?, ?)", (hashed, record_id, today)
            ).rowcount
            if added:
                _count(connection, record_id, today, saves=1)
        return bool(added)

    def unsave(self, reader: str, record_id: str) -> bool:
        """Take a record off a reader's list, and its count with it.

        Parameters
        ----------
        reader, record_id : str
            As in :meth:`save`.

        Returns
        -------
        bool
            False where it was not on the list.
        """
        with self.writing() as connection:
            found = connection.execute(
                "DELETE FROM saves WHERE reader = ? AND record = ? RETURNING day", (_hash(reader), record_id)
            ).fetchall()
            for (day,) in found:
                _count(connection, record_id, day, saves=-1)
        return bool(found)

    def saved(self, reader: str) -> list[str]:
        """Return a reader's list, latest first.

        Parameters
        ----------
        reader : str
            As in :meth:`save`.

        Returns
        -------
        list of str
            Ids of records.
        """
        found = self.rows("SELECT record FROM saves WHERE reader = ? ORDER BY day DESC, record", _hash(reader))
        return [str(record) for (record,) in found]

    def _today(self) -> int:
        return int(self.clock() // _DAY_S)

    def clicks(
        self, *, since_day: int = 0, records: Sequence[str] | None = None
    ) -> dict[str, list[tuple[int, int, int]]]:
        """Return the clicks of records.

        Parameters
        ----------
        since_day : int, default 0
            First day that counts, in days since 1970.
        records : sequence of str, optional
            Ids, at most some thousands; None for every record that has clicks.

        Returns
        -------
        dict of str to list of (day, views, saves)
            By record.
        """
        out: dict[str, list[tuple[int, int, int]]] = {}
        statement = "SELECT record, day, views, saves FROM activity WHERE day >= ?"
        if records is not None:
            statement += f" AND record IN ({', '.join('?' * len(records))})"
        for record, day, views, saves in self.rows(statement, since_day, *(records or ())):
            out.setdefault(record, []).append((day, views, saves))
        return out


def _count(connection: sqlite3.Connection, record_id: str, day: int, *, views: int = 0, saves: int = 0) -> None:
    connection.execute(
        "INSERT INTO activity VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET views = views + ?, saves = saves + ?",
        (record_id, day, views, saves, views, saves),
    )


def _hash(reader: str) -> str:
    return hashlib.sha256(reader.encode("utf-8", "replace")).hexdigest()
