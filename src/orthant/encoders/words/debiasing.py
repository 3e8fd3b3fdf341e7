"""Hard debiasing of word vectors: an axis taken out of words that should be neutral, pairs put at equal distance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from orthant.encoders.words.vectors import WordVectors
from orthant.errors import InputError, message
from orthant.transforms.subspace import SubspaceProjection
from orthant.types import FloatArray
from orthant.validate import check_count

__all__ = ["bias_directions", "debias"]

Pairs = Iterable[tuple[str, str]]
_EQUAL = 1e-6
"""Where all values of halves of unit vectors are smaller, rounding is all that there is."""


def bias_directions(words: WordVectors, pairs: Pairs, *, rank: int = 1) -> SubspaceProjection:
    """Learn the axis that pairs such as ("she", "he") differ by.

    Parameters
    ----------
    words : WordVectors
        Where both words of a pair have vectors, the pair is used.
    pairs : iterable of (str, str)
        Words that differ in nothing but the attribute; about ten.
    rank : int, default 1
        Directions kept.

    Returns
    -------
    SubspaceProjection
        Fitted on unit vectors, each less the middle of its pair.

    Raises
    ------
    InputError
        No pair of known words, or pairs of equal vectors.

    References
    ----------
    Bolukbasi et al.: Man is to computer programmer as woman is to homemaker? NIPS 2016, section 5.1.
    """
    listed = list(pairs)
    known = [(a, b) for a, b in listed if a in words and b in words]
    if not known:
        raise InputError(message(f"{len(listed)} pairs without a known one", "one at least", "check the spelling"))
    unit = _unit(np.stack([words[word] for pair in known for word in pair])).reshape(len(known), 2, -1)
    halves = (unit - unit.mean(axis=1, keepdims=True)).reshape(2 * len(known), -1)
    if not (np.abs(halves) > _EQUAL).any():
        raise InputError(message("pairs of equal vectors", "words that differ", "pair a word with another one"))
    return SubspaceProjection(rank=check_count(rank, name="rank")).fit(halves)


def debias(
    words: WordVectors,
    pairs: Pairs,
    *,
    keep: Sequence[str] = (),
    equalize: Pairs = (),
    rank: int = 1,
) -> WordVectors:
    """Remove the direction of an attribute from the vectors of all words that should not have it.

    It hides a bias more than it removes it: words that were biased alike stay neighbours. Look at what remains with
    `orthant.evaluation.intrinsic.bias.remaining_bias` before you rely on it.

    Parameters
    ----------
    words : WordVectors
        Not changed.
    pairs : iterable of (str, str)
        What the axis is learned from; see `bias_directions`.
    keep : sequence of str, optional
        Words that have the attribute by their meaning and stay as they are; those of ``pairs`` do too.
    equalize : iterable of (str, str), optional
        Pairs that shall differ in the axis only, at equal distance from every neutral word.
    rank : int, default 1
        Directions taken out.

    Returns
    -------
    WordVectors
        Unit vectors, with the counts of ``words``.

    Raises
    ------
    InputError
        No pair of known words.

    Notes
    -----
    Neutralise: ``w = (w - w_B) / |w - w_B|``. Equalise a pair with mean m: ``n + sqrt(1 - |n|^2) (w_B - m_B) /
    |w_B - m_B|`` with ``n = m - m_B``.

    Examples
    --------
    >>> words = WordVectors(["she", "he", "nurse"], [[1.0, 0.2], [-1.0, 0.2], [0.5, 0.5]])
    >>> fair = debias(words, [("she", "he")])
    >>> abs(fair.similarity("nurse", "she") - fair.similarity("nurse", "he")) < 1e-6
    True
    """
    listed = list(pairs)
    axis = bias_directions(words, listed, rank=rank)
    unit = _unit(words.vectors)
    kept = {word for pair in listed for word in pair} | set(keep)
    neutral = np.array([word not in kept for word in words.words])
    out = _unit(axis.transform(unit, mask=neutral))
    for a, b in equalize:
        if a in words and b in words:
            places = [words.position(a), words.position(b)]
            out[places] = _equal(unit[places], axis)
    return WordVectors(words.words, out, counts=words.counts, name=f"{words.name}-debiased")


def _equal(pair: FloatArray, axis: SubspaceProjection) -> FloatArray:
    middle = pair.mean(axis=0, keepdims=True)
    outside = middle - (middle @ axis.basis_.T) @ axis.basis_
    inside = ((pair - middle) @ axis.basis_.T) @ axis.basis_
    room = np.sqrt(max(0.0, 1.0 - float((outside**2).sum())))
    return np.asarray(outside + room * _unit(inside), dtype=np.float32)


def _unit(rows: FloatArray) -> FloatArray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30), dtype=np.float32)
