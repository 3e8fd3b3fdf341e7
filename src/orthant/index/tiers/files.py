"""A two-tier index in a folder: vectors, ids and codes as raw arrays, the quantizer beside them, one header."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import load_artifact
from orthant.errors import InputError, OrthantError, message
from orthant.index.array_files import (
    damaged,
    listed_files,
    map_array,
    read_header,
    remove_beside,
    settled,
    verify_file,
    write_arrays,
    write_beside,
)
from orthant.index.blocks import IdRuns
from orthant.index.tiers.light import Light
from orthant.index.tiers.row_files import DiskRows, RowFile
from orthant.index.tiers.walking import CodeGraph
from orthant.index.vamana.files import plain, read_graph, settings_of, write_graph
from orthant.types import FloatArray, IdArray
from orthant.validate import check_metric

__all__ = ["FORMAT", "Saved", "read_two_tier", "write_two_tier"]

FORMAT = 1
_KIND = "index.two_tier"
_HEADER = "two_tier.json"
_QUANTIZER, _GRAPH = "quantizer", "graph"


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
    """Write an index to a folder, replacing what it held in one step: its live rows, or all that a graph has.

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
    if folder.exists() and not folder.is_dir():
        raise InputError(message(f"{folder}, a file", "a folder", "choose a folder to save to"))
    # The rows of a graph keep their numbers.
    rows = state.alive_rows() if state.graph is None else np.arange(len(state.ids))
    kept, links = _write_quantizer(folder, state.quantizer), _write_graph(folder, state.graph)

    def vectors() -> Iterator[FloatArray]:
        for part, values, _ in state.rows.chunks(rows):
            if state.graph is not None and state.live is not None:
                # What was removed is nobody's business any more.
                values[~state.live[part]] = 0
            yield values.astype("<f4", copy=False)

    arrays: dict[str, Iterable[np.ndarray[Any, Any]]] = {
        "vectors": vectors(),
        "ids": [state.ids[rows].astype("<i8", copy=False)],
    }
    if state.quantizer is not None:
        arrays["codes"] = [state.codes[rows]]
    if state.graph is not None:
        marks = np.ones(len(rows), np.uint8) if state.live is None else state.live.astype(np.uint8)
        arrays["live"] = [marks]
    write_arrays(
        folder,
        header=_HEADER,
        kind=_KIND,
        version=FORMAT,
        body={**body, "count": len(rows), "code_size": state.codes.shape[1], "quantizer": kept, "graph": links},
        arrays=arrays,
    )
    remove_beside(folder, (_QUANTIZER, _GRAPH), [entry["name"] for entry in (kept, links) if entry is not None])


def _write_quantizer(folder: Path, quantizer: Any) -> dict[str, Any] | None:
    if quantizer is None:
        return None
    if not hasattr(quantizer, "save"):
        given = f"a {type(quantizer).__name__} without save"
        raise InputError(message(given, "a quantizer of orthant.quantization", "use one of them"))
    files: dict[str, str] = {}

    def save(aside: Path) -> None:
        quantizer.save(aside)
        files.update({f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(aside.iterdir())})

    return {"name": write_beside(folder, _QUANTIZER, save), "files": files}


def _write_graph(folder: Path, graph: CodeGraph | None) -> dict[str, Any] | None:
    if graph is None:
        return None

    def save(aside: Path) -> None:
        write_graph(aside, graph.state, settings=plain(graph.settings), vectors=False)

    # Its header has the checksums of all else.
    return {"name": write_beside(folder, _GRAPH, save)}


def _read_walk(folder: Path, kept: dict[str, Any] | None, count: int, *, mmap: bool) -> CodeGraph | None:
    if kept is None:
        return None
    state, settings = read_graph(folder / Path(str(kept["name"])).name, mmap=mmap, vectors=False)
    if state.used != count or not np.array_equal(np.sort(state.ids), np.arange(count)):
        raise damaged(folder / _HEADER, "a graph of other rows")
    return CodeGraph(state, settings_of(settings))


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


@settled(_HEADER)
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
        sizes = {"vectors": count * dim * 4, "ids": count * 8}
        sizes |= {role: n for role, n in (("codes", count * size), ("live", count)) if role in body["files"]}
        files = listed_files(folder, body["files"], sizes)
        if dim < 1 or count < 0:
            raise ValueError("no such shape")
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder / _HEADER, "fields that do not fit together") from error
    for key, (file, entry) in files.items():
        # A shortened entry has the size alone, which tells a file that was cut.
        verify_file(file, entry if verify or key != "vectors" else {**entry, "crc32": []})
    paths = {key: file for key, (file, _) in files.items()}
    quantizer = _read_quantizer(folder, kept)
    if quantizer is not None and int(quantizer.code_size) != size:
        raise damaged(folder / _HEADER, "codes of another quantizer")
    ids: IdArray = np.fromfile(paths["ids"], dtype="<i8").astype(np.int64, copy=False)
    codes = np.zeros((count, 0), dtype=np.uint8)
    if quantizer is not None:
        codes = map_array(paths["codes"], "u1", (count, size), mmap=mmap)
    graph = _read_walk(folder, body.get("graph"), count, mmap=mmap)
    live = np.fromfile(paths["live"], dtype=np.uint8).astype(bool) if "live" in paths else None
    live = None if live is None or live.all() else live
    parts = ((RowFile(paths["vectors"], dim, count, access=access), count),) if count else ()
    return Saved(Light(DiskRows(dim, parts), ids, codes, quantizer, live, _runs(ids, live), graph), body)


def _runs(ids: IdArray, live: Any) -> IdRuns | None:
    """Return the lookup of saved rows: a removed one may have an id that was given again since."""
    if bool((ids[1:] > ids[:-1]).all()):
        return None
    rows = np.arange(len(ids)) if live is None else np.flatnonzero(live)
    return IdRuns().add(ids[rows], rows)
