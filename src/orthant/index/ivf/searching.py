"""From queries to hits: which lists, which places in them, and which of those by their full vectors."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.blocks import BlockSet
from orthant.index.ivf.lists import Lists
from orthant.kernels.clustering.list_scan import exact_best, scan_lists
from orthant.kernels.clustering.table_scores import table_sums
from orthant.kernels.distances import inverse_norms, row_chunks
from orthant.kernels.topk import top_k_pairs
from orthant.quantization import codebooks as books
from orthant.quantization.inverted import IVFCodec
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, SearchCost

__all__ = ["Request", "run"]

_BATCH_BYTES = 32 << 20


@dataclass(frozen=True)
class Request:
    """What is searched for.

    Attributes
    ----------
    queries : ndarray of shape (q, d), float32
        Checked queries.
    k : int
        Neighbours wanted.
    lists : int
        Lists to look into.
    depth : int
        Candidates that are compared by their full vectors.
    words : ndarray of shape (blocks,), uint64, or None
        Places that a filter allows.
    threads : int or None
        For a batch.
    """

    queries: FloatArray
    k: int
    lists: int
    depth: int
    words: BitmapArray | None = None
    threads: int | None = None


def run(codec: IVFCodec, lists: Lists, data: BlockSet | None, request: Request, *, told: dict[str, Any]) -> Hits:
    """Search the lists.

    Parameters
    ----------
    codec : IVFCodec
        What the codes mean.
    lists : Lists
        The codes.
    data : BlockSet or None
        Full vectors; without them, candidates keep the scores of their codes.
    request : Request
        What is wanted.
    told : dict
        Further details for the cost.

    Returns
    -------
    Hits
        The neighbours.
    """
    begun = time.perf_counter()
    words = lists.words if request.words is None else request.words
    found, compared, probed = [], 0, 0
    table_bytes = 4 * len(codec.quantizer_.codebooks_) * 256
    each = max(table_bytes, 16 * codec.lists, request.depth * 40)
    for start, stop in row_chunks(len(request.queries), each, _BATCH_BYTES):
        asked = codec.prepare(request.queries[start:stop])
        probes, counts, constants = _probes(codec, lists, asked, request, words)
        sizes = np.where(np.arange(probes.shape[1]) < counts[:, None], lists.sizes[probes], 0)
        compared, probed = compared + int(sizes.sum()), probed + int(counts.sum())
        places = _scanned(codec, lists, asked, (probes, counts, constants), words, request)
        found.append(_ranked(codec, lists, data, request.queries[start:stop], asked, places, request))
    if not found:
        empty = np.zeros((0, request.k))
        found = [(empty.astype(np.int64), empty.astype(np.float32))]
    ids, scores = (np.concatenate([part[i] for part in found]) for i in (0, 1))
    exact = 0 if data is None else len(ids) * request.depth
    details = {"lists": round(probed / max(len(ids), 1), 2), "reranked": exact, "centroids": len(ids) * codec.lists}
    cost = SearchCost(
        plan="lists" if request.words is None else "lists-filtered",
        distances=compared + exact,
        seconds=time.perf_counter() - begun,
        bytes_read=compared * codec.code_size + exact * codec.dim * 4,
        details={**details, **told},
    )
    return Hits(ids=ids, scores=scores, counts=(ids >= 0).sum(axis=1).astype(np.int64), cost=cost)


def _probes(
    codec: IVFCodec, lists: Lists, asked: FloatArray, request: Request, words: BitmapArray
) -> tuple[IdArray, IdArray, FloatArray]:
    """Return the lists of each query, nearest first, how many it looks into, and what they add to scores."""
    products = asked @ codec.centroids_.T
    if codec.metric == "l2":
        products *= 2
        products -= np.einsum("ld,ld->l", codec.centroids_, codec.centroids_)
        products -= np.einsum("qd,qd->q", asked, asked)[:, None]
    wanted = min(request.lists, codec.lists)
    held = lists.counts_of(words)
    fewest = min(request.depth, int(held.sum()))
    first = np.argpartition(-products, wanted - 1, axis=1)[:, :wanted] if wanted < codec.lists else None
    if first is None or held[first].sum(axis=1).min(initial=fewest) < fewest:
        order = np.argsort(-products, axis=1, kind="stable")
        seen = np.cumsum(held[order], axis=1)
        # So many more lists that the candidates are there, wherever a filter leaves them.
        counts = np.maximum(wanted, (seen < fewest).sum(axis=1) + 1).astype(np.int64)
        order = order[:, : int(counts.max(initial=1))]
    else:
        inner = np.argsort(-np.take_along_axis(products, first, axis=1), axis=1, kind="stable")
        order = np.take_along_axis(first, inner, axis=1)
        counts = np.full(len(asked), wanted, dtype=np.int64)
    return order, np.minimum(counts, codec.lists), np.take_along_axis(products, order, axis=1)


def _tables(codec: IVFCodec, asked: FloatArray) -> tuple[FloatArray, FloatArray]:
    tables, offsets = codec.quantizer_.dot_tables(asked)
    factor = np.float32(2 if codec.metric == "l2" else 1)
    return tables * factor, (offsets * factor).astype(np.float32)


def _scanned(
    codec: IVFCodec,
    lists: Lists,
    asked: FloatArray,
    probes: tuple[IdArray, IdArray, FloatArray],
    words: BitmapArray,
    request: Request,
) -> IdArray:
    order, counts, constants = probes
    bits, threads = codec.quantizer_.bits, request.threads
    tables, offsets = _tables(codec, asked)
    # Tables of the same offset rank alike, but scores of codes are told as they are.
    constants = constants + offsets[:, None]
    found, _ = scan_lists(
        tables, order, counts, constants, lists.begins, lists.codes, lists.bias, words,
        bits=bits, depth=request.depth, threads=threads,
    )  # fmt: skip
    return found


def _ranked(
    codec: IVFCodec,
    lists: Lists,
    data: BlockSet | None,
    queries: FloatArray,
    asked: FloatArray,
    places: IdArray,
    request: Request,
) -> tuple[IdArray, FloatArray]:
    """Return the k best candidates by their full vectors, or by the unrounded scores of their codes."""
    real = places >= 0
    ids = np.where(real, lists.ids[np.maximum(places, 0)], -1) if len(lists.ids) else places
    if data is None:
        return _by_codes(codec, lists, asked, places, ids, request.k)
    rows = np.zeros(ids.shape, dtype=np.int64)
    rows[real] = data.locate(ids[real])
    addresses, scale = _addresses(data, rows, codec.metric == "cosine")
    if codec.metric == "cosine":
        scale *= inverse_norms(queries)[:, None]
    return exact_best(queries, addresses, ids, scale, metric=codec.metric, k=request.k, threads=request.threads)


def _addresses(data: BlockSet, rows: IdArray, cosine: bool) -> tuple[IdArray, FloatArray]:
    flat = rows.reshape(-1)
    addresses, scale = np.zeros(len(flat), dtype=np.int64), np.ones(len(flat), dtype=np.float32)
    for block, at, inner in data.parts(flat):
        addresses[at] = block.matrix.ctypes.data + inner * block.matrix.strides[0]
        if cosine:
            scale[at] = block.scale[inner]
    return addresses.reshape(rows.shape), scale.reshape(rows.shape)


def _by_codes(
    codec: IVFCodec, lists: Lists, asked: FloatArray, places: IdArray, ids: IdArray, k: int
) -> tuple[IdArray, FloatArray]:
    tables, offsets = _tables(codec, asked)
    tables = books.scan_tables(tables, codec.quantizer_.bits)
    labels = lists.labels()
    scores = np.full(places.shape, -np.inf, dtype=np.float32)
    for i, row in enumerate(places):
        at = np.flatnonzero(row >= 0)
        here = row[at]
        centroids: npt.NDArray[np.float32] = codec.centroids_[labels[here]]
        sums = table_sums(tables[i : i + 1], lists.rows_of(here))[0] + offsets[i]
        if lists.bias is None:
            scores[i, at] = sums + centroids @ asked[i]
        else:
            scores[i, at] = sums - ((asked[i] - centroids) ** 2).sum(axis=1) - lists.bias[here]
    query = np.repeat(np.arange(len(places), dtype=np.int64), places.shape[1])
    names, best, _ = top_k_pairs(query, ids.reshape(-1), scores.reshape(-1), count=len(places), k=k)
    return names, best
