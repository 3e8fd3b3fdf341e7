"""milvus-lite, embedded: HNSW, BM25 by its function, inverted scalar indexes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from orthant.evaluation.stores.store import Effort, Query, Rows

_NAME = "bench"
_FIELDS = ("text", "newsgroup", "date", "organization", "characters")


class MilvusStore:
    """A collection of milvus-lite, spoken to by pymilvus as its documentation does."""

    modes = ("dense", "lexical", "hybrid", "filtered dense", "filtered hybrid")
    batch = 2_000
    packages = ("milvus-lite", "pymilvus", "faiss-cpu")
    notes: tuple[str, ...] = (
        "HNSW (M 16, construction 200), cosine; BM25 by its function (standard analyzer, no stemming offered); "
        "inverted indexes on newsgroup and characters; hybrid by its reciprocal ranks over 50 candidates per leg",
        "a write is in its log when it returns, not synced to the disk by default",
    )

    def _connect(self, folder: Path) -> Any:
        from pymilvus import MilvusClient

        self._client = MilvusClient(str(folder / "milvus.db"))
        return self._client

    def create(self, folder: Path, dim: int) -> None:
        """Make an empty collection with its indexes."""
        from pymilvus import DataType, Function, FunctionType

        client = self._connect(folder)
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("text", DataType.VARCHAR, max_length=65_535, enable_analyzer=True)
        for name in ("newsgroup", "date", "organization"):
            schema.add_field(name, DataType.VARCHAR, max_length=1_024)
        schema.add_field("characters", DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
        schema.add_function(
            Function(
                name="bm25",
                input_field_names=["text"],
                output_field_names=["words"],
                function_type=FunctionType.BM25,
            )
        )
        indexes = client.prepare_index_params()
        made = {"M": 16, "efConstruction": 200}
        indexes.add_index("vector", index_type="HNSW", metric_type="COSINE", params=made)
        indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        for name in ("newsgroup", "characters"):
            indexes.add_index(name, index_type="INVERTED")
        client.create_collection(_NAME, schema=schema, index_params=indexes)

    def open(self, folder: Path) -> None:
        """Open and load the collection."""
        self._connect(folder).load_collection(_NAME)

    def load(self, batches: Iterable[Rows]) -> None:
        """Insert batch by batch."""
        for rows in batches:
            self._client.insert(_NAME, self._records(rows))

    @staticmethod
    def _records(rows: Rows) -> list[dict[str, Any]]:
        columns = zip(rows.ids, rows.texts, rows.metadata, rows.vectors, strict=True)
        return [{"id": id_, "text": text, **one, "vector": vector} for id_, text, one, vector in columns]

    def write(self, rows: Rows) -> None:
        """Upsert a batch."""
        self._client.upsert(_NAME, self._records(rows))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete by primary key."""
        self._client.delete(_NAME, ids=list(ids))

    def finish(self) -> None:
        """Flush, which builds the indexes, and load."""
        self._client.flush(_NAME)
        self._client.load_collection(_NAME)

    def maintain(self) -> None:
        """Flush and compact."""
        self._client.flush(_NAME)
        try:
            self._client.compact(_NAME)
        except Exception as error:  # noqa: BLE001 - a release without the call compacts by itself, and raises its own kind.
            self.notes = (*self.notes[:2], f"compact() is not there: {type(error).__name__}")

    def efforts(self) -> list[Effort]:
        """Lengths of the candidate list."""
        return [{"ef": value} for value in (10, 16, 24, 32, 48, 64, 100, 160, 250, 400, 800, 1600)]

    def search(self, query: Query, mode: str, k: int, effort: Effort) -> list[str]:
        """Ask for every field but the vectors."""
        expression = (
            f'newsgroup == "{query.group}" and characters >= {query.characters}' if mode.startswith("filtered") else ""
        )
        if mode.endswith("hybrid"):
            found = self._hybrid(query, k, effort, expression)
        elif mode == "lexical":
            found = self._client.search(
                _NAME, data=[query.text], anns_field="words", limit=k, output_fields=list(_FIELDS)
            )
        else:
            found = self._client.search(
                _NAME,
                data=[query.vector.tolist()],
                anns_field="vector",
                limit=k,
                filter=expression,
                search_params={"params": effort},
                output_fields=list(_FIELDS),
            )
        return [hit["id"] for hit in found[0]]

    def _hybrid(self, query: Query, k: int, effort: Effort, expression: str) -> Any:
        from pymilvus import AnnSearchRequest, RRFRanker

        depth = 50
        asked = {"params": {"ef": max(depth, effort["ef"])}}
        legs = [
            AnnSearchRequest([query.vector.tolist()], "vector", asked, depth, expr=expression or None),
            AnnSearchRequest([query.text], "words", {}, depth, expr=expression or None),
        ]
        return self._client.hybrid_search(_NAME, legs, RRFRanker(), k, output_fields=list(_FIELDS))

    def present(self, ids: Sequence[str]) -> int:
        """Count by getting them."""
        step = self.batch
        return sum(
            len(self._client.get(_NAME, ids=list(ids[i : i + step]), output_fields=["id"]))
            for i in range(0, len(ids), step)
        )

    def close(self) -> None:
        """Close the client; its server in this process ends with it."""
        self._client.close()
