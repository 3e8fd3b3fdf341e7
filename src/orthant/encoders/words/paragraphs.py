"""Paragraph vectors that are bits: codes of documents learned from their words, and real vectors behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthant.artifact import read_artifact, write_artifact
from orthant.encoders.words.corpus import Corpus, Texts, Vocabulary, packed_words, read_corpus, unpacked_words
from orthant.encoders.words.skipgram import noise_of
from orthant.errors import InputError, NotFittedError, message
from orthant.kernels.skipgram.paragraphs import LINEAR, ROUNDED, SMOOTH, train_paragraphs
from orthant.kernels.skipgram.sampling import keep_probabilities, sigmoid_table
from orthant.threads import map_ranges
from orthant.types import CodeArray, FloatArray, IdArray
from orthant.validate import as_texts, check_choice, check_count, check_fraction

__all__ = ["BinaryParagraphVectors", "ParagraphCodes"]

_KIND = "encoder.binary_paragraphs"
_HIDDEN = {"rounded": ROUNDED, "smooth": SMOOTH, "linear": LINEAR}
_START = 0.1
_LEAST_TOKENS = 20_000


@dataclass(frozen=True)
class ParagraphCodes:
    """Codes of documents.

    Attributes
    ----------
    codes : ndarray of shape (n, bits / 8), uint8
        Packed as `numpy.packbits` packs them; compare them by Hamming distance.
    vectors : ndarray of shape (n, d), float32
        What the bits were rounded from: of ``real_dim`` dimensions, or one per bit.
    empty : ndarray of shape (m,), int64
        Documents without a known word. Their code is that of the starting point and says nothing.
    """

    codes: CodeArray
    vectors: FloatArray
    empty: IdArray

    @property
    def bit_balance(self) -> FloatArray:
        """Share of documents that have each bit set; bits near 0 or 1 are wasted."""
        return np.unpackbits(self.codes, axis=1).mean(axis=0).astype(np.float32)


class BinaryParagraphVectors:
    """Learn a code of a few bytes for each document from raw text, and codes of further documents later.

    Use it for a first pass over very many texts in little memory, without any other encoder. Where a good encoder is at
    hand, its vectors with `RaBitQ` or `ITQ` codes say more per bit.

    Parameters
    ----------
    bits : int, default 128
        Bits of a code, a multiple of 8. 32 make coarse buckets; 64 to 256 rank.
    real_dim : int, optional
        Learn vectors of this dimension and a projection from them to bits, together: short codes find candidates, and
        vectors order them. Left out, each bit has one number of its own.
    hidden : {"rounded", "smooth", "linear"}, default "rounded"
        What words are predicted from. The last two learn without rounding and are rounded only afterwards, for
        comparison; ``"linear"`` is the plain paragraph vector.
    epochs : int, default 30
        Rounds over the text. Short texts and small corpora need more.
    negatives : int, default 5
        Noise words per word.
    min_count, max_words
        As for `orthant.encoders.words.corpus.read_corpus`.
    sample : float, default 1e-4
        Share of the text above which a word is thinned out; 0 keeps everything.
    rate, word_rate : float, default 0.3 and 0.05
        AdaGrad steps of documents and of words.
    threads : int, default 1
        One gives the same codes every time; with more they depend on timing.
    seed : int, default 0
        Of the start and of every draw.

    Attributes
    ----------
    documents_ : ParagraphCodes
        Codes of the documents that were learned from.
    vocabulary_ : Vocabulary
        Words that are known.

    Notes
    -----
    ``h = round(sigmoid(r))`` or ``round(sigmoid(P r))``; each word w of the document ascends
    ``log s(u_w . h + c_w) + sum_n log s(-(u_n . h + c_n))``, and the gradient passes the rounding as if it were not
    there. Cost: O(tokens epochs negatives bits).

    References
    ----------
    Grzegorczyk, Kurdziel: Binary paragraph vectors. arXiv 1611.01116. Grzegorczyk: Vector representations of text data
    in deep learning. arXiv 1901.01695, chapter 3.

    Examples
    --------
    >>> texts = ["goal match team", "team match cup", "oven flour bake", "bake oven bread"] * 10
    >>> model = BinaryParagraphVectors(bits=16, epochs=40, min_count=1, sample=0).fit(texts)
    >>> model.documents_.codes.shape, model.encode(["match team goal"]).codes.dtype
    ((40, 2), dtype('uint8'))
    """

    documents_: ParagraphCodes
    vocabulary_: Vocabulary

    def __init__(
        self,
        *,
        bits: int = 128,
        real_dim: int | None = None,
        hidden: str = "rounded",
        epochs: int = 30,
        negatives: int = 5,
        min_count: int = 5,
        max_words: int | None = None,
        sample: float = 1e-4,
        rate: float = 0.3,
        word_rate: float = 0.05,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        if check_count(bits, name="bits") % 8:
            raise InputError(message(f"bits={bits}", "a multiple of 8, since codes are packed bytes", "round it up"))
        self._settings: dict[str, Any] = {
            "bits": bits, "real_dim": None if real_dim is None else check_count(real_dim, name="real_dim"),
            "hidden": check_choice(hidden, tuple(_HIDDEN), name="hidden"),
            "epochs": check_count(epochs, name="epochs"), "negatives": check_count(negatives, name="negatives"),
            "min_count": check_count(min_count, name="min_count"), "max_words": max_words,
            "sample": check_fraction(sample, name="sample"), "rate": _positive(rate, "rate"),
            "word_rate": _positive(word_rate, "word_rate"), "threads": check_count(threads, name="threads"),
            "seed": seed,
        }  # fmt: skip
        self._arrays: dict[str, Any] = {}

    def fit(self, texts: Texts | Corpus) -> BinaryParagraphVectors:
        """Learn codes of documents, words, and the projection if there is one.

        Parameters
        ----------
        texts : iterable of str or of lists of words, or Corpus
            One document each.

        Returns
        -------
        BinaryParagraphVectors
            Self.

        Raises
        ------
        InputError
            No word that is frequent enough, or steps so large that vectors are not finite.
        """
        own = self._settings
        corpus = (
            texts
            if isinstance(texts, Corpus)
            else read_corpus(texts, min_count=own["min_count"], max_words=own["max_words"])
        )
        self.vocabulary_ = corpus.vocabulary
        rng = np.random.default_rng(own["seed"])
        bits, words = own["bits"], len(corpus.vocabulary)
        self._arrays = {
            "outputs": np.zeros((words, bits + 1), np.float32), "sums": np.zeros(words, np.float32),
            "projection": np.zeros((0, bits), np.float32), "projection_squares": np.zeros(bits, np.float32),
        }  # fmt: skip
        self._arrays["outputs"][:, :bits] = rng.normal(0, _START, (words, bits))
        if own["real_dim"] is not None:
            start = rng.normal(0, own["real_dim"] ** -0.5, (bits, own["real_dim"]))
            self._arrays["projection"] = start.astype(np.float32)
        self.documents_ = self._placed(corpus, rng, learn=True)
        return self

    def encode(self, texts: Sequence[str]) -> ParagraphCodes:
        """Find codes of further documents, with words and projection as they are.

        Parameters
        ----------
        texts : sequence of str
            Documents. Equal texts get equal codes in one call only where they stand at the same place: each has its
            own start and draws.

        Returns
        -------
        ParagraphCodes
            One code per document, in order.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        if not self._arrays:
            given = "a BinaryParagraphVectors that has not been fitted"
            raise NotFittedError(message(given, "a fitted one", "call fit(texts) first"))
        corpus = read_corpus(as_texts(texts), vocabulary=self.vocabulary_)
        return self._placed(corpus, np.random.default_rng(self._settings["seed"] + 1), learn=False)

    def _placed(self, corpus: Corpus, rng: np.random.Generator, *, learn: bool) -> ParagraphCodes:
        own, arrays = self._settings, self._arrays
        dim = own["real_dim"] or own["bits"]
        # Symmetric about the point where a bit turns: from elsewhere whole columns would never turn.
        vectors = rng.normal(0, _START, (len(corpus), dim)).astype(np.float32)
        squares = np.zeros_like(vectors)
        counts = self.vocabulary_.counts
        keep, noise, table = keep_probabilities(counts, own["sample"]), noise_of(counts), sigmoid_table()
        for _ in range(own["epochs"]):
            # Documents of one kind in a row would pull the words towards whatever was read last.
            order = rng.permutation(len(corpus))
            seeds = rng.integers(1 << 63, size=len(corpus) + 1, dtype=np.uint64)

            def part(first: int, last: int, order: Any = order, seeds: Any = seeds) -> None:
                train_paragraphs(
                    corpus.tokens, corpus.offsets, order, first, last, keep, *noise, table, vectors, squares,
                    arrays["projection"], arrays["projection_squares"], arrays["outputs"], arrays["sums"],
                    _HIDDEN[own["hidden"]], own["negatives"], 32, own["rate"], own["word_rate"], learn, seeds[first],
                )  # fmt: skip

            least = max(1, _LEAST_TOKENS * len(corpus) // max(1, len(corpus.tokens)))
            map_ranges(part, len(corpus), threads=own["threads"], minimum=least)
        if not all(np.isfinite(array).all() for array in (vectors, arrays["outputs"], arrays["projection"])):
            raise InputError(message("a training that diverged", "finite vectors", "lower rate and word_rate"))
        before = vectors @ arrays["projection"].T if own["real_dim"] else vectors
        empty = np.flatnonzero(np.diff(corpus.offsets) == 0).astype(np.int64)
        return ParagraphCodes(np.packbits(before > 0, axis=1), vectors, empty)

    def save(self, path: str | Path) -> None:
        """Write what is needed to encode further documents; codes of the fitted ones are yours to keep.

        Parameters
        ----------
        path : str or Path
            Folder, created if missing.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        if not self._arrays:
            given = "a BinaryParagraphVectors that has not been fitted"
            raise NotFittedError(message(given, "a fitted one", "call fit(texts) first"))
        words = packed_words(self.vocabulary_.words)
        arrays = {**self._arrays, "words": words, "counts": self.vocabulary_.counts}
        write_artifact(path, kind=_KIND, arrays=arrays, config={"settings": self._settings})

    @classmethod
    def load(cls, path: str | Path) -> BinaryParagraphVectors:
        """Read a folder of ``save``.

        Parameters
        ----------
        path : str or Path
            The folder.

        Returns
        -------
        BinaryParagraphVectors
            Encodes as the saved one did; has no ``documents_``.

        Raises
        ------
        NotFoundError, StoreCorruptedError, StoreVersionError
            No such folder, damaged files, or those of a newer release.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        made = cls(**config["settings"])
        words = tuple(unpacked_words(arrays.pop("words")))
        made.vocabulary_ = Vocabulary(words, arrays.pop("counts"))
        made._arrays = {name: np.array(array) for name, array in arrays.items()}
        return made


def _positive(value: float, name: str) -> float:
    if not 0 < value < 10:
        raise InputError(message(f"{name}={value}", "a number above 0 and below 10", "leave it out"))
    return float(value)
