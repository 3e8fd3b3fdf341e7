"""The token leg of a space: exact MaxSim over the stored tokens of live, allowed records.

Segments are read where they lie. Runs of records of which all count are compared in place; others, and tokens stored
as float16, are gathered tile by tile, so a filter costs only what it lets through.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from orthant.collection.storage.generation import Generation, SegmentView, SpaceState, runs
from orthant.kernels import bitmaps
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.kernels.topk import merge_top_k, top_k
from orthant.types import BitmapArray, FloatArray, Hits, IdArray, Ragged, SearchCost

__all__ = ["TokenIndex", "token_index"]

_TILE_BYTES = 16 << 20


def token_index(generation: Generation, space: str) -> TokenIndex:
    """Return the token leg of a space, made once per generation.

    Parameters
    ----------
    generation : Generation
        What the search sees.
    space : str
        Its name.

    Returns
    -------
    TokenIndex
        Shared by every search of the generation.
    """
    return generation.kept(("tokens", space), lambda: TokenIndex(generation.spaces[space], generation.live))


class _Records:
    """The records of one segment: their rows, where their tokens begin, and which of them are live."""

    def __init__(self, view: SegmentView, space: SpaceState, live: BitmapArray) -> None:
        self.matrix = view.matrix(space.folder)
        space.folder.require_sound(view.state, self.matrix)
        first = np.flatnonzero(np.concatenate([[True], view.rows[1:] != view.rows[:-1]]))
        self.bounds = np.append(first, len(view.rows)).astype(np.int64)
        self.rows = view.rows[first]
        self.live = bitmaps.contains_rows(live, self.rows)

    def tiles(self, chosen: IdArray, tokens: int) -> Iterator[tuple[IdArray, FloatArray, IdArray]]:
        """Yield rows, their tokens, and the offsets of each row's tokens, about so many tokens at a time."""
        sizes = np.cumsum(self.bounds[chosen + 1] - self.bounds[chosen])
        begin = 0
        while begin < len(chosen):
            before = sizes[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(sizes, before + tokens, side="right")))
            part, begin = chosen[begin:end], end
            yield self.rows[part], *self._tokens(part)

    def _tokens(self, part: IdArray) -> tuple[FloatArray, IdArray]:
        starts, stops = self.bounds[part], self.bounds[part + 1]
        if self.matrix.dtype == np.float32 and part[-1] - part[0] + 1 == len(part):
            return self.matrix, np.append(starts, stops[-1])
        lengths = stops - starts
        values = np.ascontiguousarray(self.matrix[runs(starts, lengths)], dtype=np.float32)
        return values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


class TokenIndex:
    """Searches the tokens of one space of one generation, exactly.

    Parameters
    ----------
    space : SpaceState
        The space; its checksums are verified here.
    live : ndarray of uint64
        Live rows.
    """

    def __init__(self, space: SpaceState, live: BitmapArray) -> None:
        self._space = space
        self._segments = [_Records(view, space, live) for view in space.segments if len(view.rows)]

    def search(self, Q: Ragged, k: int = 10, *, allowed: BitmapArray | None = None, threads: int | None = None) -> Hits:
        """Return the k records of the largest MaxSim for each query.

        Parameters
        ----------
        Q : Ragged of q queries
            Token vectors, one at least per query.
        k : int, default 10
            Records wanted.
        allowed : ndarray of uint64, optional
            Bitmap over rows.
        threads : int, optional
            Left out, all that the process may use.

        Returns
        -------
        Hits
            Exact; equal scores by the smaller row. ``cost.distances`` counts products of two tokens.

        Notes
        -----
        Cost: tokens of the queries times tokens of the allowed records times dim.
        """
        began = time.perf_counter()
        size = max(1, _TILE_BYTES // (4 * self._space.definition.dim))
        nothing = np.full((len(Q), 1), -1, dtype=np.int64), np.full((len(Q), 1), -np.inf, dtype=np.float32)
        best, compared = nothing, 0
        for segment in self._segments:
            keep = segment.live if allowed is None else segment.live & bitmaps.contains_rows(allowed, segment.rows)
            for rows, tokens, offsets in segment.tiles(np.flatnonzero(keep), size):
                compared += int(offsets[-1] - offsets[0])
                scores = maxsim_scores(Q.values, Q.offsets, tokens, offsets, threads=threads)
                best = merge_top_k([best, top_k(scores, k, ids=rows)[:2]], k)[:2]
        ids, found, counts = merge_top_k([best], k)
        cost = SearchCost(
            plan="scan" if allowed is None else "scan-allowed",
            distances=len(Q.values) * compared,
            seconds=time.perf_counter() - began,
            bytes_read=compared * self._space.folder.stride,
            details={"tokens": compared},
        )
        return Hits(ids, found, counts, cost)

    def score_ids(self, tokens: FloatArray, ids: IdArray) -> FloatArray:
        """Return one query's MaxSim with given rows.

        Parameters
        ----------
        tokens : ndarray of shape (t, dim), float32
            The query.
        ids : ndarray of shape (m,), int64
            Rows.

        Returns
        -------
        ndarray of shape (m,), float32
            -inf where a row has no tokens.
        """
        present, held = self._space.tokens_of(ids)
        return present_scores(tokens, present, held)


def present_scores(tokens: FloatArray, present: IdArray, held: Ragged) -> FloatArray:
    """Return one query's MaxSim with sets of tokens of which some are empty.

    Parameters
    ----------
    tokens : ndarray of shape (t, dim), float32
        The query.
    present : ndarray of shape (m,), bool
        Which sets have tokens.
    held : Ragged of m sets
        The tokens.

    Returns
    -------
    ndarray of shape (m,), float32
        -inf for an empty set.
    """
    out = np.full(len(held), -np.inf, dtype=np.float32)
    if present.any():
        offsets = np.append(held.offsets[:-1][present], held.offsets[-1])
        query = np.array([0, len(tokens)], dtype=np.int64)
        out[present] = maxsim_scores(tokens, query, held.values, offsets)[0]
    return out
