"""Reading and writing sparse vectors in a collection's SQLite file, checksums included.

The tables are made with the first sparse space, which also raises the version that a reader needs: an older release
would delete records and leave their vectors behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from orthant.collection.sparse.index import WeightedIndex
from orthant.collection.sparse.state import SparseDefinition, SparseState
from orthant.collection.storage.database import Database, checksum, raise_format
from orthant.encoders.sparse.rows import SparseRows, SparseVector
from orthant.types import IdArray

__all__ = [
    "committed",
    "copy_from",
    "counters",
    "delete_rows",
    "fetch_vectors",
    "insert_space",
    "insert_vectors",
    "read_states",
    "read_whole",
    "remove_rows",
]

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS sparse_spaces (name TEXT PRIMARY KEY, definition TEXT NOT NULL, "
    "canaries BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS sparse_vectors (space TEXT NOT NULL, row INTEGER NOT NULL, data BLOB NOT NULL, "
    "crc INTEGER NOT NULL, PRIMARY KEY (space, row))",
)
_COUNT = "sparse:"
_CHUNK = 4096


def committed(connection: sqlite3.Connection, database: Database) -> dict[str, int]:
    """Return how many vectors every sparse space has, as of the last commit.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.

    Returns
    -------
    dict of str to int
        Empty where the collection has no sparse space; guarded by the checksum of the counters.
    """
    query = "SELECT key, value FROM meta WHERE key LIKE 'sparse:%'"
    try:
        return {key[len(_COUNT) :]: int(value) for key, value in connection.execute(query)}
    except (TypeError, ValueError) as error:
        raise database.corrupted("unreadable counters") from error


def counters(states: Mapping[str, SparseState]) -> dict[str, int]:
    """Return what belongs among the counters of a commit.

    Parameters
    ----------
    states : mapping of str to SparseState
        The spaces as they will be.

    Returns
    -------
    dict of str to int
        For ``set_meta``.
    """
    return {f"{_COUNT}{name}": len(state.index) + state.missing for name, state in states.items()}


def insert_space(connection: sqlite3.Connection, definition: SparseDefinition, canaries: SparseRows) -> None:
    """Insert a sparse space, and make the tables where it is the first; the caller sets counters afterwards.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    definition : SparseDefinition
        The definition.
    canaries : SparseRows
        Canary texts, or no rows.
    """
    for statement in _SCHEMA:
        connection.execute(statement)
    text = definition.to_json()
    blob = b"".join(_packed_row(canaries[i], length=True) for i in range(len(canaries)))
    crc = checksum("sparse", definition.name, text, blob)
    connection.execute("INSERT INTO sparse_spaces VALUES (?, ?, ?, ?)", (definition.name, text, blob, crc))
    raise_format(connection, 2)
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"{_COUNT}{definition.name}", "0"))


def _packed_row(vector: SparseVector, *, length: bool = False) -> bytes:
    head = len(vector).to_bytes(4, "little") if length else b""
    return head + vector.indices.astype("<i4").tobytes() + vector.values.astype("<f4").tobytes()


def _unpacked(data: bytes) -> SparseVector:
    half = len(data) // 2
    # Copied, so that the arrays are aligned and do not hold on to SQLite's bytes.
    return SparseVector(
        np.frombuffer(data[:half], dtype="<i4").astype(np.int32), np.frombuffer(data[half:], "<f4").astype(np.float32)
    )


def _canaries(blob: bytes, dim: int) -> SparseRows:
    parts, at = [], 0
    while at < len(blob):
        end = at + 4 + 8 * int.from_bytes(blob[at : at + 4], "little")
        parts.append(_unpacked(blob[at + 4 : end]))
        at = end
    return SparseRows.of(parts, dim)


def insert_vectors(connection: sqlite3.Connection, space: str, rows: IdArray, vectors: SparseRows) -> None:
    """Insert vectors; rows without a term get none.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    space : str
        The space.
    rows : ndarray of shape (n,), int64
        Rows of records.
    vectors : SparseRows
        One per row.
    """

    def packed() -> Iterator[tuple[str, int, bytes, int]]:
        for i, row in enumerate(rows.tolist()):
            vector = vectors[i]
            if len(vector):
                data = _packed_row(vector)
                yield space, row, data, checksum(space, row, data)

    connection.executemany("INSERT OR REPLACE INTO sparse_vectors VALUES (?, ?, ?, ?)", packed())


def remove_rows(connection: sqlite3.Connection, spaces: Iterable[str], rows: IdArray) -> None:
    """Delete the vectors of removed records.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    spaces : iterable of str
        All sparse spaces.
    rows : ndarray of shape (m,), int64
        Rows that went.
    """
    for space in spaces:
        delete_rows(connection, space, rows.tolist())


def _batches(
    connection: sqlite3.Connection, space: str, first_row: int
) -> Iterator[tuple[IdArray, list[SparseVector], list[int]]]:
    """Yield rows with their vectors, and the rows whose vectors are damaged."""
    query = "SELECT row, space, data, crc FROM sparse_vectors WHERE space = ? AND row >= ? ORDER BY row"
    cursor, least = connection.execute(query, (space, first_row)), first_row
    while part := cursor.fetchmany(_CHUNK):
        rows, vectors, damaged = [], [], []
        for row, found, data, crc in part:
            sound = isinstance(row, int) and isinstance(data, bytes) and not len(data) % 8 and row >= least
            if sound and found == space and crc == checksum(space, row, data):
                rows.append(row)
                vectors.append(_unpacked(data))
                least = row + 1
            else:
                damaged.append(row)
        yield np.array(rows, dtype=np.int64), vectors, damaged


def read_states(
    connection: sqlite3.Connection,
    database: Database,
    known: Mapping[str, WeightedIndex],
    *,
    gone: IdArray,
    first_row: int,
) -> dict[str, SparseState]:
    """Read every sparse space, continuing what is known.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    known : mapping of str to WeightedIndex
        Whole posting lists of an earlier commit.
    gone : ndarray of shape (m,), int64
        Rows removed since.
    first_row : int
        The first row that they do not hold.

    Returns
    -------
    dict of str to SparseState
        A space of which vectors are damaged or missing says so in ``problem``; the others are whole.
    """
    counts = committed(connection, database)
    if not counts:
        return {}
    out: dict[str, SparseState] = {}
    for name, text, blob, crc in connection.execute("SELECT name, definition, canaries, crc FROM sparse_spaces"):
        if crc != checksum("sparse", name, text, blob):
            raise database.corrupted(f"definition of sparse space {name!r} fails its checksum")
        definition = SparseDefinition.from_json(text)
        index, first = known.get(name), first_row
        if index is None or index.dim != definition.dim:
            index, first = WeightedIndex(definition.dim), 0
        canaries = _canaries(blob, definition.dim)
        state = SparseState(definition, canaries, index.without(gone) if len(gone) else index)
        out[name] = _continued(connection, name, state, first, counts.get(name, 0))
    if set(out) != set(counts):
        raise database.corrupted("sparse spaces that are not those committed")
    return out


def _continued(connection: sqlite3.Connection, name: str, state: SparseState, first: int, count: int) -> SparseState:
    index, lost = state.index, set()
    for rows, vectors, damaged in _batches(connection, name, first):
        index = index.with_batch(rows, SparseRows.of(vectors, index.dim))
        lost |= {row for row in damaged if isinstance(row, int)}
    return replace(state, index=index, missing=count - len(index), damaged=frozenset(lost))


def fetch_vectors(
    connection: sqlite3.Connection, database: Database, space: str, rows: Sequence[int]
) -> dict[int, SparseVector]:
    """Return the vectors of some rows.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    space : str
        The space.
    rows : sequence of int
        Rows; those without a vector are left out.

    Returns
    -------
    dict of int to SparseVector
        By row.

    Raises
    ------
    StoreCorruptedError
        A damaged vector.
    """
    out = {}
    query = "SELECT row, space, data, crc FROM sparse_vectors WHERE space = ? AND row = ?"
    for row in rows:
        found = connection.execute(query, (space, row)).fetchone()
        if found is None:
            continue
        if found[:2] != (row, space) or found[3] != checksum(space, row, found[2]):
            raise database.corrupted(f"sparse vector of row {row} in space {space!r} fails its checksum")
        out[row] = _unpacked(found[2])
    return out


def read_whole(connection: sqlite3.Connection, state: SparseState, *, count: int) -> SparseState:
    """Read every stored vector of a space, whatever was derived from them.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    state : SparseState
        The space.
    count : int
        Vectors that were committed.

    Returns
    -------
    SparseState
        With posting lists made anew.
    """
    empty = replace(state, index=WeightedIndex(state.definition.dim))
    return _continued(connection, state.definition.name, empty, 0, count)


def delete_rows(connection: sqlite3.Connection, space: str, rows: Iterable[int]) -> None:
    """Delete stored vectors that no record has.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    space : str
        The space.
    rows : iterable of int
        Their rows.
    """
    keys = ((space, row) for row in rows)
    connection.executemany("DELETE FROM sparse_vectors WHERE space = ? AND row = ?", keys)


def copy_from(
    ours: sqlite3.Connection, read: Callable[[str], Iterable[tuple]], states: Mapping[str, SparseState]
) -> None:
    """Make the sparse spaces those of a snapshot.

    Parameters
    ----------
    ours : sqlite3.Connection
        The writer's, inside a transaction.
    read : callable of str
        Runs a query on the snapshot.
    states : mapping of str to SparseState
        Its spaces.
    """
    had = ours.execute("SELECT count(*) FROM sqlite_master WHERE name = 'sparse_vectors'").fetchone()[0]
    if had:
        ours.execute("DELETE FROM sparse_spaces")
        ours.execute("DELETE FROM sparse_vectors")
        ours.execute("DELETE FROM meta WHERE key LIKE 'sparse:%'")
    for state in states.values():
        insert_space(ours, state.definition, state.canaries)
    if states:
        rows = read("SELECT space, row, data, crc FROM sparse_vectors ORDER BY space, row")
        ours.executemany("INSERT INTO sparse_vectors VALUES (?, ?, ?, ?)", rows)
