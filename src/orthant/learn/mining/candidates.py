"""Candidates of each query from an index, scores of its positives, and their order under a reranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orthant.errors import InputError, NonFiniteError, NotFoundError, message
from orthant.learn.mining.corpus import MiningCorpus
from orthant.types import FloatArray, IdArray, Index, Reranker

__all__ = ["Candidates", "find_candidates", "positive_ranks", "rescore", "scores_of"]


@dataclass(frozen=True, eq=False)
class Candidates:
    """What an index found for a batch of queries, and how the positives score.

    Attributes
    ----------
    ids : ndarray of shape (q, k), int64
        Best first; -1 where there was nothing.
    scores : ndarray of shape (q, k), float32
        Non-increasing along a row; -inf where there was nothing.
    positive_scores : list of list of float
        Scores of each query's positives, in their order.
    exhausted : bool
        Whether every vector of the index is among the candidates.
    """

    ids: IdArray
    scores: FloatArray
    positive_scores: list[list[float]]
    exhausted: bool


def find_candidates(
    index: Index,
    vectors: FloatArray,
    positives: Sequence[Sequence[int]],
    *,
    depth: int,
    recall: float | None = None,
    batch_size: int = 1024,
) -> Candidates:
    """Search an index for the neighbours of queries and for the scores of their positives.

    Parameters
    ----------
    index : Index
        Any index.
    vectors : ndarray of shape (q, d), float32
        Query vectors.
    positives : sequence of sequence of int
        Relevant ids of each query.
    depth : int
        Neighbours per query; more than there are gives all.
    recall : float, optional
        Passed on to the index.
    batch_size : int, default 1024
        Queries per search.

    Returns
    -------
    Candidates
        Ids, scores and positive scores.

    Raises
    ------
    NotFoundError
        A relevant id is not in the index.

    Notes
    -----
    A positive outside the first ``depth`` neighbours costs one more search, restricted to the query's positives.
    """
    count = len(vectors)
    k = max(min(depth, len(index)), 1)
    ids = np.full((count, k), -1, dtype=np.int64)
    scores = np.full((count, k), -np.inf, dtype=np.float32)
    found: list[list[float]] = []
    for start in range(0, count, batch_size):
        batch = slice(start, min(start + batch_size, count))
        hits = index.search(vectors[batch], k, recall=recall)
        ids[batch], scores[batch] = hits.ids, hits.scores
        for row in range(batch.start, batch.stop):
            known = dict(zip(ids[row].tolist(), scores[row].tolist(), strict=True))
            found.append(scores_of(index, vectors[row], positives[row], known=known))
    return Candidates(ids, scores, found, exhausted=k >= len(index))


def scores_of(
    index: Index, vector: FloatArray, ids: Sequence[int], *, known: dict[int, float] | None = None
) -> list[float]:
    """Return an index's scores of one query with given ids.

    Parameters
    ----------
    index : Index
        Any index.
    vector : ndarray of shape (d,), float32
        The query.
    ids : sequence of int
        Ids of the index.
    known : dict of int to float, optional
        Scores that need no search.

    Returns
    -------
    list of float
        In the order of ``ids``.

    Raises
    ------
    NotFoundError
        An id is not in the index.
    """
    scores = dict(known or {})
    asked = np.array([i for i in ids if i not in scores], dtype=np.int64)
    if len(asked):
        hits = index.search(vector[None], len(asked), allowed=np.unique(asked))
        scores.update(zip(hits.ids[0].tolist(), hits.scores[0].tolist(), strict=True))
        absent = [i for i in asked.tolist() if i not in scores]
        if absent:
            raise NotFoundError(message(f"relevant id {absent[0]}", "an id of the index", "add it or drop the pair"))
    return [scores[i] for i in ids]


def rescore(
    reranker: Reranker,
    found: Candidates,
    queries: Sequence[str],
    positives: Sequence[Sequence[int]],
    corpus: MiningCorpus,
) -> Candidates:
    """Score candidates and positives with a reranker and order the candidates by it.

    Parameters
    ----------
    reranker : Reranker
        Its ``score(query, texts)`` is called once per query.
    found : Candidates
        What the index found.
    queries : sequence of str, length q
        The queries.
    positives : sequence of sequence of int
        Relevant ids of each query.
    corpus : MiningCorpus
        Texts.

    Returns
    -------
    Candidates
        With the reranker's scores; equal scores keep the index's order.

    Raises
    ------
    InputError, NonFiniteError
        Scores of another length, or that are not finite.
    """
    ids, scores = found.ids.copy(), np.full_like(found.scores, -np.inf)
    positive_scores: list[list[float]] = []
    for row, query in enumerate(queries):
        real = ids[row][ids[row] >= 0]
        listed = [*real.tolist(), *positives[row]]
        given = np.asarray(reranker.score(query, [corpus.texts[i] for i in listed]), dtype=np.float32)
        if given.shape != (len(listed),):
            raise InputError(
                message(f"reranker scores of shape {given.shape}", f"({len(listed)},)", "return one score per text")
            )
        if not np.isfinite(given).all():
            raise NonFiniteError(
                message(f"a reranker score that is not finite, for query {row}", "numbers", "correct it")
            )
        order = np.argsort(-given[: len(real)], kind="stable")
        ids[row, : len(real)], scores[row, : len(real)] = real[order], given[: len(real)][order]
        positive_scores.append(given[len(real) :].tolist())
    return Candidates(ids, scores, positive_scores, found.exhausted)


def positive_ranks(found: Candidates, relevant: Sequence[IdArray]) -> list[list[int]]:
    """Return the 1-based rank of each positive among the candidates that are not relevant themselves.

    Parameters
    ----------
    found : Candidates
        Candidates and positive scores.
    relevant : sequence of ndarray of shape (r,), int64
        All relevant ids of each query; they do not count against each other.

    Returns
    -------
    list of list of int
        -1 where the positive scores below everything found and there was more to find.
    """
    out = []
    for ids, scores, own, barred in zip(found.ids, found.scores, found.positive_scores, relevant, strict=True):
        real = ids >= 0
        last = scores[real][-1] if real.any() else np.float32(-np.inf)
        others = scores[real & ~np.isin(ids, barred)]
        out.append([-1 if s < last and not found.exhausted else 1 + int((others > np.float32(s)).sum()) for s in own])
    return out
