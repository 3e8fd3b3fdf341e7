"""The words of stored texts as a new encoder sees each by itself: what a map may know of a text without encoding it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orthant.collection.upgrade.running import attempts
from orthant.encoders.words.corpus import words_of
from orthant.types import FloatArray, IdArray

__all__ = ["Words", "count_words", "encode_words", "frequent_words", "window_of"]

_MOST = 20_000
_BATCH = 256
# English has about four words in five or six pieces; a text's later words are not read by the new encoder either.
_WORDS_PER_TOKEN = 0.75


@dataclass(frozen=True, eq=False)
class Words:
    """Words with their vectors, and which of them some texts have.

    Attributes
    ----------
    vocabulary : tuple of str
        The words.
    vectors : ndarray of shape (V, d), float32
        Each by itself, by the new encoder.
    window : int, optional
        How many words of a text count; None for all.
    counts : sparse matrix of shape (n, V), optional
        For each text how often it has each word.
    """

    vocabulary: tuple[str, ...]
    vectors: FloatArray
    window: int | None
    counts: Any = None

    def of(self, texts: Sequence[str]) -> Words:
        """Return the same words with the counts of some texts.

        Parameters
        ----------
        texts : sequence of str
            Texts.

        Returns
        -------
        Words
            One row of counts for each.
        """
        return replace(self, counts=count_words(texts, self.vocabulary, self.window))

    def rows(self, places: IdArray) -> Words:
        """Return the same words with the counts of some of the texts.

        Parameters
        ----------
        places : ndarray of shape (m,), int64
            Rows of the counts.

        Returns
        -------
        Words
            With m rows.
        """
        return replace(self, counts=self.counts[places])


def window_of(encoder: Any) -> int | None:
    """Return how many words of a text an encoder reads, about.

    Parameters
    ----------
    encoder : Encoder
        With ``max_tokens``.

    Returns
    -------
    int or None
        None where it reads all.
    """
    return None if encoder.max_tokens is None else max(1, int(encoder.max_tokens * _WORDS_PER_TOKEN))


def _read(text: str, window: int | None) -> list[str]:
    return words_of(text)[:window]


def frequent_words(texts: Iterable[str], window: int | None) -> list[str]:
    """Return the words that most texts have.

    Parameters
    ----------
    texts : iterable of str
        Texts.
    window : int, optional
        How many words of each count.

    Returns
    -------
    list of str
        At most 20,000, sorted by the number of texts, and by their letters where that is equal.
    """
    held: Counter[str] = Counter()
    for text in texts:
        held.update(set(_read(text, window)))
    return sorted(held, key=lambda word: (-held[word], word))[:_MOST]


def encode_words(encoder: Any, words: Sequence[str], *, window: int | None) -> Words:
    """Encode words by themselves.

    Parameters
    ----------
    encoder : Encoder
        The new one.
    words : sequence of str
        Distinct words.
    window : int, optional
        Kept for the counts.

    Returns
    -------
    Words
        Those that the encoder gives a direction; words that it refuses are left out.
    """
    found: dict[str, FloatArray] = {}
    for begin in range(0, len(words), _BATCH):
        part = list(words[begin : begin + _BATCH])
        for places, X, error in attempts(encoder, np.arange(len(part), dtype=np.int64), part, encoder.dim):
            if error is None:
                found |= {part[i]: x for i, x in zip(places.tolist(), X, strict=True) if x.any()}
    kept = tuple(word for word in words if word in found)
    vectors = np.stack([found[word] for word in kept]) if kept else np.zeros((0, encoder.dim), dtype=np.float32)
    return Words(kept, np.ascontiguousarray(vectors, dtype=np.float32), window)


def count_words(texts: Sequence[str], vocabulary: Sequence[str], window: int | None) -> Any:
    """Count the known words of texts.

    Parameters
    ----------
    texts : sequence of str
        Texts.
    vocabulary : sequence of str
        The words that count.
    window : int, optional
        How many words of each text count.

    Returns
    -------
    scipy.sparse.csr_matrix of shape (n, V), float32
        How often each text has each word.
    """
    from scipy.sparse import csr_matrix

    place = {word: i for i, word in enumerate(vocabulary)}
    columns: list[int] = []
    counts: list[int] = []
    offsets = [0]
    for text in texts:
        found = Counter(place[word] for word in _read(text, window) if word in place)
        columns += found.keys()
        counts += found.values()
        offsets.append(len(columns))
    data = (np.array(counts, dtype=np.float32), np.array(columns, dtype=np.int64), np.array(offsets, dtype=np.int64))
    out = csr_matrix(data, shape=(len(texts), len(vocabulary)))
    out.sort_indices()
    return out
