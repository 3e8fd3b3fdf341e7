"""A small tower for small pictures: convolutions that halve the sides, and a linear map to the joint space."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from orthant.errors import InputError, message
from orthant.validate import check_count

__all__ = ["PictureTower"]


class PictureTower(nn.Module):
    """Turn pictures of one size into vectors.

    Use it for icons, emoji and thumbnails, where a few thousand pairs are all there is. Not for photographs: it has
    neither depth nor pretraining.

    Parameters
    ----------
    dim : int, default 128
        Dimension of the vectors.
    side : int, default 32
        Pixels per side, a multiple of 2 to the power of the number of layers.
    channels : sequence of int, default (16, 32, 64)
        Channels of each layer; each halves the sides.

    Raises
    ------
    InputError
        A side that cannot be halved so often.

    Notes
    -----
    Each layer is a 3 x 3 convolution with stride 2 and ReLU; four channels enter. Without normalisation layers, so that
    NumPy serves it in a few lines. Cost: about 0.7 million multiplications per picture with the defaults.

    Examples
    --------
    >>> PictureTower(dim=8, side=16, channels=(4, 4))(torch.zeros(2, 4, 16, 16)).shape
    torch.Size([2, 8])
    """

    def __init__(self, *, dim: int = 128, side: int = 32, channels: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        sizes = [4, *(check_count(c, name="channels") for c in channels)]
        small = check_count(side, name="side") >> len(channels)
        if not channels or small << len(channels) != side:
            given = f"side={side} with {len(channels)} layers"
            raise InputError(message(given, "a side that can be halved in each", "use a multiple of 8"))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in itertools.pairwise(sizes)
        )
        self.projection = nn.Linear(sizes[-1] * small * small, check_count(dim, name="dim"))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return one vector per picture, of any length.

        Parameters
        ----------
        pictures : Tensor of shape (n, 4, side, side), float32
            Values from 0 to 1.

        Returns
        -------
        Tensor of shape (n, dim)
            Vectors.
        """
        out = pictures
        for layer in self.convolutions:
            out = torch.relu(layer(out))
        vectors: torch.Tensor = self.projection(out.flatten(1))
        return vectors
