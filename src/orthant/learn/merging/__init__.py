"""Several models of one architecture become one: by fixed rules, or with learned coefficients.

Model folders, state dicts or modules enter; a complete model folder, a state dict or a module with coefficients leaves.
Never holds more than a tensor of each model when it writes a folder, and never trains: a learned merge is a module like
any other to a trainer.
Start with `merge`; `methods` has the formulas, `functional` what is learned, `files` how tensors are read and written.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Dare": "orthant.learn.merging.rules",
    "GreedySoup": "orthant.learn.merging.merge",
    "Karcher": "orthant.learn.merging.rules",
    "LearnedMerge": "orthant.learn.merging.functional",
    "Linear": "orthant.learn.merging.rules",
    "MergeRule": "orthant.learn.merging.rules",
    "ModelStock": "orthant.learn.merging.rules",
    "Slerp": "orthant.learn.merging.rules",
    "TaskArithmetic": "orthant.learn.merging.rules",
    "TaskVector": "orthant.learn.merging.task_vectors",
    "Ties": "orthant.learn.merging.rules",
    "greedy_soup": "orthant.learn.merging.merge",
    "merge_models": "orthant.learn.merging.merge",
    "merge_tensors": "orthant.learn.merging.merge",
    "merged_state": "orthant.learn.merging.merge",
    "mismatches": "orthant.learn.merging.sources",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.merging' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
