"""Links that sample queries ask for: among the neighbours of one query, which links among vectors alone keep apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthant import threads as pool
from orthant.index.vamana.build import BuildSettings, ensure_reachable
from orthant.index.vamana.state import State
from orthant.kernels import bitmaps
from orthant.kernels.graph.query_links import link_lists
from orthant.kernels.topk import rank_within
from orthant.types import IdArray

__all__ = ["MOST_LISTS", "WIDTH", "add_query_links"]

WIDTH = 100
"""Neighbours of a query that are linked among each other."""
MOST_LISTS = 4
"""Queries that choose the links of one vector: those it is nearest to. More make candidates of vectors that have little
to do with each other."""


def add_query_links(state: State, lists: IdArray, settings: BuildSettings) -> int:
    """Link vectors that are near the same query; rows that are full give up their last links.

    Parameters
    ----------
    state : State
        The graph, not searched meanwhile; its arrays are its own.
    lists : ndarray of shape (m, k), int64
        Ids near each query, nearest first, -1 behind the last.
    settings : BuildSettings
        ``degree`` links are added to a row at most, chosen by ``alpha`` among themselves.

    Returns
    -------
    int
        Vectors that got links.

    Notes
    -----
    Vectors near a query that is unlike them lie around it in all directions, so that pruning by distances among vectors
    leaves no short way between them. After Jaiswal et al. 2022 ("OOD-DiskANN", arXiv 2211.12850) and Chen et al. 2024
    ("RoarGraph", arXiv 2408.08933), such links are made from the neighbours of sample queries. Here they share the rows
    of the others and take no memory. Cost: about 0.1 ms for each of at most 100 m vectors.
    """
    slots = state.locate(lists.reshape(-1))
    # What equals another vector is no part of the graph of its own.
    inside = (slots >= 0) & bitmaps.contains_rows(state.linked, np.maximum(slots, 0))
    table = np.where(inside, slots, -1).reshape(lists.shape)
    order = np.argsort(table < 0, axis=1, kind="stable")
    table = np.ascontiguousarray(np.take_along_axis(table, order, axis=1).astype(np.int32))
    targets, members, bounds = _groups(table)
    if not len(targets):
        return 0
    view = state.view(sketched=settings.sketched)

    def run(start: int, stop: int) -> None:
        link_lists(
            view, targets, members, bounds, table, start, stop, settings.degree, np.float32(settings.alpha), state.links
        )

    pool.map_ranges(run, len(targets), threads=settings.threads, minimum=16)
    ensure_reachable(state, settings)
    return len(targets)


def _groups(
    table: npt.NDArray[np.int32],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return each slot of a table of lists, the lists that it ranks highest in, and their bounds."""
    rows, ranks = np.nonzero(table >= 0)
    slots = table[rows, ranks]
    order = np.lexsort((rows, ranks, slots))
    slots, rows = slots[order], rows[order]
    kept = rank_within(slots.astype(np.int64)) < MOST_LISTS
    slots, rows = slots[kept], rows[kept]
    targets, first = np.unique(slots, return_index=True)
    return targets, rows.astype(np.int32), np.append(first, len(slots)).astype(np.int64)
