"""Correlation of predicted and judged similarities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, message

__all__ = ["kendall", "pearson", "spearman"]


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Rank correlation; the usual figure for semantic textual similarity, blind to the scale of the scores.

    Parameters
    ----------
    a, b : array-like of float, shape (n,)
        Paired values, n of at least 2, neither constant.

    Returns
    -------
    float
        From -1 to 1; ties get their mean rank.

    Raises
    ------
    NonFiniteError, DimensionError, DtypeError, InputError
        NaN or infinity, other shapes, no numbers, or a constant side, where correlation is undefined.

    Examples
    --------
    >>> round(spearman([1, 2, 3], [1, 4, 9]), 6)
    1.0
    """
    from scipy.stats import rankdata

    left, right = _pair(a, b)
    return _pearson(rankdata(left), rankdata(right))


def pearson(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Linear correlation; use `spearman` when only the order of the scores matters.

    Parameters
    ----------
    a, b : array-like of float, shape (n,)
        Paired values, n of at least 2, neither constant.

    Returns
    -------
    float
        From -1 to 1.

    Raises
    ------
    NonFiniteError, DimensionError, DtypeError, InputError
        As for `spearman`.

    Examples
    --------
    >>> round(pearson([1, 2, 3], [2, 4, 6]), 6)
    1.0
    """
    return _pearson(*_pair(a, b))


def kendall(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Kendall's tau-b: agreement over pairs of items, for comparing two short rankings such as leaderboards.

    Parameters
    ----------
    a, b : array-like of float, shape (n,)
        Paired values, n of at least 2, neither constant.

    Returns
    -------
    float
        From -1 to 1, corrected for ties.

    Raises
    ------
    NonFiniteError, DimensionError, DtypeError, InputError
        As for `spearman`.

    Examples
    --------
    >>> round(kendall([1, 2, 3], [1, 3, 2]), 4)
    0.3333
    """
    from scipy.stats import kendalltau

    return float(kendalltau(*_pair(a, b)).statistic)


def _pearson(left: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> float:
    left, right = left - left.mean(), right - right.mean()
    value = float(left @ right / (np.linalg.norm(left) * np.linalg.norm(right)))
    return min(1.0, max(-1.0, value))


def _pair(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    try:
        left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DtypeError(message("values that are not numbers", "real numbers", "convert them to float")) from error
    if left.ndim != 1 or left.shape != right.shape or len(left) < 2:
        raise DimensionError(
            message(f"shapes {left.shape} and {right.shape}", "two of (n,), n of 2 or more", "pass paired values")
        )
    for name, side in (("a", left), ("b", right)):
        bad = np.flatnonzero(~np.isfinite(side))
        if len(bad):
            raise NonFiniteError(
                message(f"NaN or infinity in {name} at position {bad[0]}", "finite values", "drop that pair")
            )
        if side.min() == side.max():
            raise InputError(
                message(f"{name} with one value throughout", "values that vary", "correlation is undefined here")
            )
    return left, right
