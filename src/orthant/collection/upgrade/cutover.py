"""The commits of an upgrade: beginning, adding vectors of older records, cutting over, going back, letting go.

Each is one transaction of the store, so a process that dies leaves the state before it or the state after it.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from orthant.collection.spaces import SpaceDefinition
from orthant.collection.storage import graphs, merging, tables
from orthant.collection.storage.database import raise_format
from orthant.collection.storage.files import storage_error
from orthant.collection.storage.generation import Generation, SpaceState
from orthant.collection.storage.new_spaces import delete_space, replace_space, require_free, with_spaces
from orthant.collection.storage.segments import Extent, SegmentState
from orthant.collection.storage.settings.compression import write_compression
from orthant.collection.storage.store import Store
from orthant.collection.upgrade.state import NO_UPGRADE, UpgradeState
from orthant.encoders.fingerprint import short_fingerprint
from orthant.errors import InputError, message
from orthant.kernels import bitmaps
from orthant.types import FloatArray, IdArray

__all__ = ["begin", "cut_over", "drop_spaces", "fill", "map_folder", "note", "restore"]

Definitions = Sequence[tuple[SpaceDefinition, FloatArray]]


def map_folder(store: Store) -> Any:
    """Return the folder that holds the map of the open upgrade.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    Path
        It need not exist.
    """
    return store.path / "derived" / "upgrade.map"


def _publish(store: Store, following: Generation, write: Callable[[sqlite3.Connection], None]) -> None:
    store.publish(replace(following, number=store.generation.number + 1, _indexes={}), write)


def begin(store: Store, state: UpgradeState, spaces: Definitions) -> None:
    """Make the spaces of an upgrade, all empty, and note that it is open; durable on return.

    Parameters
    ----------
    store : Store
        The writer.
    state : UpgradeState
        Not committed.
    spaces : sequence of (SpaceDefinition, ndarray)
        Definitions and canaries.

    Raises
    ------
    InputError
        Another upgrade is open, or one of the names is taken.
    """
    with store.writer() as now:
        if now.upgrade:
            raise InputError(
                message(
                    f"a second upgrade while that of space {now.upgrade.space!r} to "
                    f"{short_fingerprint(now.upgrade.fingerprint)} is open",
                    "one at a time",
                    "finish it with commit() and release(), or take it back with rollback()",
                )
            )
        placed = []
        for definition, canaries in spaces:
            require_free(now, definition.name)
            # A folder that was never used, so that nothing of an earlier upgrade can be taken for this one's.
            folder = f"{definition.name}.{now.number + 1}"
            placed.append((replace(definition, folder=folder), canaries))
        following = replace(with_spaces(now, placed, store._folder), upgrade=state)

        def write(connection: sqlite3.Connection) -> None:
            for definition, canaries in placed:
                tables.insert_space(connection, definition, canaries)
            raise_format(connection, 2)

        _publish(store, following, write)


def note(store: Store, state: UpgradeState) -> None:
    """Store another state of the open upgrade; durable on return.

    Parameters
    ----------
    store : Store
        The writer.
    state : UpgradeState
        What is so from now on.
    """
    with store.writer() as now:
        _publish(store, replace(now, upgrade=state), lambda connection: None)


def fill(store: Store, name: str, rows: IdArray, X: FloatArray, *, state: UpgradeState | None = None) -> int:
    """Give records that exist a vector in a space; durable on return.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The space.
    rows : ndarray of shape (n,), int64
        Rows, ascending. Those that have gone since, or have a vector there, are left out.
    X : ndarray of shape (n, dim), float32
        Their vectors.
    state : UpgradeState, optional
        Stored by the same commit.

    Returns
    -------
    int
        Vectors written.
    """
    with store.writer() as now:
        space = now.spaces[name]
        keep = bitmaps.contains_rows(now.live, rows) & ~space.vectors_of(rows)[0]
        rows, X = rows[keep], np.ascontiguousarray(X[keep], dtype=np.float32)
        if not len(rows) and state is None:
            return 0
        if len(rows) and space.graph is not None and int(rows[0]) < space.graph.below:
            # It would never be searched for what lies below its watermark.
            merging.drop(store, name)
            now = store.generation
            space = now.spaces[name]
        changed: list[SegmentState] = []
        extents: list[Extent] = []
        if len(rows):
            # Rows ascend within a segment, so what comes late goes on where it fits, or begins a new one.
            fitting = [v.state for v in space.segments if not len(v.rows) or int(v.rows[-1]) < int(rows[0])]
            place = space.definition.place
            try:
                changed, extents = space.folder.append(fitting, X, rows, next_number=store.next_segment(place))
            except OSError as error:
                raise storage_error(error, store.path, "write") from error
        following = replace(now, spaces={**now.spaces, name: space.appended(changed, extents)})
        following = following if state is None else replace(following, upgrade=state)

        def write(connection: sqlite3.Connection) -> None:
            tables.insert_extents(connection, space.definition.place, changed, extents)

        _publish(store, following, write)
        for segment, extent in zip(changed, extents, strict=True):
            space.folder.trust(segment, before=extent.first_slot)
        return len(rows)


def _renamed(now: Generation, names: Mapping[str, str]) -> dict[str, SpaceState]:
    """Spaces under other names; their files stay where they are."""
    out = {}
    for name, space in now.spaces.items():
        new = names.get(name, name)
        folder = space.definition.place if space.definition.place != new else None
        out[new] = replace(space, definition=replace(space.definition, name=new, folder=folder))
    return out


def _rename(connection: sqlite3.Connection, spaces: Mapping[str, SpaceState], names: Mapping[str, str]) -> None:
    for name in names:
        delete_space(connection, name, place=None)
    for new in names.values():
        replace_space(connection, spaces[new].definition, spaces[new].canaries)


def cut_over(store: Store, state: UpgradeState) -> dict[str, str]:
    """Let the space be that of the new encoder, and keep the old one beside it; one transaction, no file moved.

    Parameters
    ----------
    store : Store
        The writer.
    state : UpgradeState
        The open upgrade.

    Returns
    -------
    dict of str to str
        The new names of the spaces that got one.
    """
    after = replace(state, committed=True)
    names = {state.fresh: after.fresh, state.former: after.former}
    after = replace(after, filling=tuple(names.get(name, name) for name in state.filling))
    with store.writer() as now:
        require_free(now, after.former)
        spaces = _renamed(now, names)
        _publish(
            store, replace(now, spaces=spaces, upgrade=after), lambda connection: _rename(connection, spaces, names)
        )
    return names


def restore(store: Store, state: UpgradeState) -> dict[str, str]:
    """Go back to the old encoder, and forget what the upgrade made; one transaction.

    Parameters
    ----------
    store : Store
        The writer.
    state : UpgradeState
        The open upgrade, committed or not.

    Returns
    -------
    dict of str to str
        The new names of the spaces that got one.
    """
    names = {state.former: state.space} if state.committed else {}
    gone = [name for name in (state.fresh, state.mapped) if name]
    _forget(store, gone, names)
    return names


def drop_spaces(store: Store, names: Sequence[str]) -> None:
    """End an upgrade and forget spaces of it; one transaction.

    Parameters
    ----------
    store : Store
        The writer.
    names : sequence of str
        The spaces.
    """
    _forget(store, names, {})


def _forget(store: Store, gone: Sequence[str], names: Mapping[str, str]) -> None:
    with store.writer() as now:
        lost = [now.spaces[name] for name in gone]
        kept = replace(now, spaces={name: space for name, space in now.spaces.items() if name not in gone})
        spaces = _renamed(kept, names)

        def write(connection: sqlite3.Connection) -> None:
            for space in lost:
                delete_space(connection, space.definition.name, place=space.definition.place)
                write_compression(connection, space.definition.place, None)
            _rename(connection, spaces, names)

        _publish(store, replace(now, spaces=spaces, upgrade=NO_UPGRADE), write)
        with suppress(OSError):
            # Whatever stays behind is removed by the next writer that opens the collection.
            for space in lost:
                graphs.keep_only(store.path, space.definition.place, -1)
                for segment in space.states:
                    store.files.remove(space.folder.path(segment.number))
            shutil.rmtree(map_folder(store), ignore_errors=True)
