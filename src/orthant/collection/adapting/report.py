"""What adapting came to: figures on held-out queries, a recommendation, and what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["AdaptReport"]


@dataclass(frozen=True)
class AdaptReport:
    """Whether a correction of queries is better, on queries that it was not trained on.

    Attributes
    ----------
    space : str
        The space.
    metric : str
        What was measured, over the dense leg alone.
    before, after : float
        Mean over the held-out queries as the encoder gives them, and corrected.
    difference, low, high : float
        Gain, and its 95 % bootstrap interval.
    p_value : float
        Of a paired randomisation test.
    wins, ties, losses : int
        Held-out queries that are better, equal and worse.
    queries : int
        Held-out queries.
    trained_pairs : int
        Pairs that taught.
    sides : str
        ``"query"``, or ``"both"`` where records are corrected too.
    validated : mapping of str to float
        What ``sides="auto"`` chose by: the mean reciprocal rank of the pairs that were set aside among those to learn
        from, as the encoder gives them (``"none"``) and by what was corrected. No held-out query is among them.
    split_by : str
        ``"record"``, or the field whose values were held out whole.
    best_epoch : int
        Passes over the pairs; 0 where no correction was better even on the pairs that choose the epoch.
    recommended : bool
        Gain above 0, and ``p_value`` below ``alpha``.
    applied : bool
        Whether searches use it now.
    left_out : mapping of str to int
        Pairs that could not serve, by reason.
    """

    space: str
    metric: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    p_value: float
    wins: int
    ties: int
    losses: int
    queries: int
    trained_pairs: int
    sides: str
    validated: Mapping[str, float]
    split_by: str
    best_epoch: int
    recommended: bool
    applied: bool
    left_out: Mapping[str, int]

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        figures = (
            f"{self.metric} of {self.queries:,} held-out queries went from {self.before:.4f} to {self.after:.4f} "
            f"({self.difference:+.4f}, {self.low:+.4f} to {self.high:+.4f}, p = {self.p_value:.2g})"
        )
        if not self.best_epoch:
            return "Nothing was learned: no correction was better than none on the pairs set aside to choose it."
        if self.recommended:
            return f"The correction is better: {figures}." + (" Searches use it now." if self.applied else "")
        forced = " Searches use it now, because apply=True." if self.applied else " Nothing was changed."
        return f"The correction is not shown to be better: {figures}.{forced}"

    def __str__(self) -> str:
        """Return the outcome in words."""
        return self.sentence

    def to_dict(self) -> dict[str, Any]:
        """Return plain, JSON-ready values.

        Returns
        -------
        dict
            One key per attribute, and ``sentence``.
        """
        return {
            **asdict(self),
            "validated": dict(self.validated),
            "left_out": dict(self.left_out),
            "sentence": self.sentence,
        }
