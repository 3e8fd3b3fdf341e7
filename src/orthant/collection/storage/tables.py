"""Reading and writing the rows of a collection's SQLite tables, checksums included."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from orthant.collection.spaces import SpaceDefinition
from orthant.collection.storage.database import Database, checksum, raise_format
from orthant.collection.storage.generation import SpaceState
from orthant.collection.storage.segments import Extent, SegmentFolder, SegmentState, pack_rows, unpack_rows
from orthant.collection.storage.texts.fetching import fetch_raw
from orthant.collection.storage.texts.records import decode, metadata_of
from orthant.types import FloatArray, IdArray

__all__ = [
    "Meta",
    "delete_segments",
    "fetch_records",
    "find_rows",
    "generation_number",
    "insert_extents",
    "insert_space",
    "next_segment",
    "purge_removed",
    "read_meta",
    "read_spaces",
    "records_from",
    "remove_rows",
    "removed_since",
    "require_absent",
    "set_first_meta",
    "set_meta",
    "set_next_segment",
]

_CHUNK = 8192
_ID_INDEX = "the index over ids"


@dataclass(frozen=True)
class Meta:
    """The store's counters.

    Attributes
    ----------
    generation : int
        Number of the last commit.
    next_row : int
        Row that the next record gets.
    purged_through : int
        Removals up to this generation are known only to the derived files.
    records : int
        Records that exist, so that a scan which lost some is noticed.
    restored_at : int
        The last generation that went back to a snapshot, 0 for never: what was derived before it is of no use.
    upgrade : str
        The open upgrade of a space as JSON text; empty where there is none.
    """

    generation: int
    next_row: int
    purged_through: int
    records: int
    restored_at: int = 0
    upgrade: str = ""


def read_meta(connection: sqlite3.Connection, database: Database) -> Meta:
    """Read the counters.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.

    Returns
    -------
    Meta
        The counters.
    """
    found = dict(connection.execute("SELECT key, value FROM meta"))
    try:
        first, row, purged, records = (int(found[k]) for k in ("generation", "next_row", "purged_through", "records"))
        meta = Meta(first, row, purged, records)
        meta = replace(meta, restored_at=int(found.get("restored_at", 0)), upgrade=found.get("upgrade", ""))
        _require(database, found.pop("crc") == str(_meta_checksum(found)), "the table of counters")
    except (KeyError, ValueError, TypeError) as error:
        raise database.corrupted("unreadable counters") from error
    if meta.next_row < 0 or not 0 <= meta.purged_through <= meta.generation:
        raise database.corrupted("impossible counters")
    return meta


def generation_number(connection: sqlite3.Connection, database: Database) -> int:
    """Read the number of the last commit.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.

    Returns
    -------
    int
        The number.
    """
    try:
        return int(connection.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()[0])
    except (TypeError, ValueError) as error:
        raise database.corrupted("unreadable counters") from error


def set_meta(connection: sqlite3.Connection, **counters: int | str) -> None:
    """Write counters.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    **counters : int or str
        New values.
    """
    put = "INSERT OR REPLACE INTO meta VALUES (?, ?)"
    connection.executemany(put, [(key, str(value)) for key, value in counters.items()])
    found = dict(connection.execute("SELECT key, value FROM meta WHERE key <> 'crc'"))
    connection.execute(put, ("crc", str(_meta_checksum(found))))


def set_first_meta(connection: sqlite3.Connection) -> None:
    """Write the counters of an empty store.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside the transaction that makes the tables.
    """
    set_meta(connection, generation=0, next_row=0, purged_through=0, records=0)


def _meta_checksum(found: Mapping[str, str]) -> int:
    return checksum(*(part for pair in sorted(found.items()) for part in pair))


def find_rows(connection: sqlite3.Connection, database: Database, ids: Sequence[str]) -> IdArray:
    """Return the rows of the ids that exist.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    ids : sequence of str
        Ids; absent ones are left out.

    Returns
    -------
    ndarray of shape (m,), int64
        Distinct, ascending.
    """
    found: set[int] = set()
    # SQLite's JSON functions cut a text at its first NUL, so such ids are looked up one by one.
    plain = [key for key in ids if "\0" not in key]
    for begin in range(0, len(plain), _CHUNK):
        part = json.dumps(plain[begin : begin + _CHUNK])
        query = "SELECT row FROM records WHERE id IN (SELECT value FROM json_each(?))"
        found.update(row for (row,) in connection.execute(query, (part,)))
    for key in ids if len(plain) < len(ids) else ():
        if "\0" in key:
            found.update(row for (row,) in connection.execute("SELECT row FROM records WHERE id = ?", (key,)))
    rows, wanted = sorted(found), set(ids)
    # The index over ids has no checksum: without this look at the table a damaged entry could name another record.
    for begin in range(0, len(rows), _CHUNK):
        part = json.dumps(rows[begin : begin + _CHUNK])
        query = "SELECT id FROM records WHERE row IN (SELECT value FROM json_each(?))"
        held = [key for (key,) in connection.execute(query, (part,))]
        _require(database, len(held) == len(rows[begin : begin + _CHUNK]) and wanted.issuperset(held), _ID_INDEX)
    return np.array(rows, dtype=np.int64)


def require_absent(connection: sqlite3.Connection, database: Database, ids: Iterable[str]) -> None:
    """Raise if an id was not found only because the index over ids is damaged.

    A damaged index entry that leads a look-up astray ends up beside the place where the look-up stops, so comparing
    the two neighbours with their records finds it.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    ids : iterable of str
        Ids that ``find_rows`` did not find.

    Raises
    ------
    StoreCorruptedError
        An entry of the index does not belong to its record.
    """
    for key in ids:
        for query in (
            "SELECT id, row FROM records WHERE id >= ? ORDER BY id LIMIT 1",
            "SELECT id, row FROM records WHERE id < ? ORDER BY id DESC LIMIT 1",
        ):
            near = connection.execute(query, (key,)).fetchone()
            if near is not None:
                record = fetch_records(connection, database, [near[1]]).get(near[1])
                _require(database, record is not None and record[0] == near[0] != key, _ID_INDEX)


def remove_rows(connection: sqlite3.Connection, rows: IdArray, generation: int) -> None:
    """Delete records and note their rows until the derived files have caught up.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    rows : ndarray of shape (m,), int64
        Rows that exist.
    generation : int
        Number of the commit that removes them.
    """
    notes = [(row, generation, checksum(row, generation)) for row in rows.tolist()]
    connection.executemany("INSERT INTO removed VALUES (?, ?, ?)", notes)
    connection.executemany("DELETE FROM records WHERE row = ?", ((row,) for row in rows.tolist()))


def removed_since(connection: sqlite3.Connection, database: Database, generation: int, *, before_row: int) -> IdArray:
    """Return the rows removed after a generation, among rows that it knew.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    generation : int
        What the caller has seen.
    before_row : int
        Its next row.

    Returns
    -------
    ndarray of shape (m,), int64
        Ascending.
    """
    query = "SELECT row, generation, crc FROM removed WHERE generation > ? AND row < ? ORDER BY row"
    found = connection.execute(query, (generation, before_row)).fetchall()
    for row, number, crc in found:
        _require(database, crc == checksum(row, number), f"removed row {row}")
    rows = np.array([row for row, _, _ in found], dtype=np.int64)
    _require(database, _ascending(rows, 0), "the list of removed rows")
    return rows


def records_from(
    connection: sqlite3.Connection, database: Database, first_row: int
) -> Iterator[tuple[IdArray, list[str], list[dict]]]:
    """Yield rows, texts and metadata of the records from a row on.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    first_row : int
        First row wanted.

    Yields
    ------
    rows : ndarray of shape (m,), int64
        Ascending.
    texts : list of str
        Empty where a record has none.
    metadata : list of dict
        One per row.
    """
    cursor = connection.execute(
        "SELECT row, id, text, metadata, crc FROM records WHERE row >= ? ORDER BY row", (first_row,)
    )
    least = first_row
    while part := cursor.fetchmany(_CHUNK):
        decoded = [decode(connection, database, row) for row in part]
        rows = np.array([row[0] for row in decoded], dtype=np.int64)
        _require(database, _ascending(rows, least), "the order of records")
        least = int(rows[-1]) + 1
        yield rows, [row[2] or "" for row in decoded], [row[3] for row in decoded]


def fetch_records(
    connection: sqlite3.Connection, database: Database, rows: Sequence[int]
) -> dict[int, tuple[str, str | None, dict]]:
    """Return id, text and metadata by row.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    rows : sequence of int
        Rows; absent ones are left out.

    Returns
    -------
    dict of int to (id, text, metadata)
        The records.
    """
    found = fetch_raw(connection, database, rows)
    return {row: (key, text, metadata_of(database, row, about)) for row, (key, text, about) in found.items()}


def insert_space(connection: sqlite3.Connection, definition: SpaceDefinition, canaries: FloatArray) -> None:
    """Insert a space.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    definition : SpaceDefinition
        The definition.
    canaries : ndarray of shape (c, dim), float32
        Canary vectors.
    """
    text, blob = definition.to_json(), np.ascontiguousarray(canaries, dtype="<f4").tobytes()
    crc = checksum(definition.name, text, blob)
    if definition.kind != "dense":
        # Releases before this format would take every token for a record of its own.
        raise_format(connection, 2)
    connection.execute("INSERT INTO spaces VALUES (?, ?, ?, ?)", (definition.name, text, blob, crc))


def read_spaces(
    connection: sqlite3.Connection,
    database: Database,
    known: Mapping[str, SpaceState],
    folder: Callable[[SpaceDefinition], SegmentFolder],
) -> dict[str, SpaceState]:
    """Read every space and where its vectors lie.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    known : mapping of str to SpaceState
        Earlier states, whose caches are kept.
    folder : callable
        Gives the segment folder of a definition.

    Returns
    -------
    dict of str to SpaceState
        The spaces by name.
    """
    out: dict[str, SpaceState] = {}
    for name, text, blob, crc in connection.execute("SELECT name, definition, canaries, crc FROM spaces ORDER BY name"):
        _require(database, crc == checksum(name, text, blob), f"definition of space {name!r}")
        space, definition = known.get(name), SpaceDefinition.from_json(text)
        if space is None or space.definition != definition:
            canaries = np.frombuffer(blob, dtype="<f4").reshape(-1, definition.dim)
            space = SpaceState(definition, canaries, folder(definition))
        out[name] = _read_segments(connection, database, space)
    return out


def _read_segments(connection: sqlite3.Connection, database: Database, space: SpaceState) -> SpaceState:
    name = space.definition.place
    states: list[SegmentState] = []
    query = "SELECT segment, slots, crcs, crc FROM segments WHERE space = ? ORDER BY segment"
    for number, slots, blob, crc in connection.execute(query, (name,)):
        _require(database, crc == checksum(name, number, slots, blob), f"segment {number} of space {name!r}")
        states.append(SegmentState(number, slots, tuple(np.frombuffer(blob, dtype="<u4").tolist())))
    if states == space.states:
        return space
    extents: dict[int, list[np.ndarray]] = {}
    query = (
        "SELECT segment, first_slot, slots, first_row, rows, crc FROM extents WHERE space = ? "
        "ORDER BY segment, first_slot"
    )
    for number, first, slots, first_row, blob, crc in connection.execute(query, (name,)):
        _require(database, crc == checksum(name, number, first, slots, first_row, blob), f"extent of space {name!r}")
        rows = unpack_rows(blob) if blob else np.arange(first_row, first_row + slots)
        extents.setdefault(number, []).append(rows)
    fresh = SpaceState(
        space.definition,
        space.canaries,
        space.folder,
        (),
        space.caches.only([s.number for s in states]),
        space.graph,
    )
    whole: list[Extent] = []
    for state in states:
        rows = np.concatenate(extents.get(state.number, [np.zeros(0, np.int64)])).astype(np.int64)
        _require(database, len(rows) == state.slots, f"extents of segment {state.number} of space {name!r}")
        whole.append(Extent(state.number, 0, rows))
    return fresh.appended(states, whole)


def insert_extents(
    connection: sqlite3.Connection, space: str, changed: Sequence[SegmentState], extents: Sequence[Extent]
) -> None:
    """Write new segment states and extents; an extent that continues the last one is merged into it.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    space : str
        The space.
    changed : sequence of SegmentState
        New states.
    extents : sequence of Extent
        Where the new rows lie, one per state.
    """
    for state, extent in zip(changed, extents, strict=True):
        blob = np.array(state.crcs, dtype="<u4").tobytes()
        crc = checksum(space, state.number, state.slots, blob)
        connection.execute(
            "INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?)", (space, state.number, state.slots, blob, crc)
        )
        first, slots, first_row = extent.first_slot, len(extent.rows), int(extent.rows[0])
        rows = b"" if extent.is_range else pack_rows(extent.rows)
        last = connection.execute(
            "SELECT first_slot, slots, first_row, rows FROM extents WHERE space = ? AND segment = ? "
            "ORDER BY first_slot DESC LIMIT 1",
            (space, state.number),
        ).fetchone()
        if last and not rows and not last[3] and last[2] + last[1] == first_row and last[0] + last[1] == first:
            first, slots, first_row = last[0], last[1] + slots, last[2]
        crc = checksum(space, state.number, first, slots, first_row, rows)
        connection.execute(
            "INSERT OR REPLACE INTO extents VALUES (?, ?, ?, ?, ?, ?, ?)",
            (space, state.number, first, slots, first_row, rows, crc),
        )


def delete_segments(connection: sqlite3.Connection, space: str, numbers: Sequence[int]) -> None:
    """Forget segments.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    space : str
        The space.
    numbers : sequence of int
        Its segments to forget.
    """
    keys = [(space, number) for number in numbers]
    connection.executemany("DELETE FROM segments WHERE space = ? AND segment = ?", keys)
    connection.executemany("DELETE FROM extents WHERE space = ? AND segment = ?", keys)


def next_segment(connection: sqlite3.Connection, space: str) -> int:
    """Return the lowest segment number that a space never used.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    space : str
        The space.

    Returns
    -------
    int
        0 for a new space; segments that exist now may be higher.
    """
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (f"next_segment:{space}",)).fetchone()
    return int(found[0]) if found else 0


def set_next_segment(connection: sqlite3.Connection, space: str, number: int) -> None:
    """Remember the lowest segment number that a space never used.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    space : str
        The space.
    number : int
        The number.
    """
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"next_segment:{space}", str(number)))


def purge_removed(connection: sqlite3.Connection, generation: int) -> None:
    """Drop the notes on removed records that the derived files already account for.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    generation : int
        Generation of the derived files just saved.
    """
    connection.execute("DELETE FROM removed WHERE generation <= ?", (generation,))
    set_meta(connection, purged_through=generation)


def _ascending(rows: IdArray, least: int) -> bool:
    return not len(rows) or (int(rows[0]) >= least and bool((rows[1:] > rows[:-1]).all()))


def _require(database: Database, sound: bool, what: str) -> None:
    if not sound:
        raise database.corrupted(f"{what} fails its checksum")
