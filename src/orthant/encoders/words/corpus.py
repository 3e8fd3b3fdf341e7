"""From texts to numbered words: the tokenizer, the vocabulary, and passages in one array."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, message
from orthant.validate import check_count

__all__ = ["Corpus", "Vocabulary", "packed_words", "read_corpus", "unpacked_words", "words_of"]

WORD_PATTERN = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

Texts = Iterable[str | Sequence[str]]


def packed_words(words: Iterable[str]) -> npt.NDArray[np.uint8]:
    """Return words as an array of an artefact.

    Parameters
    ----------
    words : iterable of str
        Without line breaks.

    Returns
    -------
    ndarray of uint8, shape (n_bytes,)
        UTF-8, a word a line.
    """
    return np.frombuffer("\n".join(words).encode(), np.uint8)


def unpacked_words(packed: npt.NDArray[np.uint8]) -> list[str]:
    """Return the words of ``packed_words``.

    Parameters
    ----------
    packed : ndarray of uint8, shape (n_bytes,)
        What it returned.

    Returns
    -------
    list of str
        In their order.
    """
    return packed.tobytes().decode().split("\n")


def words_of(text: str) -> list[str]:
    """Split a text into lower-case words: letters and digits of any script, apostrophes inside.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    list of str
        In order; empty where there is none.

    Examples
    --------
    >>> words_of("The keeper's light -- 40 ft.")
    ['the', "keeper's", 'light', '40', 'ft']
    """
    return WORD_PATTERN.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words by number, the most frequent first.

    Attributes
    ----------
    words : tuple of str
        Distinct words; number i is the i-th.
    counts : ndarray of shape (V,), int64
        Occurrences in the text, all of them.
    """

    words: tuple[str, ...]
    counts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self.words)

    @cached_property
    def index(self) -> dict[str, int]:
        """The number of each word."""
        return {word: i for i, word in enumerate(self.words)}


@dataclass(frozen=True)
class Corpus:
    """A text as numbers; words outside the vocabulary are left out.

    Attributes
    ----------
    tokens : ndarray of shape (T,), int32
        Word numbers, passage after passage.
    offsets : ndarray of shape (n + 1,), int64
        Passage i is ``tokens[offsets[i]:offsets[i + 1]]``; it may be empty.
    vocabulary : Vocabulary
        What the numbers mean.
    """

    tokens: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    vocabulary: Vocabulary

    def __len__(self) -> int:
        """Return the number of passages."""
        return len(self.offsets) - 1


def read_corpus(
    texts: Texts,
    *,
    vocabulary: Vocabulary | None = None,
    min_count: int = 5,
    max_words: int | None = None,
    tokenizer: Callable[[str], Sequence[str]] = words_of,
) -> Corpus:
    """Read texts once and number their words; a generator over files will do.

    Parameters
    ----------
    texts : iterable of str, or of sequences of str
        One passage each. A str goes through the tokenizer; a sequence of words is taken as it is.
    vocabulary : Vocabulary, optional
        Use these numbers; left out, they are made from the texts.
    min_count : int, default 5
        Leave out words that occur less often. Too small keeps words whose vectors stay noise; too large loses what a
        small corpus has to say. Not used with ``vocabulary``.
    max_words : int, optional
        Keep at most this many, the most frequent.
    tokenizer : callable of str, default `words_of`
        Splits a text.

    Returns
    -------
    Corpus
        As many passages as there were texts.

    Raises
    ------
    InputError
        A bare str, something that is neither text nor words, or no word that is frequent enough.

    Notes
    -----
    Cost: O(characters) time, 4 bytes per word of the text and the distinct words once. Equal counts are ordered by
    first occurrence.

    Examples
    --------
    >>> corpus = read_corpus(["a rose is a rose", "no rose"], min_count=2)
    >>> corpus.vocabulary.words, corpus.tokens.tolist(), corpus.offsets.tolist()
    (('rose', 'a'), [1, 0, 1, 0, 0], [0, 4, 5])
    """
    if isinstance(texts, (str, bytes)):
        raise InputError(message("texts as one str", "an iterable of texts", "write [text]"))
    check_count(min_count, name="min_count")
    known = {} if vocabulary is None else vocabulary.index
    numbers, ends = array("i"), array("q", [0])
    seen: dict[str, int] = {}
    for i, text in enumerate(texts):
        words = _split(text, i, tokenizer)
        if vocabulary is None:
            numbers.extend([seen.setdefault(word, len(seen)) for word in words])
        else:
            numbers.extend([known[word] for word in words if word in known])
        ends.append(len(numbers))
    tokens, offsets = np.array(numbers, dtype=np.int32), np.array(ends, dtype=np.int64)
    if vocabulary is not None:
        return Corpus(tokens, offsets, vocabulary)
    counts = np.bincount(tokens, minlength=len(seen)).astype(np.int64)
    kept = np.argsort(-counts, kind="stable")
    kept = kept[counts[kept] >= min_count][: None if max_words is None else check_count(max_words, name="max_words")]
    if not len(kept):
        given = f"{len(offsets) - 1} texts with no word that occurs {min_count} times"
        raise InputError(message(given, "more text", "lower min_count, or pass more texts"))
    place = np.full(len(seen), -1, dtype=np.int32)
    place[kept] = np.arange(len(kept), dtype=np.int32)
    moved = place[tokens]
    before = np.concatenate([[0], np.cumsum(moved >= 0)])
    words_by_number = list(seen)
    made = Vocabulary(tuple(words_by_number[i] for i in kept), counts[kept])
    return Corpus(moved[moved >= 0], before[offsets], made)


def _split(text: str | Sequence[str], place: int, tokenizer: Callable[[str], Sequence[str]]) -> Sequence[str]:
    if isinstance(text, str):
        return tokenizer(text)
    if not isinstance(text, (list, tuple)) or not all(isinstance(word, str) for word in text):
        given = f"texts[{place}] of type {type(text).__name__}"
        raise InputError(message(given, "a str, or a list of words", "convert or drop that element"))
    return text
