"""Chroma, embedded: ``PersistentClient`` with its HNSW index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from orthant.evaluation.stores.store import Effort, Query, Rows

_NAME = "bench"


class ChromaStore:
    """A collection of Chroma; it has no ranked lexical search when embedded."""

    modes = ("dense", "filtered dense")
    # The largest that its client accepts is 5,461.
    batch = 5_000
    packages = ("chromadb",)
    notes = (
        "HNSW: 16 neighbours, construction 100 (its defaults), cosine; search effort tuned",
        "no ranked lexical or hybrid search when embedded: sparse indexes and its Search are refused there",
        "a write is in SQLite when it returns; the graph is brought up from there",
    )

    def __init__(self) -> None:
        self._effort = 0

    def _connect(self, folder: Path) -> Any:
        import chromadb
        from chromadb.config import Settings

        self._folder = folder
        self._client = chromadb.PersistentClient(str(folder / "chroma"), settings=Settings(anonymized_telemetry=False))
        return self._client

    def create(self, folder: Path, dim: int) -> None:
        """Make an empty collection."""
        hnsw = {"space": "cosine", "ef_construction": 100, "max_neighbors": 16}
        self._records = self._connect(folder).create_collection(
            _NAME, embedding_function=None, configuration={"hnsw": hnsw}
        )

    def open(self, folder: Path) -> None:
        """Open the collection."""
        self._records = self._connect(folder).get_collection(_NAME, embedding_function=None)

    def load(self, batches: Iterable[Rows]) -> None:
        """Add batch by batch."""
        for rows in batches:
            self.write(rows)

    def write(self, rows: Rows) -> None:
        """Add a batch."""
        self._records.upsert(ids=rows.ids, embeddings=rows.vectors, documents=rows.texts, metadatas=rows.metadata)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete by id."""
        self._records.delete(ids=list(ids))

    def finish(self) -> None:
        """Nothing to call: a search reads the log up to its end, so one brings the graph up to date."""
        kept = self._records.peek(1)["embeddings"]
        self._records.query(query_embeddings=[kept[0]], n_results=1)

    def maintain(self) -> None:
        """Bring the graph up to date; the embedded client has no call that compacts."""
        self.finish()

    def efforts(self) -> list[Effort]:
        """Lengths of the candidate list."""
        return [{"ef_search": value} for value in (10, 16, 24, 32, 48, 64, 100, 160, 250, 400, 800, 1600)]

    def search(self, query: Query, mode: str, k: int, effort: Effort) -> list[str]:
        """Ask with documents and metadata."""
        if effort["ef_search"] != self._effort:
            # A graph that is in memory keeps the effort it was loaded with, so the client is made anew.
            self._records.modify(configuration={"hnsw": {"ef_search": effort["ef_search"]}})
            self.close()
            self.open(self._folder)
            self._effort = effort["ef_search"]
        where = {"$and": [{"newsgroup": {"$eq": query.group}}, {"characters": {"$gte": query.characters}}]}
        found = self._records.query(
            query_embeddings=[query.vector],
            n_results=k,
            where=where if mode.startswith("filtered") else None,
            include=["documents", "metadatas", "distances"],
        )
        ids: list[str] = found["ids"][0]
        return ids

    def present(self, ids: Sequence[str]) -> int:
        """Count by getting them."""
        step = self.batch
        return sum(
            len(self._records.get(ids=list(ids[i : i + step]), include=[])["ids"]) for i in range(0, len(ids), step)
        )

    def close(self) -> None:
        """Close the client, and forget it: clients of one path share what they hold."""
        self._client.close()
        self._client.clear_system_cache()
