"""Graph files: links and codes of one space as of one generation, rebuildable from the segments at any time.

A graph lies in ``derived/graph.SPACE.GENERATION``, written aside, checksummed and renamed. It covers the rows below a
watermark that were live then; what was written since is scanned, what was deleted since is masked, so an older graph
stays of use. Vectors are not in it: they are read from the segments.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthant.collection.spaces import SpaceDefinition
from orthant.collection.storage.files import SHORTAGES, FileLayer, remove_folder, size_and_crc
from orthant.errors import OrthantError, StoreCorruptedError, message
from orthant.threads import Turn

__all__ = [
    "SpaceGraph",
    "adopt",
    "code_class",
    "damaged",
    "graph_class",
    "keep_only",
    "newest",
    "remove_stale",
    "save",
    "set_class",
]

SETS = "maxsim:"
"""How names of codes of token sets begin."""

_FORMAT = 1
_MANIFEST = "manifest.json"
_LINKS = "links"
_NAME = re.compile(r"graph\.(.+)\.([0-9]{12,18})")

# Gives (numbers of the segments, their blocks) for an attachment.
_Blocks = Callable[[], tuple[frozenset[int], Sequence[tuple[Any, ...]]]]


def graph_class() -> Any:
    """Return the class of the graphs; most collections are too small for one, and its kernels take time to load.

    Returns
    -------
    type
        ``orthant.index.Graph``.
    """
    from orthant.index.graph import Graph

    return Graph


def code_class() -> Any:
    """Return the class of what holds the codes of a compressed space.

    Returns
    -------
    type
        ``orthant.index.CodeIndex``.
    """
    from orthant.index.codes import CodeIndex

    return CodeIndex


def set_class() -> Any:
    """Return the class of what proposes candidates in a space of tokens.

    Returns
    -------
    type
        ``orthant.index.multivector.attached.SetCodes``.
    """
    from orthant.index.multivector.attached import SetCodes

    return SetCodes


class _Attachment:
    """The loaded graph of one file, shared by every generation that uses the file."""

    def __init__(self) -> None:
        self.lock = Turn()
        self.index: Any = None
        self.segments: frozenset[int] = frozenset()
        self.problem: str | None = None


@dataclass(frozen=True)
class SpaceGraph:
    """One graph file of a space; loaded and verified at its first use.

    Attributes
    ----------
    folder : Path
        Where it lies.
    number : int
        The generation it was made of.
    below : int
        Every live row below it that has a vector is in the graph.
    rows : int
        Rows in the graph.
    calibrated_rows : int
        Rows it had when its recall was last measured.
    bytes : int
        Size on disk.
    codes : str or None
        Name of the codes, where the file holds these and no graph.
    """

    folder: Path
    number: int
    below: int
    rows: int
    calibrated_rows: int
    bytes: int
    codes: str | None = None
    files: dict[str, tuple[int, int]] = field(default_factory=dict, repr=False)
    _attachment: _Attachment = field(default_factory=_Attachment, repr=False, compare=False)

    @property
    def problem(self) -> str | None:
        """Why the file could not be used, once that was tried; None while nothing is known against it."""
        return self._attachment.problem

    def index(self, segments: frozenset[int], blocks: _Blocks) -> Any | None:
        """Return the graph over the space's vectors, or None when the file is not what was saved.

        Parameters
        ----------
        segments : frozenset of int
            Numbers of the space's segments now.
        blocks : callable
            Gives segment numbers and blocks for ``Graph.attach``; called when the graph must be (re-)attached, that is
            at the first use and after a compaction has replaced a segment.

        Returns
        -------
        Graph or None
            Shared by all searches. None sends the search to the scan; the writer builds the graph anew.
        """
        here = self._attachment
        with here.lock:
            if here.index is not None and here.segments <= segments:
                return here.index
            if here.problem is not None:
                return here.index
            # Damage to vectors is not the graph's: it is raised, as a scan would raise it.
            numbers, parts = blocks()
            try:
                self.verify()
                held = graph_class() if self.codes is None else code_class()
                if self.codes is not None and self.codes.startswith(SETS):
                    held = set_class()
                index = held.attach(self.folder / _LINKS, parts)
                # Rows that a compaction took the vectors of are missing: they are dead.
                if len(index) > self.rows:
                    raise _damaged(self.folder, f"{len(index)} rows where {self.rows} were saved")
            except (OrthantError, OSError) as error:
                if getattr(error, "errno", None) in SHORTAGES:
                    # Nothing is wrong with the file: this generation scans, and the next one tries again.
                    return here.index
                # A graph attached earlier holds the maps of its segments: it stays right though its files are gone.
                here.problem = str(error)
                return here.index
            here.index, here.segments = index, numbers
            return index

    def verify(self) -> None:
        """Compare every byte with its checksum.

        Raises
        ------
        StoreCorruptedError
            A file is missing, cut, longer or changed.
        """
        found = {file.relative_to(self.folder).as_posix(): file for file in _files_in(self.folder)}
        found.pop(_MANIFEST, None)
        if found.keys() != self.files.keys():
            raise _damaged(self.folder, f"files {sorted(found)} where {sorted(self.files)} were saved")
        for name, wanted in self.files.items():
            if size_and_crc(found[name]) != wanted:
                raise _damaged(found[name], "other bytes than were saved")


def _root(path: Path) -> Path:
    return path / "derived"


def _folders(path: Path) -> list[tuple[str, int, Path]]:
    root = _root(path)
    if not root.is_dir():
        return []
    named = ((_NAME.fullmatch(entry.name), entry) for entry in root.iterdir())
    found = [(name[1], int(name[2]), entry) for name, entry in named if name is not None]
    return sorted(found, key=lambda item: item[1], reverse=True)


def newest(
    path: Path,
    space: SpaceDefinition,
    *,
    at_least: int,
    at_most: int,
    known: SpaceGraph | None,
    codes: str | None = None,
) -> SpaceGraph | None:
    """Return the newest graph of a space that a generation may use.

    Parameters
    ----------
    path : Path
        The collection's folder.
    space : SpaceDefinition
        The space.
    at_least : int
        The last generation that went back to a snapshot: an earlier graph may lack rows that came back.
    at_most : int
        The generation; a later graph may lack rows that it still has.
    known : SpaceGraph or None
        What is in use; kept when there is nothing newer.
    codes : str, optional
        Codes that are wanted; files with others, or with a graph where codes are wanted, are passed over.

    Returns
    -------
    SpaceGraph or None
        Its manifest is sound; its files are verified at the first use. A damaged manifest is passed over.
    """
    if known is not None and (known.number < at_least or known.codes != codes):
        known = None
    least = at_least - 1 if known is None else known.number
    for name, number, folder in _folders(path):
        if name == space.place and least < number <= at_most:
            try:
                found = _describe(folder, number, space)
                if found.codes == codes:
                    return found
            except (OrthantError, OSError):
                # Derived: the writer makes it anew, and `check` reports the damage.
                continue
    return known


def _describe(folder: Path, number: int, space: SpaceDefinition) -> SpaceGraph:
    try:
        record = json.loads((folder / _MANIFEST).read_text())
        crc = record.pop("crc")
        files = {name: (int(size), int(check)) for name, (size, check) in record["files"].items()}
        told = (record["format"], record["space"], record["dim"], record["metric"], record["generation"])
        sound = crc == _manifest_crc(record) and told == (_FORMAT, space.place, space.dim, space.metric, number)
        counts = (record["below"], record["rows"], record["calibrated_rows"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(folder / _MANIFEST, "no manifest") from error
    if not sound:
        raise _damaged(folder / _MANIFEST, "a wrong checksum, or the manifest of another space")
    total = sum(size for size, _ in files.values())
    return SpaceGraph(folder, number, *counts, total, record.get("codes"), files)


def save(
    path: Path,
    space: SpaceDefinition,
    index: Any,
    *,
    number: int,
    below: int,
    calibrated_rows: int,
    files: FileLayer,
    codes: str | None = None,
) -> SpaceGraph:
    """Save a graph's links and codes; durable on return.

    Parameters
    ----------
    path : Path
        The collection's folder.
    space : SpaceDefinition
        The space.
    index : Graph
        What to save.
    number : int
        The generation it was made of.
    below : int
        Watermark of its rows.
    calibrated_rows : int
        Rows it had when it was last calibrated.
    files : FileLayer
        How the final rename is done.
    codes : str, optional
        Name of the codes, where it is these.

    Returns
    -------
    SpaceGraph
        The saved file.
    """
    target = _root(path) / f"graph.{space.place}.{number:012d}"
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    remove_folder(target)
    files.make_folder(fresh)
    index.save_links(fresh / _LINKS)
    parts = {file.relative_to(fresh).as_posix(): size_and_crc(file) for file in _files_in(fresh)}
    record = {
        "format": _FORMAT,
        "space": space.place,
        "dim": space.dim,
        "metric": space.metric,
        "generation": number,
        "below": below,
        "rows": len(index),
        "calibrated_rows": calibrated_rows,
        "files": parts,
        **({} if codes is None else {"codes": codes}),
    }
    record = json.loads(json.dumps(record))
    (fresh / _MANIFEST).write_text(json.dumps({**record, "crc": _manifest_crc(record)}))
    # As for the other derived files: whatever a power cut leaves, the manifest's checksums tell.
    files.sync(_files_in(fresh))
    for base, _, _ in os.walk(fresh):
        files.sync_folder(Path(base))
    files.replace(fresh, target)
    files.sync_folder(_root(path))
    return _describe(target, number, space)


def adopt(path: Path, space: SpaceDefinition, graph: SpaceGraph, *, number: int, files: FileLayer) -> SpaceGraph:
    """Take over a graph of the same rows from another folder, without copying it where the file system can.

    Parameters
    ----------
    path : Path
        The collection's folder.
    space : SpaceDefinition
        The space.
    graph : SpaceGraph
        Of a generation that had the live rows of ``number``, and perhaps more.
    number : int
        The generation it is to serve from.
    files : FileLayer
        How files are made.

    Returns
    -------
    SpaceGraph
        The new file.
    """
    target = _root(path) / f"graph.{space.place}.{number:012d}"
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    remove_folder(target)
    for name in graph.files:
        files.make_folder((fresh / name).parent)
        files.link(graph.folder / name, fresh / name)
    record = json.loads((graph.folder / _MANIFEST).read_text())
    record = {**record, "generation": number}
    del record["crc"]
    (fresh / _MANIFEST).write_text(json.dumps({**record, "crc": _manifest_crc(record)}))
    files.sync([fresh / _MANIFEST])
    for base, _, _ in os.walk(fresh):
        files.sync_folder(Path(base))
    files.replace(fresh, target)
    files.sync_folder(_root(path))
    return _describe(target, number, space)


def keep_only(path: Path, space: str, number: int) -> None:
    """Delete a space's graphs of other generations.

    Parameters
    ----------
    path : Path
        The collection's folder.
    space : str
        Place of the space.
    number : int
        The generation to keep; -1 keeps none.
    """
    for name, other, folder in _folders(path):
        if name == space and other != number:
            remove_folder(folder)


def remove_stale(path: Path, used: Mapping[str, int]) -> list[str]:
    """Delete graphs that no space uses: older, damaged, of a generation that never came to be or that a log lost.

    Parameters
    ----------
    path : Path
        The collection's folder.
    used : mapping of str to int
        The generation of each space's graph.

    Returns
    -------
    list of str
        What was done, one line each.
    """
    done = []
    for name, number, folder in _folders(path):
        if used.get(name) != number:
            remove_folder(folder)
            done.append(f"removed derived/{folder.name}: no graph in use")
    return done


def damaged(path: Path, spaces: Iterable[SpaceDefinition]) -> list[tuple[SpaceDefinition, Path, str]]:
    """Return the graph files that are not what was saved.

    Parameters
    ----------
    path : Path
        The collection's folder.
    spaces : iterable of SpaceDefinition
        The committed spaces.

    Returns
    -------
    list of (SpaceDefinition, Path, str)
        Space, folder and what is wrong; empty when all are sound.
    """
    known = {space.place: space for space in spaces}
    out = []
    for name, number, folder in _folders(path):
        if name in known:
            try:
                _describe(folder, number, known[name]).verify()
            except (OrthantError, OSError) as error:
                out.append((known[name], folder, str(error)))
    return out


def _files_in(folder: Path) -> list[Path]:
    return sorted(Path(base) / name for base, _, names in os.walk(folder) for name in names)


def _manifest_crc(record: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(record, sort_keys=True).encode())


def _damaged(path: Path, what: str) -> StoreCorruptedError:
    return StoreCorruptedError(
        message(
            f"a graph file {path.name} with {what}",
            "what was saved",
            "nothing: searches scan, and the writer builds it anew; `orthant check --repair` does it now",
        )
    )
