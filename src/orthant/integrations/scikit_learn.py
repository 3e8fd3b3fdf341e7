"""scikit-learn: the neighbours of vectors as a transformer, and in the forms that UMAP and HDBSCAN take."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.estimator import Estimator, check_is_fitted
from orthant.index.flat import Flat
from orthant.index.graph import Graph
from orthant.types import FloatArray, IdArray
from orthant.validate import as_vectors, check_choice, check_count, check_fraction

__all__ = ["OrthantNeighbors"]

_SCAN_UP_TO = 20_000
_BLOCK = 1024


class OrthantNeighbors(Estimator):
    """Find nearest neighbours by Orthant's indexes; a stand-in for ``KNeighborsTransformer``.

    In a pipeline it stands in front of anything that takes ``metric="precomputed"``: ``KNeighborsClassifier``,
    ``Isomap``, ``DBSCAN``, ``SpectralClustering``, ``TSNE``.

    Parameters
    ----------
    n_neighbors : int, default 5
        Neighbours per row. With ``mode="distance"`` one more is given, as scikit-learn does, since a row of the
        fitted data is its own first neighbour.
    mode : {"distance", "connectivity"}, default "distance"
        Whether the graph holds distances or ones.
    metric : {"l2", "cosine"}, default "l2"
        Euclidean distance, or one minus the cosine.
    recall : float, default 1.0
        Share of the true neighbours to find on average. 1.0 compares every pair; below, more than 20,000 rows are
        searched by a graph, which is quicker and misses some.
    seed : int, default 0
        Seed of the graph.

    Attributes
    ----------
    n_features_in_ : int
        Columns.
    n_samples_fit_ : int
        Rows.
    index_ : Flat or Graph
        What is searched.

    Notes
    -----
    Candidates are found in float32; their distances are then computed in float64 and sorted.
    Cost: O(n^2 d) by the scan; about O(n log n d) by the graph.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> OrthantNeighbors(n_neighbors=1).fit_transform(X).toarray()
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 2., 0.]])
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        mode: Literal["distance", "connectivity"] = "distance",
        metric: Literal["l2", "cosine"] = "l2",
        recall: float = 1.0,
        seed: int = 0,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.mode = mode
        self.metric = metric
        self.recall = recall
        self.seed = seed

    def fit(self, X: npt.ArrayLike, y: Any = None) -> OrthantNeighbors:
        """Index the rows.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The rows.
        y : any, optional
            Not looked at.

        Returns
        -------
        OrthantNeighbors
            Self.

        Raises
        ------
        InputError
            Malformed rows or settings; a zero row with ``metric="cosine"``.
        """
        check_count(self.n_neighbors, name="n_neighbors")
        check_choice(self.mode, ("distance", "connectivity"), name="mode")
        check_choice(self.metric, ("l2", "cosine"), name="metric")
        check_fraction(self.recall, name="recall")
        rows = as_vectors(X, name="X", nonzero=self.metric == "cosine")
        if not len(rows):
            raise InputError(message("X with 0 rows", "at least 1", "pass the rows to index"))
        self.index_ = self._built(rows)
        self.n_features_in_ = rows.shape[1]
        self.n_samples_fit_ = len(rows)
        self._rows = rows
        return self

    def _built(self, rows: FloatArray) -> Any:
        approximate = self.recall < 1.0 and len(rows) > _SCAN_UP_TO
        dim = rows.shape[1]
        index: Any = Graph(dim, self.metric, seed=self.seed) if approximate else Flat(dim, self.metric)
        index.add(rows)
        return index

    def __getstate__(self) -> dict[str, Any]:
        """Return what a worker process needs: the index is built anew there, from the rows."""
        return {name: value for name, value in vars(self).items() if name != "index_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what another process sent."""
        vars(self).update(state)
        if "_rows" in state:
            self.index_ = self._built(self._rows)

    def kneighbors(
        self, X: npt.ArrayLike | None = None, n_neighbors: int | None = None
    ) -> tuple[npt.NDArray[np.float64], IdArray]:
        """Return distances and positions of the nearest fitted rows.

        Parameters
        ----------
        X : array-like of shape (q, d), optional
            Queries; left out, the fitted rows, each without itself.
        n_neighbors : int, optional
            Instead of the setting; fewer than the fitted rows, or as many where ``X`` is given.

        Returns
        -------
        distances : ndarray of shape (q, n_neighbors), float64
            Ascending.
        positions : ndarray of shape (q, n_neighbors), int64
            Rows of the fitted data.

        Raises
        ------
        NotFittedError
            ``fit`` was not called.
        InputError
            More neighbours than rows, or malformed queries.
        """
        check_is_fitted(self)
        k = check_count(self.n_neighbors if n_neighbors is None else n_neighbors, name="n_neighbors")
        if X is None:
            return self._nearest(self._rows, k, own=True)
        return self._nearest(as_vectors(X, dim=self.n_features_in_, name="X", nonzero=self.metric == "cosine"), k)

    def transform(self, X: npt.ArrayLike) -> Any:
        """Return the sparse graph of the nearest fitted rows.

        Parameters
        ----------
        X : array-like of shape (q, d)
            Queries.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (q, n), float64
            Distances ascending along each row, zeros kept; or ones.
        """
        from scipy.sparse import csr_matrix

        check_is_fitted(self)
        k = self.n_neighbors + (self.mode == "distance")
        distances, positions = self.kneighbors(X, k)
        values = distances if self.mode == "distance" else np.ones_like(distances)
        starts = np.arange(0, positions.size + 1, k)
        return csr_matrix((values.ravel(), positions.ravel(), starts), shape=(len(positions), self.n_samples_fit_))

    def fit_transform(self, X: npt.ArrayLike, y: Any = None) -> Any:
        """Index the rows and return their graph.

        Parameters
        ----------
        X : array-like of shape (n, d)
            The rows.
        y : any, optional
            Not looked at.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, n), float64
            As :meth:`transform`.
        """
        return self.fit(X, y).transform(X)

    def umap_knn(self) -> tuple[npt.NDArray[np.int32], FloatArray]:
        """Return the fitted rows' neighbours for ``umap.UMAP(precomputed_knn=(positions, distances))``.

        Returns
        -------
        positions : ndarray of shape (n, n_neighbors), int32
            Each row itself first, as UMAP counts.
        distances : ndarray of shape (n, n_neighbors), float32
            Ascending, 0 first.
        """
        check_is_fitted(self)
        own = np.arange(self.n_samples_fit_)[:, None]
        if self.n_neighbors == 1:
            return own.astype(np.int32), np.zeros(own.shape, dtype=np.float32)
        distances, positions = self.kneighbors(n_neighbors=self.n_neighbors - 1)
        nothing = np.zeros((len(own), 1))
        return np.hstack([own, positions]).astype(np.int32), np.hstack([nothing, distances]).astype(np.float32)

    def hdbscan_distances(self) -> Any:
        """Return the fitted rows' distances for ``HDBSCAN(metric="precomputed")``, of scikit-learn or hdbscan.

        The graph is symmetric, and parts of it that do not touch are joined by their shortest link, without which
        HDBSCAN refuses it.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n, n), float64
            Distances; what is not stored counts as infinite. ``n_neighbors`` should be ``min_samples`` or more.
        """
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        distances, positions = self.kneighbors()
        n, k = distances.shape
        heads, tails, values = np.repeat(np.arange(n), k), positions.ravel(), distances.ravel()
        while True:
            # Ones mark links, so that duplicates at distance 0 hold together.
            links = coo_matrix((np.ones(len(heads)), (heads, tails)), shape=(n, n))
            count, parts = connected_components(links, directed=False)
            if count == 1:
                break
            added = [self._shortest_link(parts == part) for part in range(count)]
            heads = np.concatenate([heads, [a for a, _, _ in added]])
            tails = np.concatenate([tails, [b for _, b, _ in added]])
            values = np.concatenate([values, [d for _, _, d in added]])
        low, high = np.minimum(heads, tails), np.maximum(heads, tails)
        _, first = np.unique(low * n + high, return_index=True)
        # A stored zero would count as absent for some readers; the smallest float is as good as zero.
        kept = np.maximum(values[first], np.finfo(np.float64).tiny)
        low, high = low[first], high[first]
        whole = (np.concatenate([kept, kept]), (np.concatenate([low, high]), np.concatenate([high, low])))
        return coo_matrix(whole, shape=(n, n)).tocsr()

    def _shortest_link(self, inside: npt.NDArray[np.bool_]) -> tuple[int, int, float]:
        members = np.flatnonzero(inside)
        hits = self.index_.search(self._rows[members], 1, allowed=~inside)
        distances = self._distances(self._rows[members], hits.ids)[:, 0]
        best = int(np.argmin(distances))
        return int(members[best]), int(hits.ids[best, 0]), float(distances[best])

    def _nearest(self, Q: FloatArray, k: int, *, own: bool = False) -> tuple[npt.NDArray[np.float64], IdArray]:
        if k + own > self.n_samples_fit_:
            given = f"n_neighbors={k} with {self.n_samples_fit_} fitted rows"
            raise InputError(message(given, f"n_neighbors of at most {self.n_samples_fit_ - own}", "ask for fewer"))
        exact = isinstance(self.index_, Flat)
        hits = self.index_.search(Q, k + own, recall=None if exact else self.recall)
        ids = hits.ids
        if own:
            # Among duplicates a row may not come first, or not at all; then the last one goes.
            self_at = ids == np.arange(len(ids))[:, None]
            self_at[~self_at.any(axis=1), -1] = True
            ids = ids[~self_at].reshape(len(ids), k)
        distances = self._distances(Q, ids)
        order = np.argsort(distances, axis=1, kind="stable")
        return np.take_along_axis(distances, order, axis=1), np.take_along_axis(ids, order, axis=1)

    def _distances(self, Q: FloatArray, ids: IdArray) -> npt.NDArray[np.float64]:
        out = np.empty(ids.shape, dtype=np.float64)
        for begin in range(0, len(Q), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            q, X = Q[part].astype(np.float64)[:, None, :], self._rows[ids[part]].astype(np.float64)
            if self.metric == "l2":
                out[part] = np.sqrt(((q - X) ** 2).sum(axis=2))
            else:
                norms = np.linalg.norm(q, axis=2) * np.linalg.norm(X, axis=2)
                out[part] = np.clip(1.0 - (q * X).sum(axis=2) / norms, 0.0, 2.0)
        return out
