"""Several vectors per word, one for each way in which it is used, and which of them a context means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.artifact import read_artifact, write_artifact
from orthant.encoders.words.corpus import Corpus, Texts, Vocabulary, packed_words, read_corpus, unpacked_words
from orthant.encoders.words.skipgram import noise_of
from orthant.encoders.words.vectors import WordVectors
from orthant.errors import InputError, NotFittedError, NotFoundError, message
from orthant.kernels.skipgram.sampling import keep_probabilities, sigmoid_table
from orthant.kernels.skipgram.senses import train_senses
from orthant.threads import map_ranges
from orthant.types import FloatArray
from orthant.validate import check_count, check_fraction

__all__ = ["DisambiguatedSkipGram"]

_KIND = "encoder.senses"
_LEAST_TOKENS = 20_000
_NAMES = ("senses", "outputs", "weights", "biases", "priors")
_PRETRAINING_GAMMA = -0.1


class DisambiguatedSkipGram:
    """Learn several vectors per word, and from the words around an occurrence which of them is meant.

    Use it to study ambiguous vocabulary: which words of a trade are used in two ways, and which neighbours each use
    has. As an encoder of texts it brings little; use `train_skipgram`.

    Parameters
    ----------
    senses : int, default 3
        Vectors per word, at least 2. Those hardly used are known by ``priors``.
    dim, window, negatives, min_count, max_words, sample, threads, seed
        As for `orthant.encoders.words.skipgram.train_skipgram`.
    epochs : int, default 5
        Rounds after the first, in which one choice is learned for all words.
    gamma : float, default 0.0
        Weight of the entropy of choices as a cost. Positive values sharpen them and let senses die; negative ones keep
        all in use. Beyond about 1 to either side nothing else counts.
    temperature : float, default 0.5
        Of the relaxed choice at the end; it begins at 1. Near 0 a choice is hard and its gradients are noise.
    rate : float, default 0.05
        First step; falls linearly to a tenth of it.
    choose : bool, default True
        Learn to choose. Without, choices stay as they were drawn, for comparison.

    Attributes
    ----------
    vectors_ : ndarray of shape (V, S, d), float32
        Senses of each word.
    priors_ : ndarray of shape (V, S), float32
        Share of a word's occurrences that each sense takes in a last round; rows sum to 1.
    vocabulary_ : Vocabulary
        Words that are known.

    Notes
    -----
    The context c of an occurrence is the mean of the output vectors of the words around it, and ``p(s | w, c) =
    softmax(A_w c + b_w)``. In training the choice is relaxed by Gumbel noise and a temperature; the chosen mixture of
    vectors predicts the words around it, so that vectors and choices learn from one loss. The first round has one
    A and b for all words, without noise and with the entropy rewarded; they are then copied to each word. Cost: that of
    skip-gram and O(S d) more per word; ``(2 S + 1) V d`` floats.

    References
    ----------
    Grzegorczyk, Kurdziel: Disambiguated skip-gram model. EMNLP 2018. Grzegorczyk: Vector representations of text
    data in deep learning. arXiv 1901.01695, chapter 4.

    Examples
    --------
    >>> texts = ["bank river water", "river bank water", "bank money loan", "money bank loan"] * 20
    >>> model = DisambiguatedSkipGram(senses=2, dim=8, min_count=1, sample=0).fit(texts)
    >>> model.disambiguate("bank", ["river", "water"]).sum().round(3)
    np.float32(1.0)
    """

    vectors_: FloatArray
    priors_: FloatArray
    vocabulary_: Vocabulary

    def __init__(
        self,
        *,
        senses: int = 3,
        dim: int = 100,
        window: int = 5,
        negatives: int = 5,
        epochs: int = 5,
        min_count: int = 20,
        max_words: int | None = None,
        sample: float = 1e-3,
        gamma: float = 0.0,
        temperature: float = 0.5,
        rate: float = 0.05,
        choose: bool = True,
        threads: int = 1,
        seed: int = 0,
    ) -> None:
        counts = {"dim": dim, "window": window, "negatives": negatives, "epochs": epochs, "min_count": min_count}
        self._settings: dict[str, Any] = {name: check_count(value, name=name) for name, value in counts.items()} | {
            "senses": check_count(senses, name="senses", minimum=2), "max_words": max_words,
            "sample": check_fraction(sample, name="sample"), "gamma": float(gamma), "choose": bool(choose),
            "temperature": float(temperature), "rate": float(rate), "seed": seed,
            "threads": check_count(threads, name="threads"),
        }  # fmt: skip
        for name in ("temperature", "rate"):
            if not 0 < self._settings[name] < 100:
                raise InputError(message(f"{name}={self._settings[name]}", "a number above 0", "leave it out"))
        if not np.isfinite(gamma):
            raise InputError(message(f"gamma={gamma}", "a finite number", "0 is neutral"))
        self._arrays: dict[str, Any] = {}

    def fit(self, texts: Texts | Corpus) -> DisambiguatedSkipGram:
        """Learn senses and choices.

        Parameters
        ----------
        texts : iterable of str or of lists of words, or Corpus
            One passage each.

        Returns
        -------
        DisambiguatedSkipGram
            Self.

        Raises
        ------
        InputError
            No word that is frequent enough, or a training that diverged, as with a large negative ``gamma``.
        """
        own = self._settings
        corpus = (
            texts
            if isinstance(texts, Corpus)
            else read_corpus(texts, min_count=own["min_count"], max_words=own["max_words"])
        )
        rng = np.random.default_rng(own["seed"])
        size, senses, dim = len(corpus.vocabulary), own["senses"], own["dim"]
        made: dict[str, Any] = {
            "senses": ((rng.random((size, senses, dim)) - 0.5) / dim).astype(np.float32),
            "outputs": np.zeros((size, dim), np.float32),
            "weights": rng.normal(0, 1, (1, senses, dim)).astype(np.float32),
            "biases": np.zeros((1, senses), np.float32), "priors": np.zeros((0, senses)),
        }  # fmt: skip
        # Output vectors begin at zero, so a choice has nothing to go by before they have learned something.
        self._round(corpus, made, rng, rate=own["rate"], temperature=1.0, gamma=_PRETRAINING_GAMMA, noisy=False)
        made["weights"] = np.repeat(made["weights"], size, axis=0)
        made["biases"] = np.repeat(made["biases"], size, axis=0)
        for epoch in range(own["epochs"]):
            done = epoch / max(1, own["epochs"] - 1)
            last = epoch == own["epochs"] - 1
            made["priors"] = np.zeros((size, senses)) if last else made["priors"]
            temperature = 1.0 + (own["temperature"] - 1.0) * min(1.0, 2 * done)
            rate = own["rate"] * (1 - 0.9 * done)
            self._round(corpus, made, rng, rate=rate, temperature=temperature, gamma=own["gamma"], noisy=True)
        if not all(np.isfinite(array).all() for array in made.values()):
            raise InputError(message("a training that diverged", "finite vectors", "bring gamma and rate nearer to 0"))
        self._arrays, self.vocabulary_ = made, corpus.vocabulary
        self._publish()
        return self

    def _round(
        self,
        corpus: Corpus,
        made: dict[str, Any],
        rng: np.random.Generator,
        *,
        rate: float,
        temperature: float,
        gamma: float,
        noisy: bool,
    ) -> None:
        own, counts = self._settings, corpus.vocabulary.counts
        keep, noise, table = keep_probabilities(counts, own["sample"]), noise_of(counts), sigmoid_table()
        seeds = rng.integers(1 << 63, size=len(corpus) + 1, dtype=np.uint64)

        def part(first: int, last: int) -> None:
            train_senses(
                corpus.tokens, corpus.offsets, first, last, keep, *noise, table, made["senses"], made["outputs"],
                made["weights"], made["biases"], own["window"], own["negatives"], float(rate), float(temperature),
                float(gamma), noisy, own["choose"], seeds[first], made["priors"],
            )  # fmt: skip

        least = max(1, _LEAST_TOKENS * len(corpus) // max(1, len(corpus.tokens)))
        map_ranges(part, len(corpus), threads=own["threads"], minimum=least)

    def _publish(self) -> None:
        priors = self._arrays["priors"]
        totals = priors.sum(axis=1, keepdims=True)
        even = np.full_like(priors, 1 / priors.shape[1])
        self.priors_ = np.where(totals > 0, priors / np.maximum(totals, 1e-30), even).astype(np.float32)
        self.vectors_ = self._arrays["senses"]

    def disambiguate(self, word: str, context: Sequence[str]) -> FloatArray:
        """Return how much each sense of a word is meant among given words.

        Parameters
        ----------
        word : str
            A known word.
        context : sequence of str
            Words around it, without itself; unknown ones are passed over.

        Returns
        -------
        ndarray of shape (S,), float32
            Sums to 1. Without a known word around it, the priors.

        Raises
        ------
        NotFoundError
            An unknown word.
        InputError
            One text in place of words.
        NotFittedError
            Before ``fit``.
        """
        place = self._place(word)
        if isinstance(context, (str, bytes)):
            raise InputError(message("a context of one text", "a sequence of words", "write context.lower().split()"))
        known = [self.vocabulary_.index[other] for other in context if other in self.vocabulary_.index]
        if not known:
            return self.priors_[place].copy()
        mean = self._arrays["outputs"][known].mean(axis=0)
        scores = self._arrays["weights"][place] @ mean + self._arrays["biases"][place]
        shares = np.exp(scores - scores.max())
        return np.asarray(shares / shares.sum(), dtype=np.float32)

    def neighbours(self, word: str, sense: int, *, k: int = 10, least_prior: float = 0.05) -> list[tuple[str, float]]:
        """Return the words nearest to one sense of a word, by any sense of theirs.

        Parameters
        ----------
        word : str
            A known word.
        sense : int
            From 0.
        k : int, default 10
            Words wanted.
        least_prior : float, default 0.05
            Senses used less than this are passed over: they were hardly trained.

        Returns
        -------
        list of (str, float)
            Words with cosines, nearest first.

        Raises
        ------
        NotFoundError
            An unknown word.
        """
        place = self._place(word)
        number = check_count(sense, name="sense", minimum=0, maximum=self.vectors_.shape[1] - 1)
        rows = self.vectors_ / np.maximum(np.linalg.norm(self.vectors_, axis=2, keepdims=True), 1e-30)
        scores = np.where(self.priors_ >= least_prior, rows @ rows[place, number], -np.inf).max(axis=1)
        scores[place] = -np.inf
        best = np.argsort(-scores, kind="stable")[: check_count(k, name="k")]
        return [(self.vocabulary_.words[i], round(float(scores[i]), 6)) for i in best if np.isfinite(scores[i])]

    def words(self) -> WordVectors:
        """Return one vector per word: its senses by their priors.

        Returns
        -------
        WordVectors
            With counts.
        """
        self._fitted()
        mean = np.einsum("vs,vsd->vd", self.priors_, self.vectors_)
        return WordVectors(self.vocabulary_.words, mean, counts=self.vocabulary_.counts, name="senses")

    def save(self, path: str | Path) -> None:
        """Write senses and choices as an artefact folder.

        Parameters
        ----------
        path : str or Path
            Folder, created if missing.
        """
        self._fitted()
        words = packed_words(self.vocabulary_.words)
        arrays: dict[str, npt.NDArray[Any]] = {**self._arrays, "words": words, "counts": self.vocabulary_.counts}
        write_artifact(path, kind=_KIND, arrays=arrays, config={"settings": self._settings})

    @classmethod
    def load(cls, path: str | Path) -> DisambiguatedSkipGram:
        """Read a folder of ``save``.

        Parameters
        ----------
        path : str or Path
            The folder.

        Returns
        -------
        DisambiguatedSkipGram
            A fitted one.

        Raises
        ------
        NotFoundError, StoreCorruptedError, StoreVersionError
            No such folder, damaged files, or those of a newer release.
        """
        arrays, config = read_artifact(path, kind=_KIND)
        made = cls(**config["settings"])
        made.vocabulary_ = Vocabulary(tuple(unpacked_words(arrays["words"])), arrays["counts"])
        made._arrays = {name: arrays[name] for name in _NAMES}
        made._publish()
        return made

    def _place(self, word: str) -> int:
        self._fitted()
        if word not in self.vocabulary_.index:
            raise NotFoundError(message(f"the word {word!r}", "a word of the vocabulary", "lower min_count"))
        return self.vocabulary_.index[word]

    def _fitted(self) -> None:
        if not self._arrays:
            given = "a DisambiguatedSkipGram that has not been fitted"
            raise NotFittedError(message(given, "a fitted one", "call fit(texts) first"))
