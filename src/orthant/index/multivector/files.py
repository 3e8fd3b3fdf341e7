"""An index of sets on disk: tokens, ids and codes behind one header; a graph and an encoding in folders beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.array_files import damaged, map_array, read_header, verify_file, write_arrays
from orthant.index.graph import Graph
from orthant.index.multivector.residual import Residual
from orthant.index.multivector.sets import Sets, make_block
from orthant.index.multivector.settings import METHODS, Settings
from orthant.index.multivector.stages import Coded, Linked, Pooling, Stage
from orthant.quantization.product import ProductQuantizer
from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding
from orthant.types import FloatArray, Ragged

__all__ = ["FORMAT", "SavedSets", "read_sets", "write_sets"]

FORMAT = 1
_KIND = "index.multivector"
_HEADER = "multivector.json"
_GRAPH, _ENCODING = "graph", "encoding"
_PART_ROWS = 1024
_PLAIN = ("method", "exact_below", "codes", "block", "cells", "probes", "prune", "sample", "seed")


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


def write_sets(
    path: str | Path,
    sets: Sets,
    stage: Stage | None,
    method: str,
    settings: Settings,
    next_id: int,
    measured: tuple[tuple[int, float], ...],
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
    next_id : int
        First automatic id.
    measured : tuple of (int, float)
        Recall by effort.

    Raises
    ------
    InputError
        The path is a file.
    """
    rows = sets.rows.alive_rows()
    lengths = np.concatenate([np.zeros(0, np.int64), *(b.spans[:, 1] - b.spans[:, 0] for b in sets.blocks)])[rows]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype("<i8")
    arrays: dict[str, Any] = {
        "values": (sets.gathered(part).values.astype("<f4", copy=False) for part in _in_parts(rows)),
        "offsets": [offsets],
        "ids": [sets.rows.ids_of(rows).astype("<i8")],
    }
    extras = {}
    for name in sets.names:
        like = sets.blocks[0].extras[name]
        extras[name] = [like.dtype.newbyteorder("<").str, *like.shape[1:]]
        arrays[name] = _kept(sets, name, rows)
    learned = _learned(stage)
    arrays |= {name: [array] for name, array in learned.items()}
    body = {
        "dim": sets.dim, "count": len(rows), "tokens": int(offsets[-1]), "next_id": next_id, "using": method,
        "settings": {name: getattr(settings, name) for name in _PLAIN}, "encoding": settings.encoding.get_params(),
        "measured": [list(pair) for pair in measured], "extras": extras,
        "learned": {name: list(array.shape) for name, array in learned.items()},
        "graph": isinstance(stage, Linked),
    }  # fmt: skip
    folder = Path(path)
    if not folder.is_file():
        _write_beside(folder, stage)
    write_arrays(folder, header=_HEADER, kind=_KIND, version=FORMAT, body=body, arrays=arrays)
    if not isinstance(stage, Linked):
        shutil.rmtree(folder / _GRAPH, ignore_errors=True)
    if _encoding_of(stage) is None:
        shutil.rmtree(folder / _ENCODING, ignore_errors=True)


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


def _write_beside(folder: Path, stage: Stage | None) -> None:
    if isinstance(stage, Linked):
        stage.graph.save(folder / _GRAPH)
    encoding = _encoding_of(stage)
    if encoding is not None:
        encoding.save(folder / _ENCODING)


def _learned(stage: Stage | None) -> dict[str, FloatArray]:
    if isinstance(stage, Residual):
        return {"centroids": stage.centroids, "codebooks": stage.quantizer.codebooks_}
    return {"codebooks": stage.quantizer.codebooks_} if isinstance(stage, Coded) else {}


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


def _read(folder: Path, body: dict[str, Any], mmap: bool) -> SavedSets:
    dim, count, tokens = (int(body[name]) for name in ("dim", "count", "tokens"))
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {
        "values": ("<f4", (tokens, dim)),
        "offsets": ("<i8", (count + 1,)),
        "ids": ("<i8", (count,)),
    }
    for name, (dtype, *shape) in body["extras"].items():
        shapes[name] = (str(dtype), (tokens if name.startswith("token") else count, *map(int, shape)))
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
    offsets = read["offsets"].astype(np.int64, copy=False)
    if offsets[0] != 0 or offsets[-1] != tokens or (np.diff(offsets) < 1).any():
        raise ValueError("offsets that do not cover the tokens")
    extras = {name: read[name] for name in body["extras"]}
    ids = read["ids"].astype(np.int64, copy=False)
    block = make_block(Ragged(read["values"], offsets), ids, extras, fixed=True)
    sets = Sets.of(dim, [block] if count else [])
    saved = body["settings"]
    encoding = FixedDimensionalEncoding(**body["encoding"])
    settings = Settings(encoding=encoding, **{name: saved[name] for name in _PLAIN})
    method = str(body["using"])
    stage = _stage(folder, body, method, read, settings, ids)
    measured = tuple((int(effort), float(recall)) for effort, recall in body["measured"])
    return SavedSets(sets, stage, method, settings, int(body["next_id"]), measured)


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
    encoding: Any = Pooling() if method == "pooled" else FixedDimensionalEncoding.load(folder / _ENCODING)
    if not body["graph"]:
        return Coded(encoding, ProductQuantizer.from_codebooks(read["codebooks"]))
    graph = Graph.load(folder / _GRAPH)
    if not np.array_equal(np.sort(graph.ids()), np.sort(ids)):
        # Saved apart: whoever lost power between the two has a graph of other sets.
        raise ValueError("a graph of other sets")
    return Linked(encoding, graph)
