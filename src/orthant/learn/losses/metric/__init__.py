"""Metric learning: losses over pairs, triplets and proxies, losses over graded pairs, and miners within a batch.

Embeddings with class labels, or with pairs, enter as torch tensors; a scalar to minimise and its parts leave.
Never encodes, never chooses the rows of a batch: that is what the samplers do.
Start with `interface`; `pairs`, `triplets`, `proxies` and `graded` have the losses.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "AnglELoss": "orthant.learn.losses.metric.graded",
    "ArcFaceLoss": "orthant.learn.losses.metric.proxies",
    "BinomialDevianceLoss": "orthant.learn.losses.metric.pairs",
    "CircleLoss": "orthant.learn.losses.metric.pairs",
    "CoSENTLoss": "orthant.learn.losses.metric.graded",
    "CosFaceLoss": "orthant.learn.losses.metric.proxies",
    "DistanceWeightedMiner": "orthant.learn.losses.metric.mining",
    "HardMiner": "orthant.learn.losses.metric.mining",
    "LiftedStructureLoss": "orthant.learn.losses.metric.pairs",
    "MarginContrastiveLoss": "orthant.learn.losses.metric.pairs",
    "MarginMiner": "orthant.learn.losses.metric.mining",
    "MetricLoss": "orthant.learn.losses.metric.interface",
    "MetricObjective": "orthant.learn.losses.metric.objective",
    "MultiSimilarityLoss": "orthant.learn.losses.metric.pairs",
    "MultiSimilarityMiner": "orthant.learn.losses.metric.mining",
    "NPairLoss": "orthant.learn.losses.metric.triplets",
    "NormFaceLoss": "orthant.learn.losses.metric.proxies",
    "Pairs": "orthant.learn.losses.metric.tuples",
    "ProxyAnchorLoss": "orthant.learn.losses.metric.proxies",
    "ProxyNCALoss": "orthant.learn.losses.metric.proxies",
    "TextMetricLoss": "orthant.learn.losses.metric.objective",
    "TripletLoss": "orthant.learn.losses.metric.triplets",
    "Triplets": "orthant.learn.losses.metric.tuples",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.losses.metric' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
