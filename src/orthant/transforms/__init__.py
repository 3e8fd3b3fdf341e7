"""Vectors to vectors, as scikit-learn estimators.

float32 vectors enter; float32 vectors leave.
Never trains with torch, never touches a collection.
Start with `reduction`, with `alignment` for maps between two encoders, with `adaptation` for pairs of queries and
answers, or with `geometry` and `label_shift` for classes; `moments` is what reductions learn from.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES = {
    "AffineMap": "orthant.transforms.alignment.spaces",
    "DriftCompensator": "orthant.transforms.alignment.drift",
    "FixedDimensionalEncoding": "orthant.transforms.fixed_dimensional",
    "FrechetMeanPredictor": "orthant.transforms.geometry.predictor",
    "GapAlignment": "orthant.transforms.alignment.gap",
    "LabelShiftCorrection": "orthant.transforms.label_shift.correction",
    "LatentLabelShift": "orthant.transforms.label_shift.latent",
    "Layer": "orthant.transforms.layers",
    "LeanVec": "orthant.transforms.leanvec",
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
    "WordedMap": "orthant.transforms.alignment.worded",
    "attribute_directions": "orthant.transforms.subspace",
    "carve_balls": "orthant.transforms.fixed_dimensional",
    "check_label_metric": "orthant.transforms.geometry.distances",
    "choose_dim": "orthant.transforms.choosing",
    "choose_observed": "orthant.transforms.geometry.locus",
    "graph_label_distances": "orthant.transforms.geometry.distances",
    "label_locus": "orthant.transforms.geometry.locus",
    "leanvec_loss": "orthant.transforms.leanvec",
    "mean_squared_label_distance": "orthant.transforms.geometry.distances",
    "next_observed": "orthant.transforms.geometry.locus",
    "ring_label_distances": "orthant.transforms.geometry.distances",
    "vector_label_distances": "orthant.transforms.geometry.distances",
}

__all__ = [
    "AffineMap",
    "DriftCompensator",
    "FixedDimensionalEncoding",
    "FrechetMeanPredictor",
    "GapAlignment",
    "LabelShiftCorrection",
    "LatentLabelShift",
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
    "WordedMap",
    "attribute_directions",
    "carve_balls",
    "check_label_metric",
    "choose_dim",
    "choose_observed",
    "graph_label_distances",
    "label_locus",
    "leanvec_loss",
    "mean_squared_label_distance",
    "next_observed",
    "ring_label_distances",
    "vector_label_distances",
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
    from orthant.transforms.alignment.worded import WordedMap
    from orthant.transforms.choosing import choose_dim
    from orthant.transforms.fixed_dimensional import FixedDimensionalEncoding, carve_balls
    from orthant.transforms.geometry.distances import (
        check_label_metric,
        graph_label_distances,
        mean_squared_label_distance,
        ring_label_distances,
        vector_label_distances,
    )
    from orthant.transforms.geometry.locus import choose_observed, label_locus, next_observed
    from orthant.transforms.geometry.predictor import FrechetMeanPredictor
    from orthant.transforms.label_shift.correction import LabelShiftCorrection
    from orthant.transforms.label_shift.latent import LatentLabelShift
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
