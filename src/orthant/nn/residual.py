"""A connection around other modules."""

from __future__ import annotations

import torch

__all__ = ["Residual"]


class Residual(torch.nn.Module):
    """Add a module's input to its output; use it to train corrections that start near the identity.

    Parameters
    ----------
    inner : torch.nn.Module
        Maps (..., d) to (..., d).

    Notes
    -----
    ``y = x + f(x)``. With the last linear layer of f at zero, training starts at the identity.

    References
    ----------
    K. He et al.: Deep Residual Learning for Image Recognition, arXiv:1512.03385, section 3.2.

    Examples
    --------
    >>> linear = torch.nn.Linear(2, 2, bias=False)
    >>> _ = torch.nn.init.eye_(linear.weight)
    >>> Residual(linear)(torch.tensor([[1.0, 2.0]])).tolist()
    [[2.0, 4.0]]
    """

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input plus what the module makes of it.

        Parameters
        ----------
        x : Tensor of shape (..., d)
            Any input that the inner module takes.

        Returns
        -------
        Tensor of shape (..., d)
            The sum.
        """
        return x + self.inner(x)
