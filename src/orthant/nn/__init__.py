"""Torch modules that more than one way of training needs: poolings, heads, codebooks.

Tensors enter; tensors leave.
Never trains, never reads data, never imports an encoder or an index.
Start with `poolings`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_HOMES: dict[str, str] = {
    "ClusterReducer": "orthant.nn.token_reducers",
    "ContextualEosPooling": "orthant.nn.poolings",
    "DifferentiablePQ": "orthant.nn.codebooks.product",
    "FixedPrototypeHead": "orthant.nn.heads",
    "LatentAttentionPooling": "orthant.nn.latent_attention",
    "MaxPooling": "orthant.nn.poolings",
    "MeanPooling": "orthant.nn.poolings",
    "Pooling": "orthant.nn.poolings",
    "ProjectionHead": "orthant.nn.heads",
    "Quantized": "orthant.nn.codebooks.usage",
    "RandomReducer": "orthant.nn.token_reducers",
    "RecurrentBinarizer": "orthant.nn.binary",
    "Residual": "orthant.nn.residual",
    "ResidualVQ": "orthant.nn.codebooks.residual",
    "SimVQ": "orthant.nn.codebooks.simvq",
    "StrideReducer": "orthant.nn.token_reducers",
    "TailReducer": "orthant.nn.token_reducers",
    "TargetAttention": "orthant.nn.target_attention",
    "TokenPooling": "orthant.nn.poolings",
    "TokenReducer": "orthant.nn.token_reducers",
    "VectorQuantizer": "orthant.nn.codebooks.vector",
    "equiangular_prototypes": "orthant.nn.prototypes",
    "gumbel_softmax": "orthant.nn.functional",
    "make_pooling": "orthant.nn.poolings",
    "make_reducer": "orthant.nn.token_reducers",
    "measure_usage": "orthant.nn.codebooks.usage",
    "orthonormal_prototypes": "orthant.nn.prototypes",
    "simplex_prototypes": "orthant.nn.prototypes",
    "straight_through_one_hot": "orthant.nn.functional",
    "straight_through_round": "orthant.nn.functional",
    "straight_through_sign": "orthant.nn.functional",
    "welch_bound": "orthant.nn.prototypes",
}

__all__ = [
    "ClusterReducer",
    "ContextualEosPooling",
    "DifferentiablePQ",
    "FixedPrototypeHead",
    "LatentAttentionPooling",
    "MaxPooling",
    "MeanPooling",
    "Pooling",
    "ProjectionHead",
    "Quantized",
    "RandomReducer",
    "RecurrentBinarizer",
    "Residual",
    "ResidualVQ",
    "SimVQ",
    "StrideReducer",
    "TailReducer",
    "TargetAttention",
    "TokenPooling",
    "TokenReducer",
    "VectorQuantizer",
    "equiangular_prototypes",
    "gumbel_softmax",
    "make_pooling",
    "make_reducer",
    "measure_usage",
    "orthonormal_prototypes",
    "simplex_prototypes",
    "straight_through_one_hot",
    "straight_through_round",
    "straight_through_sign",
    "welch_bound",
]

if TYPE_CHECKING:
    from orthant.nn.binary import RecurrentBinarizer
    from orthant.nn.codebooks.product import DifferentiablePQ
    from orthant.nn.codebooks.residual import ResidualVQ
    from orthant.nn.codebooks.simvq import SimVQ
    from orthant.nn.codebooks.usage import Quantized, measure_usage
    from orthant.nn.codebooks.vector import VectorQuantizer
    from orthant.nn.functional import (
        gumbel_softmax,
        straight_through_one_hot,
        straight_through_round,
        straight_through_sign,
    )
    from orthant.nn.heads import FixedPrototypeHead, ProjectionHead
    from orthant.nn.latent_attention import LatentAttentionPooling
    from orthant.nn.poolings import ContextualEosPooling, MaxPooling, MeanPooling, Pooling, TokenPooling, make_pooling
    from orthant.nn.prototypes import equiangular_prototypes, orthonormal_prototypes, simplex_prototypes, welch_bound
    from orthant.nn.residual import Residual
    from orthant.nn.target_attention import TargetAttention
    from orthant.nn.token_reducers import (
        ClusterReducer,
        RandomReducer,
        StrideReducer,
        TailReducer,
        TokenReducer,
        make_reducer,
    )


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.nn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
