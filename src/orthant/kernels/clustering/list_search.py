"""Searches of inverted lists, from queries to hits, in one call for a batch.

Candidates are read in the order of their codes' scores. How far these were off so far tells what the next ones can come
to: once that is below the k-th best, the rest is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.addresses import load_f32, prefetch
from orthant.kernels.clustering.list_choice import number_of, score_of
from orthant.kernels.clustering.list_scan import (
    COSINE,
    DOT,
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
from orthant.kernels.simd import dot_f32, l2_f32
from orthant.threads import map_ranges
from orthant.types import BitmapArray, CodeArray, FloatArray, IdArray, Metric

__all__ = ["GROUP", "Coarse", "Held", "Limits", "rank_places", "search_lists"]

GROUP = "lists"
"""The group of kernels that inverted lists need."""

_KINDS: dict[Metric, int] = {"dot": DOT, "cosine": COSINE, "l2": L2}
_MOST = float(np.finfo(np.float32).max)
_MARGIN = 16
"""Candidates that are scored in float64 beyond those wanted."""
_LEAST_READ = 16
"""From so many vectors on it is known how far codes are off."""
_AHEAD = 2
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
        lines = plain(np.ascontiguousarray(books.transpose(0, 2, 1)))
        return cls(_KINDS[metric], mean, plain(small), weight, added, lines, stride, bits)


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
    sure: float = 3.5


@kernel(fastmath={"reassoc", "contract", "nsz"})
def _in_double(address: Any, query: Any, kind: Any) -> Any:
    """Return the score of a vector at an address, summed in float64 and rounded once."""
    value, own, other = 0.0, 0.0, 0.0
    if kind == L2:
        for i in range(query.shape[0]):
            gap = np.float64(load_f32(address + 4 * i)) - np.float64(query[i])
            value -= gap * gap
    elif kind == DOT:
        for i in range(query.shape[0]):
            value += np.float64(load_f32(address + 4 * i)) * np.float64(query[i])
    else:
        for i in range(query.shape[0]):
            x, q = np.float64(load_f32(address + 4 * i)), np.float64(query[i])
            value += x * q
            own += x * x
            other += q * q
        value /= np.sqrt(own * other)
    return np.float32(min(max(value, -_MOST), _MOST))


@kernel
def _place(value: Any, name: Any, scores: Any, names: Any) -> None:
    """Put a candidate where it belongs among the best, if it does."""
    place = scores.shape[0]
    while place > 0 and (
        scores[place - 1] < value or (scores[place - 1] == value and (names[place - 1] < 0 or names[place - 1] > name))
    ):
        place -= 1
        if place + 1 < scores.shape[0]:
            scores[place + 1], names[place + 1] = scores[place], names[place]
    if place < scores.shape[0]:
        scores[place], names[place] = value, name


@kernel
def _rough_score(address: Any, asked: Any, dim: Any, kind: Any) -> Any:
    if kind == L2:
        value = -l2_f32(address, asked, dim)
    else:
        value = dot_f32(address, asked, dim)
        if kind == COSINE:
            # Its own length from what was just read: memory is waited for, not the processor.
            value /= np.sqrt(dot_f32(address, address, dim))
    return max(value, np.float32(-_MOST))


@kernel
def _rank(
    query: Any, asked: Any, addresses: Any, told: Any, ids: Any, count: Any, kind: Any, sure: Any,
    names: Any, scores: Any,
) -> Any:  # fmt: skip
    """Write the best of some candidates, which come in the order of ``told``, and return how many were read."""
    k, dim, done = scores.shape[0], query.shape[0], 0
    kept = min(count, k + _MARGIN)
    rough, columns = np.full(kept, -np.inf, np.float32), np.full(kept, -1, np.int64)
    mean, squares, here = 0.0, 0.0, asked.ctypes.data
    for c in range(count):
        if done >= _LEAST_READ and kept >= k:
            reach = told[c] + mean + sure * np.sqrt(squares / done)
            if reach < rough[k - 1] - 1e-6 * abs(rough[k - 1]):
                break
        if c + _AHEAD < count:
            # Candidates lie anywhere: the next ones are fetched while this one is summed.
            for line in range(0, 4 * dim, 64):
                prefetch(addresses[c + _AHEAD] + line)
        value = _rough_score(addresses[c], here, dim, kind)
        _place(value, c, rough, columns)
        done += 1
        gap = np.float64(value) - np.float64(told[c])
        off = gap - mean
        mean += off / done
        squares += off * (gap - mean)
    for i in range(kept):
        if columns[i] >= 0:
            _place(_in_double(addresses[columns[i]], query, kind), ids[columns[i]], scores, names)
    return done


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
    near, values, mine = np.empty(depth, np.int64), np.empty(depth, np.float32), np.empty(depth, np.int64)
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
                place = number_of(keys[c])
                near[c], values[c], mine[c] = addresses[place], score_of(keys[c]), ids[place]
            spent[q, 2] = _rank(queries[q], asked, near, values, mine, held, kind, sure, names[q], scores[q])
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
    first = (view, view if turned is queries else plain(turned), *coarse.arguments, *held.arguments, limits.probes, limits.depth, float(limits.sure))

    def part(start: int, stop: int) -> None:
        _search_range(*first, start, stop, names, scores, spent)

    if count == 1:
        part(0, 1)
        return names, scores, spent
    # What a query looks at is about its share of all blocks.
    work = max(1, held.codes.size * limits.probes // max(1, len(held.begins)))
    map_ranges(part, count, threads=threads, minimum=max(1, _PART_WORK * 64 // work))
    return names, scores, spent


def _rank_examples() -> Iterator[tuple[Any, ...]]:
    Q, numbers = plain(np.zeros((1, 1), np.float32)), plain(np.zeros((1, 1), np.int64))
    yield Q, numbers, Q, numbers, 0, 1.0, 0, 1, np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32), np.zeros(1, np.int64)


@kernel(group=GROUP, examples=_rank_examples)
def _rank_range(
    queries: Any, addresses: Any, told: Any, ids: Any, kind: Any, sure: Any, start: Any, stop: Any,
    names: Any, scores: Any, read: Any,
) -> None:  # fmt: skip
    asked, parts = np.empty(queries.shape[1], np.float32), np.empty(queries.shape[1], np.float32)
    for q in range(start, stop):
        prepare(queries[q], queries[q], kind, asked, parts)
        count = 0
        while count < ids.shape[1] and ids[q, count] >= 0:
            count += 1
        read[q] = _rank(queries[q], asked, addresses[q], told[q], ids[q], count, kind, sure, names[q], scores[q])


def rank_places(
    queries: FloatArray,
    addresses: IdArray,
    told: FloatArray,
    ids: IdArray,
    *,
    metric: Metric,
    k: int,
    sure: float = 3.5,
    threads: int | None = None,
) -> tuple[IdArray, FloatArray, npt.NDArray[np.int64]]:
    """Score candidates by their full vectors and return the best.

    Parameters
    ----------
    queries : ndarray of shape (q, d), float32
        Queries; not zero under cosine.
    addresses : ndarray of shape (q, c), int64
        Where the vectors of the candidates lie; kept alive by the caller.
    told : ndarray of shape (q, c), float32
        What their codes scored, falling along a row.
    ids : ndarray of shape (q, c), int64
        Their ids; -1 behind the last.
    metric : {"cosine", "dot", "l2"}
        The score.
    k : int
        How many are wanted.
    sure : float, default 3.5
        As in ``Limits``.
    threads : int, optional
        Threads for a batch.

    Returns
    -------
    ids : ndarray of shape (q, k), int64
        Best first, equal scores by the smaller id; -1 where there was none.
    scores : ndarray of shape (q, k), float32
        Of the ``k + 16`` best by float32 sums, summed again in float64; -inf where there was none.
    read : ndarray of shape (q,), int64
        Vectors looked at.

    Notes
    -----
    A candidate is read unless ``told + m + sure * s`` is below the k-th best score, m and s being mean and standard
    deviation of what codes were off by among the candidates before it, 16 at least. Cost: ``read`` d products.
    """
    names, scores = np.full((len(queries), k), -1, np.int64), np.full((len(queries), k), -np.inf, np.float32)
    read = np.zeros(len(queries), np.int64)
    held = (plain(queries), plain(addresses), plain(told), plain(ids), _KINDS[metric], float(sure))
    work = max(1, addresses.shape[1] * queries.shape[1])
    map_ranges(
        lambda a, b: _rank_range(*held, a, b, names, scores, read),
        len(queries),
        threads=threads,
        minimum=max(1, _PART_WORK // work),
    )
    return names, scores, read
