"""Sample queries, divided into those that are learned from and those that judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from orthant.errors import InputError, message
from orthant.types import FloatArray

__all__ = ["LEAST_QUERIES", "QuerySample"]

LEAST_QUERIES = 64
"""Distinct queries below which nothing can be learned and judged on separate ones."""
_MOST_LEARNED = 8192
_MOST_HELD = 400
_HELD_SHARE = 4


@dataclass(frozen=True)
class QuerySample:
    """Distinct queries, some to learn from and others to judge by.

    Attributes
    ----------
    learned, held : ndarray of shape (m, dim) and (h, dim), float32
        The parts; a query is in one of them only.
    """

    learned: FloatArray
    held: FloatArray

    @classmethod
    def of(cls, queries: FloatArray, *, seed: int) -> QuerySample:
        """Divide queries: a quarter, at most 400, is held back, and at most 8,192 are learned from.

        Parameters
        ----------
        queries : ndarray of shape (q, dim), float32
            Checked queries; what repeats counts once, since a held query that was learned from would judge nothing.
        seed : int
            Of the choice.

        Returns
        -------
        QuerySample
            The parts.

        Raises
        ------
        InputError
            Fewer than 64 distinct queries.
        """
        distinct = np.unique(queries, axis=0)
        if len(distinct) < LEAST_QUERIES:
            raise InputError(
                message(
                    f"{len(distinct)} distinct queries",
                    f"at least {LEAST_QUERIES}, to learn from some and judge by others",
                    "collect more; some thousands are better",
                )
            )
        order = np.random.default_rng(seed).permutation(len(distinct))
        held = min(_MOST_HELD, len(distinct) // _HELD_SHARE)
        return cls(distinct[order[held : held + _MOST_LEARNED]], distinct[order[:held]])

    def parts(self) -> list[FloatArray]:
        """Return both parts, as they are written one behind the other."""
        return [self.learned, self.held]
