"""Figures of searches: what a graph misses and for which queries, what a query costs, whether build order matters."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.dense import DenseIndex
from orthant.collection.diagnosis.report import Bin, Estimate
from orthant.collection.diagnosis.sampling import Sample, without
from orthant.index.flat import Flat
from orthant.kernels.warmup import pending, wait
from orthant.measures.intervals import bootstrap_interval
from orthant.measures.neighbours import recall_per_query
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["K", "by_quarter", "cost_figures", "margins", "order_bins", "recall_of_searches"]

Float64Array = npt.NDArray[np.float64]

K = 10
"""Neighbours that searches are judged by."""
_TIMED = 100
_ORDER_EFFORT = 16
_ORDER_SEEDS = 5
# Student's point for five builds and two orders that are compared with them, 95 % together.
_ORDER_STUDENT = 3.495
_QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


def margins(scores: Float64Array) -> Float64Array:
    """Return how clearly the ten nearest of a query are ahead of the eleventh.

    Parameters
    ----------
    scores : ndarray of shape (m, k), float64
        Distances to neighbours, ascending, k of at least 11.

    Returns
    -------
    ndarray of shape (m,), float64
        Gap between the eleventh and the tenth distance, as a share of the tenth; small is hard.
    """
    tenth = scores[:, K - 1]
    return np.divide(scores[:, K] - tenth, tenth, out=np.full(len(tenth), np.nan), where=tenth > 0)


def recall_of_searches(index: DenseIndex, flat: Flat, sample: Sample) -> tuple[Float64Array, str]:
    """Return recall@10 of every sampled query as a search with default settings gives it.

    Parameters
    ----------
    index : DenseIndex
        As searches use it.
    flat : Flat
        The exact index of the space.
    sample : Sample
        Queries; a row of the collection is not counted as its own neighbour.

    Returns
    -------
    recall : ndarray of shape (m,), float64
        By query.
    plan : str
        How they were answered.
    """
    k = min(K, len(flat) - 1)
    _compiled(index, sample)
    found = index.search(sample.vectors, k + 1)
    truth = flat.search(sample.vectors, k + 1)
    ids, kept = without(found.ids, sample.rows)
    exact, exact_kept = without(truth.ids, sample.rows)
    scores = np.take_along_axis(found.scores, kept, axis=1)
    best = np.take_along_axis(truth.scores, exact_kept, axis=1)
    recall = recall_per_query(ids, exact, found_scores=scores, true_scores=best, tolerance=1e-5)
    return recall, found.cost.plan


def _compiled(index: DenseIndex, sample: Sample) -> None:
    """Wait for the code that a search needs: until then it compares everything, which tells nothing of later ones."""
    index.search(sample.vectors[:1], K)
    for group in pending():
        wait(group)


def by_quarter(difficulty: Float64Array, recall: Float64Array, seed: int) -> list[Bin]:
    """Return mean recall in quarters of the queries by difficulty.

    Parameters
    ----------
    difficulty : ndarray of shape (m,), float64
        Values that are not finite are left out.
    recall : ndarray of shape (m,), float64
        Recall of each query.
    seed : int
        Of the bootstrap.

    Returns
    -------
    list of Bin
        From the lowest values to the highest; empty for fewer than 40 queries.
    """
    usable = np.flatnonzero(np.isfinite(difficulty) & np.isfinite(recall))
    if len(usable) < 40:
        return []
    order = usable[np.argsort(difficulty[usable], kind="stable")]
    out = []
    for label, part in zip(_QUARTERS, np.array_split(order, 4), strict=True):
        values = recall[part]
        low, high = difficulty[part[0]], difficulty[part[-1]]
        ends = bootstrap_interval(values, seed=seed)
        out.append(Bin(f"{label} ({low:.3g} to {high:.3g})", Estimate(float(values.mean()), *ends, len(values))))
    return out


def cost_figures(index: DenseIndex, sample: Sample, seed: int) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Search for some queries one by one, with default settings.

    Parameters
    ----------
    index : DenseIndex
        As searches use it.
    sample : Sample
        Queries.
    seed : int
        Of the bootstrap.

    Returns
    -------
    figures : dict of str to Estimate
        Vectors compared, kilobytes read and milliseconds per query, without encoding it.
    facts : dict
        The plan, and the slowest of the queries.
    """
    asked = sample.vectors[:_TIMED]
    _compiled(index, sample)
    index.search(asked[:1], K)
    spent, plan = [], ""
    for q in asked:
        began = time.perf_counter()
        cost = index.search(q[None, :], K).cost
        spent.append((cost.distances, cost.bytes_read / 1000, 1000 * (time.perf_counter() - began)))
        plan = cost.plan
    columns = np.array(spent)
    figures = {}
    for name, values in zip(("vectors_compared", "kilobytes_read", "milliseconds"), columns.T, strict=True):
        ends = bootstrap_interval(values, lambda rows: float(np.median(rows)), seed=seed)
        figures[f"{name}_per_query"] = Estimate(float(np.median(values)), *ends, len(values))
    return figures, {"plan": plan, "slowest_milliseconds": float(columns[:, 2].max()), "timed": len(columns)}


def order_bins(X: FloatArray, Q: FloatArray, metric: Metric, seed: int) -> tuple[list[Bin], dict[str, Any]]:
    """Build small graphs in several orders of insertion and compare their recall at little effort.

    Parameters
    ----------
    X : ndarray of shape (n, dim), float32
        Rows, more than 2,048.
    Q : ndarray of shape (q, dim), float32
        Other rows, to be searched for.
    metric : {"cosine", "dot", "l2"}
        Of the space.
    seed : int
        Of the first of five random orders.

    Returns
    -------
    bins : list of Bin
        Recall@10 under random order and by local dimension, with the interval that another random build would fall in.
    facts : dict
        Sizes, effort, and orders whose recall lies outside that interval.
    """
    from orthant.index.graph import Graph
    from orthant.index.ordering import insertion_order
    from orthant.kernels.warmup import wait

    exact = Flat(X.shape[1], metric)
    exact.add(X)
    truth = exact.search(Q, K).ids
    wait("graph")

    def recall(order: Any, build: int) -> float:
        graph = Graph(X.shape[1], metric, order=order, seed=build)
        graph.add(X)
        return float(np.mean(recall_per_query(graph.search(Q, K, effort=_ORDER_EFFORT).ids, truth)))

    random = [recall("random", seed + i) for i in range(_ORDER_SEEDS)]
    easy: IdArray = insertion_order(X, "lid-ascending", metric=metric, seed=seed, reference=2048)
    mean = float(np.mean(random))
    half = _ORDER_STUDENT * float(np.std(random, ddof=1)) * (1 + 1 / len(random)) ** 0.5
    bins = [Bin("random order", Estimate(mean, mean - half, mean + half, len(Q)))]
    flagged = []
    for name, order in (("hardest rows first", easy[::-1].copy()), ("easiest rows first", easy)):
        value = recall(order, seed)
        bins.append(Bin(name, Estimate(value, value, value, len(Q))))
        if abs(value - mean) > half:
            flagged.append(name)
    return bins, {"rows": len(X), "queries": len(Q), "effort": _ORDER_EFFORT, "flagged": flagged}
