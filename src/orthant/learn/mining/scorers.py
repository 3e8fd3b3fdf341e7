"""Scores of a query against texts: by words, by vectors, and by both; each speaks the ``Reranker`` protocol."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NonFiniteError, message
from orthant.kernels.postings import (
    accumulate_bm25,
    build_postings,
    inverse_document_frequency,
    length_norm,
    postings_of,
)
from orthant.measures.rescaling import min_max
from orthant.types import Encoder, FloatArray, Reranker
from orthant.validate import as_texts, check_fraction

__all__ = ["BM25Scorer", "DenseScorer", "FusedTeacher", "fuse_scores"]

_WORD = re.compile(r"[^\W_]+")


def _words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class BM25Scorer:
    """Score texts by the query's words: the lexical half of a fused teacher, and a member of a committee.

    For searching, use a collection; this class scores lists that were found already.

    Parameters
    ----------
    corpus : sequence of str, optional
        Texts that document frequencies and the average length come from. Left out, they come from the texts of each
        call, as if these were the whole collection.
    k1 : float, default 1.2
        How slowly further occurrences of a word count less; 0 counts presence only.
    b : float, default 0.75
        How much long texts are marked down, from 0 to 1.

    Raises
    ------
    InputError
        Settings out of range, or a corpus without a text.

    Notes
    -----
    ``sum over query words: idf(w) tf / (tf + k1 (1 - b + b length / average))``, words by Unicode letters and digits,
    case folded, no stemming. Cost O(words of the texts) per call.

    References
    ----------
    S. Robertson and H. Zaragoza, The Probabilistic Relevance Framework: BM25 and Beyond, 2009, section 3.4.

    Examples
    --------
    >>> print(BM25Scorer().score("red boat", ["a red boat", "a red car", "a tree"]).round(2))
    [0.63 0.2 0. ]
    """

    def __init__(self, corpus: Sequence[str] | None = None, *, k1: float = 1.2, b: float = 0.75) -> None:
        self._k1 = check_fraction(k1, name="k1", high=1e3)
        self._b = check_fraction(b, name="b")
        self._count = 0
        self._average = 0.0
        self._frequencies: dict[str, int] = {}
        if corpus is not None:
            self._learn(as_texts(corpus, name="corpus"))

    def _learn(self, corpus: list[str]) -> None:
        if not corpus:
            raise InputError(message("an empty corpus", "at least one text", "leave corpus out"))
        total = 0
        for text in corpus:
            words = _words(text)
            total += len(words)
            for word in set(words):
                self._frequencies[word] = self._frequencies.get(word, 0) + 1
        self._count, self._average = len(corpus), total / len(corpus)

    def score(self, query: str, records: Sequence[str]) -> FloatArray:
        """Return BM25 scores.

        Parameters
        ----------
        query : str
            The query; a word that it repeats counts as often.
        records : sequence of str
            m texts.

        Returns
        -------
        ndarray of shape (m,), float32
            0 where no word matches.
        """
        texts = [_words(text) for text in as_texts(records, name="records")]
        lengths = np.array([len(words) for words in texts], dtype=np.int32)
        wanted = _words(query)
        numbers = {word: i for i, word in enumerate(dict.fromkeys(wanted))}
        places = [(numbers[w], i) for i, words in enumerate(texts) for w in words if w in numbers]
        terms, docs = np.array(places, dtype=np.int32).reshape(-1, 2).T
        postings = build_postings(np.ascontiguousarray(terms), np.ascontiguousarray(docs))
        average = self._average if self._count else float(lengths.mean()) if len(lengths) else 0.0
        norm = length_norm(lengths, average, k1=self._k1, b=self._b)
        scores = np.zeros(len(texts), dtype=np.float32)
        for word in wanted:
            found, counts = postings_of(postings, numbers[word])
            if len(found):
                df = max(self._frequencies.get(word, 0), 1) if self._count else len(found)
                idf = inverse_document_frequency(df, self._count or len(texts))
                accumulate_bm25(scores, found, counts, norm, idf)
        return scores


class DenseScorer:
    """Score texts by the cosine of their vectors with the query's; vectors of texts are kept for the next call.

    Parameters
    ----------
    encoder : Encoder
        Encodes queries and texts with their roles.
    scale : float, default 1.0
        Factor on the cosine, above 0; a softmax over cosines needs one (100 in a committee's soft vote).
    keep : int, default 100000
        Vectors kept; when there are more, all are forgotten. 0 keeps none.

    Raises
    ------
    InputError
        ``scale`` or ``keep`` out of range.
    """

    def __init__(self, encoder: Encoder, *, scale: float = 1.0, keep: int = 100_000) -> None:
        self._encoder = encoder
        self._scale = check_fraction(scale, name="scale", low=1e-12, high=1e12)
        self._keep = int(check_fraction(keep, name="keep", high=1e12))
        self._vectors: dict[tuple[str, str], FloatArray] = {}

    def _encode(self, texts: list[str], role: str) -> FloatArray:
        known = self._vectors
        missing = [text for text in dict.fromkeys(texts) if (role, text) not in known]
        if len(known) + len(missing) > self._keep:
            known.clear()
            missing = list(dict.fromkeys(texts))
        fresh: dict[tuple[str, str], FloatArray] = {}
        if missing:
            vectors = self._encoder.encode(missing, role=role)  # type: ignore[arg-type]
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            # A text without a known token has no direction: it is like nothing, and scores 0.
            unit = vectors / np.where(norms > 0, norms, 1)
            fresh = {(role, text): row for text, row in zip(missing, unit, strict=True)}
        out = np.stack([fresh[role, text] if (role, text) in fresh else known[role, text] for text in texts])
        if len(fresh) <= self._keep:
            known.update(fresh)
        return out

    def score(self, query: str, records: Sequence[str]) -> FloatArray:
        """Return scaled cosines.

        Parameters
        ----------
        query : str
            The query.
        records : sequence of str
            m texts.

        Returns
        -------
        ndarray of shape (m,), float32
            From ``-scale`` to ``scale``.
        """
        texts = as_texts(records, name="records")
        if not texts:
            return np.zeros(0, dtype=np.float32)
        cosines = self._encode(texts, "document") @ self._encode([query], "query")[0]
        return np.asarray(cosines * self._scale, dtype=np.float32)


def fuse_scores(
    legs: Mapping[str, npt.ArrayLike],
    *,
    weights: Mapping[str, float] | None = None,
    floors: Mapping[str, float] | None = None,
) -> FloatArray:
    """Fuse scores of several retrievers over the same candidates: weighted min-max per query.

    Parameters
    ----------
    legs : mapping of str to array-like of shape (q, m) or (m,)
        Scores by retriever, on any scales; -inf where a retriever did not find the candidate.
    weights : mapping of str to float, optional
        Non-negative weight of each leg, at least one above 0; left out, equal weights.
    floors : mapping of str to float, optional
        Score that maps to 0, where the scale itself says so: ``{"bm25": 0.0}``. Left out, the smallest of the query.

    Returns
    -------
    ndarray of the same shape, float32
        From 0 to 1.

    Raises
    ------
    InputError, NonFiniteError
        No leg, legs of different shapes, NaN, unknown names, or weights that are negative or all 0.

    Notes
    -----
    ``sum_l w_l (s_l - low_l) / (high_l - low_l)`` with the weights divided by their sum, ``low`` and ``high`` over the
    query's candidates. Where all scores of a leg are equal it gives 1, or 0 when they equal its floor.

    Examples
    --------
    >>> fuse_scores({"dense": [0.9, 0.5, 0.7], "bm25": [0, 4, 0]}, floors={"bm25": 0.0}).tolist()
    [0.5, 0.5, 0.25]
    """
    arrays = {name: np.asarray(scores, dtype=np.float64) for name, scores in legs.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if not arrays or len(set(shapes.values())) > 1 or next(iter(arrays.values())).ndim not in (1, 2):
        raise InputError(message(f"legs of shapes {shapes}", "at least one leg, all of one shape", "align them"))
    shares = _check_legs(weights if weights is not None else dict.fromkeys(arrays, 1.0), arrays, "weights")
    lows = _check_legs(floors or {}, arrays, "floors")
    if min(shares.values(), default=0.0) < 0 or sum(shares.values()) <= 0:
        raise InputError(message(f"weights={weights!r}", "weights from 0, one of them above it", "correct them"))
    total = np.zeros(next(iter(shapes.values())), dtype=np.float64)
    for name, array in arrays.items():
        if np.isnan(array).any() or np.isposinf(array).any():
            raise NonFiniteError(
                message(f"NaN or infinity among the scores of {name!r}", "numbers, or -inf for absent", "correct them")
            )
        total += shares.get(name, 0.0) / sum(shares.values()) * min_max(array, low=lows.get(name))
    return np.asarray(total, dtype=np.float32)


def _check_legs(given: Mapping[str, float], arrays: Mapping[str, object], name: str) -> dict[str, float]:
    unknown = sorted(set(given) - set(arrays))
    if unknown:
        raise InputError(message(f"{name} for {unknown[0]!r}", f"legs among {sorted(arrays)}", "correct the name"))
    out = {leg: float(value) for leg, value in given.items()}
    if not all(map(np.isfinite, out.values())):
        raise InputError(message(f"{name}={given!r}", "finite numbers", "correct them"))
    return out


class FusedTeacher:
    """Score texts by several scorers at once: dense and lexical retrieval, and a cross-encoder where there is one.

    Parameters
    ----------
    legs : mapping of str to Reranker
        Scorers by name, such as ``{"dense": DenseScorer(encoder), "bm25": BM25Scorer(corpus)}``.
    weights : mapping of str to float, optional
        As for ``fuse_scores``; equal when left out.
    floors : mapping of str to float, optional
        As for ``fuse_scores``.

    Raises
    ------
    InputError
        No leg, or weights that do not fit.

    Notes
    -----
    Scores are relative to the texts of one call: compare them within a query only.

    References
    ----------
    LG-ANNA-Embedding technical report, arXiv:2506.07438, section on soft labels.

    Examples
    --------
    >>> FusedTeacher({"bm25": BM25Scorer()}).score("red boat", ["a tree", "a red boat"]).tolist()
    [0.0, 1.0]
    """

    def __init__(
        self,
        legs: Mapping[str, Reranker],
        *,
        weights: Mapping[str, float] | None = None,
        floors: Mapping[str, float] | None = None,
    ) -> None:
        self._legs, self._weights, self._floors = dict(legs), weights, floors
        fuse_scores({name: np.zeros(1) for name in self._legs}, weights=weights, floors=floors)

    def score(self, query: str, records: Sequence[str]) -> FloatArray:
        """Return fused scores.

        Parameters
        ----------
        query : str
            The query.
        records : sequence of str
            m texts.

        Returns
        -------
        ndarray of shape (m,), float32
            From 0 to 1.
        """
        legs = {name: leg.score(query, records) for name, leg in self._legs.items()}
        return fuse_scores(legs, weights=self._weights, floors=self._floors)
