"""Numbers for words and terms: a vocabulary that only grows.

What a file holds is searched as it lies there, by hashes: most processes only look words up, and dictionaries of all
words would be the largest thing that they hold. Who adds words makes these.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.collection.lexical import varbytes
from orthant.collection.lexical.analysis import SEPARATOR, Analyzer
from orthant.threads import Turn

__all__ = ["NO_TERM", "from_streams"]

IntArray = npt.NDArray[Any]

NO_TERM = -1
"""In place of a term: separators and stop words."""

_LINE_END = 10
_TOGETHER = 4096
_REMEMBERED = 8192
_UTF8 = ("utf-8", "surrogatepass")


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


class _Lines:
    """Strings that do not change, joined by line ends; found by their checksums."""

    def __init__(self, blob: bytes) -> None:
        self.blob = blob
        ends = np.flatnonzero(np.frombuffer(blob, np.uint8) == _LINE_END)
        starts = np.concatenate(([0], ends + 1, [len(blob) + 1])) if blob else np.zeros(1, np.int64)
        # Single numbers are taken from views of arrays: those of NumPy cost more than all else that a look-up does.
        self._starts = starts.astype(np.int64).data
        sums = np.fromiter(self._checksums(), dtype=np.uint32, count=len(starts) - 1)
        order = np.argsort(sums, kind="stable").astype(np.int32)
        self._order, self._sums = order.data, sums[order].data
        # Queries share most of their words.
        self._found: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    def _checksums(self) -> Iterator[int]:
        # Some at a time: a list of all strings would take more memory than all that stays.
        for begin in range(0, len(self._starts) - 1, _TOGETHER):
            stop = min(begin + _TOGETHER, len(self._starts) - 1)
            yield from map(zlib.crc32, self.blob[self._starts[begin] : self._starts[stop] - 1].split(b"\n"))

    def __getitem__(self, number: int) -> str:
        return self.blob[self._starts[number] : self._starts[number + 1] - 1].decode(*_UTF8)

    def find(self, wanted: str) -> int:
        """Return a string's number, -1 where it is none of these."""
        number = self._found.get(wanted)
        if number is None:
            if len(self._found) >= _REMEMBERED:
                self._found = {}
            number = self._found[wanted] = self._look_up(wanted)
        return number

    def _look_up(self, wanted: str) -> int:
        data = wanted.encode(*_UTF8)
        value = zlib.crc32(data)
        at = bisect_left(self._sums, value)
        while at < len(self._sums) and self._sums[at] == value:
            number = self._order[at]
            if self.blob[self._starts[number] : self._starts[number + 1] - 1] == data:
                return number
            at += 1
        return -1

    def all(self) -> list[str]:
        """Return every string by its number."""
        return self.blob.decode(*_UTF8).split("\n") if self.blob else []


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
        self._lock = Turn()
        self._source: Callable[[], tuple[bytes, bytes, IntArray]] | None = None
        self._stored: tuple[_Lines, _Lines] | None = None
        self._words, self._terms = _Numbering([SEPARATOR]), _Numbering([])
        self._term_of = np.full(1024, NO_TERM, dtype=np.int32)
        self._known = 1
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

    def _ready(self) -> tuple[_Lines, _Lines] | None:
        """Return the stored words and terms; None where dictionaries are in their place."""
        if self._source is None:
            return self._stored
        with self._lock:
            if self._source is not None:
                words, terms, term_of = self._source()
                self._stored = _Lines(words), _Lines(terms)
                self._term_of, self._known = term_of, len(term_of)
                # Last, since other threads take this as the sign that everything above is in place.
                self._source = None
            return self._stored

    def _own(self) -> None:
        """Make dictionaries of what was stored; the caller holds the lock."""
        if self._stored is not None:
            words, terms = self._stored
            self._words, self._terms = _Numbering([SEPARATOR, *words.all()]), _Numbering(terms.all())
            # Last, since other threads look here first.
            self._stored = None

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
            self._own()
            words = np.fromiter(map(self._words.__getitem__, tokens), dtype=np.int32, count=len(tokens))
            self._extend()
            return words, self._term_of[words]

    def _extend(self) -> None:
        known = len(self._words.words)
        if known > len(self._term_of):
            grown = np.full(2 * known, NO_TERM, dtype=np.int32)
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
        stored = self._ready()
        if stored is None:
            return self._words.get(word, -1)
        return 0 if word == SEPARATOR else 1 + stored[0].find(word) or -1

    def term_number(self, term: str) -> int:
        """Return a term's number, -1 when no document ever had it."""
        stored = self._ready()
        return self._terms.get(term, -1) if stored is None else stored[1].find(term)

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
        joined = self._join()
        pattern = "\n" + part if prefix else part
        found: set[int] = set()
        at = joined.find(pattern)
        while at >= 0:
            start = at + 1 if prefix else joined.rfind("\n", 0, at) + 1
            end = joined.find("\n", at + len(pattern))
            found.add(self.word_number(joined[start:end]))
            at = joined.find(pattern, end)
        return sorted(found)

    def _join(self) -> str:
        self._ready()
        with self._lock:
            if self._joined_count < self._known:
                more = self._words.words if self._stored is None else [SEPARATOR, *self._stored[0].all()]
                self._joined += "\n".join(more[self._joined_count : self._known]) + "\n"
                self._joined_count = self._known
            return self._joined

    def words(self) -> list[str]:
        """Return all words by number, the separator first."""
        self._ready()
        with self._lock:
            if self._stored is not None:
                return [SEPARATOR, *self._stored[0].all()]
            return self._words.words[: self._known]

    def spelling(self, term: int) -> str:
        """Return the shortest word that stands for a term, the first seen of equally short ones."""
        stored = self._ready()
        numbers = np.flatnonzero(self._term_of[: self._known] == term).tolist()
        named = [self._words.words[n] if stored is None else stored[0][n - 1] for n in numbers]
        return min(named, key=len)

    def to_streams(self) -> dict[str, bytes | IntArray]:
        """Return what ``from_streams`` reads: ``words``, ``terms`` and ``term_of``."""
        self._ready()
        with self._lock:
            if self._stored is not None:
                words, terms = (lines.blob for lines in self._stored)
            else:
                words = "\n".join(self._words.words[1 : self._known]).encode(*_UTF8)
                terms = "\n".join(self._terms.words).encode(*_UTF8)
            steps = np.diff(self._term_of[: self._known].astype(np.int64), prepend=0)
        # Words and terms are numbered side by side, so most steps are small, of either sign.
        signed = np.where(steps < 0, -2 * steps - 1, 2 * steps)
        return {"words": zlib.compress(words), "terms": zlib.compress(terms), "term_of": varbytes.pack(signed)}


def from_streams(stored: Mapping[str, IntArray], *, packed: bool) -> tuple[bytes, bytes, IntArray]:
    """Read the strings of a vocabulary.

    Parameters
    ----------
    stored : mapping of str to ndarray of shape (b,)
        With ``words``, ``terms`` and ``term_of``.
    packed : bool
        Whether ``to_streams`` wrote them; else they are strings and numbers as they are.

    Returns
    -------
    words, terms : bytes
        Joined by line ends, the separator left out.
    term_of : ndarray of shape (w,), int32
        The term number of each word from the separator on.
    """
    words, terms, term_of = bytes(stored["words"]), bytes(stored["terms"]), stored["term_of"]
    if not packed:
        return words, terms, term_of
    signed = varbytes.unpack(term_of)
    steps = np.where(signed & 1, -((signed + 1) >> 1), signed >> 1)
    return zlib.decompress(words), zlib.decompress(terms), varbytes.sums(steps, np.int32)
