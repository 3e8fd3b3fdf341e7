"""Paragraph vectors: one vector per document that predicts its words, through bits if wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.skipgram.sampling import GROUP, draw, next_state, sigmoid
from orthant.kernels.skipgram.words import thin_out

__all__ = ["LINEAR", "ROUNDED", "SMOOTH", "train_paragraphs"]

LINEAR, SMOOTH, ROUNDED = 0, 1, 2
"""What the words are predicted from: the vector itself, its sigmoid, or the sigmoid rounded to a bit."""

_FLAGS = {"reassoc", "contract", "nsz", "arcp"}


@kernel(forceinline=True, fastmath=_FLAGS)
def _hidden(vector: Any, projection: Any, kind: Any, slopes: Any, hidden: Any) -> None:
    """Fill what words see of a document, and its derivative before rounding."""
    for bit in range(hidden.shape[0]):
        value = np.float32(0.0)
        if projection.shape[0] > 0:
            for j in range(vector.shape[0]):
                value += projection[bit, j] * vector[j]
        else:
            value = vector[bit]
        if kind == 0:
            hidden[bit], slopes[bit] = value, np.float32(1.0)
            continue
        smooth = np.float32(1.0) / (np.float32(1.0) + np.exp(-value))
        slopes[bit] = smooth * (np.float32(1.0) - smooth)
        # Forward a bit, backward as if it had not been rounded.
        hidden[bit] = smooth if kind == 1 else (np.float32(1.0) if value > 0 else np.float32(0.0))


@kernel(forceinline=True, fastmath=_FLAGS)
def _predict(
    hidden: Any, outputs: Any, sums: Any, target: Any, label: Any, rate: Any, learn: Any, table: Any, gradient: Any
) -> None:
    """Add the gradient of one prediction; move the word's vector, whose last column is a bias, by a row's AdaGrad."""
    bits = hidden.shape[0]
    product = outputs[target, bits]
    for j in range(bits):
        product += hidden[j] * outputs[target, j]
    error = label - sigmoid(table, product)
    for j in range(bits):
        gradient[j] += error * outputs[target, j]
    if learn:
        sums[target] += error * error
        step = np.float32(error * rate / np.sqrt(sums[target] + np.float32(1e-8)))
        for j in range(bits):
            outputs[target, j] += step * hidden[j]
        outputs[target, bits] += step


@kernel(forceinline=True, fastmath=_FLAGS)
def _move(vector: Any, squares: Any, projection: Any, projection_squares: Any, rate: Any, learn: Any, gradient: Any,
          back: Any) -> None:  # fmt: skip
    """Move a document by AdaGrad, and the projection that all share."""
    bits, dim = gradient.shape[0], vector.shape[0]
    if projection.shape[0] > 0:
        back[:] = 0.0
        for bit in range(bits):
            for j in range(dim):
                back[j] += gradient[bit] * projection[bit, j]
        if learn:
            for bit in range(bits):
                size = np.float32(0.0)
                for j in range(dim):
                    size += vector[j] * vector[j]
                projection_squares[bit] += gradient[bit] * gradient[bit] * size / np.float32(dim)
                step = np.float32(rate * gradient[bit] / np.sqrt(projection_squares[bit] + np.float32(1e-8)))
                for j in range(dim):
                    projection[bit, j] += step * vector[j]
    else:
        for bit in range(bits):
            back[bit] = gradient[bit]
    for j in range(dim):
        squares[j] += back[j] * back[j]
        vector[j] += np.float32(rate) * back[j] / np.sqrt(squares[j] + np.float32(1e-8))


def _examples() -> Iterator[tuple[Any, ...]]:
    ints, longs, floats, rows = (
        np.zeros(1, np.int32), np.zeros(2, np.int64), np.zeros(1, np.float32), np.zeros((1, 1), np.float32)
    )  # fmt: skip
    tables = rows, rows, rows, floats, rows, floats
    yield ints, longs, longs, 0, 1, floats, floats, ints, floats, *tables, 2, 5, 32, 0.1, 0.1, True, np.uint64(1)


@kernel(group=GROUP, examples=_examples, fastmath=_FLAGS)
def train_paragraphs(
    tokens: Any,
    offsets: Any,
    order: Any,
    first: Any,
    last: Any,
    keep: Any,
    thresholds: Any,
    aliases: Any,
    table: Any,
    documents: Any,
    squares: Any,
    projection: Any,
    projection_squares: Any,
    outputs: Any,
    sums: Any,
    kind: Any,
    negatives: Any,
    batch: Any,
    rate: Any,
    word_rate: Any,
    learn: Any,
    state: Any,
) -> None:
    """Go once over some documents, changing their vectors in place, and those of words where they are learned.

    Parameters
    ----------
    tokens : ndarray of shape (T,), int32
        Word numbers, document after document.
    offsets : ndarray of shape (n + 1,), int64
        Where documents begin.
    order : ndarray of shape (n,), int64
        In which they are read.
    first, last : int
        Part of ``order``.
    keep, thresholds, aliases, table
        As for ``train_words``.
    documents, squares : ndarray of shape (n, D), float32
        Vectors, and sums of their squared gradients; changed.
    projection : ndarray of shape (b, D), float32
        From vectors to what is rounded, shared by all; no rows where D is b and there is none.
    projection_squares : ndarray of shape (b,), float32
        Sums of squared gradients of its rows.
    outputs : ndarray of shape (V, b + 1), float32
        Vectors of words with a bias as last column; changed where ``learn``.
    sums : ndarray of shape (V,), float32
        Sums of squared errors of words.
    kind : int
        ``LINEAR``, ``SMOOTH`` or ``ROUNDED``.
    negatives : int
        Noise words per word.
    batch : int
        Words between two steps of a document.
    rate, word_rate : float
        AdaGrad steps of documents and of words.
    learn : bool
        Whether words and projection move; new documents are placed without.
    state : uint64
        Seed of the random generator.

    Notes
    -----
    Rounding passes the gradient of the sigmoid through. A step divides by the root of what a row's gradients came to,
    so documents of any length and words of any frequency need one rate. Cost: O(T (negatives + 1) b) a round, and
    O(T / batch b D) more with a projection.

    References
    ----------
    Le, Mikolov: Distributed representations of sentences and documents. ICML 2014, section 2.3. Grzegorczyk,
    Kurdziel: Binary paragraph vectors. arXiv 1611.01116, section 2.
    """
    bits, dim = outputs.shape[1] - 1, documents.shape[1]
    hidden, slopes = np.empty(bits, np.float32), np.empty(bits, np.float32)
    gradient, back = np.empty(bits, np.float32), np.empty(dim, np.float32)
    longest = 0
    for place in range(first, last):
        longest = max(longest, offsets[order[place] + 1] - offsets[order[place]])
    kept = np.empty(longest, np.int32)
    for place in range(first, last):
        number = order[place]
        count, state = thin_out(tokens, offsets[number], offsets[number + 1], keep, kept, state)
        vector = documents[number]
        for start in range(0, count, batch):
            _hidden(vector, projection, kind, slopes, hidden)
            gradient[:] = 0.0
            for position in range(start, min(start + batch, count)):
                word = kept[position]
                _predict(hidden, outputs, sums, word, np.float32(1.0), word_rate, learn, table, gradient)
                for _ in range(negatives):
                    state = next_state(state)
                    noise = draw(thresholds, aliases, state)
                    if noise != word:
                        _predict(hidden, outputs, sums, noise, np.float32(0.0), word_rate, learn, table, gradient)
            for bit in range(bits):
                gradient[bit] *= slopes[bit]
            _move(vector, squares[number], projection, projection_squares, rate, learn, gradient, back)
