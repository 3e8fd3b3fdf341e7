"""Approximate nearest-neighbour engines side by side: tuned alike, timed in turns, judged on other queries.

Vectors, queries and names of engines enter; curves of recall and queries per second leave.
Never times what was tuned on the same queries, never writes a missing engine as zero.
Start with `run`; what an engine must do is in `engine`.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "AnnInputs": "inputs",
    "Engine": "engine",
    "ENGINES": "engine",
    "EngineProcess": "process",
    "expand_peers": "engine",
    "ground_truth": "truth",
    "load_engine": "engine",
    "pareto": "curves",
    "qps_at": "curves",
    "read_inputs": "inputs",
    "run_ann": "run",
    "write_figures": "figures",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
