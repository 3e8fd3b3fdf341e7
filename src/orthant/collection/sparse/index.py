"""Posting lists with weights: exact dot products with sparse queries, as an immutable value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from orthant.collection.lexical.chunks import Chunk, Documents, IntArray, join_chunks, locate, with_chunk, without_rows
from orthant.collection.lexical.file import read_arrays, write_arrays
from orthant.collection.lexical.plan import restrict, rows_mask
from orthant.encoders.sparse.rows import SparseRows, SparseVector
from orthant.kernels.bitmaps import contains_rows, from_mask, from_rows, to_mask
from orthant.kernels.postings import accumulate_products, build_weighted_postings, postings_of, top_documents
from orthant.types import BitmapArray, FloatArray, IdArray

__all__ = ["WeightedIndex"]

_FORMAT = 1
_ARRAYS = ("rows", "lengths", "terms", "indptr", "docs", "counts")


class WeightedIndex:
    """Sparse vectors by row, searched by dot product: the chunks of the lexical index, with weights for counts.

    A value never changes: ``with_batch``, ``without`` and ``compacted`` return new values that share unchanged parts.

    Parameters
    ----------
    dim : int
        Terms of the vocabulary.
    chunks : tuple of Chunk, optional
        The vectors.

    Notes
    -----
    ``score = sum_t q_t * d_t`` in float32, added in the order of terms, so it does not depend on how rows are spread
    over chunks. Only rows that share a term with the query have a score. Memory: 8 bytes per weight.

    Examples
    --------
    >>> from orthant.encoders.sparse.rows import as_sparse_rows
    >>> rows = as_sparse_rows([{0: 1.0, 2: 0.5}, {2: 2.0}], dim=3)
    >>> index = WeightedIndex(3).with_batch(np.array([7, 9]), rows)
    >>> index.search(as_sparse_rows([{2: 2.0}], dim=3)[0], k=2)[0].tolist()
    [9, 7]
    """

    def __init__(self, dim: int, chunks: tuple[Chunk, ...] = ()) -> None:
        self.dim = dim
        self._chunks = chunks
        self._count = sum(chunk.live for chunk in chunks)

    def __len__(self) -> int:
        """Return the number of live vectors."""
        return self._count

    @property
    def weights(self) -> int:
        """Stored weights, those of dead vectors included."""
        return sum(len(chunk.documents["docs"]) for chunk in self._chunks)

    @property
    def memory_bytes(self) -> int:
        """Bytes of the arrays, in memory or mapped."""
        return sum(array.nbytes for chunk in self._chunks for array in chunk.documents.values())

    def rows(self) -> IdArray:
        """Return the rows of the live vectors.

        Returns
        -------
        ndarray of shape (n,), int64
            Ascending.
        """
        parts = [c.documents.rows if c.dead is None else c.documents.rows[~c.dead] for c in self._chunks]
        return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *parts]))

    def with_batch(self, rows: IdArray, vectors: SparseRows) -> WeightedIndex:
        """Return the index with more vectors.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Ascending rows that are not held yet.
        vectors : SparseRows
            One per row; those without a term are left out.

        Returns
        -------
        WeightedIndex
            The larger index.
        """
        kept = np.flatnonzero(vectors.sizes)
        if not len(kept):
            return self
        if len(kept) < len(rows):
            rows, vectors = rows[kept], vectors.take(kept)
        docs = np.repeat(np.arange(len(rows), dtype=np.int32), vectors.sizes)
        postings = build_weighted_postings(vectors.indices, docs, vectors.values)
        arrays = {"rows": rows.copy(), "lengths": vectors.sizes.astype(np.int32), **postings._asdict()}
        fresh = Chunk(Documents(arrays), None, len(rows), len(docs))
        return self._replaced(with_chunk(self._chunks, fresh))

    def without(self, rows: IdArray) -> WeightedIndex:
        """Return the index with some rows removed.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Distinct; those without a vector are ignored.

        Returns
        -------
        WeightedIndex
            The smaller index.
        """
        owners, numbers = locate(self._chunks, rows)
        held = owners >= 0
        if not held.any():
            return self
        return self._replaced(without_rows(self._chunks, owners[held], numbers[held]))

    def compacted(self, live: BitmapArray) -> WeightedIndex:
        """Return an index of one chunk without dead vectors.

        Parameters
        ----------
        live : ndarray of uint64
            Rows to keep.

        Returns
        -------
        WeightedIndex
            The same answers, less memory.
        """
        rows = self.rows()
        left = self.without(rows[~contains_rows(live, rows)])
        return WeightedIndex(self.dim, (join_chunks(left._chunks),) if left._chunks else ())

    def search(
        self,
        query: SparseVector,
        *,
        k: int,
        allowed: BitmapArray | None = None,
        live: BitmapArray | None = None,
    ) -> tuple[IdArray, FloatArray]:
        """Return the rows with the largest dot products; exact.

        Parameters
        ----------
        query : SparseVector
            The query.
        k : int
            Rows wanted, at least 1.
        allowed, live : ndarray of uint64, optional
            Rows that may be returned.

        Returns
        -------
        rows : ndarray of shape (m,), int64
            Best first, equal scores by the smaller row; m is at most k.
        scores : ndarray of shape (m,), float32
            All above 0.

        Notes
        -----
        Cost: O(postings of the query's terms + vectors).
        """
        rows, scores = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
        for chunk, values in self._scored(query, [b for b in (allowed, live) if b is not None]):
            best = top_documents(values, k)
            rows.append(chunk.documents.rows[best])
            scores.append(values[best])
        all_rows, all_scores = np.concatenate(rows), np.concatenate(scores)
        order = np.lexsort((all_rows, -all_scores))[:k]
        return all_rows[order], all_scores[order]

    def found(self, query: SparseVector, *, allowed: BitmapArray) -> BitmapArray:
        """Return all rows that ``search`` could return.

        Parameters
        ----------
        query : SparseVector
            The query.
        allowed : ndarray of uint64
            Rows that may be returned.

        Returns
        -------
        ndarray of uint64
            Bitmap of the rows with a score above 0.
        """
        kept = [c.documents.rows[values > 0] for c, values in self._scored(query, [allowed])]
        return from_rows(np.concatenate([np.zeros(0, dtype=np.int64), *kept]))

    def score_rows(self, query: SparseVector, rows: IdArray) -> FloatArray:
        """Return the scores that ``search`` would give to certain rows.

        Parameters
        ----------
        query : SparseVector
            The query.
        rows : ndarray of shape (n,), int64
            Distinct rows, known or not.

        Returns
        -------
        ndarray of shape (n,), float32
            0 where no term is shared, and where no vector is.
        """
        owners, numbers = locate(self._chunks, rows)
        out = np.zeros(len(rows), dtype=np.float32)
        for i in np.unique(owners[owners >= 0]).tolist():
            inside = np.flatnonzero(owners == i)
            values = np.zeros(len(inside), dtype=np.float32)
            for found, weight in self._lists(self._chunks[i], query):
                docs, weights = restrict(found, numbers[inside])
                accumulate_products(values, docs, weights, weight)
            out[inside] = values
        return out

    def shares(self, query: SparseVector, row: int) -> list[tuple[int, float, float]]:
        """Return what each shared term adds to the score of a row.

        Parameters
        ----------
        query : SparseVector
            The query.
        row : int
            A row, known or not.

        Returns
        -------
        list of (int, float, float)
            Term, weight in the query and weight in the row, in the order of terms; the products sum to the score.
        """
        owners, numbers = locate(self._chunks, np.array([row], dtype=np.int64))
        if owners[0] < 0:
            return []
        postings, out = self._chunks[int(owners[0])].documents.postings, []
        for term, weight in query.to_dict().items():
            found = restrict(postings_of(postings, term), numbers)
            out += [(term, weight, float(own)) for own in found[1].tolist()]
        return out

    def has_rows(self, rows: IdArray) -> np.ndarray:
        """Return which rows have a live vector.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Rows.

        Returns
        -------
        ndarray of shape (n,), bool
            Membership.
        """
        return locate(self._chunks, rows)[0] >= 0

    def save(self, path: str | Path) -> None:
        """Write the index as one file that ``load`` maps.

        Parameters
        ----------
        path : str or Path
            Target, replaced at once; its folder must exist.
        """
        arrays = {}
        for i, chunk in enumerate(self._chunks):
            arrays.update({f"{i}.{name}": array for name, array in chunk.documents.items()})
            if chunk.dead is not None:
                arrays[f"{i}.dead"] = from_mask(chunk.dead)
        told = [[c.live, c.length, len(c.documents.rows), c.dead is not None] for c in self._chunks]
        write_arrays(path, version=_FORMAT, settings={"dim": self.dim, "chunks": told}, arrays=arrays)

    @classmethod
    def load(cls, path: str | Path) -> WeightedIndex:
        """Map an index that ``save`` wrote.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        WeightedIndex
            A damaged array raises StoreCorruptedError from the call that first touches it.

        Raises
        ------
        NotFoundError
            No such file.
        StoreCorruptedError
            Cut short, or a damaged header.
        StoreVersionError
            A newer format.
        """
        stored, settings = read_arrays(path, version=_FORMAT)
        chunks = []
        for i, (live, length, size, has_dead) in enumerate(settings["chunks"]):
            dead = to_mask(stored[f"{i}.dead"], size) if has_dead else None
            chunks.append(Chunk(Documents(stored.part(f"{i}.", _ARRAYS)), dead, live, length))
        return cls(settings["dim"], tuple(chunks))

    def _replaced(self, chunks: Sequence[Chunk]) -> WeightedIndex:
        return WeightedIndex(self.dim, tuple(chunk for chunk in chunks if chunk.live))

    def _lists(self, chunk: Chunk, query: SparseVector) -> Iterator[tuple[tuple[IntArray, IntArray], float]]:
        for term, weight in zip(query.indices.tolist(), query.values.tolist(), strict=True):
            found = postings_of(chunk.documents.postings, term)
            if len(found[0]):
                yield found, weight

    def _scored(self, query: SparseVector, masks: Sequence[BitmapArray]) -> Iterator[tuple[Chunk, FloatArray]]:
        """Yield every chunk that shares a term with the query, and its scores, 0 for what may not be returned."""
        for chunk in self._chunks:
            rows = chunk.documents.rows
            scores: FloatArray | None = None
            for found, weight in self._lists(chunk, query):
                if scores is None:
                    scores = np.zeros(len(rows), dtype=np.float32)
                accumulate_products(scores, *found, weight)
            if scores is None:
                continue
            if chunk.dead is not None:
                scores[chunk.dead] = 0
            for mask in masks:
                scores *= rows_mask(mask, rows)
            yield chunk, scores
