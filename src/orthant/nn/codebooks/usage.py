"""What a codebook gives back, and how many of its codes are alive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from orthant.errors import InputError, message
from orthant.quantization.usage import CodeUsage, warn_of_dead_codes

__all__ = ["Quantized", "Usage", "code_counts", "measure_usage"]


@dataclass(frozen=True)
class Usage:
    """How often each code was chosen in one call.

    Attributes
    ----------
    counts : Tensor of shape (books, entries), int64
        Vectors for each code; no gradient, on the module's device.
    """

    counts: torch.Tensor

    @property
    def dead_share(self) -> torch.Tensor:
        """Share of the codes without a vector, shape (books,)."""
        return (self.counts == 0).double().mean(dim=1)

    @property
    def perplexity(self) -> torch.Tensor:
        """Exponential of the entropy of the codes, shape (books,): from 1 to the number of entries."""
        shares = self.counts.double() / self.counts.sum(dim=1, keepdim=True).clamp_min(1)
        return torch.special.entr(shares).sum(dim=1).exp()


@dataclass(frozen=True)
class Quantized:
    """What every codebook returns.

    Attributes
    ----------
    values : Tensor of shape (..., d)
        Codewords in place of the vectors; gradients pass through as the module says.
    indices : Tensor of shape (...) or (..., books), int64
        Codes; -1 where a level was left out.
    loss : Tensor, scalar
        What to add to the loss of the task: it draws vectors and codewords together. 0 outside training too where the
        module has none.
    usage : Usage
        Counts of this call. One batch is too few to judge a large codebook by; see ``measure_usage``.
    """

    values: torch.Tensor
    indices: torch.Tensor
    loss: torch.Tensor
    usage: Usage


def code_counts(indices: torch.Tensor, entries: int) -> torch.Tensor:
    """Count codes.

    Parameters
    ----------
    indices : Tensor of shape (n, books), int64
        Codes; -1 is none.
    entries : int
        Codes of a book.

    Returns
    -------
    Tensor of shape (books, entries), int64
        Counts.
    """
    out = torch.zeros(indices.shape[1], entries + 1, dtype=torch.int64, device=indices.device)
    out.scatter_add_(1, (indices + 1).T, torch.ones_like(indices.T))
    return out[:, 1:]


@torch.no_grad()
def measure_usage(module: Any, batches: Iterable[torch.Tensor], *, floor: float = 0.5) -> CodeUsage:
    """Count the codes that a trained codebook gives to vectors, and warn where many are dead.

    Parameters
    ----------
    module : VectorQuantizer, SimVQ, ResidualVQ or DifferentiablePQ
        The codebook; it is not changed.
    batches : iterable of Tensor of shape (..., d)
        Vectors, 20 or more for each code: fewer make live codes look dead.
    floor : float, default 0.5
        Share in use below which a book is warned of.

    Returns
    -------
    CodeUsage
        Counts, perplexity and dead share of each book.

    Raises
    ------
    InputError
        No vectors.

    Examples
    --------
    >>> from orthant.nn.codebooks import VectorQuantizer
    >>> z = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    >>> usage = measure_usage(VectorQuantizer(4, 8), [z])
    >>> usage.counts.sum().item(), bool(usage.dead_share[0] < 0.5)
    (400, True)
    """
    training = module.training
    module.eval()
    total = None
    try:
        for batch in batches:
            counts = module(batch).usage.counts
            total = counts if total is None else total + counts
    finally:
        module.train(training)
    if total is None or not int(total.sum()):
        raise InputError(message("no vectors to count", "at least one batch", "pass vectors of the validation data"))
    report = CodeUsage(total.cpu().numpy())
    warn_of_dead_codes(report, name=type(module).__name__, floor=floor)
    return report
