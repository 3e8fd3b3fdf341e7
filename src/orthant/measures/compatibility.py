"""May a model be replaced while what its predecessor encoded stays? Figures that tell, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NonFiniteError, message
from orthant.kernels.distances import norms, row_chunks
from orthant.types import FloatArray
from orthant.validate import as_vectors, check_count, check_fraction

__all__ = [
    "DriftStatistics",
    "GainRecovered",
    "average_compatibility",
    "average_multimodel_accuracy",
    "counterpart_ranks",
    "cross_test",
    "drift_statistics",
    "gain_recovered",
    "inequality_rates",
]

Floats = npt.NDArray[np.float64]

_BLOCK_ELEMENTS = 2_000_000


@dataclass(frozen=True)
class DriftStatistics:
    """How the vectors of the same items moved from one model to the next, all at length 1.

    Attributes
    ----------
    mean_cosine : float
        Of an item's two vectors; 1 when nothing moved.
    movement : float
        Root mean squared distance between the two.
    drift_norm : float
        Length of the mean movement.
    explained_share : float
        Squared ``drift_norm`` over squared ``movement``, from 0 to 1: what a translation can undo.
    rotation_share : float
        Part of the movement that the best rotation about the means, and the translation, undo, from 0 to 1. Measured
        on the items themselves: with fewer than some per dimension it is too high.
    """

    mean_cosine: float
    movement: float
    drift_norm: float
    explained_share: float
    rotation_share: float


@dataclass(frozen=True)
class GainRecovered:
    """How much of a new model's gain a cheaper way gets.

    Attributes
    ----------
    share : float
        (mapped - old) / (new - old), of the means; below 0 the cheaper way is worse than the old model. NaN where
        new and old do not differ at all.
    interval : tuple of float
        Of the share, over resampled queries.
    gain : float
        new - old, of the means.
    gain_interval : tuple of float
        Of the gain.
    queries : int
        How many were compared.
    """

    share: float
    interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    queries: int

    @property
    def worth_it(self) -> bool:
        """Whether the new model is better beyond doubt, and the cheaper way gets some of that beyond doubt."""
        return self.gain_interval[0] > 0 and self.interval[0] > 0


def counterpart_ranks(A: npt.ArrayLike, B: npt.ArrayLike, *, mixed: bool = False) -> Floats:
    """Return at which rank each row of A finds its own row of B, by cosine; 1 is best.

    Parameters
    ----------
    A, B : array-like of shape (n, d)
        The same items twice, in the same order.
    mixed : bool, default False
        Search among the rows of B and the other rows of A together, as in an index that holds both kinds.

    Returns
    -------
    ndarray of shape (n,), float64
        Ranks from 1 to n, or to 2 n - 1 where ``mixed``; whatever scores as high as the counterpart is counted before
        it, so a space in which all rows are equal ranks last, not first.

    Raises
    ------
    InputError
        No rows, different shapes, NaN or infinity, or a row of length 0.

    Notes
    -----
    Cost O(n^2 d).

    Examples
    --------
    >>> counterpart_ranks([[1, 0], [0, 1]], [[1, 0.1], [1, 0.2]]).tolist()
    [1.0, 1.0]
    >>> counterpart_ranks([[1, 0], [1, 0]], [[1, 0], [1, 0]]).tolist()
    [2.0, 2.0]
    """
    first, second = as_vectors(A, name="A", nonzero=True), as_vectors(B, name="B", nonzero=True)
    _same_shape(first, second)
    unit = [side / norms(side)[:, None] for side in (first, second)]
    out = np.empty(len(first))
    for start, stop in row_chunks(len(first), len(first) * 16):
        scores = unit[0][start:stop] @ unit[1].T
        own = scores[np.arange(stop - start), np.arange(start, stop)]
        # Equal rows may differ in the last bits of their products.
        out[start:stop] = (scores >= own[:, None] - 1e-12).sum(axis=1)
        if mixed:
            # Each row finds itself, which does not count.
            scores = unit[0][start:stop] @ unit[0].T
            scores[np.arange(stop - start), np.arange(start, stop)] = -np.inf
            out[start:stop] += (scores >= own[:, None] - 1e-12).sum(axis=1)
    return out


def cross_test(
    score: Callable[[Any, Any], float], queries: Sequence[Any], galleries: Sequence[Any], *, names: bool = False
) -> Floats:
    """Return how well queries of every model search the galleries of it and of all models before it.

    Parameters
    ----------
    score : callable
        Takes queries and a gallery, gives one figure, larger is better, such as the mean nDCG@10.
    queries : sequence of T
        Queries as each model encodes them, oldest model first; whatever ``score`` takes.
    galleries : sequence of T
        Galleries as each model encoded them.
    names : bool, default False
        Pass the numbers of the two models to ``score`` instead of queries and gallery.

    Returns
    -------
    ndarray of shape (T, T), float64
        Row: model of the queries; column: model of the gallery; NaN above the diagonal, where a gallery is newer.

    Raises
    ------
    DimensionError
        Unequal numbers of queries and galleries, or none.
    NonFiniteError
        A score that is not finite.

    Examples
    --------
    >>> cross_test(lambda q, g: q + g, [1.0, 2.0], [10.0, 20.0]).tolist()
    [[11.0, nan], [12.0, 22.0]]
    """
    if len(queries) != len(galleries) or not len(queries):
        raise DimensionError(
            message(
                f"queries of {len(queries)} and galleries of {len(galleries)} models",
                "one of each for every model",
                "encode both with every model",
            )
        )
    out = np.full((len(queries), len(queries)), np.nan)
    for i in range(len(queries)):
        for j in range(i + 1):
            out[i, j] = score(i, j) if names else score(queries[i], galleries[j])
    if not np.isfinite(out[np.tril_indices(len(out))]).all():
        raise NonFiniteError(message("a cross-test score that is not finite", "finite figures", "look at the vectors"))
    return out


def average_compatibility(matrix: npt.ArrayLike) -> float:
    """Return the share of replacements after which an older gallery is searched better than by its own model.

    Parameters
    ----------
    matrix : array-like of shape (T, T)
        From ``cross_test``.

    Returns
    -------
    float
        AC, from 0 to 1.

    Raises
    ------
    InputError
        Not a square matrix of at least two models.

    Notes
    -----
    ``AC = 2 / (T (T - 1)) sum_{j < i} [C_ij > C_jj]``.

    References
    ----------
    Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model
    Replacements. CVPR 2024, arXiv 2405.02581, section 5.

    Examples
    --------
    >>> average_compatibility([[0.5, 0.0], [0.6, 0.7]])
    1.0
    """
    table = _square(matrix, least=2)
    rows, columns = np.tril_indices(len(table), -1)
    return float((table[rows, columns] > table[columns, columns]).mean())


def average_multimodel_accuracy(matrix: npt.ArrayLike) -> float:
    """Return the mean of all figures of a cross test, the models' own galleries included.

    Parameters
    ----------
    matrix : array-like of shape (T, T)
        From ``cross_test``.

    Returns
    -------
    float
        AM, in units of the score.

    Raises
    ------
    InputError
        Not a square matrix.

    Examples
    --------
    >>> round(average_multimodel_accuracy([[0.5, 0.0], [0.6, 0.7]]), 3)
    0.6
    """
    table = _square(matrix, least=1)
    return float(table[np.tril_indices(len(table))].mean())


def inequality_rates(new: npt.ArrayLike, old: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[float, float]:
    """Return how often the two inequalities hold that define compatibility, over all pairs of different items.

    Parameters
    ----------
    new, old : array-like of shape (n, d)
        The same items as either model encodes them.
    labels : array-like of shape (n,)
        Class of each item.

    Returns
    -------
    tuple of float
        Share of pairs of one class that a new query brings at least as near as an old one did, and share of pairs of
        two classes that it keeps at least as far; NaN where there is no such pair.

    Raises
    ------
    InputError
        Different shapes, fewer than two items, NaN or infinity, or rows of length 0.

    Notes
    -----
    ``d(new_i, old_j) <= d(old_i, old_j)`` for one class, ``>=`` for two, d the cosine distance. Cost O(n^2 d).

    Examples
    --------
    >>> inequality_rates([[1, 0.0], [1, 0.0], [0, 1.0]], [[1, 0.1], [1, 0.0], [0.1, 1.0]], [0, 0, 1])
    (1.0, 1.0)
    """
    first, second = as_vectors(new, name="new", nonzero=True), as_vectors(old, name="old", nonzero=True)
    _same_shape(first, second)
    classes = np.asarray(labels)
    if classes.shape != (len(first),) or len(first) < 2:
        raise DimensionError(
            message(
                f"labels of shape {classes.shape} for {len(first)} items",
                "one label each, two items or more",
                "label them",
            )
        )
    unit = [side / norms(side)[:, None] for side in (first, second)]
    counts = np.zeros((2, 2))
    for start, stop in row_chunks(len(first), len(first) * 24):
        gains = (unit[0][start:stop] - unit[1][start:stop]) @ unit[1].T
        same = classes[start:stop, None] == classes
        others = np.arange(start, stop)[:, None] != np.arange(len(first))
        for row, (pairs, holds) in enumerate(((same & others, gains >= -1e-12), (~same, gains <= 1e-12))):
            counts[row] += (pairs & holds).sum(), pairs.sum()
    shares = np.divide(counts[:, 0], counts[:, 1], out=np.full(2, np.nan), where=counts[:, 1] > 0)
    return float(shares[0]), float(shares[1])


def drift_statistics(new: npt.ArrayLike, old: npt.ArrayLike) -> DriftStatistics:
    """Describe how vectors moved from one model to the next, and what a translation or a rotation can undo.

    Parameters
    ----------
    new, old : array-like of shape (n, d)
        The same items as either model encodes them; the models must share a width.

    Returns
    -------
    DriftStatistics
        The figures.

    Raises
    ------
    InputError
        Different shapes, no rows, NaN or infinity, or rows of length 0.

    Notes
    -----
    Cost O(n d^2 + d^3).

    Examples
    --------
    >>> moved = drift_statistics([[1, 0], [0, 1]], [[0, 1], [-1, 0]])
    >>> round(moved.mean_cosine, 3), round(moved.rotation_share, 3)
    (0.0, 1.0)
    """
    first, second = as_vectors(new, name="new", nonzero=True), as_vectors(old, name="old", nonzero=True)
    _same_shape(first, second)
    unit = [side / norms(side)[:, None] for side in (first, second)]
    moved = unit[0] - unit[1]
    energy = float((moved * moved).sum()) / len(moved)
    drift = float(np.linalg.norm(moved.mean(axis=0)))
    centred = [side - side.mean(axis=0) for side in unit]
    nuclear = float(np.linalg.svd(centred[0].T @ centred[1], compute_uv=False).sum())
    left = (sum(float((side * side).sum()) for side in centred) - 2 * nuclear) / len(moved)
    return DriftStatistics(
        mean_cosine=float((unit[0] * unit[1]).sum() / len(moved)),
        movement=energy**0.5,
        drift_norm=drift,
        explained_share=drift**2 / energy if energy > 0 else 0.0,
        rotation_share=min(1.0, max(0.0, 1 - left / energy)) if energy > 0 else 0.0,
    )


def gain_recovered(
    mapped: npt.ArrayLike,
    old: npt.ArrayLike,
    new: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> GainRecovered:
    """Return which share of a new model's gain is had without encoding everything again.

    Parameters
    ----------
    mapped, old, new : array-like of shape (n,)
        One figure per query, such as its nDCG@10, in the same order: by the cheaper way, by the old model, and by the
        new model with everything encoded again. At least two queries; below about 50 the interval says little.
    resamples : int, default 10000
        Bootstrap samples of the queries. Cost O(n resamples).
    confidence : float, default 0.95
        Coverage of the intervals, between 0 and 1.
    seed : int, default 0
        Of the resampling.

    Returns
    -------
    GainRecovered
        The share, its interval, and the gain it is a share of. Where the gain's own interval reaches 0 the share
        means nothing, and its interval is as wide as that deserves.

    Raises
    ------
    InputError
        Figures that are not paired or not finite; settings out of range.

    References
    ----------
    Efron, Tibshirani: An introduction to the bootstrap. Chapman and Hall, 1993, chapter 13.

    Examples
    --------
    >>> found = gain_recovered([0.4, 0.5, 0.5, 0.6], [0.3, 0.4, 0.4, 0.5], [0.5, 0.6, 0.6, 0.7])
    >>> round(found.share, 3), found.worth_it
    (0.5, True)
    """
    arms = [_figures(arm, name) for arm, name in ((mapped, "mapped"), (old, "old"), (new, "new"))]
    if len({len(arm) for arm in arms}) > 1:
        raise DimensionError(
            message(f"figures of {[len(arm) for arm in arms]} queries", "the same queries", "score all arms")
        )
    resamples = check_count(resamples, name="resamples")
    confidence = check_fraction(confidence, name="confidence")
    differences = np.stack([arms[0] - arms[1], arms[2] - arms[1]])
    part, gain = (float(row.mean()) for row in differences)
    rng = np.random.default_rng(seed)
    means = np.empty((2, resamples))
    step = max(1, _BLOCK_ELEMENTS // differences.shape[1])
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        drawn = rng.integers(0, differences.shape[1], size=(stop - start, differences.shape[1]))
        means[:, start:stop] = differences[:, drawn].mean(axis=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.nan_to_num(means[0] / means[1], nan=0.0)
    ends = (1 - confidence) / 2, (1 + confidence) / 2
    low, high = np.quantile(shares, ends, method="nearest")
    gain_low, gain_high = np.quantile(means[1], ends)
    return GainRecovered(
        share=part / gain if gain != 0 else float("nan"),
        interval=(float(low), float(high)),
        gain=gain,
        gain_interval=(float(gain_low), float(gain_high)),
        queries=differences.shape[1],
    )


def _figures(values: npt.ArrayLike, name: str) -> Floats:
    out = np.asarray(values, dtype=np.float64)
    if out.ndim != 1 or len(out) < 2:
        raise DimensionError(
            message(f"{name} of shape {out.shape}", "one figure for each of two queries or more", "score every query")
        )
    if not np.isfinite(out).all():
        raise NonFiniteError(message(f"{name} with NaN or infinity", "finite figures", "drop such queries"))
    return out


def _square(matrix: npt.ArrayLike, *, least: int) -> Floats:
    table = np.asarray(matrix, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < least:
        raise DimensionError(
            message(f"a matrix of shape {table.shape}", f"a square one of at least {least} model(s)", "use cross_test")
        )
    if not np.isfinite(table[np.tril_indices(len(table))]).all():
        raise InputError(message("a cross test with gaps", "a figure on and below the diagonal", "use cross_test"))
    return table


def _same_shape(first: FloatArray, second: FloatArray) -> None:
    if first.shape != second.shape or not len(first):
        raise DimensionError(
            message(
                f"matrices of shape {first.shape} and {second.shape}",
                "the same items in spaces of one width, at least one",
                "pass the same items in the same order",
            )
        )
