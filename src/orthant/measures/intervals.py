"""Intervals for figures that were measured on a sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.validate import check_count

__all__ = ["bootstrap_interval", "wilson_interval"]

_Z = 1.959964


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share, which keeps its level for rare events and few observations.

    Parameters
    ----------
    share : float
        Observed, 0 to 1.
    count : int
        Independent observations, at least 1.

    Returns
    -------
    tuple of float
        Low and high end, within 0 and 1.

    Raises
    ------
    InputError
        ``count`` below 1.

    References
    ----------
    E. Wilson: Probable inference, the law of succession, and statistical inference, JASA 22, 1927.

    Examples
    --------
    >>> tuple(round(end, 3) for end in wilson_interval(0.0, 100))
    (0.0, 0.037)
    """
    count = check_count(count, name="count")
    middle = (share + _Z * _Z / (2 * count)) / (1 + _Z * _Z / count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z * _Z / (4 * count * count)) / (1 + _Z * _Z / count)
    # At the ends the formula is exact, and rounding is not.
    return 0.0 if share == 0 else max(0.0, middle - half), 1.0 if share == 1 else min(1.0, middle + half)


def bootstrap_interval(
    values: npt.ArrayLike,
    statistic: Callable[[npt.NDArray[np.float64]], float] | None = None,
    *,
    resamples: int = 300,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of a statistic of independent observations.

    Parameters
    ----------
    values : array-like of shape (n,) or (n, d)
        One row per observation.
    statistic : callable of ndarray of shape (n,) or (n, d), optional
        Makes a number of resampled rows; default the mean.
    resamples : int, default 300
        Draws. Fewer make the ends shaky.
    seed : int, default 0
        Of the draws.

    Returns
    -------
    tuple of float
        Low and high end.

    Raises
    ------
    InputError
        No observation.

    Notes
    -----
    Cost: ``resamples`` times the statistic.

    References
    ----------
    B. Efron, R. Tibshirani: An Introduction to the Bootstrap, 1993, chapter 13.

    Examples
    --------
    >>> low, high = bootstrap_interval([1.0, 2.0, 3.0, 4.0])
    >>> 1.0 <= low < 2.5 < high <= 4.0
    True
    """
    rows = np.asarray(values, dtype=np.float64)
    if len(rows) == 0:
        raise InputError(message("no observation", "at least one", "measure something first"))
    made = np.mean if statistic is None else statistic
    rng = np.random.default_rng(seed)
    draws = [float(made(rows[rng.integers(0, len(rows), len(rows))])) for _ in range(resamples)]
    return float(np.percentile(draws, 2.5)), float(np.percentile(draws, 97.5))
