"""Filtered nearest-neighbour search: many selectivities and relations between filter and query, several arms.

Vectors and queries enter; recall and latency of every arm in every cell leave.
Never gives an arm another row set than its rivals, never tunes on the queries that judge.
Start with `run` for made filters, with `study` for real ones; which rows a cell allows is in `cells`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "BUCKETS": "study",
    "Cell": "cells",
    "PREDICATES": "cells",
    "RELATIONS": "cells",
    "cheapest": "study",
    "make_groups": "cells",
    "run_filtered": "run",
    "run_study": "study",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
