"""What the records of a collection repeat: a dictionary for DEFLATE, chosen once and never changed.

A record of a few hundred characters has few repetitions of its own, so compressing it alone saves little. Strings that
many records share, put before each of them, save half. A dictionary is chosen from the first records by the way of
Liao, Petri, Moffat and Wirth (2016, "Effective construction of relative Lempel-Ziv dictionaries", section 4): the
sample is cut into stretches, and of each the segment is taken whose grams occur in the most records and are not in the
dictionary yet.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from orthant.collection.storage.database import Database, checksum, raise_format

__all__ = ["Dictionary", "copy_from", "damaged", "for_batch", "insert", "newest", "read", "repair", "train"]

FORMAT = 3
"""Releases that read only older formats would take packed records for damaged ones."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS dictionaries (number INTEGER NOT NULL, copy INTEGER NOT NULL, data BLOB NOT NULL, "
    "crc INTEGER NOT NULL, PRIMARY KEY (number, copy))"
)
_COPIES = (0, 1)
"""Every record of a collection needs its dictionary, so it is stored twice."""

_LARGEST = 32_000
"""Bytes of a dictionary; DEFLATE sees 32,768 back."""
_SHARE = 8
"""A sample has so many times the bytes of what is chosen from it, or what is chosen is its accidents."""
_LEAST_SAMPLE = 64 << 10
_MOST_SAMPLE = 1 << 20
_LEAST_RECORDS = 512
_SAMPLE_RECORDS = 2048
_GRAM = 6
_SEGMENT = 64


@dataclass(frozen=True)
class Dictionary:
    """Strings that records repeat.

    Attributes
    ----------
    number : int
        From 1; packed records name it.
    data : bytes
        The strings, most frequent last.
    fresh : bool
        Whether it is still to be stored.
    """

    number: int
    data: bytes
    fresh: bool = False


def read(connection: sqlite3.Connection, database: Database, number: int) -> bytes:
    """Return a stored dictionary.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        Keeps what was read, and makes the error.
    number : int
        As a packed record names it.

    Returns
    -------
    bytes
        The dictionary.

    Raises
    ------
    StoreCorruptedError
        There is none, or both copies are damaged.
    """
    held = database.dictionaries.get(number)
    if held is None:
        copies = _copies(connection, number)
        sound = [data for copy, data, crc in copies if _crc(number, copy, data) == crc]
        if not sound:
            raise database.corrupted(f"dictionary {number} is missing or fails its checksum")
        held = database.dictionaries[number] = bytes(sound[0])
    return held


def _copies(connection: sqlite3.Connection, number: int) -> list[tuple[int, bytes, int]]:
    if not _exist(connection):
        return []
    query = "SELECT copy, data, crc FROM dictionaries WHERE number = ? ORDER BY copy"
    return connection.execute(query, (number,)).fetchall()


def _exist(connection: sqlite3.Connection) -> bool:
    query = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'dictionaries'"
    return connection.execute(query).fetchone() is not None


def _crc(number: int, copy: int, data: object) -> int:
    return checksum("dictionary", number, copy, data)


def newest(connection: sqlite3.Connection, database: Database) -> Dictionary | None:
    """Return the dictionary that new records are packed with.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        As for ``read``.

    Returns
    -------
    Dictionary or None
        None where none was chosen yet.
    """
    if not database.dictionaries and not _exist(connection):
        return None
    if database.dictionaries:
        number = max(database.dictionaries)
    else:
        (number,) = connection.execute("SELECT max(number) FROM dictionaries").fetchone()
    return None if number is None else Dictionary(number, read(connection, database, number))


def for_batch(
    connection: sqlite3.Connection, database: Database, first_row: int, contents: Sequence[bytes]
) -> Dictionary | None:
    """Return the dictionary for a batch: the newest, or one that is chosen now where there is enough to choose from.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        As for ``read``.
    first_row : int
        Row of the first record of the batch.
    contents : sequence of bytes
        What each record of the batch holds.

    Returns
    -------
    Dictionary or None
        ``fresh`` where ``insert`` must store it. None where the records are too few, which costs no look at them
        again until they are twice as many.
    """
    found = newest(connection, database)
    last = first_row + len(contents)
    if found is not None or last < _LEAST_RECORDS or first_row.bit_length() == last.bit_length():
        return found
    sample = [contents[i] for i in np.unique(np.linspace(0, len(contents) - 1, _SAMPLE_RECORDS).astype(int))]
    if len(sample) < _SAMPLE_RECORDS:
        query = "SELECT metadata, text FROM records ORDER BY row DESC LIMIT ?"
        held = connection.execute(query, (_SAMPLE_RECORDS - len(sample),)).fetchall()
        sample += [f"{metadata}{text or ''}".encode(errors="replace") for metadata, text in held]
    data = train(sample)
    return Dictionary(1, data, fresh=True) if data else None


def train(sample: Iterable[bytes]) -> bytes:
    """Choose what records repeat.

    Parameters
    ----------
    sample : iterable of bytes
        Contents of records; beyond a mebibyte no more are looked at.

    Returns
    -------
    bytes
        At most 32,000, empty where the sample has less than 64 KiB or repeats nothing.

    Notes
    -----
    Cost: O(bytes), about half a second for a mebibyte.

    Examples
    --------
    >>> rows = [b'{"group":"sci.space","n":%d}' % n for n in range(4000)]
    >>> b'{"group":"sci.space"' in train(rows)
    True
    """
    parts: list[bytes] = []
    total = 0
    for part in sample:
        parts.append(part)
        total += len(part)
        if total >= _MOST_SAMPLE:
            break
    if total < _LEAST_SAMPLE:
        return b""
    joined = b"".join(parts)
    data = np.frombuffer(joined, np.uint8)
    grams = _grams(data)
    owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])[: len(grams)]
    # How many records have a gram: what one repeats within itself it does not need a dictionary for.
    pairs = np.unique(grams * len(parts) + owners)
    frequency = np.bincount(pairs // len(parts))
    frequency[frequency < 2] = 0
    chosen = _segments(joined, grams, frequency, min(_LARGEST, total // _SHARE))
    # The nearest strings take the fewest bits to point at.
    chosen.sort(key=lambda pair: pair[0])
    return b"".join(part for _, part in chosen)


def _grams(data: np.ndarray) -> np.ndarray:
    """Number the distinct runs of a few bytes and return the number of each place's."""
    count = len(data) - _GRAM + 1
    out = np.zeros(count, np.uint64)
    for i in range(_GRAM):
        out <<= np.uint64(8)
        out |= data[i : i + count]
    return np.unique(out, return_inverse=True)[1]


def _segments(joined: bytes, grams: np.ndarray, frequency: np.ndarray, size: int) -> list[tuple[int, bytes]]:
    stretches = max(1, size // _SEGMENT)
    step = max(_SEGMENT, len(grams) // stretches)
    width = _SEGMENT - _GRAM + 1
    out: list[tuple[int, bytes]] = []
    for begin in range(0, len(grams) - width + 1, step):
        if _SEGMENT * (len(out) + 1) > size:
            break
        here = grams[begin : begin + step]
        sums = np.concatenate((np.zeros(1, np.int64), np.cumsum(frequency[here])))
        if len(sums) <= width:
            break
        values = sums[width:] - sums[:-width]
        best = int(values.argmax())
        # Of less than this most is one record's own.
        if values[best] >= 2 * width:
            out.append((int(values[best]), joined[begin + best : begin + best + _SEGMENT]))
            frequency[here[best : best + width]] = 0
    return out


def insert(connection: sqlite3.Connection, dictionary: Dictionary | None) -> None:
    """Store a fresh dictionary with the commit that first uses it; nothing happens for one that is stored.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    dictionary : Dictionary or None
        From ``for_batch``.
    """
    if dictionary is None or not dictionary.fresh:
        return
    connection.execute(_SCHEMA)
    _put(connection, dictionary.number, dictionary.data, _COPIES)
    raise_format(connection, FORMAT)


def _put(connection: sqlite3.Connection, number: int, data: bytes, copies: Iterable[int]) -> None:
    rows = [(number, copy, data, _crc(number, copy, data)) for copy in copies]
    connection.executemany("INSERT OR REPLACE INTO dictionaries VALUES (?, ?, ?, ?)", rows)


def copy_from(ours: sqlite3.Connection, theirs: sqlite3.Connection) -> None:
    """Take over the dictionaries that records of another database need and this one lacks.

    Parameters
    ----------
    ours : sqlite3.Connection
        The writer's, inside a transaction.
    theirs : sqlite3.Connection
        Of an earlier state of the same collection, so that equal numbers are equal dictionaries.
    """
    if not _exist(theirs):
        return
    ours.execute(_SCHEMA)
    rows = theirs.execute("SELECT number, copy, data, crc FROM dictionaries").fetchall()
    ours.executemany("INSERT OR IGNORE INTO dictionaries VALUES (?, ?, ?, ?)", rows)
    if rows:
        raise_format(ours, FORMAT)


def damaged(connection: sqlite3.Connection) -> list[tuple[int, list[int], bytes | None]]:
    """Return the dictionaries of which a copy is missing or damaged.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.

    Returns
    -------
    list of (number, copies, data)
        The damaged copies, and what a sound one holds; None where there is none.
    """
    out: list[tuple[int, list[int], bytes | None]] = []
    if not _exist(connection):
        return out
    for (number,) in connection.execute("SELECT DISTINCT number FROM dictionaries ORDER BY number").fetchall():
        sound = {copy: data for copy, data, crc in _copies(connection, number) if _crc(number, copy, data) == crc}
        bad = [copy for copy in _COPIES if copy not in sound]
        if bad:
            out.append((number, bad, next(iter(sound.values()), None)))
    return out


def repair(connection: sqlite3.Connection) -> None:
    """Write damaged copies again where the other copy is sound.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    """
    for number, copies, data in damaged(connection):
        if data is not None:
            _put(connection, number, data, copies)
