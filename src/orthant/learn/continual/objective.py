"""What is minimised: cross-entropy against class directions, and nearness to the features of the model before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from orthant.learn.losses.compatibility import compatibility_rows
from orthant.learn.losses.distillation import embedding_distance
from orthant.learn.losses.protocol import LossOutput, check_positive
from orthant.learn.training.history import History
from orthant.learn.training.loop import TorchLoop
from orthant.learn.training.stage import Stage
from orthant.nn.heads import FixedPrototypeHead

__all__ = ["Keep", "PrototypeLoss", "TrainedPrototypeHead", "make_backbone", "train_prototypes"]

Keep = Literal["higher-order", "distillation", "none"]


class TrainedPrototypeHead(FixedPrototypeHead):
    """The head with its directions set free: what a fixed head is to be compared with.

    Parameters
    ----------
    prototypes : array-like of shape (n, dim)
        Where the directions begin.
    scale : float, default 10.0
        Factor on the cosine.
    labels : sequence of str, optional
        Class names in the order of the directions.

    Examples
    --------
    >>> head = TrainedPrototypeHead([[1.0, 0.0], [0.0, 1.0]])
    >>> [tuple(parameter.shape) for parameter in head.parameters()]
    [(2, 2)]
    """

    def __init__(self, prototypes: npt.ArrayLike, *, scale: float = 10.0, labels: Sequence[str] | None = None) -> None:
        super().__init__(prototypes, scale=scale, labels=labels)
        first = self.prototypes.clone()
        del self.prototypes
        self.prototypes = nn.Parameter(first)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return a logit for every class; directions count, not their lengths.

        Parameters
        ----------
        embeddings : Tensor of shape (..., dim)
            Of any length.

        Returns
        -------
        Tensor of shape (..., n)
            From -scale to scale.
        """
        rows = functional.normalize(self.prototypes, dim=-1)
        return self.scale * functional.normalize(embeddings, dim=-1) @ rows.to(embeddings.dtype).T


class _Classifier(nn.Module):
    """Backbone and head as one thing that is trained."""

    def __init__(self, backbone: nn.Module, head: FixedPrototypeHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head


class PrototypeLoss(nn.Module):
    """Cross-entropy against class directions, mixed with what keeps features next to those of an earlier model.

    Parameters
    ----------
    model : torch.nn.Module
        With a ``backbone`` and a ``head``.
    keep : {"higher-order", "distillation", "none"}, default "none"
        What is done with the column ``previous``.
    weight : float, default 0.9
        Share of it in the loss, from 0 to below 1.
    scale : float, default 10.0
        Of its cosines.
    smoothing : float, default 0.0
        Of the targets of the cross-entropy.

    Examples
    --------
    >>> model = _Classifier(nn.Linear(2, 2), FixedPrototypeHead([[1.0, 0.0], [0.0, 1.0]]))
    >>> sorted(PrototypeLoss(model)({"x": torch.eye(2), "y": torch.tensor([0, 1])}).parts)
    ['cross_entropy']
    """

    def __init__(
        self, model: Any, *, keep: Keep = "none", weight: float = 0.9, scale: float = 10.0, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.model = model
        self.keep = keep
        self.weight = weight
        self.scale = check_positive(scale, name="scale")
        self.smoothing = smoothing

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        """Compute the loss of a batch.

        Parameters
        ----------
        batch : mapping of str to Tensor
            ``x`` (B, ...), ``y`` (B,), and ``previous`` (B, d) where something is kept.

        Returns
        -------
        LossOutput
            Parts: ``cross_entropy``, and ``kept``, the other term.
        """
        features, labels = self.model.backbone(batch["x"]), batch["y"]
        entropy = self.model.head.cross_entropy(features, labels, smoothing=self.smoothing)
        parts = {"cross_entropy": float(entropy.detach())}
        if self.keep == "none" or "previous" not in batch:
            return LossOutput(entropy, parts)
        if self.keep == "distillation":
            kept = self.scale * embedding_distance(features, batch["previous"])
        else:
            # The last batch of an epoch may hold one class only, which is no reason to warn in every epoch.
            kept = compatibility_rows(features, batch["previous"], labels, scale=self.scale)[0].mean()
        parts["kept"] = float(kept.detach())
        return LossOutput((1 - self.weight) * entropy + self.weight * kept, parts)


def make_backbone(dim_in: int, hidden: Sequence[int], dim: int, *, seed: int) -> nn.Sequential:
    """Return a network of linear layers with ReLU between them, and no bias in the last.

    Parameters
    ----------
    dim_in : int
        Width of what comes.
    hidden : sequence of int
        Widths between; none makes one matrix.
    dim : int
        Width of the features.
    seed : int
        Of the first weights; torch's own state is left as it was.

    Returns
    -------
    torch.nn.Sequential
        To be trained.

    Examples
    --------
    >>> [type(layer).__name__ for layer in make_backbone(4, (8,), 3, seed=0)]
    ['Linear', 'ReLU', 'Linear']
    """
    layers: list[nn.Module] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for width in hidden:
            layers += [nn.Linear(dim_in, width), nn.ReLU()]
            dim_in = width
        layers.append(nn.Linear(dim_in, dim, bias=False))
    return nn.Sequential(*layers)


def train_prototypes(
    backbone: nn.Module,
    head: FixedPrototypeHead,
    columns: Mapping[str, npt.NDArray[Any]],
    *,
    name: str,
    epochs: float,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
    seed: int,
    **settings: Any,
) -> History:
    """Train a backbone, and a head that has something to train, in place.

    Parameters
    ----------
    backbone : torch.nn.Module
        Rows of ``x`` to features.
    head : FixedPrototypeHead
        Its directions.
    columns : mapping of str to ndarray of shape (n, ...)
        ``x``, ``y`` and perhaps ``previous``.
    name : str
        Of the stage, for the history.
    epochs : float
        Passes over the rows.
    batch_size : int
        Rows of a step.
    learning_rate : float
        Peak rate of AdamW; falls to 0 as a cosine.
    weight_decay : float
        Decoupled decay of matrices.
    seed : int
        Of the order of the rows.
    **settings : any
        For ``PrototypeLoss``.

    Returns
    -------
    History
        One row per step.
    """
    model = _Classifier(backbone, head)
    data = {key: np.ascontiguousarray(column) for key, column in columns.items()}
    stage = Stage(
        name,
        data,
        lambda trained: PrototypeLoss(trained, **settings),
        epochs=epochs,
        batch_size=min(batch_size, len(data["y"])),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule="cosine",
    )
    history = TorchLoop(model, stage, seed=seed, checkpoint_every=1_000_000).run()
    backbone.eval()
    return history
