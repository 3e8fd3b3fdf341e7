"""A term that a query and a record share, and what it adds to their score."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SharedTerm"]


@dataclass(frozen=True)
class SharedTerm:
    """One term of a sparse space: a word, or a concept.

    Attributes
    ----------
    name : str
        As the encoder's vocabulary calls it; its number where there is none.
    query, record : float
        Weights on either side, above 0.

    Examples
    --------
    >>> SharedTerm("lung", 0.5, 2.0).contribution
    1.0
    """

    name: str
    query: float
    record: float

    @property
    def contribution(self) -> float:
        """What it adds to the dot product."""
        return self.query * self.record
