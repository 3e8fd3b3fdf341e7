"""Training with torch: makes better encoders, transforms, quantizers and tables.

Rows, texts or vectors enter; artefacts in safetensors and JSON, or sentence-transformers folders, leave.
Never needed to serve what it made: that runs on NumPy, Numba or onnxruntime.
Start with `training`: a `Curriculum` of `Stage`s.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "Alignment": "orthant.learn.losses.regularisers.spread",
    "AnglELoss": "orthant.learn.losses.metric.graded",
    "ArcFaceLoss": "orthant.learn.losses.metric.proxies",
    "BalancedMix": "orthant.learn.samplers.mixtures",
    "BinomialDevianceLoss": "orthant.learn.losses.metric.pairs",
    "Brownian": "orthant.learn.losses.regularisers.dispersion",
    "ByLabel": "orthant.learn.samplers.labels",
    "CircleLoss": "orthant.learn.losses.metric.pairs",
    "CoSENTLoss": "orthant.learn.losses.metric.graded",
    "CosFaceLoss": "orthant.learn.losses.metric.proxies",
    "DistanceWeightedMiner": "orthant.learn.losses.metric.mining",
    "EnergyConfusion": "orthant.learn.losses.regularisers.confusion",
    "EntropyCost": "orthant.learn.losses.regularisers.weights",
    "HardMiner": "orthant.learn.losses.metric.mining",
    "InitialDistance": "orthant.learn.losses.regularisers.weights",
    "Interleaved": "orthant.learn.samplers.tasks",
    "KoLeo": "orthant.learn.losses.regularisers.spread",
    "LiftedStructureLoss": "orthant.learn.losses.metric.pairs",
    "LocalityCentric": "orthant.learn.samplers.locality",
    "MarginContrastiveLoss": "orthant.learn.losses.metric.pairs",
    "MarginMiner": "orthant.learn.losses.metric.mining",
    "MetricLoss": "orthant.learn.losses.metric.interface",
    "MetricObjective": "orthant.learn.losses.metric.objective",
    "Mixture": "orthant.learn.samplers.protocol",
    "MultiSimilarityLoss": "orthant.learn.losses.metric.pairs",
    "MultiSimilarityMiner": "orthant.learn.losses.metric.mining",
    "NPairLoss": "orthant.learn.losses.metric.triplets",
    "NoDuplicates": "orthant.learn.samplers.duplicates",
    "NormFaceLoss": "orthant.learn.losses.metric.proxies",
    "Orthogonality": "orthant.learn.losses.regularisers.weights",
    "Pairs": "orthant.learn.losses.metric.tuples",
    "Proportional": "orthant.learn.samplers.mixtures",
    "ProxyAnchorLoss": "orthant.learn.losses.metric.proxies",
    "ProxyNCALoss": "orthant.learn.losses.metric.proxies",
    "PxK": "orthant.learn.samplers.labels",
    "Regulariser": "orthant.learn.losses.regularisers.interface",
    "RoundRobin": "orthant.learn.samplers.mixtures",
    "RowNorm": "orthant.learn.losses.regularisers.weights",
    "Sampler": "orthant.learn.samplers.protocol",
    "SemiHomogeneous": "orthant.learn.samplers.tasks",
    "Sequential": "orthant.learn.samplers.rows",
    "Shuffled": "orthant.learn.samplers.rows",
    "SingularValue": "orthant.learn.losses.regularisers.dispersion",
    "SpreadOut": "orthant.learn.losses.regularisers.spread",
    "TextMetricLoss": "orthant.learn.losses.metric.objective",
    "TripletLoss": "orthant.learn.losses.metric.triplets",
    "Triplets": "orthant.learn.losses.metric.tuples",
    "Uniformity": "orthant.learn.losses.regularisers.spread",
    "VarianceCovariance": "orthant.learn.losses.regularisers.dispersion",
    "WithRegularisers": "orthant.learn.losses.regularisers.interface",
    "count_batches": "orthant.learn.samplers.protocol",
    "count_mixed_batches": "orthant.learn.samplers.protocol",
    "shard": "orthant.learn.samplers.protocol",
}

__all__: list[str] = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
