"""Searches of inverted lists, from queries to hits, in one call for a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from orthant.kernels.clustering.list_choice import number_of, score_of
from orthant.kernels.clustering.list_rank import GROUP, KINDS, SURE, read_best
from orthant.kernels.clustering.list_scan import (
    L2,
    choose_lists,
    fetch_block,
    fill_tables,
    keep_best,
    prepare,
    round_tables,
    scan_list,
)
from orthant.kernels.compiling import kernel
from orthant.kernels.rows import plain
from orthant.threads import map_ranges
from orthant.types import BitmapArray, CodeArray, FloatArray, IdArray, Metric

__all__ = ["Coarse", "Held", "Limits", "search_lists"]

_PART_WORK = 1 << 16
_NO_IDS = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Coarse:
    """Centroids and codebooks as a search reads them; views that kernels take as they are.

    Attributes
    ----------
    kind : int
        The score.
    center : ndarray of shape (d,), float32
        Mean of the centroids.
    small : ndarray of shape (lists, 64 b), uint8
        Centroids about their mean, 128 being zero.
    weights, extra : ndarray of shape (lists,), float32
        The score of a list is ``weight * <query, bytes - 128> + extra``.
    books : ndarray of shape (m, size, entries), float32
        Codewords.
    stride : int
        Where the part of the next book begins in a query.
    bits : {4, 8}
        Bits of a code.
    """

    kind: int
    center: FloatArray
    small: CodeArray
    weights: FloatArray
    extra: FloatArray
    books: FloatArray
    stride: int
    bits: int

    @cached_property
    def arguments(self) -> tuple[Any, ...]:
        """Everything in the order in which kernels take it."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @classmethod
    def of(
        cls, centroids: FloatArray, books: FloatArray, *, metric: Metric, bits: int, spread: float, stride: int
    ) -> Coarse:
        """Round centroids to bytes, each by a step of its own.

        Parameters
        ----------
        centroids : ndarray of shape (lists, d), float32
            Centroids.
        books : ndarray of shape (m, entries, size), float32
            Codewords.
        metric : {"dot", "cosine", "l2"}
            The score.
        bits : {4, 8}
            Bits of a code.
        spread : float
            Under cosine, what lists are given for being wide: times ``1 - |centroid|^2``, the mean squared distance of
            unit vectors to their mean. Not without effect on which lists are looked into, but on no score.
        stride : int
            As the attribute.

        Returns
        -------
        Coarse
            Cost O(lists d).
        """
        wide = centroids.astype(np.float64)
        center = wide.mean(axis=0)
        moved = wide - center
        largest = np.abs(moved).max(axis=1)
        step = np.where(largest > 0, largest / 127, 1.0)
        small = np.full((len(wide), -(-wide.shape[1] // 64) * 64), 128, np.uint8)
        small[:, : wide.shape[1]] = np.rint(moved / step[:, None]) + 128
        extra = np.zeros(len(wide))
        if metric == "l2":
            extra = -np.einsum("ld,ld->l", moved, moved)
        elif metric == "cosine":
            extra = spread * (1 - np.einsum("ld,ld->l", wide, wide))
        weights = step * (2 if metric == "l2" else 1)
        mean, weight, added = (plain(np.asarray(array, np.float32)) for array in (center, weights, extra))
        # Books of fewer entries are filled up with their first one, which no code points at.
        whole = np.arange(1 << bits)
        lines = plain(np.ascontiguousarray(books[:, np.where(whole < books.shape[1], whole, 0)].transpose(0, 2, 1)))
        return cls(KINDS[metric], mean, plain(small), weight, added, lines, stride, bits)


@dataclass(frozen=True)
class Held:
    """What is in lists, as a search reads it.

    Attributes
    ----------
    begins : ndarray of shape (lists + 1,), int64
        First block of each list, and the end.
    codes : ndarray of shape (blocks, bytes, 64), uint8
        From ``to_blocks``.
    bias : ndarray of shape (blocks * 64,) or (0,), float32
        Subtracted from the score of each place.
    words : ndarray of shape (blocks,), uint64
        Bit j of word b is set where place 64 b + j may be an answer.
    counts : ndarray of shape (lists,), int64
        Such places of each list.
    total : int
        Their sum.
    ids : ndarray of shape (blocks * 64,), int64
        Id of each place.
    addresses : ndarray of shape (blocks * 64,) or (0,), int64
        Where the full vector of each place lies; empty where that must be asked for candidate by candidate.
    """

    begins: IdArray
    codes: CodeArray
    bias: FloatArray
    words: BitmapArray
    counts: IdArray
    total: int
    ids: IdArray
    addresses: IdArray = field(default_factory=lambda: plain(_NO_IDS))

    @cached_property
    def arguments(self) -> tuple[Any, ...]:
        """Everything in the order in which kernels take it."""
        return tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Limits:
    """How much a search looks at.

    Attributes
    ----------
    k : int
        Answers of each query.
    probes : int
        Lists.
    depth : int
        Candidates at most.
    sure : float, default 3.5
        A candidate is passed over when its code would have to be off by more standard deviations than this; infinity
        reads all.
    """

    k: int
    probes: int
    depth: int
    sure: float = SURE


def _coarse_arguments() -> tuple[Any, ...]:
    line, books = plain(np.zeros(1, np.float32)), plain(np.zeros((1, 1, 1), np.float32))
    return (0, line, plain(np.zeros((1, 64), np.uint8)), line, line, books, 0, 4)


def _held_arguments() -> tuple[Any, ...]:
    numbers, codes = plain(np.zeros(1, np.int64)), plain(np.zeros((1, 1, 64), np.uint8))
    line, words = plain(np.zeros(1, np.float32)), plain(np.zeros(1, np.uint64))
    return (numbers, codes, line, words, numbers, 0, numbers, numbers)


def _search_examples() -> Iterator[tuple[Any, ...]]:
    Q, flat, numbers = plain(np.zeros((1, 1), np.float32)), np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
    yield (Q, Q, *_coarse_arguments(), *_held_arguments(), 1, 1, 1.0, 0, 1, numbers, flat, numbers)


@kernel(group=GROUP, examples=_search_examples)
def _search_range(
    queries: Any, turned: Any,
    kind: Any, center: Any, small: Any, weights: Any, extra: Any, books: Any, stride: Any, bits: Any,
    begins: Any, codes: Any, bias: Any, words: Any, counts: Any, total: Any, ids: Any, addresses: Any,
    probes: Any, depth: Any, sure: Any, start: Any, stop: Any,
    names: Any, scores: Any, spent: Any,
) -> None:  # fmt: skip
    dim, books_held, ranked = queries.shape[1], books.shape[0], addresses.shape[0] > 0
    asked, parts = np.empty(dim, np.float32), np.empty(dim, np.float32)
    signed, order = np.zeros(small.shape[1], np.int8), np.empty(small.shape[0], np.uint64)
    rough = np.empty(small.shape[0], np.float32)
    tables = np.empty((books_held, books.shape[2]), np.float32)
    rounded = np.zeros(((books_held + 1) // 2 if bits == 4 else 0, 32), np.uint8)
    sums, row = np.empty(64, np.uint16), np.empty(64, np.float32)
    keys = np.empty(2 * depth + 128, np.uint64)
    places, values = np.empty(depth, np.int64), np.empty(depth, np.float32)
    factor, fewest = np.float32(2 if kind == L2 else 1), min(depth, total)
    for q in range(start, stop):
        prepare(queries[q], turned[q], kind, asked, parts)
        lists = choose_lists(
            asked, center, kind, small, weights, extra, signed, counts, probes, fewest, rough, order
        )  # fmt: skip
        fill_tables(parts, books, stride, factor, tables)
        step, lowest, most = np.float32(0), np.float32(0), 0
        if bits == 4:
            step, lowest, most = round_tables(tables, rounded)
        held, threshold, looked = 0, np.float32(-np.inf), 0
        for p in range(lists):
            number = number_of(order[p])
            begin, end = begins[number], begins[number + 1]
            fetch_block(codes, begins[number_of(order[min(p + 1, lists - 1)])])
            held, threshold = scan_list(
                codes, bias, words, begin, end, tables, rounded, step, rough[number] + lowest, most,
                sums, row, keys, held, depth, threshold,
            )  # fmt: skip
            looked += 64 * (end - begin)
        held, threshold = keep_best(keys, held, depth, threshold)
        keys[:held].sort()
        names[q, :], scores[q, :] = -1, -np.inf
        spent[q, 0], spent[q, 1], spent[q, 2], spent[q, 3] = looked, lists, 0, min(held, names.shape[1])
        if ranked:
            for c in range(held):
                places[c], values[c] = number_of(keys[c]), score_of(keys[c])
            spent[q, 2] = read_best(
                queries[q], asked, addresses, ids, places, values, held, kind, sure, names[q], scores[q]
            )  # fmt: skip
        else:
            for c in range(held):
                names[q, c], scores[q, c] = number_of(keys[c]), score_of(keys[c])


def search_lists(
    queries: FloatArray, turned: FloatArray, coarse: Coarse, held: Held, limits: Limits, *, threads: int | None = None
) -> tuple[IdArray, FloatArray, IdArray]:
    """Return the best of what lists hold: neighbours where addresses are known, places otherwise.

    Parameters
    ----------
    queries, turned : ndarray of shape (q, d), float32
        Queries, and the same rotated as the codebooks are; not zero under cosine.
    coarse : Coarse
        Centroids and codebooks.
    held : Held
        The lists.
    limits : Limits
        How much to look at.
    threads : int, optional
        Threads for a batch; the answer is the same for any.

    Returns
    -------
    names : ndarray of shape (q, k) or (q, depth), int64
        Ids, best first, equal scores by the smaller id; or places of candidates, best codes first. -1 where there was
        none.
    scores : ndarray of the same shape, float32
        Of the vectors, summed in float64; or of the codes, of which those of 4 bits are summed by bytes. -inf where
        there was none.
    spent : ndarray of shape (q, 4), int64
        Places of the lists looked into, lists, vectors read, and how many of ``names`` there are.

    Notes
    -----
    Cost of a query: a product of bytes for each list, a sum for each code of the lists looked into, 64 at a time, and
    at most ``depth`` vectors. Of equal codes at the end of the depth, the earlier places stay.
    """
    count = len(queries)
    width = limits.k if len(held.addresses) else limits.depth
    names, scores = np.empty((count, width), np.int64), np.empty((count, width), np.float32)
    spent = np.empty((count, 4), np.int64)
    view = plain(queries)
    first = (
        view,
        view if turned is queries else plain(turned),
        *coarse.arguments,
        *held.arguments,
        limits.probes,
        limits.depth,
        float(limits.sure),
    )

    def part(start: int, stop: int) -> None:
        _search_range(*first, start, stop, names, scores, spent)

    if count == 1:
        part(0, 1)
        return names, scores, spent
    # What a query looks at is about its share of all blocks.
    work = max(1, held.codes.size * limits.probes // max(1, len(held.begins)))
    map_ranges(part, count, threads=threads, minimum=max(1, _PART_WORK * 64 // work))
    return names, scores, spent
