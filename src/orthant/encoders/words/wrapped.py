"""Word vectors that gensim trains: vectors of parts of words, the other objective of word2vec, and its saved models."""

from __future__ import annotations

from typing import Any

from orthant.encoders.words.corpus import Texts, words_of
from orthant.encoders.words.vectors import WordVectors
from orthant.errors import InputError, MissingExtraError, message
from orthant.types import FloatArray
from orthant.validate import check_choice, check_count

__all__ = ["SubwordVectors", "from_gensim", "train_with_gensim"]

METHODS = ("skipgram", "cbow", "fasttext")


class SubwordVectors(WordVectors):
    """Word vectors that also cover unseen words, from the subwords that they share with known ones.

    Made by `train_with_gensim` or `from_gensim`. ``vectors[word]`` answers for any word; ``neighbours`` looks among the
    known ones. Texts are encoded by known words only.

    Parameters
    ----------
    keyed : object
        gensim's ``FastTextKeyedVectors``.
    name : str, default "fasttext"
        For the fingerprint.
    """

    def __init__(self, keyed: Any, *, name: str = "fasttext") -> None:
        super().__init__(keyed.index_to_key, keyed.vectors, counts=_counts(keyed), name=name)
        self._keyed = keyed

    def __getitem__(self, word: str) -> FloatArray:
        """Return the vector of any word; its parts stand in where it is unknown."""
        return self.vectors[self._index[word]] if word in self._index else self._keyed.get_vector(word)


def from_gensim(model: Any) -> WordVectors:
    """Convert the vectors of a gensim model, such as Word2Vec, FastText or KeyedVectors.

    Parameters
    ----------
    model : object
        The model, or its ``wv``.

    Returns
    -------
    WordVectors
        `SubwordVectors` where the model has parts of words. Vectors are shared, not copied.

    Raises
    ------
    InputError
        Something without words and vectors.

    Examples
    --------
    >>> class Keyed:
    ...     index_to_key, vectors = ["sea", "ship"], [[1.0, 0.0], [0.5, 0.5]]
    >>> from_gensim(Keyed()).similarity("sea", "ship").__round__(4)
    0.7071
    """
    keyed = getattr(model, "wv", model)
    if not hasattr(keyed, "index_to_key") or not hasattr(keyed, "vectors"):
        given = f"a {type(model).__name__}"
        raise InputError(message(given, "a gensim model of words, or its wv", "read files with WordVectors.read"))
    if hasattr(keyed, "vectors_ngrams"):
        return SubwordVectors(keyed)
    return WordVectors(keyed.index_to_key, keyed.vectors, counts=_counts(keyed), name="gensim")


def train_with_gensim(
    texts: Texts,
    *,
    method: str = "fasttext",
    dim: int = 100,
    window: int = 5,
    negatives: int = 5,
    epochs: int = 5,
    min_count: int = 5,
    sample: float = 1e-3,
    buckets: int = 200_000,
    threads: int = 1,
    seed: int = 0,
) -> WordVectors:
    """Train word vectors with gensim, for methods that only it has: subwords (fastText) or CBOW.

    Parameters
    ----------
    texts : iterable of str or of lists of words
        Kept in memory as lists of words.
    method : {"fasttext", "cbow", "skipgram"}, default "fasttext"
        The first gives vectors to unknown words; the last is for comparison with `train_skipgram`.
    dim, window, negatives, epochs, min_count, sample, threads, seed
        As for `orthant.encoders.words.skipgram.train_skipgram`.
    buckets : int, default 200_000
        Rows for parts of words, of ``"fasttext"``: 4 dim bytes each. Too few let parts share rows.

    Returns
    -------
    WordVectors
        `SubwordVectors` of ``"fasttext"``.

    Raises
    ------
    MissingExtraError
        gensim is not installed.
    InputError
        No word that is frequent enough, or an unknown method.
    """
    check_choice(method, METHODS, name="method")
    try:
        from gensim.models import FastText, Word2Vec
    except ImportError as error:
        raise MissingExtraError(
            message("no installation of gensim", "gensim 4", "pip install gensim, or use train_skipgram")
        ) from error
    sentences = [words_of(text) if isinstance(text, str) else list(text) for text in texts]
    settings: dict[str, Any] = {
        "vector_size": check_count(dim, name="dim"), "window": window, "negative": negatives, "epochs": epochs,
        "min_count": min_count, "sample": sample, "workers": threads, "seed": seed, "sg": int(method != "cbow"),
    }  # fmt: skip
    try:
        made = (
            FastText(sentences, bucket=buckets, **settings) if method == "fasttext" else Word2Vec(sentences, **settings)
        )
    except RuntimeError as error:
        raise InputError(message(f"{len(sentences)} texts: {error}", "more text", "lower min_count")) from error
    return from_gensim(made)


def _counts(keyed: Any) -> Any:
    """Occurrences, where the model knows them."""
    try:
        return [keyed.get_vecattr(word, "count") for word in keyed.index_to_key]
    except (AttributeError, KeyError):
        return None
