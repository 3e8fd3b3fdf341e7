"""Whether two samples come from one distribution: the energy distance, judged by permutation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["energy_test", "standardised"]

_TOGETHER = 256


def standardised(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return columns with mean 0 and variance 1, and a column of flags for each that had gaps.

    Parameters
    ----------
    values : ndarray of shape (n, c), float64
        NaN where there is no value. Both samples together: what is done here must not know which is which.

    Returns
    -------
    ndarray of shape (n, c or more), float64
        Gaps are filled with the mean; constant columns are 0.

    Examples
    --------
    >>> standardised(np.array([[1.0, 5.0], [3.0, np.nan]])).tolist()
    [[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]
    """
    gaps = np.isnan(values)
    flags = gaps[:, gaps.any(axis=0)].astype(np.float64)
    counts = np.maximum(1, (~gaps).sum(axis=0))
    means = np.where(gaps, 0.0, values).sum(axis=0) / counts
    joined = np.concatenate([np.where(gaps, means, values), flags], axis=1)
    centred = joined - joined.mean(axis=0)
    spread = centred.std(axis=0)
    out: npt.NDArray[np.float64] = centred / np.where(spread > 1e-12, spread, np.inf)
    return out


def energy_test(
    pooled: npt.NDArray[np.float64], first: int, *, permutations: int = 999, seed: int = 0
) -> tuple[float, float]:
    """Test whether the first rows and the rest come from one distribution.

    Parameters
    ----------
    pooled : ndarray of shape (n, c), float64
        Both samples, one after the other.
    first : int
        Rows of the first sample, from 1 to n - 1.
    permutations : int, default 999
        Random relabellings; the smallest p-value is one in as many plus one.
    seed : int, default 0
        Of the relabellings.

    Returns
    -------
    distance : float
        The energy distance, 0 for equal samples.
    p_value : float
        The share of relabellings, the given one included, that are at least as far apart. Where rows are exchangeable
        it is at most x with probability at most x, whatever their distribution.

    Notes
    -----
    ``2 mean |x - y| - mean |x - x'| - mean |y - y'|`` with Euclidean distances. Cost: ``O(n^2 (c + permutations))``.

    References
    ----------
    G. J. Szekely and M. L. Rizzo, Energy statistics: a class of statistics based on distances, 2013, section 3.

    Examples
    --------
    >>> rows = np.concatenate([np.zeros((16, 1)), np.ones((16, 1))])
    >>> energy_test(rows, 16)
    (2.0, 0.001)
    """
    n = len(pooled)
    squares = (pooled**2).sum(axis=1)
    apart = np.sqrt(np.maximum(0.0, squares[:, None] + squares[None, :] - 2.0 * (pooled @ pooled.T)))
    np.fill_diagonal(apart, 0.0)
    # With 1 / n1 for the first sample and -1 / n2 for the second, the distance is minus a quadratic form.
    labels = np.where(np.arange(n) < first, 1.0 / first, -1.0 / (n - first))
    own = float(-labels @ apart @ labels)
    rng = np.random.default_rng(seed)
    as_far = 1
    for begin in range(0, permutations, _TOGETHER):
        count = min(_TOGETHER, permutations - begin)
        shuffled = rng.permuted(np.broadcast_to(labels, (count, n)), axis=1)
        far = -((shuffled @ apart) * shuffled).sum(axis=1)
        as_far += int(np.count_nonzero(far >= own - 1e-12))
    return max(0.0, own), as_far / (permutations + 1)
