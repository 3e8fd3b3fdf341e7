"""Upkeep that runs by itself, bounded per write: compaction of dead vectors, graphs, saving of derived files."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from orthant.collection.storage import merging, tables
from orthant.collection.storage.files import storage_error
from orthant.collection.storage.generation import SegmentView, SpaceState
from orthant.collection.storage.segments import Extent
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, FloatArray

if TYPE_CHECKING:
    from orthant.collection.storage.store import Store

__all__ = ["after_commit", "compact", "compact_due", "replace_vectors"]

_DEAD_SHARE = 0.20
_MINIMUM_SLOTS = 1024
_TAIL_RECORDS = 8192
_TAIL_SHARE = 0.25
_TAIL_COMMITS = 4096
_PART = 65_536

# Gives the vectors of some slots of a segment: (segment, slots) -> X
_Reader = Callable[[SegmentView, np.ndarray], FloatArray]


def after_commit(store: Store, *, removed: int, whole: bool = False) -> None:
    """Compact spaces that are a fifth dead, merge tails into graphs, and save derived files that lag behind.

    Parameters
    ----------
    store : Store
        The writer.
    removed : int
        Records that the commit removed; nothing is counted where none went.
    whole : bool, default False
        Do graphs that are due whole, not by a step.

    Notes
    -----
    A vector is rewritten at most once per fifth of its segment that dies, and derived files are saved each time the
    collection has grown by a quarter, so upkeep costs a bounded number of bytes per record written.
    """
    if not store.in_bulk:
        if removed:
            compact_due(store)
        if whole:
            merging.settle(store)
        else:
            merging.after_commit(store, removed=removed)
    records, commits = store.unsaved
    if records > max(_TAIL_RECORDS, _TAIL_SHARE * store.saved[2]) or commits > _TAIL_COMMITS:
        store.save_derived()


def compact_due(store: Store) -> None:
    """Compact the spaces that are a fifth dead, unless their graphs must be cleaned of dead rows first and at length.

    Parameters
    ----------
    store : Store
        The writer.
    """
    for name, space in list(store.generation.spaces.items()):
        dead = space.slots - space.live_count(store.generation.live)
        due = space.slots > _MINIMUM_SLOTS and dead > _DEAD_SHARE * space.slots
        if due and merging.before_compaction(store, name):
            compact(store, name)


def compact(store: Store, name: str) -> int:
    """Rewrite a space's segments that are more than a fifth dead; durable on return.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The space.

    Returns
    -------
    int
        Slots given back.
    """
    with store.writer() as now:
        space = now.spaces[name]

        def dead(view: SegmentView) -> int:
            return view.state.slots - int(bitmaps.contains_rows(now.live, view.rows).sum())

        old = [view for view in space.segments if dead(view) > _DEAD_SHARE * view.state.slots]
        freed = sum(dead(view) for view in old)

        def read(view: SegmentView, slots: np.ndarray) -> FloatArray:
            return view.matrix(space.folder)[slots]

        for view in old:
            space.folder.require_sound(view.state, view.matrix(space.folder))
        if old:
            _rewrite(store, space, old, read)
        return freed


def replace_vectors(store: Store, name: str, number: int, vectors: Mapping[int, FloatArray]) -> None:
    """Rewrite one segment with new vectors for some rows; durable on return.

    Parameters
    ----------
    store : Store
        The writer.
    name : str
        The space.
    number : int
        The segment.
    vectors : mapping of int to ndarray of shape (dim,) or (tokens, dim)
        New vectors by row, as many as there were; all other live rows keep theirs.
    """
    with store.writer() as now:
        space = now.spaces[name]
        (old,) = (view for view in space.segments if view.state.number == number)

        def read(view: SegmentView, slots: np.ndarray) -> FloatArray:
            rows = view.rows[slots].tolist()
            kept = [i for i, row in enumerate(rows) if row not in vectors]
            out = np.empty((len(rows), space.definition.dim), dtype=np.float32)
            first = np.searchsorted(view.rows, view.rows[slots])
            for i, row in enumerate(rows):
                if row in vectors:
                    # Of several vectors, the one whose place in the record this slot is.
                    out[i] = np.atleast_2d(vectors[row])[slots[i] - first[i]]
            if kept:
                out[kept] = view.matrix(space.folder)[slots[kept]]
            return out

        _rewrite(store, space, [old], read)


def _live_parts(
    live: BitmapArray, old: Sequence[SegmentView], read: _Reader, *, dim: int
) -> Iterator[tuple[np.ndarray, FloatArray]]:
    """Yield live rows in ascending order, as segments must hold them, with their vectors."""
    slots = [np.flatnonzero(bitmaps.contains_rows(live, view.rows)) for view in old]
    owner = np.concatenate([np.full(len(part), i) for i, part in enumerate(slots)])
    place = np.concatenate(slots)
    rows = np.concatenate([view.rows[part] for view, part in zip(old, slots, strict=True)])
    order = np.argsort(rows, kind="stable")
    begin = 0
    while begin < len(order):
        end = begin + _PART
        while end < len(order) and rows[order[end]] == rows[order[end - 1]]:
            # The tokens of a record stay together.
            end += 1
        part, begin = order[begin:end], end
        X = np.empty((len(part), dim), dtype=np.float32)
        for i, view in enumerate(old):
            at = owner[part] == i
            if at.any():
                X[at] = read(view, place[part[at]])
        yield rows[part], X


def _rewrite(store: Store, space: SpaceState, old: Sequence[SegmentView], read: _Reader) -> None:
    now, name, place = store.generation, space.definition.name, space.definition.place
    gone = {view.state.number for view in old}
    kept = [view for view in space.segments if view.state.number not in gone]
    fresh = replace(space, segments=())
    first = next_number = space.folder.first_free(store.next_segment(place))
    try:
        for rows, X in _live_parts(now.live, old, read, dim=space.definition.dim):
            changed, extents = space.folder.append(fresh.states, X, rows, next_number=next_number)
            fresh = fresh.appended(changed, extents)
            next_number = max(next_number, 1 + max(state.number for state in fresh.states))
    except OSError as error:
        with suppress(OSError):
            # Give the space back now rather than at the next start: the disk may be full because of it.
            for number in range(first, next_number + 1):
                store.files.remove(space.folder.path(number))
        raise storage_error(error, store.path, "compact") from error
    views = sorted([*kept, *fresh.segments], key=lambda view: view.state.number)
    spaces = {**now.spaces, name: replace(space, segments=tuple(views))}

    def write(connection: sqlite3.Connection) -> None:
        tables.delete_segments(connection, place, sorted(gone))
        for view in fresh.segments:
            tables.insert_extents(connection, place, [view.state], [Extent(view.state.number, 0, view.rows)])
        tables.set_next_segment(connection, place, next_number)

    store.publish(replace(now, number=now.number + 1, spaces=spaces, _indexes={}), write)
    for view in fresh.segments:
        space.folder.trust(view.state, before=0)
    with suppress(OSError):
        # Whatever stays behind is removed by the next writer that opens the collection.
        for view in old:
            store.files.remove(space.folder.path(view.state.number))
