"""Choosing one of many settings: what the choice is worth on queries that did not take part, and whether by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["HeldOut", "chance_of_choice", "cross_validated"]

_DIGITS = 12
_BLOCK_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class HeldOut:
    """Values of the chosen settings on queries that were held out of the choice.

    Attributes
    ----------
    values : ndarray of shape (q,), float64
        For every query the value of the setting that was best on the folds without it.
    by_fold : tuple of int
        That setting, for every fold.
    chosen : int
        The setting that is best on all queries.
    """

    values: npt.NDArray[np.float64]
    by_fold: tuple[int, ...]
    chosen: int


def cross_validated(values: npt.NDArray[np.float64], *, folds: int, seed: int) -> HeldOut:
    """Choose the setting with the largest mean, and measure the choice on held-out queries.

    The mean of the best of many settings is too high on the queries that chose it, and highest where all are equal. So
    every query is valued under the setting that the other folds choose.

    Parameters
    ----------
    values : ndarray of shape (s, q), float64
        Value of every setting on every query. Of equal means the first setting is taken.
    folds : int
        Parts of the queries, 2 to q. More leave more queries for each choice, and cost nothing.
    seed : int
        Of the division.

    Returns
    -------
    HeldOut
        The values estimate what choosing so is worth; ``chosen`` rests on all queries.

    Notes
    -----
    Cost: ``O(s q)``.

    References
    ----------
    M. Stone: Cross-validatory choice and assessment of statistical predictions. JRSS B 36(2), 1974.

    Examples
    --------
    >>> import numpy as np
    >>> held = cross_validated(np.array([[0.0, 0.0, 0.0, 0.0], [0.5, 0.6, 0.4, 0.5]]), folds=2, seed=0)
    >>> held.chosen, held.by_fold, held.values.tolist()
    (1, (1, 1), [0.5, 0.6, 0.4, 0.5])
    """
    count = values.shape[1]
    part = np.empty(count, dtype=np.int64)
    part[np.random.default_rng(seed).permutation(count)] = np.arange(count) % folds
    total = values.sum(axis=1)
    sums = np.stack([values[:, part == fold].sum(axis=1) for fold in range(folds)], axis=1)
    by_fold = _best(total[:, None] - sums, [count - int((part == fold).sum()) for fold in range(folds)])
    held = values[by_fold[part], np.arange(count)]
    return HeldOut(held, tuple(by_fold.tolist()), int(_best(total[:, None], [count])[0]))


def chance_of_choice(values: npt.NDArray[np.float64], *, resamples: int = 10_000, seed: int = 0) -> float:
    """Return how often the best of many settings looks as good as it does where none is better than the first one.

    A paired test of the chosen setting alone does not know that it was chosen, and one on held-out queries takes folds
    that share their training queries for independent; where many settings differ by noise, both recommend too often.
    Here every resample is searched for its best setting as well.

    Parameters
    ----------
    values : ndarray of shape (s, q), float64
        Value of every setting on every query; row 0 is what the others are to beat.
    resamples : int, default 10000
        Random sign patterns; the smallest p-value is 1 / (resamples + 1).
    seed : int, default 0
        Of the signs.

    Returns
    -------
    float
        One-sided p-value; 1 where no setting differs from the first.

    Notes
    -----
    The statistic is ``max_s sum_i d_si / sqrt(sum_i d_si^2)`` with ``d_si = values[s, i] - values[0, i]``. Under the
    null hypothesis the vector ``d_.i`` of each query may change its sign, for all settings at once, so likeness of
    settings is accounted for. Dividing by the spread keeps settings far from the first from drowning those near it.
    Cost: ``O(s q resamples)``.

    References
    ----------
    P. Westfall, S. Young: Resampling-Based Multiple Testing, 1993, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> better = np.array([[0.1] * 12, [0.3] * 12])
    >>> chance_of_choice(better) < 0.01, chance_of_choice(better[:1])
    (True, 1.0)
    """
    D = values - values[0]
    spread = np.sqrt((D * D).sum(axis=1))
    D, spread = D[spread > 0], spread[spread > 0]
    if not len(D):
        return 1.0
    D = D / spread[:, None]
    observed = float(D.sum(axis=1).max())
    rng = np.random.default_rng(seed)
    step, reached = max(1, _BLOCK_ELEMENTS // D.shape[1]), 0
    for begin in range(0, resamples, step):
        count = min(step, resamples - begin)
        signs = 2.0 * rng.integers(0, 2, size=(D.shape[1], count), dtype=np.int8) - 1.0
        reached += int(np.count_nonzero((D @ signs).max(axis=0) >= observed - 1e-9))
    return (1 + reached) / (1 + resamples)


def _best(sums: npt.NDArray[np.float64], counts: list[int]) -> npt.NDArray[np.int64]:
    # Rounded, so that a sum that differs in its last bit does not outdo an earlier setting.
    return np.argmax(np.round(sums / np.array(counts), _DIGITS), axis=0)
