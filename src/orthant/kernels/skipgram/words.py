"""Skip-gram with negative sampling: a word's vector learns to tell its neighbours from noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.skipgram.sampling import GROUP, draw, next_state, sigmoid, uniform

__all__ = ["learn_target", "thin_out", "train_words"]


@kernel(forceinline=True)
def thin_out(tokens: Any, begin: Any, end: Any, keep: Any, kept: Any, state: Any) -> Any:
    """Copy a passage without most of its frequent words.

    Parameters
    ----------
    tokens : ndarray of shape (T,), int32
        Word numbers.
    begin, end : int
        The passage.
    keep : ndarray of shape (V,), float32
        Probability of keeping an occurrence of each word.
    kept : ndarray of shape (at least end - begin,), int32
        Filled from its start.
    state : uint64
        Of the random generator.

    Returns
    -------
    count : int64
        Words kept.
    state : uint64
        The one to go on with.
    """
    count = 0
    for position in range(begin, end):
        word = tokens[position]
        if keep[word] < 1.0:
            state = next_state(state)
            if uniform(state) >= keep[word]:
                continue
        kept[count] = word
        count += 1
    return count, state


@kernel(forceinline=True, fastmath={"reassoc", "contract", "nsz"})
def learn_target(row: Any, outputs: Any, target: Any, label: Any, rate: Any, table: Any, gradient: Any) -> None:
    """Move one output vector by its gradient and add up that of the input.

    Parameters
    ----------
    row : ndarray of shape (d,), float32
        The input vector; not changed.
    outputs : ndarray of shape (V, d), float32
        Row ``target`` is changed.
    target : int
        The word to be told.
    label : float32
        1 for a word that was there, 0 for noise.
    rate : float32
        Step.
    table : ndarray of shape (1536,), float32
        Of the sigmoid.
    gradient : ndarray of shape (d,), float32
        Added to, ``rate`` included.
    """
    dim = row.shape[0]
    product = np.float32(0.0)
    for j in range(dim):
        product += row[j] * outputs[target, j]
    step = np.float32((label - sigmoid(table, product)) * rate)
    for j in range(dim):
        gradient[j] += step * outputs[target, j]
        outputs[target, j] += step * row[j]


def _examples() -> Iterator[tuple[Any, ...]]:
    ints, floats, rows = np.zeros(1, np.int32), np.zeros(1, np.float32), np.zeros((1, 1), np.float32)
    bounds = np.zeros(2, np.int64)
    yield ints, bounds, 0, 1, floats, floats, ints, floats, rows, rows, 5, 5, 0.1, 0.1, 0, 1, np.uint64(1)


@kernel(group=GROUP, examples=_examples, fastmath={"reassoc", "contract", "nsz"})
def train_words(
    tokens: Any,
    offsets: Any,
    first: Any,
    last: Any,
    keep: Any,
    thresholds: Any,
    aliases: Any,
    table: Any,
    inputs: Any,
    outputs: Any,
    window: Any,
    negatives: Any,
    rate: Any,
    floor: Any,
    before: Any,
    total: Any,
    state: Any,
) -> None:
    """Go once over some passages of a text, changing both tables of vectors in place.

    Parameters
    ----------
    tokens : ndarray of shape (T,), int32
        Word numbers, passage after passage.
    offsets : ndarray of shape (n + 1,), int64
        Where passages begin; a window never crosses into another.
    first, last : int
        Passages to read.
    keep : ndarray of shape (V,), float32
        Probability of keeping an occurrence of each word.
    thresholds, aliases : ndarray of shape (V,), float32 and int32
        Of the noise, from ``alias_table``.
    table : ndarray of shape (1536,), float32
        Of the sigmoid.
    inputs, outputs : ndarray of shape (V, d), float32
        Vectors of words and of contexts; changed. Threads may share them: see Notes.
    window : int
        Most words to either side; each place draws its own from 1 to this, so near words count more.
    negatives : int
        Noise words per neighbour.
    rate, floor : float
        Step at the start of the whole training, and the least one.
    before, total : int
        Tokens of earlier rounds, and of all rounds: the step falls linearly with the place in the text.
    state : uint64
        Seed of the random generator.

    Notes
    -----
    For a word c, a neighbour o and noise n: ascends ``log s(o . c) + sum_n log s(-n . c)``. Threads that share the
    tables write without locks: a few steps are lost, and the result depends on timing. One thread repeats itself to
    the bit. Cost: about ``T window (negatives + 1) 6 d`` floating-point operations a round, less what is thinned out.

    References
    ----------
    Mikolov, Sutskever, Chen, Corrado, Dean: Distributed representations of words and phrases and their
    compositionality. NIPS 2013, sections 2.2 and 2.3. Niu, Recht, Re, Wright: Hogwild. NIPS 2011.
    """
    gradient = np.empty(inputs.shape[1], np.float32)
    longest = 0
    for passage in range(first, last):
        longest = max(longest, offsets[passage + 1] - offsets[passage])
    kept = np.empty(longest, np.int32)
    for passage in range(first, last):
        begin, end = offsets[passage], offsets[passage + 1]
        step = np.float32(max(floor, rate * (1.0 - (before + begin) / total)))
        count, state = thin_out(tokens, begin, end, keep, kept, state)
        for centre in range(count):
            state = next_state(state)
            reach = 1 + np.int64(uniform(state) * window)
            row = inputs[kept[centre]]
            first_place, after = max(0, centre - reach), min(count, centre + reach + 1)
            for place in range(first_place, after):  # type: ignore[call-overload]
                if place == centre:
                    continue
                context = kept[place]
                gradient[:] = 0.0
                learn_target(row, outputs, context, np.float32(1.0), step, table, gradient)
                for _ in range(negatives):
                    state = next_state(state)
                    noise = draw(thresholds, aliases, state)
                    if noise != context:
                        learn_target(row, outputs, noise, np.float32(0.0), step, table, gradient)
                for j in range(gradient.shape[0]):
                    row[j] += gradient[j]
