"""A graph on disk: links and codes, with or without the full vectors."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from orthant.errors import InputError
from orthant.index.array_files import damaged, map_array, read_header, settled, verify_file, write_arrays
from orthant.index.flat import Flat
from orthant.index.vamana.building import Settings
from orthant.index.vamana.inputs import check_settings
from orthant.index.vamana.query_sample import QuerySample
from orthant.index.vamana.space import Space
from orthant.index.vamana.state import SLOT_ARRAYS, State, Vectors
from orthant.kernels import bitmaps
from orthant.kernels.graph.sketch import SKETCH_BYTES, aligned_rows
from orthant.validate import check_metric

__all__ = [
    "FLAT",
    "FORMAT",
    "either_settled",
    "plain",
    "read_graph",
    "read_queries",
    "read_settings",
    "settings_of",
    "write_flat_part",
    "write_graph",
]

FORMAT = 2
"""1 is all but links that are packed, which releases of that format cannot read."""
_KIND = "index.graph"
_HEADER = "graph.json"
FLAT = "flat"
"""Folder of the vectors of an index that is too small for a graph."""
_SETTINGS = "settings.json"
either_settled = settled(_HEADER, _SETTINGS, f"{FLAT}/flat.json")
"""For functions that read whichever of the two an index was saved as."""
_PART = 16_384

_PACKED_BYTES = 64 << 20
"""Links of a graph without vectors are packed up to this size in memory, where they are then unpacked. Beyond, they are
mapped as they are searched: processes that open one collection share them, and none waits for so many."""
_LOW_BITS = 16

_DTYPES = {
    "sketches": "|u1", "codes": "|u1", "links": "<i4", "twins": "<i4", "ids": "<i8", "scales": "<f4", "vectors": "<f4",
    "linked": "<u8", "entries": "<i4", "free": "<i4", "mean": "<f4", "basis": "<f4", "signs": "<f4", "left": "<f4",
    "right": "<f4",
}  # fmt: skip


def write_graph(
    path: str | Path, state: State, *, settings: dict[str, Any], vectors: bool, queries: QuerySample | None = None
) -> None:
    """Write a graph without dead slots to a folder.

    Parameters
    ----------
    path : str or Path
        Folder.
    state : State
        The graph.
    settings : dict
        What the index wants back.
    vectors : bool
        Whether full vectors are written; only where the room is our own.
    queries : QuerySample, optional
        Queries that the graph suits, for when it is built anew.

    Raises
    ------
    InputError
        The path is a file.
    """
    used, space = state.used, state.space
    arrays: dict[str, Any] = {name: _parts(getattr(state, name)[:used]) for name in (*SLOT_ARRAYS, "scales")}
    packed = None if vectors else _packed_links(state.links[:used])
    if packed is not None:
        arrays["links"] = [packed]
    small = {"entries": state.entries, "free": state.free, "linked": state.linked[: bitmaps.words_for(used)]}
    small |= {"mean": space.mean, **dict(zip(("signs", "left", "right"), space.rotation, strict=True))}
    if space.basis is not None:
        small["basis"] = space.basis
    # In one file, since some may be empty, and a file of no bytes can be neither mapped nor checked.
    parts = [np.ascontiguousarray(small[name], _DTYPES[name]).reshape(-1).view(np.uint8) for name in sorted(small)]
    arrays["small"] = [np.concatenate(parts)]
    if vectors:
        arrays["vectors"] = _vectors(state)
    if queries is not None:
        arrays["queries"] = queries.parts()
    body: dict[str, Any] = {
        **_told(queries),
        **({} if packed is None else {"packed": int((state.links[:used] >= 0).sum())}),
        "settings": settings,
        "used": used,
        "room": state.room,
        "twin_count": state.twin_count,
        "space": {
            "metric": space.metric,
            "dim": space.dim,
            "dims": space.dims,
            "bits": space.bits,
            "largest": space.largest,
            "kept": space.kept,
            "query_aware": space.query_aware,
        },
        "sizes": {
            "entries": len(state.entries),
            "free": len(state.free),
            "left": len(space.rotation[1]),
            "mean": len(space.mean),
        },
        "basis": space.basis is not None,
        "vectors": vectors,
    }
    write_arrays(path, header=_HEADER, kind=_KIND, version=1 if packed is None else 2, body=body, arrays=arrays)
    shutil.rmtree(Path(path) / FLAT, ignore_errors=True)


def _parts(array: np.ndarray[Any, Any]) -> Iterator[np.ndarray[Any, Any]]:
    for a in range(0, len(array), _PART):
        yield array[a : a + _PART]


def _vectors(state: State) -> Iterator[np.ndarray[Any, Any]]:
    own = state.vectors.own
    if own is None:
        return
    free = np.zeros(state.used, dtype=bool)
    free[state.free] = True
    for a in range(0, state.used, _PART):
        part = own[a : min(a + _PART, state.used)].copy()
        # What a free slot held is nobody's business any more, and differs from run to run.
        part[free[a : a + len(part)]] = 0
        yield part


@settled(_HEADER)
def read_graph(path: str | Path, *, mmap: bool, vectors: bool) -> tuple[State, dict[str, Any]]:
    """Read a graph from a folder and verify every byte of it.

    Parameters
    ----------
    path : str or Path
        A folder that ``write_graph`` made.
    mmap : bool
        Map codes, links and vectors instead of copying them into memory.
    vectors : bool
        Whether full vectors must be there.

    Returns
    -------
    state : State
        The graph; without addresses unless the vectors were written.
    settings : dict
        As given to ``write_graph``.

    Raises
    ------
    NotFoundError, StoreCorruptedError, StoreVersionError
        No graph there, damage, or a newer release.
    """
    folder = Path(path)
    body = read_header(folder / _HEADER, kind=_KIND, version=FORMAT)
    try:
        return _read(folder, body, mmap=mmap, vectors=vectors)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError) as error:
        raise damaged(folder / _HEADER, "fields that do not fit together") from error


def _read(folder: Path, body: dict[str, Any], *, mmap: bool, vectors: bool) -> tuple[State, dict[str, Any]]:
    used, room, sizes, about = int(body["used"]), int(body["room"]), body["sizes"], body["space"]
    dim, dims, bits = int(about["dim"]), int(about["dims"]), int(about["bits"])
    metric = check_metric(about["metric"])
    width, a = -(-dims * bits // 512) * 64, int(sizes["left"])
    embedded = dim + 1 if metric == "dot" else dim
    if vectors and not body["vectors"]:
        raise damaged(folder / _HEADER, "no full vectors")
    shapes: dict[str, tuple[int, ...]] = {
        "sketches": (used, SKETCH_BYTES), "codes": (used, width), "links": (used, room), "twins": (used,),
        "ids": (used,), "scales": (used,), "linked": (bitmaps.words_for(used),), "entries": (int(sizes["entries"]),),
        "free": (int(sizes["free"]),), "mean": (embedded,), "signs": (dims,), "left": (a, a),
        "right": (dims // a, dims // a),
    }  # fmt: skip
    if body["basis"]:
        shapes["basis"] = (embedded, dims)
    if vectors:
        shapes["vectors"] = (used, dim)
    small: dict[str, tuple[int, ...]] = {}
    large: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        (large if name in (*SLOT_ARRAYS, "scales", "vectors") else small)[name] = shape
    read = _read_small(folder, body["files"]["small"], small)
    if "packed" in body:
        read["links"] = _unpacked_links(folder, body["files"]["links"], large.pop("links"), int(body["packed"]))
    for name, shape in large.items():
        file = _verified(folder, body["files"][name], _bytes(name, shape))
        mapped = mmap and name in ("sketches", "codes", "links", "vectors")
        read[name] = map_array(file, _DTYPES[name], shape, mmap=mapped)
    if not 0 < float(about["largest"]) < np.inf:
        raise ValueError("a largest norm that is none")
    space = Space(
        metric, dim, read["mean"], read.get("basis"), (read["signs"], read["left"], read["right"]),
        float(about["largest"]), float(about["kept"]), bits, bool(about.get("query_aware", False)),
    )  # fmt: skip
    return _state(space, read, used, int(body["twin_count"])), dict(body["settings"])


def _packed_links(links: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Return links as bytes: how many each slot has, their lower 16 bits, and the bits above in groups of whole bytes.

    None where they are too many, where there are none, or where a gap stands between two.
    """
    used = len(links)
    present = links >= 0
    degrees = present.sum(axis=1)
    if not degrees.any() or links.nbytes > _PACKED_BYTES or bool((present[:, 1:] > present[:, :-1]).any()):
        return None
    values = links[present]
    parts = [degrees.astype("<u2"), values.astype("<u2")]
    bits = _high_bits(used)
    if bits:
        high = (values >> _LOW_BITS).astype(np.uint8)
        high = np.pad(high, (0, -len(high) % (8 // bits))).reshape(-1, 8 // bits)
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        parts.append(np.bitwise_or.reduce(high << shifts, axis=1))
    return np.concatenate([part.view(np.uint8) for part in parts])


def _high_bits(used: int) -> int:
    """Return the bits of a slot beyond the lower 16: 0, 1, 2, 4 or 8."""
    wanted = max(0, (used - 1).bit_length() - _LOW_BITS)
    return wanted if wanted < 3 else 4 if wanted < 5 else 8


def _unpacked_links(folder: Path, entry: dict[str, Any], shape: tuple[int, ...], count: int) -> np.ndarray[Any, Any]:
    used, room = shape
    bits = _high_bits(used)
    size = 2 * used + 2 * count + -(-count * bits // 8)
    data = np.fromfile(_verified(folder, entry, size), np.uint8)
    degrees, low = data[: 2 * used].view("<u2"), data[2 * used : 2 * (used + count)].view("<u2")
    values = low.astype(np.int32)
    if bits:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        high = ((data[2 * (used + count) :, None] >> shifts) & np.uint8((1 << bits) - 1)).reshape(-1)[:count]
        values |= high.astype(np.int32) << _LOW_BITS
    if int(degrees.max(initial=0)) > room or int(degrees.sum(dtype=np.int64)) != count:
        raise ValueError("links that do not fit their slots")
    out = aligned_rows(used, 4 * room).view(np.int32)
    out[:] = -1
    out[np.arange(room) < degrees[:, None]] = values
    return out


def _bytes(name: str, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(_DTYPES[name]).itemsize


def _verified(folder: Path, entry: dict[str, Any], size: int) -> Path:
    file = folder / Path(str(entry["name"])).name
    verify_file(file, entry)
    if int(entry["bytes"]) != size:
        raise ValueError(f"{file.name} has another size")
    return file


def _read_small(folder: Path, entry: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    data = _verified(folder, entry, sum(_bytes(name, shape) for name, shape in shapes.items())).read_bytes()
    out, start = {}, 0
    for name in sorted(shapes):
        stop = start + _bytes(name, shapes[name])
        out[name] = np.frombuffer(data[start:stop], _DTYPES[name]).reshape(shapes[name]).copy()
        start = stop
    return out


def _state(space: Space, read: dict[str, Any], used: int, twin_count: int) -> State:
    dead = np.zeros(max(1, bitmaps.words_for(used)), np.uint64)
    state = State(
        space=space,
        **{name: read[name] for name in (*SLOT_ARRAYS, "scales", "entries", "free", "linked")},
        addresses=np.zeros(used, np.int64),
        dead=bitmaps.resize(bitmaps.set_rows(dead, read["free"].astype(np.int64)), len(dead)),
        vectors=Vectors(read.get("vectors")),
        used=used,
        twin_count=twin_count,
    )
    if not _sound(state):
        raise ValueError("slots out of range")
    taken = np.flatnonzero(state.ids >= 0)
    state.note(state.ids[taken], taken.astype(np.int32))
    state.point_at_own(np.arange(used))
    return state


def _sound(state: State) -> bool:
    """Return whether every slot that a kernel would follow exists: it does not look."""
    for array in (state.links, state.twins, state.entries, state.free):
        for part in _parts(array):
            if part.size and (int(part.min()) < -1 or int(part.max()) >= state.used):
                return False
    return not len(state.entries) or int(state.entries.min()) >= 0


def plain(settings: Settings) -> dict[str, Any]:
    """Return settings as JSON values.

    Parameters
    ----------
    settings : Settings
        The parameters.

    Returns
    -------
    dict
        What ``settings_of`` reads; an order given as an array was used once and is not kept.
    """
    out = asdict(settings)
    if not isinstance(settings.order, str):
        out["order"] = "given"
    return out


def settings_of(saved: dict[str, Any]) -> Settings:
    """Return the settings among what was saved.

    Parameters
    ----------
    saved : dict
        From ``read_graph``.

    Returns
    -------
    Settings
        The parameters.

    Raises
    ------
    StoreCorruptedError
        One is missing.
    """
    try:
        given = {each.name: saved[each.name] for each in fields(Settings)}
        margin = float(given.pop("margin"))
        # Kernels make room by these and do not look again.
        return replace(check_settings(**given), margin=margin)
    except KeyError as error:
        raise damaged(Path(_HEADER), f"no setting {error.args[0]!r}") from error
    except (InputError, TypeError, ValueError) as error:
        raise damaged(Path(_HEADER), f"settings that no graph has ({error})") from error


def _told(queries: QuerySample | None) -> dict[str, Any]:
    return {} if queries is None else {"queries": {"learned": list(queries.learned.shape), "held": len(queries.held)}}


def read_queries(path: str | Path) -> QuerySample | None:
    """Read the queries that a saved index suits.

    Parameters
    ----------
    path : str or Path
        Folder of either kind of index.

    Returns
    -------
    QuerySample or None
        None where there are none.

    Raises
    ------
    StoreCorruptedError
        They are not what was saved.
    """
    folder = Path(path)
    name = _HEADER if (folder / _HEADER).exists() else _SETTINGS
    body = read_header(folder / name, kind=_KIND, version=FORMAT)
    if "queries" not in body:
        return None
    try:
        (learned, dim), held = body["queries"]["learned"], int(body["queries"]["held"])
        shape = (int(learned) + held, int(dim))
        file = _verified(folder, body["files"]["queries"], _bytes("vectors", shape))
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder / name, "fields that do not fit together") from error
    rows = map_array(file, _DTYPES["vectors"], shape, mmap=False)
    return QuerySample(rows[: int(learned)], rows[int(learned) :])


def write_flat_part(path: str | Path, flat: Flat, saved: dict[str, Any], queries: QuerySample | None = None) -> None:
    """Write an index that is too small for a graph.

    Parameters
    ----------
    path : str or Path
        Folder.
    flat : Flat
        Its vectors.
    saved : dict
        Settings.
    queries : QuerySample, optional
        Queries that the graph is to suit once there is one.
    """
    folder = Path(path)
    flat.save(folder / FLAT if not folder.is_file() else folder)
    arrays = {} if queries is None else {"queries": queries.parts()}
    body = {"settings": saved, **_told(queries)}
    write_arrays(folder, header=_SETTINGS, kind=_KIND, version=FORMAT, body=body, arrays=arrays)
    (folder / _HEADER).unlink(missing_ok=True)


def read_settings(path: str | Path) -> tuple[Settings, dict[str, Any]]:
    """Read what ``write_flat_part`` wrote besides the vectors.

    Parameters
    ----------
    path : str or Path
        Folder.

    Returns
    -------
    settings : Settings
        The parameters.
    saved : dict
        All of it.
    """
    body = read_header(Path(path) / _SETTINGS, kind=_KIND, version=FORMAT)
    saved = dict(body["settings"])
    return settings_of(saved), saved
