"""From queries to hits: what a search reads, kept at hand, and the way when vectors have moved."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.blocks import BlockSet
from orthant.index.ivf.lists import Lists
from orthant.kernels.clustering.list_rank import rank_places
from orthant.kernels.clustering.list_search import Coarse, Held, Limits, search_lists
from orthant.kernels.clustering.table_scores import table_sums
from orthant.kernels.distances import row_chunks
from orthant.kernels.rows import plain
from orthant.kernels.topk import top_k_pairs
from orthant.quantization import codebooks as books
from orthant.quantization.inverted import IVFCodec
from orthant.quantization.residual import ResidualQuantizer
from orthant.quantization.rotation import rotate
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, SearchCost

__all__ = ["Ready", "Request", "ready_for", "run"]

_BATCH_BYTES = 32 << 20
_SPREAD = 0.25
"""What a list is given under cosine for being wide: half of what the squared distance to it would take off."""

_LOOK_UPS = 32
"""Addresses of all places are made once so many candidates were looked up that they are one for each of so many."""

_EMPTY = np.zeros(0, np.float32)


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
        Candidates that are compared by their full vectors, at most.
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


@dataclass
class Ready:
    """What kernels read of a codec and its lists, made once and good until the lists change.

    Attributes
    ----------
    codec : IVFCodec
        The codec.
    lists : Lists
        The lists.
    version : int
        Of the lists.
    coarse : Coarse
        Centroids and codebooks.
    held : Held
        Codes, without addresses.
    rotation : ndarray of shape (d, d), float32, or None
        Of the codebooks.
    addressed : tuple of BlockSet and Held, or None
        Vectors, and the codes with their addresses; set at once, since searches share it.
    looked_up : int
        Candidates whose addresses had to be looked up.
    """

    codec: IVFCodec
    lists: Lists
    version: int
    coarse: Coarse
    held: Held
    rotation: FloatArray | None
    addressed: tuple[BlockSet, Held] | None = field(default=None, repr=False)
    looked_up: int = 0

    @property
    def nbytes(self) -> int:
        """Bytes that are held beside codec, lists and vectors."""
        parts: list[npt.NDArray[Any]] = [self.coarse.small, self.coarse.books, self.held.counts]
        if self.addressed is not None:
            parts.append(self.addressed[1].addresses)
        return sum(part.nbytes for part in parts)


def ready_for(codec: IVFCodec, lists: Lists, before: Ready | None) -> Ready:
    """Return what kernels read, the same as before where nothing changed.

    Parameters
    ----------
    codec : IVFCodec
        The codec.
    lists : Lists
        The lists.
    before : Ready or None
        Of an earlier search.

    Returns
    -------
    Ready
        Cost O(lists) after a change of the lists, O(lists d) for another codec.
    """
    same = before is not None and before.codec is codec
    if before is not None and same and before.lists is lists and before.version == lists.version:
        return before
    quantizer = codec.quantizer_
    residual = isinstance(quantizer, ResidualQuantizer)
    if before is not None and same:
        coarse = before.coarse
    else:
        stride = 0 if residual else quantizer.codebooks_.shape[2]
        coarse = Coarse.of(
            codec.centroids_,
            quantizer.codebooks_,
            metric=codec.metric,
            bits=quantizer.bits,
            spread=_SPREAD,
            stride=stride,
        )
    counts = lists.counts_of(lists.words)
    bias = _EMPTY if lists.bias is None else lists.bias
    begins, codes, ids = plain(lists.begins), plain(lists.codes), plain(lists.ids)
    held = Held(begins, codes, plain(bias), plain(lists.words), plain(counts), int(counts.sum()), ids)
    rotation = None if residual else getattr(quantizer, "rotation_", None)
    return Ready(codec, lists, lists.version, coarse, held, rotation)


def run(ready: Ready, data: BlockSet | None, request: Request, *, told: dict[str, Any]) -> Hits:
    """Search the lists.

    Parameters
    ----------
    ready : Ready
        Codec and lists.
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
    codec, queries = ready.codec, request.queries
    held = _held(ready, data, request)
    limits = Limits(request.k, request.lists, request.depth)
    turned = queries
    if ready.rotation is not None:
        turned = rotate(queries, ready.rotation, np.zeros(codec.dim, ready.rotation.dtype))
    if len(held.addresses):
        ids, scores, spent = search_lists(queries, turned, ready.coarse, held, limits, threads=request.threads)
    else:
        ids, scores, spent = _in_parts(ready, held, data, turned, request, limits)
    count = max(len(ids), 1)
    compared, probed, exact, _ = (spent[0] if len(spent) == 1 else spent.sum(axis=0)).tolist()
    details: dict[str, Any] = {"lists": round(probed / count, 2), "reranked": exact}
    details["centroids"] = len(ids) * codec.lists
    cost = SearchCost(
        plan="lists" if request.words is None else "lists-filtered",
        distances=compared + exact,
        seconds=time.perf_counter() - begun,
        bytes_read=compared * codec.code_size + exact * codec.dim * 4,
        details={**details, **told},
    )
    return Hits(ids=ids, scores=scores, counts=np.minimum(spent[:, 3], request.k), cost=cost)


def _held(ready: Ready, data: BlockSet | None, request: Request) -> Held:
    """Return the lists with the addresses of their vectors where these are at hand, under the filter."""
    held = ready.held
    if data is not None:
        known = ready.addressed
        if known is not None and known[0] is not data:
            known = None
        if known is None and ready.looked_up * _LOOK_UPS >= len(held.ids):
            live = np.flatnonzero(held.ids >= 0)
            rows = data.locate(held.ids[live])
            if bool((rows >= 0).all()):
                addresses = np.zeros(len(held.ids), np.int64)
                addresses[live] = _addresses(data, rows)
                known = ready.addressed = (data, replace(held, addresses=plain(addresses)))
            ready.looked_up = 0
        held = held if known is None else known[1]
    if request.words is None:
        return held
    counts = ready.lists.counts_of(request.words)
    return replace(held, words=plain(request.words), counts=plain(counts), total=int(counts.sum()))


def _addresses(data: BlockSet, rows: IdArray) -> IdArray:
    """Return where rows lie; 0 where a row is -1."""
    out = np.zeros(len(rows), dtype=np.int64)
    for block, at, inner in data.parts(rows):
        out[at] = block.matrix.ctypes.data + inner * block.matrix.strides[0]
    return out


def _in_parts(
    ready: Ready, held: Held, data: BlockSet | None, turned: FloatArray, request: Request, limits: Limits
) -> tuple[IdArray, FloatArray, IdArray]:
    """Find candidates first and look their vectors up, some queries at a time."""
    queries, found = request.queries, []
    each = request.depth * 64
    for start, stop in row_chunks(len(queries), each, _BATCH_BYTES):
        part = queries[start:stop]
        places, told, spent = search_lists(
            part, turned[start:stop], ready.coarse, held, limits, threads=request.threads
        )
        real = places >= 0
        ids = np.where(real, held.ids[np.maximum(places, 0)], -1) if len(held.ids) else places
        if data is None:
            found.append((*_by_codes(ready, part, places, ids, request.k), spent))
            continue
        rows = np.full(ids.shape, -1, dtype=np.int64)
        rows[real] = data.locate(ids[real])
        ready.looked_up += int(real.sum())
        lost = real & (rows < 0)
        if lost.any():
            # There is nothing to look at, and a kernel would look all the same.
            order = np.argsort(lost | ~real, axis=1, kind="stable")
            ids, told, rows = (np.take_along_axis(array, order, axis=1) for array in (ids, told, rows))
            ids[rows < 0] = -1
            spent[:, 3] -= lost.sum(axis=1)
        addresses = _addresses(data, rows.reshape(-1)).reshape(rows.shape)
        names, scores, spent[:, 2] = rank_places(
            part, addresses, told, ids, metric=ready.codec.metric, k=request.k, threads=request.threads
        )
        found.append((names, scores, spent))
    if not found:
        empty = np.zeros((0, request.k))
        return empty.astype(np.int64), empty.astype(np.float32), np.zeros((0, 4), np.int64)
    ids, scores, spent = (np.concatenate([part[i] for part in found]) for i in range(3))
    return ids, scores, spent


def _by_codes(ready: Ready, queries: FloatArray, places: IdArray, ids: IdArray, k: int) -> tuple[IdArray, FloatArray]:
    """Return the k best candidates by the unrounded scores of their codes."""
    codec, lists = ready.codec, ready.lists
    asked = codec.prepare(queries)
    factor = np.float32(2 if codec.metric == "l2" else 1)
    tables, offsets = codec.quantizer_.dot_tables(asked)
    tables, offsets = books.scan_tables(tables * factor, codec.quantizer_.bits), offsets * factor
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
