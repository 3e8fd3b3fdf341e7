"""Settings as texts among the counters, whose checksum is theirs: the caller writes the counters afterwards."""

from __future__ import annotations

import sqlite3

__all__ = ["read_texts", "write_text"]


def read_texts(connection: sqlite3.Connection, prefix: str) -> dict[str, str]:
    """Read the texts whose keys begin alike; ``tables.read_meta`` verifies their checksum, that of the counters.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    prefix : str
        Not empty.

    Returns
    -------
    dict of str to str
        By what follows the prefix; empty where there are none.
    """
    query = "SELECT key, value FROM meta WHERE substr(key, 1, ?) = ?"
    return {key[len(prefix) :]: text for key, text in connection.execute(query, (len(prefix), prefix))}


def write_text(connection: sqlite3.Connection, key: str, text: str | None) -> None:
    """Write or remove one text.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    key : str
        Its key.
    text : str or None
        None removes it.
    """
    if text is None:
        connection.execute("DELETE FROM meta WHERE key = ?", (key,))
    else:
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, text))
