"""Hand an index over to FAISS or hnswlib: the exact index as theirs, the graph as their base layer with its links.

Only vectors, ids and links are handed over. Codes, calibration and planner stay behind, so searches there compare
full vectors.
"""

from __future__ import annotations

import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, MissingExtraError, message, warn
from orthant.index.flat import Flat
from orthant.types import FloatArray, IdArray
from orthant.validate import check_count

__all__ = ["to_faiss", "to_hnswlib"]

Links = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class _Layer:
    """Live vectors with their ids, and links between their positions, padded with -1."""

    vectors: FloatArray
    ids: IdArray
    links: Links
    entry: int


def to_faiss(index: Any, *, effort: int = 64) -> Any:
    """Return a FAISS index with the vectors and ids of an index, and the links where it is a graph.

    Use it to serve from FAISS what was built here, or to compare both on the same graph. Not for a collection that
    changes: the copy does not follow.

    Parameters
    ----------
    index : Flat or Graph
        Not empty.
    effort : int, default 64
        Initial ``efSearch`` of a graph: too small loses recall, larger is slower. Set ``index.index.hnsw.efSearch``
        later on the downcast index.

    Returns
    -------
    faiss.IndexIDMap2
        Over ``IndexFlat`` or ``IndexHNSWFlat``. Under ``"cosine"`` the vectors have unit length and scores are inner
        products: give queries of unit length to get cosines.

    Raises
    ------
    MissingExtraError
        FAISS is not installed.
    InputError
        An empty index, or one of another kind.

    Notes
    -----
    Cost: O(n d) time and memory, since FAISS keeps a copy of the vectors.

    Examples
    --------
    >>> from orthant.index import Flat
    >>> index = Flat(2, metric="dot")
    >>> _ = index.add(np.eye(2), ids=[7, 9])
    >>> to_faiss(index).search(np.array([[0, 1]], dtype=np.float32), 1)[1]  # doctest: +SKIP
    array([[9]])
    """
    content = _rows_of(index) if isinstance(index, Flat) else _layer_of(index)
    faiss = _needed("faiss", "faiss-cpu")
    kind = faiss.METRIC_L2 if index.metric == "l2" else faiss.METRIC_INNER_PRODUCT
    if not isinstance(content, _Layer):
        vectors, ids = content
        exact = faiss.IndexIDMap2(faiss.IndexFlat(index.dim, kind))
        exact.add_with_ids(vectors, ids)
        return exact
    layer = content
    inner = faiss.IndexHNSWFlat(index.dim, layer.links.shape[1] // 2, kind)
    # It can only be wrapped while it is empty.
    out = faiss.IndexIDMap2(inner)
    _fill_faiss(faiss, inner, layer, check_count(effort, name="effort"))
    faiss.copy_array_to_vector(layer.ids, out.id_map)
    out.ntotal = inner.ntotal
    out.construct_rev_map()
    return out


def _fill_faiss(faiss: Any, inner: Any, layer: _Layer, effort: int) -> None:
    n, width = layer.links.shape
    inner.storage.add(layer.vectors)
    graph = inner.hnsw
    faiss.copy_array_to_vector(np.ones(n, dtype=np.int32), graph.levels)
    faiss.copy_array_to_vector(np.arange(n + 1, dtype=np.uint64) * np.uint64(width), graph.offsets)
    faiss.copy_array_to_vector(layer.links.ravel(), graph.neighbors)
    graph.entry_point, graph.max_level, graph.efSearch = layer.entry, 0, effort
    inner.ntotal, inner.is_trained = n, True


def to_hnswlib(index: Any, *, effort: int = 64) -> Any:
    """Return an hnswlib index with the vectors and ids of an index, and the links where it is a graph.

    Parameters
    ----------
    index : Flat or Graph
        Not empty.
    effort : int, default 64
        Initial ``ef`` of a graph: too small loses recall, larger is slower; ``set_ef`` changes it.

    Returns
    -------
    hnswlib.Index or hnswlib.BFIndex
        A graph of one layer, or the exact index. Its distances are smaller for closer vectors.

    Raises
    ------
    MissingExtraError
        hnswlib is not installed.
    InputError
        An empty index, or one of another kind.

    Notes
    -----
    hnswlib has no call that takes links, so its file is written to a temporary folder and read back.
    Cost: O(n d) time and memory.
    """
    content = _rows_of(index) if isinstance(index, Flat) else _layer_of(index)
    hnswlib = _needed("hnswlib", "hnswlib")
    space = {"l2": "l2", "dot": "ip", "cosine": "cosine"}[index.metric]
    if not isinstance(content, _Layer):
        vectors, ids = content
        exact = hnswlib.BFIndex(space=space, dim=index.dim)
        exact.init_index(max_elements=len(ids))
        exact.add_items(vectors, ids)
        return exact
    layer = content
    out = hnswlib.Index(space=space, dim=index.dim)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.bin"
        path.write_bytes(_hnswlib_file(layer))
        out.load_index(str(path))
    out.set_ef(check_count(effort, name="effort"))
    return out


def _hnswlib_file(layer: _Layer) -> bytes:
    """Lay out hnswlib's file of format 0.8: header, one record per vector, and an empty upper list for each."""
    n, width = layer.links.shape
    dim = layer.vectors.shape[1]
    record = np.dtype(
        [("count", "<u4"), ("links", "<u4", (width,)), ("vector", "<f4", (dim,)), ("label", "<u8")], align=False
    )
    rows = np.zeros(n, dtype=record)
    kept = layer.links >= 0
    # Links come first and gaps last: a reader takes the first `count` of them.
    order = np.argsort(~kept, axis=1, kind="stable")
    rows["count"] = kept.sum(axis=1)
    rows["links"] = np.take_along_axis(np.where(kept, layer.links, 0), order, 1)
    rows["vector"], rows["label"] = layer.vectors, layer.ids
    offset_data = 4 + 4 * width
    header = struct.pack(
        "<QQQQQQiIQQQdQ",
        0,
        n,
        n,
        record.itemsize,
        offset_data + 4 * dim,
        offset_data,
        0,
        layer.entry,
        width // 2,
        width,
        width // 2,
        1.0 / np.log(max(width // 2, 2)),
        200,
    )
    return header + rows.tobytes() + bytes(4 * n)


def _needed(name: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            message(f"an export to {name} without it", f"the package {package}", f"run: pip install {package}")
        ) from error


def _unit(vectors: FloatArray, metric: str) -> FloatArray:
    if metric != "cosine":
        return np.ascontiguousarray(vectors, dtype=np.float32)
    return np.ascontiguousarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def _rows_of(index: Flat) -> tuple[FloatArray, IdArray]:
    data = index._data
    rows = data.alive_rows()
    if not len(rows):
        raise InputError(message("an empty index", "at least one vector", "add vectors first"))
    return _unit(data.vectors_of(rows), index.metric), data.ids_of(rows).astype(np.int64)


def _layer_of(index: Any) -> _Layer:
    if not (hasattr(index, "adjacency") and hasattr(index, "slot_ids")):
        raise InputError(message(f"a {type(index).__name__} to export", "a Flat or a Graph", "build one of them"))
    if not len(index):
        raise InputError(message("an empty index", "at least one vector", "add vectors first"))
    links, ids = np.asarray(index.adjacency()), np.asarray(index.slot_ids())
    # Free slots have no id; what is left gets new positions, and links to free slots are dropped.
    kept = np.flatnonzero(ids >= 0)
    position = np.full(len(ids) + 1, -1, dtype=np.int32)
    position[kept] = np.arange(len(kept), dtype=np.int32)
    links, ids = position[np.where(links[kept] >= 0, links[kept], len(ids))], ids[kept].astype(np.int64)
    if len(ids) < len(index):
        warn(f"{len(index) - len(ids)} ids share the place of an equal vector and are left out of the export.")
    vectors = _unit(index.reconstruct(ids), index.metric)
    # An even width, since both libraries count the base layer as twice their degree; gaps go last.
    width = max(2, links.shape[1] + links.shape[1] % 2)
    padded = np.full((len(links), width), -1, dtype=np.int32)
    padded[:, : links.shape[1]] = np.take_along_axis(links, np.argsort(links < 0, axis=1, kind="stable"), 1)
    middle = vectors.mean(axis=0)
    entry = int(np.argmin(np.square(vectors - middle).sum(axis=1)))
    return _Layer(vectors, ids, padded, entry)
