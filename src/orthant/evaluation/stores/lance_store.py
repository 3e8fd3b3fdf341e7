"""LanceDB, embedded: a table with HNSW over scalar codes, full-text and scalar indexes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from orthant.evaluation.stores.store import Effort, Query, Rows

_NAME = "bench"


class LanceStore:
    """A table of LanceDB with an index on every column that a search needs."""

    modes = ("dense", "lexical", "hybrid", "filtered dense", "filtered hybrid")
    batch = 5_000
    packages = ("lancedb", "pyarrow")
    notes = (
        "IVF_HNSW_SQ in one partition (m 20, construction 300, its defaults), cosine, refined from full vectors; FTS; "
        "bitmap on newsgroup, B-tree on characters and id; filters before the search; hybrid by its reciprocal ranks",
        "rows written since the last optimize() are scanned; optimize with clean-up of old versions is its upkeep",
        "a write is a new version in files when it returns",
    )

    def _connect(self, folder: Path) -> Any:
        import lancedb

        return lancedb.connect(str(folder / "lance"))

    def create(self, folder: Path, dim: int) -> None:
        """Make an empty table."""
        import pyarrow as pa

        fields = [(name, pa.string()) for name in ("id", "text", "newsgroup", "date", "organization")]
        schema = pa.schema([*fields, ("characters", pa.int64()), ("vector", pa.list_(pa.float32(), dim))])
        self._table = self._connect(folder).create_table(_NAME, schema=schema)
        self._ready()

    def open(self, folder: Path) -> None:
        """Open the table."""
        self._table = self._connect(folder).open_table(_NAME)
        self._ready()

    def _ready(self) -> None:
        from lancedb.rerankers import RRFReranker

        self._reranker = RRFReranker()

    def load(self, batches: Iterable[Rows]) -> None:
        """Append batch by batch; the indexes are made by `finish`."""
        for rows in batches:
            self.write(rows)

    def write(self, rows: Rows) -> None:
        """Append a batch."""
        import pyarrow as pa

        columns = {
            name: [one[name] for one in rows.metadata] for name in ("newsgroup", "date", "organization", "characters")
        }
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.vectors.ravel()), rows.vectors.shape[1])
        self._table.add(pa.table({"id": rows.ids, "text": rows.texts, **columns, "vector": vectors}))

    def delete(self, ids: Sequence[str]) -> None:
        """Delete by a predicate on the indexed id."""
        listed = ", ".join(f"'{one}'" for one in ids)
        self._table.delete(f"id IN ({listed})")

    def finish(self) -> None:
        """Make the indexes where there are none, then merge small files and bring the indexes up to date."""
        from lancedb.index import FTS, Bitmap, BTree, HnswSq

        if not self._table.list_indices():
            self._table.create_index("vector", config=HnswSq(distance_type="cosine", num_partitions=1))
            self._table.create_index("text", config=FTS())
            self._table.create_index("newsgroup", config=Bitmap())
            self._table.create_index("characters", config=BTree())
            self._table.create_index("id", config=BTree())
        self._table.optimize(cleanup_older_than=timedelta(0))

    def maintain(self) -> None:
        """Compact, drop old versions and index what was written since."""
        self.finish()

    def efforts(self) -> list[Effort]:
        """Lengths of the candidate list, and how many times k is read again in full."""
        paths = ((20, 1), (32, 2), (48, 2), (64, 2), (100, 3), (160, 3), (250, 4), (400, 5), (800, 10))
        return [{"ef": ef, "refine_factor": refine} for ef, refine in paths]

    def search(self, query: Query, mode: str, k: int, effort: Effort) -> list[str]:
        """Ask for every column but the vector."""
        if mode == "lexical":
            asked = self._table.search(query.text, query_type="fts")
            score = "_score"
        elif mode.endswith("hybrid"):
            asked = self._dense(self._table.search(query_type="hybrid").vector(query.vector).text(query.text), effort)
            score = "_relevance_score"
        else:
            asked = self._dense(self._table.search(query.vector), effort)
            score = "_distance"
        if mode.startswith("filtered"):
            asked = asked.where(f"newsgroup = '{query.group}' AND characters >= {query.characters}", prefilter=True)
        columns = ["id", "text", "newsgroup", "date", "organization", "characters"]
        if mode.endswith("hybrid"):
            asked = asked.rerank(self._reranker).select(columns)
        else:
            asked = asked.select([*columns, score])
        return [one["id"] for one in asked.limit(k).to_list()]

    @staticmethod
    def _dense(asked: Any, effort: Effort) -> Any:
        return asked.distance_type("cosine").ef(effort["ef"]).refine_factor(effort["refine_factor"])

    def present(self, ids: Sequence[str]) -> int:
        """Count by a predicate, in parts."""
        found = 0
        for i in range(0, len(ids), 2_000):
            listed = ", ".join(f"'{one}'" for one in ids[i : i + 2_000])
            found += self._table.count_rows(f"id IN ({listed})")
        return found

    def close(self) -> None:
        """Nothing is open between two calls."""
