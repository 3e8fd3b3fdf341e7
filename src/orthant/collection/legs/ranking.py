"""The ranked rows of one query, and what each leg said of them."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from orthant.collection.results import LegScore
from orthant.types import FloatArray, IdArray

__all__ = ["Leg", "Ranking", "single"]


@dataclass(frozen=True)
class Said:
    """What a leg said of some rows.

    Attributes
    ----------
    scores : list of (float or None), length m
        None for a row without one.
    ranks : list of (int or None), length m
        From 1; None for a row that the leg did not bring.
    normalized : list of (float or None), length m
        In hybrid search: the scores as they are added.
    weight : float or None
        In hybrid search: what they are multiplied by.
    """

    scores: list[float | None]
    ranks: list[int | None]
    normalized: list[float | None]
    weight: float | None

    def each(self) -> list[LegScore]:
        """Return the same row by row.

        Returns
        -------
        list of LegScore
            Plain numbers.
        """
        parts = zip(self.scores, self.ranks, self.normalized, strict=True)
        return [LegScore(score, rank, part, self.weight) for score, rank, part in parts]


@dataclass(frozen=True)
class Leg:
    """What one leg said of every ranked row; made into a `LegScore` only for the rows that are returned.

    Attributes
    ----------
    scores : ndarray of shape (m,), float32
        -inf for a row without one.
    ranks : ndarray of shape (m,), int64
        From 1; 0 for a row that the leg did not bring.
    normalized : ndarray of shape (m,), float32, or None
        In hybrid search: the scores as they are added.
    weight : float or None
        In hybrid search: what they are multiplied by.
    """

    scores: FloatArray
    ranks: IdArray
    normalized: FloatArray | None = None
    weight: float | None = None

    def score(self, place: int) -> LegScore:
        """Return what the leg said of one row.

        Parameters
        ----------
        place : int
            Its place in the ranking.

        Returns
        -------
        LegScore
            Plain numbers.
        """
        return self.said(np.array([place]))[0]

    def said(self, places: IdArray) -> list[LegScore]:
        """Return what the leg said of several rows.

        Parameters
        ----------
        places : ndarray of int64
            Their places in the ranking.

        Returns
        -------
        list of LegScore
            Plain numbers.
        """
        return self.of(places).each()

    def of(self, places: IdArray | slice) -> Said:
        """Return what the leg said of several rows, as lists: they hold on to no array.

        Parameters
        ----------
        places : ndarray of int64, or slice
            Their places in the ranking.

        Returns
        -------
        Said
            Plain numbers.
        """
        scores = [score if isfinite(score) else None for score in self.scores[places].tolist()]
        ranks = [rank or None for rank in self.ranks[places].tolist()]
        scaled = [None] * len(scores) if self.normalized is None else self.normalized[places].tolist()
        return Said(scores, ranks, scaled, self.weight)

    def extended(self, more: Leg, chosen: IdArray) -> Leg:
        """Return this leg followed by some places of another.

        Parameters
        ----------
        more : Leg
            The other.
        chosen : ndarray of int64
            Places in it.

        Returns
        -------
        Leg
            Both.
        """
        normalized = None
        if self.normalized is not None and more.normalized is not None:
            normalized = np.concatenate([self.normalized, more.normalized[chosen]])
        scores = np.concatenate([self.scores, more.scores[chosen]])
        return Leg(scores, np.concatenate([self.ranks, more.ranks[chosen]]), normalized, self.weight)


@dataclass(frozen=True)
class Ranking:
    """Rows of one query, best first, with what each leg said.

    Attributes
    ----------
    rows : ndarray of shape (m,), int64
        Best first.
    scores : ndarray of shape (m,), float32
        What they are ordered by.
    legs : dict of str to Leg
        By name.
    """

    rows: IdArray
    scores: FloatArray
    legs: dict[str, Leg]

    def leg_scores(self, place: int) -> dict[str, LegScore]:
        """Return what each leg said of one row.

        Parameters
        ----------
        place : int
            Its place.

        Returns
        -------
        dict of str to LegScore
            By leg.
        """
        return {name: leg.score(place) for name, leg in self.legs.items()}

    def said_of(self, places: IdArray) -> list[dict[str, LegScore]]:
        """Return what each leg said of several rows.

        Parameters
        ----------
        places : ndarray of int64
            Their places.

        Returns
        -------
        list of dict of str to LegScore
            By row, then by leg.
        """
        names, said = list(self.legs), [leg.said(places) for leg in self.legs.values()]
        return [dict(zip(names, row, strict=True)) for row in zip(*said, strict=True)] if said else [{} for _ in places]

    def extended(self, more: Ranking) -> Ranking:
        """Return this ranking followed by what only another one has, so that no page shown before changes.

        Parameters
        ----------
        more : Ranking
            With the same legs.

        Returns
        -------
        Ranking
            Longer, or the same.
        """
        chosen = np.flatnonzero(~np.isin(more.rows, self.rows))
        legs = {name: leg.extended(more.legs[name], chosen) for name, leg in self.legs.items()}
        rows = np.concatenate([self.rows, more.rows[chosen]])
        return Ranking(rows, np.concatenate([self.scores, more.scores[chosen]]), legs)


def single(name: str, rows: IdArray, scores: FloatArray) -> Ranking:
    """Return the ranking of a search by one leg.

    Parameters
    ----------
    name : str
        The leg.
    rows : ndarray of shape (m,), int64
        Best first.
    scores : ndarray of shape (m,), float32
        Their scores.

    Returns
    -------
    Ranking
        The leg's own order.
    """
    return Ranking(rows, scores, {name: Leg(scores, np.arange(1, len(rows) + 1))})
