"""Arrays in a folder behind one header that names and checks them.

The header is replaced last, so a folder holds the old arrays or the new ones, never a mixture. File names are relative.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

from orthant.artifact import aside_name, sync_folder, write_bytes_atomically
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreError, StoreVersionError, message

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "damaged",
    "listed_files",
    "map_array",
    "read_header",
    "remove_beside",
    "settled",
    "verify_file",
    "write_arrays",
    "write_beside",
]

P = ParamSpec("P")
T = TypeVar("T")

CRC_BLOCK = 1 << 20
"""Bytes that one checksum covers."""


def write_arrays(
    path: str | Path,
    *,
    header: str,
    kind: str,
    version: int,
    body: Mapping[str, Any],
    arrays: Mapping[str, Iterable[np.ndarray[Any, Any]]],
) -> None:
    """Write arrays to a folder and replace what it held in one step.

    Parameters
    ----------
    path : str or Path
        Folder; created if missing.
    header : str
        File name of the header.
    kind : str
        What the folder holds, checked on reading.
    version : int
        Format, and the lowest that reads it.
    body : mapping
        JSON-serialisable settings; ``kind``, ``format``, ``minimum_reader`` and ``files`` are added.
    arrays : mapping of str to iterable of ndarray
        Each array in parts of any shape, little-endian, written one behind the other.

    Raises
    ------
    InputError
        The path is a file.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(message(f"{folder}, a file", "a folder", "choose a folder to save to"))
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        _replace(folder, header, {"kind": kind, "format": version, "minimum_reader": version, **body}, arrays)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one thread of all processes write to a folder at a time: who removes old files must know all new ones."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # Where a file system has no such locks, writers are trusted to be one.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _replace(
    folder: Path, header: str, body: dict[str, Any], arrays: Mapping[str, Iterable[np.ndarray[Any, Any]]]
) -> None:
    files = {name: _write_stream(folder, name, parts) for name, parts in arrays.items()}
    whole = {**body, "files": files}
    record = {"body": whole, "sha256": _digest(whole)}
    write_bytes_atomically(folder / header, json.dumps(record, separators=(",", ":"), sort_keys=True).encode())
    sync_folder(folder)
    kept = {str(entry["name"]) for entry in files.values()}
    for stale in list(folder.glob("*-*.bin")):
        if stale.name not in kept:
            # Windows refuses while a reader maps the old file; the next save tries again.
            with contextlib.suppress(PermissionError, FileNotFoundError):
                stale.unlink()


def _write_stream(folder: Path, stem: str, parts: Iterable[np.ndarray[Any, Any]]) -> dict[str, Any]:
    temporary = folder / aside_name(stem)
    try:
        size, crcs = _written(temporary, parts)
        # Named by content: a save never overwrites a file that the header in place still needs.
        name = f"{stem}-{hashlib.sha256(repr((size, crcs)).encode()).hexdigest()[:16]}.bin"
        os.replace(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    return {"name": name, "bytes": size, "crc32": crcs}


def _written(file: Path, parts: Iterable[np.ndarray[Any, Any]]) -> tuple[int, list[int]]:
    crcs: list[int] = []
    pending = bytearray()
    size = 0
    with open(file, "wb") as handle:
        for part in parts:
            data = np.ascontiguousarray(part).tobytes()
            handle.write(data)
            size += len(data)
            pending += data
            done = len(pending) - len(pending) % CRC_BLOCK
            crcs += [zlib.crc32(pending[a : a + CRC_BLOCK]) for a in range(0, done, CRC_BLOCK)]
            del pending[:done]
        if pending:
            crcs.append(zlib.crc32(pending))
        handle.flush()
        os.fsync(handle.fileno())
    return size, crcs


def write_beside(folder: Path, stem: str, save: Callable[[Path], object]) -> str:
    """Write a folder within one of arrays under a name by its content, which the header that comes later names.

    Parameters
    ----------
    folder : Path
        The folder of arrays; created if missing.
    stem : str
        What the name begins with.
    save : callable of Path
        Writes to a folder that does not exist.

    Returns
    -------
    str
        The name. A folder that the header in place names is never touched, so a save that dies leaves the old state.
    """
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / aside_name(stem)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        save(aside)
        digest = hashlib.sha256()
        for file in sorted(path for path in aside.rglob("*") if path.is_file()):
            data = file.read_bytes()
            digest.update(f"{file.relative_to(aside).as_posix()}\0{len(data)}\0".encode() + data)
        name = f"{stem}-{digest.hexdigest()[:16]}"
        try:
            os.rename(aside, folder / name)
        except OSError:
            # Another save of the same content may have come before.
            if not (folder / name).is_dir():
                raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return name


def remove_beside(folder: Path, stems: Iterable[str], kept: Iterable[str]) -> None:
    """Remove what `write_beside` wrote before and the header names no more.

    Parameters
    ----------
    folder : Path
        The folder of arrays.
    stems, kept : iterable of str
        What the names begin with, and those that stay.
    """
    names = set(kept)
    for stem in stems:
        for found in (folder / stem, *folder.glob(f"{stem}-*")):
            if found.name not in names and found.is_dir():
                shutil.rmtree(found, ignore_errors=True)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def read_header(path: Path, *, kind: str, version: int) -> dict[str, Any]:
    """Read and check a header.

    Parameters
    ----------
    path : Path
        The header file.
    kind : str
        What it must describe.
    version : int
        Newest format that is understood.

    Returns
    -------
    dict
        The body given to ``write_arrays``, with ``files``.

    Raises
    ------
    NotFoundError
        No header there.
    StoreCorruptedError
        It is damaged or describes something else.
    StoreVersionError
        A newer release wrote it.
    """
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            message(f"no {kind} at {path.parent}", f"a folder with {path.name}", "check the path")
        ) from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, "text that is not JSON") from error
    body = record.get("body") if isinstance(record, dict) else None
    if not isinstance(body, dict) or record.get("sha256") != _digest(body):
        raise damaged(path, "a wrong checksum")
    reader = body.get("minimum_reader")
    if not isinstance(reader, int) or body.get("kind") != kind:
        raise damaged(path, f"kind {body.get('kind')!r}")
    if reader > version:
        raise StoreVersionError(
            message(
                f"{path} of format {body.get('format')}",
                f"at most {version}",
                f"use a release that reads format {reader}",
            )
        )
    return body


def settled(*headers: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function that reads a folder begin again where the folder was saved to meanwhile.

    Parameters
    ----------
    *headers : str
        Files of the folder, whose path is the function's first argument, one of which every save replaces.

    Returns
    -------
    callable
        A decorator. What is raised while the headers stay as they are is raised.
    """

    def decorate(read: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(read)
        def reading(*args: P.args, **kwargs: P.kwargs) -> T:
            while True:
                before = _stamps(Path(str(args[0])), headers)
                try:
                    return read(*args, **kwargs)
                except (StoreError, NotFoundError, OSError):
                    # A save takes the files away that the header before it names.
                    if _stamps(Path(str(args[0])), headers) == before:
                        raise

        return reading

    return decorate


def _stamps(folder: Path, headers: Iterable[str]) -> list[object]:
    out: list[object] = []
    for name in headers:
        try:
            found = (folder / name).stat()
        except OSError:
            out.append(None)
        else:
            out.append((found.st_ino, found.st_mtime_ns, found.st_size))
    return out


def listed_files(
    folder: Path, entries: Mapping[str, Any], sizes: Mapping[str, int]
) -> dict[str, tuple[Path, Mapping[str, Any]]]:
    """Return where files of a header lie, with their entries, once the sizes there are those of their arrays.

    Parameters
    ----------
    folder : Path
        The folder of the header.
    entries : mapping of str to mapping
        Its entries by role.
    sizes : mapping of str to int
        Bytes of each array that is read.

    Returns
    -------
    dict of str to (Path, mapping)
        By role, in the order of ``sizes``; the path never leaves the folder.

    Raises
    ------
    ValueError, KeyError, TypeError
        Another size, or no such entry; for the caller to report as damage of its header.
    """
    found = {role: (folder / Path(str(entries[role]["name"])).name, entries[role]) for role in sizes}
    if any(entry["bytes"] != sizes[role] for role, (_, entry) in found.items()):
        raise ValueError("sizes disagree")
    return found


def verify_file(path: Path, entry: Mapping[str, Any]) -> None:
    """Compare a file with its entry in the header, every byte of it.

    Parameters
    ----------
    path : Path
        The file.
    entry : mapping
        Its size and checksums.

    Raises
    ------
    StoreCorruptedError
        The file is missing, cut or changed; the text names the block.
    """
    if not path.is_file():
        raise damaged(path, "no such file")
    with open(path, "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        if size != entry["bytes"]:
            raise damaged(path, f"{size} bytes instead of {entry['bytes']}")
        for number, expected in enumerate(entry["crc32"]):
            if zlib.crc32(handle.read(CRC_BLOCK)) != expected:
                raise damaged(path, f"a wrong checksum in block {number} (of {CRC_BLOCK} bytes)")


def map_array(path: Path, dtype: str, shape: tuple[int, ...], *, mmap: bool) -> np.ndarray[Any, Any]:
    """Return a verified file as an array, mapped read-only or copied.

    Parameters
    ----------
    path : Path
        The file.
    dtype : str
        Little-endian dtype.
    shape : tuple of int
        Its shape.
    mmap : bool
        Map instead of copying.

    Returns
    -------
    ndarray
        The array.

    Raises
    ------
    ValueError
        The file is of another size.
    """
    wanted = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if min(shape, default=1) < 0 or path.stat().st_size != wanted:
        raise ValueError(f"{path.name} has another size than {wanted} bytes")
    # An empty file cannot be mapped.
    if mmap and all(shape):
        return np.asarray(np.memmap(path, dtype=dtype, mode="r", shape=shape))
    return np.fromfile(path, dtype=dtype).reshape(shape)


def damaged(path: Path, what: str) -> StoreCorruptedError:
    """Return the error for a damaged file.

    Parameters
    ----------
    path : Path
        The file.
    what : str
        What is wrong with it.

    Returns
    -------
    StoreCorruptedError
        To be raised.
    """
    return StoreCorruptedError(
        message(
            f"{path} with {what}",
            "the bytes that were saved",
            "restore the folder from a copy or build the index again",
        )
    )
