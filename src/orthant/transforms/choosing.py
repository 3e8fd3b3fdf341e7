"""How many dimensions a search needs: the recall that reduced vectors allow at best, measured on a sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message, warn
from orthant.kernels.distances import norms, row_scale, tile_scores
from orthant.kernels.topk import top_k
from orthant.measures.neighbours import recall_per_query
from orthant.transforms.moments import SecondMoments, leading_directions
from orthant.types import FloatArray, IdArray, Metric
from orthant.validate import as_vectors, check_count, check_fraction, check_metric

__all__ = ["choose_dim", "recall_ceiling", "resolve_dim"]

_SAMPLE_ROWS = 20_000
_SAMPLE_QUERIES = 256


def choose_dim(
    X: npt.ArrayLike,
    *,
    queries: npt.ArrayLike | None = None,
    metric: Metric = "cosine",
    k: int = 10,
    depth: int = 50,
    target: float = 0.995,
    multiple: int = 32,
    maximum: int = 192,
    seed: int = 0,
) -> int:
    """Choose the smallest number of dimensions whose best candidates still hold the true neighbours.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Database vectors; at most 20,000 are sampled.
    queries : array-like of shape (q, d), optional
        Real queries, of which at most 256 are used. Left out, rows held out of X, which is optimistic where queries
        are distributed unlike the data.
    metric : {"dot", "cosine", "l2"}, default "cosine"
        The score.
    k : int, default 10
        True neighbours looked for.
    depth : int, default 50
        Candidates that are re-ranked; more allows fewer dimensions and makes each search dearer.
    target : float, default 0.995
        Share of true neighbours among the candidates, from 0 to 1. Higher costs dimensions.
    multiple : int, default 32
        Only multiples of it are tried, which suits the kernels.
    maximum : int, default 192
        Largest answer, given where none reaches the target.
    seed : int, default 0
        Of the sample.

    Returns
    -------
    int
        Dimensions, never more than d. d itself where the sample is too small to tell.

    Raises
    ------
    InputError
        No vectors, or settings out of range.

    Notes
    -----
    A sample is easier to search than the whole, so the ceiling is a little high; re-ranking depth makes up for it.
    Cost: O(n d^2) on the sample for the directions, then one product of queries and rows for each size tried.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> flat = rng.standard_normal((3000, 20)) @ rng.standard_normal((20, 128))
    >>> choose_dim(flat)
    32
    """
    check_metric(metric)
    for name, value in (("k", k), ("depth", depth), ("multiple", multiple), ("maximum", maximum)):
        check_count(value, name=name)
    target = check_fraction(target, name="target")
    matrix = as_vectors(X, nonzero=metric == "cosine")
    if not len(matrix):
        raise InputError(message("0 vectors to choose from", "at least one", "pass a sample of your vectors"))
    base, probes = _sample(matrix, queries, metric, seed)
    dim = matrix.shape[1]
    sizes = list(range(multiple, min(maximum, dim - 1) + 1, multiple))
    if not sizes or len(base) <= depth or not len(probes):
        return dim if dim <= maximum or not sizes else sizes[-1]
    moments = SecondMoments(dim)
    moments.update(base)
    # Euclidean distances survive a shift, inner products do not.
    centred = metric == "l2"
    directions, _ = leading_directions(moments.matrix(centred=centred))
    rotation = directions[: sizes[-1]].astype(np.float32)
    truth = _nearest(probes, base, metric, k)
    turned_base, turned_probes = base @ rotation.T, probes @ rotation.T
    for size in sizes:
        found = _nearest(_first(turned_probes, size), _first(turned_base, size), metric, max(depth, k))
        if recall_ceiling(found, truth) >= target:
            return size
    return dim if dim <= maximum else sizes[-1]


def _first(X: FloatArray, size: int) -> FloatArray:
    return np.ascontiguousarray(X[:, :size])


def _sample(X: FloatArray, queries: npt.ArrayLike | None, metric: Metric, seed: int) -> tuple[FloatArray, FloatArray]:
    order = np.random.default_rng(seed).permutation(len(X))
    if queries is None:
        held = min(_SAMPLE_QUERIES, len(X) // 4)
        base, probes = X[np.sort(order[held : held + _SAMPLE_ROWS])], X[order[:held]]
    else:
        given = as_vectors(queries, dim=X.shape[1], name="queries", nonzero=metric == "cosine")
        picked = np.random.default_rng(seed).permutation(len(given))[:_SAMPLE_QUERIES]
        base, probes = X[np.sort(order[:_SAMPLE_ROWS])], given[np.sort(picked)]
    if metric == "cosine":
        base, probes = (np.float32(1) / norms(part)[:, None].astype(np.float32) * part for part in (base, probes))
    return base, probes


def _nearest(Q: FloatArray, X: FloatArray, metric: Metric, k: int) -> IdArray:
    # Rows have unit length where cosines count, so the reduced score is the dot product that a graph would use.
    score: Metric = "l2" if metric == "l2" else "dot"
    return top_k(tile_scores(Q, X, row_scale(norms(X), score), score), k)[0]


def recall_ceiling(found: IdArray, truth: IdArray) -> float:
    """Return the share of true neighbours among the candidates of each query, which re-ranking cannot exceed.

    Parameters
    ----------
    found : ndarray of shape (q, depth), int64
        Candidates.
    truth : ndarray of shape (q, k), int64
        Exact neighbours, -1 where there is none.

    Returns
    -------
    float
        Mean over queries, from 0 to 1.
    """
    depth, k = found.shape[1], truth.shape[1]
    padded = np.full((len(truth), max(depth, k)), -1, dtype=np.int64)
    padded[:, :k] = truth
    return float(np.nanmean(recall_per_query(found, padded)))


def resolve_dim(dim: int | None, *, available: int, energies: npt.NDArray[np.float64], name: str) -> int:
    """Check a wanted dimension against what the data have.

    Parameters
    ----------
    dim : int
        Wanted.
    available : int
        Dimension of the data.
    energies : ndarray of shape (available,), float64
        Eigenvalues, largest first.
    name : str
        Class that asks, for the messages.

    Returns
    -------
    int
        The dimension.

    Raises
    ------
    InputError
        More than the data have, or not a count.

    Warns
    -----
    UserWarning
        More than the numerical rank: the surplus directions are arbitrary and carry nothing.
    """
    wanted = check_count(dim, name="dim")
    if wanted > available:
        raise InputError(message(f"dim={wanted}", f"at most {available}, the vectors' own", "choose a smaller dim"))
    rank = int((energies > energies[0] * available * np.finfo(np.float32).eps ** 2).sum()) if energies[0] > 0 else 0
    if wanted > rank:
        warn(
            f"{name}(dim={wanted}): the vectors span only {rank} dimensions; the other directions carry nothing. "
            f"Choose dim={max(1, rank)} or fit on more vectors."
        )
    return wanted
