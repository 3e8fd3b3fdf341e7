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
    "FixedPrototypeHead": "orthant.nn.heads",
    "LatentAttentionPooling": "orthant.nn.latent_attention",
    "MaxPooling": "orthant.nn.poolings",
    "MeanPooling": "orthant.nn.poolings",
    "Pooling": "orthant.nn.poolings",
    "ProjectionHead": "orthant.nn.heads",
    "RandomReducer": "orthant.nn.token_reducers",
    "StrideReducer": "orthant.nn.token_reducers",
    "TailReducer": "orthant.nn.token_reducers",
    "TargetAttention": "orthant.nn.target_attention",
    "TokenPooling": "orthant.nn.poolings",
    "TokenReducer": "orthant.nn.token_reducers",
    "equiangular_prototypes": "orthant.nn.prototypes",
    "make_pooling": "orthant.nn.poolings",
    "make_reducer": "orthant.nn.token_reducers",
    "orthonormal_prototypes": "orthant.nn.prototypes",
    "simplex_prototypes": "orthant.nn.prototypes",
    "welch_bound": "orthant.nn.prototypes",
}

__all__: list[str] = [
    "ClusterReducer",
    "ContextualEosPooling",
    "FixedPrototypeHead",
    "LatentAttentionPooling",
    "MaxPooling",
    "MeanPooling",
    "Pooling",
    "ProjectionHead",
    "RandomReducer",
    "StrideReducer",
    "TailReducer",
    "TargetAttention",
    "TokenPooling",
    "TokenReducer",
    "equiangular_prototypes",
    "make_pooling",
    "make_reducer",
    "orthonormal_prototypes",
    "simplex_prototypes",
    "welch_bound",
]

if TYPE_CHECKING:
    from orthant.nn.heads import FixedPrototypeHead, ProjectionHead
    from orthant.nn.latent_attention import LatentAttentionPooling
    from orthant.nn.poolings import ContextualEosPooling, MaxPooling, MeanPooling, Pooling, TokenPooling, make_pooling
    from orthant.nn.prototypes import equiangular_prototypes, orthonormal_prototypes, simplex_prototypes, welch_bound
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
