"""Edges that queries ask for: among vectors that are near one query, though they may be far from each other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from orthant.kernels.compiling import kernel
from orthant.kernels.graph.beam import DIMS, signed_bytes
from orthant.kernels.graph.links import distances_to, is_dead, robust_prune
from orthant.kernels.graph.sketch import QUERY_EXTRA

__all__ = ["link_lists"]


def _list_examples() -> Iterable[tuple[Any, ...]]:
    ints, longs, rows = np.zeros(1, np.int32), np.zeros(1, np.int64), np.zeros((1, 1), np.int32)
    yield np.zeros(22, np.int64), ints, ints, longs, rows, 0, 1, 1, np.float32(1), rows


@kernel(group="build", examples=_list_examples)
def link_lists(
    view: Any, targets: Any, members: Any, bounds: Any, lists: Any, start: Any, stop: Any, extra: Any, alpha: Any,
    links: Any,
) -> None:  # fmt: skip
    """Link slots to those that stand in the same lists, diverse ones first taken; a full row gives up its last links.

    Parameters
    ----------
    view : ndarray of int64
        The graph; of its links, only ``links`` are read.
    targets : ndarray of int32
        Slots that get edges.
    members : ndarray of int32
        Lists that each target stands in, group by group.
    bounds : ndarray of int64
        Target g stands in the lists ``members[bounds[g]:bounds[g + 1]]``.
    lists : ndarray of shape (m, width), int32
        Slots that are near one query, -1 behind the last.
    start, stop : int
        Targets to handle; each one's row is written only here.
    extra : int
        Edges added at most.
    alpha : float32
        As ``robust_prune``, among the new edges alone: what is linked already must not rule them out, since that is why
        they are missing.
    links : ndarray of shape (n, room), int32
        The rows.
    """
    room, width = links.shape[1], lists.shape[1]
    size = signed_bytes(view[DIMS]) + QUERY_EXTRA
    query, other = np.empty(size, np.uint8), np.empty(size, np.uint8)
    kept, no_marks = np.empty(extra, np.int32), np.empty((0, 0), np.uint64)
    for g in range(start, stop):
        target, first, last = np.int64(targets[g]), bounds[g], bounds[g + 1]
        count = 0
        while count < room and links[target, count] >= 0:
            count += 1
        row = links[target, :count].copy()
        row.sort()
        every = np.empty((last - first) * width, np.int32)
        total = 0
        for m in range(first, last):
            for j in range(width):
                slot = lists[members[m], j]
                if slot < 0:
                    break
                place = np.searchsorted(row, slot)
                known = place < count and row[place] == slot
                if slot != target and not known and not is_dead(view, np.int64(slot)):
                    every[total] = slot
                    total += 1
        part = every[:total]
        part.sort()
        unique = 0
        for j in range(total):
            if j == 0 or every[j] != every[unique - 1]:
                every[unique] = every[j]
                unique += 1
        pool = np.empty(unique, np.uint64)
        distances_to(view, target, every, unique, query, pool)
        number = robust_prune(view, pool, unique, extra, 0, alpha, other, kept, no_marks, target)
        at = min(count, room - number)
        for j in range(number):
            links[target, at + j] = kept[j]
