"""Fusing the legs of a hybrid search into one score in [0, 1].

Fusion is by row, so no record appears twice. Raw scores are never added without normalisation: a BM25 score and a
cosine have no common unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from orthant.errors import InputError, message
from orthant.measures import rescaling
from orthant.types import FloatArray, IdArray
from orthant.validate import check_fraction

__all__ = [
    "DEFAULT_WEIGHTS",
    "LEGS",
    "RRF_CONSTANT",
    "active_legs",
    "check_weights",
    "min_max",
    "ranks",
    "reciprocal_ranks",
    "scaled",
    "weighted_sum",
]

DEFAULT_WEIGHTS: Mapping[str, float] = {"dense": 0.4, "lexical": 0.6}
"""Weights of the legs: the shipped encoder beats BM25 with them on most sets of ``benchmarks/hybrid_weights.py``; a
stronger encoder deserves more."""

LEGS = ("dense", "lexical", "sparse", "tokens")
"""Legs that a weight can be given to. The last two take part only where they have one: no default was measured."""

RRF_CONSTANT = 60
"""The k of reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009)."""


def check_weights(
    weights: Mapping[str, float] | None, *, legs: Sequence[str] = ("dense", "lexical")
) -> dict[str, float]:
    """Return the legs' weights, summing to 1.

    Parameters
    ----------
    weights : mapping of str to float, optional
        Non-negative weights by leg: ``"dense"``, ``"lexical"``, ``"tokens"`` and ``"sparse"``; a leg left out gets 0.
        None takes the defaults.
    legs : sequence of str, default ("dense", "lexical")
        The legs that take part whatever their weight.

    Returns
    -------
    dict of str to float
        The legs that take part, sum 1; sparse and tokens where they have a weight above 0.

    Raises
    ------
    InputError
        Unknown legs, negative weights, or nothing above 0.
    """
    if weights is None:
        # Beside words, tokens weigh what one vector does.
        return {leg: DEFAULT_WEIGHTS.get(leg, DEFAULT_WEIGHTS["dense"]) for leg in legs}
    known = [*legs, *(leg for leg in LEGS if leg not in legs)]
    if not isinstance(weights, Mapping) or set(weights) - set(known):
        expected = f"a mapping with the keys {', '.join(map(repr, known))}"
        raise InputError(message(f"weights={weights!r}", expected, "name only these legs"))
    given = {leg: check_fraction(weights.get(leg, 0.0), name=f"weights[{leg!r}]", high=1e9) for leg in known}
    given = {leg: value for leg, value in given.items() if value or leg in legs}
    total = sum(given.values())
    if total <= 0:
        raise InputError(message(f"weights={weights!r}", "at least one weight above 0", "raise one of them"))
    return {leg: value / total for leg, value in given.items()}


def min_max(scores: FloatArray, *, low: float | None = None) -> FloatArray:
    """Map scores to [0, 1] by their smallest and largest finite value.

    Parameters
    ----------
    scores : ndarray of shape (m,)
        -inf where a candidate has no score in this leg.
    low : float, optional
        What maps to 0, where the scale itself says so: a BM25 score of 0 means that no word matched. Left out, the
        smallest score present.

    Returns
    -------
    ndarray of shape (m,), float32
        0 for candidates without a score. Where all scores are equal: 1, or 0 when they equal ``low``.
    """
    return rescaling.min_max(scores, low=low).astype(np.float32)


def scaled(leg: str, scores: FloatArray) -> FloatArray:
    """Map the scores of one leg to [0, 1], by the scale of that leg.

    Parameters
    ----------
    leg : str
        Its name.
    scores : ndarray of shape (m,)
        -inf where a candidate has no score in this leg.

    Returns
    -------
    ndarray of shape (m,), float32
        As :func:`min_max`; only vectors have no score that means nothing in common.
    """
    return min_max(scores, low=None if leg.startswith("dense") else 0.0)


def active_legs(weights: Mapping[str, float]) -> frozenset[str]:
    """Return the legs that bring candidates to a hybrid search under given weights.

    Parameters
    ----------
    weights : mapping of str to float
        By leg.

    Returns
    -------
    frozenset of str
        Tokens and weighted terms take part where they have a weight; vectors do without one, unless tokens have.
    """
    always = {"lexical"} if weights.get("tokens") else {"lexical", "dense"}
    return frozenset(leg for leg, weight in weights.items() if weight or leg in always)


def ranks(candidates: IdArray, ordered: IdArray) -> IdArray:
    """Return each candidate's 1-based place in a leg's list.

    Parameters
    ----------
    candidates : ndarray of shape (m,), int64
        Rows, ascending.
    ordered : ndarray of shape (n,), int64
        The leg's rows, best first.

    Returns
    -------
    ndarray of shape (m,), int64
        0 for rows the leg did not bring.
    """
    out = np.zeros(len(candidates), dtype=np.int64)
    places = np.searchsorted(candidates, ordered)
    inside = places < len(candidates)
    inside[inside] = candidates[places[inside]] == ordered[inside]
    out[places[inside]] = np.flatnonzero(inside) + 1
    return out


def reciprocal_ranks(places: IdArray) -> FloatArray:
    """Return reciprocal-rank contributions, scaled so that the first place gives 1.

    Parameters
    ----------
    places : ndarray of shape (m,), int64
        1-based ranks; 0 for absent.

    Returns
    -------
    ndarray of shape (m,), float32
        ``(RRF_CONSTANT + 1) / (RRF_CONSTANT + rank)``; 0 for absent.

    References
    ----------
    Cormack, Clarke, Buettcher: Reciprocal rank fusion outperforms Condorcet and individual rank learning methods,
    SIGIR 2009, section 3.
    """
    return np.where(places > 0, (RRF_CONSTANT + 1) / (RRF_CONSTANT + places), 0.0).astype(np.float32)


def weighted_sum(legs: Mapping[str, FloatArray], weights: Mapping[str, float]) -> FloatArray:
    """Return the fused score of every candidate.

    Parameters
    ----------
    legs : mapping of str to ndarray of shape (m,)
        Normalised contributions in [0, 1].
    weights : mapping of str to float
        Sum 1.

    Returns
    -------
    ndarray of shape (m,), float32
        In [0, 1].
    """
    total = sum(weights[leg] * values.astype(np.float64) for leg, values in legs.items())
    return np.asarray(total, dtype=np.float32)
