"""What a regulariser is, and how it is added to a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from orthant.errors import InputError, message
from orthant.learn.losses.metric.interface import MetricLoss, check_number, class_labels
from orthant.learn.losses.metric.tuples import Pairs, Triplets
from orthant.learn.losses.protocol import LossOutput, check_finite, check_shape

__all__ = ["Regulariser", "WithRegularisers"]


class Regulariser(nn.Module, ABC):
    """A term that is added to a loss.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum, at least 0; 0 switches the term off, and nothing is computed.

    Attributes
    ----------
    needs_labels : bool
        Whether it looks at labels.
    needs_weights : bool
        Whether it looks at the weights of a layer rather than at embeddings.
    detach_features : bool
        Whether its gradient must stop at the layer that makes the embeddings.

    Examples
    --------
    >>> import torch
    >>> from orthant.learn.losses.regularisers import RowNorm
    >>> term = RowNorm(weight=0.5)
    >>> isinstance(term, Regulariser), float(term(None, weights=2 * torch.eye(2)))
    (True, 9.0)
    """

    needs_labels = False
    needs_weights = False
    detach_features = False

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = check_number(weight, name="weight", low=0.0)

    @property
    def name(self) -> str:
        """How the term is called among the parts of a loss."""
        return type(self).__name__

    def forward(
        self, embeddings: Tensor | None, labels: Tensor | None = None, *, weights: Tensor | None = None
    ) -> Tensor:
        """Compute the term, without its factor.

        Parameters
        ----------
        embeddings : Tensor of shape (B, d), or None
            Rows; None is enough for terms on weights.
        labels : Tensor of shape (B,), integer, optional
            Class of each row; a negative one is unknown.
        weights : Tensor of shape (rows, columns), optional
            The matrix of a layer, for terms on weights.

        Returns
        -------
        Tensor of shape ()
            The term.

        Raises
        ------
        InputError
            What the term needs is missing.
        NonFiniteError
            NaN or infinity.
        """
        if self.needs_weights:
            return self._compute(self._given(weights, "weights", 2), labels)
        if self.needs_labels:
            self._given(labels, "labels", 1)
        rows = self._given(embeddings, "embeddings", 2)
        return self._compute(rows, class_labels(labels, rows))

    def _given(self, tensor: Tensor | None, name: str, axes: int) -> Tensor:
        if tensor is None:
            raise InputError(message(f"no {name}", f"them for {self.name}", f"pass {name}"))
        check_shape(tensor, (None,) * axes, name=name)
        check_finite({name: tensor})
        return tensor

    @abstractmethod
    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        """Compute the term from embeddings or weights, both checked."""


class WithRegularisers(MetricLoss):
    """A metric loss with regularisers added, called like the loss itself.

    With a ``head`` it takes what goes into the head: the loss sees the head's output with its whole gradient, and
    terms that must not reach further back than the head, such as `EnergyConfusion`, see the output of the same head on
    detached features.

    Parameters
    ----------
    loss : MetricLoss
        The loss.
    regularisers : sequence of Regulariser
        The terms; one with weight 0 is not computed.
    head : torch.nn.Module, optional
        The last layer, applied to what is given; its ``weight`` goes to terms on weights. Part of this module, hence
        trained with it. Left out, what is given are the embeddings.

    Notes
    -----
    ``L + sum_r weight_r R_r``. The loss and each term are reported under the names of their classes among the parts.

    Examples
    --------
    >>> import torch
    >>> from orthant.learn.losses.metric import TripletLoss
    >>> from orthant.learn.losses.regularisers import EnergyConfusion, RowNorm
    >>> head = torch.nn.Linear(8, 4)
    >>> loss = WithRegularisers(TripletLoss(), [EnergyConfusion(), RowNorm(weight=0.5)], head=head)
    >>> features = torch.randn(4, 8, requires_grad=True)
    >>> sorted(loss(features, torch.tensor([0, 0, 1, 1])).parts)
    ['EnergyConfusion', 'RowNorm', 'TripletLoss', 'active']
    """

    def __init__(self, loss: MetricLoss, regularisers: Sequence[Regulariser], *, head: nn.Module | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.regularisers = nn.ModuleList(regularisers)
        self.head = head
        names = [term.name for term in regularisers]
        if len(set(names)) < len(names):
            raise InputError(message(f"regularisers {names}", "each of them once", "add up their weights"))
        for term in regularisers:
            if term.weight == 0:
                continue
            if term.detach_features and head is None:
                raise InputError(
                    message(
                        f"{term.name} with detach_features and no head",
                        "the layer at which its gradient stops",
                        "pass head=, or detach_features=False",
                    )
                )
            if term.needs_weights and not isinstance(getattr(head, "weight", None), Tensor):
                raise InputError(message(f"{term.name} without a head that has a weight", "one", "pass head="))

    def _compute(
        self, embeddings: Tensor, labels: Tensor | None, pairs: Pairs | Triplets | Tensor | None
    ) -> LossOutput:
        rows = embeddings if self.head is None else self.head(embeddings)
        output = self.loss(rows, labels, pairs=pairs)
        # Graded losses are given scores of pairs as labels, which say nothing of classes.
        classes = None if labels is not None and labels.is_floating_point() else labels
        total, parts = output.loss, {**output.parts, type(self.loss).__name__: float(output.loss.detach())}
        for term in self.regularisers:
            if term.weight == 0:
                continue
            own = self.head(embeddings.detach()) if term.detach_features and self.head is not None else rows
            value = term(own, classes, weights=getattr(self.head, "weight", None))
            total = total + term.weight * value
            parts[term.name] = float(value.detach())
        return LossOutput(total, parts)
