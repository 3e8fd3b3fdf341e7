"""Derived files: columns, postings and live rows of one generation, rebuildable at any time.

Each generation has its own folder under ``derived``, written aside and renamed; a damaged or unreadable one is passed
over and rebuilt from SQLite. The small ``head`` file remembers the last acknowledged commit, so that a lost log is
noticed instead of silently rolling the collection back.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from orthant.collection.columns.table import Columns
from orthant.collection.lexical.index import Lexical
from orthant.collection.sparse.index import WeightedIndex
from orthant.collection.sparse.state import SparseDefinition, SparseState
from orthant.collection.storage.creating import SNAPSHOTS
from orthant.collection.storage.files import FileLayer, remove_folder, size_and_crc
from orthant.collection.storage.generation import Generation
from orthant.encoders.sparse.rows import SparseRows
from orthant.errors import OrthantError, StoreCorruptedError, message

__all__ = [
    "damaged_folders",
    "keep_only",
    "load",
    "numbers",
    "read_head",
    "remove_all",
    "remove_leftovers",
    "save",
    "write_head",
]

_FORMAT = 1
_MANIFEST = "manifest.json"
_PARTS = ("columns", "lexical", "live")
_SPARSE = "sparse."
_HEAD = struct.Struct("<QI")
_NAME = re.compile(r"[0-9]{12,18}")


def _root(path: Path) -> Path:
    return path / "derived"


def _folders(path: Path) -> list[tuple[int, Path]]:
    root = _root(path)
    if not root.is_dir():
        return []
    found = [(int(entry.name), entry) for entry in root.iterdir() if _NAME.fullmatch(entry.name)]
    return sorted(found, reverse=True)


def numbers(path: Path) -> list[int]:
    """Return the generations that have a derived folder.

    Parameters
    ----------
    path : Path
        The collection's folder.

    Returns
    -------
    list of int
        Newest first; nothing is said about their soundness.
    """
    return [number for number, _ in _folders(path)]


def load(path: Path, *, at_least: int, at_most: int) -> Generation | None:
    """Return the newest usable derived state.

    Parameters
    ----------
    path : Path
        The collection's folder.
    at_least, at_most : int
        Generations that are of use.

    Returns
    -------
    Generation or None
        Without vector spaces, and with nothing but the posting lists of sparse ones; None when everything must be
        rebuilt.
    """
    for number, folder in _folders(path):
        if at_least <= number <= at_most:
            try:
                return _load_one(folder, number)
            except (OrthantError, OSError):
                # Derived: what cannot be read is rebuilt from the records. `check` reports the damage.
                continue
    return None


def _load_one(folder: Path, number: int) -> Generation:
    try:
        record = json.loads((folder / _MANIFEST).read_text())
        crc = record.pop("crc")
        next_row, words, files = record["next_row"], record["words"], record["files"]
        sound = record["format"] == _FORMAT and record["generation"] == number and crc == _manifest_crc(record)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder / _MANIFEST) from error
    data = (folder / "live").read_bytes()
    sparse = {name for name in files if name.startswith(_SPARSE)}
    if not sound or len(data) != 8 * words or set(files) - sparse != set(_PARTS):
        raise _damaged(folder)
    live = np.frombuffer(data, dtype="<u8").astype(np.uint64)
    # Every byte is compared now: a search could only report what is found later, while now it is rebuilt.
    for name, wanted in files.items():
        if size_and_crc(folder / name)[1] != wanted:
            raise _damaged(folder / name)
    columns, lexical = Columns.load(folder / "columns"), Lexical.load(folder / "lexical")
    states = {name[len(_SPARSE) :]: _load_sparse(folder / name) for name in sorted(sparse)}
    return Generation(number, next_row, live, columns, lexical, {}, states)


def _load_sparse(path: Path) -> SparseState:
    index = WeightedIndex.load(path)
    # Definition and canaries are read from the records' database, whatever was saved.
    definition = SparseDefinition(path.name[len(_SPARSE) :], index.dim)
    return SparseState(definition, SparseRows.of([], index.dim), index)


def _manifest_crc(record: dict) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def _damaged(path: Path) -> StoreCorruptedError:
    return StoreCorruptedError(
        message(
            f"damaged derived file {path.parent.name}/{path.name}",
            "what was saved",
            "nothing: it is rebuilt from the records; `orthant check --repair` does it now",
        )
    )


def save(path: Path, generation: Generation, files: FileLayer) -> Generation:
    """Save a generation's columns, postings and live rows.

    Parameters
    ----------
    path : Path
        The collection's folder.
    generation : Generation
        Compacted.
    files : FileLayer
        How the final rename is done.

    Returns
    -------
    Generation
        The same, with its postings mapped from what was written: those in memory need not stay there.
    """
    root = _root(path)
    files.make_folder(root)
    target = root / f"{generation.number:012d}"
    fresh = root / f"{target.name}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    remove_folder(target)
    files.make_folder(fresh)
    generation.columns.save(fresh / "columns")
    generation.lexical.save(fresh / "lexical")
    sound = {f"{_SPARSE}{name}": state.index for name, state in generation.sparse.items() if state.problem is None}
    for name, index in sound.items():
        index.save(fresh / name)
    (fresh / "live").write_bytes(generation.live.astype("<u8").tobytes())
    record = {
        "format": _FORMAT,
        "generation": generation.number,
        "next_row": generation.next_row,
        "words": len(generation.live),
        "files": {name: size_and_crc(fresh / name)[1] for name in (*_PARTS, *sound)},
    }
    (fresh / _MANIFEST).write_text(json.dumps({**record, "crc": _manifest_crc(record)}))
    # No write here needs to be durable before another: whatever a power cut leaves, the manifest's checksums tell.
    files.sync(_files_in(fresh))
    files.sync_folder(fresh)
    files.replace(fresh, target)
    files.sync_folder(root)
    return replace(generation, lexical=generation.lexical.on_file(target / "lexical"))


def _files_in(folder: Path) -> list[Path]:
    return [Path(base) / name for base, _, names in os.walk(folder) for name in names]


def damaged_folders(path: Path) -> list[tuple[Path, str]]:
    """Return the derived folders that cannot be loaded, and why.

    Parameters
    ----------
    path : Path
        The collection's folder.

    Returns
    -------
    list of (Path, str)
        Empty when all are sound.
    """
    out = []
    for number, folder in _folders(path):
        try:
            _load_one(folder, number)
        except (OrthantError, OSError) as error:
            out.append((folder, str(error)))
    return out


def keep_only(path: Path, number: int) -> None:
    """Delete derived folders of other generations, later ones of a lost log included.

    Parameters
    ----------
    path : Path
        The collection's folder.
    number : int
        The generation to keep.
    """
    for other, folder in _folders(path):
        if other != number:
            remove_folder(folder)


def remove_all(path: Path) -> None:
    """Delete columns, postings and live rows of every generation; the next open rebuilds them.

    Graphs stay: they depend on vectors, not on records, and have checks of their own.

    Parameters
    ----------
    path : Path
        The collection's folder.
    """
    for _, folder in _folders(path):
        remove_folder(folder)


def remove_leftovers(path: Path, spaces: Iterable[str], files: FileLayer) -> list[str]:
    """Delete what an interrupted writer left: half-written derived folders and segments of unknown spaces.

    Parameters
    ----------
    path : Path
        The collection's folder.
    spaces : iterable of str
        Names of the committed spaces.
    files : FileLayer
        How files are removed.

    Returns
    -------
    list of str
        What was done, one line each.
    """
    done: list[str] = []
    for entry in [*_root(path).glob("*.new"), *_root(path).glob("*.old")]:
        shutil.rmtree(entry, ignore_errors=True)
        done.append(f"removed half-written derived/{entry.name}")
    for entry in [*(path / SNAPSHOTS).glob("*.new"), *(path / SNAPSHOTS).glob("*.old")]:
        shutil.rmtree(entry, ignore_errors=True)
        done.append(f"removed half-written {SNAPSHOTS}/{entry.name}")
    known = set(spaces)
    for folder in (path / "vectors").glob("*"):
        if folder.name not in known:
            for file in folder.glob("*.seg"):
                files.remove(file)
            done.append(f"removed segments of {folder.name}: never committed")
    return done


def read_head(path: Path) -> int | None:
    """Return the last acknowledged generation as far as it is known.

    Parameters
    ----------
    path : Path
        The collection's folder.

    Returns
    -------
    int or None
        None when the file is missing or torn.
    """
    try:
        data = (path / "head").read_bytes()
    except OSError:
        return None
    if len(data) != _HEAD.size:
        return None
    number, crc = _HEAD.unpack(data)
    return number if crc == zlib.crc32(data[:8]) else None


def write_head(path: Path, number: int, files: FileLayer) -> None:
    """Note a commit as acknowledged; not synced, since it only helps to notice damage.

    Parameters
    ----------
    path : Path
        The collection's folder.
    number : int
        The generation.
    files : FileLayer
        How the file is written.
    """
    head = path / "head"
    if not head.exists():
        files.create(head)
    fields = struct.pack("<Q", number)
    files.write_at(head, 0, fields + struct.pack("<I", zlib.crc32(fields)))
