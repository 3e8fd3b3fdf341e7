"""Which labels can be answered when only some are observed, and which to observe next."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.kernels.distances import row_chunks
from orthant.transforms.geometry.distances import check_label_metric
from orthant.types import IdArray
from orthant.validate import check_count

__all__ = ["choose_observed", "label_locus", "next_observed"]

Floats = npt.NDArray[np.float64]

_GRID = 33


def label_locus(
    distances: npt.ArrayLike,
    observed: Sequence[int],
    *,
    exponent: int = 2,
    samples: int = 4096,
    ties: bool = False,
    seed: int = 0,
) -> IdArray:
    """Return which labels some probabilities over the observed ones lead to.

    Parameters
    ----------
    distances : array-like of shape (N, N)
        A metric between all labels.
    observed : sequence of int
        Labels that the classifier knows.
    exponent : {1, 2}, default 2
        Of the distances, as for the predictor.
    samples : int, default 4096
        Random probabilities tried beside those on every pair of observed labels. Too few miss labels that need three
        or more observed ones.
    ties : bool, default False
        Count labels that are never the only best one as well; a predictor does not return those.
    seed : int, default 0
        Of the samples.

    Returns
    -------
    ndarray of int64
        Numbers of shape (m,), sorted. An estimate from below, except on trees, where it is exact up to 33 hops between
        observed labels.

    Raises
    ------
    InputError
        Distances that are no metric, or labels out of range.

    Notes
    -----
    On a tree it is the union of the paths between observed labels. Cost O((K^2 32 + samples) K N).

    References
    ----------
    Geometry-Aware Adaptation for Pretrained Models. NeurIPS 2023, arXiv 2307.12226, section 4.

    Examples
    --------
    >>> line = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    >>> label_locus(line, [0, 3]).tolist()
    [0, 1, 2, 3]
    """
    check_count(exponent, name="exponent", maximum=2)
    D = check_label_metric(distances)
    chosen = _observed(observed, len(D))
    costs = D[chosen] ** exponent
    K = len(chosen)
    found = np.zeros(len(D), dtype=bool)
    found[chosen] = True
    rng = np.random.default_rng(seed)
    # An uneven grid: at halves and thirds whole sets of labels tie.
    steps = (np.arange(1, _GRID) + 0.37) / (_GRID + 1)
    first, second = np.triu_indices(K, 1)
    for start, stop in row_chunks(len(first), _GRID * (K + 2 * len(D)) * 8):
        P = np.zeros((stop - start, len(steps), K))
        pairs = np.arange(stop - start)
        P[pairs, :, first[start:stop]] = steps
        P[pairs, :, second[start:stop]] = 1 - steps
        _mark(found, P.reshape(-1, K) @ costs, ties)
    for start, stop in row_chunks(check_count(samples, name="samples", minimum=0), (K + 2 * len(D)) * 8):
        # Sparse to even probabilities, as classifiers give both.
        alpha = 10 ** rng.uniform(-1.5, 0.5, size=(stop - start, 1))
        raw = rng.gamma(alpha, size=(stop - start, K)) + 1e-300
        _mark(found, raw / raw.sum(axis=1, keepdims=True) @ costs, ties)
    return np.flatnonzero(found)


def next_observed(distances: npt.ArrayLike, observed: Sequence[int]) -> int | None:
    """Return which label to collect examples of next: the one farthest from all that can be reached already.

    Parameters
    ----------
    distances : array-like of shape (N, N)
        A metric between all labels; on a tree the choice is the best one, elsewhere a sensible one.
    observed : sequence of int
        Labels known so far; may be empty.

    Returns
    -------
    int or None
        Its number; None when every label can be reached.

    Raises
    ------
    InputError
        Distances that are no metric, or labels out of range.

    Notes
    -----
    Reached is what lies on a shortest path between two observed labels. Cost O(K^2 N).

    Examples
    --------
    >>> star = np.where(np.eye(4), 0, np.where(np.arange(4)[:, None] * np.arange(4) == 0, 1, 2))
    >>> next_observed(star, [1]), next_observed(star, [1, 2, 3])
    (2, None)
    """
    D = check_label_metric(distances)
    if not len(observed):
        # An end of the longest way is an end of the best first pair too.
        return int(np.unravel_index(int(D.argmax()), D.shape)[0])
    return _next(D, _observed(observed, len(D)))


def choose_observed(distances: npt.ArrayLike, count: int, *, observed: Sequence[int] = ()) -> IdArray:
    """Return labels to collect examples of, in the order of their worth.

    Parameters
    ----------
    distances : array-like of shape (N, N)
        A metric between all labels.
    count : int
        Labels wanted in all, at least 1; fewer come back when those reach every label.
    observed : sequence of int, default ()
        Labels that are known already and come first.

    Returns
    -------
    ndarray of int64
        Numbers of shape (m,), m at most ``count``.

    Raises
    ------
    InputError
        Distances that are no metric, or labels out of range.

    Examples
    --------
    >>> line = np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
    >>> choose_observed(line, 4).tolist()
    [0, 4]
    """
    D = check_label_metric(distances)
    out = _observed(observed, len(D)).tolist() if len(observed) else [next_observed(D, ())]
    for _ in range(check_count(count, name="count") - len(out)):
        found = _next(D, np.array(out))
        if found is None:
            break
        out.append(found)
    return np.array(out, dtype=np.int64)


def _next(D: Floats, chosen: IdArray) -> int | None:
    slack = 1e-9 * max(1.0, float(D.max()))
    reached = np.zeros(len(D), dtype=bool)
    reached[chosen] = True
    for row, a in enumerate(chosen):
        for b in chosen[row + 1 :]:
            reached |= D[a] + D[b] <= D[a, b] + slack
    if reached.all():
        return None
    return int(np.where(reached, -1.0, D[:, reached].min(axis=1)).argmax())


def _observed(observed: Sequence[int], n: int) -> IdArray:
    out = np.asarray(observed)
    if out.ndim != 1 or out.dtype.kind not in "iu" or not len(out) or int(out.min()) < 0 or int(out.max()) >= n:
        raise InputError(message(f"observed={observed!r}", f"numbers from 0 to {n - 1}", "name labels by number"))
    return np.unique(out).astype(np.int64)


def _mark(found: npt.NDArray[np.bool_], expected: Floats, ties: bool) -> None:
    best = expected.min(axis=1, keepdims=True)
    good = expected <= best + 1e-9 * np.maximum(1.0, best)
    if not ties:
        good = good[good.sum(axis=1) == 1]
    found |= good.any(axis=0)
