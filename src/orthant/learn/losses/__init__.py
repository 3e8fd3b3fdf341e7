"""Losses: one contrastive loss over named logit blocks, distillation, late interaction, metric learning.

Embeddings, tokens or scores enter as torch tensors; a scalar to minimise and its parts leave.
Never reads data, never owns an optimiser, never moves a model.
Start with `contrastive`; `text` wraps it for sentence-transformers.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES: dict[str, str] = {
    "ContrastiveLoss": "orthant.learn.losses.contrastive",
    "ContrastiveSettings": "orthant.learn.losses.settings",
    "DistillationLoss": "orthant.learn.losses.distillation",
    "EmbeddingDistillation": "orthant.learn.losses.distillation",
    "HigherOrderCompatibilityLoss": "orthant.learn.losses.compatibility",
    "LossOutput": "orthant.learn.losses.protocol",
    "MaxSimContrastiveLoss": "orthant.learn.losses.late_interaction",
    "TextContrastiveLoss": "orthant.learn.losses.text",
    "TextDistillationLoss": "orthant.learn.losses.text",
    "TextMaxSimLoss": "orthant.learn.losses.text",
    "batch_kl": "orthant.learn.losses.distillation",
    "embedding_distance": "orthant.learn.losses.distillation",
    "kl_divergence": "orthant.learn.losses.distillation",
    "list_net": "orthant.learn.losses.distillation",
    "margin_mse": "orthant.learn.losses.distillation",
    "maxsim_distillation": "orthant.learn.losses.late_interaction",
    "maxsim_scores": "orthant.learn.losses.late_interaction",
    "mix_negatives": "orthant.learn.losses.batches",
    "rank_net": "orthant.learn.losses.distillation",
    "score_mse": "orthant.learn.losses.distillation",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'orthant.learn.losses' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
