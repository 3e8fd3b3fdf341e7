"""Spaces on their way in: into the next generation, and into the tables of their kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from orthant.collection.spaces import SpaceDefinition
from orthant.collection.sparse import state as sparse_state
from orthant.collection.sparse import tables as sparse_tables
from orthant.collection.sparse.state import SparseDefinition
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation, SpaceState
from orthant.collection.storage.segments import SegmentFolder
from orthant.collection.storage.settings.shortcuts import DEFAULT_SHORTCUT, StoredShortcut, write_shortcut
from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = [
    "AnyDefinition",
    "delete_space",
    "insert_space",
    "replace_space",
    "require_free",
    "with_shortcut",
    "with_spaces",
]

AnyDefinition = SpaceDefinition | SparseDefinition


def require_free(now: Generation, name: str) -> None:
    """Refuse the name of a space that exists, whatever its kind.

    Parameters
    ----------
    now : Generation
        The current one.
    name : str
        The new name.

    Raises
    ------
    InputError
        It is taken.
    """
    if name in now.spaces or name in now.sparse:
        raise InputError(message(f"space {name!r}, which exists", "a new name", "use it, or choose another name"))


def with_spaces(
    now: Generation, more: Sequence[tuple[AnyDefinition, Any]], folder: Callable[[SpaceDefinition], SegmentFolder]
) -> Generation:
    """Return a generation with more spaces, all of them empty.

    Parameters
    ----------
    now : Generation
        The current one.
    more : sequence of (SpaceDefinition or SparseDefinition, canaries)
        The new ones.
    folder : callable
        Gives the segment folder of a definition.

    Returns
    -------
    Generation
        With the same number.
    """
    spaces, sparse = dict(now.spaces), dict(now.sparse)
    for definition, canaries in more:
        if isinstance(definition, SparseDefinition):
            sparse[definition.name] = sparse_state.empty(definition, canaries)
        else:
            spaces[definition.name] = SpaceState(definition, canaries, folder(definition))
    return replace(now, spaces=spaces, sparse=sparse, _indexes={})


def with_shortcut(now: Generation, definition: AnyDefinition, shortcut: StoredShortcut) -> Generation:
    """Return a generation whose new space finds candidates in a given way.

    Parameters
    ----------
    now : Generation
        With the space.
    definition : SpaceDefinition or SparseDefinition
        The space; only one of tokens has a shortcut.
    shortcut : StoredShortcut
        The way.

    Returns
    -------
    Generation
        With the same number.
    """
    if isinstance(definition, SparseDefinition) or shortcut == DEFAULT_SHORTCUT:
        return now
    state = replace(now.spaces[definition.name], shortcut=shortcut)
    return replace(now, spaces={**now.spaces, definition.name: state}, _indexes={})


def insert_space(
    connection: sqlite3.Connection,
    definition: AnyDefinition,
    canaries: Any,
    shortcut: StoredShortcut = DEFAULT_SHORTCUT,
) -> None:
    """Insert a space of either kind.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    definition : SpaceDefinition or SparseDefinition
        The definition.
    canaries : ndarray of shape (c, dim), float32, or SparseRows
        What the encoder made of the canary texts, or none.
    shortcut : StoredShortcut, optional
        For tokens: how candidates are found; written where it is not the usual way.
    """
    if isinstance(definition, SparseDefinition):
        sparse_tables.insert_space(connection, definition, canaries)
        return
    tables.insert_space(connection, definition, canaries)
    if shortcut != DEFAULT_SHORTCUT:
        write_shortcut(connection, definition.place, shortcut)


def replace_space(connection: sqlite3.Connection, definition: SpaceDefinition, canaries: FloatArray) -> None:
    """Write the definition of a space over that of the same name, if there is one.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    definition : SpaceDefinition
        The definition.
    canaries : ndarray of shape (c, dim), float32
        Canary vectors.
    """
    connection.execute("DELETE FROM spaces WHERE name = ?", (definition.name,))
    tables.insert_space(connection, definition, canaries)


def delete_space(connection: sqlite3.Connection, name: str, *, place: str | None) -> None:
    """Forget a space.

    Parameters
    ----------
    connection : sqlite3.Connection
        The writer's, inside a transaction.
    name : str
        Its name.
    place : str or None
        Where its vectors lie, to forget them as well; None where another name keeps them.
    """
    connection.execute("DELETE FROM spaces WHERE name = ?", (name,))
    if place is not None:
        connection.execute("DELETE FROM segments WHERE space = ?", (place,))
        connection.execute("DELETE FROM extents WHERE space = ?", (place,))
