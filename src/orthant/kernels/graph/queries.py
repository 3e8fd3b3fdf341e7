"""From queries to what kernels compare with, in one call.

At some twenty microseconds a search, every step in Python is felt. The arithmetic is that of ``index.vamana.space`` for
stored vectors: scaled and centred, rotated, encoded in eight bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.graph.sketch import SKETCH_BYTES, encode_rows, query_rows
from orthant.kernels.rotations import rotate_rows

__all__ = ["BY_LENGTH", "BY_LARGEST", "UNIT", "embed_queries", "encode_queries", "prepare_queries"]

UNIT, BY_LENGTH, BY_LARGEST = 0, 1, 2
"""How queries are scaled: to unit length, as full vectors too; to unit length, codes only; by the largest norm."""

_LEAST = 1e-300
"""Norms below are no length to divide by."""


def _embed_examples() -> Iterable[tuple[Any, ...]]:
    rows, line = np.zeros((1, 1), np.float32), np.zeros(1, np.float32)
    yield rows, 0, 1.0, 1.0, line, rows, rows, line


@kernel(group="graph", examples=_embed_examples, fastmath={"reassoc"})
def embed_queries(
    Q: Any, scaling: Any, largest: Any, farthest: Any, mean: Any, full: Any, out: Any, squares: Any
) -> None:
    """Scale and centre queries for squared Euclidean distances.

    Parameters
    ----------
    Q : ndarray of shape (q, d), float32
        Queries.
    scaling : int
        ``UNIT``, ``BY_LENGTH`` or ``BY_LARGEST``.
    largest, farthest : float
        Norm to divide by, and the largest norm from the origin that is left; under ``BY_LARGEST`` only.
    mean : ndarray of shape (e,), float32
        Centre; a last dimension that queries lack counts 0 in them.
    full : ndarray of shape (q, d), float32
        Under ``UNIT`` receives the queries at unit length; else not looked at.
    out : ndarray of shape (q, e), float32
        Written.
    squares : ndarray of shape (q,), float32
        Receives the squared norms of ``out``.
    """
    d = Q.shape[1]
    for i in range(len(Q)):
        total = 0.0
        for j in range(d):
            value = np.float64(Q[i, j])
            total += value * value
        norm = np.sqrt(total)
        if scaling == UNIT:
            for j in range(d):
                full[i, j] = np.float32(np.float64(Q[i, j]) / norm)
            scale = np.float32(1.0 / norm)
        elif scaling == BY_LENGTH:
            scale = np.float32(1.0 / max(norm, _LEAST))
        else:
            scale = np.float32(min(1.0 / largest, farthest / max(norm, _LEAST)))
        square = np.float32(0.0)
        for j in range(d):
            value = Q[i, j] * scale - mean[j]
            out[i, j] = value
            square += value * value
        for j in range(d, len(mean)):
            out[i, j] = -mean[j]
            square += mean[j] * mean[j]
        squares[i] = square


def _encode_examples() -> Iterable[tuple[Any, ...]]:
    rows, line = np.zeros((1, 1), np.float32), np.zeros(1, np.float32)
    yield rows, line, line, rows, rows, np.float32(0), np.zeros((1, 1), np.uint8)


@kernel(group="graph", examples=_encode_examples)
def encode_queries(Z: Any, squares: Any, signs: Any, left: Any, right: Any, margin: Any, rows: Any) -> None:
    """Rotate and encode what ``embed_queries`` made, reduced where vectors are.

    Parameters
    ----------
    Z : ndarray of shape (q, d), float32
        Embedded queries.
    squares : ndarray of shape (q,), float32
        Their squared norms before any reduction.
    signs, left, right : ndarray
        The rotation; see ``rotations.kronecker_factors``.
    margin : float32
        As for ``sketch.query_row``.
    rows : ndarray of shape (q, signed + 320), uint8
        Written; see ``sketch.query_row``.
    """
    count, dims = Z.shape
    turned = np.empty((count, dims), np.float32)
    rotate_rows(Z, signs, left, right, turned)
    sketches, codes = np.zeros((count, SKETCH_BYTES), np.uint8), np.zeros((count, (dims + 63) // 64 * 64), np.uint8)
    encode_rows(turned, squares, sketches, codes, 8, 0, count)
    query_rows(sketches, codes, 8, dims, margin, rows)


def _prepare_examples() -> Iterable[tuple[Any, ...]]:
    rows, line = np.zeros((1, 1), np.float32), np.zeros(1, np.float32)
    yield rows, 0, 1.0, 1.0, line, line, rows, rows, np.float32(0), rows, np.zeros((1, 1), np.uint8)


@kernel(group="graph", examples=_prepare_examples)
def prepare_queries(
    Q: Any, scaling: Any, largest: Any, farthest: Any, mean: Any, signs: Any, left: Any, right: Any, margin: Any,
    full: Any, rows: Any,
) -> None:  # fmt: skip
    """Embed and encode queries where vectors keep all their dimensions.

    Parameters
    ----------
    Q, scaling, largest, farthest, mean, full : any
        As for ``embed_queries``.
    signs, left, right, margin, rows : any
        As for ``encode_queries``.
    """
    embedded, squares = np.empty((len(Q), len(mean)), np.float32), np.empty(len(Q), np.float32)
    embed_queries(Q, scaling, largest, farthest, mean, full, embedded, squares)
    encode_queries(embedded, squares, signs, left, right, margin, rows)
