"""Steps that have no slope, with one lent to them: signs, rounding, choices, and choices with noise."""

from __future__ import annotations

from typing import Any

import torch

from orthant.errors import DtypeError, InputError, message

__all__ = [
    "check_temperature",
    "gumbel_softmax",
    "straight_through_one_hot",
    "straight_through_round",
    "straight_through_sign",
]


def check_temperature(temperature: Any) -> float:
    """Return a temperature if it is one.

    Parameters
    ----------
    temperature : float
        Finite and above 0.

    Returns
    -------
    float
        The same.

    Raises
    ------
    InputError
        0, negative, infinite, or not a number.
    """
    number = isinstance(temperature, (int, float)) and not isinstance(temperature, bool)
    if not number or not 0 < temperature < float("inf"):
        given, expected = f"temperature={temperature!r}", "a finite number above 0"
        raise InputError(message(given, expected, "lower it towards 0, but do not reach it"))
    return float(temperature)


def _check_floating(x: torch.Tensor) -> None:
    if not torch.is_floating_point(x):
        raise DtypeError(message(f"a tensor of dtype {x.dtype}", "a floating one", "convert it with .float()"))


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x.abs() <= 1)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        # A new tensor: the gradient that comes in belongs to whoever made it.
        return grads[0] * ctx.saved_tensors[0]


def straight_through_sign(x: torch.Tensor) -> torch.Tensor:
    """Return the sign of each value, 1 for zero, with the slope of the identity where |x| <= 1 and none beyond.

    Parameters
    ----------
    x : Tensor of any shape, floating
        Values. Keep most within -1 to 1 (by normalising what comes before): those outside are not trained.

    Returns
    -------
    Tensor of the same shape and dtype
        1 or -1, never 0, so that a bit can hold it.

    Raises
    ------
    DtypeError
        An integer tensor.

    References
    ----------
    Bengio, Léonard, Courville: Estimating or propagating gradients through stochastic neurons for conditional
    computation. arXiv 1308.3432, section 4. Gan et al.: Binary embedding-based retrieval at Tencent. arXiv 2302.08714.

    Examples
    --------
    >>> x = torch.tensor([-2.0, -0.5, 0.0, 0.5], requires_grad=True)
    >>> straight_through_sign(x).sum().backward()
    >>> straight_through_sign(x).tolist(), x.grad.tolist()
    ([-1.0, -1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0])
    """
    _check_floating(x)
    return _Sign.apply(x)


def straight_through_round(x: torch.Tensor) -> torch.Tensor:
    """Return each value rounded to the nearest integer, halves to even, with the slope of the identity.

    Parameters
    ----------
    x : Tensor of any shape, floating
        Values.

    Returns
    -------
    Tensor of the same shape and dtype
        Integers.

    Raises
    ------
    DtypeError
        An integer tensor.

    Examples
    --------
    >>> x = torch.tensor([0.4, 1.6], requires_grad=True)
    >>> straight_through_round(x).sum().backward()
    >>> straight_through_round(x).tolist(), x.grad.tolist()
    ([0.0, 2.0], [1.0, 1.0])
    """
    _check_floating(x)
    return x + (x.round() - x).detach()


def straight_through_one_hot(
    logits: torch.Tensor, *, temperature: float = 1.0, indices: torch.Tensor | None = None
) -> torch.Tensor:
    """Return a 1 at the largest logit of each row and 0 elsewhere, with the slope of the softmax.

    Parameters
    ----------
    logits : Tensor of shape (..., k), floating
        What is chosen from.
    temperature : float, default 1.0
        Above 0; of the softmax that lends its slope. Low ones train the best choices only and then hardly at all.
    indices : Tensor of shape (...,), int64, optional
        Choices to take in place of the largest logits.

    Returns
    -------
    Tensor of shape (..., k)
        Exactly one 1 in each row.

    Raises
    ------
    InputError
        A temperature that is not above 0.

    Notes
    -----
    Forward ``h = onehot(argmax)``, backward that of ``s = softmax(logits / temperature)``: dL/dlogit_i =
    ``s_i (g_i - sum_j s_j g_j) / temperature`` for an incoming gradient g.

    Examples
    --------
    >>> straight_through_one_hot(torch.tensor([0.1, 2.0, 0.3])).tolist()
    [0.0, 1.0, 0.0]
    """
    soft = torch.softmax(logits / check_temperature(temperature), dim=-1)
    return _hard(soft, logits.argmax(dim=-1) if indices is None else indices)


def _hard(soft: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    choice = torch.zeros_like(soft).scatter(-1, indices[..., None], 1.0)
    # In this order the forward value is the choice to the last bit: soft - soft is 0.
    return choice + (soft - soft.detach())


def gumbel_softmax(
    logits: torch.Tensor,
    *,
    temperature: float = 1.0,
    hard: bool = False,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Draw a soft choice from each row of logits, by noise that can be seeded.

    Parameters
    ----------
    logits : Tensor of shape (..., k), floating
        Unnormalised log-probabilities.
    temperature : float, default 1.0
        Above 0. Towards 0 draws become one-hot and their gradients noisy; 0.5 to 1 is usual, lowered while training.
    hard : bool, default False
        One-hot draws that keep the slope of the soft ones.
    generator : torch.Generator, optional
        Source of the noise, on the device of the logits; left out, the global one.

    Returns
    -------
    Tensor of shape (..., k)
        Rows that sum to 1.

    Raises
    ------
    InputError
        A temperature that is not above 0.

    Notes
    -----
    ``softmax((logits + G) / temperature)`` with ``G = -log E``, E exponential with mean 1: the largest entry is i with
    the probability softmax(logits)_i at every temperature.

    References
    ----------
    Jang, Gu, Poole: Categorical reparameterization with Gumbel-softmax. ICLR 2017, section 2.

    Examples
    --------
    >>> drawn = gumbel_softmax(torch.zeros(2, 4), generator=torch.Generator().manual_seed(0))
    >>> drawn.shape, bool((drawn.sum(-1) - 1).abs().max() < 1e-6)
    (torch.Size([2, 4]), True)
    """
    temperature = check_temperature(temperature)
    noise = torch.empty_like(logits, memory_format=torch.contiguous_format, requires_grad=False)
    noise = noise.exponential_(generator=generator).clamp_min(torch.finfo(logits.dtype).tiny).log()
    soft = torch.softmax((logits - noise) / temperature, dim=-1)
    return _hard(soft, soft.argmax(dim=-1)) if hard else soft
