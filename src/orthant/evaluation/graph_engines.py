"""Graph indexes of several engines behind one call, for studies that vary the data and hold the settings fixed.

Not for comparing speed: nothing here is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, MissingExtraError, message
from orthant.types import FloatArray, IdArray
from orthant.validate import as_vectors, check_choice, check_count

__all__ = ["ENGINES", "BuiltGraph", "build_graph", "installed_engines"]

_SearchRows = Callable[[FloatArray, int, int], tuple[npt.NDArray[Any], int | None]]


@dataclass(frozen=True)
class BuiltGraph:
    """A graph over some vectors; searches answer with row numbers of the vectors as they were given.

    Attributes
    ----------
    engine : str
        Who built it.
    order : ndarray of shape (n,), int64
        Rows in the order in which they went in.
    """

    engine: str
    order: IdArray
    _search: _SearchRows

    def search(self, Q: npt.ArrayLike, k: int = 10, *, effort: int = 64) -> tuple[IdArray, float | None]:
        """Return neighbours by cosine.

        Parameters
        ----------
        Q : array-like of shape (q, d)
            Queries.
        k : int, default 10
            Neighbours.
        effort : int, default 64
            Candidates kept during the walk (``efSearch``), at least k. More finds more and costs more.

        Returns
        -------
        tuple of (ndarray of shape (q, k), int64) and (float or None)
            Rows, best first, -1 where none was found; and distances computed per query, None where the engine does
            not count them.

        Raises
        ------
        InputError
            An effort below k.
        """
        k = check_count(k, name="k")
        effort = check_count(effort, name="effort", minimum=k)
        queries = _unit(as_vectors(Q, nonzero=True))
        slots, computed = self._search(queries, k, effort)
        found = np.asarray(slots, dtype=np.int64)
        rows = np.where(found >= 0, self.order[np.maximum(found, 0)], -1)
        return rows, None if computed is None else computed / max(1, len(queries))


def build_graph(
    engine: str,
    X: npt.ArrayLike,
    *,
    degree: int = 16,
    construction: int = 128,
    order: IdArray | None = None,
    seed: int = 0,
) -> BuiltGraph:
    """Build a graph by cosine in one thread, so that the order of insertion is the one asked for.

    Parameters
    ----------
    engine : {"faiss", "hnswlib", "orthant"}
        HNSW of FAISS or hnswlib over float32 vectors, or `orthant.index.Graph`.
    X : array-like of shape (n, d)
        Vectors, none of them zero.
    degree : int, default 16
        Links chosen per point (HNSW's M); rows have room for twice as many. Fewer save memory and lose recall.
    construction : int, default 128
        Candidates kept while inserting (``efConstruction``). Fewer builds faster and worse.
    order : ndarray of shape (n,), int64, optional
        A permutation; rows go in one by one. Left out, rows go in as given, and FAISS shuffles them.
    seed : int, default 0
        Of the layers (HNSW) or of the build (Graph).

    Returns
    -------
    BuiltGraph
        Ready to search.

    Raises
    ------
    InputError
        An unknown engine.
    MissingExtraError
        The engine is not installed.

    Notes
    -----
    FAISS permutes the points of one ``add`` call, so an order only has an effect on it one point at a time.

    Examples
    --------
    >>> import numpy as np
    >>> graph = build_graph("hnswlib", np.eye(8))  # doctest: +SKIP
    >>> graph.search(np.eye(8), k=1)[0].ravel().tolist()  # doctest: +SKIP
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    name = check_choice(engine, tuple(ENGINES), name="engine")
    vectors = _unit(as_vectors(X, nonzero=True))
    if not len(vectors):
        raise InputError(message("no vectors", "at least one", "pass vectors to build a graph over"))
    taken = np.arange(len(vectors), dtype=np.int64) if order is None else order
    settings = (check_count(degree, name="degree", minimum=2), check_count(construction, name="construction"))
    search = ENGINES[name](vectors[taken], settings, order is not None, check_count(seed, name="seed", minimum=0))
    return BuiltGraph(name, taken, search)


def installed_engines() -> list[str]:
    """Return the engines that can build here.

    Returns
    -------
    list of str
        In the order of preference.

    Examples
    --------
    >>> set(installed_engines()) <= set(ENGINES)
    True
    """
    import importlib.util

    modules = {"faiss": "faiss", "hnswlib": "hnswlib", "orthant": "orthant.index.graph"}
    return [name for name in ENGINES if importlib.util.find_spec(modules[name]) is not None]


def _faiss(vectors: FloatArray, settings: tuple[int, int], ordered: bool, seed: int) -> _SearchRows:
    faiss = _peer("faiss", "faiss-cpu")
    degree, construction = settings
    index = faiss.IndexHNSWFlat(vectors.shape[1], degree, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = construction
    index.hnsw.rng = faiss.RandomGenerator(seed)
    with _one_thread(faiss):
        for start in range(len(vectors)) if ordered else (0,):
            index.add(vectors[start : start + 1] if ordered else vectors)

    def search(queries: FloatArray, k: int, effort: int) -> tuple[npt.NDArray[Any], int]:
        with _one_thread(faiss):
            faiss.cvar.hnsw_stats.reset()
            _, slots = index.search(queries, k, params=faiss.SearchParametersHNSW(efSearch=effort))
            return slots, int(faiss.cvar.hnsw_stats.ndis)

    return search


def _hnswlib(vectors: FloatArray, settings: tuple[int, int], ordered: bool, seed: int) -> _SearchRows:
    del ordered  # One thread takes the rows as they come.
    hnswlib = _peer("hnswlib", "hnswlib")
    degree, construction = settings
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=degree, ef_construction=construction, random_seed=seed + 1)
    index.add_items(vectors, num_threads=1)

    def search(queries: FloatArray, k: int, effort: int) -> tuple[npt.NDArray[Any], None]:
        index.set_ef(effort)
        slots, _ = index.knn_query(queries, k=min(k, len(vectors)), num_threads=1)
        padded = np.full((len(queries), k), -1, dtype=np.int64)
        padded[:, : slots.shape[1]] = slots.astype(np.int64)
        return padded, None

    return search


def _orthant(vectors: FloatArray, settings: tuple[int, int], ordered: bool, seed: int) -> _SearchRows:
    from orthant.index.graph import Graph
    from orthant.kernels.warmup import wait

    degree, construction = settings
    dim = vectors.shape[1]
    blocks = [(vectors, np.arange(len(vectors), dtype=np.int64))]
    index = Graph.over(
        blocks,
        dim=dim,
        degree=degree,
        beam=max(degree, construction),
        order="given" if ordered else "random",
        seed=seed,
        scan_below=0,
        threads=1,
    )
    # Until its kernels are compiled a graph answers by comparing everything.
    wait("graph")

    def search(queries: FloatArray, k: int, effort: int) -> tuple[npt.NDArray[Any], int]:
        hits = index.search(queries, k, effort=effort, threads=1)
        return hits.ids, hits.cost.distances

    return search


ENGINES: dict[str, Callable[[FloatArray, tuple[int, int], bool, int], _SearchRows]] = {
    "faiss": _faiss,
    "hnswlib": _hnswlib,
    "orthant": _orthant,
}


def _peer(module: str, package: str) -> Any:
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            message(f"engine {module!r} without its package", f"the package {package}", f"run: pip install {package}")
        ) from error


@contextmanager
def _one_thread(faiss: Any) -> Iterator[None]:
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _unit(matrix: FloatArray) -> FloatArray:
    wide = matrix.astype(np.float64)
    return np.ascontiguousarray((wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32))
