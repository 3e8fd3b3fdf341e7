"""Keyword search over a collection: BM25, exact phrases, prefixes and exclusions, as an immutable value."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthant.collection.lexical.analysis import Analyzer, Clause, parsed
from orthant.collection.lexical.chunks import (
    CHUNK_ARRAYS,
    Chunk,
    Documents,
    IntArray,
    build_documents,
    compacted_chunks,
    locate,
    with_chunk,
    without_rows,
)
from orthant.collection.lexical.figures import LexicalStatistics, stored_analyzer
from orthant.collection.lexical.file import read_arrays, write_arrays
from orthant.collection.lexical.packed import PACKED_ARRAYS, PackedDocuments, pack_documents
from orthant.collection.lexical.plan import (
    QueryPlan,
    apply_condition,
    as_bitmap,
    make_plan,
    restrict,
    rows_mask,
    score_alone,
)
from orthant.collection.lexical.ranking import BatchSearch, Ranker
from orthant.collection.lexical.vocabulary import Vocabulary, from_streams
from orthant.errors import InputError, NotFoundError, message
from orthant.kernels.bitmaps import from_mask, from_rows, to_mask
from orthant.kernels.postings import accumulate_bm25, length_norm, top_documents
from orthant.types import BitmapArray, FloatArray, IdArray
from orthant.validate import as_ids, as_texts, check_count, check_fraction

__all__ = ["Lexical", "LexicalStatistics"]

_FORMAT = 2
"""1 held arrays as they are in memory, and is still read."""


class Lexical(BatchSearch):
    """Keyword index over texts, addressed by row: use it for exact words, names and codes that vectors blur.

    A value never changes: ``with_batch``, ``without`` and ``compacted`` return new values that share the unchanged
    parts, so any number of threads may search one while another makes the next. Not a store: keep the texts elsewhere.
    Values made from one another share a growing vocabulary.

    Parameters
    ----------
    analyzer : Analyzer
        Cuts texts and queries.
    k1 : float
        BM25's saturation.
    b : float
        BM25's length correction.
    vocabulary : Vocabulary
        Numbers of the words.
    chunks : tuple of Chunk
        The documents. Use ``empty`` or ``load`` instead of this constructor.

    Notes
    -----
    ``score = sum over the query's terms of n * ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * l /
    average))``: n times in the query, N live documents, df of them with the term, l the ranked words of the document.
    N, df and the average are exact over all live documents at all times, whatever the order of adds and deletes. A
    phrase or prefix is scored as one term whose occurrences are those of the phrase or of all its words. Stop words
    have no posting list and count no length; phrases see them.

    References
    ----------
    S. Robertson and H. Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, section 3.4.

    Examples
    --------
    >>> index = Lexical.empty().with_batch([0, 1, 2], ["a red fox", "the red house", "fox and hounds"])
    >>> rows, scores = index.search("foxes -red", k=10)
    >>> rows.tolist()
    [2]
    >>> index.without([2]).search('"red house"', k=10)[0].tolist()
    [1]
    """

    def __init__(
        self, analyzer: Analyzer, k1: float, b: float, vocabulary: Vocabulary, chunks: tuple[Chunk, ...]
    ) -> None:
        self.analyzer = analyzer
        self.k1 = k1
        self.b = b
        self._vocabulary = vocabulary
        self._chunks = chunks
        self._count = sum(chunk.live for chunk in chunks)
        length = sum(chunk.length for chunk in chunks)
        self._average = length / self._count if self._count else 0.0
        self._norms: dict[int, FloatArray] = {}
        self._latest: tuple[tuple[str, str], QueryPlan] | None = None
        self._compiled: Ranker | None = None

    @classmethod
    def empty(cls, *, analyzer: Analyzer | None = None, k1: float = 1.2, b: float = 0.75) -> Lexical:
        """Return an index without documents.

        Parameters
        ----------
        analyzer : Analyzer, optional
            Cuts texts and queries; ``Analyzer()`` when left out.
        k1 : float, default 1.2
            Saturation, 0 to 10: at 0 repeats of a word count nothing, at 10 almost fully.
        b : float, default 0.75
            Length correction, 0 to 1: at 0 long texts win, at 1 short ones.

        Returns
        -------
        Lexical
            The empty index.

        Raises
        ------
        InputError
            A setting out of range.
        """
        analyzer = Analyzer() if analyzer is None else analyzer
        k1 = check_fraction(k1, name="k1", high=10.0)
        b = check_fraction(b, name="b")
        return cls(analyzer, k1, b, Vocabulary(analyzer), ())

    def __len__(self) -> int:
        """Return the number of live documents."""
        return self._count

    def rows(self) -> IdArray:
        """Return the rows of the live documents.

        Returns
        -------
        ndarray of shape (n,), int64
            Ascending rows.
        """
        parts = [c.documents.rows if c.dead is None else c.documents.rows[~c.dead] for c in self._chunks]
        return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *parts]))

    @property
    def chunks(self) -> tuple[Chunk, ...]:
        """The parts with their postings, for statistics over many terms."""
        return self._chunks

    def spelling(self, term: int) -> str:
        """Return a word for a term of the postings, since a stem is not always one.

        Parameters
        ----------
        term : int
            Its number.

        Returns
        -------
        str
            The shortest word with that stem.
        """
        return self._vocabulary.spelling(term)

    def with_batch(self, rows: npt.ArrayLike, texts: Sequence[str]) -> Lexical:
        """Return the index with more documents.

        Parameters
        ----------
        rows : array-like of shape (n,), int64
            Their rows: distinct, not live in the index; ascending rows are fastest.
        texts : sequence of str
            One text per row. A text without a word is a legal document of length 0.

        Returns
        -------
        Lexical
            The larger index.

        Raises
        ------
        InputError
            Repeated, negative or already live rows, another number of texts, or a text that is not a str.

        Notes
        -----
        Cost: linear in the batch, plus joins of chunks that come to O(log n) per document over many batches.
        """
        texts = as_texts(texts)
        ids = as_ids(rows, count=len(texts), name="rows")
        if not len(ids):
            return self
        taken = ids[self._locate(ids)[0] >= 0]
        if len(taken):
            raise InputError(
                message(f"{len(taken)} row(s) already indexed, first {taken[0]}", "new rows", "remove them first")
            )
        fresh = build_documents(ids, texts, self.analyzer, self._vocabulary)
        return self._replaced(with_chunk(self._chunks, fresh))

    def without(self, rows: npt.ArrayLike) -> Lexical:
        """Return the index with some documents removed.

        Parameters
        ----------
        rows : array-like of shape (n,), int64
            Distinct rows of live documents. Their texts are not needed: document frequencies are counted live.

        Returns
        -------
        Lexical
            The smaller index.

        Raises
        ------
        NotFoundError
            A row without a live document; nothing is removed.
        InputError
            Repeated or negative rows.
        """
        ids = as_ids(rows, name="rows")
        owners, numbers = self._locate(ids)
        if np.any(owners < 0):
            absent = ids[owners < 0]
            raise NotFoundError(
                message(f"{len(absent)} row(s) not indexed, first {absent[0]}", "indexed rows", "check the rows")
            )
        return self._replaced(without_rows(self._chunks, owners, numbers))

    def compacted(self, live: BitmapArray | npt.ArrayLike | None = None) -> Lexical:
        """Return an index of one chunk, without dead documents, and without words that are gone once these are many.

        Parameters
        ----------
        live : uint64 bitmap, bool mask or array of int, optional
            Rows to keep; documents of other rows are removed. Left out, all live documents stay.

        Returns
        -------
        Lexical
            The same answers, less memory.

        Notes
        -----
        Cost: a copy of all postings; a sort of them where more than a fifth of the words are gone.
        """
        bitmap = as_bitmap(live, name="live")
        vocabulary, chunks = compacted_chunks(self._chunks, bitmap, self._vocabulary, self.analyzer)
        return Lexical(self.analyzer, self.k1, self.b, vocabulary, chunks)

    def search(
        self,
        query: str,
        *,
        k: int = 10,
        allowed: BitmapArray | npt.ArrayLike | None = None,
        live: BitmapArray | npt.ArrayLike | None = None,
        syntax: str = "operators",
    ) -> tuple[IdArray, FloatArray]:
        """Return the rows that match a query best.

        Parameters
        ----------
        query : str
            ``word`` may match, ``+word`` must, ``-word`` must not, ``"a phrase"`` must occur word for word,
            ``pre*`` stands for every word that starts so; see ``analysis.parse_query``. Never an error.
        k : int, default 10
            Rows wanted, at least 1.
        allowed : uint64 bitmap, bool mask or array of int, optional
            Rows that may be returned; scores stay those of the whole index.
        live : uint64 bitmap, bool mask or array of int, optional
            A further restriction of the same kind: rows the caller still holds.
        syntax : {"operators", "plain"}, default "operators"
            ``"plain"`` reads quotes, stars and signs as punctuation.

        Returns
        -------
        rows : ndarray of shape (m,), int64
            Best first, equal scores by the smaller row; m is at most k and may be 0.
        scores : ndarray of shape (m,), float32
            BM25 scores, all above 0, not comparable between queries.

        Raises
        ------
        InputError
            k below 1 or an unknown syntax.

        Notes
        -----
        Cost: O(postings of the query's terms + documents).
        """
        k = check_count(k, name="k")
        bitmaps = [b for b in (as_bitmap(allowed, name="allowed"), as_bitmap(live, name="live")) if b is not None]
        plan = self._plan(query, syntax)
        rows, scores = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
        for i, chunk in enumerate(self._chunks):
            values = self._score_chunk(i, plan, bitmaps)
            if values is None:
                continue
            best = top_documents(values, k)
            rows.append(chunk.documents.rows[best])
            scores.append(values[best])
        all_rows, all_scores = np.concatenate(rows), np.concatenate(scores)
        order = np.lexsort((all_rows, -all_scores))[:k]
        return all_rows[order], all_scores[order]

    def found(self, query: str, *, allowed: BitmapArray, syntax: str = "operators") -> BitmapArray:
        """Return all rows that ``search`` could return.

        Parameters
        ----------
        query : str
            As for ``search``.
        allowed : ndarray of uint64
            Bitmap of rows that may be returned.
        syntax : {"operators", "plain"}, default "operators"
            As for ``search``.

        Returns
        -------
        ndarray of uint64
            Bitmap of the rows with a score above 0.
        """
        plan = self._plan(query, syntax)
        kept = [np.zeros(0, dtype=np.int64)]
        for i, chunk in enumerate(self._chunks):
            values = self._score_chunk(i, plan, [allowed])
            if values is not None:
                kept.append(chunk.documents.rows[values > 0])
        return from_rows(np.concatenate(kept))

    def score_rows(self, query: str, rows: npt.ArrayLike, *, syntax: str = "operators") -> FloatArray:
        """Return the scores that ``search`` would give to certain rows.

        Parameters
        ----------
        query : str
            As for ``search``.
        rows : array-like of shape (n,), int64
            Distinct rows, known or not.
        syntax : {"operators", "plain"}, default "operators"
            As for ``search``.

        Returns
        -------
        ndarray of shape (n,), float32
            0 where nothing matches, where a condition fails, and where no live document is.

        Raises
        ------
        InputError
            Repeated or negative rows, or an unknown syntax.
        """
        return self._scored(query, as_ids(rows, name="rows"), syntax)

    def _scored(self, query: str, ids: IdArray, syntax: str) -> FloatArray:
        owners, numbers = self._locate(ids)
        plan = self._plan(query, syntax)
        out = np.zeros(len(ids), dtype=np.float32)
        for i in np.unique(owners[owners >= 0]):
            inside = np.flatnonzero(owners == i)
            wanted = numbers[inside]
            narrowed = [restrict(found, wanted) for found in plan.lists[i]]
            values = np.zeros(len(wanted), dtype=np.float32)
            norm = self._norm(int(i))[wanted]
            fits = np.ones(len(wanted), dtype=bool)
            for clause, (docs, counts), weight in zip(plan.clauses, narrowed, plan.weights, strict=True):
                if clause.mode != "not" and len(docs):
                    accumulate_bm25(values, docs, counts, norm, weight)
                apply_condition(fits, clause, docs)
            out[inside] = values * fits
        return out

    def matching(self, query: str, *, syntax: str = "operators") -> BitmapArray | None:
        """Return the rows that satisfy a query's ``+``, ``-`` and phrase conditions, for use on other legs of a search.

        Parameters
        ----------
        query : str
            As for ``search``.
        syntax : {"operators", "plain"}, default "operators"
            As for ``search``.

        Returns
        -------
        ndarray of uint64 or None
            Bitmap of live rows; None when the query states no such condition.
        """
        if all(clause.mode == "may" for clause in self._clauses(query, syntax)):
            return None
        plan = self._plan(query, syntax)
        kept = [np.zeros(0, dtype=np.int64)]
        for chunk, lists in zip(self._chunks, plan.lists, strict=True):
            fits = np.ones(len(chunk.documents.rows), dtype=bool) if chunk.dead is None else ~chunk.dead
            for clause, (docs, _) in zip(plan.clauses, lists, strict=True):
                apply_condition(fits, clause, docs)
            kept.append(chunk.documents.rows[fits])
        return from_rows(np.concatenate(kept))

    def clauses_in(self, query: str, row: int, *, syntax: str = "operators") -> list[tuple[Clause, float | None]]:
        """Return every clause of a query with what it adds to one document's score.

        Parameters
        ----------
        query, syntax
            As for ``search``.
        row : int
            The document.

        Returns
        -------
        list of (Clause, float or None)
            None where the document does not match the clause.
        """
        owners, numbers = self._locate(np.array([row], dtype=np.int64))
        plan = self._plan(query, syntax)
        if owners[0] < 0:
            return [(clause, None) for clause in plan.clauses]
        norm = self._norm(int(owners[0]))[numbers]
        return [
            (clause, score_alone(restrict(found, numbers), norm, weight))
            for clause, found, weight in zip(plan.clauses, plan.lists[owners[0]], plan.weights, strict=True)
        ]

    def statistics(self) -> LexicalStatistics:
        """Return what the index holds.

        Returns
        -------
        LexicalStatistics
            Counts and bytes.
        """
        chunks = self._chunks
        terms = np.unique(np.concatenate([np.zeros(0, dtype=np.int32), *[c.documents["terms"] for c in chunks]]))
        return LexicalStatistics(
            documents=self._count,
            dead=sum(len(c.documents.rows) - c.live for c in chunks),
            chunks=len(chunks),
            terms=len(terms),
            postings=sum(len(c.documents["docs"]) for c in chunks),
            words=sum(c.documents.token_count - len(c.documents.rows) for c in chunks),
            memory_bytes=sum(c.documents.nbytes for c in chunks),
            average_length=self._average,
        )

    def save(self, path: str | Path) -> None:
        """Write the index as one file that ``load`` maps.

        Parameters
        ----------
        path : str or Path
            Target, replaced at once; its folder must exist.
        """
        arrays = self._vocabulary.to_streams()
        for i, chunk in enumerate(self._chunks):
            arrays.update({f"{i}.{name}": stream for name, stream in pack_documents(chunk.documents).items()})
            if chunk.dead is not None:
                arrays[f"{i}.dead"] = from_mask(chunk.dead)
        settings = {
            "packed": True,
            "analyzer": {"stem": self.analyzer.stem, "stopwords": self.analyzer.stopwords},
            "fingerprint": self.analyzer.fingerprint,
            "k1": self.k1,
            "b": self.b,
            "chunks": [[c.live, c.length, len(c.documents.rows), c.dead is not None] for c in self._chunks],
        }
        write_arrays(path, version=_FORMAT, settings=settings, arrays=arrays)

    @classmethod
    def load(cls, path: str | Path, *, analyzer: Analyzer | None = None) -> Lexical:
        """Map an index that ``save`` wrote; arrays are read and checked when a search first needs them.

        Parameters
        ----------
        path : str or Path
            The file.
        analyzer : Analyzer, optional
            Required rules; left out, those of the file are used.

        Returns
        -------
        Lexical
            The index. A damaged array raises StoreCorruptedError from the call that first touches it.

        Raises
        ------
        NotFoundError
            No such file.
        StoreCorruptedError
            Cut short, or a damaged header.
        StoreVersionError
            Written by a release with other rules for words, or a newer format.
        InputError
            Another analyzer than required.
        """
        stored, settings = read_arrays(path, version=_FORMAT)
        packed = settings.get("packed", False)
        analyzer = stored_analyzer(path, settings, analyzer)
        chunks = []
        for i, (live, length, size, has_dead) in enumerate(settings["chunks"]):
            dead = to_mask(stored[f"{i}.dead"], size) if has_dead else None
            part = stored.part(f"{i}.", PACKED_ARRAYS if packed else CHUNK_ARRAYS)
            chunks.append(Chunk(PackedDocuments(part) if packed else Documents(part), dead, live, length))
        vocabulary = Vocabulary.stored(analyzer, lambda: from_streams(stored, packed=packed))
        return cls(analyzer, settings["k1"], settings["b"], vocabulary, tuple(chunks))

    def on_file(self, path: str | Path) -> Lexical:
        """Return the index with its documents mapped from the file that it was just saved to, its words in memory.

        Parameters
        ----------
        path : str or Path
            What ``save`` of this very value wrote.

        Returns
        -------
        Lexical
            The same answers.
        """
        chunks = Lexical.load(path, analyzer=self.analyzer)._chunks
        return Lexical(self.analyzer, self.k1, self.b, self._vocabulary, chunks)

    def check(self) -> None:
        """Read every array, so that a damaged file is found now rather than by a search.

        Raises
        ------
        StoreCorruptedError
            A stored array is not what was written; the text names file and block.
        """
        self._vocabulary.words()
        for chunk in self._chunks:
            for name in chunk.documents:
                chunk.documents[name]

    def _replaced(self, chunks: Sequence[Chunk]) -> Lexical:
        kept = tuple(chunk for chunk in chunks if chunk.live)
        return Lexical(self.analyzer, self.k1, self.b, self._vocabulary, kept)

    def _locate(self, rows: IdArray) -> tuple[IntArray, IntArray]:
        """Return chunk and document number of each row, -1 where no live document is."""
        return locate(self._chunks, rows)

    def _norm(self, i: int) -> FloatArray:
        norm = self._norms.get(i)
        if norm is None:
            lengths = self._chunks[i].documents["lengths"]
            norm = self._norms[i] = length_norm(lengths, self._average, k1=self.k1, b=self.b)
        return norm

    def _clauses(self, query: str, syntax: str) -> list[Clause]:
        if not isinstance(query, str):
            raise InputError(message(f"a query of type {type(query).__name__}", "str", "pass the query's text"))
        return parsed(query, self.analyzer, syntax)

    def _plan(self, query: str, syntax: str) -> QueryPlan:
        clauses = self._clauses(query, syntax)
        latest = self._latest  # Read once and assigned whole: threads with different queries only miss.
        if latest is None or latest[0] != (query, syntax):
            latest = (query, syntax), make_plan(clauses, self._vocabulary, self._chunks, count=self._count)
            self._latest = latest
        return latest[1]

    def _score_chunk(self, i: int, plan: QueryPlan, bitmaps: Sequence[BitmapArray]) -> FloatArray | None:
        """Return the scores of a chunk's documents, 0 for those that may not be returned; None when all are 0."""
        lists = plan.lists[i]
        scored = [j for j, clause in enumerate(plan.clauses) if clause.mode != "not" and len(lists[j][0])]
        if not scored:
            return None
        chunk = self._chunks[i]
        rows = chunk.documents.rows
        scores = np.zeros(len(rows), dtype=np.float32)
        for j in scored:
            accumulate_bm25(scores, *lists[j], self._norm(i), plan.weights[j])
        fits: npt.NDArray[np.bool_] | None = None if chunk.dead is None else ~chunk.dead
        for bitmap in bitmaps:
            mask = rows_mask(bitmap, rows)
            fits = mask if fits is None else fits & mask
        if any(clause.mode != "may" for clause in plan.clauses):
            fits = np.ones(len(rows), dtype=bool) if fits is None else fits.copy()
            for clause, (docs, _) in zip(plan.clauses, lists, strict=True):
                apply_condition(fits, clause, docs)
        if fits is not None:
            scores *= fits
        return scores
