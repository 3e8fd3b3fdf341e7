"""Orthant as one of the stores that are compared: a collection, as a user would set it up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from orthant.evaluation.stores.store import MODES, Effort, Query, Rows


class OrthantStore:
    """A collection with vectors that are brought along."""

    modes = MODES
    batch = 5_000
    packages = ("numpy", "numba")
    notes = (
        "defaults: graph over reduced codes, refined from full vectors; BM25 over its own postings; hybrid by weighted "
        "scores over 200 candidates per leg; filters before the search; recall asked for, not tuned",
        "a write is synced to the disk when it returns, and searchable",
    )

    def create(self, folder: Path, dim: int) -> None:
        """Make an empty collection."""
        import orthant

        self._collection = orthant.open(folder / "orthant")
        self._collection.add_space("default", dim=dim)

    def open(self, folder: Path) -> None:
        """Open the collection."""
        import orthant

        self._collection = orthant.open(folder / "orthant")

    def load(self, batches: Iterable[Rows]) -> None:
        """Upsert batch by batch, the graph at the end."""
        with self._collection.bulk():
            for rows in batches:
                self.write(rows)

    def write(self, rows: Rows) -> None:
        """Upsert a batch."""
        self._collection.upsert(rows.ids, texts=rows.texts, metadata=rows.metadata, vectors=rows.vectors)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete by id."""
        self._collection.delete(list(ids))

    def finish(self) -> None:
        """Bring the graph up to date."""
        self._collection.finish()

    def maintain(self) -> None:
        """Bring the graph up to date; all other upkeep is part of the commits."""
        self.finish()

    def efforts(self) -> list[Effort]:
        """Recall to ask for."""
        return [{"recall": value} for value in (0.95, 0.97, 0.99)]

    def search(self, query: Query, mode: str, k: int, effort: Effort) -> list[str]:
        """Search; texts and metadata come with the hits."""
        where = {"newsgroup": query.group, "characters": {"gte": query.characters}}
        kind = mode.removeprefix("filtered ")
        result = self._collection.search(
            None if kind == "dense" else query.text,
            k=k,
            mode=kind,  # type: ignore[arg-type]
            vector=None if kind == "lexical" else query.vector,
            where=where if mode.startswith("filtered") else None,
            syntax=None if kind == "dense" else "plain",
            recall=None if kind == "lexical" else effort["recall"],
        )
        return result.ids

    def present(self, ids: Sequence[str]) -> int:
        """Count by getting them."""
        return sum(record is not None for record in self._collection.get(list(ids)))

    def close(self) -> None:
        """Close the collection."""
        self._collection.close()
