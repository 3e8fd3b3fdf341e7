"""Word vectors: looking up, neighbours, analogies, and texts as weighted means of their words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.encoders.fingerprint import Fingerprint, digest_tensors
from orthant.encoders.words.corpus import Vocabulary, packed_words, read_corpus, unpacked_words
from orthant.encoders.words.files import FORMATS, read_word_vectors, write_word_vectors
from orthant.errors import DimensionError, InputError, NotFoundError, message
from orthant.kernels.pooling import pool_bags
from orthant.types import EncodeReport, FloatArray, Role
from orthant.validate import as_texts, as_vectors, check_choice, check_count

__all__ = ["WordVectors"]

_KIND = "encoder.words"
_RARE = 1e-3


class WordVectors:
    """A vector per word; an encoder of texts by weighted means, without torch or a download.

    Parameters
    ----------
    words : sequence of str, length V
        Distinct.
    vectors : array-like of shape (V, d)
        One row per word.
    counts : array-like of shape (V,), optional
        Occurrences in some text. With them a word of share p weighs ``a / (a + p)`` in a text, a = 0.001; without
        them all words weigh the same.
    name : str, default "words"
        For the fingerprint.

    Attributes
    ----------
    words : tuple of str
        In the order given.
    vectors : ndarray of shape (V, d), float32
        As given.
    counts : ndarray of shape (V,), int64, or None
        As given.
    dim : int
        Dimension d.
    fingerprint : str
        Hash of words and vectors; equal fingerprints give equal vectors.
    max_tokens : None
        Nothing is ever cut.

    Raises
    ------
    DimensionError
        Different numbers of words, vectors or counts.
    InputError
        A word twice, or no word.

    Notes
    -----
    A text without a known word gets zeros, which no cosine is defined for, and is counted in the report as empty.

    References
    ----------
    Arora, Liang, Ma: A simple but tough-to-beat baseline for sentence embeddings. ICLR 2017, section 3.

    Examples
    --------
    >>> words = WordVectors(["king", "queen", "man", "woman"], [[1, 1], [1, -1], [0, 1], [0, -1]])
    >>> words.analogy("man", "king", "woman", k=1)
    [('queen', 0.959683)]
    """

    def __init__(
        self,
        words: Sequence[str],
        vectors: npt.ArrayLike,
        *,
        counts: npt.ArrayLike | None = None,
        name: str = "words",
    ) -> None:
        self.words = tuple(as_texts(words, name="words"))
        self.vectors = as_vectors(vectors, name="word vectors")
        self.counts = None if counts is None else np.ascontiguousarray(counts, dtype=np.int64)
        if not self.words or len(self.vectors) != len(self.words):
            given = f"{len(self.words)} words and {len(self.vectors)} vectors"
            raise DimensionError(message(given, "one vector per word, at least one", "pair them up"))
        if self.counts is not None and self.counts.shape != (len(self.words),):
            raise DimensionError(
                message(f"counts of shape {self.counts.shape}", f"({len(self.words)},)", "give one count per word")
            )
        self._vocabulary = Vocabulary(
            self.words, np.ones(len(self.words), np.int64) if self.counts is None else self.counts
        )
        self._index = self._vocabulary.index
        if len(self._index) != len(self.words):
            raise InputError(message("a word that occurs twice", "distinct words", "keep its first vector"))
        self.dim: int = self.vectors.shape[1]
        self.max_tokens: int | None = None
        self.name = name
        self._unit = self.vectors / np.maximum(np.linalg.norm(self.vectors, axis=1, keepdims=True), 1e-30)
        share = self._vocabulary.counts / max(1, int(self._vocabulary.counts.sum()))
        weights = np.ones(len(share)) if self.counts is None else _RARE / (_RARE + share)
        self._weights = weights.astype(np.float32)
        self.fingerprint = str(
            Fingerprint(
                name=name,
                weight_hash=digest_tensors({"vectors": self.vectors, "weights": self._weights}),
                tokenizer_hash=digest_tensors({"words": packed_words(self.words)}),
                pooling="rare-words-first mean" if self.counts is not None else "mean",
                normalization="l2",
                dim=self.dim,
            )
        )

    def __len__(self) -> int:
        """Return the number of words."""
        return len(self.words)

    def __contains__(self, word: object) -> bool:
        """Return whether a word has a vector."""
        return word in self._index

    def __getitem__(self, word: str) -> FloatArray:
        """Return the vector of a word."""
        return self.vectors[self.position(word)]

    def position(self, word: str) -> int:
        """Return the row of a word.

        Parameters
        ----------
        word : str
            As it stands in ``words``; nothing is lower-cased.

        Returns
        -------
        int
            From 0.

        Raises
        ------
        NotFoundError
            A word without a vector.
        """
        if word not in self._index:
            raise NotFoundError(message(f"the word {word!r}", "one that has a vector", "ask `word in vectors` first"))
        return self._index[word]

    def similarity(self, first: str, second: str) -> float:
        """Return the cosine of two words.

        Parameters
        ----------
        first, second : str
            Words that have vectors.

        Returns
        -------
        float
            From -1 to 1.
        """
        return float(self._unit[self.position(first)] @ self._unit[self.position(second)])

    def neighbours(self, word: str | npt.ArrayLike, *, k: int = 10) -> list[tuple[str, float]]:
        """Return the words nearest to a word or to a vector.

        Parameters
        ----------
        word : str or array-like of shape (d,)
            A word is not among its own neighbours.
        k : int, default 10
            How many at most.

        Returns
        -------
        list of (str, float)
            Words with cosines, nearest first.
        """
        if isinstance(word, str):
            place = self.position(word)
            return self._nearest(self._unit[place], k, without=(place,))
        vector = as_vectors(word, dim=self.dim, single=True, nonzero=True)[0]
        return self._nearest(vector / np.linalg.norm(vector), k)

    def analogy(
        self, a: str, b: str, c: str, *, k: int = 1, method: Literal["add", "multiply"] = "add"
    ) -> list[tuple[str, float]]:
        """Answer "a is to b as c is to what?"; the three words themselves are never the answer.

        Parameters
        ----------
        a, b, c : str
            Words that have vectors.
        k : int, default 1
            Answers wanted.
        method : {"add", "multiply"}, default "add"
            ``cos(x, b) - cos(x, a) + cos(x, c)``, or ``cos(x, b) cos(x, c) / cos(x, a)`` with cosines moved to 0 to
            1, where no single term can outweigh the others.

        Returns
        -------
        list of (str, float)
            Words with scores, best first; of ``"add"``, the cosine with the sum.

        References
        ----------
        Levy, Goldberg: Linguistic regularities in sparse and explicit word representations. CoNLL 2014.
        """
        places = tuple(self.position(word) for word in (a, b, c))
        check_choice(method, ("add", "multiply"), name="method")
        first, second, third = (self._unit[place] for place in places)
        if method == "add":
            goal = second - first + third
            return self._nearest(goal / max(float(np.linalg.norm(goal)), 1e-30), k, without=places)
        low, up, side = ((1 + self._unit @ vector) / 2 for vector in (first, second, third))
        return self._best(up * side / (low + 1e-3), k, places)

    def _nearest(self, unit: FloatArray, k: int, without: tuple[int, ...] = ()) -> list[tuple[str, float]]:
        return self._best(self._unit @ unit, k, without)

    def _best(self, scores: npt.NDArray[Any], k: int, without: tuple[int, ...]) -> list[tuple[str, float]]:
        scores = scores.copy()
        scores[list(without)] = -np.inf
        best = np.argsort(-scores, kind="stable")[: check_count(k, name="k")]
        return [(self.words[i], round(float(scores[i]), 6)) for i in best if np.isfinite(scores[i])]

    def encode(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 1024, progress: bool = False
    ) -> FloatArray:
        """Return a unit vector per text: the weighted mean of its words, each distinct word by its occurrences.

        Parameters
        ----------
        items : sequence of str
            Texts; split by `orthant.encoders.words.corpus.words_of`.
        role : {"query", "document"}, default "document"
            Accepted for the protocol; both are treated alike.
        batch_size : int, default 1024
            Texts handled at a time.
        progress : bool, default False
            Accepted for the protocol.

        Returns
        -------
        ndarray of shape (n, d), float32, C-contiguous
            Zeros for texts without a known word.

        Raises
        ------
        InputError
            Something that is not a text.
        """
        return self.encode_with_report(items, role=role, batch_size=batch_size, progress=progress)[0]

    def encode_with_report(
        self, items: Sequence[str], *, role: Role = "document", batch_size: int = 1024, progress: bool = False
    ) -> tuple[FloatArray, EncodeReport]:
        """Return the vectors and how many texts had no known word.

        Parameters
        ----------
        items, role, batch_size, progress
            As for ``encode``.

        Returns
        -------
        vectors : ndarray of shape (n, d), float32, C-contiguous
            As from ``encode``.
        report : EncodeReport
            Items, empty items, seconds.

        Raises
        ------
        InputError
            As for ``encode``.
        """
        begun = time.perf_counter()
        texts = as_texts(items, name="items")
        check_choice(role, ("query", "document"), name="role")
        check_count(batch_size, name="batch_size")
        out = np.zeros((len(texts), self.dim), dtype=np.float32)
        for start in range(0, len(texts), batch_size):
            corpus = read_corpus(texts[start : start + batch_size], vocabulary=self._vocabulary)
            out[start : start + batch_size] = pool_bags(
                corpus.tokens, corpus.offsets, self.vectors, self._weights, power=1.0
            )
        norms = np.sqrt(np.einsum("ij,ij->i", out, out))
        out /= np.where(norms > 0, norms, 1.0)[:, None]
        empty = int(np.count_nonzero(norms == 0))
        return out, EncodeReport(items=len(texts), empty_items=empty, seconds=time.perf_counter() - begun)

    def save(self, path: str | Path) -> None:
        """Write words, vectors and counts as an artefact folder.

        Parameters
        ----------
        path : str or Path
            Folder, created if missing. For files that other tools read, see ``write``.
        """
        arrays: dict[str, Any] = {
            "vectors": self.vectors,
            "words": packed_words(self.words),
        }
        if self.counts is not None:
            arrays["counts"] = self.counts
        write_artifact(path, kind=_KIND, arrays=arrays, config={"name": self.name})

    @classmethod
    def load(cls, path: str | Path) -> WordVectors:
        """Read a folder of ``save``.

        Parameters
        ----------
        path : str or Path
            The folder.

        Returns
        -------
        WordVectors
            The same, to the bit.

        Raises
        ------
        NotFoundError, StoreCorruptedError, StoreVersionError
            No such folder, damaged files, or those of a newer release.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        words = unpacked_words(arrays["words"])
        return cls(words, arrays["vectors"], counts=arrays.get("counts"), name=config["name"])

    def write(self, path: str | Path, *, format: str = "text") -> None:
        """Write a file that other tools read.

        Parameters
        ----------
        path : str or Path
            The file; ``.gz`` at its end compresses it.
        format : {"text", "binary", "glove"}, default "text"
            word2vec's text, which fastText's ``.vec`` is too; word2vec's binary; or text without a header.

        Raises
        ------
        InputError
            A word with a blank in it, which these formats cannot hold.
        """
        write_word_vectors(path, self.words, self.vectors, format=check_choice(format, FORMATS, name="format"))

    @classmethod
    def read(cls, path: str | Path, *, format: str | None = None, limit: int | None = None) -> WordVectors:
        """Read vectors in the formats of word2vec, fastText (``.vec``) or GloVe.

        Parameters
        ----------
        path : str or Path
            The file; ``.gz`` is unpacked while it is read.
        format : {"text", "binary", "glove"}, optional
            Left out, it is told from the first line and, where that is a header, the bytes behind it.
        limit : int, optional
            Read this many words, which are the most frequent in the usual files.

        Returns
        -------
        WordVectors
            Without counts.

        Raises
        ------
        NotFoundError
            No such file.
        StoreCorruptedError
            A file that ends early or has rows of different lengths.

        Notes
        -----
        Words of fastText that are made of parts need its ``.bin`` model: see `orthant.encoders.words.wrapped`. A word
        that occurs twice in the file keeps its first vector.
        """
        words, vectors = read_word_vectors(path, format=format, limit=limit)
        return cls(words, vectors, name=Path(path).name.split(".")[0] or "words")

    def __repr__(self) -> str:
        """Return the identity in one line."""
        return f"WordVectors({len(self.words)} words, dim={self.dim}, name={self.name!r})"
