"""A flat index on disk: raw vectors, raw ids, and one header that names and checks them.

The header is replaced last, so a folder holds the old index or the new one, never a mixture. File names are relative.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreVersionError, message
from orthant.types import FloatArray, IdArray, Metric
from orthant.validate import check_metric

__all__ = ["FORMAT", "SavedFlat", "read_flat", "write_flat"]

FORMAT = 1
_KIND = "index.flat"
_HEADER = "flat.json"
_CRC_BLOCK = 1 << 20
_MOST_DIM = 1 << 31


@dataclass(frozen=True)
class SavedFlat:
    """What a folder holds.

    Attributes
    ----------
    matrix : ndarray of shape (n, dim), float32
        Vectors; read-only when mapped.
    ids : ndarray of shape (n,), int64
        Ids.
    dim : int
        Dimension.
    metric : str
        Score.
    next_id : int
        First id that automatic numbering gives next.
    """

    matrix: FloatArray
    ids: IdArray
    dim: int
    metric: Metric
    next_id: int


def write_flat(
    path: str | Path, *, vectors: Iterable[FloatArray], ids: IdArray, dim: int, metric: Metric, next_id: int
) -> None:
    """Write an index to a folder.

    Parameters
    ----------
    path : str or Path
        Folder; created if missing, its earlier index replaced in one step.
    vectors : iterable of ndarray of shape (m, dim), float32
        The rows in order, in parts.
    ids : ndarray of shape (n,), int64
        Their ids.
    dim : int
        Dimension.
    metric : {"dot", "cosine", "l2"}
        Score.
    next_id : int
        First id that automatic numbering gives next.

    Raises
    ------
    InputError
        The path is a file.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise InputError(message(f"{folder}, a file", "a folder", "choose a folder to save to"))
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "vectors": _write_stream(folder, "vectors", (v.astype("<f4", copy=False) for v in vectors)),
        "ids": _write_stream(folder, "ids", [ids.astype("<i8", copy=False)]),
    }
    body = {
        "kind": _KIND,
        "format": FORMAT,
        "minimum_reader": FORMAT,
        "dim": dim,
        "metric": metric,
        "count": len(ids),
        "next_id": next_id,
        "files": files,
    }
    record = {"body": body, "sha256": _digest(body)}
    write_bytes_atomically(folder / _HEADER, json.dumps(record, separators=(",", ":"), sort_keys=True).encode())
    _sync_folder(folder)
    kept = {str(entry["name"]) for entry in files.values()}
    for stale in [*folder.glob("vectors-*.bin"), *folder.glob("ids-*.bin")]:
        if stale.name not in kept:
            # Windows refuses while a reader maps the old file; the next save tries again.
            with contextlib.suppress(PermissionError, FileNotFoundError):
                stale.unlink()


def read_flat(path: str | Path, *, mmap: bool) -> SavedFlat:
    """Read an index from a folder and verify every byte of it.

    Parameters
    ----------
    path : str or Path
        A folder that ``write_flat`` made.
    mmap : bool
        Map the vectors instead of copying them into memory.

    Returns
    -------
    SavedFlat
        The content.

    Raises
    ------
    NotFoundError
        No index there.
    StoreCorruptedError
        A file is missing, cut or changed; the text names it and, where known, the block.
    StoreVersionError
        A newer release wrote it.
    """
    folder = Path(path)
    body = _read_header(folder / _HEADER)
    try:
        dim, count, next_id = (int(body[name]) for name in ("dim", "count", "next_id"))
        metric = check_metric(body["metric"])
        files = {key: body["files"][key] for key in ("vectors", "ids")}
        paths = {key: folder / Path(str(entry["name"])).name for key, entry in files.items()}
        sizes = {"vectors": count * dim * 4, "ids": count * 8}
        if dim < 1 or count < 0 or dim > _MOST_DIM or any(files[key]["bytes"] != sizes[key] for key in files):
            raise ValueError("sizes disagree")
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / _HEADER, "fields that do not fit together") from error
    for key, entry in files.items():
        _verify(paths[key], entry)
    if count == 0:
        # An empty file cannot be mapped.
        return SavedFlat(np.zeros((0, dim), np.float32), np.zeros(0, np.int64), dim, metric, next_id)
    ids = np.fromfile(paths["ids"], dtype="<i8").astype(np.int64, copy=False)
    if mmap:
        matrix = np.asarray(np.memmap(paths["vectors"], dtype="<f4", mode="r", shape=(count, dim)))
    else:
        matrix = np.fromfile(paths["vectors"], dtype="<f4").astype(np.float32, copy=False).reshape(count, dim)
    return SavedFlat(matrix, ids, dim, metric, next_id)


def _write_stream(folder: Path, stem: str, parts: Iterable[np.ndarray[Any, Any]]) -> dict[str, Any]:
    temporary = folder / f".{stem}.{os.getpid()}.tmp"
    crcs: list[int] = []
    pending = bytearray()
    size = 0
    with open(temporary, "wb") as handle:
        for part in parts:
            data = np.ascontiguousarray(part).tobytes()
            handle.write(data)
            size += len(data)
            pending += data
            while len(pending) >= _CRC_BLOCK:
                crcs.append(zlib.crc32(pending[:_CRC_BLOCK]))
                del pending[:_CRC_BLOCK]
        if pending:
            crcs.append(zlib.crc32(pending))
        handle.flush()
        os.fsync(handle.fileno())
    # Named by content: a save never overwrites a file that the header in place still needs.
    name = f"{stem}-{hashlib.sha256(repr((size, crcs)).encode()).hexdigest()[:16]}.bin"
    os.replace(temporary, folder / name)
    return {"name": name, "bytes": size, "crc32": crcs}


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def _read_header(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            message(f"no flat index at {path.parent}", f"a folder with {_HEADER}", "check the path")
        ) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "text that is not JSON") from error
    body = record.get("body") if isinstance(record, dict) else None
    if not isinstance(body, dict) or record.get("sha256") != _digest(body):
        raise _damaged(path, "a wrong checksum")
    reader = body.get("minimum_reader")
    if not isinstance(reader, int) or body.get("kind") != _KIND:
        raise _damaged(path, f"kind {body.get('kind')!r}")
    if reader > FORMAT:
        raise StoreVersionError(
            message(
                f"{path} of format {body.get('format')}",
                f"at most {FORMAT}",
                f"use a release that reads format {reader}",
            )
        )
    return body


def _verify(path: Path, entry: dict[str, Any]) -> None:
    if not path.is_file():
        raise _damaged(path, "no such file")
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise _damaged(path, f"{size} bytes instead of {entry['bytes']}")
    with open(path, "rb") as handle:
        for number, expected in enumerate(entry["crc32"]):
            if zlib.crc32(handle.read(_CRC_BLOCK)) != expected:
                raise _damaged(path, f"a wrong checksum in block {number} (of {_CRC_BLOCK} bytes)")


def _damaged(path: Path, what: str) -> StoreCorruptedError:
    return StoreCorruptedError(
        message(
            f"{path} with {what}",
            "the bytes that were saved",
            "restore the folder from a copy or build the index again",
        )
    )
