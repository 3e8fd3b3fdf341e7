"""What a caller may ask of the stages, checked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orthant.collection.stages.rerankers import as_reranker
from orthant.errors import InputError, message
from orthant.types import Reranker
from orthant.validate import check_count, check_fraction

__all__ = ["DEFAULT_FACET_VALUES", "DEFAULT_PER_GROUP", "DEFAULT_RERANK_DEPTH", "StageOptions", "check_stages"]

DEFAULT_RERANK_DEPTH = 50
"""Candidates that a reranker reads: a small cross-encoder takes about a second for them on a CPU."""

DEFAULT_PER_GROUP = 3
"""Hits shown of each group."""

DEFAULT_FACET_VALUES = 20
"""Values listed of each facet."""


@dataclass(frozen=True)
class StageOptions:
    """Checked settings of the stages; see ``Collection.search`` for their meaning.

    Attributes
    ----------
    reranker : Reranker or None
        What scores the first candidates again.
    rerank_depth : int
        How many.
    diversity : float or None
        1 minus the lambda of maximal marginal relevance.
    space : str
        The space whose vectors say what is alike.
    group_by : str or None
        Dotted path of a field.
    groups, per_group : int
        Groups wanted, and hits of each.
    facets : mapping of str to int
        Values listed at most, by field.
    """

    reranker: Reranker | None
    rerank_depth: int
    diversity: float | None
    space: str
    group_by: str | None
    groups: int
    per_group: int
    facets: Mapping[str, int]

    @property
    def ordered(self) -> bool:
        """Whether a stage changes which hits are shown, or their order."""
        return self.reranker is not None or self.diversity is not None or self.group_by is not None

    @property
    def closed(self) -> bool:
        """Whether the stages need a fixed set of candidates, behind which the list ends."""
        return self.reranker is not None or self.diversity is not None

    def window(self, depth: int) -> int:
        """Return how many candidates the stages start from; the same for every page, so that pages fit together.

        Parameters
        ----------
        depth : int
            Candidates per leg.

        Returns
        -------
        int
            ``rerank_depth`` where there is a reranker.
        """
        return depth if self.reranker is None else self.rerank_depth


def check_stages(
    *,
    k: int,
    space: str,
    rerank: Any | None = None,
    rerank_depth: int | None = None,
    diversity: float | None = None,
    group_by: str | None = None,
    groups: int | None = None,
    per_group: int | None = None,
    facets: Sequence[str] | Mapping[str, int] | None = None,
) -> StageOptions:
    """Check the settings of the stages; one that could have no effect is refused.

    Parameters
    ----------
    k : int
        Hits wanted; groups wanted where ``groups`` is left out.
    space, rerank, rerank_depth, diversity, group_by, groups, per_group, facets
        As in ``Collection.search``.

    Returns
    -------
    StageOptions
        The settings.

    Raises
    ------
    InputError
        A value of the wrong type or out of range, or one without effect.
    """
    if rerank is None and rerank_depth is not None:
        raise InputError(message("rerank_depth= without rerank=", "a reranker for it", "leave it out"))
    idle = [name for name, value in (("groups", groups), ("per_group", per_group)) if value is not None]
    if group_by is None and idle:
        raise InputError(message(f"{idle[0]}= without group_by=", "a field to group by", "leave it out"))
    if group_by is not None and (not isinstance(group_by, str) or not group_by):
        raise InputError(message(f"group_by={group_by!r}", "the name of a field", "pass group_by='...'"))
    return StageOptions(
        reranker=None if rerank is None else as_reranker(rerank),
        rerank_depth=check_count(DEFAULT_RERANK_DEPTH if rerank_depth is None else rerank_depth, name="rerank_depth"),
        diversity=None if diversity is None else check_fraction(diversity, name="diversity"),
        space=space,
        group_by=group_by,
        groups=check_count(k if groups is None else groups, name="k" if groups is None else "groups"),
        per_group=check_count(DEFAULT_PER_GROUP if per_group is None else per_group, name="per_group"),
        facets=_facets(facets),
    )


def _facets(given: Sequence[str] | Mapping[str, int] | None) -> dict[str, int]:
    if given is None:
        return {}
    if isinstance(given, (str, bytes)) or not isinstance(given, (Sequence, Mapping)):
        raise InputError(message(f"facets={given!r}", "a list of fields", "write facets=['...']"))
    for name in given:
        if not isinstance(name, str) or not name:
            raise InputError(message(f"{name!r} among facets", "names of fields", "pass each as a str"))
    named = given if isinstance(given, Mapping) else dict.fromkeys(given, DEFAULT_FACET_VALUES)
    return {name: check_count(limit, name=f"facets[{name!r}]") for name, limit in named.items()}
