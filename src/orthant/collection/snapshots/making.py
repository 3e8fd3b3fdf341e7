"""Making and dropping snapshots: second names of files that never change, and a copy of the records.

A snapshot is a folder laid out like a collection. Segments and derived files get second names in it, so they cost
nothing and stay when a compaction takes the collection's own names away: the file system counts the references.
SQLite's file changes in place, so it is copied, or shared with another snapshot of the same commit.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from orthant.collection.snapshots.manifest import (
    SnapshotInfo,
    check_name,
    database_is_sound,
    list_snapshots,
    read_info,
    write_manifest,
)
from orthant.collection.storage import derived, tables
from orthant.collection.storage.creating import DATABASE_NAME, SNAPSHOTS
from orthant.collection.storage.files import storage_error
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.segments import HEADER_BYTES
from orthant.collection.storage.store import Store
from orthant.errors import InputError, NotFoundError, message

__all__ = ["create", "disk_errors", "drop"]


@contextmanager
def disk_errors(store: Store, action: str) -> Iterator[None]:
    """Translate errors of the operating system.

    Parameters
    ----------
    store : Store
        The collection.
    action : str
        What is being done.

    Yields
    ------
    None
        Nothing.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(error, store.path, action) from error


def create(store: Store, name: str) -> SnapshotInfo:
    """Keep the present state under a name; durable on return.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        A new name.

    Returns
    -------
    SnapshotInfo
        What it holds and costs.

    Raises
    ------
    InputError
        The name is malformed or taken; nothing was made.
    """
    target = store.path / SNAPSHOTS / check_name(name)
    with store.writer() as now:
        if target.exists():
            raise InputError(message(f"snapshot {name!r}, which exists", "a new name", "drop it, or choose another"))
        fresh = target.with_name(f"{name}.new")
        try:
            with disk_errors(store, "make a snapshot"):
                _fill(store, now, fresh)
                store.files.replace(fresh, target)
                for folder in (target.parent, store.path):
                    store.files.sync_folder(folder)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
    return read_info(target)


def _fill(store: Store, now: Generation, fresh: Path) -> None:
    shutil.rmtree(fresh, ignore_errors=True)
    store.files.make_folder(fresh)
    _records(store, now, fresh / DATABASE_NAME)
    for space in now.spaces.values():
        folder = fresh / "vectors" / space.definition.place
        store.files.make_folder(folder)
        for state in space.states:
            space.folder.map(state)
            source = space.folder.path(state.number)
            if not store.files.link(source, folder / source.name):
                # A copy need not hold what a failed call left behind the committed vectors.
                store.files.truncate(folder / source.name, HEADER_BYTES + state.slots * space.folder.stride)
                store.files.sync([folder / source.name])
    _derived(store, now, fresh)
    manifest = write_manifest(
        fresh,
        generation=now.number,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        records=now.count,
        spaces={name: space.slots for name, space in now.spaces.items()},
    )
    store.files.sync([manifest])
    for base, _, _ in os.walk(fresh):
        store.files.sync_folder(Path(base))


def _records(store: Store, now: Generation, target: Path) -> None:
    for other in list_snapshots(store.path):
        folder = store.path / SNAPSHOTS / other.name
        # Sharing a copy that was damaged since would give two useless snapshots.
        if other.generation == now.number and database_is_sound(folder):
            store.files.link(folder / DATABASE_NAME, target)
            return
    store.database.copy_to(target)
    store.files.sync([target])


def _derived(store: Store, now: Generation, fresh: Path) -> None:
    with store.database.reading() as connection:
        purged = tables.read_meta(connection, store.database).purged_through
    root = store.path / "derived"
    usable = [number for number in derived.numbers(store.path) if purged <= number <= now.number]
    folders = [root / f"{number:012d}" for number in usable[:1]]
    folders += [space.graph.folder for space in now.spaces.values() if space.graph is not None]
    for folder in folders:
        for base, _, names in os.walk(folder):
            inside = fresh / "derived" / folder.name / Path(base).relative_to(folder)
            store.files.make_folder(inside)
            for name in names:
                store.files.link(Path(base) / name, inside / name)


def drop(store: Store, name: str) -> None:
    """Forget a snapshot and give back what only it used; durable on return.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The snapshot; a damaged one can be dropped too.

    Raises
    ------
    NotFoundError
        No such snapshot.
    """
    target = store.path / SNAPSHOTS / check_name(name)
    with store.writer():
        if not target.is_dir():
            raise NotFoundError(
                message(f"snapshot {name!r} of {store.path}", "one that snapshots() lists", "check the name")
            )
        gone = target.with_name(f"{name}.old")
        shutil.rmtree(gone, ignore_errors=True)
        with disk_errors(store, "drop a snapshot"):
            # Renamed first, so that a crash half-way leaves nothing that looks like a damaged snapshot.
            store.files.replace(target, gone)
            store.files.sync_folder(target.parent)
        shutil.rmtree(gone, ignore_errors=True)
