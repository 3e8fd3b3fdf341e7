"""The free-vector experiment: how many documents gradient descent can serve, with no text and no encoder in the way.

Vectors of queries and documents are parameters. What is found is an upper limit for what training a text encoder by the
same loss can reach, and a lower limit for what vectors of that length can represent.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

from orthant.errors import InputError, message
from orthant.types import FloatArray
from orthant.validate import check_count

__all__ = ["CriticalN", "FreeVectors", "critical_n", "fit_free_vectors"]

_TEMPERATURE = 0.1
_RATE = 0.01
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_CHECK_EVERY = 50
_PATIENCE = 1000
_LEAST_GAIN = 1e-5
_MOST_ELEMENTS = 200_000_000
_SWEEP_BELOW, _SWEEP_ABOVE = 4, 5


@dataclass(frozen=True)
class FreeVectors:
    """Vectors that gradient descent found.

    Attributes
    ----------
    queries : ndarray of shape (m, dim), float32
        One unit vector per set of k documents, in lexicographic order of the sets.
    documents : ndarray of shape (n, dim), float32
        One unit vector per document.
    accuracy : float
        Share of the queries whose k best are exactly their set; 1.0 is a certificate.
    steps : int
        Steps taken.
    """

    queries: FloatArray
    documents: FloatArray
    accuracy: float
    steps: int


@dataclass(frozen=True)
class CriticalN:
    """Most documents that were served completely.

    Attributes
    ----------
    dim, k : int
        Dimensions, and documents per query.
    documents : int
        The critical number; ``k``, which needs no telling apart, where not even one more was served.
    tried : dict of int to float
        Best accuracy over the seeds, for every number of documents that was tried.
    """

    dim: int
    k: int
    documents: int
    tried: dict[int, float]


def fit_free_vectors(
    n: int, dim: int, *, k: int = 2, seed: int = 0, max_steps: int = 100_000, normalize: bool = True
) -> FreeVectors:
    """Search unit vectors such that every set of k out of n documents is some query's best k.

    Parameters
    ----------
    n : int
        Documents, more than ``k``.
    dim : int
        Dimensions, from 1.
    k : int, default 2
        Documents per query.
    seed : int, default 0
        Of the start.
    max_steps : int, default 100000
        Steps at most; it stops earlier when all is served, or when the loss no longer falls.
    normalize : bool, default True
        Bring vectors back to unit length after every step, as the experiment demands; False shows what that does.

    Returns
    -------
    FreeVectors
        What was found, and how much of it is right.

    Raises
    ------
    InputError
        ``k`` not below ``n``, or more queries times documents than 200 million.

    Notes
    -----
    Full batches of Adam (rate 0.01) on the mean of ``-log softmax(q . d / 0.1)`` over all relevant pairs. Cost per
    step: O(C(n, k) n dim) multiplications.

    References
    ----------
    O. Weller, M. Boratko, I. Naim, J. Lee: On the Theoretical Limitations of Embedding-Based Retrieval,
    arXiv:2508.21038, section 4. D. Kingma, J. Ba: Adam, arXiv:1412.6980, algorithm 1.

    Examples
    --------
    >>> fit_free_vectors(5, 4).accuracy
    1.0
    """
    n, dim = check_count(n, name="n", minimum=2), check_count(dim, name="dim")
    if check_count(k, name="k") >= n:
        raise InputError(message(f"k={k} of n={n} documents", "k below n", "lower k or raise n"))
    if comb(n, k) * n > _MOST_ELEMENTS:
        given = f"{comb(n, k):,} queries times {n:,} documents"
        raise InputError(message(given, f"at most {_MOST_ELEMENTS:,} scores at once", "lower n or k"))
    sets = np.array(list(combinations(range(n), k)))
    relevant = np.zeros((len(sets), n), dtype=np.float32)
    np.put_along_axis(relevant, sets, 1.0, axis=1)
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((rows, dim)).astype(np.float32) for rows in (len(sets), n)]
    for matrix in weights:
        _to_unit(matrix)
    accuracy, steps = _descend(weights, relevant, k, max_steps, normalize)
    return FreeVectors(weights[0], weights[1], accuracy, steps)


def _descend(
    weights: list[FloatArray], relevant: FloatArray, k: int, max_steps: int, normalize: bool
) -> tuple[float, int]:
    means, squares = ([np.zeros_like(w) for w in weights] for _ in range(2))
    best, since, accuracy = np.inf, 0, 0.0
    for step in range(1, max_steps + 1):
        loss, gradients = _loss(weights[0], weights[1], relevant, k)
        for w, gradient, mean, square in zip(weights, gradients, means, squares, strict=True):
            mean += (1 - _BETAS[0]) * (gradient - mean)
            square += (1 - _BETAS[1]) * (gradient * gradient - square)
            corrected = np.sqrt(square / (1 - _BETAS[1] ** step)) + _EPSILON
            w -= _RATE * (mean / (1 - _BETAS[0] ** step)) / corrected
            if normalize:
                _to_unit(w)
        best, since = (loss, 0) if loss < best - _LEAST_GAIN else (best, since + 1)
        stopped = since >= _PATIENCE or step == max_steps
        if step % _CHECK_EVERY == 0 or stopped:
            accuracy = _accuracy(weights[0] @ weights[1].T, relevant)
            if accuracy == 1.0 or stopped:
                return accuracy, step
    return accuracy, max_steps


def _to_unit(matrix: FloatArray) -> None:
    matrix /= np.sqrt(np.einsum("ij,ij->i", matrix, matrix))[:, None]


def _loss(Q: FloatArray, D: FloatArray, relevant: FloatArray, k: int) -> tuple[float, tuple[FloatArray, FloatArray]]:
    scores = Q @ D.T
    scores *= np.float32(1 / _TEMPERATURE)
    # Scores of unit vectors are at most 10, so their exponentials need no shift; longer vectors do.
    top = scores.max(axis=1, keepdims=True)
    shares = np.exp(scores - top)
    total = shares.sum(axis=1, keepdims=True)
    positive = float(np.einsum("ij,ij->", scores, relevant))
    loss = float(k * (top + np.log(total)).sum() - positive) / (k * len(Q))
    shares *= k / total
    shares -= relevant
    shares *= np.float32(1 / (_TEMPERATURE * k * len(Q)))
    return loss, (shares @ D, shares.T @ Q)


def _accuracy(scores: FloatArray, relevant: FloatArray) -> float:
    """Share of the rows where every relevant score is strictly above all others; a tie is wrong."""
    worst = np.where(relevant > 0, scores, np.inf).min(axis=1)
    best = np.where(relevant > 0, -np.inf, scores).max(axis=1)
    return float(np.mean(worst > best))


def critical_n(
    dim: int, *, k: int = 2, start: int | None = None, seeds: tuple[int, ...] = (0, 1), max_steps: int = 100_000
) -> CriticalN:
    """Find the most documents of which gradient descent can serve every set of k in given dimensions.

    Parameters
    ----------
    dim : int
        Dimensions, from 2. Cost grows steeply; 10 takes seconds, 45 hours.
    k : int, default 2
        Documents per query.
    start : int, optional
        Where the search begins; default the published curve.
    seeds : tuple of int, default (0, 1)
        Starts that are tried; one that serves everything is enough. Fewer find smaller numbers.
    max_steps : int, default 100000
        Steps per start at most.

    Returns
    -------
    CriticalN
        The number, and the accuracy at every number tried.

    Raises
    ------
    InputError
        ``dim`` below 2, no seed, or a size that does not fit in memory.

    Notes
    -----
    Steps that double while all is served (or while it is not) bracket the number, halving finds an edge, and a sweep
    from four below to five above it guards against an unlucky start.

    References
    ----------
    As in `fit_free_vectors`.

    Examples
    --------
    >>> critical_n(3, seeds=(0,), max_steps=1000).documents
    4
    """
    from orthant.measures.capacity import capacity_bound

    dim = check_count(dim, name="dim", minimum=2)
    if not seeds:
        raise InputError(message("no seeds", "at least one", "pass seeds=(0, 1)"))
    tried: dict[int, float] = {}

    def solved(n: int) -> bool:
        if n not in tried:
            tried[n] = 0.0
            for seed in seeds:
                tried[n] = max(tried[n], fit_free_vectors(n, dim, k=k, seed=seed, max_steps=max_steps).accuracy)
                if tried[n] == 1.0:
                    break
        return tried[n] == 1.0

    # With k + 1 documents every query leaves one out, which two dimensions can do.
    low = k + 1
    at, step = max(low, capacity_bound(dim).documents if start is None else check_count(start, name="start")), 1
    if solved(at):
        while solved(at + step):
            at, step = at + step, 2 * step
        low, high = at, at + step
    else:
        while at - step > low and not solved(at - step):
            at, step = at - step, 2 * step
        low, high = max(low, at - step), at
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if solved(middle) else (low, middle)
    served = [n for n in range(max(k + 1, low - _SWEEP_BELOW), low + _SWEEP_ABOVE + 1) if solved(n)]
    return CriticalN(dim, k, max(served, default=k), dict(sorted(tried.items())))
