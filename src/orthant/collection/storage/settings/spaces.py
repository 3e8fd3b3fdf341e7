"""The settings of every space, read together: which codes it is searched by, and how it finds candidates."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import replace

from orthant.collection.storage.database import Database
from orthant.collection.storage.generation import SpaceState
from orthant.collection.storage.settings.compression import read_compressions
from orthant.collection.storage.settings.shortcuts import DEFAULT_SHORTCUT, read_shortcuts

__all__ = ["with_settings"]


def with_settings(
    connection: sqlite3.Connection, database: Database, spaces: Mapping[str, SpaceState]
) -> dict[str, SpaceState]:
    """Return spaces as their settings have them.

    Parameters
    ----------
    connection : sqlite3.Connection
        Inside a transaction.
    database : Database
        For the error.
    spaces : mapping of str to SpaceState
        By name.

    Returns
    -------
    dict of str to SpaceState
        The same object where nothing differs.

    Raises
    ------
    StoreCorruptedError
        A text that is no setting.
    """
    compressions, shortcuts = read_compressions(connection, database), read_shortcuts(connection, database)
    out = {}
    for name, space in spaces.items():
        place = space.definition.place
        told = (compressions.get(place), shortcuts.get(place, DEFAULT_SHORTCUT))
        same = told == (space.compression, space.shortcut)
        out[name] = space if same else replace(space, compression=told[0], shortcut=told[1])
    return out
