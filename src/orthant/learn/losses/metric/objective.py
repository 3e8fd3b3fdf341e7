"""A metric loss where a trainer wants one: on batches of tensors, and on the features of a text model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from orthant.errors import InputError, message
from orthant.learn.losses.metric.interface import MetricLoss
from orthant.learn.losses.metric.tuples import Pairs, Triplets
from orthant.learn.losses.protocol import LossOutput

__all__ = ["MetricObjective", "TextMetricLoss"]

Miner = Callable[[Tensor, Tensor], Pairs | Triplets]


class MetricObjective(nn.Module):
    """Embeds the inputs of a batch and hands the embeddings to a metric loss, with the labels or with mined pairs.

    Parameters
    ----------
    model : torch.nn.Module
        Maps inputs to embeddings of shape (B, d).
    loss : MetricLoss
        Any loss of `orthant.learn.losses.metric`, with regularisers or without.
    inputs : str, default "inputs"
        Name of the model's input in a batch.
    labels : str, default "labels"
        Name of the labels in a batch.
    miner : callable, optional
        Maps embeddings and labels to `Pairs` or `Triplets`. Left out, the loss looks at all pairs.

    Examples
    --------
    >>> import torch
    >>> from orthant.learn.losses.metric import HardMiner, TripletLoss
    >>> objective = MetricObjective(torch.nn.Linear(3, 2), TripletLoss(), miner=HardMiner())
    >>> batch = {"inputs": torch.eye(4, 3), "labels": torch.tensor([0, 0, 1, 1])}
    >>> objective(batch).loss.requires_grad
    True
    """

    def __init__(
        self,
        model: nn.Module,
        loss: MetricLoss,
        *,
        inputs: str = "inputs",
        labels: str = "labels",
        miner: Miner | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.inputs = inputs
        self.labels = labels
        self.miner = miner

    def forward(self, batch: Mapping[str, Tensor]) -> LossOutput:
        """Compute the loss of a batch.

        Parameters
        ----------
        batch : mapping of str to Tensor
            The inputs, of any shape (B, ...), and the labels of shape (B,).

        Returns
        -------
        LossOutput
            The scalar and its parts.

        Raises
        ------
        InputError
            A missing field, or what the loss refuses.
        """
        for name in (self.inputs, self.labels):
            if name not in batch:
                listed = ", ".join(repr(key) for key in batch)
                raise InputError(message(f"a batch with {listed}", f"{name!r} among them", "name the fields"))
        embeddings, labels = self.model(batch[self.inputs]), batch[self.labels]
        pairs = None if self.miner is None else self.miner(embeddings.detach(), labels)
        return self.loss(embeddings, labels, pairs=pairs)


class TextMetricLoss(nn.Module):
    """A metric loss in the form that the trainer of sentence-transformers calls.

    The columns of the data decide what is compared. One column: rows with class labels. Two columns and a score: graded
    pairs, for `CoSENTLoss` and `AnglELoss`. Three columns: anchor, positive and negative, for `TripletLoss` and any
    loss over pairs.

    Parameters
    ----------
    model : torch.nn.Module
        A `SentenceTransformer`, or anything that adds ``sentence_embedding`` to features.
    loss : MetricLoss
        Any loss of `orthant.learn.losses.metric`, with regularisers or without.
    miner : callable, optional
        Maps embeddings and labels to `Pairs` or `Triplets`; only for one column.

    Examples
    --------
    >>> import torch
    >>> from orthant.learn.losses.metric import TripletLoss
    >>> model = lambda features: {"sentence_embedding": features["x"]}
    >>> columns = [{"x": torch.eye(2)}, {"x": torch.eye(2)}, {"x": torch.eye(2).flip(0)}]
    >>> float(TextMetricLoss(model, TripletLoss())(columns))
    0.0
    """

    def __init__(self, model: Any, loss: MetricLoss, *, miner: Miner | None = None) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.miner = miner
        self.parts: dict[str, float] = {}

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        sentence_features : iterable of dict
            Features of one, two or three columns.
        labels : Tensor of shape (B,), optional
            Classes for one column, scores for two, ignored for three.

        Returns
        -------
        Tensor of shape ()
            The loss; ``parts`` has the named figures of the last batch.

        Raises
        ------
        InputError
            Another number of columns, or what the loss refuses.
        """
        columns = [self.model(features)["sentence_embedding"] for features in sentence_features]
        output = self.of_embeddings(columns, labels)
        self.parts = output.parts
        return output.loss

    def of_embeddings(self, columns: list[Tensor], labels: Tensor | None) -> LossOutput:
        """Compute the loss from the embeddings of each column.

        Parameters
        ----------
        columns : list of Tensor, each of shape (B, d)
            One, two or three.
        labels : Tensor of shape (B,), optional
            As for `forward`.

        Returns
        -------
        LossOutput
            The scalar and its parts.

        Raises
        ------
        InputError
            As for `forward`.
        """
        count = len(columns[0])
        rows = torch.arange(count * len(columns), device=columns[0].device).reshape(len(columns), count).T
        if len(columns) == 1:
            if self.miner is not None and labels is None:
                raise InputError(message("a miner and no labels", "the class of each row", "add a label column"))
            mined = self.miner(columns[0].detach(), labels) if self.miner is not None and labels is not None else None
            return self.loss(columns[0], labels, pairs=mined)
        if len(columns) == 2:
            return self.loss(torch.cat(columns), labels, pairs=rows)
        if len(columns) == 3:
            return self.loss(torch.cat(columns), None, pairs=Triplets(rows))
        raise InputError(message(f"{len(columns)} text columns", "one, two or three", "drop columns from the data"))
