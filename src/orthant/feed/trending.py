"""What is trending: clicks that fade, and an entry's own age."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.validate import check_fraction

__all__ = ["DAY_S", "HALF_LIFE_DAYS", "SAVE_WEIGHT", "fade", "heat"]

DAY_S = 86_400.0
HALF_LIFE_DAYS = 7.0
SAVE_WEIGHT = 5.0


def fade(age_days: npt.ArrayLike, *, half_life_days: float = HALF_LIFE_DAYS) -> npt.NDArray[np.float64]:
    """Return what is left of something after a time.

    Parameters
    ----------
    age_days : array-like of any shape
        Days; those before zero count as zero.
    half_life_days : float, default 7.0
        Days until half is left.

    Returns
    -------
    ndarray of the same shape, float64
        ``2 ** (-age / half_life)``; 0 for NaN.
    """
    half = check_fraction(half_life_days, name="half_life_days", low=0.01, high=36_500)
    ages = np.asarray(age_days, dtype=np.float64)
    left: npt.NDArray[np.float64] = np.where(np.isnan(ages), 0.0, 2.0 ** (-np.maximum(ages, 0.0) / half))
    return left


def heat(
    age_days: float,
    click_age_days: npt.ArrayLike = (),
    views: npt.ArrayLike = (),
    saves: npt.ArrayLike = (),
    *,
    half_life_days: float = HALF_LIFE_DAYS,
) -> float:
    """Return how hot an entry is.

    Parameters
    ----------
    age_days : float
        Days since the entry's date; a date in the future counts as today.
    click_age_days : array-like of shape (m,)
        Days since each day on which the entry was looked at or saved.
    views, saves : array-like of shape (m,)
        How often on each of those days.
    half_life_days : float, default 7.0
        Days until a click counts half. Too small follows every whim, too large never changes.

    Returns
    -------
    float
        0 or more.

    Raises
    ------
    InputError
        A half-life outside 0.01 to 36,500 days.

    Notes
    -----
    ``heat = 2**(-age / h) + sum over days of (views + 5 saves) * 2**(-days ago / h)``. The first term is what an
    entry of today has without a click, so without any click the order is that of the dates. Everything fades by one
    clock, so the order of two entries changes by clicks only, never by waiting. Cost: O(m).

    Examples
    --------
    >>> heat(0), heat(7), heat(7, [0], [3], [0])
    (1.0, 0.5, 3.5)
    """
    clicks = np.asarray(views, dtype=np.float64) + SAVE_WEIGHT * np.asarray(saves, dtype=np.float64)
    faded: Any = clicks * fade(click_age_days, half_life_days=half_life_days)
    return float(fade(age_days, half_life_days=half_life_days) + faded.sum())
