"""What an inquiry into a missing record gives back: the stage that dropped it, the trail, what would bring it in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["STAGES", "Change", "FailedClause", "Step", "WhyNot"]

STAGES: Mapping[str, str] = {
    "found": "the record is in the result",
    "missing": "no record has the id",
    "filter": "a clause of `where` does not hold",
    "steer": "the query was moved off it by `steer`",
    "condition": "a phrase, a required or an excluded word does not hold",
    "no-vector": "there is no vector to compare the query with",
    "no-query-vector": "the query itself has no vector",
    "no-text": "there is no text to look for words in",
    "words": "the text has none of the query's words",
    "no-query-terms": "the query itself has no weighted term",
    "no-terms": "it has no weighted terms in the sparse space",
    "terms": "it shares no weighted term with the query",
    "beam": "the walk over the graph did not come by it",
    "codes": "the walk came by it, and its compressed vector ranked it too low",
    "depth": "every leg ranks it below the candidates that are fused",
    "fusion": "a leg ranks it high enough, the fused list does not",
    "rerank-depth": "it is ranked below the candidates that the reranker reads",
    "rerank": "the reranker ranks it below the page",
    "min_score": "its score is below `min_score`",
    "diversity": "hits that are more relevant or less alike are preferred to it",
    "group": "its group is shown with enough better hits",
    "groups": "its group is not among those shown",
    "page": "its rank is not on the page",
    "later": "what comes after ranking took it out",
}
"""Stages that can drop a record, in the order in which they are looked at, with their meaning."""


@dataclass(frozen=True)
class FailedClause:
    """One clause of a filter that a record does not satisfy.

    Attributes
    ----------
    clause : str
        The clause in words, such as ``year >= 1900``.
    values : dict of str to object
        The record's values of the clause's fields; a field that the record lacks is left out.
    missing : tuple of str
        Fields of the clause that the record lacks.
    """

    clause: str
    values: dict[str, Any]
    missing: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the clause and what stands against it."""
        held = [f"{name} is {value!r}" for name, value in self.values.items()]
        return f"{self.clause} ({', '.join(held + [f'it has no {name}' for name in self.missing])})"

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values.

        Returns
        -------
        dict
            Keys ``clause``, ``values`` and ``missing``.
        """
        return {"clause": self.clause, "values": dict(self.values), "missing": list(self.missing)}


@dataclass(frozen=True)
class Step:
    """What one stage of the search did with the record.

    Attributes
    ----------
    name : str
        ``"record"``, ``"filter"``, ``"steering"``, ``"conditions"``, ``"dense"``, ``"lexical"``, ``"sparse"``,
        ``"ranking"``, ``"rerank"``, ``"min_score"``, ``"diversity"`` or ``"group"``.
    passed : bool
        Whether the record came through.
    details : dict
        Figures, such as exact score and true rank.
    """

    name: str
    passed: bool
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """A change of the search that was tried and returns the record.

    Attributes
    ----------
    settings : dict of str to object
        Arguments of ``search`` to add or replace. ``where`` of None means no filter, ``steer`` of None
        no steering.
    rank : int
        Where the record then stands.
    """

    settings: dict[str, Any]
    rank: int

    def __str__(self) -> str:
        """Return the arguments as they would be written, and the rank."""
        written = ", ".join(f"{name}={_short(value)}" for name, value in self.settings.items())
        return f"{written} brings it to rank {self.rank}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


@dataclass(frozen=True)
class WhyNot:
    """Why a record is not in the result of a search.

    Attributes
    ----------
    id : str
        The record asked about.
    stage : str
        What dropped it: a key of ``STAGES``; ``"found"`` when it is in the result.
    sentence : str
        The reason in words, with the nearest way to bring it in.
    rank : int or None
        Its place in the ranking before ``min_score`` and page; None where it is in no ranking.
    score : float or None
        Its score there.
    steps : tuple of Step
        What every stage looked at said, in order.
    changes : tuple of Change
        Other settings that bring it in; each was tried.
    mode : str
        The search's mode.
    generation : int
        The commit that was seen.

    Examples
    --------
    >>> why = WhyNot("a", "page", "'a' is at rank 12.", rank=12, changes=(Change({"k": 12}, 12),))
    >>> str(why), why.found, str(why.changes[0])
    ("'a' is at rank 12.", False, 'k=12 brings it to rank 12')
    """

    id: str
    stage: str
    sentence: str
    rank: int | None = None
    score: float | None = None
    steps: tuple[Step, ...] = ()
    changes: tuple[Change, ...] = ()
    mode: str = "hybrid"
    generation: int = 0

    def __str__(self) -> str:
        """Return the sentence."""
        return self.sentence

    @property
    def found(self) -> bool:
        """Whether the record is in the result after all."""
        return self.stage == "found"

    def step(self, name: str) -> Step | None:
        """Return what one stage said.

        Parameters
        ----------
        name : str
            As in :class:`Step`.

        Returns
        -------
        Step or None
            None where the stage was not looked at.
        """
        return next((step for step in self.steps if step.name == name), None)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as JSON-ready values.

        Returns
        -------
        dict
            Every attribute, and ``found``.
        """
        return {
            "id": self.id,
            "found": self.found,
            "stage": self.stage,
            "sentence": self.sentence,
            "rank": self.rank,
            "score": self.score,
            "steps": [{"name": s.name, "passed": s.passed, "details": dict(s.details)} for s in self.steps],
            "changes": [{"settings": dict(c.settings), "rank": c.rank} for c in self.changes],
            "mode": self.mode,
            "generation": self.generation,
        }
