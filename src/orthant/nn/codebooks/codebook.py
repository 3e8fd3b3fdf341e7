"""What one book of codewords does, however its codewords are stored and updated."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from orthant.nn.codebooks.assignment import as_rows, check_indices, nearest_codes
from orthant.nn.codebooks.usage import Quantized, Usage, code_counts
from orthant.quantization.residual import ResidualQuantizer
from orthant.quantization.usage import CodeUsage
from orthant.validate import check_count, check_fraction

__all__ = ["Codebook", "drawn_words", "pass_through", "wide"]

_LARGEST_WEIGHT = 1e6


def drawn_words(size: int, dim: int, seed: int) -> torch.Tensor:
    """Draw first codewords from N(0, 1 / dim).

    Parameters
    ----------
    size : int
        How many.
    dim : int
        Dimension.
    seed : int
        Of the draw.

    Returns
    -------
    Tensor of shape (size, dim), float32
        About unit vectors.
    """
    generator = torch.Generator().manual_seed(check_count(seed, name="seed", minimum=0))
    return torch.randn(size, dim, generator=generator) / dim**0.5


def wide(rows: torch.Tensor) -> torch.Tensor:
    """Return rows in float32 at least, since half precision cannot tell near codewords apart.

    Parameters
    ----------
    rows : Tensor of any shape, floating
        Values.

    Returns
    -------
    Tensor of the same shape
        float32 or float64.
    """
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


def pass_through(words: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the words, with the gradient of the rows.

    Parameters
    ----------
    words : Tensor of any shape
        Values of the forward pass, to the last bit.
    rows : Tensor of the same shape
        What the gradient goes to, unchanged.

    Returns
    -------
    Tensor of the same shape
        ``sg(words) + (rows - sg(rows))``.
    """
    return words.detach() + (rows - rows.detach())


class Codebook(nn.Module, ABC):
    """One codeword for each vector: what `VectorQuantizer` and `SimVQ` have in common.

    Parameters
    ----------
    dim : int
        Dimension of vectors and codewords.
    codebook_size : int
        Number of codewords, from 2.
    commitment : float, default 0.25
        Weight of the term that draws vectors to their codewords, from 0. Too small lets them drift apart, too large
        holds the encoder back.

    Attributes
    ----------
    dim, codebook_size : int
        As given.
    learns_by_loss : bool
        Whether the loss has a term for the codewords.

    Notes
    -----
    ``i = argmin_k |z - e_k|``, values ``z + sg(e_i - z)``, so the gradient of what follows reaches z unchanged, and
    ``loss = commitment * mean (z - sg(e_i))^2 + mean (sg(z) - e_i)^2`` over all elements; sg stops the gradient.

    References
    ----------
    van den Oord, Vinyals, Kavukcuoglu: Neural discrete representation learning. NeurIPS 2017, section 3.2.
    """

    learns_by_loss = True

    def __init__(self, dim: int, codebook_size: int, *, commitment: float = 0.25) -> None:
        super().__init__()
        self.dim = check_count(dim, name="dim")
        self.codebook_size = check_count(codebook_size, name="codebook_size", minimum=2)
        self.commitment = check_fraction(commitment, name="commitment", high=_LARGEST_WEIGHT)

    def codebook(self) -> torch.Tensor:
        """Return the codewords that codes stand for, shape (codebook_size, dim)."""
        return self.words(torch.arange(self.codebook_size, device=self._device()))

    def _device(self) -> torch.device:
        return next(iter([*self.parameters(), *self.buffers()])).device

    @abstractmethod
    def words(self, indices: torch.Tensor) -> torch.Tensor:
        """Return codewords, differentiable where the book is trained by gradients.

        Parameters
        ----------
        indices : Tensor of shape (n,), int64
            Codes, in range.

        Returns
        -------
        Tensor of shape (n, dim)
            Their codewords.
        """

    def observe(self, rows: torch.Tensor, indices: torch.Tensor) -> None:
        """Take note of a training batch, after its forward pass.

        Parameters
        ----------
        rows : Tensor of shape (n, dim)
            Vectors.
        indices : Tensor of shape (n,), int64
            Their codes.
        """

    def losses(self, rows: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return the loss of each vector.

        Parameters
        ----------
        rows : Tensor of shape (n, dim)
            Vectors.
        words : Tensor of shape (n, dim)
            Their codewords.

        Returns
        -------
        Tensor of shape (n,)
            Means over the dimension.
        """
        loss = self.commitment * (rows - words.detach()).square().mean(dim=1)
        return loss + (rows.detach() - words).square().mean(dim=1) if self.learns_by_loss else loss

    @torch.no_grad()
    def chosen(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the code of each vector, and the codeword to the last bit as an export has it.

        Parameters
        ----------
        rows : Tensor of shape (n, dim)
            Vectors.

        Returns
        -------
        tuple of Tensor of shape (n,), int64, and Tensor of shape (n, dim)
            Without gradients; ``words`` gives the codewords with them.
        """
        book = self.codebook().detach()
        indices = nearest_codes(rows, book)
        return indices, book[indices]

    def forward(self, z: torch.Tensor) -> Quantized:
        """Replace vectors by codewords.

        Parameters
        ----------
        z : Tensor of shape (..., dim), floating
            Vectors, finite.

        Returns
        -------
        Quantized
            Indices have the shape of z without its last axis.

        Raises
        ------
        InputError
            Another last axis, integers, NaN or infinity.
        """
        rows = wide(as_rows(z, self.dim))
        indices, words = self.chosen(rows)
        loss = self.losses(rows, self.words(indices)).mean() if len(rows) else rows.sum()
        values = pass_through(words, rows).to(z.dtype).reshape(z.shape)
        if self.training and len(rows):
            self.observe(rows.detach(), indices)
        usage = Usage(code_counts(indices[:, None], self.codebook_size))
        return Quantized(values, indices.reshape(z.shape[:-1]), loss, usage)

    @torch.no_grad()
    def encode(self, z: torch.Tensor) -> torch.Tensor:
        """Return codes, and change nothing.

        Parameters
        ----------
        z : Tensor of shape (..., dim), floating
            Vectors.

        Returns
        -------
        Tensor of shape (...), int64
            Codes.
        """
        return self.chosen(as_rows(z, self.dim))[0].reshape(z.shape[:-1])

    def decode(self, indices: torch.Tensor) -> torch.Tensor:
        """Return the codewords of codes.

        Parameters
        ----------
        indices : Tensor of any shape, integer
            Codes.

        Returns
        -------
        Tensor of shape (..., dim)
            Codewords as they are now.

        Raises
        ------
        InputError
            A code that the book does not have.
        """
        check_indices(indices, self.codebook_size)
        return self.codebook()[indices.long()]

    @torch.no_grad()
    def to_quantizer(self, *, usage: CodeUsage | None = None) -> ResidualQuantizer:
        """Return the book as a quantizer of one level that needs no torch and gives the same codes.

        Parameters
        ----------
        usage : CodeUsage, optional
            What ``measure_usage`` found, to be kept with it.

        Returns
        -------
        ResidualQuantizer
            A fitted one; beyond 65,536 codewords there is none.
        """
        return ResidualQuantizer.from_codebooks(self.codebook()[None].cpu().float().numpy(), usage=usage)

    def extra_repr(self) -> str:
        """Return the settings for torch's printout."""
        return f"{self.dim}, {self.codebook_size}, commitment={self.commitment:g}"
