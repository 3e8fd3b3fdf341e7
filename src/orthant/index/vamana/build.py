"""Building and mending the links of a graph, in batches that give the same links on any number of threads.

All slots of a batch search the graph as it stood before the batch; then their rows are written, and the reverse edges
are added group by group. A batch is a small part of what is linked already, so that little is missed by not seeing each
other (Subramanya et al. 2019, "DiskANN"; batches as in Manohar et al. 2024, "ParlayANN").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from orthant import threads as pool
from orthant.index.blocks import IdRuns
from orthant.index.vamana.state import State
from orthant.kernels import bitmaps
from orthant.kernels.graph import links
from orthant.types import IdArray

__all__ = ["BuildSettings", "collapse_twins", "ensure_reachable", "link", "mend", "relink"]

Slots = npt.NDArray[np.int32]
Progress = Callable[[int, int], None]

_BATCH_SHARE = 0.02
_SMALLEST_BATCH = 32
_LARGEST_BATCH = 4096
_ENTRIES = 48
_NONE = np.zeros((0, 0), np.uint64)


@dataclass(frozen=True)
class BuildSettings:
    """How links are chosen.

    Attributes
    ----------
    degree : int
        Links of a pruned row; rows have room for half as many again.
    beam : int
        Width of the beam that finds candidates.
    alpha : float
        How much nearer a kept neighbour must be to rule out another; 1 keeps few links, larger values more.
    margin : float
        Standard errors of slack when sketches decide.
    sketched : bool
        Whether sketches decide at all.
    threads : int or None
        Threads; None takes the default.
    least : int
        Links that a row is filled up to, diverse or not.
    collapse : bool
        Whether slots of equal codes become one node; not where labels tell them apart.
    marks, columns : ndarray of uint64
        Labels by slot and slots by label, as bits, where links must heed them; see ``links.find_links``. The entries
        of the state are then one slot per label.
    """

    degree: int
    beam: int
    alpha: float
    margin: float
    sketched: bool
    threads: int | None
    least: int = 0
    collapse: bool = True
    marks: npt.NDArray[np.uint64] = field(default_factory=lambda: _NONE, compare=False)
    columns: npt.NDArray[np.uint64] = field(default_factory=lambda: _NONE, compare=False)


def link(state: State, order: Slots, settings: BuildSettings, progress: Progress | None = None) -> None:
    """Link new slots into the graph, batch by batch.

    Parameters
    ----------
    state : State
        The graph; vectors of the slots are placed and encoded.
    order : ndarray of shape (m,), int32
        Slots in order of insertion.
    settings : BuildSettings
        How.
    progress : callable of (done, total), optional
        Called after each batch.
    """
    if settings.collapse:
        order = collapse_twins(state, order)
    done = 0
    while done < len(order):
        linked = bitmaps.count_bits(state.linked)
        # The first few must see each other: as many as are linked would all link to the same ones.
        least = min(_SMALLEST_BATCH, 1 + linked // 8)
        size = int(min(max(_BATCH_SHARE * linked, least), _LARGEST_BATCH))
        batch = order[done : done + size]
        _insert(state, batch, settings)
        if len(state.entries) < _ENTRIES and not settings.marks.size:
            # The first of a random order are as good a sample of the data as any.
            state.entries = np.concatenate([state.entries, batch])[:_ENTRIES]
        done += len(batch)
        if progress is not None:
            progress(done, len(order))


def relink(state: State, order: Slots, settings: BuildSettings) -> None:
    """Choose the links of slots that are in the graph anew.

    Parameters
    ----------
    state : State
        The graph.
    order : ndarray of shape (m,), int32
        Slots of the graph.
    settings : BuildSettings
        How.
    """
    for a in range(0, len(order), _LARGEST_BATCH):
        _insert(state, order[a : a + _LARGEST_BATCH], settings)


def _insert(state: State, batch: Slots, settings: BuildSettings) -> None:
    view = state.view(sketched=settings.sketched)
    rows = np.full((len(batch), settings.degree), -1, dtype=np.int32)
    if len(state.entries):
        words, room = bitmaps.words_for(state.capacity), state.capacity + 2 * state.room

        def run(start: int, stop: int) -> None:
            visited, touched = np.zeros(words, np.uint64), np.empty(room, np.int32)
            links.find_links(
                view, batch, start, stop, state.entries, settings.beam, 2, settings.degree, settings.least,
                np.float32(settings.alpha), np.float32(settings.margin), visited, touched, rows, settings.marks,
                settings.columns,
            )  # fmt: skip

        pool.map_ranges(run, len(batch), threads=settings.threads, minimum=16)
    state.links[batch, : settings.degree] = rows
    state.links[batch, settings.degree :] = -1
    state.linked = bitmaps.set_rows(state.linked, batch.astype(np.int64))
    _add_reverse(state, batch, rows, settings)


def _add_reverse(state: State, batch: Slots, rows: npt.NDArray[np.int32], settings: BuildSettings) -> None:
    present = rows >= 0
    targets = rows[present]
    if not len(targets):
        return
    sources = np.repeat(batch, present.sum(axis=1))
    # Pairs as one number each: sorting numbers is several times quicker than sorting places by them.
    pairs = np.sort(targets.astype(np.int64) << 32 | np.arange(len(targets)))
    targets, sources = (pairs >> 32).astype(np.int32), sources[pairs & 0xFFFFFFFF]
    first = np.flatnonzero(np.concatenate([[True], targets[1:] != targets[:-1]]))
    bounds = np.concatenate([first, [len(targets)]]).astype(np.int64)
    view, heads = state.view(sketched=settings.sketched), np.ascontiguousarray(targets[first])

    def run(start: int, stop: int) -> None:
        links.reverse_links(
            view, heads, sources, bounds, start, stop, settings.degree, settings.least, np.float32(settings.alpha),
            state.links, settings.marks,
        )  # fmt: skip

    pool.map_ranges(run, len(heads), threads=settings.threads, minimum=64)


def collapse_twins(state: State, order: Slots) -> Slots:
    """Chain slots whose codes equal those of another to it, and return the others, which become nodes.

    Parameters
    ----------
    state : State
        The graph.
    order : ndarray of shape (m,), int32
        New slots.

    Returns
    -------
    ndarray of int32
        Slots to link, in the same order.

    Notes
    -----
    Points at distance zero rule each other out as neighbours, so as nodes of their own they could not be reached.
    """
    keys = _hashes(state, order)
    leaders = _leaders(state, order, keys)
    kept = np.ones(len(order), dtype=bool)
    for place in np.flatnonzero(leaders != order).tolist():
        slot, leader = int(order[place]), int(leaders[place])
        same = (state.codes[slot] == state.codes[leader]).all() and (
            state.sketches[slot, :48] == state.sketches[leader, :48]
        ).all()
        if same:
            kept[place] = False
            state.twins[slot] = state.twins[leader]
            state.twins[leader] = slot
            state.twin_count += 1
    if state.hashes is not None:
        state.hashes = state.hashes.add(keys[kept], order[kept].astype(np.int64))
    return order[kept]


def _leaders(state: State, order: Slots, keys: IdArray) -> Slots:
    """Return for each new slot the first one, new or linked already, whose hash is the same."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    leaders = order[first[inverse]]
    if not bitmaps.count_bits(state.linked):
        return leaders
    if state.hashes is None:
        heads = np.flatnonzero(bitmaps.to_mask(state.linked, state.used)).astype(np.int32)
        state.hashes = IdRuns().add(_hashes(state, heads), heads.astype(np.int64))
    for places, slots in state.hashes.find(keys):
        # A slot may have died since its hash was noted, or have been given to another vector.
        fits = bitmaps.contains_rows(state.linked, slots) & ~state.is_dead(slots)
        leaders[places[fits]] = slots[fits]
    return leaders


def _hashes(state: State, slots: Slots) -> IdArray:
    """Return 64 bits of each slot's codes: equal for equal codes, different for almost all others."""
    rng = np.random.Generator(np.random.Philox(20_240_611))
    factors = rng.integers(1, 1 << 63, state.codes.shape[1] // 8, dtype=np.uint64) | np.uint64(1)
    signs = rng.integers(1, 1 << 63, 8, dtype=np.uint64) | np.uint64(1)
    out = np.empty(len(slots), dtype=np.uint64)
    for a in range(0, len(slots), 65_536):
        part = slots[a : a + 65_536]
        words = state.codes[part].view(np.uint64)
        fields = state.sketches[part].view(np.uint64)
        with np.errstate(over="ignore"):
            mixed = (words * factors).sum(axis=1, dtype=np.uint64) + (fields[:, 7] * signs[7])
            out[a : a + 65_536] = mixed ^ (mixed >> np.uint64(29))
    return out.view(np.int64)


def mend(state: State, settings: BuildSettings) -> None:
    """Take dead slots out of every row of links and give them free.

    Parameters
    ----------
    state : State
        The graph.
    settings : BuildSettings
        How rows are pruned.

    Notes
    -----
    A row with dead neighbours gets the live neighbours of those as candidates (Singh et al. 2021, "FreshDiskANN").
    """
    if not state.dead_count:
        return
    mask = bitmaps.to_mask(state.dead, state.capacity)
    inside = bitmaps.to_mask(state.linked, state.used) & ~mask[: state.used]
    rows = state.links[: state.used]
    hurt = np.flatnonzero(inside & (mask[np.maximum(rows, 0)] & (rows >= 0)).any(axis=1)).astype(np.int32)
    if len(hurt):
        view, out = state.view(sketched=settings.sketched), np.empty((len(hurt), state.room), dtype=np.int32)

        def run(start: int, stop: int) -> None:
            links.mend_links(view, hurt, start, stop, settings.degree, settings.least, np.float32(settings.alpha), out)

        pool.map_ranges(run, len(hurt), threads=settings.threads, minimum=16)
        state.links[hurt] = out
    _free_dead(state, mask[: state.used])
    _choose_entries(state)
    ensure_reachable(state, settings)


def _free_dead(state: State, mask: npt.NDArray[np.bool_]) -> None:
    gone = np.flatnonzero(mask).astype(np.int32)
    state.links[gone] = -1
    state.twins[gone] = -1
    state.ids[gone] = -1
    state.linked = bitmaps.clear_rows(state.linked, gone.astype(np.int64))
    state.free = gone
    state.dead_count = 0


def _choose_entries(state: State) -> None:
    alive = state.entries[~state.is_dead(state.entries)] if len(state.entries) else state.entries
    if len(alive) < _ENTRIES:
        heads = np.flatnonzero(bitmaps.to_mask(state.linked, state.used)).astype(np.int32)
        more = np.setdiff1d(heads[:: max(1, len(heads) // (2 * _ENTRIES))], alive)
        alive = np.concatenate([alive, more])[:_ENTRIES]
    state.entries = alive.astype(np.int32)


def unreachable(state: State) -> Slots:
    """Return linked slots that no walk from the first entry reaches: a search may begin at any of them."""
    view = state.view(sketched=False)
    visited = np.zeros(bitmaps.words_for(state.capacity), np.uint64)
    links.reach(view, state.entries[:1], visited, np.empty(state.capacity, np.int32))
    mask = bitmaps.to_mask(state.linked, state.used) & ~bitmaps.to_mask(visited, state.used)
    return np.flatnonzero(mask).astype(np.int32)


def ensure_reachable(state: State, settings: BuildSettings) -> int:
    """Give slots that nothing leads to an edge from near them; return how many there were.

    Parameters
    ----------
    state : State
        The graph.
    settings : BuildSettings
        How rows are pruned.

    Returns
    -------
    int
        Slots that could not be reached before.
    """
    lost = unreachable(state)
    count, state.unchecked = len(lost), 0
    while len(lost):
        _adopt(state, lost, settings)
        left = unreachable(state)
        if len(left) >= len(lost):
            # No row has room. Searches that end short of hits scan, so nothing is lost but time.
            break
        lost = left
    return count


def _adopt(state: State, lost: Slots, settings: BuildSettings) -> None:
    """Link to each lost slot from a node near it that has room; no link is given up, so that this comes to an end."""
    reached = bitmaps.to_mask(state.linked, state.used).copy()
    reached[lost] = False
    room = reached & (state.links[: state.used, -1] < 0)
    found = np.full((len(lost), settings.degree), -1, dtype=np.int32)
    view, starts = state.view(sketched=settings.sketched), state.entries[:1]
    visited = np.zeros(bitmaps.words_for(state.capacity), np.uint64)
    links.find_links(
        view, lost, 0, len(lost), starts, settings.beam, 2, settings.degree, settings.least, np.float32(settings.alpha),
        np.float32(settings.margin), visited, np.empty(state.capacity + 2 * state.room, np.int32), found, _NONE, _NONE,
    )  # fmt: skip
    anyone = iter(np.flatnonzero(room).tolist())
    for slot, near in zip(lost.tolist(), found, strict=True):
        fits = near[near >= 0]
        fits = fits[room[fits]]
        target = int(fits[0]) if len(fits) else next((each for each in anyone if room[each]), -1)
        if target < 0:
            return
        row = state.links[target]
        row[int((row >= 0).sum())] = slot
        room[target] = row[-1] < 0


def remove(state: State, slots: IdArray) -> None:
    """Mark slots as removed; they stay on the way of searches until ``mend``.

    Parameters
    ----------
    state : State
        The graph.
    slots : ndarray of shape (m,), int64
        Live slots.
    """
    state.dead = bitmaps.set_rows(state.dead, slots)
    state.dead_count += len(slots)
    if state.twin_count:
        _unchain(state, slots)


def _unchain(state: State, slots: IdArray) -> None:
    """Take removed twins out of their chains, and let a live twin take the place of a removed leader."""
    gone = np.zeros(state.used, dtype=bool)
    gone[slots] = True
    heads = np.flatnonzero(bitmaps.to_mask(state.linked, state.used) & (state.twins[: state.used] >= 0))
    for head in heads.tolist():
        chain: list[int] = []
        at = int(state.twins[head])
        while at >= 0:
            chain.append(at)
            at = int(state.twins[at])
        if not (gone[head] or gone[chain].any()):
            continue
        left = [slot for slot in chain if not gone[slot]]
        if gone[head] and left:
            # The node stays, under the name of a twin; the twin's own slot is what dies.
            swap = left.pop(0)
            for name in ("ids", "addresses", "scales"):
                values = getattr(state, name)
                values[[head, swap]] = values[[swap, head]]
            if state.vectors.own is not None:
                state.vectors.own[[head, swap]] = state.vectors.own[[swap, head]]
                state.point_at_own(np.array([head, swap]))
            else:
                state.swap_outside(head, swap)
            state.note(state.ids[[head]], np.array([head], np.int32))
            state.dead = bitmaps.clear_rows(state.dead, np.array([head]))
            state.dead = bitmaps.set_rows(state.dead, np.array([swap]))
        state.twin_count -= len(chain) - len(left)
        for slot, following in zip([head, *left], [*left, -1], strict=True):
            state.twins[slot] = following
