"""Pooling a history with a candidate in view: each item counts by how much it says about this candidate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from orthant.errors import DimensionError, message
from orthant.validate import check_choice, check_count

__all__ = ["TargetAttention"]

_ACTIVATIONS = {"prelu": nn.PReLU, "sigmoid": nn.Sigmoid, "relu": nn.ReLU}


class TargetAttention(nn.Module):
    """Sum the items of a history, each weighted by a small network that sees the item and the candidate.

    Use it where a user has several interests and the candidate decides which of them matters. Where no candidate is
    known, as for vectors that go into an index, use the poolings of `orthant.nn.poolings`.

    Parameters
    ----------
    dim : int
        Width of items and candidate.
    hidden : sequence of int, default (36,)
        Widths of the hidden layers. The released code uses (80, 40).
    activation : {"prelu", "sigmoid", "relu"}, default "prelu"
        Of the hidden layers.
    normalize : {"none", "softmax"}, default "none"
        ``"none"`` lets the length of the sum tell how strong the interest is. ``"softmax"`` makes the weights of a
        history sum to 1, which forgets it.

    Raises
    ------
    InputError
        A width below 1, or an unknown activation or normalisation.

    Notes
    -----
    ``v = sum_j a(e_j, c) e_j`` over real items, with ``a`` an MLP of ``[e, c, e - c, e * c]``; under ``"softmax"``
    a is divided by sqrt(dim) first. Weights on padding are exactly 0, and an empty history gives the zero vector.
    Cost: O(B T dim hidden).

    References
    ----------
    Zhou et al.: Deep Interest Network for Click-Through Rate Prediction. arXiv 1706.06978, section 4.3.

    Examples
    --------
    >>> unit = TargetAttention(8)
    >>> mask = torch.tensor([[True, True, False], [False, False, False]])
    >>> pooled = unit(torch.randn(2, 3, 8), mask, target=torch.randn(2, 8))
    >>> pooled.shape, bool((pooled[1] == 0).all())
    (torch.Size([2, 8]), True)
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: Sequence[int] = (36,),
        activation: Literal["prelu", "sigmoid", "relu"] = "prelu",
        normalize: Literal["none", "softmax"] = "none",
    ) -> None:
        super().__init__()
        self.dim = check_count(dim, name="dim")
        self.normalize = check_choice(normalize, ("none", "softmax"), name="normalize")
        make = _ACTIVATIONS[check_choice(activation, tuple(_ACTIVATIONS), name="activation")]
        widths = [4 * dim, *(check_count(width, name="hidden") for width in hidden)]
        layers: list[nn.Module] = []
        for left, right in itertools.pairwise(widths):
            layers += [nn.Linear(left, right), make()]
        self.score = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def weights(self, states: Tensor, mask: Tensor, *, target: Tensor) -> Tensor:
        """Return how much each item counts.

        Parameters
        ----------
        states : Tensor of shape (B, T, dim)
            Items of the history.
        mask : Tensor of shape (B, T), bool
            True on real items.
        target : Tensor of shape (B, dim)
            The candidate.

        Returns
        -------
        Tensor of shape (B, T)
            0 on padding.

        Raises
        ------
        DimensionError
            Shapes that do not fit.
        """
        if states.ndim != 3 or states.shape[-1] != self.dim or mask.shape != states.shape[:2]:
            raise DimensionError(
                message(
                    f"items of shape {tuple(states.shape)} with a mask of shape {tuple(mask.shape)}",
                    f"(B, T, {self.dim}) and (B, T)",
                    "pass one history per row",
                )
            )
        if target.shape != (states.shape[0], self.dim):
            raise DimensionError(
                message(
                    f"candidates of shape {tuple(target.shape)}",
                    f"({states.shape[0]}, {self.dim})",
                    "pass one candidate per history",
                )
            )
        real = mask.bool()
        items = states.masked_fill(~real[..., None], 0)
        wanted = target[:, None].expand_as(items)
        raw = self.score(torch.cat([items, wanted, items - wanted, items * wanted], dim=-1)).squeeze(-1)
        if self.normalize == "none":
            return raw.masked_fill(~real, 0)
        # A finite floor, and the zeros set after it: a softmax over an empty history would be NaN.
        lowest = torch.finfo(raw.dtype).min
        return (raw / self.dim**0.5).masked_fill(~real, lowest).softmax(dim=-1).masked_fill(~real, 0)

    def forward(self, states: Tensor, mask: Tensor, *, target: Tensor) -> Tensor:
        """Pool histories for their candidates.

        Parameters
        ----------
        states : Tensor of shape (B, T, dim)
            Items of the history.
        mask : Tensor of shape (B, T), bool
            True on real items.
        target : Tensor of shape (B, dim)
            The candidate.

        Returns
        -------
        Tensor of shape (B, dim)
            The interest in the candidate; zero for an empty history.

        Raises
        ------
        DimensionError
            Shapes that do not fit.
        """
        weights = self.weights(states, mask, target=target)
        return (states.masked_fill(~mask.bool()[..., None], 0) * weights[..., None]).sum(dim=1)
