"""What a snapshot says of itself: names, the manifest, the list."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orthant.collection.storage.creating import DATABASE_NAME, MANIFEST_NAME, SNAPSHOTS
from orthant.collection.storage.files import size_and_crc
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreVersionError, message

__all__ = [
    "SnapshotInfo",
    "check_name",
    "database_is_sound",
    "folder_of",
    "list_snapshots",
    "read_info",
    "write_manifest",
]

_FORMAT = 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class SnapshotInfo:
    """One snapshot: what it holds and what it costs.

    Attributes
    ----------
    name : str
        Its name.
    generation : int
        The commit it shows.
    created : str
        When it was made, in ISO 8601, UTC.
    records : int
        Records in it.
    spaces : dict of str to int
        Vectors stored in it, by space, those of removed records included.
    bytes : int
        Sizes of its files together, shared or not.
    own_bytes : int
        The part that no other snapshot and not the collection uses: what dropping it gives back at once.
    problem : str or None
        Why it cannot be used, when its manifest is damaged.
    """

    name: str
    generation: int
    created: str
    records: int
    spaces: dict[str, int]
    bytes: int
    own_bytes: int
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)


def check_name(name: str) -> str:
    """Refuse names that are no folder name everywhere.

    Parameters
    ----------
    name : str
        Given by the user.

    Returns
    -------
    str
        The same.

    Raises
    ------
    InputError
        Not 1 to 64 letters, digits, ``_``, ``-`` or ``.``, or reserved.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith((".new", ".old", ".")):
        raise InputError(
            message(
                f"snapshot name {name!r}",
                "1 to 64 letters, digits, '_', '-' or '.', that begin with none of the last two and end in neither "
                "'.', '.new' nor '.old'",
                "choose another name",
            )
        )
    return name


def folder_of(path: Path, name: str) -> Path:
    """Return the folder of a snapshot that exists.

    Parameters
    ----------
    path : Path
        The collection's folder.
    name : str
        The snapshot.

    Returns
    -------
    Path
        A folder that can be opened like a collection, read-only.

    Raises
    ------
    InputError
        A malformed name.
    NotFoundError
        No such snapshot; the text lists those that exist.
    """
    folder = path / SNAPSHOTS / check_name(name)
    if not (folder / MANIFEST_NAME).exists():
        names = ", ".join(repr(other.name) for other in _folders(path)) or "none yet"
        raise NotFoundError(message(f"snapshot {name!r} of {path}", f"one of: {names}", "check the name"))
    return folder


def _folders(path: Path) -> list[Path]:
    root = path / SNAPSHOTS
    if not root.is_dir():
        return []
    return sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.endswith((".new", ".old")))


def write_manifest(folder: Path, *, generation: int, created: str, records: int, spaces: dict[str, int]) -> Path:
    """Write a snapshot's manifest, with the checksum of its database; the caller syncs it.

    Parameters
    ----------
    folder : Path
        The snapshot's folder.
    generation : int
        The commit it shows.
    created : str
        ISO 8601, UTC.
    records : int
        Records in it.
    spaces : dict of str to int
        Vectors by space.

    Returns
    -------
    Path
        The manifest.
    """
    record = {
        "format": _FORMAT,
        "generation": generation,
        "created": created,
        "records": records,
        "spaces": spaces,
        "database": list(size_and_crc(folder / DATABASE_NAME)),
    }
    target = folder / MANIFEST_NAME
    target.write_text(json.dumps({**record, "crc": _crc(record)}))
    return target


def _crc(record: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def read_info(folder: Path) -> SnapshotInfo:
    """Read a snapshot's manifest and measure its files.

    Parameters
    ----------
    folder : Path
        The snapshot's folder.

    Returns
    -------
    SnapshotInfo
        As it was made, with its present cost.

    Raises
    ------
    StoreCorruptedError
        The manifest is not what was written.
    StoreVersionError
        A newer release wrote it.
    """
    record = _read(folder)
    told = (record["generation"], record["created"], record["records"], record["spaces"])
    stats = [file.stat() for file in folder.rglob("*") if file.is_file()]
    whole = sum(stat.st_size for stat in stats)
    return SnapshotInfo(folder.name, *told, whole, sum(stat.st_size for stat in stats if stat.st_nlink == 1))


def _read(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / MANIFEST_NAME).read_text())
        sound = record.pop("crc") == _crc(record)
        version = record["format"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder) from error
    if not sound:
        raise _damaged(folder)
    if version > _FORMAT:
        raise StoreVersionError(
            message(f"snapshot {folder.name!r} of format {version}", f"format {_FORMAT}", "upgrade orthant")
        )
    return record


def database_is_sound(folder: Path) -> bool:
    """Return whether a snapshot's database is, byte for byte, what was copied.

    Parameters
    ----------
    folder : Path
        The snapshot's folder; its manifest is sound.

    Returns
    -------
    bool
        Cost: one read of the file.
    """
    try:
        return _read(folder)["database"] == list(size_and_crc(folder / DATABASE_NAME))
    except OSError:
        return False


def _damaged(folder: Path) -> StoreCorruptedError:
    return StoreCorruptedError(
        message(
            f"snapshot {folder.name!r} with a damaged {MANIFEST_NAME}",
            "what was written",
            "drop it, or restore its folder from a copy",
        )
    )


def list_snapshots(path: Path) -> list[SnapshotInfo]:
    """Return every snapshot of a collection, oldest first.

    Parameters
    ----------
    path : Path
        The collection's folder.

    Returns
    -------
    list of SnapshotInfo
        A damaged one is listed with its ``problem``, so that it can be dropped.
    """
    found = []
    for folder in _folders(path):
        try:
            found.append(read_info(folder))
        except (StoreCorruptedError, StoreVersionError) as error:
            found.append(SnapshotInfo(folder.name, -1, "", 0, {}, 0, 0, str(error)))
    return sorted(found, key=lambda info: (info.generation, info.created, info.name))
