"""What can be wrong with a graph, in words."""

from __future__ import annotations

import numpy as np

from orthant.index.vamana.build import unreachable
from orthant.index.vamana.state import State
from orthant.kernels import bitmaps

__all__ = ["problems"]


def problems(state: State) -> list[str]:
    """Return what is wrong with a graph.

    Parameters
    ----------
    state : State
        The graph, not changed meanwhile.

    Returns
    -------
    list of str
        One line each; empty when all is well.
    """
    out = []
    used = state.used
    linked = bitmaps.to_mask(state.linked, used)
    lost = unreachable(state)
    if len(lost):
        out.append(f"{len(lost)} of {int(linked.sum())} nodes cannot be reached from the entries")
    rows = state.links[:used]
    inside = rows[linked]
    pointed = np.unique(inside[inside >= 0])
    astray = int((~linked[pointed]).sum())
    if astray:
        out.append(f"{astray} slots that are no nodes are linked to")
    if int((inside == np.flatnonzero(linked)[:, None]).sum()):
        out.append("nodes link to themselves")
    gaps = (inside[:, :-1] < 0) & (inside[:, 1:] >= 0)
    if gaps.any():
        out.append(f"{int(gaps.any(axis=1).sum())} rows of links have gaps")
    repeated = np.sort(inside, axis=1)
    twice = ((repeated[:, 1:] == repeated[:, :-1]) & (repeated[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        out.append(f"{int(twice.sum())} rows link twice to one node")
    live = state.live_slots()
    chained = int(linked[live].sum()) + _chained(state, linked)
    if chained != len(live):
        out.append(f"{len(live)} live vectors, but {chained} are nodes or equal to one")
    found = state.locate(state.ids[live])
    if not (found == live).all():
        out.append(f"{int((found != live).sum())} ids lead to another slot than their own")
    return out


def _chained(state: State, linked: np.ndarray) -> int:
    count = 0
    for head in np.flatnonzero(linked & (state.twins[: state.used] >= 0)).tolist():
        at = int(state.twins[head])
        while at >= 0 and count <= state.used:
            count += 1
            at = int(state.twins[at])
    return count
