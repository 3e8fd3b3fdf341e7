"""How the tensors of several models become one: pure functions of one tensor per model.

Tensors enter in float32 (or float64) and stay as they are; methods that need a common ancestor take the differences
from it and return one difference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from orthant.errors import InputError, NonFiniteError, message
from orthant.learn.merging.arrays import cosine, inner_product, keep_largest, norm

__all__ = [
    "dare",
    "drop_and_rescale",
    "elect_and_average",
    "karcher_mean",
    "model_stock",
    "slerp",
    "ties",
    "weighted_mean",
    "weighted_sum",
]

# Below this sine the two directions are one for float32, and division by it would only add noise.
_SMALLEST_SINE = 1e-4


def _weights(count: int, weights: Sequence[float] | None, *, name: str = "weights") -> list[float]:
    if count == 0:
        raise InputError(message("no tensors", "at least one", "pass the tensors of the models"))
    if weights is None:
        return [1.0] * count
    if len(weights) != count:
        raise InputError(message(f"{len(weights)} {name} for {count} models", "one per model", "pass as many"))
    out = [float(weight) for weight in weights]
    if not all(math.isfinite(weight) for weight in out):
        raise NonFiniteError(message(f"{name}={out}", "finite numbers", "replace NaN and infinity"))
    return out


def _shares(count: int, weights: Sequence[float] | None) -> list[float]:
    out = _weights(count, weights)
    if min(out) < 0 or sum(out) <= 0:
        raise InputError(
            message(f"weights={out}", "non-negative numbers, one above 0", "use task arithmetic to subtract a model")
        )
    return [weight / sum(out) for weight in out]


def weighted_sum(tensors: Sequence[torch.Tensor], *, weights: Sequence[float] | None = None) -> torch.Tensor:
    """Add tensors, each times its weight: task arithmetic, when the tensors are differences from an ancestor.

    Parameters
    ----------
    tensors : sequence of torch.Tensor of one shape
        One per model.
    weights : sequence of float, optional
        One per tensor, any sign; a negative one takes away what that model learned. Left out, each is 1.

    Returns
    -------
    torch.Tensor of the same shape
        ``sum_i w_i x_i``.

    Raises
    ------
    InputError, NonFiniteError
        No tensors, or weights of another number or not finite.

    References
    ----------
    Ilharco et al., Editing Models with Task Arithmetic, arXiv 2212.04089, section 2.

    Examples
    --------
    >>> weighted_sum([torch.tensor([1.0]), torch.tensor([2.0])], weights=[1.0, -1.0]).tolist()
    [-1.0]
    """
    factors = _weights(len(tensors), weights)
    total = tensors[0] * factors[0]
    for tensor, factor in zip(tensors[1:], factors[1:], strict=True):
        total.add_(tensor, alpha=factor)
    return total


def weighted_mean(tensors: Sequence[torch.Tensor], *, weights: Sequence[float] | None = None) -> torch.Tensor:
    """Average tensors: a model soup.

    Parameters
    ----------
    tensors : sequence of torch.Tensor of one shape
        One per model.
    weights : sequence of float, optional
        One per tensor, not negative; divided by their sum. Left out, all count the same.

    Returns
    -------
    torch.Tensor of the same shape
        ``sum_i w_i x_i / sum_i w_i``.

    Raises
    ------
    InputError, NonFiniteError
        No tensors, or weights of another number, negative, all zero or not finite.

    References
    ----------
    Wortsman et al., Model Soups, arXiv 2203.05482, section 2.

    Examples
    --------
    >>> weighted_mean([torch.tensor([1.0]), torch.tensor([2.0])]).tolist()
    [1.5]
    """
    return weighted_sum(tensors, weights=_shares(len(tensors), weights))


def slerp(a: torch.Tensor, b: torch.Tensor, *, t: float = 0.5) -> torch.Tensor:
    """Move from one tensor to another along the arc between their directions.

    Parameters
    ----------
    a, b : torch.Tensor of one shape
        Two models' tensors, or two differences from one ancestor.
    t : float, default 0.5
        Place on the arc: 0 is ``a``, 1 is ``b``.

    Returns
    -------
    torch.Tensor of the same shape
        ``sin((1-t) o)/sin(o) a + sin(t o)/sin(o) b`` with o the angle between them; the straight line where they have
        one direction, opposite ones, or one is zero.

    References
    ----------
    Shoemake, Animating Rotation with Quaternion Curves, 1985, section 3.3.

    Examples
    --------
    >>> slerp(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])).tolist()
    [0.7071067690849304, 0.7071067690849304]
    """
    angle = math.acos(cosine(a, b)) if norm(a) and norm(b) else 0.0
    if math.sin(angle) < _SMALLEST_SINE:
        return torch.lerp(a, b, t)
    return weighted_sum(
        [a, b], weights=[math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)]
    )


def karcher_mean(
    tensors: Sequence[torch.Tensor],
    *,
    weights: Sequence[float] | None = None,
    max_iterations: int = 100,
    tolerance: float = 1e-7,
) -> torch.Tensor:
    """Average directions on the sphere, and lengths as numbers: `slerp` for any number of models.

    Parameters
    ----------
    tensors : sequence of torch.Tensor of one shape
        One per model. Zero tensors have no direction and count towards the length only.
    weights : sequence of float, optional
        One per tensor, not negative; divided by their sum.
    max_iterations : int, default 100
        Steps at most; directions within a right angle of each other need about ten.
    tolerance : float, default 1e-7
        Stop when a step turns by less than this many radians.

    Returns
    -------
    torch.Tensor of the same shape
        The mean length times the direction u with ``sum_i w_i log_u(x_i/|x_i|) = 0``.

    Raises
    ------
    InputError, NonFiniteError
        As for `weighted_mean`.

    Notes
    -----
    Step: ``t = sum_i w_i o_i/sin(o_i) (u_i - cos(o_i) u)``, ``u = cos|t| u + sin|t| t/|t|``, with o_i the angle between
    u and u_i. All vectors stay in the span of the u_i, so the steps are taken on their coefficients and Gram matrix.

    References
    ----------
    Karcher, Riemannian Center of Mass and Mollifier Smoothing, 1977; Grove and Karcher, 1973.

    Examples
    --------
    >>> karcher_mean([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])]).tolist()
    [0.7071067690849304, 0.7071067690849304]
    """
    shares = _shares(len(tensors), weights)
    lengths = [norm(tensor) for tensor in tensors]
    length = sum(share * own for share, own in zip(shares, lengths, strict=True))
    used = [i for i, own in enumerate(lengths) if own > 0 and shares[i] > 0]
    if not used:
        return torch.zeros_like(tensors[0])
    units = torch.tensor([shares[i] for i in used], dtype=torch.float64)
    units /= units.sum()
    gram = torch.eye(len(used), dtype=torch.float64)
    for place, i in enumerate(used):
        for other, j in enumerate(used[:place]):
            gram[place, other] = gram[other, place] = inner_product(tensors[i], tensors[j]) / (lengths[i] * lengths[j])
    direction = _mean_direction(gram, units, max_iterations, tolerance)
    if direction is None:
        return weighted_mean(tensors, weights=weights)
    factors = [float(direction[place]) * length / lengths[i] for place, i in enumerate(used)]
    return weighted_sum([tensors[i] for i in used], weights=factors)


def _mean_direction(
    gram: torch.Tensor, shares: torch.Tensor, max_iterations: int, tolerance: float
) -> torch.Tensor | None:
    place = shares / torch.sqrt(shares @ gram @ shares).clamp_min(1e-12)
    if float(shares @ gram @ shares) < _SMALLEST_SINE**2:
        return None
    for _ in range(max_iterations):
        cosines = (gram @ place).clamp(-1.0, 1.0)
        angles = torch.arccos(cosines)
        stretch = shares * torch.where(
            angles < 1e-8, torch.ones_like(angles), angles / torch.sin(angles).clamp_min(1e-12)
        )
        step = stretch - (stretch * cosines).sum() * place
        turn = float(torch.sqrt((step @ gram @ step).clamp_min(0)))
        if turn < tolerance:
            break
        place = math.cos(turn) * place + math.sin(turn) / turn * step
        place = place / torch.sqrt(place @ gram @ place)
    return place


def elect_and_average(differences: Sequence[torch.Tensor], *, weights: Sequence[float] | None = None) -> torch.Tensor:
    """Let the models vote on the sign of each entry, and average those that agree with the outcome.

    Parameters
    ----------
    differences : sequence of torch.Tensor of one shape
        Differences from the ancestor; zeros abstain.
    weights : sequence of float, optional
        One per tensor, not negative. Left out, all count the same.

    Returns
    -------
    torch.Tensor of the same shape
        Per entry ``sum w_i d_i / sum w_i`` over those i whose sign is that of ``sum w_i d_i``; 0 where it is balanced.

    Raises
    ------
    InputError, NonFiniteError
        As for `weighted_mean`.

    References
    ----------
    Yadav et al., TIES-Merging, arXiv 2306.01708, section 4.1, steps 2 and 3.

    Examples
    --------
    >>> elect_and_average([torch.tensor([3.0, 1.0]), torch.tensor([-1.0, 2.0])]).tolist()
    [3.0, 1.5]
    """
    shares = _shares(len(differences), weights)
    sign = torch.sign(weighted_sum(differences, weights=shares))
    total, mass = torch.zeros_like(sign), torch.zeros_like(sign)
    for difference, share in zip(differences, shares, strict=True):
        agrees = torch.sign(difference) == sign
        total.add_(difference * agrees, alpha=share)
        mass.add_(agrees, alpha=share)
    return torch.where((mass > 0) & (sign != 0), total / mass.clamp_min(torch.finfo(mass.dtype).tiny), 0.0)


def _check_density(density: float) -> None:
    if not 0.0 < density <= 1.0:
        raise InputError(message(f"density={density!r}", "a number above 0 and at most 1", "choose density there"))


def ties(
    differences: Sequence[torch.Tensor], *, density: float = 0.2, weights: Sequence[float] | None = None
) -> torch.Tensor:
    """Keep each model's largest changes, vote on signs, and average what agrees.

    Parameters
    ----------
    differences : sequence of torch.Tensor of one shape
        Differences from the ancestor.
    density : float, default 0.2
        Share of entries kept per model, above 0 and up to 1. Too small forgets what the models learned; towards 1
        their noise comes back.
    weights : sequence of float, optional
        One per model, not negative.

    Returns
    -------
    torch.Tensor of the same shape
        One difference, to be scaled and added to the ancestor.

    Raises
    ------
    InputError, NonFiniteError
        A density out of range, or weights as for `weighted_mean`.

    Notes
    -----
    The share is taken within each tensor, since one tensor is at hand at a time; the paper takes it over all weights.

    References
    ----------
    Yadav et al., TIES-Merging, arXiv 2306.01708, section 4.1.

    Examples
    --------
    >>> ties([torch.tensor([4.0, 0.1]), torch.tensor([2.0, -0.1])], density=0.5).tolist()
    [3.0, 0.0]
    """
    _check_density(density)
    kept = [d * keep_largest(d.abs(), max(1, round(density * d.numel()))) for d in differences]
    return elect_and_average(kept, weights=weights)


def drop_and_rescale(difference: torch.Tensor, *, density: float, generator: torch.Generator) -> torch.Tensor:
    """Drop entries at random and stretch the rest, so that the expected value stays.

    Parameters
    ----------
    difference : torch.Tensor of any shape
        A difference from the ancestor.
    density : float
        Chance of each entry to stay, above 0 and up to 1.
    generator : torch.Generator
        Where the randomness comes from.

    Returns
    -------
    torch.Tensor of the same shape
        ``m d / density`` with m Bernoulli(density).

    Raises
    ------
    InputError
        A density out of range.

    Examples
    --------
    >>> drop_and_rescale(torch.ones(4), density=1.0, generator=torch.Generator()).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    _check_density(density)
    stays = torch.rand(difference.shape, generator=generator) < density
    return (difference * stays).div_(density)


def dare(
    differences: Sequence[torch.Tensor],
    *,
    generator: torch.Generator,
    density: float = 0.5,
    weights: Sequence[float] | None = None,
    elect: bool = False,
) -> torch.Tensor:
    """Thin each model's changes at random before adding them up, so that fewer collide.

    Parameters
    ----------
    differences : sequence of torch.Tensor of one shape
        Differences from the ancestor.
    generator : torch.Generator
        Drawn from once per model, in order.
    density : float, default 0.5
        Chance of each entry to stay, above 0 and up to 1; 1 is task arithmetic. Below 0.1 small models suffer.
    weights : sequence of float, optional
        One per model; any sign when adding, not negative when electing.
    elect : bool, default False
        Join by `elect_and_average` instead of adding (DARE-TIES).

    Returns
    -------
    torch.Tensor of the same shape
        One difference.

    Raises
    ------
    InputError, NonFiniteError
        A density out of range, or weights as for `weighted_sum` or `weighted_mean`.

    References
    ----------
    Yu et al., Language Models are Super Mario, arXiv 2311.03099, section 3.2.

    Examples
    --------
    >>> dare([torch.ones(2), torch.ones(2)], generator=torch.Generator(), density=1.0).tolist()
    [2.0, 2.0]
    """
    thinned = [drop_and_rescale(d, density=density, generator=generator) for d in differences]
    return (elect_and_average if elect else weighted_sum)(thinned, weights=weights)


def model_stock(differences: Sequence[torch.Tensor]) -> torch.Tensor:
    """Pull the average of fine-tuned models back towards their ancestor, by how far they disagree.

    Parameters
    ----------
    differences : sequence of torch.Tensor of one shape
        Differences from the ancestor, two or more.

    Returns
    -------
    torch.Tensor of the same shape
        ``t mean_i(d_i)`` with ``t = n c / (1 + (n-1) c)`` and c the mean cosine over pairs, not below 0.

    Raises
    ------
    InputError
        Fewer than two tensors: there is no angle.

    References
    ----------
    Jang, Yun and Han, Model Stock, arXiv 2403.19522, section 4 and equation 3.

    Examples
    --------
    >>> model_stock([torch.tensor([2.0]), torch.tensor([4.0])]).tolist()
    [3.0]
    """
    count = len(differences)
    if count < 2:
        raise InputError(message(f"{count} model(s)", "at least two", "pass more fine-tuned models"))
    pairs = [cosine(differences[i], differences[j]) for i in range(count) for j in range(i)]
    # Opposed models would put the result beyond the ancestor; the paper's geometry has acute angles only.
    mean = max(0.0, sum(pairs) / len(pairs))
    share = count * mean / (1 + (count - 1) * mean)
    return weighted_mean(differences).mul_(share)
