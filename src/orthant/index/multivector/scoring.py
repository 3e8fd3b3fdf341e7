"""Exact MaxSim over all sets or over candidates; the answer is that of exact arithmetic.

Scores in float32 come with a bound on their rounding. Whatever could be among the k best is scored again in float64, so
neither the library nor the size of a batch decides between near scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.blocks import Selection
from orthant.index.multivector.sets import SetBlock, Sets, pieces
from orthant.kernels.multivector.maxsim import maxsim_scores
from orthant.kernels.topk import kth_largest, top_k_pairs
from orthant.types import FloatArray, IdArray, Ragged

__all__ = ["exact_top", "rescored", "scan"]

_QUERY_CHUNK = 64
_SCORE_BYTES = 64 << 20
_U = float(np.finfo(np.float32).eps)
Top = tuple[IdArray, FloatArray, npt.NDArray[np.int64]]


def scan(
    sets: Sets, queries: Ragged, k: int, *, selection: Selection, threads: int | None = None
) -> tuple[Top, dict[str, int]]:
    """Return the k best live sets of each query, compared with all that the selection leaves.

    Parameters
    ----------
    sets : Sets
        The sets.
    queries : Ragged
        Queries of one token at least.
    k : int
        Sets wanted.
    selection : Selection
        From ``sets.rows.select``.
    threads : int, optional
        Threads.

    Returns
    -------
    top : tuple of ndarray
        ids (q, k), scores (q, k), counts (q,).
    spent : dict
        ``compared`` sets, ``products`` of token vectors, ``bytes_read``, ``rescored`` sets.
    """
    spent = dict.fromkeys(("compared", "products", "bytes_read", "rescored"), 0)
    chosen = selection.rows
    gathered = None if chosen is None else sets.gathered(chosen)
    rows = np.arange(sets.rows.total, dtype=np.int64) if chosen is None else chosen
    per_chunk = max(1, min(_QUERY_CHUNK, _SCORE_BYTES // (4 * max(1, len(rows)))))
    parts = []
    for start in range(0, len(queries), per_chunk):
        part = _slice(queries, start, min(len(queries), start + per_chunk))
        scores = _scores(sets, part, gathered, selection, threads)
        spent["compared"] += scores.size
        tokens = sets.tokens if gathered is None else len(gathered.values)
        spent["products"] += len(part.values) * tokens
        spent["bytes_read"] += 4 * tokens * sets.dim
        for i in range(len(part)):
            candidates = _close(part[i], scores[i], k, sets.longest)
            spent["rescored"] += len(candidates)
            parts.append((rows[candidates], rescored(part[i], sets.gathered(rows[candidates]))))
    return _gather(parts, sets, k), spent


def _slice(sets: Ragged, start: int, stop: int) -> Ragged:
    first, last = sets.offsets[start], sets.offsets[stop]
    return Ragged(sets.values[first:last], sets.offsets[start : stop + 1] - first)


def _scores(sets: Sets, part: Ragged, gathered: Ragged | None, selection: Selection, threads: int | None) -> FloatArray:
    if gathered is not None:
        return maxsim_scores(part.values, part.offsets, gathered.values, gathered.offsets, threads=threads)
    blocks = []
    for block, mask in zip(sets.blocks, selection.masks, strict=True):
        scores = _block_scores(block, part, threads)
        if mask is not None:
            scores[:, ~mask] = -np.inf
        blocks.append(scores)
    empty = np.zeros((len(part), 0), dtype=np.float32)
    return np.concatenate([empty, *blocks], axis=1)


def _block_scores(block: SetBlock, part: Ragged, threads: int | None) -> FloatArray:
    if block.values.dtype == np.float32:
        return maxsim_scores(part.values, part.offsets, block.values, block.offsets, threads=threads)
    # Tokens of half precision are widened piece by piece, never all at once.
    found = [
        maxsim_scores(part.values, part.offsets, piece.values, piece.offsets, threads=threads)
        for _, _, piece in pieces(Ragged(block.values, block.offsets))
    ]
    return np.concatenate([np.zeros((len(part), 0), dtype=np.float32), *found], axis=1)


def _close(query: FloatArray, scores: FloatArray, k: int, longest: float) -> IdArray:
    """Return the columns that could be among the k best, ties included."""
    if not len(scores):
        return np.zeros(0, dtype=np.int64)
    lengths = np.sqrt(np.einsum("ij,ij->i", query, query, dtype=np.float64))
    bound = _U * (query.shape[1] + 4) * float(lengths.sum()) * longest
    floor = float(kth_largest(scores[None], k)[0]) - 2 * bound
    return np.flatnonzero(scores >= max(floor - 4 * _U * abs(floor), float(np.finfo(np.float32).min)))


def rescored(query: FloatArray, sets: Ragged) -> FloatArray:
    """Return one query's MaxSim scores computed in float64.

    Parameters
    ----------
    query : ndarray of shape (m, d), float32
        Its tokens.
    sets : Ragged
        Sets of one token at least.

    Returns
    -------
    ndarray of shape (n,), float32
        The scores, rounded once.
    """
    if not len(sets):
        return np.zeros(0, dtype=np.float32)
    wide = query.astype(np.float64)
    out = np.empty(len(sets))
    for i in range(len(sets)):
        # One product for each pair, so that its order of summation does not depend on what else is scored.
        out[i] = (wide @ sets[i].astype(np.float64).T).max(axis=1).sum()
    with np.errstate(over="ignore"):
        return out.astype(np.float32)


def exact_top(
    sets: Sets, queries: Ragged, candidates: list[IdArray], k: int, *, scored: Ragged | None = None
) -> tuple[Top, dict[str, int]]:
    """Return the k best of each query's candidates.

    Parameters
    ----------
    sets : Sets
        The sets.
    queries : Ragged
        Queries.
    candidates : list of ndarray of shape (m,), int64
        Rows for each query.
    k : int
        Sets wanted.
    scored : Ragged, optional
        Fewer vectors in place of each query's tokens, to choose which candidates are scored with all of them.

    Returns
    -------
    top : tuple of ndarray
        As for ``scan``.
    spent : dict
        As for ``scan``.
    """
    spent = dict.fromkeys(("compared", "products", "bytes_read", "rescored"), 0)
    parts = []
    for i, rows in enumerate(candidates):
        tokens = sets.gathered(rows)
        query = queries[i]
        chosen = np.arange(len(rows))
        if len(rows) > k:
            asked = query if scored is None else scored[i]
            one = np.array([0, len(asked)], dtype=np.int64)
            scores = maxsim_scores(np.ascontiguousarray(asked), one, tokens.values, tokens.offsets, threads=1)[0]
            spent["products"] += len(asked) * len(tokens.values)
            keep = 2 * k if scored is not None else k
            chosen = _close(asked, scores, keep, sets.longest)
        spent["compared"] += len(rows)
        spent["rescored"] += len(chosen)
        spent["bytes_read"] += tokens.values.nbytes
        exact = rescored(query, _picked(tokens, chosen))
        parts.append((rows[chosen], exact))
    return _gather(parts, sets, k), spent


def _picked(tokens: Ragged, chosen: IdArray) -> Ragged:
    parts = [tokens[int(i)] for i in chosen]
    offsets = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return Ragged(np.concatenate([tokens.values[:0], *parts]), offsets)


def _gather(parts: list[tuple[IdArray, Any]], sets: Sets, k: int) -> Top:
    counts = [len(rows) for rows, _ in parts]
    rows = np.concatenate([np.zeros(0, np.int64), *(rows for rows, _ in parts)])
    scores = np.concatenate([np.zeros(0, np.float32), *(scores for _, scores in parts)])
    queries = np.repeat(np.arange(len(parts), dtype=np.int64), counts)
    return top_k_pairs(queries, sets.rows.ids_of(rows), scores, count=len(parts), k=k)
