"""The vectors of a graph as blocks for exact comparison: the oracle, and the answer while kernels are compiled."""

from __future__ import annotations

import numpy as np

from orthant.index.blocks import ALIVE, Block, BlockSet
from orthant.index.vamana.state import State
from orthant.types import FloatArray, Metric

__all__ = ["block_set"]


def block_set(state: State, metric: Metric) -> BlockSet:
    """Return the live vectors of a state as one generation of blocks, without copying them.

    Parameters
    ----------
    state : State
        The graph; must not change while the blocks are in use.
    metric : {"dot", "cosine", "l2"}
        The score.

    Returns
    -------
    BlockSet
        Rows that are dead, free or replaced are dead in it.
    """
    blocks, dead = [], 0
    if state.vectors.own is not None:
        every = np.arange(state.used, dtype=np.int64)
        pieces = [(state.vectors.own[: state.used], every)] if state.used else []
    else:
        pieces = [(X, slots.astype(np.int64)) for X, slots in state.vectors.kept if len(X)]
    for X, slots in pieces:
        at = np.maximum(slots, 0)
        begins = X.ctypes.data + np.arange(len(X), dtype=np.int64) * X.strides[0]
        alive = (slots >= 0) & (state.addresses[at] == begins) & ~state.is_dead(at)
        dead += int(len(X) - alive.sum())
        scale: FloatArray | None = state.scales[at] if metric == "cosine" else None
        ids = np.where(alive, state.ids[at], 0)
        blocks.append(Block(X, ids, metric=metric, died=np.where(alive, ALIVE, 0), scale=scale))
    return BlockSet(state.space.dim, tuple(blocks), generation=0, dead=dead)
