"""How many documents an optimisation could keep apart in given dimensions; a fitted curve, not a law."""

from __future__ import annotations

from dataclasses import dataclass

from orthant.validate import check_count

__all__ = ["FITTED_DIMENSIONS", "Capacity", "capacity_bound"]

FITTED_DIMENSIONS = (4, 45)
"""Lowest and highest dimension that the published curve was fitted on."""

_COEFFICIENTS = (-10.5322, 4.0309, 0.0520, 0.0037)


@dataclass(frozen=True)
class Capacity:
    """How many documents the published experiment could serve in some dimensions.

    Attributes
    ----------
    dim : int
        Dimensions.
    documents : int
        Most documents of which every pair was some query's answer.
    extrapolated : bool
        Whether the dimension lies outside those that the curve was fitted on.
    """

    dim: int
    documents: int
    extrapolated: bool


def capacity_bound(dim: int) -> Capacity:
    """Say of how many documents every pair can be a query's two best, according to a published curve.

    Read it as an order of magnitude of what training could at best reach, never as a law: the curve is a cubic fitted
    to what gradient descent on free vectors reached in 4 to 45 dimensions. Text encoders stay far below it, and a
    construction by hand (`orthant.evaluation.limit.curve_vectors`) passes it in four dimensions.

    Parameters
    ----------
    dim : int
        Dimensions, from 1. Outside 4 to 45 the curve is extrapolated, and the result says so.

    Returns
    -------
    Capacity
        Documents, rounded down and at least 2.

    Raises
    ------
    InputError
        ``dim`` below 1.

    Notes
    -----
    ``n = -10.5322 + 4.0309 d + 0.0520 d^2 + 0.0037 d^3``, for pairs.

    References
    ----------
    O. Weller, M. Boratko, I. Naim, J. Lee: On the Theoretical Limitations of Embedding-Based Retrieval,
    arXiv:2508.21038, section 4.

    Examples
    --------
    >>> capacity_bound(10)
    Capacity(dim=10, documents=38, extrapolated=False)
    >>> capacity_bound(1024).extrapolated
    True
    """
    dim = check_count(dim, name="dim")
    value = sum(c * dim**power for power, c in enumerate(_COEFFICIENTS))
    low, high = FITTED_DIMENSIONS
    return Capacity(dim, max(2, int(value)), not low <= dim <= high)
