"""Learnable positions between models: from a few free numbers to one coefficient per model and group of weights."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ArcPosition", "LinearPosition", "SimplexPosition"]

_SMALLEST_SINE = 1e-4


class LinearPosition(nn.Module):
    """One free coefficient per model and group.

    Parameters
    ----------
    models, groups : int
        Numbers of fine-tuned models and of groups of weights.
    initial : float, default 0.0
        Where all coefficients begin; 0 is the ancestor.
    """

    def __init__(self, models: int, groups: int, *, initial: float = 0.0) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.full((models, groups), initial, dtype=torch.float64))

    def forward(self) -> torch.Tensor:
        """Give the coefficients.

        Returns
        -------
        torch.Tensor of shape (models, groups), float64
            The free numbers themselves.
        """
        return self.values


class SimplexPosition(nn.Module):
    """Shares that sum to one, times a length: ``l_g softmax_i(z_ig)``.

    Parameters
    ----------
    models, groups : int
        Numbers of fine-tuned models and of groups of weights.
    """

    def __init__(self, models: int, groups: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(models, groups, dtype=torch.float64))
        self.lengths = nn.Parameter(torch.ones(groups, dtype=torch.float64))

    def forward(self) -> torch.Tensor:
        """Give the coefficients.

        Returns
        -------
        torch.Tensor of shape (models, groups), float64
            At the start all are 1 / models: the uniform average.
        """
        return torch.softmax(self.logits, dim=0) * self.lengths


class ArcPosition(nn.Module):
    """A chain of arcs, each with a place on it and a length: two numbers per model after the first.

    Parameters
    ----------
    gram : torch.Tensor of shape (groups, models, models), float64
        Inner products of the models' differences within each group; that is all that an arc needs to know of them.

    Notes
    -----
    ``v_1 = d_1``; ``v_{k+1} = l_k slerp(v_k, d_{k+1}; t_k)``. All v lie in the span of the differences, so the chain is
    computed on coefficients. Where the angle's sine is below 1e-4, or a difference is zero, the line replaces the arc.

    References
    ----------
    Improving General Text Embedding Model: Tackling Task Conflict and Data Imbalance through Model Merging,
    arXiv 2410.15035, section on Self Positioning.
    """

    def __init__(self, gram: torch.Tensor) -> None:
        super().__init__()
        groups, models, _ = gram.shape
        self.register_buffer("gram", gram)
        # 1/(k+1): each model gets the same share as those before it.
        start = 1.0 / torch.arange(2, models + 1, dtype=torch.float64)
        self.places = nn.Parameter(start[:, None].repeat(1, groups))
        self.lengths = nn.Parameter(torch.ones(models - 1, groups, dtype=torch.float64))

    def forward(self) -> torch.Tensor:
        """Give the coefficients.

        Returns
        -------
        torch.Tensor of shape (models, groups), float64
            At the start about equal shares.
        """
        gram: torch.Tensor = self.gram  # type: ignore[assignment]
        groups, models, _ = gram.shape
        unit = torch.eye(models, dtype=gram.dtype, device=gram.device)
        position = unit[0].expand(groups, models)
        for k in range(1, models):
            place, length = self.places[k - 1], self.lengths[k - 1]
            first, second = _arc(position, k, gram, place)
            position = length[:, None] * (first[:, None] * position + second[:, None] * unit[k])
        return position.T


def _arc(position: torch.Tensor, k: int, gram: torch.Tensor, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    reached = torch.einsum("gi,gij->gj", position, gram)
    lengths = (reached * position).sum(1) * gram[:, k, k]
    long = lengths > 0
    cosine = reached[:, k] / torch.sqrt(torch.where(long, lengths, torch.ones_like(lengths)))
    usable = long & (torch.sqrt((1 - cosine.detach() ** 2).clamp_min(0)) >= _SMALLEST_SINE)
    # The unused branch of a `where` still sends gradients back, so it must be harmless too.
    angle = torch.arccos(torch.where(usable, cosine, torch.zeros_like(cosine)))
    first = torch.where(usable, torch.sin((1 - place) * angle) / torch.sin(angle), 1 - place)
    second = torch.where(usable, torch.sin(place * angle) / torch.sin(angle), place)
    return first, second
