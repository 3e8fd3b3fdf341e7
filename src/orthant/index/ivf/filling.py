"""Lists that fill their blocks: rows at the edge of a list go to the next one where that saves a block."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from orthant.kernels.clustering.list_blocks import BLOCK
from orthant.types import FloatArray, IdArray

__all__ = ["whole_blocks"]

_NEAR = 64
"""Lists that a row may go to, by their distance from its own."""

_REGRET = 0.1
"""A row may go where its squared distance grows by so much of what it is for rows on average, and no farther: beyond
that, queries unlike the rows find fewer of those that moved."""

_WORTH = 0.02
"""Share of all places that must be empty for any row to move."""


def whole_blocks(X: FloatArray, centroids: FloatArray, labels: IdArray) -> IdArray:
    """Move rows to other lists so that fewer blocks are needed.

    A search reads whole blocks. A list ends within one, so half a block of each is empty on average, which is a quarter
    of all that is read where lists hold two blocks. Lists with few rows in their last block give these to lists near by
    that have room.

    Parameters
    ----------
    X : ndarray of shape (n, d), float32
        Rows, as lists see them.
    centroids : ndarray of shape (lists, d), float32
        What rows are compared with to find their list.
    labels : ndarray of shape (n,), int64
        The nearest list of each row.

    Returns
    -------
    ndarray of shape (n,), int64
        List of each row now. A row moves only where its squared distance to the centroid grows by a tenth of the mean
        one at most, and each move is part of one that empties a block.

    Notes
    -----
    The list with the fewest rows in its last block comes first; of its rows those go that lose the least. Without
    luck it stays as it is. Cost: O(64 n d) at most; nothing where fewer than 2 % of the places are empty.
    """
    counts = np.bincount(labels, minlength=len(centroids))
    blocks = -(-counts // BLOCK)
    if len(labels) >= (1 - _WORTH) * BLOCK * int(blocks.sum()):
        return labels
    lengths = np.einsum("ld,ld->l", centroids, centroids)
    # Rows that are alike save blocks wherever they are; a mean of 0 lets only equal distances through.
    most = _REGRET * _mean_distance(X, centroids, labels)
    out = labels.copy()
    order = np.argsort(labels, kind="stable")
    members = np.split(order, np.cumsum(counts)[:-1])
    room = {int(number): int(-counts[number] % BLOCK) for number in np.flatnonzero(counts % BLOCK)}
    heap = [(BLOCK - free, number) for number, free in room.items()]
    heapq.heapify(heap)
    while heap:
        surplus, number = heapq.heappop(heap)
        if room.get(number) != BLOCK - surplus:
            continue
        free = room.pop(number)
        others = _with_room(centroids, lengths, number, room)
        # A row moves once, as it would lose twice as much: those that came are not among them.
        here = members[number]
        taken = _cheapest(X[here], centroids, lengths, number, others, room, surplus, most)
        if taken is None:
            # It may still take others in: what it has left is no less than it was.
            room[number] = free
            continue
        rows, to = here[taken[0]], others[taken[1]]
        out[rows] = to
        members[number] = np.delete(here, taken[0])
        for other, came in zip(*(one.tolist() for one in np.unique(to, return_counts=True)), strict=True):
            room[other] -= came
            if room[other]:
                heapq.heappush(heap, (BLOCK - room[other], other))
            else:
                del room[other]
    return out


def _mean_distance(X: FloatArray, centroids: FloatArray, labels: IdArray) -> float:
    rows = np.unique(np.linspace(0, len(X) - 1, min(len(X), 10_000)).astype(np.int64))
    gaps = X[rows] - centroids[labels[rows]]
    return float(np.einsum("nd,nd->n", gaps, gaps).mean())


def _with_room(centroids: FloatArray, lengths: FloatArray, number: int, room: dict[int, int]) -> IdArray:
    """Return the lists with room among those nearest to one, nearest first."""
    near = lengths - 2 * (centroids @ centroids[number])
    near[number] = np.inf
    order = np.argsort(near, kind="stable")[: min(_NEAR, len(near) - 1)]
    return np.array([other for other in order.tolist() if other in room], dtype=np.int64)


def _cheapest(
    X: FloatArray,
    centroids: FloatArray,
    lengths: FloatArray,
    number: int,
    others: IdArray,
    room: dict[int, int],
    wanted: int,
    most: float,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None:
    """Return which rows go, and to which of the others; None where they do not find room near enough."""
    left = [room[int(other)] for other in others]
    if sum(left) < wanted:
        return None
    own = lengths[number] - 2 * (X @ centroids[number])
    regret = (lengths[others] - 2 * (X @ centroids[others].T)) - own[:, None]
    allowed = np.flatnonzero(regret.reshape(-1) <= most)
    rows: list[int] = []
    to: list[int] = []
    gone = np.zeros(len(X), dtype=bool)
    for pair in allowed[np.argsort(regret.reshape(-1)[allowed], kind="stable")].tolist():
        row, other = divmod(pair, len(others))
        if gone[row] or not left[other]:
            continue
        gone[row] = True
        left[other] -= 1
        rows.append(row)
        to.append(other)
        if len(rows) == wanted:
            return np.array(rows), np.array(to)
    return None
