"""One immutable state of a collection, as searches see it.

A writer builds the next generation beside the current one and swaps a single reference after its commit, so a search
never sees half a change and never takes a lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from orthant.collection.columns.table import Columns
from orthant.collection.lexical.index import Lexical
from orthant.collection.spaces import SpaceDefinition
from orthant.collection.storage.segments import Extent, SegmentFolder, SegmentState
from orthant.index.flat import Flat
from orthant.kernels import bitmaps
from orthant.kernels.distances import inverse_norms
from orthant.types import BitmapArray, FloatArray, IdArray

__all__ = ["Generation", "Growing", "SpaceState"]


class Growing:
    """An array that grows at its end while earlier, shorter views stay valid.

    Only one writer extends it; a view handed out earlier never sees the new part.
    """

    def __init__(self, dtype: Any) -> None:
        self._buffer = np.empty(0, dtype=dtype)
        self._used = 0

    def extended(self, length: int, more: np.ndarray) -> np.ndarray:
        """Return a view of the first ``length`` values followed by ``more``.

        Parameters
        ----------
        length : int
            Values to keep.
        more : ndarray of shape (m,)
            Values to append.

        Returns
        -------
        ndarray of shape (length + m,)
            A view; amortised cost O(m).
        """
        total = length + len(more)
        # A failed commit leaves values behind `length` that no view shows; a second branch must not overwrite them.
        if total > len(self._buffer) or self._used > length:
            grown = np.empty(max(total, 2 * length, 1024), dtype=self._buffer.dtype)
            grown[:length] = self._buffer[:length]
            self._buffer = grown
        self._buffer[length:total] = more
        self._used = total
        return self._buffer[:total]

    def view(self, length: int) -> np.ndarray:
        """Return the first ``length`` values.

        Parameters
        ----------
        length : int
            At most what was appended.

        Returns
        -------
        ndarray of shape (length,)
            A view.
        """
        return self._buffer[:length]


@dataclass(frozen=True)
class SegmentView:
    """One segment and the row of every slot.

    Attributes
    ----------
    state : SegmentState
        The committed part.
    rows : ndarray of shape (slots,), int64
        Row of every slot.
    """

    state: SegmentState
    rows: IdArray
    _maps: list[FloatArray] = field(default_factory=list, repr=False, compare=False)

    def matrix(self, folder: SegmentFolder) -> FloatArray:
        """Return the mapped vectors; the map is kept, so that it outlives the file's removal by a compaction.

        Parameters
        ----------
        folder : SegmentFolder
            Where the segment lies.

        Returns
        -------
        ndarray of shape (slots, dim), float32
            A read-only memory map.
        """
        if not self._maps:
            self._maps.append(folder.map(self.state))
        return self._maps[0]


class _Caches:
    """What the generations of one space share: growing row arrays and inverse norms per segment."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.rows: dict[int, Growing] = {}
        self.norms: dict[int, tuple[Growing, int]] = {}

    def only(self, numbers: Sequence[int]) -> _Caches:
        with self.lock:
            for cache in (self.rows, self.norms):
                for number in set(cache) - set(numbers):
                    del cache[number]
        return self

    def norms_of(self, number: int, matrix: FloatArray) -> FloatArray:
        with self.lock:
            growing, known = self.norms.get(number, (Growing(np.float32), 0))
            if known < len(matrix):
                view = growing.extended(known, inverse_norms(matrix[known:]))
                self.norms[number] = (growing, len(matrix))
                return view
            return growing.view(len(matrix))


@dataclass(frozen=True)
class SpaceState:
    """One space within a generation.

    Attributes
    ----------
    definition : SpaceDefinition
        What the space holds.
    canaries : ndarray
        Canary vectors; empty when the user brings vectors.
    folder : SegmentFolder
        Where its segments lie.
    segments : tuple of SegmentView
        Its segments in order.
    """

    definition: SpaceDefinition
    canaries: FloatArray
    folder: SegmentFolder
    segments: tuple[SegmentView, ...] = ()
    caches: _Caches = field(default_factory=_Caches, repr=False)

    @property
    def slots(self) -> int:
        """Stored vectors, live and dead."""
        return sum(view.state.slots for view in self.segments)

    @property
    def states(self) -> list[SegmentState]:
        """The committed segments."""
        return [view.state for view in self.segments]

    def appended(self, changed: Sequence[SegmentState], extents: Sequence[Extent]) -> SpaceState:
        """Return the space with more vectors.

        Parameters
        ----------
        changed : sequence of SegmentState
            New states of the segments that grew.
        extents : sequence of Extent
            Where the new rows lie, one per changed segment.

        Returns
        -------
        SpaceState
            A new state; this one stays valid.
        """
        views = {view.state.number: view for view in self.segments}
        for state, extent in zip(changed, extents, strict=True):
            growing = self.caches.rows.setdefault(state.number, Growing(np.int64))
            views[state.number] = SegmentView(state, growing.extended(extent.first_slot, extent.rows))
        return replace(self, segments=tuple(views[number] for number in sorted(views)))

    def flat(self, live: BitmapArray) -> Flat:
        """Return the exact index over the mapped segments, checksums verified.

        Parameters
        ----------
        live : ndarray of uint64
            Live rows.

        Returns
        -------
        Flat
            Immutable; reads the files through memory maps.
        """
        blocks: list[tuple[Any, ...]] = []
        for view in self.segments:
            if view.state.slots == 0:
                continue
            matrix = view.matrix(self.folder)
            self.folder.require_sound(view.state, matrix)
            if self.definition.metric == "cosine":
                blocks.append((matrix, view.rows, self.caches.norms_of(view.state.number, matrix)))
            else:
                blocks.append((matrix, view.rows))
        return Flat.over(blocks, dim=self.definition.dim, metric=self.definition.metric, live=live)

    def vectors_of(self, rows: IdArray) -> tuple[np.ndarray, FloatArray]:
        """Return the stored vectors of some rows.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Rows in any order.

        Returns
        -------
        present : ndarray of shape (m,), bool
            Which rows have a vector in this space.
        X : ndarray of shape (present.sum(), dim), float32
            Their vectors, in the order of ``rows``.
        """
        out = np.zeros((len(rows), self.definition.dim), dtype=np.float32)
        present = np.zeros(len(rows), dtype=bool)
        for view in self.segments:
            slots = np.searchsorted(view.rows, rows)
            inside = slots < len(view.rows)
            inside[inside] = view.rows[slots[inside]] == rows[inside]
            if inside.any():
                self.folder.require_sound(view.state, view.matrix(self.folder))
                out[inside] = view.matrix(self.folder)[slots[inside]]
                present |= inside
        return present, out[present]

    def hold(self) -> None:
        """Map every segment now, so that a compaction cannot take it away from a long read."""
        for view in self.segments:
            view.matrix(self.folder)

    def live_count(self, live: BitmapArray) -> int:
        """Return the number of stored vectors whose row is live.

        Parameters
        ----------
        live : ndarray of uint64
            Live rows.

        Returns
        -------
        int
            Live vectors.
        """
        return sum(int(bitmaps.contains_rows(live, view.rows).sum()) for view in self.segments)


@dataclass(frozen=True)
class Generation:
    """Everything a search needs, as of one commit.

    Attributes
    ----------
    number : int
        Counts commits.
    next_row : int
        Row that the next record gets.
    live : ndarray of uint64
        Bitmap of the rows that exist.
    columns : Columns
        Metadata as typed columns.
    lexical : Lexical
        Texts as postings.
    spaces : mapping of str to SpaceState
        Vector spaces by name.
    """

    number: int
    next_row: int
    live: BitmapArray
    columns: Columns
    lexical: Lexical
    spaces: Mapping[str, SpaceState]
    _indexes: dict[str, Flat] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def count(self) -> int:
        """Number of live records."""
        return bitmaps.count_bits(self.live)

    def index(self, space: str) -> Flat:
        """Return the exact index of a space, made on first use.

        Parameters
        ----------
        space : str
            Its name.

        Returns
        -------
        Flat
            Shared by every search of this generation.
        """
        index = self._indexes.get(space)
        if index is None:
            index = self._indexes[space] = self.spaces[space].flat(self.live)
        return index
