"""The legs over posting lists of several queries: words, and weighted terms."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from orthant.collection.columns.table import Evaluation
from orthant.collection.legs.vectors import leg_size
from orthant.collection.lexical.ranking import compiled
from orthant.collection.sparse.leg import search_leg
from orthant.collection.storage.generation import Generation
from orthant.types import BitmapArray, FloatArray, Hits, IdArray

if TYPE_CHECKING:
    from orthant.collection.searching import Query, SearchOptions

__all__ = ["PostingHits", "PostingLegs", "posting_legs"]


@dataclass(frozen=True)
class PostingHits:
    """What one leg brought for several queries, padded.

    Attributes
    ----------
    rows : ndarray of shape (q, w), int64
        Best first, padded with -1.
    scores : ndarray of shape (q, w), float32
        Their scores.
    counts : ndarray of shape (q,), int64
        How many.
    asked : ndarray of shape (q,), bool
        Which queries the leg took part in.
    seconds : ndarray of shape (q,), float64
        What each query took; of a batch that is answered at once, its share.
    """

    rows: IdArray
    scores: FloatArray
    counts: npt.NDArray[np.int64]
    asked: npt.NDArray[np.bool_]
    seconds: npt.NDArray[np.float64]

    def of(self, i: int) -> tuple[IdArray, FloatArray]:
        """Return rows and scores of one query.

        Parameters
        ----------
        i : int
            The query.

        Returns
        -------
        rows, scores : ndarray of shape (m,)
            Without padding.
        """
        return self.rows[i, : self.counts[i]], self.scores[i, : self.counts[i]]


@dataclass(frozen=True)
class PostingLegs:
    """The legs over posting lists.

    Attributes
    ----------
    hits : mapping of str to PostingHits
        By leg; one that no query took part in is absent.
    others : ndarray of shape (q, v), int64
        Rows that other legs brought, -1 for none, whose scores by words are known.
    other_scores : ndarray of shape (q, v), float32
        Those scores.
    together : bool
        Whether compiled code may fuse the legs.
    """

    hits: Mapping[str, PostingHits] = field(default_factory=dict)
    others: IdArray | None = None
    other_scores: FloatArray | None = None
    together: bool = False


def posting_legs(
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    allowed: Evaluation | None,
    vectors: Mapping[str, Hits],
    *,
    lap: Callable[[str], None] = lambda stage: None,
) -> PostingLegs:
    """Run the legs over posting lists.

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
    vectors : mapping of str to Hits
        What the legs that compare vectors brought, whose rows get scores by words as well.
    lap : callable of str
        Told when a leg has ended.

    Returns
    -------
    PostingLegs
        Their hits.
    """
    together = compiled()
    bitmap = None if allowed is None else allowed.bitmap
    out: dict[str, PostingHits] = {}
    if options.sparse_space is not None and any(query.sparse is not None for query in queries):
        out["sparse"] = _sparse(generation, queries, options, options.sparse_space, bitmap)
        lap("sparse")
    others = scores = None
    if options.mode in ("lexical", "hybrid") and options.by_words and any(q.text is not None for q in queries):
        if options.mode == "hybrid" and together:
            lists = [hits.ids for hits in vectors.values()] + [hits.rows for hits in out.values()]
            others = np.concatenate([np.zeros((len(queries), 0), dtype=np.int64), *lists], axis=1)
        began = time.perf_counter()
        found = generation.lexical.search_many(
            [query.text or "" for query in queries],
            k=leg_size(options, generation),
            allowed=bitmap,
            live=generation.live,
            also=others,
            syntax=options.syntax,
            threads=options.threads,
        )
        seconds = np.full(len(queries), (time.perf_counter() - began) / len(queries))
        asked = np.array([query.text is not None for query in queries])
        # Words come before weighted terms wherever legs are listed.
        out = {"lexical": PostingHits(found.rows, found.scores, found.counts, asked, seconds), **out}
        scores = found.also
    lap("lexical")
    return PostingLegs(out, others, scores, together)


def _sparse(
    generation: Generation,
    queries: Sequence[Query],
    options: SearchOptions,
    space: str,
    allowed: BitmapArray | None,
) -> PostingHits:
    size, count = leg_size(options, generation), len(queries)
    out = PostingHits(
        np.full((count, size), -1, dtype=np.int64),
        np.full((count, size), -np.inf, dtype=np.float32),
        np.zeros(count, dtype=np.int64),
        np.array([query.sparse is not None for query in queries]),
        np.zeros(count),
    )
    for i, query in enumerate(queries):
        if query.sparse is None:
            continue
        began = time.perf_counter()
        condition = None
        if options.mode == "hybrid" and query.text is not None:
            condition = generation.lexical.matching(query.text, syntax=options.syntax)
        rows, scores = search_leg(generation, space, query.sparse, k=size, allowed=allowed, condition=condition)
        out.rows[i, : len(rows)], out.scores[i, : len(rows)], out.counts[i] = rows, scores, len(rows)
        out.seconds[i] = time.perf_counter() - began
    return out
