"""Recall and queries per second: fronts, values in between, and what a figure is worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, message
from orthant.validate import check_fraction

__all__ = ["lower_bound", "pareto", "qps_at", "spread_points"]

# One-sided 95 % of the normal distribution: recall is a mean over hundreds of queries.
_Z95 = 1.6448536269514722
# Below it nobody searches, so curves may begin there.
_WORTH_SHOWING = 0.8


def _columns(recalls: npt.ArrayLike, qps: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    r, v = np.asarray(recalls, dtype=np.float64), np.asarray(qps, dtype=np.float64)
    if r.shape != v.shape or r.ndim != 1:
        raise DimensionError(message(f"shapes {r.shape} and {v.shape}", "one value each per point", "pair them"))
    return r, v


def pareto(recalls: npt.ArrayLike, qps: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Return the points that no other point beats in both recall and speed.

    Parameters
    ----------
    recalls, qps : array-like of float, shape (p,)
        One value each per setting.

    Returns
    -------
    ndarray of shape (f,), int64
        Positions, recall rising and speed falling.

    Raises
    ------
    DimensionError
        Lengths differ.

    Examples
    --------
    >>> pareto([0.9, 0.8, 0.95, 0.7], [100, 90, 50, 200]).tolist()
    [3, 0, 2]
    """
    r, v = _columns(recalls, qps)
    kept: list[int] = []
    best = -np.inf
    for i in np.lexsort((-v, -r)):
        if v[i] > best:
            kept.append(int(i))
            best = v[i]
    return np.array(kept[::-1], dtype=np.int64)


def qps_at(recalls: npt.ArrayLike, qps: npt.ArrayLike, recall: float) -> float | None:
    """Return the speed at a recall, between the two points of the front around it.

    Parameters
    ----------
    recalls, qps : array-like of float, shape (p,)
        One value each per setting.
    recall : float
        Wanted, from 0 to 1.

    Returns
    -------
    float or None
        The logarithm of the speed is taken as linear in the recall. Below the first point its speed counts, since no
        faster setting is known; None where no setting reaches the recall.

    Raises
    ------
    DimensionError, InputError
        Lengths differ, or a recall beyond 0 to 1.

    Examples
    --------
    >>> round(qps_at([0.9, 1.0], [400, 100], 0.95))
    200
    >>> qps_at([0.9], [400], 0.95) is None
    True
    """
    check_fraction(recall, name="recall")
    r, v = _columns(recalls, qps)
    front = pareto(r, v)
    if not len(front) or r[front[-1]] < recall:
        return None
    return float(np.exp(np.interp(recall, r[front], np.log(v[front]))))


def lower_bound(per_query: npt.ArrayLike) -> float:
    """Return the one-sided 95 % lower bound of a mean recall.

    Parameters
    ----------
    per_query : array-like of float, shape (q,)
        Recall of each query; NaN is left out.

    Returns
    -------
    float
        Mean minus 1.645 standard errors; the mean itself for fewer than two queries.

    Examples
    --------
    >>> round(lower_bound([1.0] * 90 + [0.0] * 10), 3)
    0.85
    """
    values = np.asarray(per_query, dtype=np.float64)
    values = values[~np.isnan(values)]
    error = float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean() - _Z95 * error)


def spread_points(points: Sequence[dict[str, Any]], *, most: int, targets: Sequence[float]) -> list[dict[str, Any]]:
    """Choose settings from a sweep: the front, thinned, with the points around every target kept.

    Parameters
    ----------
    points : sequence of dict
        With ``recall`` and ``qps``.
    most : int
        How many to keep at most; the points around targets come first.
    targets : sequence of float
        Recalls that figures are read off at.

    Returns
    -------
    list of dict
        Some of the points, recall rising.
    """
    if not points:
        return []
    front = [points[i] for i in pareto([p["recall"] for p in points], [p["qps"] for p in points])]
    recalls = np.array([p["recall"] for p in front])
    wanted: dict[int, None] = {}
    for target in targets:
        after = int(np.searchsorted(recalls, target))
        wanted |= {i: None for i in (after, after - 1) if 0 <= i < len(front)}
        # Recall differs a little between queries to tune and to judge: one more on the safe side.
        if after + 1 < len(front):
            wanted[after + 1] = None
    for i in np.unique(np.linspace(0, len(front) - 1, num=most).round().astype(int)):
        if recalls[i] >= _WORTH_SHOWING and len(wanted) < most:
            wanted[int(i)] = None
    return [front[i] for i in sorted(wanted)]
