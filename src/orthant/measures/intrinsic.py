"""Intrinsic dimension: how many coordinates the data would need near a point, whatever the vectors' length says.

Recall of a graph index falls as it grows, so it belongs beside every approximate-search figure. Both estimators take
the *Euclidean* distances to exact neighbours: squared distances halve the result, and neighbours from an approximate
search bias it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NonFiniteError, message
from orthant.validate import check_choice, check_fraction

__all__ = ["local_dimension", "two_nn_dimension"]

Float64Array = npt.NDArray[np.float64]


def _check(distances: npt.ArrayLike, minimum: int) -> Float64Array:
    r = np.asarray(distances, dtype=np.float64)
    if r.ndim != 2 or r.shape[1] < minimum:
        raise DimensionError(
            message(
                f"distances of shape {r.shape}",
                f"(n, k) with k of at least {minimum}",
                "pass one row per point, nearest first",
            )
        )
    if not np.isfinite(r).all():
        raise NonFiniteError(
            message("NaN or infinity among the distances", "finite distances", "lower k to the neighbours there are")
        )
    if (r < 0).any() or (np.diff(r, axis=1) < 0).any():
        raise InputError(
            message(
                "negative or unordered distances",
                "Euclidean distances, nearest first",
                "negate scores of metric 'l2', take their square root, and leave the point itself out",
            )
        )
    return r


def local_dimension(distances: npt.ArrayLike, *, denominator: Literal["k", "k-1"] = "k") -> Float64Array:
    """Estimate the intrinsic dimension around each point by maximum likelihood.

    Use it to compare data sets, or to order insertions; single values scatter, so look at the median or percentiles.
    High dimensions are underestimated at any k that data afford.

    Parameters
    ----------
    distances : array-like of shape (n, k)
        Euclidean distances to the k nearest other points, ascending. Zero distances (duplicates) are left out. k of
        about 100 is usual; below 20 the estimate is noisy, and far above it is no longer local.
    denominator : {"k", "k-1"}, default "k"
        What the sum of logarithms is divided by: all neighbours, or all but the last, whose term is zero.

    Returns
    -------
    ndarray of shape (n,), float64
        NaN where fewer than two distances are positive, infinity where all positive ones are equal.

    Raises
    ------
    DimensionError, NonFiniteError, InputError
        Distances that are not of that form.

    Notes
    -----
    ``LID(x) = -1 / mean(ln(r_i / r_k))`` over the neighbours i. Cost: O(n k).

    References
    ----------
    Amsaleg et al.: Estimating local intrinsic dimensionality, KDD 2015, section 4. Levina, Bickel: Maximum likelihood
    estimation of intrinsic dimension, NIPS 2004, for the second denominator.

    Examples
    --------
    >>> local_dimension([[0.25, 0.5, 1.0]]).round(3).tolist()
    [1.443]
    """
    r = _check(distances, 2)
    check_choice(denominator, ("k", "k-1"), name="denominator")
    positive = r > 0
    count = positive.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(positive, np.log(r / r[:, -1:]), 0.0)
        terms = count if denominator == "k" else count - 1
        out = -terms / logs.sum(axis=1)
    out[count < 2] = np.nan
    return np.abs(out)


def two_nn_dimension(distances: npt.ArrayLike, *, discard: float = 0.1) -> float:
    """Estimate one intrinsic dimension for a whole data set from each point's two nearest neighbours.

    Use it as a second opinion beside :func:`local_dimension`: it looks at the smallest scale there is, so noise and
    near-duplicates raise it.

    Parameters
    ----------
    distances : array-like of shape (n, k)
        Euclidean distances to the nearest other points, ascending; only the first two columns count. Points whose
        nearest neighbour is a duplicate are left out.
    discard : float, default 0.1
        Share of the largest ratios to leave out, from 0 to 0.9; they spoil the fit. Too much leaves few points.

    Returns
    -------
    float
        The dimension.

    Raises
    ------
    DimensionError, NonFiniteError, InputError
        Distances that are not of that form, or fewer than three usable points.

    Notes
    -----
    The slope through the origin of ``-ln(1 - F(mu))`` over ``ln(mu)``, mu = r_2 / r_1. Cost: O(n log n).

    References
    ----------
    Facco, d'Errico, Rodriguez, Laio: Estimating the intrinsic dimension of datasets by a minimal neighborhood
    information, Scientific Reports 7, 2017, section "Methods".

    Examples
    --------
    >>> ratios = (1 - (np.arange(1000) + 0.5) / 1000) ** (-1 / 5)
    >>> round(two_nn_dimension(np.column_stack([np.ones(1000), ratios])), 1)
    5.0
    """
    r = _check(distances, 2)
    check_fraction(discard, name="discard", high=0.9)
    r = r[r[:, 0] > 0]
    if len(r) < 3:
        raise InputError(message(f"{len(r)} points without duplicates", "at least 3", "pass more points"))
    ratios = np.sort(np.log(r[:, 1]) - np.log(r[:, 0]))
    kept = max(2, int(np.floor(len(ratios) * (1 - discard))))
    x = ratios[:kept]
    y = -np.log1p(-(np.arange(kept) + 0.5) / len(ratios))
    squares = float(x @ x)
    return float("inf") if squares == 0 else float(x @ y) / squares
