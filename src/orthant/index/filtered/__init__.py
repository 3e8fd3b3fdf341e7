"""Graphs made for one kind of filter: labels, sets of labels, ranges. Arms to compare the planner with.

Vectors with labels or an ordered attribute enter; `Hits` that pass the filter leave.
Never changes after it is built, and never chooses a plan: `Graph` takes any filter and does.
Start with `labels`; `vamana`, `navigating` and `segments` hold the indexes, `walk` what they share.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "FilteredVamana": "vamana",
    "Labels": "labels",
    "NavigatingGraph": "navigating",
    "SegmentGraph": "segments",
    "StitchedVamana": "vamana",
}

__all__ = ["FilteredVamana", "Labels", "NavigatingGraph", "SegmentGraph", "StitchedVamana"]

if TYPE_CHECKING:
    from orthant.index.filtered.labels import Labels
    from orthant.index.filtered.navigating import NavigatingGraph
    from orthant.index.filtered.segments import SegmentGraph
    from orthant.index.filtered.vamana import FilteredVamana, StitchedVamana


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
