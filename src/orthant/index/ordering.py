"""In which order points enter a graph: as given, shuffled, by local dimension, category by category, or as you say.

A graph index grows point by point, so its links depend on the order. Studies of other engines report several points of
recall between orders on some data and nothing on other data; measure yours with `orthant.evaluation.ann_study`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, DtypeError, InputError, message
from orthant.index.flat import Flat
from orthant.measures.intrinsic import local_dimension
from orthant.types import FloatArray, IdArray, Metric
from orthant.validate import as_vectors, check_choice, check_count, check_metric

__all__ = ["ORDERS", "Order", "check_permutation", "insertion_order", "local_dimensions"]

Order = Literal["given", "random", "lid-descending", "lid-ascending", "category"]
ORDERS: tuple[Order, ...] = get_args(Order)

_REFERENCE = 20_000
_NEIGHBOURS = 100
_BLOCK_ROWS = 2048


def insertion_order(
    X: npt.ArrayLike,
    order: Order | npt.ArrayLike = "random",
    *,
    metric: Metric = "cosine",
    categories: Sequence[Any] | npt.ArrayLike | None = None,
    seed: int = 0,
    k: int = _NEIGHBOURS,
    reference: int = _REFERENCE,
) -> IdArray:
    """Return the order in which the rows of X should be inserted into a graph.

    ``"random"`` protects against sorted input and is the sensible default. The orders by local dimension need a scan;
    they are for comparison, since which of them helps depends on the data.

    Parameters
    ----------
    X : array-like of shape (n, d)
        The vectors.
    order : str or array-like of shape (n,), int, default "random"
        ``"given"`` keeps the order; ``"random"`` shuffles; ``"lid-descending"`` puts points of high local dimension
        first, ``"lid-ascending"`` last; ``"category"`` goes category by category, in a shuffled order of categories,
        and keeps the given order within each; an array is taken as it is, once checked.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        For the orders by local dimension: under cosine, distances are those of the unit vectors.
    categories : sequence of shape (n,), optional
        One label per row, of one comparable type; needed by ``"category"`` and refused by all others.
    seed : int, default 0
        Of the shuffle, of the order of categories and of the reference rows.
    k : int, default 100
        Neighbours for the local dimension, at least 2. Below 20 the estimate is noisy, far above 100 not local.
    reference : int, default 20000
        Rows among which neighbours are sought. Fewer is faster and less local.

    Returns
    -------
    ndarray of shape (n,), int64
        A permutation of the rows.

    Raises
    ------
    InputError
        An unknown order, an array that is no permutation, or categories that are missing or have no effect.
    DimensionError, DtypeError, NonFiniteError
        X, categories or an array of another form.

    Notes
    -----
    Points whose local dimension is infinite count as the highest; those without one (too many duplicates) come last
    in both orders. Equal values keep their given order. Cost: O(n) but for the orders by local dimension, which
    compare every row with ``reference`` rows.

    References
    ----------
    The Impacts of Data, Ordering, and Intrinsic Dimensionality on Recall in Hierarchical Navigable Small Worlds,
    arXiv:2405.17813, on orders by local intrinsic dimension.

    Examples
    --------
    >>> import numpy as np
    >>> insertion_order(np.eye(4), "given").tolist()
    [0, 1, 2, 3]
    >>> insertion_order(np.eye(4), "category", categories=["b", "a", "b", "a"], seed=1).tolist()
    [1, 3, 0, 2]
    """
    matrix = as_vectors(X, nonzero=check_metric(metric) == "cosine")
    n = len(matrix)
    seed = check_count(seed, name="seed", minimum=0)
    if not isinstance(order, str):
        _refuse_categories(categories, "an explicit order")
        return check_permutation(order, n)
    name = check_choice(order, ORDERS, name="order")
    if name == "category":
        return _by_category(categories, n, seed)
    _refuse_categories(categories, f"order={name!r}")
    if name == "given":
        return np.arange(n, dtype=np.int64)
    if name == "random":
        return np.random.default_rng(seed).permutation(n).astype(np.int64)
    values = local_dimensions(matrix, metric=metric, k=k, reference=reference, seed=seed)
    keys = np.where(np.isnan(values), np.inf, -values if name == "lid-descending" else values)
    # Infinity is a value in one direction and "no value" in the other: the second key keeps them apart.
    return np.lexsort((np.arange(n), keys, np.isnan(values))).astype(np.int64)


def local_dimensions(
    X: npt.ArrayLike,
    queries: npt.ArrayLike | None = None,
    *,
    metric: Metric = "cosine",
    k: int = _NEIGHBOURS,
    reference: int | None = None,
    seed: int = 0,
) -> npt.NDArray[np.float64]:
    """Estimate the local intrinsic dimension at every row of X, or at queries among the rows of X, by exact search.

    Parameters
    ----------
    X : array-like of shape (n, d)
        The vectors among which neighbours are sought.
    queries : array-like of shape (q, d), optional
        Where to estimate; left out, at the rows of X themselves, each without itself.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Under cosine, distances are those of the unit vectors; otherwise Euclidean distances of the vectors as they are.
    k : int, default 100
        Neighbours, at least 2 and fewer than there are rows. Below 20 the estimate is noisy; far above, not local.
    reference : int, optional
        Search among so many rows, drawn at random, instead of all. More than there are means all.
    seed : int, default 0
        Of that draw.

    Returns
    -------
    ndarray of shape (n,) or (q,), float64
        As `orthant.measures.local_dimension`: NaN where fewer than two neighbours differ from the point, infinity
        where all distances are equal.

    Raises
    ------
    InputError
        ``k`` not below the number of rows searched, or a zero vector under cosine.
    DimensionError, DtypeError, NonFiniteError
        Arrays of another form.

    Notes
    -----
    Cost: O(q n d) multiplications in blocks of 2,048 queries.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.column_stack([np.ones(500), np.linspace(0, 1, 500)])
    >>> bool(abs(np.median(local_dimensions(line, metric="l2", k=50)) - 1) < 0.2)
    True
    """
    cosine = check_metric(metric) == "cosine"
    matrix = as_vectors(X, nonzero=cosine)
    points = None if queries is None else as_vectors(queries, dim=matrix.shape[1], nonzero=cosine, name="queries")
    if cosine:
        matrix, points = _unit(matrix), None if points is None else _unit(points)
    rows = _reference_rows(len(matrix), reference, check_count(seed, name="seed", minimum=0))
    if check_count(k, name="k", minimum=2) >= len(rows):
        raise InputError(message(f"k={k} among {len(rows)} vectors", f"at most {len(rows) - 1}", "lower k"))
    index = Flat(matrix.shape[1], "l2")
    index.add(matrix[rows], rows)
    own = points is None
    at = matrix if points is None else points
    out = np.empty(len(at), dtype=np.float64)
    for start in range(0, len(at), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        hits = index.search(at[block], k + own)
        distances = np.sqrt(np.maximum(-hits.scores.astype(np.float64), 0.0))
        if own:
            distances = _without_self(distances, hits.ids, start)
        out[block] = local_dimension(distances)
    return out


def check_permutation(order: npt.ArrayLike, n: int) -> IdArray:
    """Return an explicit order as int64 once it is certain that it names every row exactly once.

    Parameters
    ----------
    order : array-like of shape (n,), int
        Row numbers.
    n : int
        How many rows there are.

    Returns
    -------
    ndarray of shape (n,), int64
        The same order.

    Raises
    ------
    DtypeError, DimensionError, InputError
        Not integers, another length, or rows that are missing, repeated or out of range.

    Examples
    --------
    >>> check_permutation([2, 0, 1], 3).tolist()
    [2, 0, 1]
    """
    rows = np.asarray(order)
    if rows.shape != (n,):
        raise DimensionError(message(f"an order of shape {rows.shape}", f"({n},)", "name every row once"))
    if rows.dtype.kind not in "iu" and n:
        raise DtypeError(message(f"an order of dtype {rows.dtype}", "row numbers", "pass integers"))
    rows = rows.astype(np.int64)
    if n and not np.array_equal(np.sort(rows), np.arange(n)):
        outside = np.count_nonzero((rows < 0) | (rows >= n))
        missing = n - len(np.unique(rows[(rows >= 0) & (rows < n)]))
        raise InputError(
            message(
                f"an order with {outside} rows out of range and {missing} of {n} rows not named",
                "a permutation",
                "name each of the rows 0 to n - 1 once",
            )
        )
    return rows


def _by_category(categories: Any, n: int, seed: int) -> IdArray:
    if categories is None:
        raise InputError(message("order='category' without categories", "one label per row", "pass categories="))
    labels = np.asarray(categories)
    if labels.shape != (n,):
        raise DimensionError(message(f"categories of shape {labels.shape}", f"({n},)", "pass one label per row"))
    try:
        names, codes = np.unique(labels, return_inverse=True)
    except TypeError as error:
        raise DtypeError(
            message("categories that cannot be compared", "labels of one type", "convert them to str")
        ) from error
    places = np.random.default_rng(seed).permutation(len(names))
    return np.argsort(places[codes], kind="stable").astype(np.int64)


def _refuse_categories(categories: Any, given: str) -> None:
    if categories is not None:
        raise InputError(
            message(f"categories with {given}, which does not use them", "order='category'", "leave categories out")
        )


def _reference_rows(n: int, reference: int | None, seed: int) -> IdArray:
    if reference is None or check_count(reference, name="reference") >= n:
        return np.arange(n, dtype=np.int64)
    return np.sort(np.random.default_rng(seed).choice(n, reference, replace=False)).astype(np.int64)


def _unit(matrix: FloatArray) -> FloatArray:
    wide = matrix.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def _without_self(distances: npt.NDArray[np.float64], ids: IdArray, start: int) -> npt.NDArray[np.float64]:
    # Where the row itself is not among those found (it was not drawn, or duplicates came first) the last one goes.
    own = ids == np.arange(start, start + len(ids))[:, None]
    own[~own.any(axis=1), -1] = True
    return distances[~own].reshape(len(ids), -1)
