"""What a collection holds and costs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orthant.collection.dense import dense_index
from orthant.collection.storage import merging
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import DATABASE_NAME, Store
from orthant.collection.tokens.index import token_index
from orthant.errors import StoreCorruptedError

__all__ = ["CollectionStats", "collect", "folder_bytes"]


@dataclass(frozen=True)
class CollectionStats:
    """Counts and bytes of a collection.

    Attributes
    ----------
    path : str
        Its folder.
    generation : int
        Number of commits so far.
    records : int
        Live records.
    spaces : dict of str to dict
        Per space: definition, live vectors (of tokens: records that have some, and ``tokens``), dead slots, bytes on
        disk, dead share; ``plan``, how it is searched (``"scan"``, ``"graph"`` or ``"graph+tail"``), and ``graph``:
        rows, dead rows among them, rows of the scanned ``tail``, bytes, the generation it was made of, its calibrated
        recall table, ``tuning``, what learning from queries brought, and ``problem`` where its file cannot be used.
        Without a graph, ``graph`` is None, or holds only the problem. ``compression``: the codes that ``compress``
        applied, their bytes and what was measured, or None; their file is told under ``graph``, and ``plan`` is
        ``"codes"`` or ``"codes+tail"``.
    fields : dict of str to dict
        Per metadata field: types with counts, distinct values, smallest and largest.
    sparse : dict of str to dict
        Per sparse space: definition, vectors, weights, bytes of the posting lists, and ``problem`` where stored vectors
        are damaged.
    lexical : dict
        Documents, terms, postings and bytes of the lexical leg.
    bytes : dict of str to int
        On disk: ``records`` (SQLite), ``vectors``, ``derived`` and ``total``.
    tail : dict of str to int
        Records that the next open replays because derived files do not hold them yet.
    repairs : list of str
        What opening and writing had to mend in this process.
    fusion : dict or None
        Stored ``fusion`` and ``weights`` of hybrid search, and where they came from; None for the default.
    adapters : dict of str to dict
        Corrections of queries by space: kind, rank, whether in use, what was measured.
    """

    path: str
    generation: int
    records: int
    spaces: dict[str, dict[str, Any]]
    fields: dict[str, dict[str, Any]]
    lexical: dict[str, Any]
    bytes: dict[str, int]
    tail: dict[str, int]
    repairs: list[str]
    sparse: dict[str, dict[str, Any]] = field(default_factory=dict)
    fusion: dict[str, Any] | None = None
    adapters: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute.
        """
        return asdict(self)


def collect(store: Store) -> CollectionStats:
    """Gather the figures of an opened collection.

    Parameters
    ----------
    store : Store
        The store.

    Returns
    -------
    CollectionStats
        As of the latest commit.
    """
    with store.view() as (_, generation):
        spaces: dict[str, dict[str, Any]] = {}
        for name, space in generation.spaces.items():
            live, slots = space.live_count(generation.live), space.slots
            tokens = space.definition.kind == "tokens"
            records = space.live_records(generation.live) if tokens else live
            spaces[name] = {
                **asdict(space.definition),
                "vectors": records,
                **({"tokens": live} if tokens else {}),
                "dead_slots": slots - live,
                "dead_share": round((slots - live) / slots, 4) if slots else 0.0,
                "without_vector": generation.count - records,
                "segments": len(space.segments),
                "bytes": folder_bytes(space.folder.folder),
                **(_tokens(generation, name, records) if tokens else _graph(generation, name, live)),
                "compression": None if space.compression is None else space.compression.to_dict(),
            }
        fields = {name: _plain(stats) for name, stats in generation.columns.fields(generation.live).items()}
        lexical = _plain(generation.lexical.statistics())
        sparse = {
            name: {
                **asdict(state.definition),
                "vectors": len(state.index),
                "without_vector": generation.count - len(state.index),
                "weights": state.index.weights,
                "bytes": state.index.memory_bytes,
                "problem": state.problem,
            }
            for name, state in generation.sparse.items()
        }
        saved_number, saved_next_row, _ = store.saved
        tail = {"added": generation.next_row - saved_next_row, "commits": generation.number - saved_number}
        number, count = generation.number, generation.count
        adapters = {
            name: stored.to_dict(generation.spaces[name].definition.fingerprint if name in generation.spaces else None)
            for name, stored in generation.adapters.items()
        }
        fused = None if generation.fusion is None else generation.fusion.to_dict()
    sizes = {
        "records": sum(file.stat().st_size for file in store.path.glob(f"{DATABASE_NAME}*")),
        "vectors": folder_bytes(store.path / "vectors"),
        "derived": folder_bytes(store.path / "derived"),
    }
    sizes["total"] = sum(sizes.values())
    figures = (number, count, spaces, fields, lexical, sizes, tail, list(store.repairs), sparse, fused, adapters)
    return CollectionStats(str(store.path), *figures)


def _graph(generation: Generation, name: str, live: int) -> dict[str, Any]:
    space = generation.spaces[name]
    try:
        index = dense_index(generation, name)
    except StoreCorruptedError as error:
        return {"plan": "unreadable", "graph": {"problem": str(error)}}
    if index.graph is None or space.graph is None:
        least = merging.BREAK_EVEN if space.compression is None else merging.CODED_FROM - 1
        missing = "not built yet: call finish, or let a writer close" if live > least else None
        problem = index.problem or missing
        return {"plan": "scan", "graph": None if problem is None else {"problem": problem}}
    told = index.graph.stats().details
    calibration, tuning = told.get("calibration"), told.get("tuning")
    kind = "codes" if index.coded else "graph"
    return {
        "plan": kind if index.tail is None else f"{kind}+tail",
        "graph": {
            "rows": space.graph.rows,
            "dead": index.dead,
            "tail": 0 if index.tail is None else len(index.tail),
            "bytes": space.graph.bytes,
            "generation": space.graph.number,
            "calibration": calibration.as_dict() if hasattr(calibration, "as_dict") else calibration,
            "tuning": tuning,
            "problem": space.graph.problem,
        },
    }


def _tokens(generation: Generation, name: str, records: int) -> dict[str, Any]:
    """Return how a space of tokens is searched."""
    space = generation.spaces[name]
    setting = {"shortcut": space.shortcut.to_dict()}
    try:
        index = token_index(generation, name)
    except StoreCorruptedError as error:
        return {"plan": "unreadable", "graph": {"problem": str(error)}, **setting}
    if index.codes is None or space.graph is None:
        missing = "not built yet: call finish, or let a writer close"
        problem = index.problem or (missing if records > merging.least_vectors(space) else None)
        return {"plan": "scan", "graph": None if problem is None else {"problem": problem}, **setting}
    parts = index.codes.stats().details["parts"]
    measured = space.shortcut.measured
    source, k = ("queries", str(space.shortcut.about.get("k"))) if measured else ("parts of records", "10")
    known = measured or index.codes.calibration
    told = {
        "rows": space.graph.rows,
        "dead": index.dead,
        "tail": index.tail,
        "bytes": space.graph.bytes,
        "memory_bytes": parts["codes"] + parts["stage"],
        "generation": space.graph.number,
        "calibration": {"source": source, "table": {k: [(e, r, 0.0) for e, r in known]}},
        "tuning": None,
        "problem": space.graph.problem,
    }
    return {"plan": index.codes.method + "+tail" * bool(index.tail), "graph": told, **setting}


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files below a folder.

    Parameters
    ----------
    folder : Path
        It need not exist.

    Returns
    -------
    int
        Sum of the file sizes.
    """
    total = 0
    for base, _, names in os.walk(folder):
        for name in names:
            # A writer may remove a file between listing and looking.
            with suppress(OSError):
                total += os.stat(os.path.join(base, name)).st_size
    return total


def _plain(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    return asdict(value)
