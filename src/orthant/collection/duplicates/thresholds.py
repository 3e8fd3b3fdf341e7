"""Where to draw the line: on pairs that somebody has judged, or by looking at the similarities."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.validate import check_count

__all__ = ["SimilarityHistogram", "ThresholdChoice", "choose_threshold", "make_histogram"]

_BINS = 40


@dataclass(frozen=True)
class ThresholdChoice:
    """A threshold chosen on judged pairs.

    Attributes
    ----------
    threshold : float
        Halfway between the least similar pair that it accepts and the next one below.
    f1, precision, recall : float
        On the judged pairs themselves, so somewhat too good.
    f1_unseen : float or None
        Mean F1 on the pairs that a resample left out, with the threshold chosen on the resample: what to expect. None
        where no resample left out a duplicate.
    low, high : float
        Interval of 95 % of the threshold over the resamples. A wide one asks for more judged pairs near it.
    pairs, positives : int
        Judged pairs, and those of them that are duplicates.
    """

    threshold: float
    f1: float
    precision: float
    recall: float
    f1_unseen: float | None
    low: float
    high: float
    pairs: int
    positives: int

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True)
class SimilarityHistogram:
    """How similar each record is to its most similar other one.

    Attributes
    ----------
    edges : tuple of float
        Bounds of the bins, one more than there are bins.
    counts : tuple of int
        Records per bin.
    valley : float or None
        The emptiest place between the heap of near-copies at the top and the rest; None where there are not two heaps.
        A hint to look at, never applied.
    records : int
        Records looked at, a sample of large collections.
    sought_from : float
        Less similar others were not sought: records without a more similar one stand in the first bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    valley: float | None
    records: int
    sought_from: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the histogram as JSON-ready values."""
        return {**vars(self), "edges": list(self.edges), "counts": list(self.counts)}


def choose_threshold(
    similarities: npt.ArrayLike, labels: npt.ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> ThresholdChoice:
    """Return the threshold with the highest F1 on judged pairs, and how sure it is.

    Parameters
    ----------
    similarities : array-like of shape (n,), float
        Finite.
    labels : array-like of shape (n,), bool
        Whether the pair is a duplicate; at least one of each kind.
    resamples : int, default 1000
        Draws of the bootstrap. Fewer than 200 make the interval shaky.
    seed : int, default 0
        Of the bootstrap.

    Returns
    -------
    ThresholdChoice
        Of thresholds with equal F1, the highest.

    Raises
    ------
    InputError
        All pairs judged alike, NaN, or arrays of different lengths.

    Examples
    --------
    >>> found = choose_threshold([0.95, 0.9, 0.8, 0.6], [True, True, False, False])
    >>> round(found.threshold, 2), found.f1
    (0.85, 1.0)
    """
    scores, truth = np.asarray(similarities, dtype=np.float64), np.asarray(labels, dtype=bool)
    check_count(resamples, name="resamples")
    if scores.ndim != 1 or scores.shape != truth.shape or not np.isfinite(scores).all():
        raise InputError(
            message("similarities and labels that do not fit", "finite numbers and as many labels", "check the pairs")
        )
    if truth.all() or not truth.any():
        kind = "duplicates" if len(truth) and truth.all() else "no duplicates"
        raise InputError(
            message(f"{len(truth)} judged pairs, all of them {kind}", "some of both kinds", "judge pairs of both kinds")
        )
    threshold = _best(scores, truth)
    f1, precision, recall = _figures(scores, truth, threshold)
    rng = np.random.default_rng(seed)
    chosen: list[float] = []
    unseen: list[float] = []
    for _ in range(resamples):
        drawn = rng.integers(len(scores), size=len(scores))
        if truth[drawn].all() or not truth[drawn].any():
            continue
        chosen.append(_best(scores[drawn], truth[drawn]))
        left = np.setdiff1d(np.arange(len(scores)), drawn)
        if truth[left].any():
            unseen.append(_figures(scores[left], truth[left], chosen[-1])[0])
    low, high = np.percentile(chosen, [2.5, 97.5]) if chosen else (threshold, threshold)
    return ThresholdChoice(
        threshold, f1, precision, recall, float(np.mean(unseen)) if unseen else None, float(low), float(high),
        len(truth), int(truth.sum()),
    )  # fmt: skip


def _best(scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_]) -> float:
    order = np.argsort(-scores, kind="stable")
    ranked, right = scores[order], np.cumsum(truth[order])
    # A cut lies below the last of equal similarities only.
    cuts = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], True))
    f1 = 2 * right[cuts] / (cuts + 1 + truth.sum())
    cut = int(cuts[np.argmax(f1)])
    return float(ranked[cut] if cut + 1 == len(ranked) else (ranked[cut] + ranked[cut + 1]) / 2)


def _figures(
    scores: npt.NDArray[np.float64], truth: npt.NDArray[np.bool_], threshold: float
) -> tuple[float, float, float]:
    accepted = scores >= threshold
    right = int((accepted & truth).sum())
    precision = right / int(accepted.sum()) if accepted.any() else 1.0
    recall = right / int(truth.sum())
    return 2 * right / int(accepted.sum() + truth.sum()), precision, recall


def make_histogram(similarities: npt.NDArray[np.float64], *, sought_from: float = 0.0) -> SimilarityHistogram:
    """Return the histogram of similarities from 0 to 1, and the valley below the near-copies.

    Parameters
    ----------
    similarities : ndarray of shape (n,), float64
        Each record's similarity to its nearest other; below 0 counts as 0.
    sought_from : float, default 0.0
        Where less similar others were not sought.

    Returns
    -------
    SimilarityHistogram
        40 bins.

    Examples
    --------
    >>> import numpy as np
    >>> make_histogram(np.repeat([0.31, 0.35, 0.99], [40, 60, 20])).valley
    0.6625
    """
    counts, edges = np.histogram(np.clip(similarities, 0.0, 1.0), bins=_BINS, range=(0.0, 1.0))
    valley, looked_at = _valley(counts, edges), len(similarities)
    return SimilarityHistogram(tuple(edges.tolist()), tuple(counts.tolist()), valley, looked_at, sought_from)


def _valley(counts: npt.NDArray[np.int64], edges: npt.NDArray[np.float64]) -> float | None:
    top = _BINS - 1 - int(np.argmax(counts[: _BINS - 5 : -1]))
    rest = int(np.argmax(counts[: _BINS - 6]))
    between = counts[rest + 1 : top]
    if not len(between) or not counts[top] or not counts[rest]:
        return None
    lowest = int(between.min())
    # Two heaps with no more than a dent between them are one heap.
    if 2 * lowest >= min(counts[top], counts[rest]):
        return None
    places = np.flatnonzero(between == lowest) + rest + 1
    return float((edges[places] + edges[places + 1]).mean() / 2)
