"""Word vectors from raw text by skip-gram with negative sampling, and the counts that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.encoders.words.corpus import Corpus, Texts, read_corpus
from orthant.encoders.words.vectors import WordVectors
from orthant.errors import InputError, message
from orthant.kernels.skipgram.sampling import alias_table, keep_probabilities, sigmoid_table
from orthant.kernels.skipgram.words import train_words
from orthant.threads import map_ranges
from orthant.types import FloatArray
from orthant.validate import check_count, check_fraction

__all__ = ["NOISE_POWER", "count_vectors", "noise_of", "train_skipgram"]

NOISE_POWER = 0.75
"""Exponent on counts in the distribution of noise words."""

_LEAST_TOKENS = 20_000


def train_skipgram(
    texts: Texts | Corpus,
    *,
    dim: int = 100,
    window: int = 5,
    negatives: int = 5,
    epochs: int = 5,
    min_count: int = 5,
    max_words: int | None = None,
    sample: float = 1e-3,
    rate: float = 0.025,
    threads: int = 1,
    seed: int = 0,
) -> WordVectors:
    """Learn a vector for every word of a text from the words around it.

    Use it where words have meanings of their own: product codes, a trade's jargon, a language without a model. For
    ordinary sentences an encoder that was trained on far more text is better.

    Parameters
    ----------
    texts : iterable of str or of lists of words, or Corpus
        One passage each, read once; windows never cross passages.
    dim : int, default 100
        Dimension. 50 to 300; more needs more text.
    window : int, default 5
        Most words to either side. Small windows find words of the same kind, large ones of the same topic.
    negatives : int, default 5
        Noise words per neighbour; up to 15 on small corpora.
    epochs : int, default 5
        Rounds over the text. Below a million words take 10 to 30; too many only cost time.
    min_count, max_words
        As for `read_corpus`; not used with a Corpus.
    sample : float, default 1e-3
        Share of the text above which a word is thinned out; 0 to 1. 0 keeps everything.
    rate : float, default 0.025
        First step; falls linearly to a two-hundred-and-fiftieth of it.
    threads : int, default 1
        One gives the same vectors every time. More share the tables without locks, which is quicker, keeps quality,
        and makes vectors depend on timing.
    seed : int, default 0
        Of the first vectors and of every draw.

    Returns
    -------
    WordVectors
        With counts, so that texts are encoded with frequent words weighing less.

    Raises
    ------
    InputError
        A setting out of range, or no word that is frequent enough.

    Notes
    -----
    Ascends ``log s(o . c) + sum_n log s(-n . c)``, n drawn by ``count^0.75``, with the window of each place drawn from
    1 to ``window`` and occurrences of word w kept with probability ``sqrt(t/f) + t/f``. Cost: about
    ``tokens * epochs * window * (negatives + 1) * 6 dim`` operations; 8 dim bytes per word.

    References
    ----------
    Mikolov, Chen, Corrado, Dean: Efficient estimation of word representations in vector space. arXiv 1301.3781.
    Mikolov et al.: Distributed representations of words and phrases. NIPS 2013.

    Examples
    --------
    >>> texts = ["salt and pepper on fish", "pepper and salt on meat", "rain and wind at sea"] * 30
    >>> words = train_skipgram(texts, dim=16, epochs=20, sample=0)
    >>> words.similarity("salt", "pepper") > words.similarity("salt", "sea")
    True
    """
    for name, value in {"dim": dim, "window": window, "negatives": negatives, "epochs": epochs}.items():
        check_count(value, name=name)
    check_fraction(sample, name="sample")
    if not 0 < rate < 1:
        raise InputError(message(f"rate={rate}", "a number between 0 and 1", "0.025 is usual"))
    corpus = texts if isinstance(texts, Corpus) else read_corpus(texts, min_count=min_count, max_words=max_words)
    counts = corpus.vocabulary.counts
    rng = np.random.default_rng(seed)
    inputs = ((rng.random((len(counts), dim), dtype=np.float32) - 0.5) / dim).astype(np.float32)
    outputs = np.zeros_like(inputs)
    keep, noise, table = keep_probabilities(counts, sample), noise_of(counts), sigmoid_table()
    total = max(1, epochs * len(corpus.tokens))
    for epoch in range(epochs):
        seeds = rng.integers(1 << 63, size=len(corpus) + 1, dtype=np.uint64)

        def part(first: int, last: int, epoch: int = epoch, seeds: Any = seeds) -> None:
            train_words(
                corpus.tokens, corpus.offsets, first, last, keep, *noise, table, inputs, outputs, window, negatives,
                float(rate), float(rate) / 250, epoch * len(corpus.tokens), total, seeds[first],
            )  # fmt: skip

        map_ranges(part, len(corpus), threads=threads, minimum=_passages_per_thread(corpus))
    return WordVectors(corpus.vocabulary.words, inputs, counts=counts, name="skipgram")


def noise_of(counts: npt.NDArray[np.int64]) -> tuple[FloatArray, npt.NDArray[np.int32]]:
    """Return the alias table of noise words for given counts.

    Parameters
    ----------
    counts : ndarray of shape (V,), int64
        Occurrences, at least one of them positive.

    Returns
    -------
    tuple of ndarray of shape (V,)
        Thresholds and aliases; see `orthant.kernels.skipgram.sampling.alias_table`.
    """
    return alias_table(counts.astype(np.float64) ** NOISE_POWER)


def _passages_per_thread(corpus: Corpus) -> int:
    """As many as make a part worth a thread."""
    return max(1, _LEAST_TOKENS * len(corpus) // max(1, len(corpus.tokens)))


def count_vectors(
    texts: Texts | Corpus,
    *,
    dim: int = 100,
    window: int = 5,
    shift: float = 1.0,
    power: float = 0.5,
    min_count: int = 5,
    max_words: int | None = None,
    seed: int = 0,
) -> WordVectors:
    """Make word vectors by counting: positive pointwise mutual information, reduced by a singular value decomposition.

    The classical rival of skip-gram, often its equal on small corpora; nothing is trained. The vocabulary decides the
    cost, so use ``max_words`` on large texts.

    Parameters
    ----------
    texts, window, min_count, max_words
        As for `train_skipgram`; neighbours at distance r weigh ``(window - r + 1) / window``, which is what the drawn
        windows of skip-gram come to.
    dim : int, default 100
        Singular vectors kept; less than the number of words.
    shift : float, default 1.0
        k in ``log k``, taken off the information: k noise words of skip-gram. At least 1.
    power : float, default 0.5
        Exponent on singular values, 0 to 1. 0.5 serves similarity, 1 keeps the products.
    seed : int, default 0
        Of the start vector of the decomposition.

    Returns
    -------
    WordVectors
        With counts.

    Raises
    ------
    InputError
        As many dimensions as words or more, or a setting out of range.

    Notes
    -----
    ``max(0, log(p(w, c) / (p(w) p_a(c))) - log k)`` with contexts by ``count^0.75``; vectors ``U S^power``. Cost:
    O(tokens window) time and memory for the counts, O(dim pairs) for the decomposition.

    References
    ----------
    Levy, Goldberg, Dagan: Improving distributional similarity with lessons learned from word embeddings. TACL 3, 2015.

    Examples
    --------
    >>> texts = ["salt and pepper on fish", "pepper and salt on meat", "rain and wind at sea"] * 30
    >>> words = count_vectors(texts, dim=4)
    >>> words.similarity("salt", "pepper") > words.similarity("salt", "sea")
    True
    """
    from scipy.sparse.linalg import svds

    check_fraction(power, name="power")
    check_count(window, name="window")
    if shift < 1:
        raise InputError(message(f"shift={shift}", "a number of at least 1", "1 shifts nothing"))
    corpus = texts if isinstance(texts, Corpus) else read_corpus(texts, min_count=min_count, max_words=max_words)
    size = len(corpus.vocabulary)
    if not 1 <= dim < size:
        raise InputError(message(f"dim={dim} for {size} words", f"1 to {size - 1}", "lower dim, or pass more text"))
    pairs = _pair_counts(corpus, window)
    words = np.asarray(pairs.sum(axis=1)).ravel()
    contexts = words**NOISE_POWER
    information = np.log(
        np.maximum(pairs.data * contexts.sum() / np.maximum(words[pairs.row] * contexts[pairs.col], 1e-30), 1e-30)
    )
    pairs.data = np.maximum(information - np.log(shift), 0.0)
    start = np.random.default_rng(seed).standard_normal(size)
    left, values, _ = svds(pairs.tocsr(), k=dim, v0=start)
    order = np.argsort(-values)
    vectors = left[:, order] * values[order] ** power
    return WordVectors(
        corpus.vocabulary.words, vectors.astype(np.float32), counts=corpus.vocabulary.counts, name="counts"
    )


def _pair_counts(corpus: Corpus, window: int) -> Any:
    """Weighted neighbours of every word within its passage, as a sparse matrix."""
    from scipy.sparse import coo_matrix

    size = len(corpus.vocabulary)
    owner = np.repeat(np.arange(len(corpus), dtype=np.int64), np.diff(corpus.offsets))
    found = coo_matrix((size, size))
    for distance in range(1, window + 1):
        together = owner[:-distance] == owner[distance:]
        left, right = corpus.tokens[:-distance][together], corpus.tokens[distance:][together]
        weight = np.full(len(left), (window - distance + 1) / window)
        found = found + coo_matrix((weight, (left, right)), shape=(size, size))
    return (found + found.T).tocoo()
