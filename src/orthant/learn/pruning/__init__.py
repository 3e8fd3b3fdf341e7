"""Which weights a model can do without, and the model without them.

Modules, model folders, scores and gradients enter; masks, reports, masked folders and smaller modules leave.
Never retrains: masks go to a `Stage`, which keeps what they name at zero.
Start with `scores`, then `masks`; `removal` makes models smaller for real.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "alignment_scores": "orthant.learn.pruning.scores",
    "apply_masks": "orthant.learn.pruning.masks",
    "find_attention": "orthant.learn.pruning.removal",
    "fisher_scores": "orthant.learn.pruning.scores",
    "head_masks": "orthant.learn.pruning.removal",
    "head_scores": "orthant.learn.pruning.removal",
    "lowest_heads": "orthant.learn.pruning.removal",
    "magnitude_scores": "orthant.learn.pruning.scores",
    "prune_folder": "orthant.learn.pruning.folders",
    "random_scores": "orthant.learn.pruning.scores",
    "rank_agreement": "orthant.learn.pruning.scores",
    "remove_heads": "orthant.learn.pruning.removal",
    "remove_layers": "orthant.learn.pruning.removal",
    "sparsity_report": "orthant.learn.pruning.masks",
    "structured_masks": "orthant.learn.pruning.masks",
    "unstructured_masks": "orthant.learn.pruning.masks",
}

__all__ = [
    "alignment_scores",
    "apply_masks",
    "find_attention",
    "fisher_scores",
    "head_masks",
    "head_scores",
    "lowest_heads",
    "magnitude_scores",
    "prune_folder",
    "random_scores",
    "rank_agreement",
    "remove_heads",
    "remove_layers",
    "sparsity_report",
    "structured_masks",
    "unstructured_masks",
]

if TYPE_CHECKING:
    from orthant.learn.pruning.folders import prune_folder
    from orthant.learn.pruning.masks import apply_masks, sparsity_report, structured_masks, unstructured_masks
    from orthant.learn.pruning.removal import (
        find_attention,
        head_masks,
        head_scores,
        lowest_heads,
        remove_heads,
        remove_layers,
    )
    from orthant.learn.pruning.scores import (
        alignment_scores,
        fisher_scores,
        magnitude_scores,
        random_scores,
        rank_agreement,
    )


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.pruning' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
