"""The dense leg and the token leg of several queries, each under what its words demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from orthant.collection.columns.table import Evaluation
from orthant.collection.dense import dense_index
from orthant.collection.storage.generation import Generation
from orthant.collection.tokens.index import token_index
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray, Hits, SearchCost
from orthant.validate import as_ragged

if TYPE_CHECKING:
    from orthant.collection.searching import Query, SearchOptions

__all__ = ["VECTOR_LEGS", "SpaceChangedError", "leg_size", "space_leg", "vector_legs"]

VECTOR_LEGS = ("dense", "tokens")


class SpaceChangedError(Exception):
    """The space got another encoder between the encoding of a query and its search: encode it again."""


def space_leg(space: str) -> str:
    """Return what the leg of one of several spaces is called.

    Parameters
    ----------
    space : str
        The space of vectors.

    Returns
    -------
    str
        No space's name has a colon, so it is no other leg's.
    """
    return f"dense:{space}"


def leg_size(options: SearchOptions, generation: Generation) -> int:
    """Return how many rows a leg brings.

    Parameters
    ----------
    options : SearchOptions
        The search's settings.
    generation : Generation
        What it sees.

    Returns
    -------
    int
        At least 1.
    """
    if options.mode == "hybrid":
        wanted = options.depth
    elif options.stages.ordered:
        # The same candidates for every page, so that pages fit together.
        wanted = options.stages.window(options.depth)
    else:
        wanted = options.offset + options.k
    # Room for more hits than there are records would only cost memory.
    return max(1, min(wanted, generation.count))


def vector_legs(
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    allowed: Evaluation | None,
    *,
    lap: Callable[[str], None] = lambda stage: None,
) -> dict[str, Hits]:
    """Run the legs that compare vectors, for all queries at once.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    queries : sequence of Query
        The queries.
    options : SearchOptions
        The search's settings.
    allowed : Evaluation or None
        The filter.
    lap : callable of str
        Told when a leg has ended.

    Returns
    -------
    dict of str to Hits
        By leg; one that had no query to answer is absent.

    Raises
    ------
    SpaceChangedError
        The space got another encoder since the queries were encoded.
    """
    out: dict[str, Hits] = {}
    size = leg_size(options, generation)
    # Only a page of a plain list of one leg begins where another call's page ended.
    paged = options.mode != "hybrid" and options.offset and not options.stages.ordered
    how: Any = {"first": options.k if paged else size}
    how |= {"effort": options.effort, "recall": options.recall, "threads": options.threads}
    if options.space is not None and options.space in generation.spaces:
        if options.fingerprint not in (None, generation.spaces[options.space].definition.fingerprint):
            raise SpaceChangedError
        out["dense"] = _dense_leg(generation, queries, options, allowed, options.space, [q.vector for q in queries])
    for space, fingerprint in options.spaces.items():
        if fingerprint != generation.spaces[space].definition.fingerprint:
            raise SpaceChangedError
        given = [query.vectors.get(space) for query in queries]
        out[space_leg(space)] = _dense_leg(generation, queries, options, allowed, space, given)
    lap("dense")
    leg = options.tokens.leg
    if leg is not None:
        tokens = token_index(generation, leg)

        def late(places: list[int], bitmap: BitmapArray | None) -> Hits:
            asked = as_ragged([queries[i].tokens[leg] for i in places])
            return tokens.search_page(asked, size, allowed=bitmap, **how)

        able = [leg in query.tokens for query in queries]
        out["tokens"] = _gathered(len(queries), size, _groups(generation, queries, options, allowed, able), late)
        lap("tokens")
    return {name: found for name, found in out.items() if found.cost.plan}


def _dense_leg(
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    allowed: Evaluation | None,
    space: str,
    vectors: Sequence[FloatArray | None],
) -> Hits:
    """Search one space for all queries that have a vector for it."""
    index, size = dense_index(generation, space), leg_size(options, generation)

    def dense(places: list[int], bitmap: BitmapArray | None) -> Hits:
        return index.search_page(
            np.stack([vectors[i] for i in places]),  # type: ignore[misc]
            size,
            # Only a page of a plain dense list begins where another call's page ended.
            first=options.k if options.mode == "dense" and options.offset and not options.stages.ordered else size,
            allowed=bitmap,
            effort=options.effort,
            recall=options.recall,
            threads=options.threads,
        )

    able = [vector is not None for vector in vectors]
    return _gathered(len(queries), size, _groups(generation, queries, options, allowed, able), dense)


def _gathered(
    queries: int,
    size: int,
    groups: Sequence[tuple[list[int], BitmapArray | None]],
    search: Callable[[list[int], BitmapArray | None], Hits],
) -> Hits:
    """Search each group of queries; without one the plan is empty."""
    ids = np.full((queries, size), -1, dtype=np.int64)
    scores = np.full(ids.shape, -np.inf, dtype=np.float32)
    counts = np.zeros(queries, dtype=np.int64)
    costs: list[SearchCost] = []
    for places, bitmap in groups:
        found = search(places, bitmap)
        ids[places], scores[places], counts[places] = found.ids, found.scores, found.counts
        costs.append(found.cost)
    return Hits(ids, scores, counts, costs[0] if costs else SearchCost(plan=""))


def _groups(
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    allowed: Evaluation | None,
    able: Sequence[bool],
) -> list[tuple[list[int], BitmapArray | None]]:
    """Group queries that may see the same rows: ``-word``, ``+word`` and phrases bind every leg of a hybrid."""
    shared = None if allowed is None else allowed.bitmap
    together: list[int] = []
    out: list[tuple[list[int], BitmapArray | None]] = []
    for i, query in enumerate(queries):
        if not able[i]:
            continue
        condition = None
        if options.mode == "hybrid" and query.text is not None:
            condition = generation.lexical.matching(query.text, syntax=options.syntax)
        if condition is None:
            together.append(i)
        else:
            words = len(generation.live)
            condition = bitmaps.resize(condition, words)
            out.append(([i], condition if shared is None else condition & bitmaps.resize(shared, words)))
    return [(together, shared), *out] if together else out
