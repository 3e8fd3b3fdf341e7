"""Exact scores of chosen rows with the vectors of several queries: every product and sum in float64."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.addresses import prefetch
from orthant.kernels.compiling import kernel
from orthant.kernels.files.rows import row_at
from orthant.kernels.retrieval.bm25 import GROUP

__all__ = ["COSINE", "DOT", "L2", "score_pairs"]

DOT, COSINE, L2 = 0, 1, 2

_SUMS = {"reassoc", "contract", "nsz"}
_AHEAD = 3


def _examples() -> Iterable[tuple[Any, ...]]:
    X = np.zeros((1, 1), np.float32)
    X.flags.writeable = False
    numbers = np.zeros(1, np.int64)
    room = np.zeros(1, np.float32)
    yield 0, X, np.zeros((1, 1)), numbers, numbers, numbers, 0, room, room


@kernel(fastmath=_SUMS)
def product(q: Any, x: Any) -> Any:
    """Return the dot product of a float64 vector with a float32 row."""
    total = 0.0
    for j in range(len(q)):
        total += q[j] * np.float64(x[j])
    return total


@kernel(fastmath=_SUMS)
def cosine(q: Any, x: Any) -> Any:
    """Return the cosine of a float64 unit vector and a float32 row: both sums in one pass."""
    total, square = 0.0, 0.0
    for j in range(len(q)):
        value = np.float64(x[j])
        total += q[j] * value
        square += value * value
    return total / np.sqrt(square)


@kernel(fastmath=_SUMS)
def gap(q: Any, x: Any) -> Any:
    """Return the squared distance of a float64 vector from a float32 row."""
    total = 0.0
    for j in range(len(q)):
        difference = q[j] - np.float64(x[j])
        total += difference * difference
    return total


@kernel
def score_row(metric: Any, q: Any, x: Any) -> Any:
    """Return the score of a row by the formula that defines the metric, cut at the largest float32."""
    if metric == L2:
        score = -gap(q, x)
    elif metric == COSINE:
        score = cosine(q, x)
    else:
        score = product(q, x)
    largest = np.finfo(np.float32).max
    # Overflow stays finite: -inf means that a row has no vector.
    return np.float32(max(-largest, min(largest, score)))


@kernel(group=GROUP, examples=_examples)
def score_pairs(
    files: Any, X: Any, Q: Any, queries: Any, rows: Any, places: Any, metric: Any, room: Any, out: Any
) -> None:
    """Score pairs of a query and a row by the formula that defines the metric.

    Parameters
    ----------
    files : int
        Address of the table of the files behind ``X``, whose rows are then read and not looked at, or 0.
    X : ndarray of shape (n, d), float32, read-only, C-contiguous
        Rows, such as a mapped file.
    Q : ndarray of shape (q, d), float64
        Queries; unit vectors for cosine.
    queries, rows : ndarray of shape (m,), int64
        The pairs. Equal rows of ``queries`` side by side share the cache.
    places : ndarray of shape (m,), int64
        Where in ``out`` each score goes.
    metric : int
        ``DOT``, ``COSINE`` or ``L2``, minus the squared distance.
    room : ndarray of shape (d,), float32
        For a row that is read.
    out : ndarray of shape (at least max(places) + 1,), float32
        Receives the scores, cut at the largest float32.
    """
    line, base, here = 4 * X.shape[1], X.ctypes.data, room.ctypes.data
    for i in range(len(rows)):
        q = Q[queries[i]]
        if files != 0 and row_at(files, base + line * rows[i], here, line) == here:
            out[places[i]] = score_row(metric, q, room)
            continue
        if i + _AHEAD < len(rows):
            ahead = base + line * rows[i + _AHEAD]
            for j in range(0, line, 64):
                prefetch(ahead + j)
        out[places[i]] = score_row(metric, q, X[rows[i]])
