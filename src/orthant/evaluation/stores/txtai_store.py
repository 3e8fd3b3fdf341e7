"""txtai, embedded: FAISS for vectors, its BM25 for words, SQLite for contents."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from orthant.evaluation.stores.store import Effort, Query, Rows
from orthant.types import FloatArray

# txtai asks for the vector of a text whenever it needs one; these are the vectors at hand, so nothing is encoded.
_VECTORS: dict[str, FloatArray] = {}


def lookup(texts: Sequence[str]) -> list[FloatArray]:
    """Return the vectors of texts that were put in store beforehand; txtai calls it by its name.

    Parameters
    ----------
    texts : sequence of str
        Texts of rows or queries.

    Returns
    -------
    list of ndarray of shape (d,)
        In the same order.

    Raises
    ------
    KeyError
        An unknown text.
    """
    return [_VECTORS[text] for text in texts]


class TxtaiStore:
    """An Embeddings of txtai with contents and both legs."""

    modes = ("dense", "lexical", "hybrid", "filtered dense", "filtered hybrid")
    batch = 5_000
    packages = ("txtai", "faiss-cpu")
    notes = (
        "faiss IVF with as many cells as it chooses (its default; its HNSW cannot delete), nprobe tuned; "
        "BM25 with terms; hybrid with equal weights",
        "filters are SQL over what the index returned: their effort is how many candidates it returns",
        "a lexical search on a hybrid index asks both legs and weighs the dense one with zero",
        "a write is durable after save(), which writes the whole index again",
    )

    def __init__(self) -> None:
        os.environ["ALLOW_RESOLVE_TRANSFORM"] = "True"

    def create(self, folder: Path, dim: int) -> None:
        """Configure; the files come with the first save."""
        from txtai import Embeddings

        self._path = str(folder / "txtai")
        self._embeddings = Embeddings(
            method="external", transform=f"{__name__}.lookup", content=True, hybrid=True, faiss={"nprobe": 16}
        )

    def open(self, folder: Path) -> None:
        """Load the index."""
        from txtai import Embeddings

        self._path = str(folder / "txtai")
        self._embeddings = Embeddings()
        self._embeddings.load(self._path)

    @staticmethod
    def _records(rows: Rows) -> Iterator[tuple[str, dict[str, Any], None]]:
        _VECTORS.update(zip(rows.texts, rows.vectors, strict=True))
        for id_, text, one in zip(rows.ids, rows.texts, rows.metadata, strict=True):
            yield id_, {"text": text, **one}, None

    def load(self, batches: Iterable[Rows]) -> None:
        """Index all at once, so that the cells are learned from all."""
        # Its indexing runs ahead of its encoding by a batch, so vectors of earlier rows stay until the end.
        self._embeddings.index(record for rows in batches for record in self._records(rows))
        _VECTORS.clear()

    def write(self, rows: Rows) -> None:
        """Upsert and save."""
        _VECTORS.clear()
        self._embeddings.upsert(self._records(rows))
        self._embeddings.save(self._path)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete; the write that follows saves."""
        self._embeddings.delete(list(ids))

    def finish(self) -> None:
        """Save."""
        self._embeddings.save(self._path)

    def maintain(self) -> None:
        """Save: it has no other upkeep short of indexing anew."""
        self._embeddings.save(self._path)

    def efforts(self) -> list[Effort]:
        """Cells visited, and candidates that a filter is applied to."""
        plain = [{"nprobe": value, "candidates": 0} for value in (4, 8, 16, 32, 64, 128, 256)]
        deep = ((32, 300), (32, 1_000), (64, 1_000), (64, 3_000), (128, 3_000), (256, 10_000))
        return [*plain, *({"nprobe": probes, "candidates": depth} for probes, depth in deep)]

    def search(self, query: Query, mode: str, k: int, effort: Effort) -> list[str]:
        """Ask in its SQL, for every field."""
        _VECTORS[query.text] = query.vector
        self._embeddings.ann.config.setdefault("faiss", {})["nprobe"] = effort["nprobe"]
        candidates = effort["candidates"]
        weight = 0.0 if mode == "lexical" else 0.5 if mode.endswith("hybrid") else 1.0
        similar = f"similar(:text, {candidates}, {weight})" if candidates else f"similar(:text, {weight})"
        filtered = (
            f" and newsgroup = :group and characters >= {query.characters}" if mode.startswith("filtered") else ""
        )
        found = self._embeddings.search(
            f"select id, text, newsgroup, date, organization, characters, score from txtai where {similar}{filtered}",
            k,
            parameters={"text": query.text, "group": query.group},
        )
        return [one["id"] for one in found]

    def present(self, ids: Sequence[str]) -> int:
        """Count by its own table of ids."""
        return len({uid for _, uid in self._embeddings.database.ids(list(ids))})

    def close(self) -> None:
        """Close files."""
        self._embeddings.close()
