"""The parts of a lexical index: a vocabulary that only grows, and chunks of documents that never change."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.lexical.analysis import SEPARATOR, Analyzer
from orthant.kernels.postings import (
    Postings,
    build_postings,
    drop_documents,
    find_phrase,
    join_postings,
    postings_of,
    renumber_documents,
)
from orthant.types import IdArray

__all__ = [
    "CHUNK_ARRAYS",
    "Documents",
    "build_documents",
    "join_chunks",
    "locate",
    "rebuild_chunk",
    "with_chunk",
    "without_rows",
]

CHUNK_ARRAYS = ("rows", "lengths", "offsets", "tokens", "terms", "indptr", "docs", "counts")
IntArray = npt.NDArray[Any]
_NO_TERM = -1
# Reading chosen documents costs about this many times more per word than reading all in order.
_NARROW = 6
_FAN_OUT = 4
_SMALLEST = 64
_MAX_DEAD = 0.5


class _Numbering(dict[str, int]):
    """Numbers strings in order of first look-up."""

    def __init__(self, words: Sequence[str]) -> None:
        super().__init__(zip(words, range(len(words)), strict=True))
        self.words = list(words)

    def __missing__(self, word: str) -> int:
        number = len(self.words)
        self.words.append(word)
        self[word] = number
        return number


class Vocabulary:
    """Numbers for words and for the terms they stand for; shared by all values of one index, and only ever extended.

    Parameters
    ----------
    analyzer : Analyzer
        Says which term a word stands for.

    Notes
    -----
    Word 0 is the separator of texts.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._lock = Lock()
        self._source: Callable[[], tuple[bytes, bytes, IntArray]] | None = None
        self._start([SEPARATOR], [], np.full(1024, _NO_TERM, dtype=np.int32))

    def _start(self, words: Sequence[str], terms: Sequence[str], term_of: IntArray) -> None:
        self._words = _Numbering(words)
        self._terms = _Numbering(terms)
        self._term_of = term_of
        self._known = len(words)
        self._joined = "\n"
        self._joined_count = 1

    @classmethod
    def stored(cls, analyzer: Analyzer, source: Callable[[], tuple[bytes, bytes, IntArray]]) -> Vocabulary:
        """Return a vocabulary that reads its strings when one is first needed.

        Parameters
        ----------
        analyzer : Analyzer
            Says which term a word stands for.
        source : callable
            Returns the words after the separator, and the terms, each joined by line ends in UTF-8, and the term
            number of each word from the separator on.

        Returns
        -------
        Vocabulary
            The vocabulary.
        """
        vocabulary = cls(analyzer)
        vocabulary._source = source
        return vocabulary

    def _ready(self) -> None:
        if self._source is None:
            return
        with self._lock:
            if self._source is None:
                return
            words, terms, term_of = self._source()
            self._start([SEPARATOR, *_lines(words)], _lines(terms), term_of)
            # Last, since other threads take this as the sign that everything above is in place.
            self._source = None

    def encode(self, tokens: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Return word and term numbers of tokens, numbering new ones.

        Parameters
        ----------
        tokens : sequence of str
            Words and separators.

        Returns
        -------
        words : ndarray of shape (T,), int32
            Word numbers, 0 for the separator.
        terms : ndarray of shape (T,), int32
            Term numbers, -1 for separators and stop words.
        """
        self._ready()
        with self._lock:
            words = np.fromiter(map(self._words.__getitem__, tokens), dtype=np.int32, count=len(tokens))
            self._extend()
            return words, self._term_of[words]

    def _extend(self) -> None:
        known = len(self._words.words)
        if known > len(self._term_of):
            grown = np.full(2 * known, _NO_TERM, dtype=np.int32)
            grown[: self._known] = self._term_of[: self._known]
            self._term_of = grown
        analyzer = self._analyzer
        for number in range(self._known, known):
            word = self._words.words[number]
            if not analyzer.is_stop_word(word):
                self._term_of[number] = self._terms[analyzer.term(word)]
        self._known = known

    def word_number(self, word: str) -> int:
        """Return a word's number, -1 when no document ever had it."""
        self._ready()
        return self._words.get(word, -1)

    def term_number(self, term: str) -> int:
        """Return a term's number, -1 when no document ever had it."""
        self._ready()
        return self._terms.get(term, -1)

    def terms_of_words(self, words: Sequence[int]) -> list[int]:
        """Return the distinct terms of some words, ascending, stop words left out."""
        self._ready()
        # A writer may have numbered words whose terms are not set yet; no chunk that a reader holds has them.
        known = self._known
        numbers = np.array([word for word in words if word < known], dtype=np.int64)
        return [term for term in np.unique(self._term_of[numbers]).tolist() if term >= 0]

    def words_with(self, part: str, *, prefix: bool) -> list[int]:
        """Return the numbers of the words that start with a part, or contain it anywhere.

        Parameters
        ----------
        part : str
            At least one character; never a line end.
        prefix : bool
            Whether the word must start with it.

        Returns
        -------
        list of int
            Ascending word numbers.
        """
        self._ready()
        joined = self._join()
        pattern = "\n" + part if prefix else part
        found: set[int] = set()
        at = joined.find(pattern)
        while at >= 0:
            start = at + 1 if prefix else joined.rfind("\n", 0, at) + 1
            end = joined.find("\n", at + len(pattern))
            found.add(self._words[joined[start:end]])
            at = joined.find(pattern, end)
        return sorted(found)

    def _join(self) -> str:
        with self._lock:
            if self._joined_count < self._known:
                self._joined += "\n".join(self._words.words[self._joined_count : self._known]) + "\n"
                self._joined_count = self._known
            return self._joined

    def words(self) -> list[str]:
        """Return all words by number, the separator first."""
        self._ready()
        with self._lock:
            return self._words.words[: self._known]

    def spelling(self, term: int) -> str:
        """Return the shortest word that stands for a term, the first seen of equally short ones."""
        self._ready()
        numbers = np.flatnonzero(self._term_of[: self._known] == term).tolist()
        return min((self._words.words[number] for number in numbers), key=len)

    def to_arrays(self) -> dict[str, bytes | IntArray]:
        """Return what ``stored`` reads: ``words``, ``terms`` and ``term_of``."""
        self._ready()
        with self._lock:
            words, terms = self._words.words[1 : self._known], self._terms.words
            return {
                "words": "\n".join(words).encode("utf-8", "surrogatepass"),
                "terms": "\n".join(terms).encode("utf-8", "surrogatepass"),
                "term_of": self._term_of[: self._known].copy(),
            }


def _lines(blob: bytes) -> list[str]:
    text = blob.decode("utf-8", "surrogatepass")
    return text.split("\n") if text else []


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
        candidates = min((postings_of(self.postings, term)[0] for term in terms), key=len, default=None)
        if candidates is None or len(candidates) * _NARROW > len(self.rows):
            starts = find_phrase(tokens, words)
            docs = np.searchsorted(offsets, starts, side="right") - 1
            return np.unique(docs.astype(np.int32), return_counts=True)
        spans = offsets[candidates + 1] - offsets[candidates]
        ends = np.cumsum(spans)
        source = np.repeat(offsets[candidates] - (ends - spans), spans) + np.arange(int(spans.sum()))
        places = np.searchsorted(ends, find_phrase(tokens[source], words), side="right")
        return np.unique(candidates[places], return_counts=True)


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


def rebuild_chunk(chunk: Chunk, old: Vocabulary, new: Vocabulary) -> Chunk:
    """Return a chunk with its words numbered by another vocabulary.

    Parameters
    ----------
    chunk : Chunk
        Without dead documents.
    old : Vocabulary
        Numbers of its words.
    new : Vocabulary
        Extended with those words that the chunk uses, in their old order.

    Returns
    -------
    Chunk
        The same documents.
    """
    tokens = chunk.documents["tokens"]
    used = np.flatnonzero(np.bincount(tokens))
    words = old.words()
    numbers = np.zeros(int(used[-1]) + 1, dtype=np.int32)
    terms = np.full(len(numbers), _NO_TERM, dtype=np.int32)
    numbers[used], terms[used] = new.encode([words[i] for i in used.tolist()])
    return _assemble(chunk.documents.rows, numbers[tokens], terms[tokens])
