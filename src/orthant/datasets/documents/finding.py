"""Which files of a folder are documents."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orthant.datasets.documents.kinds import SUFFIXES, DocumentKind, kind_of
from orthant.errors import InputError, NotFoundError, message
from orthant.validate import check_path

__all__ = ["Found", "FoundFile", "Scope", "find_documents"]

_PASSED_OVER = frozenset({"__pycache__", "node_modules"})
# What marks the folder of a collection; its files are no documents.
_COLLECTION_FILE = "store.sqlite"


@dataclass(frozen=True)
class FoundFile:
    """A file that is a document, or a mailbox of several.

    Attributes
    ----------
    path : Path
        Where it lies.
    folder : str
        Name of the folder that its source is relative to.
    source : str
        Its path relative to that folder, with ``/``.
    kind : str
        By its ending.
    """

    path: Path
    folder: str
    source: str
    kind: DocumentKind


@dataclass(frozen=True)
class Scope:
    """A folder that was looked through whole.

    Attributes
    ----------
    folder : str
        Name of the folder that sources are relative to.
    under : str
        Beginning of the sources that were looked for: empty, or a path that ends in ``/``.
    """

    folder: str
    under: str


@dataclass
class Found:
    """What was found.

    Attributes
    ----------
    files : list of FoundFile
        In the order of their names, folder by folder.
    scopes : list of Scope
        Folders that were looked through.
    ignored : dict of str to int
        Files that are no documents, by ending.
    unreadable : dict of str to str
        Folders that could not be looked into, by the beginning of their sources, and why.
    """

    files: list[FoundFile] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)


def find_documents(
    paths: str | Path | Sequence[str | Path], *, root: str | Path | None = None, without: Path | None = None
) -> Found:
    """Find the documents among files and in folders, those further down included.

    Names that begin with a dot, ``__pycache__``, ``node_modules`` and folders of collections are passed over; links to
    folders are not followed.

    Parameters
    ----------
    paths : str, Path or sequence of such
        Files and folders.
    root : str or Path, optional
        Folder that sources are named relative to; default: each given folder, and for a file the folder it lies in.
    without : Path, optional
        A folder to pass over.

    Returns
    -------
    Found
        Files, folders looked through, and what was ignored.

    Raises
    ------
    NotFoundError
        A path where nothing is.
    InputError
        A file that was named and is no document, a path outside ``root``, or two files of one name and folder.
    """
    if not isinstance(paths, (str, os.PathLike, Iterable)):
        raise InputError(
            message(f"paths of type {type(paths).__name__}", "files and folders", "pass a path, or a list")
        )
    given = [paths] if isinstance(paths, (str, bytes, os.PathLike)) else list(paths)
    if not given:
        raise InputError(message("no path", "at least one file or folder", "name one"))
    found, ignored = Found(), Counter[str]()
    for one in (check_path(path, name="paths") for path in given):
        path = _resolved(one)
        if path is None or not path.exists():
            raise NotFoundError(message(f"nothing at {one}", "a file or a folder", "check the path"))
        base = _base(path, root)
        if path.is_dir():
            under = "" if path == base else path.relative_to(base).as_posix() + "/"
            found.scopes.append(Scope(base.name, under))
            found.files += _walk(path, base, ignored, without, found.unreadable)
        elif (kind := kind_of(path)) is None:
            raise InputError(
                message(
                    f"{one}, whose ending is unknown",
                    f"one of {', '.join(sorted(SUFFIXES))}",
                    "rename it, or use add for records in .jsonl, .csv and the like",
                )
            )
        else:
            found.files.append(FoundFile(path, base.name, path.relative_to(base).as_posix(), kind))
    found.ignored = dict(ignored.most_common())
    found.files = _distinct(found.files)
    return found


def _resolved(path: Path) -> Path | None:
    """Follow links; None where they lead back to where they began."""
    try:
        return path.resolve()
    except RuntimeError:
        return None


def _base(path: Path, root: str | Path | None) -> Path:
    base = (path if path.is_dir() else path.parent) if root is None else check_path(root, name="root").resolve()
    if not path.is_relative_to(base):
        raise InputError(message(f"{path} outside root {root}", "paths below the root", "choose a root above it"))
    return base


def _walk(
    folder: Path, base: Path, ignored: Counter[str], without: Path | None, unreadable: dict[str, str]
) -> list[FoundFile]:
    out = []

    def note(error: OSError) -> None:
        # What cannot be looked into is not empty: its documents would be taken for gone, and pruned.
        place = Path(error.filename)
        source = "" if place == base else place.relative_to(base).as_posix() + "/"
        given = f"{place}, which cannot be looked into ({error.strerror})"
        unreadable[source] = message(given, "a readable folder", "check its permissions")

    for here, folders, names in os.walk(folder, onerror=note):
        place = Path(here)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _PASSED_OVER)
        if _COLLECTION_FILE in names or (without is not None and place == without):
            folders.clear()
            continue
        for name in sorted(names):
            path = place / name
            kind = kind_of(path)
            # Pipes and devices may never end.
            if name.startswith(".") or not _may_be_file(path):
                continue
            if kind is None:
                ignored[path.suffix.lower() or "no ending"] += 1
            else:
                out.append(FoundFile(path, base.name, path.relative_to(base).as_posix(), kind))
    return out


def _may_be_file(path: Path) -> bool:
    """Whether a path is a file, or cannot be asked; reading it then says why."""
    try:
        return path.is_file()
    except OSError:
        return True


def _distinct(files: list[FoundFile]) -> list[FoundFile]:
    """Drop files that were named twice, and refuse two that would share a name."""
    held: dict[tuple[str, str], FoundFile] = {}
    for file in files:
        other = held.setdefault((file.folder, file.source), file)
        if other.path != file.path:
            raise InputError(
                message(
                    f"{other.path} and {file.path}, both {file.source!r} of a folder named {file.folder!r}",
                    "one document per name",
                    "add them in two calls with a prefix each, or pass root=",
                )
            )
    return list(held.values())
