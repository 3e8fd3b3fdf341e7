"""A file layer that records what reaches the disk, and what a power cut may leave of it.

The layer's own operations are recorded one by one. SQLite writes by itself, so its two files are copied at every point
between operations; whatever it changed inside a commit counts as unsynced until the commit returns (synchronous=FULL).
Derived files are written by plain calls and recorded whole when they are synced.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orthant.collection.collection import Collection
from orthant.collection.storage.files import FileLayer

DATABASE, LOG = "store.sqlite", "store.sqlite-wal"


@dataclass(frozen=True)
class Operation:
    """One step: a call of the layer, a new content of SQLite's files, or a mark of the test."""

    kind: str
    path: str = ""
    offset: int = 0
    data: bytes = b""
    target: str = ""
    value: Any = None


class Recorder(FileLayer):
    """Carries out and records every operation on files below a root."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.log: list[Operation] = []
        self._seen: set[str] = set()
        self._sqlite: dict[str, bytes] = {}

    def name(self, path: Path) -> str:
        return path.absolute().relative_to(self.root).as_posix()

    def note(self) -> None:
        """Record what changed without a call of the layer: SQLite's files, and derived folders that went."""
        now = {name: (self.root / name).read_bytes() for name in (DATABASE, LOG) if (self.root / name).exists()}
        if now != self._sqlite:
            self._sqlite = now
            self.log.append(Operation("sqlite", value=now))
        for name in sorted(name for name in self._seen if name.startswith(("derived/", "snapshots/"))):
            if not (self.root / name).exists():
                self._seen.discard(name)
                self.log.append(Operation("remove", name))

    def mark(self, kind: str, value: Any = None) -> None:
        self.note()
        self.log.append(Operation(kind, value=value))

    def _record(self, operation: Operation) -> None:
        self.note()
        self.log.append(operation)

    def create(self, path: Path) -> None:
        super().create(path)
        self._seen.add(self.name(path))
        self._record(Operation("create", self.name(path)))

    def make_folder(self, path: Path) -> None:
        super().make_folder(path)
        self.note()

    def write_at(self, path: Path, offset: int, data: memoryview | bytes) -> None:
        super().write_at(path, offset, data)
        self._record(Operation("write", self.name(path), offset, bytes(data)))

    def truncate(self, path: Path, size: int) -> None:
        super().truncate(path, size)
        self._record(Operation("truncate", self.name(path), size))

    def sync(self, paths: Iterable[Path]) -> None:
        paths = list(paths)
        super().sync(paths)
        for path in paths:
            if self.name(path) not in self._seen:
                self._seen.add(self.name(path))
                self._record(Operation("create", self.name(path)))
                self._record(Operation("write", self.name(path), 0, path.read_bytes()))
            self._record(Operation("sync", self.name(path)))

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        if path.absolute().is_relative_to(self.root):
            self._record(Operation("sync_folder", self.name(path)))

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        old, new = self.name(source), self.name(target)
        self._seen = {new + name[len(old) :] if _inside(name, old) else name for name in self._seen}
        # Before the note, which would take the renamed files for removed or changed ones.
        self.log.append(Operation("replace", old, target=new))
        if new == DATABASE:
            self._sqlite = {DATABASE: target.read_bytes()}
        self.note()

    def link(self, source: Path, target: Path, *, size: int | None = None) -> bool:
        linked = super().link(source, target, size=size)
        name = self.name(target)
        self._seen.add(name)
        # The bytes were synced under the first name, or by the copy; only the new name may be lost.
        self._record(Operation("create", name))
        self._record(Operation("write", name, 0, target.read_bytes()))
        self._record(Operation("sync", name))
        return linked

    def remove(self, path: Path) -> bool:
        existed = path.exists()
        gone = super().remove(path)
        if existed:
            self._seen.discard(self.name(path))
            self._record(Operation("remove", self.name(path)))
        return gone


def _inside(name: str, folder: str) -> bool:
    return name == folder or name.startswith(folder + "/")


@contextmanager
def recorded(collection: Collection, recorder: Recorder) -> Iterator[Collection]:
    """Note SQLite's files right after every commit of a collection."""
    database = collection._store.database
    plain = database.writing

    @contextmanager
    def writing() -> Iterator[Any]:
        recorder.note()
        with plain() as connection:
            yield connection
        recorder.note()

    database.writing = writing
    yield collection


def unsynced(log: list[Operation]) -> list[int]:
    """Return the positions of operations that a power cut at the end of the log may undo."""
    lost: list[int] = []
    for i, operation in enumerate(log):
        if operation.kind in ("create", "write", "truncate", "replace", "remove"):
            lost.append(i)
        elif operation.kind == "sync":
            lost = [j for j in lost if not (log[j].kind in ("write", "truncate") and log[j].path == operation.path)]
        elif operation.kind == "sync_folder":
            lost = [j for j in lost if log[j].kind in ("write", "truncate") or _folder(log[j]) != operation.path]
    return lost


def _folder(operation: Operation) -> str:
    return Path(operation.target or operation.path).parent.as_posix()


def after_power_cut(log: list[Operation], lost: frozenset[int], *, torn: int | None = None) -> dict[str, bytes]:
    """Return the files that are left when some operations never reached the disk, and one only by half."""
    files: dict[str, bytearray] = {}
    for i, operation in enumerate(log):
        path = operation.path
        if operation.kind == "sqlite":
            for name in (DATABASE, LOG):
                files.pop(name, None)
            files.update({name: bytearray(data) for name, data in operation.value.items()})
        elif i in lost:
            continue
        elif operation.kind == "create":
            files[path] = bytearray()
        elif operation.kind == "write" and path in files:
            data = operation.data[: len(operation.data) // 2] if i == torn else operation.data
            end = operation.offset + len(data)
            files[path].extend(bytes(max(0, end - len(files[path]))))
            files[path][operation.offset : end] = data
        elif operation.kind == "truncate" and path in files:
            del files[path][operation.offset :]
        elif operation.kind == "replace":
            for name in [name for name in files if _inside(name, path)]:
                files[operation.target + name[len(path) :]] = files.pop(name)
        elif operation.kind == "remove":
            files.pop(path, None)
    return {name: bytes(data) for name, data in files.items()}


def torn_logs(before: bytes, now: bytes, *, page: int = 4096) -> Iterator[bytes]:
    """Yield what the write-ahead log may look like when the machine stops inside a commit."""
    if len(now) < 32:
        return
    frame = 24 + page
    same = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))
    frames = range(32, len(now), frame)
    first = max((begin for begin in frames if begin <= same), default=0)
    cuts = {
        0,
        1,
        31,
        first + 7,
        first + 24,
        first + 24 + page // 2,
        first + frame,
        len(now) - frame,
        len(now) - page // 2,
    }
    for cut in sorted({max(cut, same) for cut in cuts | {len(now) - 1} if cut < len(now)}):
        yield now[:cut] + before[cut:]


def write_state(folder: Path, files: dict[str, bytes]) -> Path:
    """Write a state's files to a fresh folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
