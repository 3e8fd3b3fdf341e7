"""An index of sets on disk: tokens, ids and codes behind one header; a graph and an encoding in folders beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.array_files import (
    damaged,
    map_array,
    read_header,
    remove_beside,
    settled,
    verify_file,
    write_arrays,
    write_beside,
)
from orthant.index.graph import Graph
from orthant.index.multivector.reduced import ReducedEncoding
from orthant.index.multivector.residual import Residual
from orthant.index.multivector.sets import Extras, Sets, make_block
from orthant.index.multivector.settings import METHODS, REDUCED_DIM, Settings
from orthant.index.multivector.stages import Coded, Linked, Pooling, Stage
from orthant.quantization.product import ProductQuantizer
from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding
from orthant.types import FloatArray, IdArray, Ragged

__all__ = ["FORMAT", "SavedCodes", "SavedSets", "read_codes", "read_sets", "write_sets"]

FORMAT = 3
"""Up to 2, what lies in folders beside the arrays had fixed names, and a save that died left neither state."""
_KIND = "index.multivector"
_CODES_KIND = "index.multivector.codes"
_HEADER = "multivector.json"
_GRAPH, _ENCODING, _REDUCED = "graph", "encoding", "reduced"
_PART_ROWS = 1024
_PLAIN = ("method", "exact_below", "codes", "reduced_dim", "block", "cells", "probes", "prune", "sample", "seed")


@dataclass(frozen=True)
class SavedSets:
    """What a folder holds.

    Attributes
    ----------
    sets : Sets
        Live sets in one block.
    stage : Stage or None
        Their stage.
    method : str
        Its name, or ``"exact"``.
    settings : Settings
        Parameters.
    next_id : int
        First automatic id.
    measured : tuple of (int, float)
        Recall by effort.
    """

    sets: Sets
    stage: Stage | None
    method: str
    settings: Settings
    next_id: int
    measured: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class SavedCodes:
    """What a folder without tokens holds.

    Attributes
    ----------
    ids : ndarray of shape (n,), int64
        Ascending.
    offsets : ndarray of shape (n + 1,), int64
        Where the tokens of each set begin among all of them.
    extras : mapping of str to ndarray
        Codes, mapped.
    stage : Stage or None
        Their stage.
    method : str
        Its name, or ``"exact"``.
    settings : Settings
        Parameters.
    dim : int
        Dimension of a token.
    measured : tuple of (int, float)
        Recall by effort.
    """

    ids: IdArray
    offsets: npt.NDArray[np.int64]
    extras: Extras
    stage: Stage | None
    method: str
    settings: Settings
    dim: int
    measured: tuple[tuple[int, float], ...]


def write_sets(
    path: str | Path,
    sets: Sets,
    stage: Stage | None,
    method: str,
    settings: Settings,
    *,
    next_id: int = 0,
    measured: tuple[tuple[int, float], ...] = (),
    tokens: bool = True,
) -> None:
    """Write an index to a folder.

    Parameters
    ----------
    path : str or Path
        Folder.
    sets : Sets
        The sets; live ones are written.
    stage : Stage or None
        Their stage.
    method : str
        Its name.
    settings : Settings
        Parameters.
    next_id : int, default 0
        First automatic id.
    measured : tuple of (int, float)
        Recall by effort.
    tokens : bool, default True
        False leaves the tokens out, which lie elsewhere, and orders what is written by id.

    Raises
    ------
    InputError
        The path is a file.
    """
    rows = sets.rows.alive_rows()
    if not tokens:
        rows = rows[np.argsort(sets.rows.ids_of(rows), kind="stable")]
    lengths = np.concatenate([np.zeros(0, np.int64), *(b.spans[:, 1] - b.spans[:, 0] for b in sets.blocks)])[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")
    arrays: dict[str, Any] = {"offsets": [offsets], "ids": [sets.rows.ids_of(rows).astype("<i8")]}
    if tokens:
        arrays["values"] = (sets.gathered(part).values.astype("<f4", copy=False) for part in _in_parts(rows))
    extras = {}
    for name in sets.names:
        like = sets.blocks[0].extras[name]
        extras[name] = [like.dtype.newbyteorder("<").str, *like.shape[1:]]
        arrays[name] = _kept(sets, name, rows)
    learned = _learned(stage)
    arrays |= {name: [array] for name, array in learned.items()}
    body = {
        "dim": sets.dim, "count": len(rows), "tokens": int(offsets[-1]), "next_id": next_id, "using": method,
        "settings": {name: getattr(settings, name) for name in _PLAIN},
        "encoding": None if settings.encoding is None else settings.encoding.get_params(),
        "measured": [list(pair) for pair in measured], "extras": extras,
        "learned": {name: list(array.shape) for name, array in learned.items()},
        "graph": isinstance(stage, Linked), "reduced": _reduced_of(stage) is not None,
    }  # fmt: skip
    folder = Path(path)
    beside = body["beside"] = {} if folder.is_file() else _write_beside(folder, stage)
    kind = _KIND if tokens else _CODES_KIND
    write_arrays(folder, header=_HEADER, kind=kind, version=FORMAT if beside else 2, body=body, arrays=arrays)
    remove_beside(folder, (_GRAPH, _ENCODING, _REDUCED), beside.values())


def _in_parts(rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(rows), _PART_ROWS):
        yield rows[start : start + _PART_ROWS]


def _kept(sets: Sets, name: str, rows: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[Any]]:
    # A function, so that each generator keeps the name that it was made with.
    for part in _in_parts(rows):
        yield sets.extra(name, part)


def _encoding_of(stage: Stage | None) -> FixedDimensionalEncoding | None:
    found = getattr(stage, "encoding", None)
    return found if isinstance(found, FixedDimensionalEncoding) else None


def _reduced_of(stage: Stage | None) -> ReducedEncoding | None:
    found = getattr(stage, "encoding", None)
    return found if isinstance(found, ReducedEncoding) else None


def _write_beside(folder: Path, stage: Stage | None) -> dict[str, str]:
    """Write what has folders of its own, and return the name of each."""
    graph = stage.graph if isinstance(stage, Linked) else None
    parts = {_GRAPH: graph, _ENCODING: _encoding_of(stage), _REDUCED: _reduced_of(stage)}
    return {name: write_beside(folder, name, part.save) for name, part in parts.items() if part is not None}


def _learned(stage: Stage | None) -> dict[str, FloatArray]:
    if isinstance(stage, Residual):
        return {"centroids": stage.centroids, "codebooks": stage.quantizer.codebooks_}
    return {"codebooks": stage.quantizer.codebooks_} if isinstance(stage, Coded) else {}


@settled(_HEADER)
def read_sets(path: str | Path, *, mmap: bool) -> SavedSets:
    """Read an index from a folder and verify every byte of it.

    Parameters
    ----------
    path : str or Path
        What ``write_sets`` wrote.
    mmap : bool
        Map tokens and codes in place of copying them.

    Returns
    -------
    SavedSets
        The content.

    Raises
    ------
    NotFoundError, StoreCorruptedError, StoreVersionError
        No index there, damage, or a newer release.
    """
    folder = Path(path)
    body = read_header(folder / _HEADER, kind=_KIND, version=FORMAT)
    try:
        return _read(folder, body, mmap)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise damaged(folder / _HEADER, "fields that do not fit together") from error


def read_codes(path: str | Path) -> SavedCodes:
    """Read what was written without tokens, and verify every byte of it.

    Parameters
    ----------
    path : str or Path
        What ``write_sets(tokens=False)`` wrote.

    Returns
    -------
    SavedCodes
        The content.

    Raises
    ------
    NotFoundError, StoreCorruptedError, StoreVersionError
        No codes there, damage, or a newer release.
    """
    folder = Path(path)
    body = read_header(folder / _HEADER, kind=_CODES_KIND, version=FORMAT)
    try:
        read = _arrays(folder, body, mmap=True, tokens=False)
        if (np.diff(read["ids"]) < 1).any():
            raise ValueError("ids that do not ascend")
        extras = {name: read[name] for name in body["extras"]}
        settings, method = _settings(body), str(body["using"])
        stage = _stage(folder, body, method, read, settings, read["ids"])
        told = (stage, method, settings, int(body["dim"]), _measured(body))
        return SavedCodes(read["ids"], read["offsets"], extras, *told)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise damaged(folder / _HEADER, "fields that do not fit together") from error


def _arrays(folder: Path, body: dict[str, Any], *, mmap: bool, tokens: bool) -> dict[str, Any]:
    """Return every array of a folder, verified, with ids and offsets as int64."""
    dim, count, total = (int(body[name]) for name in ("dim", "count", "tokens"))
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {"offsets": ("<i8", (count + 1,)), "ids": ("<i8", (count,))}
    if tokens:
        shapes["values"] = ("<f4", (total, dim))
    for name, (dtype, *shape) in body["extras"].items():
        shapes[name] = (str(dtype), (total if name.startswith("token") else count, *map(int, shape)))
    for name, shape in body["learned"].items():
        shapes[name] = ("<f4", tuple(int(size) for size in shape))
    read: dict[str, Any] = {}
    for name, (dtype, shape) in shapes.items():
        entry = body["files"][name]
        file = folder / Path(str(entry["name"])).name
        verify_file(file, entry)
        if int(entry["bytes"]) != np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64)):
            raise ValueError(f"{name} has another size")
        mapped = mmap and (name == "values" or name in body["extras"])
        read[name] = map_array(file, dtype, shape, mmap=mapped)
    for name in ("offsets", "ids"):
        read[name] = read[name].astype(np.int64, copy=False)
    offsets = read["offsets"]
    if offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 1).any():
        raise ValueError("offsets that do not cover the tokens")
    return read


def _settings(body: dict[str, Any]) -> Settings:
    # The first format knew of no reduction.
    saved = {"reduced_dim": REDUCED_DIM, **body["settings"]}
    encoding = None if body["encoding"] is None else FixedDimensionalEncoding(**body["encoding"])
    return Settings(encoding=encoding, **{name: saved[name] for name in _PLAIN})


def _measured(body: dict[str, Any]) -> tuple[tuple[int, float], ...]:
    return tuple((int(effort), float(recall)) for effort, recall in body["measured"])


def _read(folder: Path, body: dict[str, Any], mmap: bool) -> SavedSets:
    read = _arrays(folder, body, mmap=mmap, tokens=True)
    extras, ids = {name: read[name] for name in body["extras"]}, read["ids"]
    block = make_block(Ragged(read["values"], read["offsets"]), ids, extras, fixed=True)
    sets = Sets.of(int(body["dim"]), [block] if len(ids) else [])
    settings, method = _settings(body), str(body["using"])
    stage = _stage(folder, body, method, read, settings, ids)
    return SavedSets(sets, stage, method, settings, int(body["next_id"]), _measured(body))


def _stage(
    folder: Path, body: dict[str, Any], method: str, read: dict[str, Any], settings: Settings, ids: Any
) -> Stage | None:
    if method not in METHODS:
        raise ValueError(f"method {method!r}")
    if method == "exact":
        return None
    if method == "plaid":
        if int(read["token_cells"].max(initial=0)) >= len(read["centroids"]):
            raise ValueError("cells beyond the centroids")
        quantizer = ProductQuantizer.from_codebooks(read["codebooks"])
        return Residual(read["centroids"], quantizer, probes=settings.probes, prune=settings.prune)

    def beside(name: str) -> Path:
        return folder / Path(str(body.get("beside", {}).get(name, name))).name

    encoding: Any
    if method == "pooled":
        encoding = Pooling()
    elif body.get("reduced", False):
        encoding = ReducedEncoding.load(beside(_REDUCED))
    else:
        encoding = FixedDimensionalEncoding.load(beside(_ENCODING))
    if not body["graph"]:
        return Coded(encoding, ProductQuantizer.from_codebooks(read["codebooks"]))
    graph = Graph.load(beside(_GRAPH))
    if not np.array_equal(np.sort(graph.ids()), np.sort(ids)):
        # Saved apart up to format 2: whoever lost power between the two has a graph of other sets.
        raise ValueError("a graph of other sets")
    return Linked(encoding, graph)
