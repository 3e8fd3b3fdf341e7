"""Runs and relevance judgements, brought into one order.

Runs arrive as score tables, ranked lists or neighbour arrays; `align` puts every query's documents in rank order,
looks up their grades and says which queries are missing. The metrics in `ranking` read nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError, message
from orthant.types import Hits
from orthant.validate import check_choice

__all__ = ["UNJUDGED", "AlignedRun", "Qrels", "Run", "align", "rank_documents", "run_from_arrays"]

Run: TypeAlias = (
    Mapping[Any, Mapping[Any, float]] | Mapping[Any, Sequence[Any]] | Hits | tuple[npt.ArrayLike, npt.ArrayLike]
)
Qrels: TypeAlias = Mapping[Any, Mapping[Any, float]] | Mapping[Any, Collection[Any]]

# Below every grade, so that unjudged and absent documents fail "relevant" and "judged" alike.
UNJUDGED = -np.inf
_MAX_SHOWN = 5
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, eq=False)
class AlignedRun:
    """Grades of a run in rank order, query by query.

    Attributes
    ----------
    queries : tuple
        Judged query ids, in the order of the judgements.
    grades : tuple of ndarray of shape (retrieved,), float64
        Grade of the document at each rank; -inf where it was not judged.
    ideal : tuple of ndarray of shape (judged,), float64
        All of a query's grades, descending.
    missing : tuple
        Queries without a single result.
    without_relevant : tuple
        Queries without a relevant document at the relevance level.
    unjudged : tuple
        Queries of the run that nobody judged; they are left out.
    relevance_level : float
        Smallest grade that counts as relevant.
    """

    queries: tuple[Hashable, ...]
    grades: tuple[npt.NDArray[np.float64], ...]
    ideal: tuple[npt.NDArray[np.float64], ...]
    missing: tuple[Hashable, ...]
    without_relevant: tuple[Hashable, ...]
    unjudged: tuple[Hashable, ...]
    relevance_level: float

    def blocks(self, size: int = 256) -> Iterator[tuple[slice, npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
        """Yield rows, grades and ideal grades of some queries, padded with -inf to rectangles.

        Parameters
        ----------
        size : int, default 256
            Queries per block; bounds the memory that padding takes.

        Yields
        ------
        tuple
            A slice of the queries, grades of shape (size, longest) and ideal grades of shape (size, most judged).
        """
        for start in range(0, len(self.queries), size):
            rows = slice(start, min(start + size, len(self.queries)))
            yield rows, _pad(self.grades[rows]), _pad(self.ideal[rows])


def _pad(rows: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    out = np.full((len(rows), max(1, max(len(row) for row in rows))), UNJUDGED)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def run_from_arrays(
    ids: npt.ArrayLike,
    scores: npt.ArrayLike | None = None,
    *,
    query_ids: Sequence[Any] | None = None,
    document_ids: Sequence[Any] | None = None,
) -> dict[Any, Any]:
    """Turn neighbour arrays into a run; use it when rows and columns stand for queries and documents with other ids.

    Parameters
    ----------
    ids : array-like of int, shape (q, k)
        Document numbers, best first; negative values stand for no result and are dropped.
    scores : array-like of float, shape (q, k), optional
        Larger is better. Left out, the order of the columns is the ranking.
    query_ids : sequence of length q, optional
        Names of the queries; defaults to 0, 1, 2, ...
    document_ids : sequence, optional
        Name of document number i at position i; defaults to the numbers.

    Returns
    -------
    dict
        Ranked lists by query, or score tables by query where ``scores`` are given.

    Raises
    ------
    DtypeError
        Ids that are not integers, scores that are not numbers.
    DimensionError
        Not two axes, scores of another shape, or another number of ``query_ids``.
    InputError
        A repeated query id, a document twice in a row, or a number beyond ``document_ids``.

    Examples
    --------
    >>> run_from_arrays([[2, 0], [1, -1]], [[0.9, 0.4], [0.7, 0.0]], query_ids=["a", "b"])
    {'a': {2: 0.9, 0: 0.4}, 'b': {1: 0.7}}
    """
    table = np.asarray(ids)
    if table.dtype.kind not in "iu" and table.size:
        raise DtypeError(message(f"ids of dtype {table.dtype}", "integers", "pass document numbers"))
    if table.ndim != 2:
        raise DimensionError(message(f"ids of shape {table.shape}", "shape (q, k)", "pass one row per query"))
    values = None if scores is None else np.asarray(scores)
    if values is not None and values.shape != table.shape:
        raise DimensionError(
            message(f"scores of shape {values.shape}", f"the shape of ids, {table.shape}", "pass one score per id")
        )
    if values is not None and values.dtype.kind not in "fiu" and values.size:
        raise DtypeError(message(f"scores of dtype {values.dtype}", "real numbers", "convert them to float32"))
    names = list(range(len(table))) if query_ids is None else list(query_ids)
    if len(names) != len(table) or len(set(names)) != len(names):
        raise DimensionError(
            message(f"{len(set(names))} distinct query_ids", f"{len(table)}, one per row", "name each row once")
        )
    if document_ids is not None and table.size and int(table.max()) >= len(document_ids):
        raise InputError(
            message(f"document number {table.max()}", f"less than {len(document_ids)}", "pass every document's id")
        )
    run: dict[Any, Any] = {}
    for i, name in enumerate(names):
        real = np.flatnonzero(table[i] >= 0)
        docs = [int(j) if document_ids is None else document_ids[j] for j in table[i, real]]
        if len(set(docs)) != len(docs):
            raise InputError(message(f"a document twice for query {name!r}", "distinct documents", "drop repeats"))
        run[name] = docs if values is None else dict(zip(docs, values[i, real].tolist(), strict=True))
    return run


def align(
    run: Run,
    qrels: Qrels,
    *,
    relevance_level: float = 1.0,
    exclude_self: bool = False,
    no_relevant: str = "zero",
    strict: bool = False,
) -> AlignedRun:
    """Rank a run's documents and look up their grades; the step before any ranking metric.

    Parameters
    ----------
    run : mapping, Hits, or tuple of arrays (ids, scores)
        ``{query: {document: score}}``, ``{query: [document, ...]}`` best first, or neighbour arrays of shape (q, k)
        whose row numbers are the query ids. Documents go by score, compared as float32, and equal scores by document
        id as text, descending: what trec_eval does.
    qrels : mapping
        ``{query: {document: grade}}``, or ``{query: [relevant document, ...]}`` for grade 1. Negative grades mean
        not relevant.
    relevance_level : float, default 1.0
        Smallest grade that counts as relevant, above 0. Too large, and queries are left without relevant documents.
    exclude_self : bool, default False
        Remove the document whose id equals the query's, from the run and from the judgements.
    no_relevant : {"zero", "skip"}, default "zero"
        A query without relevant documents scores zero and counts in the mean, as in trec_eval, or is left out.
    strict : bool, default False
        Refuse runs with missing queries instead of listing them.

    Returns
    -------
    AlignedRun
        Grades in rank order and the lists of queries to know about.

    Raises
    ------
    InputError
        No judgements, no query in common, a repeated document, or missing queries where ``strict`` is set.
    NonFiniteError
        A score or grade that is NaN or infinite; the text names the query.

    Examples
    --------
    >>> aligned = align({"q": {"a": 0.5, "b": 0.5}}, {"q": {"a": 1}, "r": {"a": 1}})
    >>> aligned.grades[0].tolist(), aligned.missing
    ([-inf, 1.0], ('r',))
    """
    check_choice(no_relevant, ("zero", "skip"), name="no_relevant")
    if not 0.0 < relevance_level < np.inf:
        raise InputError(message(f"relevance_level={relevance_level!r}", "a number above 0", "use 1 for binary grades"))
    table = _as_table(run)
    if not isinstance(qrels, Mapping) or not qrels:
        raise InputError(message("no judgements", "{query: {document: grade}}", "pass the qrels of at least one query"))
    if not any(query in table for query in qrels):
        raise InputError(
            message(
                f"a run whose {len(table)} query ids ({_shown(table)}) share nothing with the judged ones"
                f" ({_shown(qrels)})",
                "at least one judged query",
                "check the type of the ids; leave an arm that did not run out of the comparison, it is not zero",
            )
        )
    return _aligned(table, qrels, relevance_level, exclude_self, no_relevant == "skip", strict)


def _aligned(
    table: Mapping[Any, Any], qrels: Qrels, level: float, exclude_self: bool, skip: bool, strict: bool
) -> AlignedRun:
    queries, grades, ideal = [], [], []
    missing, without_relevant = [], []
    for query, judgements in qrels.items():
        judged = _as_grades(judgements, query)
        if exclude_self:
            judged.pop(query, None)
        documents = [d for d in rank_documents(table.get(query, ()), query) if not (exclude_self and d == query)]
        best = np.sort(np.array(list(judged.values()), dtype=np.float64))[::-1]
        if not len(documents):
            missing.append(query)
        if not len(best) or best[0] < level:
            without_relevant.append(query)
            if skip:
                continue
        queries.append(query)
        grades.append(np.array([judged.get(d, UNJUDGED) for d in documents], dtype=np.float64))
        ideal.append(best)
    if strict and missing:
        raise InputError(
            message(f"no results for {len(missing)} judged queries ({_shown(missing)})", "results for every one",
                    "search them too, or pass strict=False to score them zero")
        )  # fmt: skip
    if not queries:
        raise InputError(
            message("no query with a relevant document", "at least one", "lower relevance_level or check the qrels")
        )
    unjudged = tuple(query for query in table if query not in qrels)
    return AlignedRun(
        tuple(queries), tuple(grades), tuple(ideal), tuple(missing), tuple(without_relevant), unjudged, level
    )


def _as_table(run: Run) -> Mapping[Any, Any]:
    if isinstance(run, Hits):
        return run_from_arrays(run.ids, run.scores)
    if isinstance(run, tuple) and len(run) == 2:
        return run_from_arrays(*run)
    if isinstance(run, Mapping):
        return run
    raise InputError(
        message(
            f"a run of type {type(run).__name__}",
            "{query: {document: score}}, {query: [document, ...]}, Hits, or (ids, scores)",
            "convert it; run_from_arrays names rows and columns",
        )
    )


def rank_documents(results: Any, query: Any = None) -> list[Any]:
    """Return one query's documents, best first, as trec_eval orders them.

    Parameters
    ----------
    results : mapping of document to score, or sequence of documents
        Scores compare as float32, and equal scores go by document id as text, descending. A sequence is taken as
        already ranked.
    query : any, optional
        Named in an error.

    Returns
    -------
    list
        Document ids.

    Raises
    ------
    NonFiniteError, DtypeError, InputError
        Scores that are NaN, infinite or no numbers; a document listed twice; results of another type.

    Examples
    --------
    >>> rank_documents({"a": 0.5, "b": 0.5, "c": 0.9})
    ['c', 'b', 'a']
    """
    if isinstance(results, Mapping):
        documents = list(results)
        order = sorted(zip(_as_scores(results, query), map(str, documents), range(len(documents)), strict=True))
        return [documents[i] for _, _, i in reversed(order)]
    if isinstance(results, (str, bytes)) or not isinstance(results, (Sequence, np.ndarray)):
        raise InputError(
            message(
                f"results of type {type(results).__name__} for query {query!r}",
                "a table of scores or a ranked list of document ids",
                "wrap a single id in a list",
            )
        )
    documents = results.tolist() if isinstance(results, np.ndarray) else list(results)
    if len(set(documents)) != len(documents):
        raise InputError(
            message(f"a document twice in the results of query {query!r}", "distinct documents", "drop the repeats")
        )
    return documents


def _as_scores(results: Mapping[Any, float], query: Any) -> list[float]:
    try:
        scores = np.array(list(results.values()), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DtypeError(
            message(f"scores of query {query!r} that are not numbers", "real numbers", "convert them to float")
        ) from error
    bad = ~(np.abs(scores) <= _FLOAT32_MAX)
    if bad.any():
        document = list(results)[int(np.flatnonzero(bad)[0])]
        raise NonFiniteError(
            message(
                f"score {results[document]!r} of document {document!r} for query {query!r}",
                "finite float32 values",
                "drop the document or repair its score",
            )
        )
    return scores.astype(np.float32).tolist()


def _as_grades(judgements: Any, query: Any) -> dict[Any, float]:
    if not isinstance(judgements, Mapping):
        if isinstance(judgements, (str, bytes)) or not isinstance(judgements, Collection):
            raise InputError(
                message(
                    f"judgements of type {type(judgements).__name__} for query {query!r}",
                    "{document: grade} or a collection of relevant document ids",
                    "wrap a single id in a list",
                )
            )
        return dict.fromkeys(judgements, 1.0)
    for document, grade in judgements.items():
        try:
            finite = bool(np.isfinite(grade))
        except TypeError as error:
            raise DtypeError(
                message(f"grade {grade!r} of document {document!r} for query {query!r}", "a number", "convert it")
            ) from error
        if not finite:
            raise NonFiniteError(
                message(f"grade {grade!r} of document {document!r} for query {query!r}", "a finite number", "repair it")
            )
    return dict(judgements)


def _shown(ids: Collection[Any]) -> str:
    shown = ", ".join(repr(item) for item, _ in zip(ids, range(_MAX_SHOWN), strict=False))
    return shown + (", ..." if len(ids) > _MAX_SHOWN else "") if shown else "none"
