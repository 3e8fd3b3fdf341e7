"""Candidates of inverted lists by their full vectors, as many of them as can be among the best.

They are read in the order of their codes' scores. How far these were off so far tells what the next ones can come to:
once that is below the k-th best, the rest is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.addresses import load_f32, prefetch
from orthant.kernels.clustering.list_scan import COSINE, DOT, L2, prepare
from orthant.kernels.compiling import kernel
from orthant.kernels.rows import plain
from orthant.kernels.simd import dot_f32, l2_f32
from orthant.threads import map_ranges
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["GROUP", "KINDS", "SURE", "rank_places", "read_best"]

GROUP = "lists"
"""The group of kernels that inverted lists need."""

KINDS: dict[Metric, int] = {"dot": DOT, "cosine": COSINE, "l2": L2}
"""Scores, as kernels are told of them."""

SURE = 3.5
"""A candidate is passed over when its code would have to be off by more standard deviations than this."""

_MOST = float(np.finfo(np.float32).max)
_MARGIN = 16
"""Candidates that are scored in float64 beyond those wanted."""
_LEAST_READ = 16
"""From so many vectors on it is known how far codes are off."""
_AHEAD = 2
_ROUNDING = float(np.finfo(np.float32).eps) / 2
_PART_WORK = 1 << 16


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
def read_best(
    query: Any, asked: Any, addresses: Any, ids: Any, places: Any, told: Any, count: Any, kind: Any, sure: Any,
    names: Any, scores: Any,
) -> Any:  # fmt: skip
    """Write the best of some candidates, and return how many were read.

    Parameters
    ----------
    query, asked : ndarray of shape (d,), float32
        The query as it came, and as ``prepare`` wrote it.
    addresses, ids : ndarray of shape (n,), int64
        Where the vector of each place lies, and its id.
    places : ndarray of shape (c,), int64
        The candidates.
    told : ndarray of shape (c,), float32
        What their codes scored, falling.
    count : int
        How many there are.
    kind : int
        The score.
    sure : float
        Standard deviations that a code may be off by.
    names, scores : ndarray of shape (k,), int64 and float32
        Written, best first; -1 and -inf before.

    Returns
    -------
    int64
        Vectors read.
    """
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
                prefetch(addresses[places[c + _AHEAD]] + line)
            prefetch(addresses.ctypes.data + 8 * places[min(c + 3 * _AHEAD, count - 1)])
        value = _rough_score(addresses[places[c]], here, dim, kind)
        _place(value, c, rough, columns)
        done += 1
        gap = np.float64(value) - np.float64(told[c])
        off = gap - mean
        mean += off / done
        squares += off * (gap - mean)
    least = rough[min(kept, k) - 1] - _slack(rough[min(kept, k) - 1], dim, kind)
    for i in range(kept):
        if columns[i] >= 0 and rough[i] >= least:
            place = places[columns[i]]
            _place(_in_double(addresses[place], query, kind), ids[place], scores, names)
    return done


@kernel
def _slack(value: Any, dim: Any, kind: Any) -> Any:
    """Return how far a float32 sum may be below a true one that is better than ``value``."""
    if kind == DOT:
        # Products of any size may cancel each other.
        return np.float32(np.inf)
    return np.float32(4 * _ROUNDING * dim) * (abs(value) if kind == L2 else np.float32(1))


def _rank_examples() -> Iterator[tuple[Any, ...]]:
    Q, numbers = plain(np.zeros((1, 1), np.float32)), plain(np.zeros((1, 1), np.int64))
    yield (
        Q,
        numbers,
        Q,
        numbers,
        0,
        1.0,
        0,
        1,
        np.zeros((1, 1), np.int64),
        np.zeros((1, 1), np.float32),
        np.zeros(1, np.int64),
    )


@kernel(group=GROUP, examples=_rank_examples)
def _rank_range(
    queries: Any, addresses: Any, told: Any, ids: Any, kind: Any, sure: Any, start: Any, stop: Any,
    names: Any, scores: Any, read: Any,
) -> None:  # fmt: skip
    asked, parts = np.empty(queries.shape[1], np.float32), np.empty(queries.shape[1], np.float32)
    places = np.arange(ids.shape[1])
    for q in range(start, stop):
        prepare(queries[q], queries[q], kind, asked, parts)
        count = 0
        while count < ids.shape[1] and ids[q, count] >= 0:
            count += 1
        read[q] = read_best(
            queries[q], asked, addresses[q], ids[q], places, told[q], count, kind, sure, names[q], scores[q]
        )  # fmt: skip


def rank_places(
    queries: FloatArray,
    addresses: IdArray,
    told: FloatArray,
    ids: IdArray,
    *,
    metric: Metric,
    k: int,
    sure: float = SURE,
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
    held = (plain(queries), plain(addresses), plain(told), plain(ids), KINDS[metric], float(sure))
    work = max(1, addresses.shape[1] * queries.shape[1])
    map_ranges(
        lambda a, b: _rank_range(*held, a, b, names, scores, read),
        len(queries),
        threads=threads,
        minimum=max(1, _PART_WORK // work),
    )
    return names, scores, read
