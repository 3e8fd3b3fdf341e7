"""What can be said of one record and one query: failed clauses, words that are lacking, exact score and true rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orthant.collection.columns.predicates import And, Predicate
from orthant.collection.dense import DenseIndex, dense_index
from orthant.collection.insight.outcome import FailedClause
from orthant.collection.lexical.analysis import Clause
from orthant.collection.searching import Query, SearchOptions
from orthant.collection.sparse.leg import search_leg
from orthant.collection.storage.generation import Generation
from orthant.collection.tokens.index import token_index
from orthant.kernels import bitmaps
from orthant.types import BitmapArray
from orthant.validate import as_ragged

__all__ = [
    "allowed_rows",
    "dense_details",
    "failed_clauses",
    "lexical_details",
    "passing_part",
    "sparse_details",
    "spell_clause",
    "token_details",
]

_BLOCK = 8192
"""Rows whose vectors are copied out at once."""
_SIGNS = {"may": "", "must": "+", "not": "-"}


def _holds(predicate: Predicate, generation: Generation, row: int) -> bool:
    # Evaluated over all live rows: a condition is refused for its type by what the whole field holds, not by one row.
    bitmap = generation.columns.evaluate(predicate, live=generation.live).bitmap
    return bool(bitmaps.contains_rows(bitmap, np.array([row], dtype=np.int64))[0])


def failed_clauses(
    predicate: Predicate, generation: Generation, row: int, metadata: Mapping[str, Any]
) -> list[FailedClause]:
    """Return the clauses that keep a record out; the parts of an *and* are told apart.

    Parameters
    ----------
    predicate : Predicate
        The filter.
    generation : Generation
        What the search sees.
    row : int
        The record's row.
    metadata : mapping
        Its metadata.

    Returns
    -------
    list of FailedClause
        Empty when the record passes.
    """
    if isinstance(predicate, And):
        return [clause for part in predicate.parts for clause in failed_clauses(part, generation, row, metadata)]
    if _holds(predicate, generation, row):
        return []
    found = {path: _value_at(metadata, path) for path in sorted(predicate.fields())}
    values = {path: held[0] for path, held in found.items() if held is not None}
    missing = tuple(path for path, held in found.items() if held is None)
    return [FailedClause(predicate.describe(), values, missing)]


def passing_part(predicate: Predicate, generation: Generation, row: int) -> Predicate | None:
    """Return the filter without the clauses that a record fails.

    Parameters
    ----------
    predicate : Predicate
        The filter.
    generation : Generation
        What the search sees.
    row : int
        The record's row.

    Returns
    -------
    Predicate or None
        None when nothing is left.
    """
    if isinstance(predicate, And):
        kept = [passing_part(part, generation, row) for part in predicate.parts]
        parts = tuple(part for part in kept if part is not None)
        return And(parts) if parts else None
    return predicate if _holds(predicate, generation, row) else None


def _value_at(metadata: Mapping[str, Any], path: str) -> tuple[Any] | None:
    if path in metadata:
        return (metadata[path],)
    # A key may itself hold dots, so every way to cut the path is tried.
    for place, sign in enumerate(path):
        inner = metadata.get(path[:place]) if sign == "." else None
        if isinstance(inner, Mapping):
            found = _value_at(inner, path[place + 1 :])
            if found is not None:
                return found
    return None


def allowed_rows(generation: Generation, query: Query, options: SearchOptions) -> BitmapArray | None:
    """Return the rows that the dense leg may bring, as the search restricts it.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    query : Query
        The query.
    options : SearchOptions
        The search's settings.

    Returns
    -------
    ndarray of uint64 or None
        A bitmap over rows; None without restriction.
    """
    out = None
    if options.predicate is not None:
        out = generation.columns.evaluate(options.predicate, live=generation.live).bitmap
    if options.mode == "hybrid" and query.text is not None:
        condition = generation.lexical.matching(query.text, syntax=options.syntax)
        if condition is not None:
            condition = bitmaps.resize(condition, len(generation.live))
            out = condition if out is None else condition & bitmaps.resize(out, len(generation.live))
    return out


def dense_details(
    generation: Generation, query: Query, options: SearchOptions, row: int, *, size: int
) -> dict[str, Any]:
    """Return how the dense leg sees a record: exact score, true rank, and where the leg lost it.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    query : Query
        The query.
    options : SearchOptions
        The search's settings.
    row : int
        The record's row.
    size : int
        Length of the leg's list.

    Returns
    -------
    dict
        ``lost`` is None where the leg brings the record, else ``"no-query-vector"``, ``"no-vector"``, ``"depth"``
        (its true rank is beyond the list), ``"beam"`` or ``"codes"``. With vectors at hand also ``score``,
        ``true_rank``, ``size``, ``plan`` and, where a graph was walked, ``effort`` and ``effort_needed``.

    Notes
    -----
    Cost: one pass over the allowed vectors, and a few searches of the graph where it missed the record.
    """
    if query.vector is None:
        return {"lost": "no-query-vector"}
    space = None if options.space is None else generation.spaces.get(options.space)
    if space is None or options.space is None or not space.vectors_of(np.array([row], dtype=np.int64))[0][0]:
        return {"lost": "no-vector", "space": options.space}
    index = dense_index(generation, options.space)
    allowed = allowed_rows(generation, query, options)
    score, rank = _true_rank(index, query, generation.live if allowed is None else allowed, row)
    Q = query.vector[None]
    found = index.search(Q, size, allowed=allowed, effort=options.effort, recall=options.recall)
    details = {"lost": None, "score": score, "true_rank": rank, "size": size, "plan": found.cost.plan}
    if row in found.ids[0]:
        return details
    if rank > size or "effort" not in found.cost.details:
        return {**details, "lost": "depth"}
    effort = max(int(found.cost.details["effort"]), size)
    # With a list as long as the beam, every candidate is compared by its full vector: codes decide nothing.
    whole = index.search(Q, effort, allowed=allowed, effort=effort)
    details["lost"] = "codes" if row in whole.ids[0] and "effort" in whole.cost.details else "beam"
    return {**details, "effort": effort, "effort_needed": _effort_needed(index, query, allowed, row, size, effort)}


def token_details(
    generation: Generation, query: Query, options: SearchOptions, row: int, *, size: int
) -> dict[str, Any]:
    """Return how the token leg sees a record that it does not bring.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    query : Query
        The query.
    options : SearchOptions
        The search's settings, with a token leg.
    row : int
        The record's row.
    size : int
        Length of the leg's list.

    Returns
    -------
    dict
        ``lost``: ``"no-query-vector"``, ``"no-vector"``, ``"depth"``, or ``"beam"`` where the record was not among the
        candidates, with ``effort`` and ``effort_needed``; of both ``score`` and ``true_rank``.

    Notes
    -----
    Cost: one pass over the allowed tokens.
    """
    space = options.tokens.leg or ""
    if space not in query.tokens:
        return {"lost": "no-query-vector"}
    if not generation.spaces[space].tokens_of(np.array([row], dtype=np.int64))[0][0]:
        return {"lost": "no-vector", "space": space}
    asked = as_ragged([query.tokens[space]])
    allowed = allowed_rows(generation, query, options)
    index = token_index(generation, space)
    truth = index.search(asked, max(1, generation.count), allowed=allowed, recall=1.0)
    place = int(np.flatnonzero(truth.ids[0] == row)[0])
    details = {"lost": "depth", "score": float(truth.scores[0, place]), "true_rank": place + 1}
    cost = index.search(asked, size, allowed=allowed, effort=options.effort, recall=options.recall).cost
    if place >= size or "candidates" not in cost.details:
        return details
    effort = int(cost.details["candidates"])
    needed = None
    while needed is None and effort < len(index.codes):  # type: ignore[arg-type]
        effort *= 2
        needed = effort if row in index.search(asked, size, allowed=allowed, effort=effort).ids[0] else None
    return {**details, "lost": "beam", "effort": int(cost.details["candidates"]), "effort_needed": needed}


def _true_rank(index: DenseIndex, query: Query, allowed: BitmapArray, row: int) -> tuple[float, int]:
    q: Any = query.vector
    own = index.score_ids(q, np.array([row], dtype=np.int64))[0]
    rows, before = bitmaps.to_rows(allowed), 0
    for begin in range(0, len(rows), _BLOCK):
        part = rows[begin : begin + _BLOCK]
        scores = index.score_ids(q, part)
        before += int(np.count_nonzero((scores > own) | ((scores == own) & (part < row))))
    return float(own), before + 1


def _effort_needed(
    index: DenseIndex, query: Query, allowed: BitmapArray | None, row: int, size: int, effort: int
) -> int | None:
    q: Any = query.vector
    while effort < len(index.graph):  # type: ignore[arg-type]
        effort *= 2
        found = index.search(q[None], size, allowed=allowed, effort=effort)
        if row in found.ids[0]:
            return effort
    return None


def lexical_details(
    generation: Generation, query: Query, options: SearchOptions, row: int, text: str | None, *, size: int
) -> dict[str, Any]:
    """Return how the lexical leg sees a record: score, rank, words it has and lacks, conditions that fail.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    query : Query
        The query, with a text.
    options : SearchOptions
        The search's settings.
    row : int
        The record's row.
    text : str or None
        Its text.
    size : int
        Length of the leg's list.

    Returns
    -------
    dict
        ``lost`` is None where the leg brings the record, else ``"no-text"``, ``"condition"``, ``"words"`` or
        ``"depth"``; ``has``, ``lacks`` and ``failed`` are clauses as one would type them; ``score`` and ``rank``
        where a word matched.
    """
    if text is None:
        return {"lost": "no-text", "has": [], "lacks": [], "failed": []}
    asked: Any = query.text
    seen = generation.lexical.clauses_in(asked, row, syntax=options.syntax)
    shown = {clause: spell_clause(clause, asked, generation) for clause, _ in seen}
    failed = [shown[c] for c, score in seen if (c.mode == "must") == (score is None) and c.mode != "may"]
    details: dict[str, Any] = {
        "lost": "condition" if failed else None,
        "has": [shown[c] for c, score in seen if c.mode != "not" and score is not None],
        "lacks": [shown[c] for c, score in seen if c.mode != "not" and score is None],
        "failed": failed,
    }
    if failed or not details["has"]:
        return {**details, "lost": details["lost"] or "words"}
    allowed = allowed_rows(generation, query, options)
    rows, scores = generation.lexical.search(
        asked, k=max(1, generation.count), allowed=allowed, live=generation.live, syntax=options.syntax
    )
    place = np.flatnonzero(rows == row)
    if not len(place):
        return {**details, "lost": "words"}
    rank = int(place[0]) + 1
    lost = None if rank <= size else "depth"
    return {**details, "lost": lost, "score": float(scores[place[0]]), "rank": rank, "size": size}


def sparse_details(
    generation: Generation, query: Query, options: SearchOptions, row: int, *, size: int
) -> dict[str, Any]:
    """Say what the sparse leg makes of a record.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    query : Query
        The query.
    options : SearchOptions
        The search's settings.
    row : int
        The record's row.
    size : int
        How many candidates the leg brings.

    Returns
    -------
    dict
        ``lost``: None when the leg brings it, else ``"no-query-terms"``, ``"no-terms"`` (the record has no vector in
        the space), ``"terms"`` (it shares none with the query) or ``"depth"``. With a shared term also ``score``,
        ``rank`` and ``size``.
    """
    space = options.sparse_space or ""
    if query.sparse is None:
        return {"lost": "no-query-terms", "space": space}
    index = generation.sparse[space].index
    if not index.has_rows(np.array([row], dtype=np.int64))[0]:
        return {"lost": "no-terms", "space": space}
    rows, scores = search_leg(
        generation,
        space,
        query.sparse,
        k=max(1, generation.count),
        allowed=allowed_rows(generation, query, options),
        condition=None,
    )
    place = np.flatnonzero(rows == row)
    if not len(place):
        return {"lost": "terms", "space": space}
    rank = int(place[0]) + 1
    lost = None if rank <= size else "depth"
    return {"lost": lost, "space": space, "score": float(scores[place[0]]), "rank": rank, "size": size}


def spell_clause(clause: Clause, text: str, generation: Generation) -> str:
    """Return a clause of a query as a person would type it.

    Parameters
    ----------
    clause : Clause
        The clause, whose word may be a stem.
    text : str
        The query.
    generation : Generation
        Gives the rules for words.

    Returns
    -------
    str
        Such as ``+boats``, ``-"red kite"`` or ``wind*``.
    """
    analyzer = generation.lexical.analyzer
    words = clause.words
    if clause.kind == "word":
        typed = {analyzer.term(word): word for word in analyzer.words(text)}
        words = tuple(typed.get(word, word) for word in words)
    shown = " ".join(words)
    if clause.kind == "phrase" and len(words) > 1:
        return f'{"-" if clause.mode == "not" else ""}"{shown}"'
    return f"{_SIGNS[clause.mode]}{shown}{'*' if clause.kind == 'prefix' else ''}"
