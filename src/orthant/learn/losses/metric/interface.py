"""The one interface of metric losses, and the distances that they share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from orthant.errors import DtypeError, InputError, message
from orthant.learn.losses.metric.tuples import Pairs, Triplets, masks
from orthant.learn.losses.protocol import LossOutput, check_finite, check_shape

__all__ = ["DISTANCES", "MetricLoss", "PairMaskLoss", "check_number", "mean_of_positive", "pairwise_distances", "unit"]

DISTANCES = ("cosine", "euclidean", "squared-euclidean")


class MetricLoss(nn.Module, ABC):
    """A loss over the embeddings of a batch and what is known of its rows.

    Every loss of this folder is called in the same way, takes the pairs of any miner, and can be wrapped by
    `WithRegularisers`. Subclasses compute, this class checks.

    Examples
    --------
    >>> import torch
    >>> from orthant.learn.losses.metric import TripletLoss
    >>> loss = TripletLoss(margin=0.2)
    >>> isinstance(loss, MetricLoss)
    True
    >>> output = loss(torch.eye(4), torch.tensor([0, 0, 1, 1]))
    >>> round(float(output.loss), 4)
    0.2
    """

    def forward(
        self, embeddings: Tensor, labels: Tensor | None = None, *, pairs: Pairs | Triplets | Tensor | None = None
    ) -> LossOutput:
        """Compute the loss of a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d), float
            Not normalised; losses on cosines normalise themselves.
        labels : Tensor of shape (B,), integer, optional
            Class of each row; a negative one is unknown, and the row takes no part. Graded losses take the scores of
            their pairs here, shape (M,). May be left out where pairs are given and suffice.
        pairs : Pairs, Triplets, or Tensor of shape (M, 2), optional
            What a miner chose. Left out, all pairs that the labels make.

        Returns
        -------
        LossOutput
            The scalar and its named parts.

        Raises
        ------
        DimensionError
            Shapes that do not belong together.
        NonFiniteError
            NaN or infinity in the embeddings.
        InputError
            A batch without a positive or a negative pair, or what the loss refuses.
        """
        check_shape(embeddings, (None, None), name="embeddings")
        if not embeddings.is_floating_point():
            raise DtypeError(message(f"embeddings of dtype {embeddings.dtype}", "floats", "convert with .float()"))
        check_finite({"embeddings": embeddings})
        return self._compute(embeddings, labels, pairs)

    @abstractmethod
    def _compute(
        self, embeddings: Tensor, labels: Tensor | None, pairs: Pairs | Triplets | Tensor | None
    ) -> LossOutput:
        """Compute the loss; the embeddings are checked, the rest is not."""


class PairMaskLoss(MetricLoss):
    """A metric loss that needs to know of each pair of rows only whether it is positive, negative or neither.

    Examples
    --------
    >>> from orthant.learn.losses.metric import CircleLoss
    >>> issubclass(CircleLoss, PairMaskLoss)
    True
    """

    def _compute(
        self, embeddings: Tensor, labels: Tensor | None, pairs: Pairs | Triplets | Tensor | None
    ) -> LossOutput:
        positive, negative = masks(len(embeddings), class_labels(labels, embeddings), as_chosen(pairs))
        if not positive.any() and not negative.any():
            # A miner that found nothing: no gradient, but still a part of the graph.
            return LossOutput(embeddings.sum() * 0.0, {})
        return self._of_masks(embeddings, positive, negative)

    @abstractmethod
    def _of_masks(self, embeddings: Tensor, positive: Tensor, negative: Tensor) -> LossOutput:
        """Compute the loss from two masks of shape (B, B), of which at least one is not empty."""


def as_chosen(pairs: Pairs | Triplets | Tensor | None) -> Pairs | Triplets | None:
    """Return pairs if they say which are positive.

    Parameters
    ----------
    pairs : Pairs, Triplets, Tensor of shape (M, 2), or None
        What a loss was given.

    Returns
    -------
    Pairs, Triplets or None
        The same.

    Raises
    ------
    DtypeError
        A plain tensor.
    """
    if pairs is not None and not isinstance(pairs, (Pairs, Triplets)):
        raise DtypeError(
            message(
                f"pairs of type {type(pairs).__name__}", "Pairs or Triplets", "wrap them; graded losses take tensors"
            )
        )
    return pairs


def class_labels(labels: Tensor | None, embeddings: Tensor) -> Tensor | None:
    """Return labels once they are integers, one per row.

    Parameters
    ----------
    labels : Tensor of shape (B,), or None
        Class of each row.
    embeddings : Tensor of shape (B, d)
        The rows.

    Returns
    -------
    Tensor of shape (B,), integer, or None
        The same.

    Raises
    ------
    DimensionError
        Another length.
    DtypeError
        Not integers.
    """
    if labels is None:
        return None
    check_shape(labels, (len(embeddings),), name="labels", like=embeddings)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise DtypeError(message(f"labels of dtype {labels.dtype}", "integers", "number the classes from 0"))
    return labels


def unit(rows: Tensor) -> Tensor:
    """Return rows of norm one; a zero row stays zero.

    Parameters
    ----------
    rows : Tensor of shape (B, d)
        Embeddings.

    Returns
    -------
    Tensor of shape (B, d)
        Normalised.
    """
    return nn.functional.normalize(rows, dim=-1)


def pairwise_distances(A: Tensor, B: Tensor, *, distance: str) -> Tensor:
    """Return all distances between two sets of rows.

    Parameters
    ----------
    A : Tensor of shape (n, d)
        Rows.
    B : Tensor of shape (m, d)
        Rows.
    distance : {"cosine", "euclidean", "squared-euclidean"}
        ``1 - cos``, the distance of the rows as they are, or its square.

    Returns
    -------
    Tensor of shape (n, m)
        0 or more, up to rounding.

    Examples
    --------
    >>> import torch
    >>> pairwise_distances(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2), distance="euclidean").item()
    5.0
    """
    if distance == "cosine":
        return 1 - unit(A) @ unit(B).T
    found = torch.cdist(A, B)
    return found if distance == "euclidean" else found**2


def mean_of_positive(values: Tensor) -> Tensor:
    """Return the mean of the values above zero, or zero where there are none.

    Parameters
    ----------
    values : Tensor of any shape
        Terms of a loss, of which those that are met already are zero.

    Returns
    -------
    Tensor of shape ()
        The mean; adding terms that are zero does not change it.

    Examples
    --------
    >>> import torch
    >>> mean_of_positive(torch.tensor([0.0, 1.0, 3.0])).item()
    2.0
    """
    active = values > 0
    return values[active].mean() if bool(active.any()) else values.sum() * 0.0


def check_number(value: float, *, name: str, low: float = -math.inf) -> float:
    """Return value if it is finite and not below a bound.

    Parameters
    ----------
    value : float
        The number.
    name : str
        How the argument is called in an error.
    low : float, default -inf
        Least value accepted.

    Returns
    -------
    float
        The value.

    Raises
    ------
    InputError
        Not a number, not finite, or too small.
    """
    valid = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not valid or value < low:
        bound = "" if low == -math.inf else f" of {low:g} or more"
        raise InputError(message(f"{name}={value!r}", f"a finite number{bound}", f"choose {name} in that range"))
    return float(value)
