"""Records as rows of SQLite: as they are, or packed where that is shorter.

A plain row holds text and metadata as TEXT. A packed one holds in place of the text a BLOB: the number of a dictionary,
then metadata, a NUL and, where there is a text, a byte 1 and the text, all of it as raw DEFLATE with that dictionary;
its metadata column is empty. The checksum is that of the record and the same in either form.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any

from orthant.collection.storage.database import Database
from orthant.collection.storage.texts import dictionaries
from orthant.collection.storage.texts.dictionaries import Dictionary

__all__ = ["Packing", "RawRecord", "StoredRow", "decode", "encode", "metadata_of", "record_checksum", "sound"]

StoredRow = tuple[int, str, str | bytes | None, str, int]
"""Row, id, text or packed record, metadata, checksum: a row of the table."""

RawRecord = tuple[str, str | None, str]
"""Id, text, and metadata as the JSON text that is stored."""

_LEVEL = 3
"""With a dictionary at hand higher levels find little more, and take longer than all else that a record costs."""
_WINDOW = -15
_MEMORY = 8


def record_checksum(row: int, record_id: str, text: str | None, metadata: str) -> int:
    """Return the CRC-32 that guards a record.

    Parameters
    ----------
    row : int
        Its row, so that a record found under another one is noticed.
    record_id : str
        Its id.
    text : str or None
        Its text; None differs from empty.
    metadata : str
        Its metadata as JSON text.

    Returns
    -------
    int
        An unsigned 32-bit number.

    Raises
    ------
    UnicodeEncodeError
        Lone surrogates, which are no text.
    """
    return _crc(row, record_id, _content(text, metadata))


def _crc(row: int, record_id: str, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(f"{row}\0{record_id}\0".encode()))


def _content(text: str | None, metadata: str) -> bytes:
    # JSON never holds a NUL, so the first one ends it.
    return (f"{metadata}\0" if text is None else f"{metadata}\0\1{text}").encode()


class Packing:
    """Records of one batch on their way into the table.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        Of the collection.
    first_row : int
        Row of the first; the others follow.
    ids, texts, metadata : sequences of equal length
        The records; metadata as JSON texts.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        database: Database,
        first_row: int,
        ids: Sequence[str],
        texts: Sequence[str | None],
        metadata: Sequence[str],
    ) -> None:
        self._first_row, self._ids, self._texts, self._metadata = first_row, ids, texts, metadata
        self._contents = [_content(text, about) for text, about in zip(texts, metadata, strict=True)]
        self.dictionary = dictionaries.for_batch(connection, database, first_row, self._contents)
        self._rows: list[StoredRow] | None = None

    def prepare(self) -> list[StoredRow]:
        """Make the rows: packed where there is a dictionary and that is shorter.

        Returns
        -------
        list of tuple
            Made once; most of the time is spent outside Python's lock.
        """
        if self._rows is None:
            self._rows = encode(
                self._first_row, self._ids, self._texts, self._metadata, self._contents, self.dictionary
            )
        return self._rows

    def insert(self, connection: sqlite3.Connection) -> None:
        """Write the rows, and the dictionary where it is new.

        Parameters
        ----------
        connection : sqlite3.Connection
            The writer's, inside a transaction.
        """
        dictionaries.insert(connection, self.dictionary)
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", self.prepare())


def encode(
    first_row: int,
    ids: Sequence[str],
    texts: Sequence[str | None],
    metadata: Sequence[str],
    contents: Sequence[bytes],
    dictionary: Dictionary | None,
) -> list[StoredRow]:
    """Make rows of records.

    Parameters
    ----------
    first_row : int
        Row of the first; the others follow.
    ids, texts, metadata : sequences of equal length
        The records; metadata as JSON texts.
    contents : sequence of bytes
        What is packed of each.
    dictionary : Dictionary or None
        What to pack with; None leaves the rows plain.

    Returns
    -------
    list of tuple
        Rows of the table; packed where that is shorter.
    """
    crcs = [_crc(first_row + i, key, content) for i, (key, content) in enumerate(zip(ids, contents, strict=True))]
    if dictionary is None:
        rows = range(first_row, first_row + len(ids))
        return list(zip(rows, ids, texts, metadata, crcs, strict=True))
    start = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zdict=dictionary.data)
    head = bytes([dictionary.number])
    out: list[StoredRow] = []
    for i, content in enumerate(contents):
        # A copy has the dictionary in place; putting it there takes longer than most records do.
        packer = start.copy()
        packed = head + packer.compress(content) + packer.flush()
        if len(packed) < len(content) - 1:
            out.append((first_row + i, ids[i], packed, "", crcs[i]))
        else:
            out.append((first_row + i, ids[i], texts[i], metadata[i], crcs[i]))
    return out


def decode(
    connection: sqlite3.Connection, database: Database, found: tuple[Any, ...]
) -> tuple[int, str, str | None, dict[str, Any]]:
    """Read a row of the table.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside the transaction that the row was read in.
    database : Database
        Keeps dictionaries, and makes the error.
    found : tuple
        Row, id, text, metadata and checksum.

    Returns
    -------
    row, id, text, metadata : tuple
        The record.

    Raises
    ------
    StoreCorruptedError
        It is not what was written.
    """
    key, text, about = sound(connection, database, found)
    return found[0], key, text, metadata_of(database, found[0], about)


def sound(connection: sqlite3.Connection, database: Database, found: tuple[Any, ...]) -> RawRecord:
    """Read a row of the table, and leave its metadata the text that it is: to send it on, nobody has to read it.

    Parameters
    ----------
    connection, database, found
        As for :func:`decode`.

    Returns
    -------
    id, text, metadata : tuple
        The record, its checksum compared; metadata is a JSON object.

    Raises
    ------
    StoreCorruptedError
        It is not what was written.
    """
    row, key, text, about, crc = found
    try:
        if isinstance(text, bytes):
            text, about, right = _unpacked(connection, database, text, about, row, key, crc)
        else:
            right = crc == record_checksum(row, key, text, about)
    except (ValueError, TypeError, zlib.error):
        right = False
    if not right:
        raise _unsound(database, row)
    return key, text, about


def metadata_of(database: Database, row: int, about: str) -> dict[str, Any]:
    """Read the metadata of a record that is sound.

    Parameters
    ----------
    database : Database
        For the error.
    row : int
        The record's row.
    about : str
        From :func:`sound`.

    Returns
    -------
    dict
        A new one.

    Raises
    ------
    StoreCorruptedError
        No JSON object, which no release has written.
    """
    try:
        decoded = json.loads(about)
    except ValueError:
        decoded = None
    if not isinstance(decoded, dict):
        raise _unsound(database, row)
    return decoded


def _unsound(database: Database, row: int) -> Exception:
    return database.corrupted(f"record in row {row} fails its checksum")


def _unpacked(
    connection: sqlite3.Connection, database: Database, blob: bytes, metadata: str, row: int, key: str, crc: int
) -> tuple[str | None, str, bool]:
    if not blob or metadata:
        return None, "", False
    known = database.dictionaries.get(blob[0]) or dictionaries.read(connection, database, blob[0])
    reader = zlib.decompressobj(_WINDOW, zdict=known)
    content = reader.decompress(blob[1:])
    sound = reader.eof and not reader.unused_data and crc == _crc(row, key, content)
    about, _, rest = content.partition(b"\0")
    return (rest[1:].decode() if rest else None), about.decode(), sound
