"""Terms on the weights of a layer, and on distributions."""

from __future__ import annotations

import torch
from torch import Tensor

from orthant.errors import InputError, message
from orthant.learn.losses.protocol import check_finite, check_shape
from orthant.learn.losses.regularisers.interface import Regulariser

__all__ = ["EntropyCost", "InitialDistance", "Orthogonality", "RowNorm"]


class RowNorm(Regulariser):
    """Hold the rows of a layer near norm one.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum; 0.5 beside `EnergyConfusion`.

    Notes
    -----
    ``mean_i (||w_i||^2 - 1)^2``.

    References
    ----------
    Chen, Deng: Energy Confused Adversarial Metric Learning. arXiv 1901.07169, AAAI 2019 (released code).

    Examples
    --------
    >>> import torch
    >>> float(RowNorm()(None, weights=torch.eye(3)))
    0.0
    """

    needs_weights = True

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        return (((rows**2).sum(dim=1) - 1) ** 2).mean()


class Orthogonality(Regulariser):
    """Keep a layer near an isometry, so that it neither stretches nor merges directions.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum.

    Notes
    -----
    ``||W W^T - I||_F^2 / r`` for r rows; with more rows than columns ``||W^T W - I||_F^2 / r`` for r columns.

    References
    ----------
    Bansal, Chen, Wang: Can We Gain More from Orthogonality Regularizations in Training Deep CNNs? arXiv 1810.09102,
    NeurIPS 2018, equation 1.

    Examples
    --------
    >>> import torch
    >>> float(Orthogonality()(None, weights=2 * torch.eye(2, 3)))
    9.0
    """

    needs_weights = True

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        short = rows if rows.shape[0] <= rows.shape[1] else rows.T
        gram = short @ short.T
        return ((gram - torch.eye(len(short), dtype=rows.dtype, device=rows.device)) ** 2).sum() / len(short)


class InitialDistance(Regulariser):
    """Keep a layer near where it started, so that what it knew is not lost.

    Parameters
    ----------
    initial : Tensor of shape (rows, columns)
        The weights at the start; a copy is kept with the module.
    weight : float, default 1.0
        Factor in the sum.

    Notes
    -----
    ``||W - W_0||_F^2``.

    References
    ----------
    Li, Grandvalet, Davoine: Explicit Inductive Bias for Transfer Learning with Convolutional Networks. arXiv
    1802.01483, ICML 2018, equation 2 (L2-SP).

    Examples
    --------
    >>> import torch
    >>> float(InitialDistance(torch.zeros(2, 2))(None, weights=torch.eye(2)))
    2.0
    """

    needs_weights = True
    initial: Tensor

    def __init__(self, initial: Tensor, *, weight: float = 1.0) -> None:
        super().__init__(weight=weight)
        check_shape(initial, (None, None), name="initial")
        check_finite({"initial": initial})
        self.register_buffer("initial", initial.detach().clone())

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        check_shape(rows, tuple(self.initial.shape), name="weights", like=self.initial)
        return ((rows - self.initial) ** 2).sum()


class EntropyCost(Regulariser):
    """Sharpen distributions, or keep them open.

    On rows of probabilities, such as the chance of each sense of a word or of each code of a codebook.

    Parameters
    ----------
    weight : float, default 1.0
        Factor in the sum, at least 0.
    sharpen : bool, default True
        True adds the entropy, which makes rows sharp and lets unused entries die. False subtracts it, which keeps
        entries in use.

    Notes
    -----
    ``mean_i H(p_i)`` in nats, or its negative; ``0 log 0 = 0``.

    References
    ----------
    Grzegorczyk: Vector representations of text data in deep learning. arXiv 1901.01695, chapter on disambiguated
    skip-gram.

    Examples
    --------
    >>> import torch
    >>> round(float(EntropyCost()(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))), 4)
    0.3466
    """

    def __init__(self, *, weight: float = 1.0, sharpen: bool = True) -> None:
        super().__init__(weight=weight)
        self.sharpen = sharpen

    def _compute(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        probabilities = rows.detach()
        if float(probabilities.min()) < 0 or not torch.allclose(
            probabilities.sum(dim=1), probabilities.new_ones(len(rows)), atol=1e-3
        ):
            raise InputError(
                message("rows that are no distributions", "0 or more, summing to 1", "apply a softmax first")
            )
        # The floor keeps the gradient finite at zero, where the term itself vanishes.
        entropy = -(rows * rows.clamp_min(torch.finfo(rows.dtype).tiny).log()).sum(dim=1).mean()
        return entropy if self.sharpen else -entropy
