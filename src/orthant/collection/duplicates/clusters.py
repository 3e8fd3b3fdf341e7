"""Clusters of a collection's vectors: k-means, or components of mutual neighbours."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.collection.dense import dense_index
from orthant.collection.duplicates.cluster_words import cluster_words
from orthant.collection.duplicates.near import unit_rows
from orthant.collection.duplicates.selecting import allowed_rows, read_vectors, require_space
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.collection.storage.store import Store
from orthant.errors import InputError, message
from orthant.kernels import bitmaps
from orthant.kernels.clustering.kmeans import kmeans
from orthant.types import FloatArray, IdArray
from orthant.validate import check_choice, check_count

__all__ = ["Cluster", "ClusterReport", "Method", "find_clusters", "silhouette"]

Method = Literal["kmeans", "graph"]

_TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64)
_JUDGED_ROWS = 1000
_NEIGHBOURS = 5
_QUERIES = 1024


@dataclass(frozen=True)
class Cluster:
    """One cluster.

    Attributes
    ----------
    label : int
        Its number; 0 is the largest.
    size : int
        Records.
    medoid : str
        Id of the record nearest to the mean: the one to read first.
    words : tuple of str
        Words that are common in it and rare elsewhere, the most telling first.
    """

    label: int
    size: int
    medoid: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class ClusterReport:
    """What clustering found.

    Attributes
    ----------
    method, space : str
        How, and on which vectors.
    ids : tuple of str, length n
        Records with a vector, in insertion order.
    labels : ndarray of shape (n,), int64
        Cluster of each record; -1 where a record belongs to none, under ``"graph"`` only.
    clusters : tuple of Cluster
        The largest first.
    silhouette : float or None
        Mean silhouette of a sample of clustered records, -1 to 1: above 0.5 clusters are well apart, near 0 they run
        into each other. None with fewer than two clusters.
    judged : int
        Records in that sample.
    left_out : int
        Records that the filter allows, but that have no vector.
    seconds : float
        Wall-clock seconds.
    """

    method: str
    space: str
    ids: tuple[str, ...]
    labels: IdArray
    clusters: tuple[Cluster, ...]
    silhouette: float | None
    judged: int
    left_out: int
    seconds: float

    def members(self, label: int) -> list[str]:
        """Return the ids of one cluster.

        Parameters
        ----------
        label : int
            Its number; -1 for the records in none.

        Returns
        -------
        list of str
            In insertion order.
        """
        return [self.ids[i] for i in np.flatnonzero(self.labels == label)]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values.

        Returns
        -------
        dict
            ``labels`` by id.
        """
        plain = ("method", "space", "silhouette", "judged", "left_out", "seconds")
        return {
            **{name: getattr(self, name) for name in plain},
            "clusters": [{**asdict(cluster), "words": list(cluster.words)} for cluster in self.clusters],
            "labels": dict(zip(self.ids, self.labels.tolist(), strict=True)),
        }


def find_clusters(
    store: Store,
    *,
    k: int | None,
    method: Method,
    space: str,
    where: Mapping[str, Any] | None,
    neighbours: int | None,
    words: int,
    seed: int,
) -> ClusterReport:
    """Cluster vectors; the parameters are those of ``Collection.clusters``.

    Parameters
    ----------
    store : Store
        The collection's store.
    k, method, space, where, neighbours, words, seed
        As for ``Collection.clusters``.

    Returns
    -------
    ClusterReport
        Of the generation at the time of the call.

    Raises
    ------
    InputError
        Settings that do not fit the method or the number of records.
    """
    began = time.perf_counter()
    check_choice(method, ("kmeans", "graph"), name="method")
    if method == "graph" and k is not None:
        raise InputError(message(f"k={k} with method='graph'", "neighbours=...", "leave k out"))
    if method == "kmeans" and neighbours is not None:
        raise InputError(message(f"neighbours={neighbours} with method='kmeans'", "k=...", "leave neighbours out"))
    k = None if k is None else check_count(k, name="k")
    near = check_count(_NEIGHBOURS if neighbours is None else neighbours, name="neighbours")
    words, seed = check_count(words, name="words", minimum=0), check_count(seed, name="seed", minimum=0)

    def run(connection: sqlite3.Connection, now: Generation) -> ClusterReport:
        require_space(now, space)
        rows = allowed_rows(now, where)
        present, X = read_vectors(now, space, rows, directed=False)
        left_out, rows = int((~present).sum()), rows[present]
        if k is not None and k > len(rows):
            raise InputError(message(f"k={k} for {len(rows)} vectors", "at most as many clusters", "lower k"))
        if method == "graph":
            labels = _mutual_components(now, space, rows, X, near)
        if now.spaces[space].definition.metric == "cosine" and len(X):
            X = unit_rows(X)
        if method == "kmeans":
            labels = _kmeans_labels(X, k, seed)
        labels = _by_size(labels)
        return _report(connection, store, now, (method, space, left_out), rows, X, labels, words, seed, began)

    return store.read(run)


def _report(
    connection: sqlite3.Connection,
    store: Store,
    now: Generation,
    about: tuple[str, str, int],
    rows: IdArray,
    X: FloatArray,
    labels: IdArray,
    words: int,
    seed: int,
    began: float,
) -> ClusterReport:
    found = tables.fetch_records(connection, store.database, rows.tolist())
    ids = tuple(found[row][0] for row in rows.tolist())
    count = int(labels.max()) + 1 if len(labels) else 0
    telling = cluster_words(now.lexical, rows, labels, count, top=words) if words else [()] * count
    clusters = []
    for label in range(count):
        members = np.flatnonzero(labels == label)
        middle = X[members].mean(axis=0, dtype=np.float64)
        medoid = members[int(np.argmin(((X[members] - middle) ** 2).sum(axis=1)))]
        clusters.append(Cluster(label, len(members), ids[medoid], telling[label]))
    inside = np.flatnonzero(labels >= 0)
    drawn = _sample(len(inside), _JUDGED_ROWS, seed)
    judged = inside[drawn]
    value = silhouette(X[judged], labels[judged])
    method, space, left_out = about
    return ClusterReport(
        method, space, ids, labels, tuple(clusters), value, len(judged), left_out, time.perf_counter() - began
    )


def _sample(n: int, size: int, seed: int) -> IdArray:
    if n <= size:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, size=size, replace=False))


def _kmeans_labels(X: FloatArray, k: int | None, seed: int) -> IdArray:
    if not len(X):
        return np.zeros(0, np.int64)
    if k is not None:
        return kmeans(X, k, seed=seed).labels
    # The sample on which silhouettes compare numbers of clusters; the number found clusters all rows.
    part = X[_sample(len(X), _JUDGED_ROWS, seed)]
    distances = _distances(part)
    best, chosen = -np.inf, 1
    for tried in _TRIED:
        if tried * tried > len(part):
            break
        value = _silhouette(distances, kmeans(part, tried, seed=seed, iterations=20).labels)
        if value is not None and value > best:
            best, chosen = value, tried
    return kmeans(X, chosen, seed=seed).labels


def silhouette(X: FloatArray, labels: IdArray) -> float | None:
    """Return the mean silhouette: how much nearer rows are to their own cluster than to the next.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows.
    labels : ndarray of shape (n,), int64
        Their clusters.

    Returns
    -------
    float or None
        Between -1 and 1 with Euclidean distances; None with fewer than two clusters. A row that is alone counts 0.

    Notes
    -----
    Cost: O(n * n * d) and n * n float64.

    References
    ----------
    Rousseeuw: Silhouettes. Journal of Computational and Applied Mathematics 20, 1987.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.float32([[0, 0], [0, 1], [9, 0], [9, 1]])
    >>> round(silhouette(X, np.array([0, 0, 1, 1])), 2)
    0.89
    """
    return _silhouette(_distances(X), labels)


def _distances(X: FloatArray) -> npt.NDArray[np.float64]:
    Y = X.astype(np.float64)
    squares = (Y * Y).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * Y @ Y.T, 0))
    np.fill_diagonal(distances, 0)
    return distances


def _silhouette(distances: npt.NDArray[np.float64], labels: IdArray) -> float | None:
    kinds, own = np.unique(labels, return_inverse=True)
    if len(kinds) < 2:
        return None
    sizes = np.bincount(own)
    member = np.zeros((len(own), len(kinds)))
    member[np.arange(len(own)), own] = 1
    sums = distances @ member
    at = np.arange(len(own))
    inner = sums[at, own] / np.maximum(sizes[own] - 1, 1)
    means = sums / sizes
    means[at, own] = np.inf
    outer = means.min(axis=1)
    larger = np.maximum(inner, outer)
    values = np.where((sizes[own] > 1) & (larger > 0), (outer - inner) / np.where(larger > 0, larger, 1), 0)
    return float(values.mean())


def _mutual_components(now: Generation, space: str, rows: IdArray, X: FloatArray, k: int) -> IdArray:
    """Label the components of the graph in which both ends of an edge have each other among their k nearest."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(rows)
    if not n:
        return np.zeros(0, np.int64)
    index, allowed = dense_index(now, space), bitmaps.from_rows(rows)
    edges: list[npt.NDArray[np.int64]] = []
    for begin in range(0, n, _QUERIES):
        ids = index.search(X[begin : begin + _QUERIES], min(k + 1, n), allowed=allowed).ids
        i = np.repeat(np.arange(begin, begin + len(ids)), ids.shape[1])
        j = np.where(ids < 0, -1, np.searchsorted(rows, ids)).ravel()
        # Among many copies a row may be missing from its own list: then its last neighbour is one too many.
        kept = (j >= 0) & (i != j)
        edges.append(i[kept] * n + j[kept])
    keys = np.unique(np.concatenate(edges))
    mutual = keys[np.isin(keys, keys % n * n + keys // n)]
    graph = coo_array((np.ones(len(mutual), dtype=np.int8), (mutual // n, mutual % n)), shape=(n, n))
    labels = connected_components(graph, directed=False)[1].astype(np.int64)
    return np.where(np.bincount(labels)[labels] > 1, labels, -1)


def _by_size(labels: IdArray) -> IdArray:
    """Number clusters from the largest; equal ones by their first record. Empty ones vanish, -1 stays."""
    inside = labels >= 0
    out = np.full(len(labels), -1, dtype=np.int64)
    kinds, first, own, sizes = np.unique(labels[inside], return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes))
    rank = np.empty(len(kinds), dtype=np.int64)
    rank[order] = np.arange(len(kinds))
    out[inside] = rank[own]
    return out
