"""What every method asks of a tensor: inner products in float64, and which entries are largest.

Products go over blocks, so that no second copy in float64 is made of a large tensor.
"""

from __future__ import annotations

import math

import torch

__all__ = ["cosine", "inner_product", "keep_largest", "norm"]

_BLOCK = 1 << 16


def inner_product(a: torch.Tensor, b: torch.Tensor) -> float:
    """Sum the products of two tensors' entries, in float64.

    Parameters
    ----------
    a, b : torch.Tensor of one shape
        Any real dtype.

    Returns
    -------
    float
        The sum; 0.0 for empty tensors.

    Examples
    --------
    >>> inner_product(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    11.0
    """
    left, right = a.reshape(-1), b.reshape(-1)
    return sum(
        float(torch.dot(left[i : i + _BLOCK].double(), right[i : i + _BLOCK].double()))
        for i in range(0, left.numel(), _BLOCK)
    )


def norm(a: torch.Tensor) -> float:
    """Length of a tensor seen as one vector.

    Parameters
    ----------
    a : torch.Tensor of any shape
        Any real dtype.

    Returns
    -------
    float
        Square root of the sum of squares.
    """
    return math.sqrt(inner_product(a, a))


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    """Cosine of the angle between two tensors seen as vectors.

    Parameters
    ----------
    a, b : torch.Tensor of one shape
        Any real dtype.

    Returns
    -------
    float
        From -1 to 1; 0.0 when one of them is zero.
    """
    lengths = norm(a) * norm(b)
    return max(-1.0, min(1.0, inner_product(a, b) / lengths)) if lengths else 0.0


def keep_largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Mark the ``count`` entries with the largest scores; of equal ones, those that come first.

    Parameters
    ----------
    scores : torch.Tensor of any shape, floating
        Finite values.
    count : int
        How many to keep, from 0 to the number of entries.

    Returns
    -------
    torch.Tensor of the same shape, bool
        Exactly ``count`` entries are true.

    Notes
    -----
    Selection, not sorting: O(n) time and one copy of the scores.

    Examples
    --------
    >>> keep_largest(torch.tensor([1.0, 3.0, 3.0, 2.0]), 1).tolist()
    [False, True, False, False]
    """
    flat = scores.reshape(-1)
    if count <= 0 or count >= flat.numel():
        return torch.full_like(scores, count > 0, dtype=torch.bool)
    threshold = torch.kthvalue(flat, flat.numel() - count + 1).values
    kept = flat > threshold
    level = torch.nonzero(flat == threshold).reshape(-1)
    kept[level[: count - int(kept.sum())]] = True
    return kept.reshape(scores.shape)
