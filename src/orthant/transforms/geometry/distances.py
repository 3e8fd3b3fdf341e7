"""How far labels are apart: by a graph, on a ring, by vectors; and whether that is a metric at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, InputError, NonFiniteError, message
from orthant.kernels.distances import norms
from orthant.validate import as_vectors, check_count

__all__ = [
    "check_label_metric",
    "graph_label_distances",
    "mean_squared_label_distance",
    "ring_label_distances",
    "vector_label_distances",
]

Floats = npt.NDArray[np.float64]

_EXACT_LABELS = 400
_PIVOTS = 200
_WITHOUT_METRIC = "do without a metric (require_metric=False; triangle=False for the check alone)"


def check_label_metric(distances: npt.ArrayLike, *, triangle: bool = True, tolerance: float = 1e-6) -> Floats:
    """Return distances between labels as a matrix, or say which labels make them no metric.

    Parameters
    ----------
    distances : array-like of shape (N, N)
        From every label to every label.
    triangle : bool, default True
        Refuse detours that are shorter than the direct way, and different labels at one place, between which nothing
        can decide. False for costs that need not be a metric, such as squared distances; the rule that uses them then
        has no geometry behind it.
    tolerance : float, default 1e-6
        What is still taken for equal, as a share of the largest distance. Too small refuses rounding.

    Returns
    -------
    ndarray of shape (N, N), float64
        A symmetric copy with zeros on the diagonal.

    Raises
    ------
    DimensionError
        Not square, or empty.
    NonFiniteError
        NaN, or infinity as between parts of a graph that do not touch.
    InputError
        Negative entries, a diagonal that is not zero, no symmetry, labels that are 0 apart, or a shorter detour; the
        text names the labels.

    Notes
    -----
    ``d(i, j) <= d(i, k) + d(k, j)`` is tried with every k up to 400 labels, and with 200 of them, drawn with a fixed
    seed, beyond: a few bad entries among very many labels may then pass. Cost O(N^3), beyond 400 labels O(200 N^2).

    Examples
    --------
    >>> check_label_metric([[0, 1, 2], [1, 0, 1], [2, 1, 0]]).shape
    (3, 3)
    >>> check_label_metric([[0, 1, 9], [1, 0, 1], [9, 1, 0]])
    Traceback (most recent call last):
    ...
    orthant.errors.InputError: ...
    """
    D = np.array(distances, dtype=np.float64)
    if D.ndim != 2 or D.shape[0] != D.shape[1] or not len(D):
        raise DimensionError(message(f"distances of shape {D.shape}", "(N, N) for N labels", "pass a square matrix"))
    _refuse_values(D)
    slack = tolerance * max(1.0, float(D.max()))
    if (np.abs(np.diag(D)) > slack).any():
        i = int(np.abs(np.diag(D)).argmax())
        raise InputError(message(f"a distance of {D[i, i]:g} from label {i} to itself", "0", "set the diagonal to 0"))
    if (np.abs(D - D.T) > slack).any():
        i, j = divmod(int(np.abs(D - D.T).argmax()), len(D))
        raise InputError(
            message(
                f"{D[i, j]:g} from label {i} to {j} and {D[j, i]:g} back", "the same both ways", "use (D + D.T) / 2"
            )
        )
    D = (D + D.T) / 2
    np.fill_diagonal(D, 0.0)
    if triangle:
        refuse_twins(D, np.arange(len(D)), tolerance)
        _check_triangle(D, slack)
    return D


def refuse_twins(D: Floats, numbers: npt.NDArray[np.int64], tolerance: float = 1e-6) -> None:
    """Raise where two different labels are at one place.

    Parameters
    ----------
    D : ndarray of shape (K, N), float64
        Distances, 0 or more.
    numbers : ndarray of shape (K,), int64
        Which of the N labels the rows are.
    tolerance : float, default 1e-6
        What is still taken for 0, as a share of the largest distance.

    Raises
    ------
    InputError
        Names the first two.
    """
    same = float(D.max()) * tolerance >= D
    same[np.arange(len(D)), numbers] = False
    if same.any():
        i, j = divmod(int(same.argmax()), D.shape[1])
        given = f"a distance of 0 between labels {numbers[i]} and {j}"
        raise InputError(
            message(given, "labels apart, between which can be decided", f"make them one label, or {_WITHOUT_METRIC}")
        )


def graph_label_distances(
    edges: npt.ArrayLike, n: int | None = None, *, weights: npt.ArrayLike | None = None
) -> Floats:
    """Return the lengths of shortest paths between labels, as in a taxonomy.

    Parameters
    ----------
    edges : array-like of shape (m, 2), int
        Pairs of labels, by number, such as (child, parent); direction does not matter.
    n : int, optional
        Labels in all; left out, one more than the largest number.
    weights : array-like of shape (m,), optional
        Lengths of the edges, above 0; left out, 1 each, so that distances count hops.

    Returns
    -------
    ndarray of shape (n, n), float64
        A metric.

    Raises
    ------
    InputError
        Numbers out of range, lengths that are not above 0, or labels that no path joins.

    Notes
    -----
    Dijkstra's algorithm from every label. Cost O(n (m + n log n)) and n^2 numbers.

    Examples
    --------
    >>> graph_label_distances([(1, 0), (2, 0), (3, 1)]).tolist()[3]
    [2.0, 1.0, 3.0, 0.0]
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import shortest_path

    pairs = np.asarray(edges)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu" or not len(pairs):
        raise DimensionError(
            message(f"edges of shape {pairs.shape} and dtype {pairs.dtype}", "(m, 2) integers", "pass pairs of labels")
        )
    count = int(pairs.max()) + 1 if n is None else check_count(n, name="n")
    if int(pairs.min()) < 0 or int(pairs.max()) >= count:
        raise InputError(message(f"labels from {pairs.min()} to {pairs.max()}", f"0 to {count - 1}", "raise n"))
    lengths = np.ones(len(pairs)) if weights is None else np.asarray(weights, dtype=np.float64)
    if lengths.shape != (len(pairs),) or not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InputError(
            message(f"weights of shape {lengths.shape}", f"{len(pairs)} finite numbers above 0", "give one per edge")
        )
    # Repeated edges would be added up by the matrix: the shortest of them counts.
    order = np.argsort(-lengths, kind="stable")
    low, high = np.sort(pairs[order], axis=1).T
    keyed = dict(zip(zip(low.tolist(), high.tolist(), strict=True), lengths[order].tolist(), strict=True))
    rows, columns = np.array(list(keyed)).T
    graph = coo_matrix((list(keyed.values()), (rows, columns)), shape=(count, count)).tocsr()
    D: Floats = shortest_path(graph, method="D", directed=False)
    if not np.isfinite(D).all():
        lost = int(np.flatnonzero(~np.isfinite(D[0]))[0])
        raise InputError(
            message(f"no path from label 0 to label {lost}", "one connected graph", "join the parts, at a root say")
        )
    return D


def ring_label_distances(n: int, *, length: float | None = None) -> Floats:
    """Return the distances of labels that stand evenly on a ring, such as hours or angles.

    Parameters
    ----------
    n : int
        Labels, at least 2.
    length : float, optional
        Once around; left out, n, so that neighbours are 1 apart.

    Returns
    -------
    ndarray of shape (n, n), float64
        The shorter way around.

    Raises
    ------
    InputError
        n below 2, or a length that is not above 0.

    Examples
    --------
    >>> ring_label_distances(4)[0].tolist()
    [0.0, 1.0, 2.0, 1.0]
    """
    n = check_count(n, name="n", minimum=2)
    if length is not None and not 0 < length < np.inf:
        raise InputError(message(f"length={length!r}", "a finite number above 0", "leave it out for hops"))
    steps = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    return np.minimum(steps, n - steps) * (1.0 if length is None else length / n)


def vector_label_distances(vectors: npt.ArrayLike) -> Floats:
    """Return the distances between embeddings of labels, each brought to length 1.

    Use it where there is no taxonomy: names or definitions of the labels, encoded as texts.

    Parameters
    ----------
    vectors : array-like of shape (N, d)
        One per label, none of length 0.

    Returns
    -------
    ndarray of shape (N, N), float64
        Euclidean distances, from 0 to 2.

    Raises
    ------
    InputError
        NaN, infinity or a row of zeros.

    Examples
    --------
    >>> vector_label_distances([[1, 0], [0, 3]]).round(3).tolist()
    [[0.0, 1.414], [1.414, 0.0]]
    """
    rows = as_vectors(vectors, name="vectors of labels", nonzero=True).astype(np.float64)
    unit = rows / norms(rows.astype(np.float32))[:, None]
    D = np.sqrt(np.maximum(2 - 2 * (unit @ unit.T), 0.0))
    np.fill_diagonal(D, 0.0)
    return (D + D.T) / 2


def mean_squared_label_distance(truth: npt.ArrayLike, predicted: npt.ArrayLike, distances: npt.ArrayLike) -> float:
    """Return how far predicted labels are from the true ones, squared, on average.

    Parameters
    ----------
    truth, predicted : array-like of shape (n,), int
        Labels by number.
    distances : array-like of shape (N, N)
        Between all labels.

    Returns
    -------
    float
        0 where all are right; in squared units of the distances, which say nothing without them.

    Raises
    ------
    InputError
        Different lengths, no items, or labels without a distance.

    Examples
    --------
    >>> mean_squared_label_distance([0, 1], [2, 1], [[0, 1, 2], [1, 0, 1], [2, 1, 0]])
    2.0
    """
    D = check_label_metric(distances, triangle=False)
    sides = [np.asarray(side) for side in (truth, predicted)]
    for side, name in zip(sides, ("truth", "predicted"), strict=True):
        if side.ndim != 1 or not len(side) or len(side) != len(sides[0]) or side.dtype.kind not in "iu":
            raise DimensionError(
                message(f"{name} of shape {side.shape} and dtype {side.dtype}", "one number per item", "pass numbers")
            )
        if int(side.min()) < 0 or int(side.max()) >= len(D):
            raise InputError(message(f"label {int(side.max())} in {name}", f"0 to {len(D) - 1}", "correct it"))
    return float((D[sides[0], sides[1]] ** 2).mean())


def _refuse_values(D: Floats) -> None:
    if not np.isfinite(D).all():
        i, j = np.argwhere(~np.isfinite(D))[0]
        raise NonFiniteError(
            message(
                f"a distance of {D[i, j]} from label {i} to {j}",
                "finite numbers",
                "join the parts of the graph, or leave such labels out",
            )
        )
    if (D < 0).any():
        i, j = np.argwhere(D < 0)[0]
        raise InputError(message(f"a distance of {D[i, j]:g} from label {i} to {j}", "0 or more", "correct it"))


def _check_triangle(D: Floats, slack: float) -> None:
    n = len(D)
    pivots = np.arange(n) if n <= _EXACT_LABELS else np.random.default_rng(0).choice(n, _PIVOTS, replace=False)
    for k in pivots:
        over = D - (D[:, k, None] + D[k])
        if float(over.max()) > slack:
            i, j = np.unravel_index(int(over.argmax()), over.shape)
            raise InputError(
                message(
                    f"{D[i, j]:g} from label {i} to {j}, and {D[i, k]:g} + {D[k, j]:g} by way of label {k}",
                    "a metric: no detour shorter than the direct way",
                    f"take shortest paths (graph_label_distances), the root of squared distances, or {_WITHOUT_METRIC}",
                )
            )
