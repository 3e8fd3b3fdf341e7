"""Searches that see part of a graph only: what is outside a mask counts as visited before the search begins."""

from __future__ import annotations

from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.graph.answers import gather, settle
from orthant.kernels.graph.beam import DEGREE, SLOTS, beam, key_buffer

__all__ = ["search_within"]


@kernel
def search_within(
    view: Any, rows: Any, queries: Any, start: Any, stop: Any, k: Any, effort: Any, rerank: Any, metric: Any,
    starts: Any, mask: Any, visited: Any, touched: Any, ids: Any, scores: Any, counts: Any, spent: Any,
) -> None:  # fmt: skip
    """Answer queries start to stop by walking over the slots of a mask and no others.

    Parameters
    ----------
    view, rows, queries, start, stop, k, effort, rerank, metric : any
        As for ``answers.search_graph``.
    starts : ndarray of int32
        Where searches begin; all of them are expanded.
    mask : ndarray of uint64
        Bitmap over slots, as long as ``visited``; empty, every slot may be walked over.
    visited : ndarray of uint64
        Bitmap over slots; overwritten.
    touched : ndarray of int32
        Working room for all slots and two rows of links.
    ids, scores, counts, spent : ndarray
        As for ``answers.search_graph``.

    Notes
    -----
    Hiding what is outside costs a pass over ``mask`` for each query, an eighth of a byte per slot.
    """
    todo, found = np.empty(2 * view[DEGREE] + 1, np.int32), np.empty(rerank, np.int32)
    most = min(max(effort, len(starts)), view[SLOTS])
    for i in range(start, stop):
        if len(mask) > 0:
            for j in range(len(visited)):
                visited[j] = ~mask[j]
        else:
            visited[:] = np.uint64(0)
        query, constants = rows[i].ctypes.data, rows[i, rows.shape[1] - 64 :].view(np.float32)
        buffer = key_buffer(most)
        size, seen, expanded, compared = beam(
            view, query, constants, most, 1, visited, touched, buffer, starts, todo, len(starts)
        )
        count = gather(view, buffer, size, np.int64(0), -1, rerank, k, constants, found)
        spent[0] += seen
        spent[1] += expanded
        spent[2] += compared
        spent[3] += count
        counts[i] = settle(view, found, count, queries[i].ctypes.data, metric, k, ids[i], scores[i])
