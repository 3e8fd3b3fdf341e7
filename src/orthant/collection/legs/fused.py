"""One ranking per query out of what its legs brought.

Every leg scores every candidate, so a record that one leg ranked low is not taken for one it never saw. Compiled code
fuses all queries of a batch at once; until it is ready, NumPy fuses one after the other, with the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from orthant.collection import fusion
from orthant.collection.dense import DenseIndex, dense_index
from orthant.collection.legs.postings import PostingLegs
from orthant.collection.legs.ranking import Leg, Ranking, single
from orthant.collection.legs.vectors import space_leg
from orthant.collection.storage.generation import Generation
from orthant.collection.tokens.index import token_index
from orthant.kernels.retrieval.fusing import fill_scores, fuse_lists, unite_lists
from orthant.types import FloatArray, Hits, IdArray

if TYPE_CHECKING:
    from orthant.collection.searching import Query, SearchOptions

__all__ = ["rank_all"]


def rank_all(
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    vectors: Mapping[str, Hits],
    postings: PostingLegs,
) -> list[Ranking]:
    """Rank the candidates of several queries.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    queries : sequence of Query
        The queries.
    options : SearchOptions
        The search's settings.
    vectors : mapping of str to Hits
        What the legs that compare vectors brought.
    postings : PostingLegs
        What the legs over posting lists brought.

    Returns
    -------
    list of Ranking
        One per query.
    """
    if options.mode == "hybrid":
        # Without a candidate for any query there is nothing to unite.
        if postings.together and (vectors or postings.hits):
            return _together(generation, queries, options, vectors, postings)
        return [_one(generation, query, options, _found(vectors, postings, i)) for i, query in enumerate(queries)]
    none = (np.zeros(0, np.int64), np.zeros(0, np.float32))
    out = []
    for i in range(len(queries)):
        found = _found(vectors, postings, i)
        ((leg, (rows, scores)),) = found.items() if found else ((options.mode, none),)
        out.append(single(leg, rows, scores))
    return out


def _found(vectors: Mapping[str, Hits], postings: PostingLegs, i: int) -> dict[str, tuple[IdArray, FloatArray]]:
    """What each leg brought for one query."""
    out: dict[str, tuple[IdArray, FloatArray]] = {}
    for name, hits in vectors.items():
        count = int(hits.counts[i])
        out[name] = (hits.ids[i, :count], hits.scores[i, :count])
    return out | {name: hits.of(i) for name, hits in postings.hits.items() if hits.asked[i]}


def _vector_of(query: Query, options: SearchOptions, leg: str) -> FloatArray | None:
    """Return the vector by which a query asks a leg of one space."""
    if leg == "dense":
        return query.vector if options.space is not None else None
    return query.vectors.get(leg.removeprefix("dense:"))


def _one(
    generation: Generation,
    query: Query,
    options: SearchOptions,
    found: Mapping[str, tuple[IdArray, FloatArray]],
) -> Ranking:
    none = np.zeros(0, dtype=np.int64)
    candidates = np.unique(np.concatenate([none, *(rows for rows, _ in found.values())]))
    raw: dict[str, FloatArray] = {}
    if "dense" in found and query.vector is not None and options.space is not None:
        index = dense_index(generation, options.space)
        raw["dense"] = _dense_scores(index, query.vector, candidates, found["dense"])
    for space, vector in query.vectors.items():
        if space_leg(space) in found:
            index = dense_index(generation, space)
            raw[space_leg(space)] = _dense_scores(index, vector, candidates, found[space_leg(space)])
    leg = options.tokens.leg
    if "tokens" in found and leg is not None and leg in query.tokens:
        raw["tokens"] = token_index(generation, leg).score_ids(query.tokens[leg], candidates)
    if "lexical" in found and query.text is not None:
        raw["lexical"] = generation.lexical.score_rows(query.text, candidates, syntax=options.syntax)
    if "sparse" in found and query.sparse is not None and options.sparse_space is not None:
        raw["sparse"] = generation.sparse[options.sparse_space].index.score_rows(query.sparse, candidates)
    places = {leg: fusion.ranks(candidates, found[leg][0]) for leg in raw}
    if options.fusion == "rrf":
        parts = {leg: fusion.reciprocal_ranks(places[leg]) for leg in raw}
    else:
        parts = {leg: fusion.scaled(leg, raw[leg]) for leg in raw}
    fused = fusion.weighted_sum(parts, options.weights) if parts else np.zeros(0, np.float32)
    order = np.lexsort((candidates, -fused))
    legs = {leg: Leg(raw[leg][order], places[leg][order], parts[leg][order], options.weights[leg]) for leg in raw}
    return Ranking(candidates[order], fused[order], legs)


def _dense_scores(
    index: DenseIndex, vector: FloatArray, candidates: IdArray, found: tuple[IdArray, FloatArray]
) -> FloatArray:
    """Score candidates, of which those that the leg itself brought have their scores where these are exact."""
    if not index.exact:
        return index.score_ids(vector, candidates)
    out = np.full(len(candidates), -np.inf, dtype=np.float32)
    out[np.searchsorted(candidates, found[0])] = found[1]
    others = np.isneginf(out)
    out[others] = index.score_ids(vector, candidates[others])
    return out


def _together(
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    vectors: Mapping[str, Hits],
    postings: PostingLegs,
) -> list[Ranking]:
    names = [*vectors, *postings.hits]
    ids = np.stack([*(hits.ids for hits in vectors.values()), *(hits.rows for hits in postings.hits.values())])
    candidates, bounds = np.empty(ids.size, dtype=np.int64), np.empty(len(queries) + 1, dtype=np.int64)
    unite_lists(ids, candidates, bounds)
    total = int(bounds[-1])
    candidates = candidates[:total]
    raw = np.full((len(names), total), -np.inf, dtype=np.float32)
    present = np.zeros((len(names), len(queries)), dtype=bool)
    for i, name in enumerate(names):
        present[i] = _score_all(name, generation, queries, options, vectors, postings, candidates, bounds, raw[i])
    lows = np.array([np.nan if name.startswith("dense") else 0.0 for name in names])
    weights = np.array([options.weights.get(name, 0.0) for name in names], dtype=np.float64)
    constant = fusion.RRF_CONSTANT if options.fusion == "rrf" else 0
    rows, fused = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.float32)
    places, parts = np.empty(raw.shape, dtype=np.int64), np.zeros(raw.shape, dtype=np.float32)
    fuse_lists(ids, candidates, bounds, present, lows, weights, constant, rows, fused, raw, places, parts)
    out = []
    cuts, kept = bounds.tolist(), present.tolist()
    for q in range(len(queries)):
        part = slice(cuts[q], cuts[q + 1])
        legs = {
            name: Leg(raw[i, part], places[i, part], parts[i, part], options.weights[name])
            for i, name in enumerate(names)
            if kept[i][q]
        }
        out.append(Ranking(rows[part], fused[part], legs))
    return out


def _score_all(
    name: str,
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    vectors: Mapping[str, Hits],
    postings: PostingLegs,
    candidates: IdArray,
    bounds: IdArray,
    out: FloatArray,
) -> list[bool]:
    """Score all candidates by one leg, and return which queries have it."""
    hits = postings.hits.get(name)
    if name == "lexical" and hits is not None and postings.others is not None and postings.other_scores is not None:
        fill_scores(candidates, bounds, postings.others, postings.other_scores, out)
        fill_scores(candidates, bounds, hits.rows, hits.scores, out)
        return hits.asked.tolist()
    if name.startswith("dense"):
        given = {
            i: vector for i, query in enumerate(queries) if (vector := _vector_of(query, options, name)) is not None
        }
        if given:
            index = dense_index(generation, (options.space or "") if name == "dense" else name.removeprefix("dense:"))
            if index.exact:
                # What the leg itself brought was compared already, and is half of the candidates.
                fill_scores(candidates, bounds, vectors[name].ids, vectors[name].scores, out)
            index.score_lists(list(given.values()), list(given), candidates, bounds, out, threads=options.threads)
        return [i in given for i in range(len(queries))]
    score = _tokens(generation, options) if name == "tokens" else _terms(generation, options)
    asked = []
    for i, query in enumerate(queries):
        part = slice(int(bounds[i]), int(bounds[i + 1]))
        found = score(query, candidates[part])
        asked.append(found is not None)
        if found is not None:
            out[part] = found
    return asked


def _tokens(generation: Generation, options: SearchOptions) -> Callable[[Query, IdArray], FloatArray | None]:
    leg = options.tokens.leg or ""
    index = token_index(generation, leg)
    return lambda query, rows: index.score_ids(query.tokens[leg], rows) if leg in query.tokens else None


def _terms(generation: Generation, options: SearchOptions) -> Callable[[Query, IdArray], FloatArray | None]:
    index = generation.sparse[options.sparse_space or ""].index
    return lambda query, rows: None if query.sparse is None else index.score_rows(query.sparse, rows)
