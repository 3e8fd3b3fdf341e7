"""Disambiguated skip-gram: a word has several vectors, and its context says how much of each is meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.skipgram.sampling import GROUP, draw, next_state, uniform
from orthant.kernels.skipgram.words import learn_target, thin_out

__all__ = ["sense_scores", "train_senses"]

_FLAGS = {"reassoc", "contract", "nsz"}


@kernel(forceinline=True, fastmath=_FLAGS)
def _context_mean(words: Any, centre: Any, low: Any, high: Any, outputs: Any, context: Any) -> Any:
    context[:] = 0.0
    used = 0
    for place in range(low, high):
        if place != centre:
            used += 1
            for j in range(context.shape[0]):
                context[j] += outputs[words[place], j]
    if used > 0:
        scale = np.float32(1.0 / used)
        for j in range(context.shape[0]):
            context[j] *= scale
    return used


@kernel(forceinline=True, fastmath=_FLAGS)
def sense_scores(context: Any, weights: Any, biases: Any, scores: Any) -> None:
    """Fill the logits of a word's senses in a context.

    Parameters
    ----------
    context : ndarray of shape (d,), float32
        Mean of the context words' output vectors.
    weights : ndarray of shape (S, d), float32
        Of the word.
    biases : ndarray of shape (S,), float32
        Of the word.
    scores : ndarray of shape (S,), float64
        Filled.
    """
    for s in range(scores.shape[0]):
        total = np.float32(0.0)
        for j in range(context.shape[0]):
            total += weights[s, j] * context[j]
        scores[s] = total + biases[s]


@kernel(forceinline=True)
def _softmax(scores: Any, temperature: Any, out: Any) -> None:
    largest = scores.max()
    total = 0.0
    for s in range(scores.shape[0]):
        out[s] = np.exp((scores[s] - largest) / temperature)
        total += out[s]
    for s in range(scores.shape[0]):
        out[s] /= total


@kernel(forceinline=True, fastmath=_FLAGS)
def _move_choice(context: Any, z: Any, p: Any, gains: Any, rate: Any, temperature: Any, gamma: Any, weights: Any,
                 biases: Any) -> None:  # fmt: skip
    """Ascend the likelihood through the relaxed choice, and descend ``gamma`` times the entropy of the plain one."""
    mean, entropy = 0.0, 0.0
    for s in range(z.shape[0]):
        mean += z[s] * gains[s]
        entropy -= p[s] * np.log(p[s] + 1e-12)
    for s in range(z.shape[0]):
        slope = rate * z[s] * (gains[s] - mean) / temperature + rate * gamma * p[s] * (np.log(p[s] + 1e-12) + entropy)
        biases[s] += np.float32(slope)
        for j in range(context.shape[0]):
            weights[s, j] += np.float32(slope) * context[j]


def _examples() -> Iterator[tuple[Any, ...]]:
    ints, longs, floats = np.zeros(1, np.int32), np.zeros(2, np.int64), np.zeros(1, np.float32)
    rows, cube = np.zeros((1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    yield (ints, longs, 0, 1, floats, floats, ints, floats, cube, rows, cube, rows, 5, 5, 0.1, 1.0, 0.0, True, True,
           np.uint64(1), np.zeros((1, 1)))  # fmt: skip


@kernel(group=GROUP, examples=_examples, fastmath=_FLAGS)
def train_senses(
    tokens: Any,
    offsets: Any,
    first: Any,
    last: Any,
    keep: Any,
    thresholds: Any,
    aliases: Any,
    table: Any,
    senses: Any,
    outputs: Any,
    weights: Any,
    biases: Any,
    window: Any,
    negatives: Any,
    rate: Any,
    temperature: Any,
    gamma: Any,
    noisy: Any,
    choose: Any,
    state: Any,
    priors: Any,
) -> None:
    """Go once over some passages, changing vectors of senses and contexts and what chooses between senses.

    Parameters
    ----------
    tokens, offsets, first, last, keep, thresholds, aliases, table
        As for ``train_words``.
    senses : ndarray of shape (V, S, d), float32
        A vector per word and sense; changed.
    outputs : ndarray of shape (V, d), float32
        Vectors of contexts; changed.
    weights : ndarray of shape (V or 1, S, d), float32
        What chooses senses by the mean of the context's output vectors; one for all words in the first phase.
    biases : ndarray of shape (V or 1, S), float32
        Likewise.
    window : int
        Words to either side.
    negatives : int
        Noise words per neighbour.
    rate : float
        Step of this round.
    temperature : float
        Of the relaxed choice.
    gamma : float
        Weight of the entropy of choices as a cost, once per neighbour; negative keeps senses in use.
    noisy : bool
        Add Gumbel noise to the choice.
    choose : bool
        Whether weights and biases move; without, they stay as they were drawn.
    state : uint64
        Seed of the random generator.
    priors : ndarray of shape (V, S), float64
        Plain choices are added to it; no rows adds nothing.

    Notes
    -----
    ``v = sum_s z_s v_{w,s}`` with ``z = softmax((A_w c + b_w + Gumbel) / T)`` predicts each neighbour against noise; c,
    the mean of the context's output vectors, is taken as constant. Cost: that of skip-gram, and O(S d) per word.

    References
    ----------
    Grzegorczyk, Kurdziel: Disambiguated skip-gram model. EMNLP 2018, section 3.
    """
    dim, count_senses = outputs.shape[1], senses.shape[1]
    context, vector, gradient = np.empty(dim, np.float32), np.empty(dim, np.float32), np.empty(dim, np.float32)
    scores, z, p, gains = (np.empty(count_senses), np.empty(count_senses), np.empty(count_senses),
                           np.empty(count_senses))  # fmt: skip
    longest = 0
    for passage in range(first, last):
        longest = max(longest, offsets[passage + 1] - offsets[passage])
    kept = np.empty(longest, np.int32)
    step = np.float32(rate)
    for passage in range(first, last):
        count, state = thin_out(tokens, offsets[passage], offsets[passage + 1], keep, kept, state)
        for centre in range(count):
            word = kept[centre]
            low, high = max(0, centre - window), min(count, centre + window + 1)
            used = _context_mean(kept, centre, low, high, outputs, context)
            if used == 0:
                continue
            mine = word if weights.shape[0] > 1 else 0
            sense_scores(context, weights[mine], biases[mine], scores)
            _softmax(scores, 1.0, p)
            if priors.shape[0] > 0:
                priors[word] += p
            if noisy:
                for s in range(count_senses):
                    state = next_state(state)
                    scores[s] -= np.log(-np.log(uniform(state) + 1e-10) + 1e-10)
            _softmax(scores, temperature, z)
            vector[:] = 0.0
            gradient[:] = 0.0
            for s in range(count_senses):
                for j in range(dim):
                    vector[j] += np.float32(z[s]) * senses[word, s, j]
            for place in range(low, high):
                if place == centre:
                    continue
                learn_target(vector, outputs, kept[place], np.float32(1.0), step, table, gradient)
                for _ in range(negatives):
                    state = next_state(state)
                    noise = draw(thresholds, aliases, state)
                    if noise != kept[place]:
                        learn_target(vector, outputs, noise, np.float32(0.0), step, table, gradient)
            for s in range(count_senses):
                gains[s] = 0.0
                for j in range(dim):
                    gains[s] += gradient[j] * senses[word, s, j] / step
                    senses[word, s, j] += np.float32(z[s]) * gradient[j]
            if choose:
                _move_choice(context, z, p, gains, step, temperature, gamma * used, weights[mine], biases[mine])
