"""What a diagnosis says: figures with intervals, curves for plots, and advice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Bin", "Diagnosis", "Estimate", "Histogram"]


@dataclass(frozen=True)
class Estimate:
    """A figure of a sample.

    Attributes
    ----------
    value : float
        The figure.
    low, high : float
        Its 95 % interval.
    count : int
        Observations that it rests on.
    """

    value: float
    low: float
    high: float
    count: int

    def __str__(self) -> str:
        """Return value and interval."""
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True)
class Histogram:
    """Counts between edges.

    Attributes
    ----------
    edges : list of float
        One more than counts, ascending.
    counts : list of int
        Observations between them.
    """

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True)
class Bin:
    """A group of observations that are alike in something.

    Attributes
    ----------
    label : str
        What they share.
    estimate : Estimate
        Their figure.
    """

    label: str
    estimate: Estimate


@dataclass(frozen=True)
class Diagnosis:
    """What `Collection.diagnose` measured.

    Attributes
    ----------
    path, space, metric : str
        The collection, the space, and how it scores.
    records, vectors, dim : int
        Records, live vectors of the space, and their dimensions.
    sample : dict of str to int or str
        How many rows, queries and neighbours were looked at, and where queries came from.
    figures : dict of str to Estimate
        By name; a figure that could not be measured is absent and named in ``missing``.
    curves : dict of str to Histogram or list of Bin
        What the plots show.
    facts : dict
        Counts, settings and extrapolations, which have no interval.
    missing : dict of str to str
        Why a part was not measured.
    advice : list of str
        What to do, in order of weight; empty where nothing stands out.
    seconds : dict of str to float
        What each part took.
    """

    path: str
    space: str
    metric: str
    records: int
    vectors: int
    dim: int
    sample: Mapping[str, Any]
    figures: Mapping[str, Estimate]
    curves: Mapping[str, Histogram | Sequence[Bin]]
    facts: Mapping[str, Any]
    missing: Mapping[str, str]
    advice: Sequence[str] = field(default_factory=list)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; what is not finite becomes None."""
        found: dict[str, Any] = _plain(asdict(self))
        return found

    def to_html(self) -> str:
        """Return one page with plots that needs no other file and no network."""
        from orthant.collection.diagnosis.page import render

        return render(self)

    def __str__(self) -> str:
        """Return figures and advice as lines."""
        lines = [f"{self.path}, space {self.space}: {self.vectors:,} vectors of {self.dim} dimensions ({self.metric})"]
        lines += [f"  {name.replace('_', ' '):<34} {estimate}" for name, estimate in self.figures.items()]
        lines += [f"  {name.replace('_', ' '):<34} not measured: {why}" for name, why in self.missing.items()]
        lines += [f"* {line}" for line in self.advice]
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(held) for held in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
