"""What makes up a batch: row numbers, within one data set and over several.

Numbers of rows, and columns or vectors where a rule looks at them, enter; batches of row numbers leave.
Never reads a data set, never imports torch, never puts a row into an epoch twice unless a mixture is told to.
Start with `protocol`; `rows` has the plain ones, `mixtures` joins several data sets.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "BalancedMix": "orthant.learn.samplers.mixtures",
    "ByLabel": "orthant.learn.samplers.labels",
    "Interleaved": "orthant.learn.samplers.tasks",
    "LocalityCentric": "orthant.learn.samplers.locality",
    "Mixture": "orthant.learn.samplers.protocol",
    "NoDuplicates": "orthant.learn.samplers.duplicates",
    "Proportional": "orthant.learn.samplers.mixtures",
    "PxK": "orthant.learn.samplers.labels",
    "RoundRobin": "orthant.learn.samplers.mixtures",
    "Sampler": "orthant.learn.samplers.protocol",
    "SemiHomogeneous": "orthant.learn.samplers.tasks",
    "Sequential": "orthant.learn.samplers.rows",
    "Shuffled": "orthant.learn.samplers.rows",
    "count_batches": "orthant.learn.samplers.protocol",
    "count_mixed_batches": "orthant.learn.samplers.protocol",
    "shard": "orthant.learn.samplers.protocol",
}

__all__ = [
    "BalancedMix",
    "ByLabel",
    "Interleaved",
    "LocalityCentric",
    "Mixture",
    "NoDuplicates",
    "Proportional",
    "PxK",
    "RoundRobin",
    "Sampler",
    "SemiHomogeneous",
    "Sequential",
    "Shuffled",
    "count_batches",
    "count_mixed_batches",
    "shard",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.samplers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
