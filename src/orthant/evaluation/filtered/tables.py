"""The process of one other store: a table of vectors with attributes, built once, then asked one query at a time.

Run by ``orthant.evaluation.filtered.peers`` with the interpreter of the store's own environment, which needs NumPy and
the store. A filter comes as a mapping of ``column``, ``op`` and ``value``, and is put into the store's own words here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from orthant.evaluation.filtered.columns import quoted, read_columns
from orthant.evaluation.filtered.postgres_table import PostgresTable
from orthant.evaluation.serving import serve

__all__ = ["STORES"]

Where = Mapping[str, Any]
_BATCH = 20_000


class LanceTable:
    """LanceDB: HNSW over scalar codes in one partition, refined from full vectors; filtered before the search."""

    packages = ("lancedb", "pyarrow")
    note = (
        "IVF_HNSW_SQ in one partition (m 20, construction 300, its defaults), refined; scalar indexes; prefilter=True"
    )

    def __init__(self, folder: Path) -> None:
        lancedb: Any = importlib.import_module("lancedb")
        self._connection = lancedb.connect(str(folder / "lance"))
        self._table: Any = None

    def build(self, base: Path, columns: Path, metric: str) -> None:
        """Write the table and make its indexes."""
        index: Any = importlib.import_module("lancedb.index")
        pa: Any = importlib.import_module("pyarrow")
        X = np.load(base, mmap_mode="r", allow_pickle=False)
        kinds = {name: kind for name, (kind, _) in read_columns(columns, slice(0, 1)).items()}
        types = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string(), "tags": pa.list_(pa.string())}
        fields = [("id", pa.int64()), ("vector", pa.list_(pa.float32(), X.shape[1]))]
        schema = pa.schema([*fields, *((name, types[kind]) for name, kind in kinds.items())])

        def parts() -> Iterator[Any]:
            for start in range(0, len(X), _BATCH):
                rows = slice(start, min(start + _BATCH, len(X)))
                flat = pa.array(np.ascontiguousarray(X[rows]).ravel())
                found: dict[str, Any] = {"id": np.arange(rows.start, rows.stop)}
                found["vector"] = pa.FixedSizeListArray.from_arrays(flat, X.shape[1])
                found |= {name: values for name, (_, values) in read_columns(columns, rows).items()}
                yield pa.record_batch([pa.array(found[f.name], type=f.type) for f in schema], schema=schema)

        self._table = self._connection.create_table("rows", data=parts(), schema=schema)
        if len(X) >= 1_000:
            self._table.create_index("vector", config=index.HnswSq(distance_type=metric, num_partitions=1))
        for name, kind in kinds.items():
            self._table.create_index(name, config=index.LabelList() if kind == "tags" else index.BTree())
        self._table.optimize()

    def open(self, metric: str) -> None:
        """Open the table."""
        self._metric, self._table = metric, self._connection.open_table("rows")

    def rows(self) -> int:
        """Count the rows."""
        return int(self._table.count_rows())

    def efforts(self) -> list[dict[str, int]]:
        """Lengths of the candidate list, and how many times k is read again in full."""
        paths = ((20, 1), (48, 2), (100, 3), (250, 4), (400, 5), (800, 10), (1_600, 10))
        return [{"ef": ef, "refine": refine} for ef, refine in paths]

    @staticmethod
    def where(where: Where) -> str:
        """Put a filter into its words."""
        column, op, value = where["column"], where["op"], where["value"]
        if op == "between":
            return f"{column} >= {value[0]} AND {column} <= {value[1]}"
        if op == "in":
            return f"{column} IN ({', '.join(quoted(one, chr(39)) for one in value)})"
        if op == "has":
            return f"array_has({column}, {quoted(value, chr(39))})"
        return f"{column} = {quoted(value, chr(39))}"

    def search(self, q: Any, k: int, where: str, effort: Mapping[str, int]) -> Any:
        """Ask for ids alone."""
        asked = self._table.search(q).distance_type(self._metric).where(where, prefilter=True).ef(effort["ef"])
        return asked.refine_factor(effort["refine"]).select(["id"]).limit(k).to_arrow()["id"].to_numpy()


class MilvusTable:
    """milvus-lite: inverted lists, and an inverted index on every attribute that may have one."""

    packages = ("milvus-lite", "pymilvus", "faiss-cpu")
    note = "IVF_FLAT with the root of the rows as lists; inverted indexes on the attributes, none on lists of tags"

    def __init__(self, folder: Path) -> None:
        self._pymilvus: Any = importlib.import_module("pymilvus")
        importlib.import_module("milvus_lite")
        self._path = str(folder / "rows.db")
        self._client: Any = None

    def build(self, base: Path, columns: Path, metric: str) -> None:
        """Write the collection and make its indexes."""
        X = np.load(base, mmap_mode="r", allow_pickle=False)
        kinds = self._pymilvus.DataType
        client = self._client = self._pymilvus.MilvusClient(self._path)
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", kinds.INT64, is_primary=True)
        schema.add_field("vector", kinds.FLOAT_VECTOR, dim=X.shape[1])
        params = client.prepare_index_params()
        wanted = {"cosine": "COSINE", "dot": "IP", "l2": "L2"}[metric]
        lists = max(1, int(np.sqrt(len(X))))
        params.add_index("vector", index_type="IVF_FLAT", metric_type=wanted, params={"nlist": lists})
        simple = {"integer": kinds.INT64, "number": kinds.DOUBLE}
        for name, (kind, _) in read_columns(columns, slice(0, 1)).items():
            if kind == "tags":
                schema.add_field(name, kinds.ARRAY, element_type=kinds.VARCHAR, max_capacity=256, max_length=256)
                continue
            length = {"max_length": 1_024} if kind == "text" else {}
            schema.add_field(name, simple.get(kind, kinds.VARCHAR), **length)
            params.add_index(name, index_type="INVERTED")
        client.create_collection("rows", schema=schema, index_params=params)
        for start in range(0, len(X), _BATCH):
            rows = slice(start, min(start + _BATCH, len(X)))
            columned = {name: list(values) for name, (_, values) in read_columns(columns, rows).items()}
            made = [{"id": start + i, "vector": x} for i, x in enumerate(np.array(X[rows]))]
            for name, values in columned.items():
                for one, value in zip(made, values, strict=True):
                    one[name] = value.item() if isinstance(value, np.generic) else value
            for i in range(0, len(made), 2_000):
                client.insert("rows", made[i : i + 2_000])
        client.flush("rows")
        client.load_collection("rows")
        client.close()

    def open(self, metric: str) -> None:
        """Open and load the collection."""
        self._client = self._pymilvus.MilvusClient(self._path)
        self._client.load_collection("rows")

    def rows(self) -> int:
        """Count the rows."""
        return int(self._client.get_collection_stats("rows")["row_count"])

    def efforts(self) -> list[dict[str, int]]:
        """All lists: what it does with every row of the table costs more than to look at them."""
        return [{"nprobe": 65_536}]

    @staticmethod
    def where(where: Where) -> str:
        """Put a filter into its words."""
        column, op, value = where["column"], where["op"], where["value"]
        if op == "between":
            return f"{column} >= {value[0]} and {column} <= {value[1]}"
        if op == "in":
            return f"{column} in [{', '.join(quoted(one, chr(34)) for one in value)}]"
        if op == "has":
            return f"array_contains({column}, {quoted(value, chr(34))})"
        return f"{column} == {quoted(value, chr(34))}"

    def search(self, q: Any, k: int, where: str, effort: Mapping[str, int]) -> Any:
        """Ask for ids alone."""
        hits = self._client.search(
            "rows", data=[q], anns_field="vector", limit=k, filter=where,
            search_params={"params": effort}, output_fields=["id"],
        )  # fmt: skip
        return [hit["id"] for hit in hits[0]]


class NumpyTable:
    """No store at all: every row that fits is compared. What any answer costs between two processes, and the oracle."""

    packages = ("numpy",)
    note = "conditions evaluated on whole columns, then one multiplication"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def build(self, base: Path, columns: Path, metric: str) -> None:
        """Copy both."""
        np.save(self._folder / "base.npy", np.load(base, mmap_mode="r", allow_pickle=False), allow_pickle=False)
        shutil.copytree(columns, self._folder / "columns")

    def open(self, metric: str) -> None:
        """Map the vectors, load the columns."""
        self._metric, self._X = metric, np.load(self._folder / "base.npy", mmap_mode="r", allow_pickle=False)
        self._columns = read_columns(self._folder / "columns", slice(None))

    def rows(self) -> int:
        """Count the rows."""
        return len(self._X)

    def efforts(self) -> list[dict[str, int]]:
        """Nothing can be set."""
        return [{}]

    @staticmethod
    def where(where: Where) -> Where:
        """Leave the filter as it is."""
        return where

    def search(self, q: Any, k: int, where: Where, effort: Mapping[str, int]) -> Any:
        """Compare every row that fits."""
        values, op, value = self._columns[where["column"]][1], where["op"], where["value"]
        if op == "between":
            mask = (np.asarray(values) >= value[0]) & (np.asarray(values) <= value[1])
        elif op == "has":
            mask = np.array([value in one for one in values], dtype=bool)
        else:
            mask = np.isin(np.asarray(values), value if op == "in" else [value])
        rows = np.flatnonzero(mask)
        found = np.asarray(self._X[rows], dtype=np.float64)
        if self._metric == "l2":
            scores = -np.square(found - q).sum(axis=1)
        else:
            scores = found @ q
            if self._metric == "cosine":
                scores /= np.linalg.norm(found, axis=1)
        return rows[np.lexsort((rows, -scores))[:k]]


STORES: dict[str, Any] = {
    "lancedb": LanceTable,
    "milvus-lite": MilvusTable,
    "pgvector": PostgresTable,
    "numpy-table": NumpyTable,
}
"""Tables by the name of their arm."""


class Worker:
    """One table in a folder."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._metric = str(spec["metric"])
        if spec["one_cpu"] and hasattr(os, "sched_setaffinity"):
            # Before the store is imported: the threads that it starts stay on this processor.
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])
        self.table: Any = STORES[spec["store"]](Path(spec["folder"]))

    def about(self) -> dict[str, Any]:
        """Versions, and how the table is set up."""
        found = {name: importlib.metadata.version(name) for name in self.table.packages}
        return {"versions": found, "note": self.table.note}

    def build(self, base: str, columns: str) -> dict[str, Any]:
        """Build the table."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.table.build(Path(base), Path(columns), self._metric)
        spent = {"build_s": time.perf_counter() - wall}
        if not getattr(self.table, "has_server", False):
            spent["build_cpu_s"] = time.process_time() - cpu
        told: dict[str, Any] = {name: round(seconds, 1) for name, seconds in spent.items()}
        if hasattr(self.table, "built_with"):
            told["server"] = self.table.built_with
        return told

    def open(self) -> dict[str, Any]:
        """Open the table."""
        self.table.open(self._metric)
        return {"efforts": self.table.efforts(), "rows": self.table.rows()}

    def ask(self, vector: list[float], k: int, where: Where, effort: Mapping[str, int]) -> dict[str, Any]:
        """Answer one query; only the search is timed, not what passes between the processes."""
        words, q = self.table.where(where), np.array(vector, dtype=np.float32)
        begin = time.perf_counter()
        ids = self.table.search(q, k, words, effort)
        seconds = time.perf_counter() - begin
        return {"ids": [int(one) for one in ids], "seconds": seconds}

    def close(self) -> dict[str, Any]:
        """End what the table has started besides this process."""
        if hasattr(self.table, "close"):
            self.table.close()
        return {}


if __name__ == "__main__":
    serve(Worker)
