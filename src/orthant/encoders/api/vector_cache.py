"""Vectors on disk, so that no text is paid for twice: one SQLite file for any number of threads and processes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np

from orthant.errors import StoreError, message, warn
from orthant.types import FloatArray

__all__ = ["VectorCache"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    identity TEXT NOT NULL, key BLOB NOT NULL, vector BLOB NOT NULL, crc INTEGER NOT NULL, batch TEXT NOT NULL,
    PRIMARY KEY (identity, key)
) WITHOUT ROWID
"""
_PER_QUERY = 500
_WAIT_FOR_OTHERS_S = 60.0


class VectorCache:
    """Keep vectors by what made them and by a hash of the text; the texts are not kept.

    Parameters
    ----------
    folder : str or Path
        Made where it is missing. The file in it is ``vectors.sqlite``; it grows by about 4 bytes per dimension and 150
        bytes per text, and is yours to delete at any time.

    Notes
    -----
    Each call opens and closes the file, which takes well under a millisecond and works across threads and forks. A
    vector whose checksum is wrong counts as absent; a file that is no database any more is set aside with a warning.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cache = VectorCache(folder)
    ...     cache.put("model", {b"key": np.ones(2, np.float32)})
    ...     cache.get("model", [b"key", b"other"])
    {b'key': array([1., 1.], dtype=float32)}
    """

    def __init__(self, folder: str | Path) -> None:
        self.path = Path(folder).expanduser() / "vectors.sqlite"

    def get(self, identity: str, keys: Sequence[bytes]) -> dict[bytes, FloatArray]:
        """Return the vectors that are there.

        Parameters
        ----------
        identity : str
            What made them.
        keys : sequence of bytes
            Hashes of texts.

        Returns
        -------
        dict of bytes to ndarray of shape (dim,), float32
            Damaged entries are left out.

        Raises
        ------
        StoreError
            The file cannot be read.
        """
        if not self.path.exists():
            return {}
        found: dict[bytes, FloatArray] = {}
        with self._open() as database:
            for start in range(0, len(keys), _PER_QUERY):
                part = keys[start : start + _PER_QUERY]
                marks = ",".join("?" * len(part))
                rows = database.execute(
                    f"SELECT key, vector, crc FROM vectors WHERE identity = ? AND key IN ({marks})", (identity, *part)
                )
                for key, data, crc in rows:
                    vector = _vector(identity, key, data, crc)
                    if vector is not None:
                        found[key] = vector
        return found

    def put(self, identity: str, vectors: Mapping[bytes, FloatArray], *, batch: str = "") -> None:
        """Keep vectors; what is there under the same keys is replaced.

        Parameters
        ----------
        identity : str
            What made them.
        vectors : mapping of bytes to ndarray of shape (dim,), float32
            By hashes of texts.
        batch : str, default ""
            By this they can be forgotten together.

        Raises
        ------
        StoreError
            The file cannot be written.
        """
        rows = []
        for key, vector in vectors.items():
            data = np.ascontiguousarray(vector, dtype="<f4").tobytes()
            rows.append((identity, key, data, _checksum(identity, key, data), batch))
        with self._open() as database:
            database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)", rows)

    def forget(self, identity: str, *, batch: str) -> int:
        """Drop the vectors of a batch.

        Parameters
        ----------
        identity : str
            What made them.
        batch : str
            As given to ``put``.

        Returns
        -------
        int
            How many there were.

        Raises
        ------
        StoreError
            The file cannot be written.
        """
        with self._open() as database:
            return database.execute("DELETE FROM vectors WHERE identity = ? AND batch = ?", (identity, batch)).rowcount

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction. What another process holds is waited for."""
        try:
            database = self._connected()
            try:
                with database:
                    yield database
            finally:
                database.close()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(
                message(f"{self.path}, which fails ({error})", "a cache that works", "free space, or delete the file")
            ) from error

    def _connected(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return self._tried()
        except sqlite3.OperationalError:
            raise  # locked, full or forbidden: the file itself may be well
        except sqlite3.DatabaseError as error:
            aside = self.path.with_name(f"{self.path.name}.damaged-{uuid4().hex[:8]}")
            # Another process may have set it aside already.
            with contextlib.suppress(FileNotFoundError):
                os.replace(self.path, aside)
            warn(f"the cache {self.path} is damaged ({error}); it was moved to {aside.name} and starts empty")
            return self._tried()

    def _tried(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=_WAIT_FOR_OTHERS_S)
        try:
            database.execute(_SCHEMA)
            database.execute("SELECT identity FROM vectors LIMIT 1").fetchone()
        except BaseException:
            database.close()
            raise
        return database


def _checksum(identity: str, key: bytes, data: bytes) -> int:
    # The key is part of it: a vector must not answer for another text.
    return zlib.crc32(data, zlib.crc32(key, zlib.crc32(identity.encode())))


def _vector(identity: str, key: bytes, data: object, crc: object) -> FloatArray | None:
    if not isinstance(data, bytes) or not data or len(data) % 4 or crc != _checksum(identity, key, data):
        return None
    return np.frombuffer(data, dtype="<f4").astype(np.float32)
