"""The lists of several legs made into one: candidates united, scores brought to one scale, weighed and put in order.

What is computed is what :mod:`orthant.collection.fusion` computes with NumPy, rounding by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.retrieval.bm25 import GROUP

__all__ = ["fill_scores", "fuse_lists", "unite_lists"]


def _unite_examples() -> Iterable[tuple[Any, ...]]:
    numbers = np.zeros(1, np.int64)
    yield np.zeros((1, 1, 1), np.int64), numbers, numbers


@kernel(group=GROUP, examples=_unite_examples)
def unite_lists(ids: Any, candidates: Any, bounds: Any) -> None:
    """List each query's candidates: the rows that any leg brought, each once, ascending.

    Parameters
    ----------
    ids : ndarray of shape (l, q, w), int64
        Rows by leg and query; -1 is none.
    candidates : ndarray of shape (l * q * w,), int64
        Receives them, query after query.
    bounds : ndarray of shape (q + 1,), int64
        Receives where each query's begin, and the end.
    """
    size = 0
    bounds[0] = 0
    for i in range(ids.shape[1]):
        begin = size
        for leg in range(ids.shape[0]):
            for j in range(ids.shape[2]):
                if ids[leg, i, j] >= 0:
                    candidates[size] = ids[leg, i, j]
                    size += 1
        found = np.sort(candidates[begin:size])
        size = begin
        for j in range(len(found)):
            if j == 0 or found[j] != found[j - 1]:
                candidates[size] = found[j]
                size += 1
        bounds[i + 1] = size


@kernel
def place_of(candidates: Any, begin: Any, stop: Any, row: Any) -> Any:
    """Return the place of a row in a range of ascending rows that holds it."""
    low, high = begin, stop - 1
    while low < high:
        middle = (low + high) >> 1
        if candidates[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


def _fill_examples() -> Iterable[tuple[Any, ...]]:
    numbers, floats = np.zeros(1, np.int64), np.zeros(1, np.float32)
    yield numbers, numbers, np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32), floats


@kernel(group=GROUP, examples=_fill_examples)
def fill_scores(candidates: Any, bounds: Any, ids: Any, scores: Any, out: Any) -> None:
    """Put the scores of rows at the places of the candidates that they are.

    Parameters
    ----------
    candidates, bounds : ndarray of int64
        From ``unite_lists``.
    ids : ndarray of shape (q, w), int64
        Rows by query, each a candidate; -1 is none.
    scores : ndarray of shape (q, w), float32
        Their scores.
    out : ndarray of shape (m,), float32
        Changed where a row is.
    """
    for i in range(ids.shape[0]):
        for j in range(ids.shape[1]):
            if ids[i, j] >= 0:
                out[place_of(candidates, bounds[i], bounds[i + 1], ids[i, j])] = scores[i, j]


@kernel
def rescale(scores: Any, low: Any, out: Any) -> None:
    """Bring scores to [0, 1]; ``low`` is what maps to 0, NaN for the smallest present."""
    high, smallest = -np.inf, np.inf
    for j in range(len(scores)):
        value = np.float64(scores[j])
        if np.isfinite(value):
            high = max(high, value)
            smallest = min(smallest, value)
    given = not np.isnan(low)
    bottom = low if given else smallest
    spread = high - bottom if np.isfinite(high) else 0.0
    for j in range(len(scores)):
        value = np.float64(scores[j])
        if not np.isfinite(value):
            out[j] = np.float32(0)
        elif spread > 0:
            out[j] = np.float32(max(0.0, min(1.0, (value - bottom) / spread)))
        else:
            out[j] = np.float32(0 if given else 1)


def _fuse_examples() -> Iterable[tuple[Any, ...]]:
    numbers, wide, floats = np.zeros(1, np.int64), np.zeros((1, 1), np.int64), np.zeros((1, 1), np.float32)
    ids, doubles, present = np.zeros((1, 1, 1), np.int64), np.zeros(1), np.zeros((1, 1), np.bool_)
    yield ids, numbers, numbers, present, doubles, doubles, 0, numbers, floats[0], floats, wide, floats


@kernel(group=GROUP, examples=_fuse_examples)
def fuse_lists(
    ids: Any, candidates: Any, bounds: Any, present: Any, lows: Any, weights: Any, constant: Any, rows: Any, fused: Any,
    raw: Any, places: Any, parts: Any,
) -> None:  # fmt: skip
    """Weigh the legs' scores of every candidate, and put each query's candidates in order.

    Parameters
    ----------
    ids : ndarray of shape (l, q, w), int64
        Rows by leg and query, best first; -1 is none.
    candidates, bounds : ndarray of int64
        From ``unite_lists``.
    present : ndarray of shape (l, q), bool
        Which legs a query has.
    lows : ndarray of shape (l,), float64
        What maps to 0 in each leg; NaN for the smallest score.
    weights : ndarray of shape (l,), float64
        Of each leg.
    constant : int
        Of reciprocal ranks; 0 for scores from the smallest to the largest.
    rows : ndarray of shape (m,), int64
        Receives the candidates in order: the best first, equal ones by the smaller row.
    fused : ndarray of shape (m,), float32
        Receives what they are ordered by.
    raw : ndarray of shape (l, m), float32
        Scores of the candidates by leg, -inf for none; put in order.
    places : ndarray of shape (l, m), int64
        Receives from 1 the places in the legs' lists, 0 for none, in order.
    parts : ndarray of shape (l, m), float32
        Receives what each leg adds before it is weighed, in order.
    """
    legs = ids.shape[0]
    for i in range(ids.shape[1]):
        begin, stop = bounds[i], bounds[i + 1]
        size = stop - begin
        total = np.zeros(size)
        for leg in range(legs):
            places[leg, begin:stop] = 0
            if not present[leg, i]:
                continue
            for j in range(ids.shape[2]):
                if ids[leg, i, j] >= 0:
                    places[leg, place_of(candidates, begin, stop, ids[leg, i, j])] = j + 1
            if constant > 0:
                for j in range(begin, stop):
                    place = places[leg, j]
                    parts[leg, j] = np.float32((constant + 1) / (constant + place)) if place > 0 else np.float32(0)
            else:
                rescale(raw[leg, begin:stop], lows[leg], parts[leg, begin:stop])
            for j in range(size):
                total[j] += weights[leg] * np.float64(parts[leg, begin + j])
        value = np.empty(size, np.float32)
        for j in range(size):
            value[j] = -np.float32(total[j])
        # Stable, so that candidates, which ascend, keep their order where they are equal.
        order = np.argsort(value, kind="mergesort")
        for j in range(size):
            rows[begin + j] = candidates[begin + order[j]]
            fused[begin + j] = -value[order[j]]
        for leg in range(legs):
            scores, seats, shares = (
                raw[leg, begin:stop].copy(),
                places[leg, begin:stop].copy(),
                parts[leg, begin:stop].copy(),
            )
            for j in range(size):
                raw[leg, begin + j] = scores[order[j]]
                places[leg, begin + j] = seats[order[j]]
                parts[leg, begin + j] = shares[order[j]]
