"""What the catalogue records about a paper, what a claim is, and what a run of a claim leaves.

A `Claim` measures four arms under one seed and returns them as a `Trial`; `decision` alone says what they mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from orthant.errors import InputError, OrthantError, message

__all__ = [
    "STATUSES",
    "WINGS",
    "Claim",
    "ClaimError",
    "ClaimOutcome",
    "ClaimResult",
    "DataKind",
    "Figures",
    "Paper",
    "Status",
    "Trial",
    "Wing",
]

Wing = Literal["search", "space", "text", "recommend", "vision"]
Status = Literal["shown", "shown-generated", "works", "planned"]
DataKind = Literal["real", "generated"]
ClaimOutcome = Literal["holds", "reported", "fails"]
Figures = Mapping[str, float]

WINGS: tuple[Wing, ...] = get_args(Wing)
STATUSES: tuple[Status, ...] = get_args(Status)
_SEEDS_WHEN_TRAINED = 3


class ClaimError(OrthantError):
    """A claim stopped, or returned figures that cannot be judged; it neither holds nor fails."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The figures of one claim under one seed.

    Attributes
    ----------
    measured : mapping of str to float
        The method with its mechanism on.
    baseline : mapping of str to float
        What a user would do without the method.
    alternatives : mapping of str to mapping
        Simple alternatives by name, with the same tricks, bytes, budget and tuning effort; may be empty only in a
        claim that has no margin.
    ablated : mapping of str to float, optional
        The same code with the mechanism's one switch off.
    """

    measured: Figures
    baseline: Figures
    alternatives: Mapping[str, Figures] = field(default_factory=dict)
    ablated: Figures | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence about a method that a run can hold or break.

    Give a margin when the effect is claimed; leave it out to report figures without claiming anything.

    Attributes
    ----------
    name : str
        Short name, unique within its paper, such as ``"fde-beats-pooling"``.
    sentence : str
        The claim in words, with the data it speaks about.
    data : {"real", "generated"}
        What it is measured on.
    run : callable of int to Trial
        Measures all arms under a seed; imports torch and reads data only when called.
    metric : str
        The figure that decides, present in every arm.
    direction : {"higher", "lower"}, default "higher"
        Which way the metric is better.
    margin : float, optional
        What the method must be ahead of the strongest alternative by, in units of the metric, 0 or more. Frozen on
        ``development_seeds``. Without it the claim is only ever reported.
    ablation : str
        Which switch the ablated twin turns off; required with a margin.
    needs : tuple of str
        Folders of ``ORTHANT_DATA`` that the claim reads.
    development_seeds : tuple of int, default (0, 1, 2)
        Seeds that were looked at while the margin was chosen; never judged on.
    fresh_seeds : tuple of int, default (101, 102, 103)
        Seeds that judge. At least three where ``trained``.
    trained : bool, default True
        Whether training is involved.

    Raises
    ------
    InputError
        A margin without an ablation, too few seeds, a seed that is both fresh and of development, or a margin that
        is negative or not finite.
    """

    name: str
    sentence: str
    data: DataKind
    run: Callable[[int], Trial]
    metric: str
    direction: Literal["higher", "lower"] = "higher"
    margin: float | None = None
    ablation: str = ""
    needs: tuple[str, ...] = ()
    development_seeds: tuple[int, ...] = (0, 1, 2)
    fresh_seeds: tuple[int, ...] = (101, 102, 103)
    trained: bool = True

    def __post_init__(self) -> None:
        if self.margin is not None and not (math.isfinite(self.margin) and self.margin >= 0):
            self._refuse(f"margin={self.margin!r}", "a finite margin of 0 or more", "set the margin anew")
        if self.margin is not None and not self.ablation:
            self._refuse(
                "a margin without an ablation", "the switch the ablated twin turns off", "name it in `ablation`"
            )
        least = _SEEDS_WHEN_TRAINED if self.trained and self.margin is not None else 1
        if len(set(self.fresh_seeds)) < least:
            self._refuse(f"fresh_seeds={self.fresh_seeds}", f"at least {least} distinct seed(s)", "add seeds")
        shared = sorted(set(self.fresh_seeds) & set(self.development_seeds))
        if shared:
            self._refuse(f"seeds {shared} as fresh and as development seeds", "two disjoint sets", "choose other seeds")

    def _refuse(self, given: str, expected: str, remedy: str) -> None:
        raise InputError(message(f"{given} in claim {self.name!r}", expected, remedy))


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """What a claim came to, averaged over its seeds.

    Attributes
    ----------
    name : str
        Name of the claim.
    outcome : {"holds", "reported", "fails"}
        See `orthant.papers.decision`.
    data : {"real", "generated"}
        What it was measured on.
    measured, baseline, strongest_alternative : mapping of str to float
        Figures of the three arms, means over the seeds; the alternative is empty when none ran.
    margin : float or None
        The margin it was held against.
    ablated_outcome : {"holds", "fails"} or None
        The ablated twin under the same test; None when the claim has no margin.
    seeds : tuple of int
        Seeds that ran.
    seconds : float
        Wall-clock seconds of all of them.
    metric, direction : str
        The figure that decided, and which way it is better.
    alternative : str
        Name of the strongest alternative, or ``""``.
    ablated : mapping of str to float
        Figures of the ablated twin; empty when it was not asked for.
    gains, ablated_gains : tuple of float
        Per seed, how far the method and its twin were ahead of the strongest alternative.
    sentence : str
        The claim in words.
    note : str
        What a reader should know, or ``""``.
    """

    name: str
    outcome: ClaimOutcome
    data: DataKind
    measured: Figures
    baseline: Figures
    strongest_alternative: Figures
    margin: float | None
    ablated_outcome: Literal["holds", "fails"] | None
    seeds: tuple[int, ...]
    seconds: float
    metric: str
    direction: Literal["higher", "lower"] = "higher"
    alternative: str = ""
    ablated: Figures = field(default_factory=dict)
    gains: tuple[float, ...] = ()
    ablated_gains: tuple[float, ...] = ()
    sentence: str = ""
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values.

        Returns
        -------
        dict
            Every attribute by its name; tuples become lists.
        """
        out = dict(vars(self))
        for name in ("measured", "baseline", "strongest_alternative", "ablated"):
            out[name] = dict(out[name])
        for name in ("seeds", "gains", "ablated_gains"):
            out[name] = list(out[name])
        return out


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One row of the catalogue.

    Attributes
    ----------
    key : str
        What ``orthant reproduce`` takes.
    title : str
        Title of the paper.
    arxiv : str
        Identifier such as ``"2405.19504"``.
    year : int
        Year of the first version.
    wing : {"search", "space", "text", "recommend", "vision"}
        Folder of the record.
    lives_in : tuple of str
        Dotted modules that hold the method.
    summary : str
        What it does, when to use it and its place here, in two to four sentences.
    keywords : tuple of str
        Terms a reader may search by.
    status : {"shown", "shown-generated", "works", "planned"}, default "planned"
        ``shown``: the headline effect on real data; ``shown-generated``: on generated data only; ``works``: built
        and tested against its equations, the effect not shown at this scale; ``planned``: not built.
    claims : tuple of Claim
        What can be run.

    Raises
    ------
    InputError
        An unknown wing or status, or two claims of one name.

    Examples
    --------
    >>> from orthant.papers.catalogue import paper
    >>> row = paper("fastrp")
    >>> row.year, row.url
    (2019, 'https://arxiv.org/abs/1908.11512')
    """

    key: str
    title: str
    arxiv: str
    year: int
    wing: Wing
    lives_in: tuple[str, ...]
    summary: str
    keywords: tuple[str, ...]
    status: Status = "planned"
    claims: tuple[Claim, ...] = ()

    def __post_init__(self) -> None:
        names = [claim.name for claim in self.claims]
        for value, allowed, what in ((self.wing, WINGS, "wing"), (self.status, STATUSES, "status")):
            if value not in allowed:
                raise InputError(
                    message(f"{what}={value!r} in row {self.key!r}", f"one of {', '.join(allowed)}", "correct the row")
                )
        if len(set(names)) != len(names):
            raise InputError(message(f"claims {names} in row {self.key!r}", "distinct names", "rename one"))

    @property
    def url(self) -> str:
        """Address of the paper's abstract page."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    @property
    def posted(self) -> str:
        """Month of the first version, such as ``"2019-08"``, which its identifier tells."""
        return f"20{self.arxiv[:2]}-{self.arxiv[2:4]}"
