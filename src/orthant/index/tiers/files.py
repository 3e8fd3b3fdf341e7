"""A two-tier index in a folder: vectors, ids and codes as raw arrays, the quantizer beside them, one header."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import load_artifact
from orthant.errors import InputError, OrthantError, message
from orthant.index.array_files import damaged, map_array, read_header, verify_file, write_arrays
from orthant.index.tiers.light import Light
from orthant.index.tiers.row_files import DiskRows, RowFile
from orthant.types import FloatArray, IdArray
from orthant.validate import check_metric

__all__ = ["FORMAT", "Saved", "read_two_tier", "write_two_tier"]

FORMAT = 1
_KIND = "index.two_tier"
_HEADER = "two_tier.json"
_QUANTIZER = "quantizer-"


@dataclass(frozen=True)
class Saved:
    """What a folder holds.

    Attributes
    ----------
    state : Light
        The rows.
    body : dict
        The header.
    """

    state: Light
    body: dict[str, Any]


def write_two_tier(path: str | Path, state: Light, body: dict[str, Any]) -> None:
    """Write the live rows of an index to a folder, replacing what it held in one step.

    Parameters
    ----------
    path : str or Path
        Folder; created if missing.
    state : Light
        The rows.
    body : dict
        Settings, as JSON values.

    Raises
    ------
    InputError
        The path is a file, or a quantizer that cannot be saved.
    """
    folder = Path(path)
    rows = state.alive_rows()
    kept = _write_quantizer(folder, state.quantizer)

    def vectors() -> Iterator[FloatArray]:
        return (part.astype("<f4", copy=False) for _, part, _ in state.rows.chunks(rows))

    arrays: dict[str, Iterable[np.ndarray[Any, Any]]] = {
        "vectors": vectors(),
        "ids": [state.ids[rows].astype("<i8", copy=False)],
    }
    if state.quantizer is not None:
        arrays["codes"] = [state.codes[rows]]
    write_arrays(
        folder,
        header=_HEADER,
        kind=_KIND,
        version=FORMAT,
        body={**body, "count": len(rows), "code_size": state.codes.shape[1], "quantizer": kept},
        arrays=arrays,
    )
    for stale in folder.glob(f"{_QUANTIZER}*"):
        if kept is None or stale.name != kept["name"]:
            shutil.rmtree(stale, ignore_errors=True)


def _write_quantizer(folder: Path, quantizer: Any) -> dict[str, Any] | None:
    if quantizer is None:
        return None
    if not hasattr(quantizer, "save"):
        given = f"a {type(quantizer).__name__} without save"
        raise InputError(message(given, "a quantizer of orthant.quantization", "use one of them"))
    if folder.exists() and not folder.is_dir():
        raise InputError(message(f"{folder}, a file", "a folder", "choose a folder to save to"))
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".quantizer.{os.getpid()}.tmp"
    shutil.rmtree(aside, ignore_errors=True)
    quantizer.save(aside)
    files = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(aside.iterdir())}
    # Named by content: the one that the header in place needs is never touched.
    name = _QUANTIZER + hashlib.sha256(repr(files).encode()).hexdigest()[:16]
    if (folder / name).exists():
        shutil.rmtree(aside)
    else:
        os.replace(aside, folder / name)
    return {"name": name, "files": files}


def _read_quantizer(folder: Path, kept: dict[str, Any] | None) -> Any:
    if kept is None:
        return None
    home = folder / Path(str(kept["name"])).name
    for name, digest in kept["files"].items():
        file = home / Path(str(name)).name
        if not file.is_file():
            raise damaged(file, "no such file")
        if hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise damaged(file, "a wrong checksum")
    try:
        return load_artifact(home)
    except (OrthantError, KeyError, TypeError, ValueError) as error:
        raise damaged(home, f"a quantizer that cannot be read ({error})") from error


def read_two_tier(path: str | Path, *, mmap: bool, access: str, verify: bool) -> Saved:
    """Read an index from a folder; the vectors stay on disk.

    Parameters
    ----------
    path : str or Path
        A folder that ``write_two_tier`` made.
    mmap : bool
        Map the codes instead of copying them into memory.
    access : str
        How vectors are read.
    verify : bool
        Whether the vectors are read once to compare checksums; everything else always is.

    Returns
    -------
    Saved
        The content.

    Raises
    ------
    NotFoundError
        No index there.
    StoreCorruptedError
        A file is missing, cut or changed; the text names it.
    StoreVersionError
        A newer release wrote it.
    """
    folder = Path(path)
    body = read_header(folder / _HEADER, kind=_KIND, version=FORMAT)
    try:
        dim, count, size = (int(body[name]) for name in ("dim", "count", "code_size"))
        check_metric(body["metric"])
        kept = body["quantizer"]
        files = {key: body["files"][key] for key in ("vectors", "ids", *(() if kept is None else ("codes",)))}
        paths = {key: folder / Path(str(entry["name"])).name for key, entry in files.items()}
        sizes = {"vectors": count * dim * 4, "ids": count * 8, "codes": count * size}
        if dim < 1 or count < 0 or any(files[key]["bytes"] != sizes[key] for key in files):
            raise ValueError("sizes disagree")
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder / _HEADER, "fields that do not fit together") from error
    for key, entry in files.items():
        # A shortened entry has the size alone, which tells a file that was cut.
        verify_file(paths[key], entry if verify or key != "vectors" else {**entry, "crc32": []})
    quantizer = _read_quantizer(folder, kept)
    if quantizer is not None and int(quantizer.code_size) != size:
        raise damaged(folder / _HEADER, "codes of another quantizer")
    ids: IdArray = np.fromfile(paths["ids"], dtype="<i8").astype(np.int64, copy=False)
    codes = np.zeros((count, 0), dtype=np.uint8)
    if quantizer is not None:
        codes = map_array(paths["codes"], "u1", (count, size), mmap=mmap)
    empty = Light(DiskRows(dim), np.zeros(0, np.int64), codes[:0])
    parts = ((RowFile(paths["vectors"], dim, count, access=access), count),) if count else ()
    return Saved(Light(DiskRows(dim, parts), ids, codes, quantizer, None, empty.with_runs(ids)), body)
