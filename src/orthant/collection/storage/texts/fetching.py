"""Records by row, many of them in one step of SQLite.

SQLite gives Python's lock back around every row that it reads, and where several threads compute, each time waits for
it anew: six hundred rows of a batch of searches may then take six hundred turns. So SQLite itself puts the rows of a
part together, and Python takes them apart.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

from orthant.collection.storage.database import Database
from orthant.collection.storage.texts.records import RawRecord, sound

__all__ = ["fetch_raw"]

_TOGETHER = 128
"""Rows of a step: few enough that long texts of all of them fit into memory twice."""

_ROWS = "FROM records WHERE row IN (SELECT value FROM json_each(?))"
_ONE_BY_ONE = f"SELECT row, id, text, metadata, crc {_ROWS}"
# JSON has no bytes: what is packed goes as hexadecimal digits.
_AT_ONCE = f"""SELECT json_group_array(json_array(
    row, id, CASE typeof(text) WHEN 'blob' THEN hex(text) ELSE text END, metadata, crc, typeof(text) = 'blob'
)) {_ROWS}"""


def fetch_raw(connection: sqlite3.Connection, database: Database, rows: Sequence[int]) -> dict[int, RawRecord]:
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
        Metadata as the JSON text that is stored.

    Raises
    ------
    StoreCorruptedError
        A record is not what was written.
    """
    out: dict[int, RawRecord] = {}
    for begin in range(0, len(rows), _TOGETHER):
        wanted = json.dumps([int(row) for row in rows[begin : begin + _TOGETHER]])
        for found in _found(connection, wanted):
            out[found[0]] = sound(connection, database, found)
    return out


def _found(connection: sqlite3.Connection, wanted: str) -> Iterator[tuple[Any, ...]]:
    try:
        ((together,),) = connection.execute(_AT_ONCE, (wanted,))
        for row, key, text, about, crc, packed in json.loads(together):
            yield row, key, bytes.fromhex(text) if packed else text, about, crc
    except (sqlite3.Error, ValueError, TypeError):
        # What is damaged may be no text at all; read by itself it is told from its neighbours.
        yield from connection.execute(_ONE_BY_ONE, (wanted,))
