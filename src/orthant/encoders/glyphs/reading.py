"""Unknown words read as the known words they look like, letter by letter from a frozen table; NumPy alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from orthant.encoders.fingerprint import digest_tensors
from orthant.encoders.glyphs.table import GlyphTable
from orthant.encoders.words.corpus import WORD_PATTERN
from orthant.errors import DimensionError, InputError, message
from orthant.types import FloatArray
from orthant.validate import as_texts, check_choice, check_fraction

__all__ = ["LONGEST_WORD", "Unit", "WordReading", "letters_of", "pad_words"]

Unit = Literal["character", "byte"]

LONGEST_WORD = 24
"""Characters (or bytes) of a word that are read."""

_WORDS_AT_A_TIME = 512
_SHORTEST = 3


class WordReading:
    """Correct unknown words to the known words that they look like.

    Made by ``orthant.learn.train_word_reading``. Put it before an encoder (`FoldedEncoder`) or a lexical index: typing
    errors, accents and letters of other scripts in queries become the words that were meant, since letters are known
    by their look and words by their letters. Words that are known stay, and so do words like no other.

    Parameters
    ----------
    table : GlyphTable
        Of the letters; not stored but made anew from its settings.
    words : sequence of str
        Known words, lower case.
    filters : ndarray of shape (3, table.dim, F), float32
        What is looked for in three letters in a row.
    bias : ndarray of shape (F,), float32
        Of the filters.
    output : ndarray of shape (F, dim), float32
        From the strongest answers in a word to its vector.
    centre : ndarray of shape (dim,), float32, optional
        Taken off every word's vector.
    letters : tuple of (ndarray (m,) int, ndarray (m, table.dim) float32), optional
        Code points and rows that were trained, in place of those of the table.
    unit : {"character", "byte"}, default "character"
        What a word is read by; bytes are those of UTF-8.
    threshold : float, default 0.7, range 0 to 1
        Least cosine between an unknown word and the known one that replaces it. Too low turns every new word into
        another; too high leaves errors.

    Attributes
    ----------
    words : tuple of str
        Known words.
    dim : int
        Width of the vectors.
    fingerprint : str
        Of all that decides.

    Raises
    ------
    DimensionError
        Arrays that do not fit each other.
    InputError
        No words, or a threshold out of range.

    Notes
    -----
    For a word of letters c_1 ... c_n with rows g, ::

        h_i = relu(W_0 g_{i-1} + W_1 g_i + W_2 g_{i+1} + b),   v = normalize(O max_i h_i - centre)

    Words of less than three letters are left as they are. Cost: O(letters F + dim words) for each distinct unknown
    word; the known ones are read once, on first use, which takes a second for 30,000.

    References
    ----------
    A. Bochkov: Emergent Semantics Beyond Token Embeddings. arXiv 2507.04886, section 3 (the frozen table).
    Y. Kim et al.: Character-Aware Neural Language Models. arXiv 1508.06615, section 2 (reading words by filters).

    Examples
    --------
    >>> rng, table = np.random.default_rng(0), GlyphTable(dim=64)
    >>> filters, output = rng.standard_normal((3, 64, 32)), rng.standard_normal((32, 16))
    >>> reading = WordReading(table, ["paypal", "lighthouse"], filters, np.zeros(32), output, threshold=0.98)
    >>> reading.fold("my pаypаl account")
    'my paypal account'
    """

    def __init__(
        self,
        table: GlyphTable,
        words: Sequence[str],
        filters: npt.ArrayLike,
        bias: npt.ArrayLike,
        output: npt.ArrayLike,
        *,
        centre: npt.ArrayLike | None = None,
        letters: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
        unit: Unit = "character",
        threshold: float = 0.7,
    ) -> None:
        self.table = table
        self.words = tuple(as_texts(words, name="words"))
        if not self.words:
            raise InputError(message("no words", "words that are known", "pass those of the collection"))
        self.unit: Unit = check_choice(unit, get_args(Unit), name="unit")  # type: ignore[assignment]
        self.threshold = check_fraction(threshold, name="threshold")
        self._filters, self._bias, self._output = (np.asarray(a, dtype=np.float32) for a in (filters, bias, output))
        width = len(self._bias) if self._bias.ndim == 1 else -1
        if (self._filters.shape, self._output.shape[:1], self._output.ndim) != ((3, table.dim, width), (width,), 2):
            given = f"filters {self._filters.shape}, bias {self._bias.shape}, output {self._output.shape}"
            expected = f"(3, {table.dim}, F), (F,) and (F, dim)"
            raise DimensionError(message(given, expected, "pass what was trained together"))
        self.dim = int(self._output.shape[1])
        self._centre = np.zeros(self.dim, np.float32) if centre is None else np.asarray(centre, dtype=np.float32)
        self._points, self._rows = np.zeros(0, np.int64), np.zeros((0, table.dim), np.float32)
        if letters is not None:
            order = np.argsort(np.asarray(letters[0]))
            self._points = np.asarray(letters[0], dtype=np.int64)[order]
            self._rows = np.asarray(letters[1], dtype=np.float32)[order]
        self._known = frozenset(self.words)
        self._read_as: dict[str, str] = {}

    @property
    def fingerprint(self) -> str:
        """Identity of what it does."""
        words = hashlib.sha256("\n".join(self.words).encode()).hexdigest()[:16]
        weights = digest_tensors(self.arrays())
        return f"reading:{self.unit}:{self.threshold:g}:{words}:{weights}:{self.table.fingerprint}"

    def fold(self, text: str) -> str:
        """Return the text with unknown words written as the known words they look like.

        Parameters
        ----------
        text : str
            Any text.

        Returns
        -------
        str
            Equal where all words are known, or like none; replaced words are lower case.

        Raises
        ------
        InputError
            Not a text.
        """
        (text,) = as_texts([text], name="text")
        found = {match.lower() for match in WORD_PATTERN.findall(text)}
        new = sorted(
            word for word in found if word not in self._known and word not in self._read_as and len(word) >= _SHORTEST
        )
        if new:
            self._read_as.update(zip(new, self._nearest(new), strict=True))
        return WORD_PATTERN.sub(lambda match: self._read_as.get(match[0].lower()) or match[0], text)

    def encode_words(self, words: Sequence[str]) -> FloatArray:
        """Return the vectors by which words are compared.

        Parameters
        ----------
        words : sequence of str, length n
            Known or not.

        Returns
        -------
        ndarray of shape (n, dim), float32
            Unit vectors.
        """
        read = [letters_of(word, self.unit) for word in as_texts(words, name="words")]
        out = np.zeros((len(read), self.dim), dtype=np.float32)
        # Words of a length together: padding costs as much as letters.
        order = np.argsort([len(word) for word in read], kind="stable")
        for start in range(0, len(read), _WORDS_AT_A_TIME):
            chosen = order[start : start + _WORDS_AT_A_TIME]
            out[chosen] = self._read([read[i] for i in chosen])
        out -= self._centre
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        return np.asarray(out / np.where(norms > 0, norms, 1), dtype=np.float32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return the weights, for `from_settings`.

        Returns
        -------
        dict of str to ndarray
            By name.
        """
        return {
            "filters": self._filters,
            "bias": self._bias,
            "output": self._output,
            "centre": self._centre,
            "points": self._points,
            "rows": self._rows,
        }

    def settings(self) -> dict[str, Any]:
        """Return what `from_settings` needs beside the arrays.

        Returns
        -------
        dict
            JSON values.

        Raises
        ------
        InputError
            A table with a font of its own, which is not copied.
        """
        return {
            "words": list(self.words),
            "unit": self.unit,
            "threshold": self.threshold,
            "table": self.table.settings(),
        }

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> WordReading:
        """Make one of what `settings` and `arrays` returned.

        Parameters
        ----------
        settings : mapping
            The settings.
        arrays : mapping of str to ndarray
            The weights, of the shapes that the class takes.

        Returns
        -------
        WordReading
            That reads alike.

        Raises
        ------
        InputError
            Settings of a table that this release makes otherwise.
        """
        return cls(
            GlyphTable.from_settings(settings["table"]),
            settings["words"],
            arrays["filters"],
            arrays["bias"],
            arrays["output"],
            centre=arrays["centre"],
            letters=(arrays["points"], arrays["rows"]),
            unit=settings["unit"],
            threshold=settings["threshold"],
        )

    @cached_property
    def _vectors(self) -> FloatArray:
        return self.encode_words(self.words)

    def _nearest(self, words: list[str]) -> list[str]:
        scores = self.encode_words(words) @ self._vectors.T
        best = scores.argmax(axis=1)
        sure = scores[np.arange(len(words)), best] >= self.threshold
        return [self.words[i] if enough else "" for i, enough in zip(best, sure, strict=True)]

    def _read(self, words: list[npt.NDArray[np.int64]]) -> FloatArray:
        points, ids = np.unique(pad_words(words), return_inverse=True)
        ids = ids.reshape(len(words), -1)
        answers = np.einsum("vd,tdf->tvf", self._letters(points), self._filters, optimize=True)
        # The last windows of a shorter word see padding only and are left out of the maximum.
        inside = np.arange(ids.shape[1] - 2) < np.array([max(1, len(word)) for word in words])[:, None]
        seen = answers[0][ids[:, :-2]]
        seen += answers[1][ids[:, 1:-1]]
        seen += answers[2][ids[:, 2:]]
        seen[~inside] = -np.inf
        strongest: FloatArray = np.maximum(seen.max(axis=1) + self._bias, 0) @ self._output
        return strongest

    def _letters(self, points: npt.NDArray[np.int64]) -> FloatArray:
        rows = self.table.rows(np.maximum(points, 0))
        rows[points < 0] = 0
        if len(self._points):
            found = np.minimum(np.searchsorted(self._points, points), len(self._points) - 1)
            trained = self._points[found] == points
            rows[trained] = self._rows[found[trained]]
        return rows


def letters_of(word: str, unit: Unit = "character") -> npt.NDArray[np.int64]:
    """Return the numbers by which a word is read.

    Parameters
    ----------
    word : str
        One word.
    unit : {"character", "byte"}, default "character"
        Code points, or bytes of UTF-8.

    Returns
    -------
    ndarray of shape (m,), int64
        The first 24.
    """
    numbers = list(word.encode("utf-8", "replace")) if unit == "byte" else [ord(c) for c in word]
    return np.array(numbers[:LONGEST_WORD], dtype=np.int64)


def pad_words(words: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """Return words as rows of one array, with padding around them.

    Parameters
    ----------
    words : sequence of ndarray
        As from `letters_of`.

    Returns
    -------
    ndarray of shape (n, longest + 2), int64
        -1 where there is no letter: before each word, and behind it.
    """
    longest = max((len(word) for word in words), default=0)
    out = np.full((len(words), max(1, longest) + 2), -1, dtype=np.int64)
    for row, word in zip(out, words, strict=True):
        row[1 : len(word) + 1] = word
    return out
