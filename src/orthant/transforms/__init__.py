"""Vectors to vectors, as scikit-learn estimators.

float32 vectors enter; float32 vectors leave.
Never trains with torch, never touches a collection.
Start with `reduction`, with `alignment` for maps between two encoders, or with `adaptation` for pairs of queries and
answers; `moments` is what reductions learn from.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "AffineMap": "orthant.transforms.alignment.spaces",
    "DriftCompensator": "orthant.transforms.alignment.drift",
    "FixedDimensionalEncoding": "orthant.transforms.fixed_dimensional",
    "GapAlignment": "orthant.transforms.alignment.gap",
    "LeanVec": "orthant.transforms.leanvec",
    "Layer": "orthant.transforms.layers",
    "LowRankMap": "orthant.transforms.alignment.low_rank",
    "MeanShift": "orthant.transforms.alignment.mean_shift",
    "Network": "orthant.transforms.network",
    "Procrustes": "orthant.transforms.alignment.procrustes",
    "RandomMatrices": "orthant.transforms.random_matrices",
    "Reduction": "orthant.transforms.reduction",
    "RelativeRepresentation": "orthant.transforms.alignment.relative",
    "ResidualAdapter": "orthant.transforms.adaptation.adapter",
    "SpaceMap": "orthant.transforms.alignment.spaces",
    "SubspaceProjection": "orthant.transforms.subspace",
    "TokenClusterer": "orthant.transforms.token_clustering",
    "attribute_directions": "orthant.transforms.subspace",
    "carve_balls": "orthant.transforms.fixed_dimensional",
    "choose_dim": "orthant.transforms.choosing",
    "leanvec_loss": "orthant.transforms.leanvec",
}

__all__ = [
    "AffineMap",
    "DriftCompensator",
    "FixedDimensionalEncoding",
    "GapAlignment",
    "Layer",
    "LeanVec",
    "LowRankMap",
    "MeanShift",
    "Network",
    "Procrustes",
    "RandomMatrices",
    "Reduction",
    "RelativeRepresentation",
    "ResidualAdapter",
    "SpaceMap",
    "SubspaceProjection",
    "TokenClusterer",
    "attribute_directions",
    "carve_balls",
    "choose_dim",
    "leanvec_loss",
]

if TYPE_CHECKING:
    from orthant.transforms.adaptation.adapter import ResidualAdapter
    from orthant.transforms.alignment.drift import DriftCompensator
    from orthant.transforms.alignment.gap import GapAlignment
    from orthant.transforms.alignment.low_rank import LowRankMap
    from orthant.transforms.alignment.mean_shift import MeanShift
    from orthant.transforms.alignment.procrustes import Procrustes
    from orthant.transforms.alignment.relative import RelativeRepresentation
    from orthant.transforms.alignment.spaces import AffineMap, SpaceMap
    from orthant.transforms.choosing import choose_dim
    from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding, carve_balls
    from orthant.transforms.layers import Layer
    from orthant.transforms.leanvec import LeanVec, leanvec_loss
    from orthant.transforms.network import Network
    from orthant.transforms.random_matrices import RandomMatrices
    from orthant.transforms.reduction import Reduction
    from orthant.transforms.subspace import SubspaceProjection, attribute_directions
    from orthant.transforms.token_clustering import TokenClusterer


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.transforms' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
