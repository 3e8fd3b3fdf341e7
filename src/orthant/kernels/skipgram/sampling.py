"""What the loops draw from: a random generator of one number, noise words in constant time, a table of the sigmoid."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.kernels.compiling import kernel
from orthant.types import FloatArray

__all__ = [
    "GROUP",
    "alias_table",
    "draw",
    "keep_probabilities",
    "next_state",
    "sigmoid",
    "sigmoid_table",
    "uniform",
]

GROUP = "skipgram"
"""The group of kernels that learn from running text."""

_REACH = 6.0
_ENTRIES = 1_536


@kernel(forceinline=True)
def next_state(state: Any) -> Any:
    """Return the state that follows: a linear congruential generator of 64 bits.

    Parameters
    ----------
    state : uint64
        Any number.

    Returns
    -------
    uint64
        To be kept by the caller; only its upper half is random enough to use.
    """
    return state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)


@kernel(forceinline=True)
def uniform(state: Any) -> Any:
    """Return the number in [0, 1) that a state stands for.

    Parameters
    ----------
    state : uint64
        From ``next_state``.

    Returns
    -------
    float64
        A multiple of 2^-31.
    """
    return np.float64(np.int64(state >> np.uint64(33))) * (1.0 / 2147483648.0)


@kernel(forceinline=True)
def draw(thresholds: Any, aliases: Any, state: Any) -> Any:
    """Return a noise word for a state, by one look into the alias table.

    Parameters
    ----------
    thresholds : ndarray of shape (V,), float32
        Probability that a place stands for its own word.
    aliases : ndarray of shape (V,), int32
        The other word of each place.
    state : uint64
        From ``next_state``.

    Returns
    -------
    int64
        From 0 to V - 1.
    """
    # One number gives the place by its whole part and the coin by its fraction.
    scaled = uniform(state) * thresholds.shape[0]
    place = np.int64(scaled)
    return place if scaled - place < thresholds[place] else np.int64(aliases[place])


@kernel(forceinline=True)
def sigmoid(table: Any, value: Any) -> Any:
    """Return the logistic function of a value, to within a thousandth.

    Parameters
    ----------
    table : ndarray of shape (1536,), float32
        From ``sigmoid_table``.
    value : float32
        Beyond 6 on either side, 0 or 1 comes back.

    Returns
    -------
    float32
        From 0 to 1.
    """
    if value >= 6.0:
        return np.float32(1.0)
    if value <= -6.0:
        return np.float32(0.0)
    return table[np.int64((value + 6.0) * (1536.0 / 12.0))]


def sigmoid_table() -> FloatArray:
    """Return the logistic function in the middle of 1,536 steps from -6 to 6.

    Returns
    -------
    ndarray of shape (1536,), float32
        Ascending.
    """
    middles = (np.arange(_ENTRIES) + 0.5) * (2 * _REACH / _ENTRIES) - _REACH
    return (1.0 / (1.0 + np.exp(-middles))).astype(np.float32)


def keep_probabilities(counts: npt.NDArray[np.int64], sample: float) -> FloatArray:
    """Return how often an occurrence of each word is kept, so that frequent words do not fill the windows.

    Parameters
    ----------
    counts : ndarray of shape (V,), int64
        Occurrences.
    sample : float
        Share of the text above which a word is thinned out; 0 keeps everything. 1e-3 to 1e-5 are usual, the smaller
        the larger the text.

    Returns
    -------
    ndarray of shape (V,), float32
        ``sqrt(t / f) + t / f`` for share f and ``sample`` t, at most 1.

    Notes
    -----
    This is what the published program computes; the article gives ``sqrt(t / f)`` alone.
    """
    if sample == 0 or not len(counts):
        return np.ones(len(counts), dtype=np.float32)
    ratio = sample * counts.sum() / np.maximum(counts, 1)
    return np.minimum(np.sqrt(ratio) + ratio, 1.0).astype(np.float32)


def alias_table(weights: npt.NDArray[np.float64]) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Prepare draws in constant time from any distribution.

    Parameters
    ----------
    weights : ndarray of shape (V,), float64
        Not negative, one of them positive; need not sum to 1.

    Returns
    -------
    thresholds : ndarray of shape (V,), float32
        Probability that a place stands for its own word.
    aliases : ndarray of shape (V,), int32
        The other word of each place.

    Notes
    -----
    Cost: O(V) once; a table of repeated words, as is usual, rounds shares and outgrows the cache.

    References
    ----------
    Vose: A linear algorithm for generating random numbers with a given distribution. IEEE Transactions on Software
    Engineering 17(9), 1991.

    Examples
    --------
    >>> thresholds, aliases = alias_table(np.array([1.0, 3.0]))
    >>> thresholds.tolist(), aliases.tolist()
    ([0.5, 1.0], [1, 1])
    """
    scaled = np.asarray(weights, dtype=np.float64) * (len(weights) / np.sum(weights))
    thresholds, aliases = np.ones(len(scaled), dtype=np.float64), np.arange(len(scaled), dtype=np.int32)
    _fill(scaled, thresholds, aliases)
    return thresholds.astype(np.float32), aliases


def _examples() -> Iterator[tuple[Any, ...]]:
    yield np.ones(1), np.ones(1), np.zeros(1, np.int32)


@kernel(group=GROUP, examples=_examples)
def _fill(scaled: Any, thresholds: Any, aliases: Any) -> None:
    count = scaled.shape[0]
    small, large = np.empty(count, np.int64), np.empty(count, np.int64)
    smalls, larges = 0, 0
    for i in range(count):
        if scaled[i] < 1.0:
            small[smalls] = i
            smalls += 1
        else:
            large[larges] = i
            larges += 1
    while smalls > 0 and larges > 0:
        smalls -= 1
        low, high = small[smalls], large[larges - 1]
        thresholds[low] = scaled[low]
        aliases[low] = high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            larges -= 1
            small[smalls] = high
            smalls += 1
