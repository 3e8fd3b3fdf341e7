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
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["NOT_HERE", "RIVALS", "make_rival", "why_missing"]

Found = tuple[IdArray, int | None]

RIVALS = {
    "hnswlib-filter": "hnswlib",
    "faiss-hnsw-idselector": "faiss",
    "lancedb": "lancedb",
    "milvus-lite": "milvus_lite",
}
"""Arms by the module that each one needs."""

NOT_HERE = {"pgvector": "needs a PostgreSQL server, which this harness does not start"}
"""Engines that are never run, with the reason."""

_EFFORTS = (16, 32, 64, 128, 256, 512)
_DEGREE, _BUILD_EFFORT = 16, 200
_SPACES: dict[Metric, str] = {"cosine": "cosine", "dot": "ip", "l2": "l2"}


def why_missing(name: str) -> str | None:
    """Return why a rival cannot run here, None where it can.

    Parameters
    ----------
    name : str
        One of ``RIVALS`` or ``NOT_HERE``.

    Returns
    -------
    str or None
        The reason.
    """
    if name in NOT_HERE:
        return NOT_HERE[name]
    return None if importlib.util.find_spec(RIVALS[name]) is not None else f"{RIVALS[name]} is not installed"


class _Rival:
    links = 0

    def settings(self) -> list[Any]:
        """Rise in the beam."""
        return list(_EFFORTS)


class _Hnswlib(_Rival):
    """A function that is called for every row that the walk meets."""

    name = "hnswlib-filter"

    def __init__(self, X: FloatArray, metric: Metric, threads: int) -> None:
        hnswlib: Any = importlib.import_module("hnswlib")
        self._index = hnswlib.Index(space=_SPACES[metric], dim=X.shape[1])
        self._index.init_index(max_elements=len(X), M=_DEGREE, ef_construction=_BUILD_EFFORT, random_seed=0)
        self._index.add_items(X, np.arange(len(X)), num_threads=threads)

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
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


class _Table(_Rival):
    """A store with the attribute as a column, asked by an expression."""

    def __init__(self, filters: Filters) -> None:
        self._filters = filters
        self._folder = TemporaryDirectory()
        self._path = Path(self._folder.name)

    def _rows(self, X: FloatArray) -> list[dict[str, Any]]:
        empty: dict[str, Any] = {"set": [], "range": -1.0, "equality": ""}
        default = empty[self._filters.kind]
        values = [default if value is None else value for value in self._filters.values]
        if self._filters.kind == "set":
            values = [[str(one) for one in value] for value in values]
        elif self._filters.kind == "equality":
            values = [str(value) for value in values]
        return [
            {"id": i, "vector": x.tolist(), "value": value} for i, (x, value) in enumerate(zip(X, values, strict=True))
        ]


class _Lance(_Table):
    """LanceDB: inverted lists with refinement, filtered first."""

    name = "lancedb"

    def __init__(self, X: FloatArray, filters: Filters, metric: Metric) -> None:
        super().__init__(filters)
        lancedb: Any = importlib.import_module("lancedb")
        self._table = lancedb.connect(str(self._path)).create_table("rows", self._rows(X))
        self._metric = metric
        if len(X) > 5_000:
            self._table.create_index(
                metric=metric, num_partitions=max(2, int(np.sqrt(len(X)))), num_sub_vectors=max(1, X.shape[1] // 8)
            )
        scalar = "LABEL_LIST" if filters.kind == "set" else "BTREE"
        self._table.create_scalar_index("value", index_type=scalar)

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
        query = self._table.search(q[0]).distance_type(self._metric).where(self._where(asked.value), prefilter=True)
        rows = query.nprobes(setting).refine_factor(4).select(["id"]).limit(k).to_arrow()["id"].to_numpy()
        return np.pad(rows.astype(np.int64), (0, k - len(rows)), constant_values=-1), None

    def _where(self, value: Any) -> str:
        if self._filters.kind == "range":
            return f"value >= {value[0]} AND value <= {value[1]}"
        text = str(value).replace("'", "''")
        return f"array_has(value, '{text}')" if self._filters.kind == "set" else f"value = '{text}'"


class _Milvus(_Table):
    """milvus-lite, whose index is what its embedded form supports."""

    name = "milvus-lite"

    def __init__(self, X: FloatArray, filters: Filters, metric: Metric) -> None:
        super().__init__(filters)
        pymilvus: Any = importlib.import_module("pymilvus")
        self._client = pymilvus.MilvusClient(str(self._path / "rows.db"))
        schema = self._client.create_schema(auto_id=False)
        kinds = pymilvus.DataType
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=X.shape[1])
        if filters.kind == "set":
            schema.add_field("value", kinds.ARRAY, element_type=kinds.VARCHAR, max_capacity=256, max_length=256)
        elif filters.kind == "range":
            schema.add_field("value", kinds.DOUBLE)
        else:
            schema.add_field("value", kinds.VARCHAR, max_length=256)
        params = self._client.prepare_index_params()
        wanted = {"cosine": "COSINE", "dot": "IP", "l2": "L2"}[metric]
        params.add_index("vector", index_type="IVF_FLAT", metric_type=wanted, params={"nlist": int(np.sqrt(len(X)))})
        self._client.create_collection("rows", schema=schema, index_params=params)
        rows = self._rows(X)
        for start in range(0, len(rows), 2_000):
            self._client.insert("rows", rows[start : start + 2_000])

    def ask(self, q: FloatArray, k: int, asked: Asked, setting: Any) -> Found:
        hits = self._client.search(
            "rows", data=[q[0].tolist()], limit=k, filter=self._where(asked.value),
            search_params={"params": {"nprobe": setting}}, output_fields=["id"],
        )  # fmt: skip
        ids = np.array([hit["id"] for hit in hits[0]], dtype=np.int64)
        return np.pad(ids, (0, k - len(ids)), constant_values=-1), None

    def _where(self, value: Any) -> str:
        if self._filters.kind == "range":
            return f"value >= {value[0]} and value <= {value[1]}"
        text = str(value).replace("\\", "\\\\").replace('"', '\\"')
        return f'array_contains(value, "{text}")' if self._filters.kind == "set" else f'value == "{text}"'


def make_rival(name: str, X: FloatArray, filters: Filters, metric: Metric, *, threads: int) -> Any:
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

    Returns
    -------
    StudyArm
        Ready to be asked.
    """
    if name == "lancedb":
        return _Lance(X, filters, metric)
    if name == "milvus-lite":
        return _Milvus(X, filters, metric)
    return (_Hnswlib if name == "hnswlib-filter" else _Faiss)(X, metric, threads)
