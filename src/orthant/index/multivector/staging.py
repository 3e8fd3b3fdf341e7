"""Taking sets that are there already into a new stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.multivector.sets import SetBlock, Sets, pieces
from orthant.index.multivector.stages import Stage
from orthant.types import Ragged

__all__ = ["coded_in_parts", "staged"]


def coded_in_parts(stage: Stage, tokens: Ragged) -> dict[str, npt.NDArray[Any]]:
    """Return what a stage keeps beside sets, computed in parts of bounded size.

    Parameters
    ----------
    stage : Stage
        The stage.
    tokens : Ragged
        Sets; may be mapped.

    Returns
    -------
    dict of str to ndarray
        As ``Stage.coded``.
    """
    parts = [stage.coded(part) for _, _, part in pieces(tokens)]
    if not parts:
        return dict(stage.coded(tokens))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def staged(sets: Sets, stage: Stage) -> Sets:
    """Return the same sets with a stage's codes beside them, and add the live ones to its index.

    Parameters
    ----------
    sets : Sets
        The sets; their tokens are shared, not copied.
    stage : Stage
        Empty.

    Returns
    -------
    Sets
        Rows as before.
    """
    blocks = []
    for block, alive in zip(sets.blocks, sets.rows.alive_masks(), strict=True):
        tokens = Ragged(block.values, block.offsets)
        blocks.append(SetBlock(block.values, block.rows, coded_in_parts(stage, tokens), block.fixed))
        for start, stop, part in pieces(tokens):
            keep = np.ones(stop - start, dtype=bool) if alive is None else alive[start:stop]
            kept = np.flatnonzero(keep)
            if len(kept):
                chosen = [part[int(i)] for i in kept] if len(kept) < len(part) else None
                live = part if chosen is None else _joined(chosen)
                stage.add(live, block.rows.ids[start:stop][kept])
    return Sets(sets.dim, tuple(blocks), sets.rows)


def _joined(parts: list[Any]) -> Ragged:
    return Ragged(np.concatenate(parts), np.cumsum([0, *map(len, parts)], dtype=np.int64))
