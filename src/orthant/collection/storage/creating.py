"""Making a collection's folder: what may be there already, and in which order files come to be."""

from __future__ import annotations

from pathlib import Path

from orthant.collection.storage import tables
from orthant.collection.storage.database import Database
from orthant.collection.storage.files import FileLayer, storage_error
from orthant.collection.storage.lock import WriterLock
from orthant.errors import InputError, StoreCorruptedError, message

__all__ = ["DATABASE_NAME", "MANIFEST_NAME", "SNAPSHOTS", "create", "require_new"]

DATABASE_NAME = "store.sqlite"
SNAPSHOTS = "snapshots"
"""Folder of the snapshots within a collection's."""
MANIFEST_NAME = "snapshot.json"
"""The file that makes a folder a snapshot."""
_OWN_NAMES = {"vectors", "derived", "head", "writer.lock", SNAPSHOTS}


def require_new(path: Path, file: Path) -> None:
    """Refuse a folder that holds anything but a collection whose making was interrupted.

    Parameters
    ----------
    path : Path
        The folder.
    file : Path
        Its database, which does not exist.

    Raises
    ------
    InputError
        A file in the folder's place, or files of others in it.
    StoreCorruptedError
        A collection whose database is gone.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise InputError(message(f"{path}, which is a file", "a folder", "choose another path"))
    inside = {entry.name for entry in path.iterdir()}
    log = file.with_name(file.name + "-wal")
    traces = inside & {"head", "derived", SNAPSHOTS}
    # All of these are made after the database; a new one would bury what could still be restored.
    if traces or any((path / "vectors").rglob("*.seg")) or (log.exists() and log.stat().st_size):
        raise StoreCorruptedError(
            message(
                f"a collection without its {DATABASE_NAME} in {path}",
                "the file with its records",
                "restore it, or choose another path for a new collection",
            )
        )
    foreign = {name for name in inside if name not in _OWN_NAMES and not name.startswith(DATABASE_NAME)}
    if foreign:
        raise InputError(
            message(
                f"folder {path} with other files ({', '.join(sorted(foreign)[:3])})",
                "a new or empty folder, or a collection",
                "choose another path",
            )
        )


def create(path: Path, file: Path, files: FileLayer, lock: WriterLock) -> None:
    """Make the folder and its database; the caller keeps the lock.

    Parameters
    ----------
    path : Path
        The folder.
    file : Path
        The database to make.
    files : FileLayer
        How files are written.
    lock : WriterLock
        Taken first, so that two makers do not overwrite each other.

    Raises
    ------
    StoreError
        The disk is full or failing, or the folder cannot be written.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        files.make_folder(path)
        lock.acquire()
        if file.exists():
            # Another process made the collection while this one was about to.
            return
        fresh = file.with_name(file.name + ".new")
        for ending in ("", "-wal", "-shm", "-journal"):
            files.remove(fresh.with_name(fresh.name + ending))
        Database.create(fresh, tables.set_first_meta).close()
        files.sync([fresh])
        files.replace(fresh, file)
        for folder in (path, *(folder.parent for folder in missing)):
            files.sync_folder(folder)
    except OSError as error:
        raise storage_error(error, path, "create") from error
