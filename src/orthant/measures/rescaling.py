"""Scores of different scales brought to one, so that they can be added."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["min_max"]


def min_max(scores: npt.NDArray[np.floating], *, low: float | None = None) -> npt.NDArray[np.float64]:
    """Map scores to [0, 1] by the smallest and largest finite value of each row.

    Parameters
    ----------
    scores : ndarray of shape (m,) or (q, m)
        -inf where a candidate has no score.
    low : float, optional
        What maps to 0, where the scale itself says so: a BM25 score of 0 means that no word matched. Left out, the
        smallest score present.

    Returns
    -------
    ndarray of the shape of ``scores``, float64
        0 for candidates without a score. Where all scores of a row are equal: 1, or 0 when they equal ``low``.

    Examples
    --------
    >>> min_max(np.array([2.0, -np.inf, 4.0, 3.0])).tolist()
    [0.0, 0.0, 1.0, 0.5]
    """
    values = np.asarray(scores, dtype=np.float64)
    present = np.isfinite(values)
    high = np.max(values, axis=-1, keepdims=True, initial=-np.inf)
    smallest = np.min(np.where(present, values, np.inf), axis=-1, keepdims=True, initial=np.inf)
    bottom = np.where(np.isfinite(smallest), smallest, 0.0) if low is None else np.full_like(high, low)
    spread = np.where(np.isfinite(high), high - bottom, 0.0)
    flat = 1.0 if low is None else 0.0
    scaled = np.where(spread > 0, (np.where(present, values, 0.0) - bottom) / np.where(spread > 0, spread, 1.0), flat)
    return np.where(present, np.clip(scaled, 0.0, 1.0), 0.0)
