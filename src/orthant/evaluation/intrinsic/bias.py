"""Associations of word vectors that should not be there: tests of attributes, and what is left after debiasing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthant.encoders.words.vectors import WordVectors
from orthant.errors import DimensionError, InputError, message
from orthant.kernels.clustering.kmeans import kmeans
from orthant.transforms.subspace import SubspaceProjection
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_count

__all__ = ["Association", "association_test", "direct_bias", "remaining_bias", "weat"]

_EXACT = 20_000


@dataclass(frozen=True)
class Association:
    """What a test of association found.

    Attributes
    ----------
    effect : float
        How much closer the first targets are to the first attributes, in standard deviations: -2 to 2, 0 for none.
    p_value : float
        Share of divisions of the targets into two equal halves that give at least this difference.
    exact : bool
        Whether all divisions were tried; else a sample.
    """

    effect: float
    p_value: float
    exact: bool


def weat(
    words: WordVectors,
    X: Sequence[str],
    Y: Sequence[str],
    A: Sequence[str],
    B: Sequence[str],
    *,
    permutations: int = 10_000,
    seed: int = 0,
) -> Association:
    """Test whether words X go with A, and Y with B: flowers with pleasant, insects with unpleasant.

    Parameters
    ----------
    words : WordVectors
        All words must be known: leaving some out would change what is tested.
    X, Y : sequence of str
        Targets, as many of one as of the other, at least two; no word in both.
    A, B : sequence of str
        Attributes, one at least of each.
    permutations : int, default 10_000
        Divisions tried, where there are too many to try all.
    seed : int, default 0
        Of the divisions.

    Returns
    -------
    Association
        Effect size and one-sided p-value.

    Raises
    ------
    InputError
        Unknown words, targets of unequal number or in both sets.

    References
    ----------
    Caliskan, Bryson, Narayanan: Semantics derived automatically from language corpora contain human-like biases.
    Science 356, 2017.

    Examples
    --------
    >>> words = WordVectors(["rose", "lily", "wasp", "fly", "good", "bad"],
    ...                     [[1, 0.1], [1, 0.2], [0.1, 1], [0.2, 1], [1, 0], [0, 1]])
    >>> found = weat(words, ["rose", "lily"], ["wasp", "fly"], ["good"], ["bad"])
    >>> round(found.effect, 1), round(found.p_value, 3), found.exact
    (1.7, 0.167, True)
    """
    sets = [list(X), list(Y), list(A), list(B)]
    unknown = sorted({word for part in sets for word in part if word not in words})
    if unknown:
        given = f"{len(unknown)} unknown word(s): {', '.join(unknown[:5])}"
        raise InputError(message(given, "words that all have vectors", "leave them out, pair by pair"))
    if set(sets[0]) & set(sets[1]):
        raise InputError(message("a word among both targets", "two sets apart", "take it out of both"))
    rows = [words.vectors[[words.position(word) for word in part]] for part in sets]
    return association_test(*rows, permutations=permutations, seed=seed)


def association_test(
    X: npt.ArrayLike,
    Y: npt.ArrayLike,
    A: npt.ArrayLike,
    B: npt.ArrayLike,
    *,
    permutations: int = 10_000,
    seed: int = 0,
) -> Association:
    """Do what `weat` does with vectors of any kind, such as those of sentences made from templates.

    Parameters
    ----------
    X, Y : array-like of shape (n, d)
        Target vectors, n of each, at least two.
    A, B : array-like of shape (a, d) and (b, d)
        Attribute vectors.
    permutations, seed
        As for `weat`.

    Returns
    -------
    Association
        Effect size and one-sided p-value.

    Raises
    ------
    InputError
        Targets of unequal number, or fewer than two of each.

    Notes
    -----
    ``s(w) = mean cos(w, A) - mean cos(w, B)``; the effect is ``(mean_X s - mean_Y s) / std_{X and Y} s``.
    """
    first, second, one, two = (_unit(as_vectors(part, nonzero=True)) for part in (X, Y, A, B))
    if len(first) != len(second) or len(first) < 2 or not len(one) or not len(two):
        given = f"{len(first)} and {len(second)} targets, {len(one)} and {len(two)} attributes"
        raise InputError(message(given, "as many targets of both kinds, two or more, and attributes", "even them out"))
    both = np.concatenate([first, second]).astype(np.float64)
    scores = (both @ one.T).mean(axis=1) - (both @ two.T).mean(axis=1)
    half = len(first)
    spread = float(scores.std(ddof=1))
    difference = float(scores[:half].mean() - scores[half:].mean())
    effect = difference / spread if spread > 0 else 0.0
    exact = math.comb(2 * half, half) <= _EXACT
    if exact:
        sums = np.array([scores[list(chosen)].sum() for chosen in itertools.combinations(range(2 * half), half)])
    else:
        rng = np.random.default_rng(seed)
        order = np.argsort(rng.random((check_count(permutations, name="permutations"), 2 * half)), axis=1)
        sums = scores[order[:, :half]].sum(axis=1)
        # The division at hand is one of them, so that a sample never gives zero.
        sums = np.append(sums, scores[:half].sum())
    return Association(effect, float((sums >= scores[:half].sum() - 1e-12).mean()), exact)


def direct_bias(
    words: WordVectors, axis: SubspaceProjection, neutral: Sequence[str], *, strictness: float = 1.0
) -> float:
    """Return how much words that should be neutral lie along an axis.

    Parameters
    ----------
    words : WordVectors
        Unknown ones of ``neutral`` are passed over.
    axis : SubspaceProjection
        From `orthant.encoders.words.debiasing.bias_directions`.
    neutral : sequence of str
        Words such as occupations.
    strictness : float, default 1.0
        Exponent; 0 counts any bias fully.

    Returns
    -------
    float
        Mean of ``|cos(w, axis)|^strictness``, from 0 to 1.

    Raises
    ------
    InputError
        No known word.

    References
    ----------
    Bolukbasi et al.: Man is to computer programmer as woman is to homemaker? NIPS 2016, section 5.2.
    """
    rows = _known(words, neutral)
    inside = np.minimum(np.linalg.norm(axis.component(_unit(rows)), axis=1), 1.0)
    return float((inside**strictness).mean())


def remaining_bias(before: WordVectors, after: WordVectors, axis: SubspaceProjection, words: Sequence[str], *,
                   most: int = 500, seed: int = 0) -> float:  # fmt: skip
    """Return how well two clusters of debiased vectors tell which side words were on before.

    A hard debias brings projections to zero and leaves words that were biased alike together; 0.5 would mean that
    nothing remains, 1 that everything does.

    Parameters
    ----------
    before, after : WordVectors
        The same words, before and after.
    axis : SubspaceProjection
        One direction, learned on ``before``.
    words : sequence of str
        Among which the most biased of either side are taken, such as all frequent words.
    most : int, default 500
        Words of each side; half of the known words at most.
    seed : int, default 0
        Of the clustering.

    Returns
    -------
    float
        Accuracy from 0.5 to 1.

    Raises
    ------
    InputError
        Fewer than four known words.
    DimensionError
        Different numbers of words before and after.

    References
    ----------
    Gonen, Goldberg: Lipstick on a pig. NAACL 2019, section 4.
    """
    if before.words != after.words:
        raise DimensionError(message("other words before than after", "the same words", "debias all of them"))
    known = [before.position(word) for word in dict.fromkeys(words) if word in before]
    count = min(check_count(most, name="most"), len(known) // 2)
    if count < 2:
        raise InputError(message(f"{len(known)} known words", "four at least", "pass frequent words"))
    along = axis.component(_unit(before.vectors[known]))[:, 0]
    order = np.argsort(along, kind="stable")
    chosen = np.concatenate([order[:count], order[-count:]])
    rows = _unit(after.vectors[np.asarray(known)[chosen]])
    side = np.repeat([0, 1], count)
    agree = float((kmeans(rows, 2, seed=seed).labels == side).mean())
    return max(agree, 1 - agree)


def _known(words: WordVectors, wanted: Sequence[str]) -> FloatArray:
    places = [words.position(word) for word in wanted if word in words]
    if not places:
        raise InputError(message(f"{len(wanted)} words, none of them known", "one at least", "check the spelling"))
    return words.vectors[places]


def _unit(rows: FloatArray) -> FloatArray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30), dtype=np.float32)
