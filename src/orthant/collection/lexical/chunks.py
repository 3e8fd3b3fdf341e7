"""The parts of a lexical index: chunks of documents that never change."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.lexical.analysis import Analyzer
from orthant.collection.lexical.vocabulary import NO_TERM, Vocabulary
from orthant.kernels.bitmaps import contains_rows
from orthant.kernels.postings import (
    Postings,
    build_postings,
    drop_documents,
    find_phrase,
    join_postings,
    postings_of,
    renumber_documents,
)
from orthant.types import BitmapArray, IdArray

__all__ = [
    "CHUNK_ARRAYS",
    "Documents",
    "build_documents",
    "compacted_chunks",
    "join_chunks",
    "locate",
    "narrow_candidates",
    "with_chunk",
    "without_rows",
]

CHUNK_ARRAYS = ("rows", "lengths", "offsets", "tokens", "terms", "indptr", "docs", "counts")
IntArray = npt.NDArray[Any]
# Reading chosen documents costs about this many times more per word than reading all in order.
_NARROW = 6
_FAN_OUT = 4
_SMALLEST = 64
_MAX_DEAD = 0.5
_USED = 0.8
"""Share of the words in use below which numbers are given anew."""


class Documents(Mapping[str, IntArray]):
    """The arrays of some documents: immutable, in memory or mapped from a file.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        The arrays of ``CHUNK_ARRAYS``; without ``offsets`` and ``tokens`` where only posting lists are kept. A mapping
        that checks a stored array on first access raises from here.
    """

    def __init__(self, arrays: Mapping[str, IntArray]) -> None:
        self._arrays = arrays

    def __getitem__(self, name: str) -> IntArray:
        """Return one array."""
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._arrays)

    @cached_property
    def postings(self) -> Postings:
        """The posting lists."""
        return Postings(self["terms"], self["indptr"], self["docs"], self["counts"])

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.values())

    @property
    def token_count(self) -> int:
        """Words and separators."""
        return len(self["tokens"])

    @cached_property
    def rows(self) -> IdArray:
        """Ascending rows."""
        return self["rows"]

    def phrase(self, words: Sequence[int], terms: Sequence[int]) -> tuple[IntArray, IntArray]:
        """Return the documents with some words side by side, and how often.

        Parameters
        ----------
        words : sequence of int
            Word numbers.
        terms : sequence of int
            Term numbers of those words that have one; their posting lists narrow the reading.

        Returns
        -------
        docs, counts : ndarray of shape (m,)
            As a posting list.
        """
        tokens, offsets = self["tokens"], self["offsets"]
        candidates = narrow_candidates(self, terms)
        if candidates is None:
            starts = find_phrase(tokens, words)
            docs = np.searchsorted(offsets, starts, side="right") - 1
            return np.unique(docs.astype(np.int32), return_counts=True)
        spans = offsets[candidates + 1] - offsets[candidates]
        ends = np.cumsum(spans)
        source = np.repeat(offsets[candidates] - (ends - spans), spans) + np.arange(int(spans.sum()))
        places = np.searchsorted(ends, find_phrase(tokens[source], words), side="right")
        return np.unique(candidates[places], return_counts=True)


def narrow_candidates(documents: Documents, terms: Sequence[int]) -> IntArray | None:
    """Return the documents that a phrase can only be in, where they are few enough to be read one by one.

    Parameters
    ----------
    documents : Documents
        Where it is looked for.
    terms : sequence of int
        Terms that such a document has.

    Returns
    -------
    ndarray of shape (m,), int32, or None
        Ascending; None where all documents are read sooner.
    """
    candidates = min((postings_of(documents.postings, term)[0] for term in terms), key=len, default=None)
    if candidates is None or len(candidates) * _NARROW > len(documents.rows):
        return None
    return candidates


@dataclass(frozen=True)
class Chunk:
    """Documents and which of them are dead.

    Attributes
    ----------
    documents : Documents
        The arrays.
    dead : ndarray of shape (n,), bool, or None
        Removed documents; None when none is.
    live : int
        Documents that are not dead.
    length : int
        Ranked words over the live documents.
    """

    documents: Documents
    dead: npt.NDArray[np.bool_] | None
    live: int
    length: int

    def find(self, rows: IdArray) -> IntArray:
        """Return each row's document number, -1 where this chunk has no live document of that row."""
        own = self.documents.rows
        if len(own) == 0:
            return np.full(len(rows), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(own, rows), len(own) - 1)
        missing = own[place] != rows
        if self.dead is not None:
            missing |= self.dead[place]
        return np.where(missing, -1, place)

    def without(self, numbers: IntArray) -> Chunk:
        """Return the chunk with some live documents dead."""
        dead = np.zeros(len(self.documents.rows), dtype=bool) if self.dead is None else self.dead.copy()
        dead[numbers] = True
        gone = int(self.documents["lengths"][numbers].sum(dtype=np.int64))
        return Chunk(self.documents, dead, self.live - len(numbers), self.length - gone)

    def count_live(self, docs: IntArray) -> int:
        """Return how many documents of a posting list are live."""
        return len(docs) if self.dead is None else len(docs) - int(np.count_nonzero(self.dead[docs]))


def build_documents(rows: IdArray, texts: Sequence[str], analyzer: Analyzer, vocabulary: Vocabulary) -> Chunk:
    """Return new documents as a chunk.

    Parameters
    ----------
    rows : ndarray of shape (n,), int64
        Distinct rows in any order.
    texts : sequence of str
        One per row.
    analyzer : Analyzer
        Cuts the texts.
    vocabulary : Vocabulary
        Extended with new words.

    Returns
    -------
    Chunk
        All of them live.
    """
    if np.any(rows[1:] < rows[:-1]):
        order = np.argsort(rows)
        rows, texts = rows[order], [texts[i] for i in order]
    tokens, terms = vocabulary.encode(analyzer.split_batch(texts))
    return _assemble(rows.copy(), tokens, terms)


def _assemble(rows: IdArray, tokens: IntArray, terms: IntArray) -> Chunk:
    offsets = np.concatenate((np.zeros(1, dtype=np.int64), np.flatnonzero(tokens == 0) + 1))
    docs = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(offsets))
    ranked = terms >= 0
    docs = docs[ranked]
    lengths = np.bincount(docs, minlength=len(rows)).astype(np.int32)
    postings = build_postings(terms[ranked], docs)
    arrays = {"rows": rows, "lengths": lengths, "offsets": offsets, "tokens": tokens, **postings._asdict()}
    return Chunk(Documents(arrays), None, len(rows), len(docs))


def join_chunks(chunks: Sequence[Chunk]) -> Chunk:
    """Return the live documents of several chunks as one chunk.

    Parameters
    ----------
    chunks : sequence of Chunk
        At least one.

    Returns
    -------
    Chunk
        Without dead documents.
    """
    parts = [_live_arrays(chunk) for chunk in chunks]
    sizes = [len(part["rows"]) for part in parts]
    bases = [0, *itertools.accumulate(sizes[:-1])]
    joined = join_postings([Postings(p["terms"], p["indptr"], p["docs"], p["counts"]) for p in parts], bases)
    lengths = np.concatenate([part["lengths"] for part in parts])
    arrays = {"rows": np.concatenate([part["rows"] for part in parts]), "lengths": lengths}
    if "tokens" in parts[0]:
        arrays["offsets"] = _offsets(np.concatenate([np.diff(part["offsets"]) for part in parts]))
        arrays["tokens"] = np.concatenate([part["tokens"] for part in parts])
    arrays |= joined._asdict()
    return Chunk(Documents(_in_row_order(arrays)), None, len(lengths), int(lengths.sum(dtype=np.int64)))


def _live_arrays(chunk: Chunk) -> Mapping[str, IntArray]:
    documents = chunk.documents
    if chunk.dead is None:
        return documents
    keep = ~chunk.dead
    numbers = np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int32)
    kept = {"rows": documents["rows"][keep], "lengths": documents["lengths"][keep]}
    if "tokens" in documents:
        spans = np.diff(documents["offsets"])
        kept["offsets"] = _offsets(spans[keep])
        kept["tokens"] = documents["tokens"][np.repeat(keep, spans)]
    return kept | drop_documents(documents.postings, numbers)._asdict()


def _offsets(spans: IntArray) -> IntArray:
    return np.concatenate((np.zeros(1, dtype=np.int64), np.cumsum(spans, dtype=np.int64)))


def _in_row_order(arrays: dict[str, IntArray]) -> dict[str, IntArray]:
    rows = arrays["rows"]
    if not np.any(rows[1:] < rows[:-1]):
        return arrays
    order = np.argsort(rows)
    numbers = np.empty(len(rows), dtype=np.int32)
    numbers[order] = np.arange(len(rows), dtype=np.int32)
    postings = Postings(arrays["terms"], arrays["indptr"], arrays["docs"], arrays["counts"])
    out = {"rows": rows[order], "lengths": arrays["lengths"][order]}
    if "tokens" in arrays:
        spans = np.diff(arrays["offsets"])[order]
        offsets = _offsets(spans)
        source = np.repeat(arrays["offsets"][order] - offsets[:-1], spans) + np.arange(int(offsets[-1]))
        out |= {"offsets": offsets, "tokens": arrays["tokens"][source]}
    return out | renumber_documents(postings, numbers)._asdict()


def locate(chunks: Sequence[Chunk], rows: IdArray) -> tuple[IntArray, IntArray]:
    """Return where each row's live document is.

    Parameters
    ----------
    chunks : sequence of Chunk
        All documents.
    rows : ndarray of shape (n,), int64
        Rows, known or not.

    Returns
    -------
    owners, numbers : ndarray of shape (n,), int64
        Chunk and document number, -1 where no live document is.
    """
    owners = np.full(len(rows), -1, dtype=np.int64)
    numbers = np.full(len(rows), -1, dtype=np.int64)
    for i, chunk in enumerate(chunks):
        found = chunk.find(rows)
        here = found >= 0
        owners[here] = i
        numbers[here] = found[here]
    return owners, numbers


def with_chunk(chunks: Sequence[Chunk], fresh: Chunk) -> list[Chunk]:
    """Return the chunks with one more, joined where several of like size have gathered.

    Parameters
    ----------
    chunks : sequence of Chunk
        Those that exist.
    fresh : Chunk
        The new one.

    Returns
    -------
    list of Chunk
        A posting is copied a number of times that grows with the logarithm of all documents.
    """
    out = [*chunks, fresh]
    while True:
        level = _level(out[-1])
        start = len(out)
        while start and _level(out[start - 1]) <= level:
            start -= 1
        if len(out) - start < _FAN_OUT:
            return out
        out[start:] = [join_chunks(out[start:])]


def _level(chunk: Chunk) -> int:
    level = 0
    size = chunk.live // _SMALLEST
    while size >= _FAN_OUT:
        size //= _FAN_OUT
        level += 1
    return level


def without_rows(chunks: Sequence[Chunk], owners: IntArray, numbers: IntArray) -> list[Chunk]:
    """Return the chunks with some documents dead; one that is mostly dead is written anew.

    Parameters
    ----------
    chunks : sequence of Chunk
        Those that exist.
    owners, numbers : ndarray of shape (n,), int64
        Chunk and number of each document that goes, none of them -1.

    Returns
    -------
    list of Chunk
        As many as before.
    """
    out = list(chunks)
    for i in np.unique(owners).tolist():
        chunk = out[i].without(numbers[owners == i])
        total = len(chunk.documents.rows)
        out[i] = join_chunks([chunk]) if total - chunk.live > _MAX_DEAD * total else chunk
    return out


def compacted_chunks(
    chunks: Sequence[Chunk], live: BitmapArray | None, vocabulary: Vocabulary, analyzer: Analyzer
) -> tuple[Vocabulary, tuple[Chunk, ...]]:
    """Return the live documents of some chunks as one, and the numbers of its words.

    Parameters
    ----------
    chunks : sequence of Chunk
        All documents.
    live : ndarray of uint64 or None
        Rows to keep.
    vocabulary : Vocabulary
        Numbers of their words.
    analyzer : Analyzer
        Rules for words.

    Returns
    -------
    vocabulary : Vocabulary
        The same one as long as four fifths of its words are in use; else one without the others.
    chunks : tuple of Chunk
        One, or none where nothing is live.
    """
    kept = []
    for chunk in chunks:
        if live is not None:
            found = chunk.find(chunk.documents.rows)
            chunk = chunk.without(found[(found >= 0) & ~contains_rows(live, chunk.documents.rows)])
        if chunk.live:
            kept.append(chunk)
    if not kept:
        return Vocabulary(analyzer), ()
    joined = join_chunks(kept)
    used = int(np.count_nonzero(np.bincount(joined.documents["tokens"])))
    # Numbers given anew mean that every word is made again, beside those that searches still hold.
    if used >= _USED * len(vocabulary.words()):
        return vocabulary, (joined,)
    fresh = Vocabulary(analyzer)
    return fresh, (_renumbered(joined, vocabulary, fresh),)


def _renumbered(chunk: Chunk, old: Vocabulary, new: Vocabulary) -> Chunk:
    """Return a chunk with its words numbered by another vocabulary, extended with them in their old order."""
    tokens = chunk.documents["tokens"]
    used = np.flatnonzero(np.bincount(tokens))
    words = old.words()
    numbers = np.zeros(int(used[-1]) + 1, dtype=np.int32)
    terms = np.full(len(numbers), NO_TERM, dtype=np.int32)
    numbers[used], terms[used] = new.encode([words[i] for i in used.tolist()])
    return _assemble(chunk.documents.rows, numbers[tokens], terms[tokens])
