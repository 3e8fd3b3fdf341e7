"""How well a model finds the positives of held-out queries, whether it has one vector per text or one per token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orthant.errors import InputError, message
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.kernels.topk import top_k
from orthant.learn.conversion.tables import PairTable
from orthant.measures.ranking import RankingScores, score_run
from orthant.measures.runs import run_from_arrays
from orthant.types import Ragged

__all__ = ["JudgedPairs", "encode_task", "judge", "judged_pairs"]

_DEPTH = 100
_BATCH = 32


@dataclass(frozen=True)
class JudgedPairs:
    """Queries, documents and which answers which.

    Attributes
    ----------
    queries, documents : list of str
        Distinct texts.
    relevant : list of list of int
        Positions of the documents that answer each query.
    """

    queries: list[str]
    documents: list[str]
    relevant: list[list[int]]


def judged_pairs(
    splits: Mapping[str, PairTable], split: str, *, queries: int, documents: int | None = None, seed: int = 0
) -> JudgedPairs:
    """Make a retrieval task of a split: its queries, their positives, and other documents to be told from them.

    Parameters
    ----------
    splits : mapping of str to PairTable
        All splits of a data set; documents of every split are searched.
    split : str
        The one that queries are taken of.
    queries : int
        At most so many, drawn by the seed.
    documents : int, optional
        Further documents, drawn by the seed; all when left out. Fewer make the task easier, so figures compare only
        at equal numbers.
    seed : int, default 0
        Of both draws.

    Returns
    -------
    JudgedPairs
        The task.

    Raises
    ------
    InputError
        A split without rows.
    """
    rng = np.random.default_rng([seed, 1])
    rows = splits[split].rows
    if not rows:
        raise InputError(message(f"the split {split!r} without rows", "some pairs", "give more groups of rows"))
    answers: dict[str, list[str]] = {}
    for row in rows:
        answers.setdefault(row["anchor"], []).append(row["positive"])
    chosen = list(answers)
    if len(chosen) > queries:
        chosen = [chosen[i] for i in np.sort(rng.choice(len(chosen), queries, replace=False))]
    wanted = list(dict.fromkeys(text for query in chosen for text in answers[query]))
    known = set(wanted)
    others = list(dict.fromkeys(r["positive"] for t in splits.values() for r in t.rows if r["positive"] not in known))
    if documents is not None and len(others) > documents:
        others = [others[i] for i in np.sort(rng.choice(len(others), documents, replace=False))]
    # Relevant documents must not be recognisable by their place, which breaks ties.
    texts = wanted + others
    texts = [texts[i] for i in rng.permutation(len(texts))]
    position = {text: i for i, text in enumerate(texts)}
    return JudgedPairs(chosen, texts, [[position[text] for text in answers[query]] for query in chosen])


def judge(model: Any, task: JudgedPairs, metric: str, *, batch_size: int = _BATCH) -> RankingScores:
    """Search every query exactly and score the ranking.

    Parameters
    ----------
    model : SentenceTransformer, MultiVectorEncoder, Encoder or TokenEncoder
        Trained, or loaded from an export.
    task : JudgedPairs
        What is searched.
    metric : str
        Such as ``"ndcg@10"``.
    batch_size : int, default 32
        Texts encoded at once.

    Returns
    -------
    RankingScores
        One value per query.

    Raises
    ------
    InputError
        Something that does not encode texts.
    """
    scores = _scores(model, task, batch_size)
    ids, values, _ = top_k(scores, min(_DEPTH, scores.shape[1]))
    run = run_from_arrays(ids, values)
    qrels = {i: dict.fromkeys(found, 1) for i, found in enumerate(task.relevant)}
    return score_run(run, qrels, [metric])[metric]


def _scores(model: Any, task: JudgedPairs, batch_size: int) -> Any:
    queries, documents = encode_task(model, task, batch_size)
    if isinstance(queries, Ragged):
        return maxsim_scores(queries.values, queries.offsets, documents.values, documents.offsets)
    return _unit(queries) @ _unit(documents).T


def encode_task(model: Any, task: JudgedPairs, batch_size: int = _BATCH) -> tuple[Any, Any]:
    """Encode the queries and the documents of a task.

    Parameters
    ----------
    model : SentenceTransformer, MultiVectorEncoder, Encoder or TokenEncoder
        Trained, or loaded from an export.
    task : JudgedPairs
        What is encoded.
    batch_size : int, default 32
        Texts at once.

    Returns
    -------
    queries, documents : Ragged, or ndarrays of shape (n, d)
        Token vectors of a late-interaction model, else one vector per text.

    Raises
    ------
    InputError
        Something that does not encode texts.
    """
    if hasattr(model, "encode_tokens"):
        queries = model.encode_tokens(task.queries, role="query", batch_size=batch_size)
        return queries, model.encode_tokens(task.documents, role="document", batch_size=batch_size)
    if hasattr(model, "encode_query"):
        queries = model.encode_query(task.queries, batch_size=batch_size, show_progress_bar=False)
        documents = model.encode_document(task.documents, batch_size=batch_size, show_progress_bar=False)
        return (_ragged(queries), _ragged(documents)) if isinstance(queries, list) else (queries, documents)
    if hasattr(model, "encode"):
        queries = model.encode(task.queries, role="query", batch_size=batch_size)
        return queries, model.encode(task.documents, role="document", batch_size=batch_size)
    raise InputError(
        message(f"a {type(model).__name__} to judge", "a model that encodes texts", "pass a model or an encoder")
    )


def _unit(vectors: Any) -> Any:
    matrix = np.asarray(vectors, dtype=np.float32)
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)


def _ragged(parts: Sequence[Any]) -> Ragged:
    arrays = [np.asarray(part.detach().cpu() if hasattr(part, "detach") else part, np.float32) for part in parts]
    offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)
    return Ragged(np.ascontiguousarray(np.concatenate(arrays)), offsets)
