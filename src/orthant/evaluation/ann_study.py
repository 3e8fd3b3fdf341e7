"""How much a graph loses on *your* vectors, for which queries, and whether the order of insertion matters.

Three questions of a measurement study of HNSW, as harnesses for any vectors: recall against intrinsic dimension on
generated and on real data, and recall by insertion order with the spread of the seeds beside it. No direction is
assumed anywhere: what is flagged has left the spread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.generators import subspace_sphere
from orthant.errors import InputError, message
from orthant.evaluation.graph_engines import build_graph
from orthant.index.flat import Flat
from orthant.index.ordering import Order, insertion_order, local_dimensions
from orthant.measures.correlation import spearman
from orthant.measures.neighbours import recall_at_k, recall_per_query
from orthant.types import FloatArray, IdArray
from orthant.validate import as_vectors, check_count

__all__ = [
    "DimensionStudy",
    "LocalRecall",
    "OrderReport",
    "compare_orders",
    "recall_against_dimension",
    "recall_by_local_dimension",
]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class DimensionStudy:
    """Recall on generated data of known dimension.

    Attributes
    ----------
    engine : str
        Who built the graphs.
    ambient_dim, points, queries : int
        Length of the vectors, how many were indexed, how many were asked for.
    intrinsic_dims : tuple of int
        Dimensions of the subspaces.
    estimated : tuple of float
        Median local dimension at the queries, as estimated.
    recall : mapping of int to tuple of float
        Recall@10 by effort, one per dimension.
    """

    engine: str
    ambient_dim: int
    points: int
    queries: int
    intrinsic_dims: tuple[int, ...]
    estimated: tuple[float, ...]
    recall: Mapping[int, tuple[float, ...]]

    def correlation(self, effort: int) -> float:
        """Return Spearman's correlation between dimension and recall; -1 when recall falls at every step.

        Parameters
        ----------
        effort : int
            One of the efforts.

        Returns
        -------
        float
            From -1 to 1.

        Raises
        ------
        InputError
            Recall that is the same for all dimensions.
        """
        return spearman(self.intrinsic_dims, self.recall[effort])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "recall": {str(effort): list(values) for effort, values in self.recall.items()}}


@dataclass(frozen=True)
class LocalRecall:
    """Recall query by query beside the local dimension at the query.

    Attributes
    ----------
    engine : str
        Who built the graph.
    effort : int
        Candidates kept while searching.
    dimension : ndarray of shape (q,), float64
        Local dimension; NaN and infinity where it has no finite value.
    recall : ndarray of shape (q,), float64
        Recall@k of each query.
    """

    engine: str
    effort: int
    dimension: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]

    @property
    def correlation(self) -> float:
        """Spearman's correlation of dimension and recall over queries with a finite dimension."""
        finite = np.isfinite(self.dimension)
        return spearman(self.dimension[finite], self.recall[finite])

    def by_quantile(self, bins: int = 4) -> list[dict[str, float]]:
        """Return mean recall in bins of equally many queries, from the lowest local dimension to the highest.

        Parameters
        ----------
        bins : int, default 4
            How many; more than there are queries is refused.

        Returns
        -------
        list of dict
            ``low`` and ``high`` (dimensions), ``queries`` and ``recall``.

        Raises
        ------
        InputError
            More bins than queries.
        """
        rows = np.flatnonzero(np.isfinite(self.dimension))
        bins = check_count(bins, name="bins", maximum=len(rows))
        order = rows[np.argsort(self.dimension[rows], kind="stable")]
        return [
            {
                "low": float(self.dimension[part[0]]),
                "high": float(self.dimension[part[-1]]),
                "queries": float(len(part)),
                "recall": float(self.recall[part].mean()),
            }
            for part in np.array_split(order, bins)
        ]


@dataclass(frozen=True)
class OrderReport:
    """Recall by insertion order, and which orders differ by more than seeds do.

    Attributes
    ----------
    engine : str
        Who built the graphs.
    effort : int
        Candidates kept while searching.
    seeds : tuple of int
        One build per seed and order.
    recall : mapping of str to tuple of float
        Recall@k by order, one per seed.
    interval : tuple of float
        Where the mean of as many further random orders would lie with 95 % certainty, shared among the orders
        compared; at least as wide as the random orders scattered.
    flagged : mapping of str to float
        Orders whose mean lies outside the interval, with its distance from the mean of the random orders; positive
        is better.
    """

    engine: str
    effort: int
    seeds: tuple[int, ...]
    recall: Mapping[str, tuple[float, ...]]
    interval: tuple[float, float]
    flagged: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**vars(self), "recall": {name: list(v) for name, v in self.recall.items()}}

    def __str__(self) -> str:
        """Return one line per order."""
        low, high = self.interval
        lines = [f"random orders: further ones would average {low:.4f} to {high:.4f} ({len(self.seeds)} seeds)"]
        for name, values in self.recall.items():
            mark = f"  leaves the spread by {self.flagged[name]:+.4f}" if name in self.flagged else ""
            lines.append(f"{name}: {np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f}){mark}")
        return "\n".join(lines)


def recall_against_dimension(
    *,
    engine: str = "faiss",
    intrinsic_dims: Sequence[int] = (8, 16, 32, 64, 128, 256),
    ambient_dim: int = 256,
    points: int = 10_000,
    queries: int = 500,
    efforts: Sequence[int] = (10, 64),
    degree: int = 16,
    construction: int = 128,
    seed: int = 0,
) -> DimensionStudy:
    """Measure recall@10 of a graph on spheres of growing dimension inside vectors of one length.

    Parameters
    ----------
    engine : str, default "faiss"
        See `orthant.evaluation.graph_engines.build_graph`.
    intrinsic_dims : sequence of int
        Dimensions of the subspaces, at most ``ambient_dim``.
    ambient_dim : int, default 256
        Length of the vectors.
    points, queries : int
        Vectors indexed and asked for; queries are drawn alike and not indexed. 10,000 points build in a few seconds.
    efforts : sequence of int, default (10, 64)
        Candidates kept while searching.
    degree, construction : int
        Settings of the build, the same for every dimension.
    seed : int, default 0
        Of data and build.

    Returns
    -------
    DimensionStudy
        Recall by effort and dimension, and the dimension as estimated.

    Raises
    ------
    InputError
        Counts out of range.
    MissingExtraError
        The engine is not installed.

    Examples
    --------
    >>> study = recall_against_dimension(points=2000, queries=50)  # doctest: +SKIP
    >>> study.correlation(10)  # doctest: +SKIP
    -1.0
    """
    recall: dict[int, list[float]] = {effort: [] for effort in efforts}
    estimated = []
    for t in intrinsic_dims:
        drawn = subspace_sphere(points + queries, ambient_dim, t, seed=seed)
        X, Q = drawn[:points], drawn[points:]
        truth = exact_neighbours(X, Q, 10)
        graph = build_graph(engine, X, degree=degree, construction=construction, seed=seed)
        for effort in efforts:
            recall[effort].append(recall_at_k(graph.search(Q, 10, effort=effort)[0], truth))
        estimated.append(float(np.median(local_dimensions(X, Q, k=min(100, points - 1)))))
    tables = {effort: tuple(values) for effort, values in recall.items()}
    return DimensionStudy(engine, ambient_dim, points, queries, tuple(intrinsic_dims), tuple(estimated), tables)


def recall_by_local_dimension(
    X: npt.ArrayLike,
    Q: npt.ArrayLike,
    *,
    engine: str = "faiss",
    effort: int = 32,
    k: int = 10,
    neighbours: int = 100,
    degree: int = 16,
    construction: int = 128,
    seed: int = 0,
) -> LocalRecall:
    """Measure recall query by query beside the local dimension, to see which queries lose.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Vectors to index.
    Q : array-like of shape (q, d)
        Queries that are not among them.
    engine : str, default "faiss"
        See `orthant.evaluation.graph_engines.build_graph`.
    effort : int, default 32
        Candidates kept while searching. With a recall near 1 there is nothing left to explain.
    k : int, default 10
        Neighbours that recall is about.
    neighbours : int, default 100
        Exact neighbours that the local dimension is estimated from.
    degree, construction, seed : int
        Settings of the build.

    Returns
    -------
    LocalRecall
        Both values for every query.

    Raises
    ------
    InputError, DimensionError, DtypeError, NonFiniteError
        Vectors that are zero, of other dimensions or not finite; ``neighbours`` not below n.
    MissingExtraError
        The engine is not installed.
    """
    base = as_vectors(X, nonzero=True)
    asked = as_vectors(Q, dim=base.shape[1], nonzero=True, name="Q")
    dimension = local_dimensions(base, asked, k=neighbours)
    graph = build_graph(engine, base, degree=degree, construction=construction, seed=seed)
    found, _ = graph.search(asked, k, effort=effort)
    recall = recall_per_query(found, exact_neighbours(base, asked, k))
    return LocalRecall(engine, effort, dimension, recall)


def compare_orders(
    X: npt.ArrayLike,
    Q: npt.ArrayLike,
    *,
    orders: Sequence[Order] | Mapping[str, Order | IdArray] = ("given", "lid-descending", "lid-ascending"),
    categories: Sequence[Any] | None = None,
    engine: str = "faiss",
    effort: int = 10,
    k: int = 10,
    degree: int = 16,
    construction: int = 128,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
) -> OrderReport:
    """Measure recall by insertion order, and flag an order only if it leaves the spread of random ones.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Vectors to index.
    Q : array-like of shape (q, d)
        Queries that are not among them.
    orders : sequence of str, or mapping of str to (str or ndarray of shape (n,), int64)
        Compared with ``"random"``, which always runs; see `orthant.index.insertion_order`. A mapping names orders of
        your own.
    categories : sequence of shape (n,), optional
        Labels for the order ``"category"``; refused without it.
    engine : str, default "faiss"
        See `orthant.evaluation.graph_engines.build_graph`.
    effort : int, default 10
        Candidates kept while searching; a small one shows differences in the graph.
    k : int, default 10
        Neighbours.
    degree, construction : int
        Settings of the build.
    seeds : sequence of int
        At least three: one build per seed and order. Fewer give so wide an interval that nothing is ever flagged.

    Returns
    -------
    OrderReport
        Recall, the interval of random orders, and what lies outside it.

    Raises
    ------
    InputError
        Fewer than three seeds, or categories that have no use.
    MissingExtraError
        The engine is not installed.

    Notes
    -----
    The interval is ``mean +- t * s * sqrt(2 / m)`` over m random orders, with the confidence of 95 % divided among the
    orders compared (Bonferroni), widened to all values that random orders took.
    Cost: one build per order and seed, in one thread.
    """
    base = as_vectors(X, nonzero=True)
    asked = as_vectors(Q, dim=base.shape[1], nonzero=True, name="Q")
    if len(set(seeds)) < 3:
        raise InputError(message(f"seeds={tuple(seeds)}", "at least three distinct ones", "add seeds"))
    compared: dict[str, Order | IdArray] = (
        dict(orders) if isinstance(orders, Mapping) else {name: name for name in orders}
    )
    compared.pop("random", None)
    if categories is not None and "category" not in [order for order in compared.values() if isinstance(order, str)]:
        raise InputError(message("categories without the order 'category'", "both or neither", "leave one out"))
    truth = exact_neighbours(base, asked, k)
    recall: dict[str, tuple[float, ...]] = {}
    for name, chosen in {"random": "random", **compared}.items():
        drawn = isinstance(chosen, str) and chosen in ("random", "category")
        labels = categories if drawn and chosen == "category" else None
        values = []
        order: IdArray | None = None
        for seed in seeds:
            # Other orders are the same under every seed; only the layers of the graph differ.
            if order is None or drawn:
                order = insertion_order(base, chosen, categories=labels, seed=seed)
            graph = build_graph(engine, base, degree=degree, construction=construction, order=order, seed=seed)
            values.append(recall_at_k(graph.search(asked, k, effort=effort)[0], truth))
        recall[name] = tuple(values)
    low, high = _interval(recall["random"], len(compared))
    middle = float(np.mean(recall["random"]))
    means: dict[str, float] = {name: float(np.mean(recall[name])) for name in compared}
    flagged: dict[str, float] = {name: mean - middle for name, mean in means.items() if not low <= mean <= high}
    return OrderReport(engine, effort, tuple(seeds), recall, (low, high), flagged)


def exact_neighbours(X: FloatArray, Q: FloatArray, k: int) -> IdArray:
    """Return the k nearest rows of X by cosine for every query, from an exact scan.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Vectors.
    Q : ndarray of shape (q, d)
        Queries.
    k : int
        Neighbours.

    Returns
    -------
    ndarray of shape (q, k), int64
        Row numbers, best first.
    """
    index = Flat(X.shape[1])
    index.add(X)
    return index.search(Q, k).ids


def _interval(values: Sequence[float], comparisons: int) -> tuple[float, float]:
    from scipy.special import stdtrit

    m = len(values)
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    quantile = float(stdtrit(m - 1, 1 - (1 - _CONFIDENCE) / (2 * max(1, comparisons))))
    half = quantile * deviation * math.sqrt(2 / m)
    return min(mean - half, *values), max(mean + half, *values)
