"""The SQLite file of a collection: schema, connections and error translation.

SQLite holds records, space definitions and the commit point. Every row that later reads depend on carries a CRC,
because SQLite itself does not notice a flipped bit inside a page.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Condition, Lock, get_ident
from urllib.parse import quote

from orthant.errors import (
    StoreCorruptedError,
    StoreError,
    StoreLockedError,
    StoreReadOnlyError,
    StoreVersionError,
    message,
)
from orthant.threads import Copied

__all__ = ["DATABASE_FORMAT", "Database", "checksum", "closed_error", "raise_format"]

DATABASE_FORMAT = 3
"""Newest schema that is read; a reader refuses a file whose ``minimum_reader`` is above it."""

_FIRST_FORMAT = 1
"""What a collection begins as; 2 with a space of tokens or of weighted terms, 3 with its first packed record."""

_BEFORE_COPY_S = 2.0
"""Seconds that a copy of the process (``os.fork``) waits for calls that are under way in other threads."""

_APPLICATION_ID = 0x4F525448

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE records (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, text TEXT, metadata TEXT NOT NULL,
                      crc INTEGER NOT NULL);
CREATE TABLE removed (row INTEGER PRIMARY KEY, generation INTEGER NOT NULL, crc INTEGER NOT NULL);
CREATE INDEX removed_by_generation ON removed (generation);
CREATE TABLE spaces (name TEXT PRIMARY KEY, definition TEXT NOT NULL, canaries BLOB NOT NULL, crc INTEGER NOT NULL)
                    WITHOUT ROWID;
CREATE TABLE segments (space TEXT NOT NULL, segment INTEGER NOT NULL, slots INTEGER NOT NULL, crcs BLOB NOT NULL,
                       crc INTEGER NOT NULL, PRIMARY KEY (space, segment)) WITHOUT ROWID;
CREATE TABLE extents (space TEXT NOT NULL, segment INTEGER NOT NULL, first_slot INTEGER NOT NULL,
                      slots INTEGER NOT NULL, first_row INTEGER NOT NULL, rows BLOB NOT NULL, crc INTEGER NOT NULL,
                      PRIMARY KEY (space, segment, first_slot)) WITHOUT ROWID;
"""


def checksum(*values: object) -> int:
    """Return the CRC-32 of a row's values, distinguishing absent from empty.

    Parameters
    ----------
    *values : str, bytes, int or None
        The row's values in a fixed order; a damaged row may bring others, which never match.

    Returns
    -------
    int
        An unsigned 32-bit number.
    """
    crc = 0
    for value in values:
        if value is None:
            data = b"\xff"
        elif isinstance(value, str):
            # A text is text even with lone surrogates, which plain UTF-8 cannot carry.
            data = value.encode("utf-8", "surrogatepass")
        elif isinstance(value, int):
            data = value.to_bytes(9, "little", signed=True)
        elif isinstance(value, bytes):
            data = value
        else:
            data = b"\xfd" + repr(value).encode()
        crc = zlib.crc32(b"\xfe", zlib.crc32(data, crc))
    return crc


def raise_format(connection: sqlite3.Connection, number: int) -> None:
    """Refuse older releases from now on; the caller writes the counters afterwards.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    number : int
        The format that a reader must know; one that is higher already stays.
    """
    found = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('format', 'minimum_reader')"))
    told = [(key, str(number)) for key in ("format", "minimum_reader") if int(found.get(key, 0)) < number]
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", told)


def closed_error() -> StoreError:
    """Return the error for a call on a closed collection.

    Returns
    -------
    StoreError
        To be raised by the caller.
    """
    return StoreError(message("a closed collection", "an open one", "open it again with orthant.open(path)"))


class Database(Copied):
    """Connections to one collection's SQLite file.

    One connection writes; readers borrow from a small pool and each runs inside one read transaction, so what it
    reads belongs to one generation. A copied process (``os.fork``) gets connections of its own; SQLite forbids more.

    Parameters
    ----------
    path : Path
        The database file.
    read_only : bool
        Never write, not even a lock file where the folder forbids it.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self.dictionaries: dict[int, bytes] = {}
        self._pool: list[sqlite3.Connection] = []
        self._pool_stamp: object = None
        self._lock = Condition(Lock())
        self._users: list[int] = []
        self._writer: sqlite3.Connection | None = None
        self._closed = self._torn = False
        super().__init__()

    @classmethod
    def create(cls, path: Path, start: Callable[[sqlite3.Connection], None]) -> Database:
        """Create the file with an empty schema.

        Parameters
        ----------
        path : Path
            The file; it must not exist.
        start : callable of sqlite3.Connection
            Writes the counters, inside the same transaction.

        Returns
        -------
        Database
            Open for writing.
        """
        database = cls(path, read_only=False)
        with database.errors():
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute(f"PRAGMA application_id={_APPLICATION_ID}")
                connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA.split(";"):
                    connection.execute(statement)
                rows = [(key, str(_FIRST_FORMAT)) for key in ("format", "minimum_reader")]
                connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)
                start(connection)
                connection.execute("COMMIT")
            finally:
                connection.close()
        return database

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate SQLite's exceptions into the package's own.

        Yields
        ------
        None
            Nothing.
        """
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._operational(error) from error
        except sqlite3.ProgrammingError as error:
            if not self._closed:
                raise
            raise closed_error() from error
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise self.corrupted(str(error)) from error

    def corrupted(self, what: str) -> StoreCorruptedError:
        """Return the error for damage inside the database file.

        Parameters
        ----------
        what : str
            What was found.

        Returns
        -------
        StoreCorruptedError
            To be raised by the caller.
        """
        return StoreCorruptedError(
            message(
                f"a damaged {self.path.name} ({what})",
                "the bytes that were committed",
                "run `orthant check` on the collection; restore from an export if it cannot be repaired",
            )
        )

    def _operational(self, error: sqlite3.OperationalError) -> StoreError:
        text = str(error)
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or "full" in text:
            return StoreError(
                message(
                    f"a full disk at {self.path}",
                    "free space; everything acknowledged before is kept and this call changed nothing",
                    "free some space and repeat the call",
                )
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
            return StoreReadOnlyError(
                message(
                    f"{text} for {self.path}",
                    "a readable file in a folder where SQLite may keep its log",
                    "check the permissions, or copy the collection to a writable folder",
                )
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreLockedError(
                message(f"{text} for {self.path}", "a free database", "wait for the other process and repeat")
            )
        if code == sqlite3.SQLITE_IOERR:
            return StoreError(message(f"{text} for {self.path}", "a working disk", "check the disk and repeat"))
        return self.corrupted(text)

    def _connect(self, *, write: bool) -> sqlite3.Connection:
        mode = "rw" if write else "ro"
        # A read-only folder cannot hold SQLite's shared-memory file; a cleanly closed database needs none.
        if not write and not os.access(self.path.parent, os.W_OK) and not self._has_log():
            mode += "&immutable=1"
        uri = f"file:{quote(str(self.path.absolute()))}?mode={mode}"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA cache_size=-16384")
            connection.execute("PRAGMA mmap_size=268435456")
        except BaseException:
            connection.close()
            raise
        return connection

    def _has_log(self) -> bool:
        log = self.path.with_name(self.path.name + "-wal")
        return log.exists() and log.stat().st_size > 0

    def check_version(self) -> None:
        """Refuse files that are no collection or need a newer release.

        Raises
        ------
        StoreCorruptedError
            Not the database of a collection.
        StoreVersionError
            A newer release wrote it.
        """
        with self.reading() as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            if application != _APPLICATION_ID:
                raise self.corrupted("not the database of a collection")
            found = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('format', 'minimum_reader')"))
            try:
                needed, version = int(found["minimum_reader"]), int(found["format"])
            except (KeyError, ValueError) as error:
                raise self.corrupted("no format version") from error
            if needed > DATABASE_FORMAT:
                raise StoreVersionError(
                    message(
                        f"a collection of format {version}, which needs a reader of format {needed}",
                        f"format {DATABASE_FORMAT} or older",
                        "upgrade orthant to the release that wrote it, or newer",
                    )
                )

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Borrow a connection inside one read transaction.

        Yields
        ------
        sqlite3.Connection
            Its view does not change until the block ends.
        """
        with self.errors(), self._using():
            connection = self._borrow()
            healthy = False
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
                healthy = True
            finally:
                self._give_back(connection, healthy=healthy)

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Count a thread in that uses a connection."""
        me = get_ident()
        with self._lock:
            if self._closed:
                raise closed_error()
            if self._torn:
                given = f"{self.path}, which was in use while this process was copied from another (os.fork)"
                remedy = "start processes by 'spawn' or 'forkserver', or while no call is under way"
                raise StoreError(message(given, "a database that was at rest then", remedy))
            self._users.append(me)
        try:
            yield
        finally:
            with self._lock:
                # A copied process knows of nobody.
                if me in self._users:
                    self._users.remove(me)
                self._lock.notify_all()

    def rest(self) -> None:
        """Close every connection that is not in use, since a copied process must not even close it; keep the lock."""
        self._lock.acquire()
        mine = get_ident()
        self._lock.wait_for(lambda: all(user == mine for user in self._users), _BEFORE_COPY_S)
        for connection in self._pool:
            connection.close()
        self._pool = []
        if self._writer is not None and not self._users:
            self._writer.close()
            self._writer = None

    def go_on(self) -> None:
        """Give the lock back; connections are made when they are needed."""
        self._lock.release()

    def begin_anew(self) -> None:
        """Begin without any connection, in a process that was copied."""
        self._lock = Condition(Lock())
        self._torn = self._torn or bool(self._users)
        self._users = []
        if self._writer is not None:
            _never_closed.append(self._writer)
            self._writer = None

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            stamp = self._stamp()
            if stamp != self._pool_stamp:
                # What an immutable connection has cached may be of the past once somebody wrote.
                stale, self._pool, self._pool_stamp = self._pool, [], stamp
                for connection in stale:
                    connection.close()
            if self._pool:
                return self._pool.pop()
        return self._connect(write=False)

    def _stamp(self) -> object:
        if os.access(self.path.parent, os.W_OK):
            return None
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size, self._has_log()

    def _give_back(self, connection: sqlite3.Connection, *, healthy: bool) -> None:
        if not healthy and connection.in_transaction:
            # The error that brought us here is the one to report; this connection is dropped below.
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        with self._lock:
            if healthy and not self._closed and len(self._pool) < 8:
                self._pool.append(connection)
                return
        connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run one write transaction: committed when the block ends, undone when it raises.

        Yields
        ------
        sqlite3.Connection
            The writer's connection.
        """
        with self.errors(), self._using():
            if self._writer is None:
                self._writer = self._connect(write=True)
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # The error that brought us here is the one to report; the next BEGIN would report a failed rollback.
                if connection.in_transaction:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                raise

    def tidy(self) -> None:
        """Fold the log into the main file and return free pages to the file system."""
        with self.errors(), self._using():
            if self._writer is not None:
                free, pages = (
                    self._writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count")
                )
                if free > 64 and free * 5 > pages:
                    self._writer.execute("PRAGMA incremental_vacuum").fetchall()
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def copy_to(self, target: Path) -> None:
        """Copy the last commit to a new file that needs no log beside it; the caller syncs it.

        Parameters
        ----------
        target : Path
            A file that does not exist.
        """
        with self.reading() as connection:
            copy = sqlite3.connect(target, isolation_level=None)
            try:
                connection.backup(copy)
                # Readers of a file in this mode write nothing, so it may lie in many folders under one inode.
                copy.execute("PRAGMA journal_mode=DELETE").fetchall()
            finally:
                copy.close()

    def integrity_problems(self) -> list[str]:
        """Return what SQLite's own integrity check finds; empty when sound.

        Returns
        -------
        list of str
            One line per problem.
        """
        with self.reading() as connection:
            lines = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
        return [] if lines == ["ok"] else lines

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._closed = True
            connections, self._pool = self._pool, []
        for connection in connections:
            connection.close()
        if self._writer is not None:
            self._writer.close()
            self._writer = None


_never_closed: list[sqlite3.Connection] = []
"""Connections of the process that this one was copied from: closing them here would give its locks up."""
