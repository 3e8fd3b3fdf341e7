"""A collection in one file: the folder that ``export`` writes, as a zip archive that other programs read too.

Members carry zip's CRC-32 and the SHA-256 of the export's own record. The list of members stands at the end of the
file, so an archive that was cut short has none and is refused before anything is read from it.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orthant.artifact import aside, sync_folder
from orthant.collection.storage.files import storage_error
from orthant.datasets.export import MANIFEST, write_export
from orthant.datasets.imports import read_export
from orthant.datasets.record_batches import Records
from orthant.errors import NotFoundError, StoreCorruptedError, StoreError, message

__all__ = ["is_archive", "require_archive", "unpacked", "write_archive"]

_PART = 1 << 20
# One level of folders at most, and no name that leads elsewhere.
_PART_NAME = r"(?!\.{1,2}(?:/|$))[^/\\:\x00-\x1f]{1,255}"
_MEMBER = re.compile(rf"{_PART_NAME}(?:/{_PART_NAME})?")
# Texts shrink to a third; vectors hardly shrink at all, and reading them back should cost nothing.
_PACKED = {".jsonl", ".json"}
_FREE_BYTES = 16 << 20


def is_archive(path: Path) -> bool:
    """Return whether a path is meant as an archive.

    Parameters
    ----------
    path : Path
        Given by the user.

    Returns
    -------
    bool
        By its ending or its first bytes; a damaged one is still meant as one.
    """
    if not path.is_file():
        return False
    with open(path, "rb") as handle:
        return path.suffix == ".zip" or handle.read(4) == b"PK\x03\x04"


def write_archive(
    path: Path,
    batches: Iterable[Records],
    *,
    spaces: Mapping[str, Mapping[str, Any]] | None = None,
    sparse: Mapping[str, Mapping[str, Any]] | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """Write records with their vectors to one file, which appears under its name only when it is whole.

    Parameters
    ----------
    path : Path
        A file that does not exist; its folder must.
    batches : iterable of Records
        What to write.
    spaces : mapping of str to mapping, optional
        Definitions of the spaces.
    sparse : mapping of str to mapping, optional
        Definitions of the spaces of weighted terms.
    details : mapping, optional
        Kept with it.

    Returns
    -------
    int
        Records written.

    Raises
    ------
    StoreError
        The disk is full or failing; nothing is left behind.

    Notes
    -----
    Needs room for the export beside the target while it is made.
    """
    if not path.parent.is_dir():
        raise NotFoundError(message(f"no folder {path.parent}", "a folder for the archive", "make it first"))
    try:
        with aside(path) as scratch:
            scratch.mkdir()
            folder, partial = scratch / "export", scratch / "archive"
            count = write_export(folder, batches, spaces=spaces, sparse=sparse, details=details)
            with open(partial, "xb") as handle:
                with zipfile.ZipFile(handle, "w") as archive:
                    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
                        _pack(archive, file, file.relative_to(folder).as_posix())
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(partial, path)
            sync_folder(path.parent)
    except OSError as error:
        raise storage_error(error, path, "write") from error
    return count


def _pack(archive: zipfile.ZipFile, file: Path, name: str) -> None:
    # A fixed date, so that equal exports make equal files.
    member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    member.compress_type = zipfile.ZIP_DEFLATED if file.suffix in _PACKED else zipfile.ZIP_STORED
    member.external_attr = 0o644 << 16
    with open(file, "rb") as source, archive.open(member, "w", force_zip64=True) as target:
        shutil.copyfileobj(source, target, _PART)
    file.unlink()


def _damaged(path: Path, what: str) -> StoreCorruptedError:
    return StoreCorruptedError(
        message(f"the damaged archive {path} ({what})", "what was exported", "export again, or fetch another copy")
    )


def _members(path: Path, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    names = [member.filename for member in members]
    if MANIFEST not in names:
        raise _damaged(path, f"no {MANIFEST} in it")
    for name in names:
        if not _MEMBER.fullmatch(name) or names.count(name) > 1:
            raise _damaged(path, f"a member {name!r}")
    return members


def require_archive(path: Path) -> None:
    """Refuse a file whose list of members is missing or not that of an export; reads no member.

    Parameters
    ----------
    path : Path
        The archive.

    Raises
    ------
    StoreCorruptedError
        Cut short, or another kind of zip file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _members(path, archive)
    except (zipfile.BadZipFile, ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from error


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Unpack an archive to a folder that is gone when the block ends, after verifying every byte.

    Parameters
    ----------
    path : Path
        The archive.

    Yields
    ------
    Path
        What ``read_export`` opens.

    Raises
    ------
    StoreCorruptedError
        Cut short, changed, or not an export; the text says where.
    StoreError
        No room for what it holds.
    """
    with tempfile.TemporaryDirectory(prefix="orthant-") as scratch:
        folder = Path(scratch)
        try:
            with zipfile.ZipFile(path) as archive:
                members = _members(path, archive)
                needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
                if needed + _FREE_BYTES > free:
                    raise StoreError(
                        message(
                            f"an archive of {needed:,} bytes to unpack where {free:,} are free in {folder.parent}",
                            "room for it",
                            "free some, or set TMPDIR to a larger disk",
                        )
                    )
                for member in members:
                    _unpack(path, archive, member, folder)
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
            # The last two: a compression or an encryption that no export has.
            raise _damaged(path, str(error)) from error
        try:
            read_export(folder)
        except StoreCorruptedError as error:
            raise _damaged(path, str(error).replace(str(folder), "its content")) from error
        yield folder


def _unpack(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    left, place = member.file_size, folder / member.filename
    place.parent.mkdir(exist_ok=True)
    with archive.open(member) as source, open(place, "xb") as target:
        while part := source.read(_PART):
            left -= len(part)
            if left < 0:
                raise _damaged(path, f"{member.filename} is longer than it says")
            target.write(part)
    if left:
        raise _damaged(path, f"{member.filename} is shorter than it says")
