"""How a filtered search is run: which of three ways costs least, by a model of what each touches.

Whatever a filter was worded like, this module sees a bitmap or ids, so equal filters get equal plans and equal answers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

import numpy as np
import numpy.typing as npt

from orthant.index.vamana.state import State
from orthant.kernels import bitmaps
from orthant.kernels.graph import filters
from orthant.kernels.graph.beam import NO_SHIFT
from orthant.kernels.graph.sketch import SKETCH_BYTES
from orthant.types import BitmapArray, IdArray

__all__ = ["Filter", "Plan", "PlanName", "allowed_slots", "choose", "choose_again", "force", "make_filter"]

PlanName = Literal["graph", "graph-filtered", "scan-allowed"]

_SLOT_NS, _FAR_SLOT_NS = 5.2, 8.5
"""Of comparing one slot's sketch in a scan, and its share of what follows; where sketches lie in caches, and not."""
_CACHED_SLOTS = 150_000
"""Sketches that fit into the caches beside other things."""
_HOP_NS, _DECADE_NS = 440.0, 120.0
"""Of expanding one candidate of a beam where codes and links take 70 MB, and what ten times as many bytes add."""
_HOP_BYTES = 7e7
_OVER_NS = 4200.0
"""Of looking behind the neighbours of one candidate where next to none of them is allowed."""
_WIDER = 1.6
"""A beam over allowed slots needs this much more width for the same recall."""
_FAR = 16.0
"""The same where a walk past others gave up: what is allowed lies far from the query, all of it about as far."""
_MOST_SCANNED = 2_000_000
"""Slots that are scanned rather than walked over in that case: a scan is sure to find them."""
_PATIENCE, _MOST_PATIENT = 4.0, 1000
"""A walk gives up after so many times what it would take if allowed slots were spread evenly, or so many candidates:
their list gets long."""
_HOPEFUL = 1.25
"""Of what it would take then, what it has in any case."""
_WAGER = 0.7
"""It gives up before it has cost so much of the scan that follows."""
_STAKE, _LONGEST_WALK = 0.4, 4000
"""A scan that costs much is worth a longer walk: so much of it, up to so many candidates, whose list gets long. What is
allowed may begin a little farther away."""
_RISK = 1.5
"""A scan is sure of its cost and of what it finds, so a walk has to promise two thirds of that."""
_LOOK_NS = 60_000.0
"""Of what a walk expands before it first asks whether it will end in time: nothing bounds what it compares there."""
_PROBED = 10.0
"""A scan that costs so many looks is not begun without one."""
_RESERVE = 0.5
"""Of the effort, what a walk adds where all that it meets is allowed and next to nothing elsewhere."""
_STARTS = 48
_LONG, _SAMPLED, _MUCH = 8192, 256, 0.2
"""Bitmaps from so many words on are counted by so many of them, where those allow such a share."""


@dataclass(slots=True)
class Filter:
    """The slots that a search may return.

    Attributes
    ----------
    bitmap : ndarray of uint64, or None
        Over ids; None where the ids are too sparse for one.
    slots : ndarray of shape (m,), int32, or None
        The slots, where they were given as ids.
    count : int
        How many there are; from a bitmap, at most so many.
    """

    bitmap: BitmapArray | None
    slots: npt.NDArray[np.int32] | None
    count: int


@dataclass(slots=True)
class Plan:
    """How to run a search.

    Attributes
    ----------
    name : {"graph", "graph-filtered", "scan-allowed"}
        Walk the graph past what is not allowed, walk over allowed slots only, or compare all of those.
    effort : int
        Width of the beam.
    starts : ndarray of int32
        Where searches begin.
    fewest, patience : int
        Allowed slots that a walk past others needs at least, and candidates that it expands at most.
    spare, usual : int, float
        How many more it needs where what it meets is allowed more often than the share that is so anywhere.
    """

    name: PlanName
    effort: int
    starts: npt.NDArray[np.int32]
    fewest: int = 1
    patience: int = 0
    spare: int = 0
    usual: float = 0.0


def make_filter(state: State, allowed: BitmapArray | IdArray | npt.NDArray[np.bool_]) -> Filter:
    """Bring a checked ``allowed`` argument into one form.

    Parameters
    ----------
    state : State
        The graph.
    allowed : ndarray
        Bitmap (uint64), mask (bool) or ids (int64).

    Returns
    -------
    Filter
        The same rows, whatever the form.
    """
    if allowed.dtype == np.int64:
        ids = np.unique(cast("IdArray", allowed))
        ids = ids[ids >= 0]
        if len(ids) and int(ids[-1]) >= len(state.table):
            slots = state.locate(ids)
            slots = np.sort(slots[slots >= 0])
            if state.sparse:
                return Filter(None, slots.astype(np.int32), len(slots))
            ids = state.ids[slots]
        bitmap = bitmaps.from_rows(ids)
        return Filter(bitmap, None, len(ids))
    if allowed.dtype == np.bool_:
        bitmap = bitmaps.from_mask(cast("npt.NDArray[np.bool_]", allowed))
    else:
        bitmap = cast("BitmapArray", allowed)
    words = bitmaps.words_for(state.highest + 1)
    if len(bitmap) > words or not bitmap.flags.carray:
        # Kernels are compiled for arrays that may be written to; another kind would be compiled in the middle of this.
        bitmap = bitmap[:words].copy()
    return Filter(bitmap, None, _count(bitmap))


def _count(bitmap: BitmapArray) -> int:
    """Count the rows of a bitmap; of a long one that allows much, about: counting it all takes as long as a walk."""
    if len(bitmap) >= _LONG:
        part = bitmap[:: len(bitmap) // _SAMPLED].copy()
        share = int(filters.count_bits(part)) / (64 * len(part))
        if share >= _MUCH:
            return int(share * 64 * len(bitmap))
    return int(filters.count_bits(bitmap))


def choose(state: State, allowed: Filter | None, *, k: int, effort: int, fewest: int) -> Plan:
    """Choose a plan.

    Parameters
    ----------
    state : State
        The graph.
    allowed : Filter or None
        The filter.
    k : int
        Neighbours wanted.
    effort : int
        Width of the beam without a filter.
    fewest : int
        Allowed slots that a walk past others needs where they are rare, at most ``effort``.

    Returns
    -------
    Plan
        The plan of least expected cost.
    """
    if allowed is None:
        return Plan("graph", effort, state.entries)
    if allowed.bitmap is None or allowed.count <= 4 * k:
        return Plan("scan-allowed", effort, state.entries)
    each = SKETCH_BYTES + state.space.width + 4 * state.room
    name, patience, share = _cheapest(allowed.count, state.live, state.used * each, effort, fewest)
    if name == "graph-filtered":
        return _over(state, allowed, _WIDER * effort)
    return Plan(name, effort, state.entries, fewest, patience, int(_RESERVE * effort), share)


@lru_cache(maxsize=1024)
def _cheapest(count: int, live: int, bytes_: int, effort: int, fewest: int) -> tuple[PlanName, int, float]:
    """Return the plan of least expected cost, the patience of a walk past others, and the share that is allowed."""
    share = min(1.0, count / max(live, 1))
    hop, scan = _hop_ns(bytes_), _scan_ns(count)
    expanded = (fewest + share * (effort - fewest)) / max(share, 1e-9)
    past, over = _RISK * hop * expanded, _RISK * _over_ns(hop, share, _WIDER * effort)
    if over < min(scan, past):
        return "graph-filtered", 0, share
    worth = int(_WAGER * scan / hop)
    if past <= scan:
        patience = min(64 + int(_PATIENCE * expanded), _MOST_PATIENT, worth)
        stake = min(int(_STAKE * scan / hop), _LONGEST_WALK)
        return "graph", max(patience, stake, int(_HOPEFUL * expanded)), share
    # Where much of what is near is allowed a walk is quicker all the same, and soon knows.
    if scan >= _PROBED * _LOOK_NS:
        return "graph", min(worth, _MOST_PATIENT), share
    return "scan-allowed", 0, share


def force(state: State, allowed: Filter, name: PlanName, *, effort: int) -> Plan:
    """Return a plan by its name, to compare the one chosen with others.

    Parameters
    ----------
    state : State
        The graph.
    allowed : Filter
        The filter.
    name : {"graph", "graph-filtered", "scan-allowed"}
        The plan; a walk past others never gives up.
    effort : int
        Width of the beam, as it is: nothing is widened.

    Returns
    -------
    Plan
        The plan, or a scan where a filter has no bitmap to walk by.
    """
    if name == "graph-filtered":
        return _over(state, allowed, float(effort))
    return Plan(name, effort, state.entries, fewest=effort, patience=state.used)


def choose_again(state: State, allowed: Filter, *, effort: int) -> Plan:
    """Choose a plan for queries whose walk gave up: few of the slots near them are allowed.

    Parameters
    ----------
    state : State
        The graph.
    allowed : Filter
        The filter.
    effort : int
        Width of the beam without a filter.

    Returns
    -------
    Plan
        A scan, or a wide walk over allowed slots.
    """
    if allowed.count <= _MOST_SCANNED:
        return Plan("scan-allowed", effort, state.entries)
    return _over(state, allowed, _FAR * effort)


def _scan_ns(count: int) -> float:
    return count * (_SLOT_NS if count <= _CACHED_SLOTS else _FAR_SLOT_NS)


def _hop_ns(bytes_: int) -> float:
    decades = math.log10(max(bytes_, 1) / _HOP_BYTES)
    return _HOP_NS + _DECADE_NS * min(max(decades, -1.0), 2.0)


def _over_ns(hop: float, share: float, width: float) -> float:
    return width * (hop + _OVER_NS * hop / _HOP_NS * (1.0 - share))


def _over(state: State, allowed: Filter, width: float) -> Plan:
    starts = np.empty(_STARTS, np.int32)
    found = 0
    if allowed.bitmap is not None and not state.sparse:
        found = filters.spread_bits(allowed.bitmap, state.table, state.ids, state.dead, starts)
    if not found:
        return Plan("scan-allowed", int(width), state.entries)
    return Plan("graph-filtered", int(np.ceil(width)), starts[:found])


def allowed_slots(state: State, allowed: Filter, *, shift: int = NO_SHIFT) -> npt.NDArray[np.int32]:
    """List the live slots that a filter allows.

    Parameters
    ----------
    state : State
        The graph.
    allowed : Filter
        The filter.
    shift : int, optional
        What to add to a slot for its id, where that is one number for all.

    Returns
    -------
    ndarray of shape (m,), int32
        The slots.
    """
    if allowed.slots is not None:
        return allowed.slots
    bitmap = allowed.bitmap if allowed.bitmap is not None else np.zeros(0, np.uint64)
    if shift != NO_SHIFT:
        out = np.empty(min(state.used, 64 * len(bitmap)), np.int32)
        dead = state.dead_count + len(state.free)
        return out[: filters.slots_in_order(bitmap, shift, state.used, state.dead, dead, out)]
    if state.sparse:
        out = np.empty(state.used, np.int32)
        return out[: filters.slots_of_ids(bitmap, state.ids[: state.used], state.dead, out)]
    out = np.empty(min(len(state.table), 64 * len(bitmap)), np.int32)
    return out[: filters.slots_of_bits(bitmap, state.table, state.ids, state.dead, out)]
