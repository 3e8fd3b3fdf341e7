"""One immutable state of a collection, as searches see it.

A writer builds the next generation beside the current one and swaps a single reference after its commit, so a search
never sees half a change and never takes a lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from orthant.collection.adapting.state import StoredAdapter
from orthant.collection.columns.table import Columns
from orthant.collection.lexical.index import Lexical
from orthant.collection.spaces import SpaceDefinition, require_dense
from orthant.collection.sparse.state import SparseState
from orthant.collection.storage.graphs import SpaceGraph
from orthant.collection.storage.segments import Extent, SegmentFolder, SegmentState
from orthant.collection.storage.settings.compression import StoredCompression
from orthant.collection.storage.settings.fusion import StoredFusion
from orthant.collection.storage.settings.shortcuts import DEFAULT_SHORTCUT, StoredShortcut
from orthant.collection.upgrade.state import NO_UPGRADE, UpgradeState
from orthant.index.flat import Flat
from orthant.kernels import bitmaps
from orthant.kernels.distances import inverse_norms
from orthant.kernels.files.rows import gather, release
from orthant.threads import Turn
from orthant.types import BitmapArray, FloatArray, IdArray, Ragged

__all__ = ["Generation", "Growing", "SpaceState", "distinct", "runs"]

_T = TypeVar("_T")


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


def runs(starts: IdArray, lengths: IdArray) -> IdArray:
    """Return the numbers of several ranges, one behind the other.

    Parameters
    ----------
    starts : ndarray of shape (m,), int64
        First number of each.
    lengths : ndarray of shape (m,), int64
        How many.

    Returns
    -------
    ndarray of shape (lengths.sum(),), int64
        ``starts[0], starts[0] + 1, ...``.
    """
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(int(lengths.sum()))


def distinct(rows: IdArray) -> IdArray:
    """Return each row once of rows that stand side by side, as those of tokens do.

    Parameters
    ----------
    rows : ndarray of shape (n,), int64
        Ascending.

    Returns
    -------
    ndarray of shape (m,), int64
        Ascending.
    """
    return rows[np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))[: len(rows)]]


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
        self.lock = Turn()
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
                release(matrix)
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
    graph : SpaceGraph or None
        The graph over its older rows, or their codes, where there are any.
    compression : StoredCompression or None
        The codes that are wanted in place of a graph.
    shortcut : StoredShortcut
        Of a space of tokens: what proposes candidates in place of a graph.
    """

    definition: SpaceDefinition
    canaries: FloatArray
    folder: SegmentFolder
    segments: tuple[SegmentView, ...] = ()
    caches: _Caches = field(default_factory=_Caches, repr=False)
    graph: SpaceGraph | None = None
    compression: StoredCompression | None = None
    shortcut: StoredShortcut = DEFAULT_SHORTCUT

    @property
    def codes(self) -> str | None:
        """Name of the codes that are wanted; None for a graph or a scan of the vectors."""
        if self.definition.kind == "tokens":
            return self.shortcut.codes
        return None if self.compression is None else self.compression.codes

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

    def numbers(self, *, below: int) -> frozenset[int]:
        """Return the numbers of the segments that hold a row below a given one.

        Parameters
        ----------
        below : int
            The row.

        Returns
        -------
        frozenset of int
            Numbers of segments.
        """
        return frozenset(view.state.number for view in self.segments if len(view.rows) and view.rows[0] < below)

    def blocks(self, *, first_row: int = 0, stop_row: int | None = None) -> list[tuple[Any, ...]]:
        """Return the stored vectors of a range of rows where they lie, checksums verified.

        Parameters
        ----------
        first_row : int, default 0
            Lowest row.
        stop_row : int, optional
            Rows from here on are left out.

        Returns
        -------
        list of (matrix, rows) or (matrix, rows, inverse_norms)
            As ``Flat.over`` takes them; views of memory maps, dead rows included. Of a space of tokens, the row of
            each token.
        """
        out: list[tuple[Any, ...]] = []
        for view in self.segments:
            begin = int(np.searchsorted(view.rows, first_row))
            end = len(view.rows) if stop_row is None else int(np.searchsorted(view.rows, stop_row))
            if end <= begin:
                continue
            matrix = view.matrix(self.folder)
            self.folder.require_sound(view.state, matrix)
            block: tuple[Any, ...] = (matrix[begin:end], view.rows[begin:end])
            if self.definition.metric == "cosine":
                block = (*block, self.caches.norms_of(view.state.number, matrix)[begin:end])
            out.append(block)
        return out

    def flat(self, live: BitmapArray, *, first_row: int = 0) -> Flat:
        """Return the exact index over the mapped segments, checksums verified.

        Parameters
        ----------
        live : ndarray of uint64
            Live rows.
        first_row : int, default 0
            Leave out rows below it.

        Returns
        -------
        Flat
            Immutable; reads the files through memory maps.
        """
        require_dense(self.definition)
        blocks = self.blocks(first_row=first_row)
        return Flat.over(blocks, dim=self.definition.dim, metric=self.definition.metric, live=live)

    def slots_from(self, row: int) -> int:
        """Return the number of stored vectors, live and dead, of rows from a given one on.

        Parameters
        ----------
        row : int
            Lowest row that counts.

        Returns
        -------
        int
            Slots; O(log n) per segment.
        """
        return sum(len(view.rows) - int(np.searchsorted(view.rows, row)) for view in self.segments)

    def attached_graph(self) -> Any | None:
        """Return the graph over these segments, or None where there is none or its file is damaged.

        Returns
        -------
        Graph or None
            Loaded and verified at the first call.
        """
        if self.graph is None:
            return None
        below = self.graph.below
        numbers = self.numbers(below=below)
        return self.graph.index(
            frozenset(state.number for state in self.states), lambda: (numbers, self.blocks(stop_row=below))
        )

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
        require_dense(self.definition)
        out = np.zeros((len(rows), self.definition.dim), dtype=np.float32)
        present = np.zeros(len(rows), dtype=bool)
        for view in self.segments:
            slots = np.searchsorted(view.rows, rows)
            inside = slots < len(view.rows)
            inside[inside] = view.rows[slots[inside]] == rows[inside]
            if inside.any():
                self.folder.require_sound(view.state, view.matrix(self.folder))
                out[inside] = gather(view.matrix(self.folder), slots[inside])
                present |= inside
        return present, out[present]

    def tokens_of(self, rows: IdArray) -> tuple[np.ndarray, Ragged]:
        """Return the stored token vectors of some rows.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Rows in any order.

        Returns
        -------
        present : ndarray of shape (m,), bool
            Which rows have tokens in this space.
        tokens : Ragged of m rows
            Their vectors as float32; a row without any is empty.
        """
        lengths = np.zeros(len(rows), dtype=np.int64)
        parts = []
        for view in self.segments:
            first = np.searchsorted(view.rows, rows)
            found = np.searchsorted(view.rows, rows, side="right") - first
            if found.any():
                self.folder.require_sound(view.state, view.matrix(self.folder))
                parts.append((view.matrix(self.folder), first, found))
                lengths += found
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        values = np.empty((int(offsets[-1]), self.definition.dim), dtype=np.float32)
        for matrix, first, found in parts:
            held = np.flatnonzero(found)
            values[runs(offsets[held], found[held])] = matrix[runs(first[held], found[held])]
        return lengths > 0, Ragged(values, offsets)

    def stored(self, rows: IdArray) -> tuple[IdArray, FloatArray]:
        """Return what is stored of some rows, as a batch takes it.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Rows in any order.

        Returns
        -------
        positions : ndarray of shape (T,), int64
            Place among ``rows`` of the row that each vector belongs to, ascending.
        X : ndarray of shape (T, dim), float32
            Vectors, or tokens.
        """
        if self.definition.kind == "tokens":
            tokens = self.tokens_of(rows)[1]
            return np.repeat(np.arange(len(rows), dtype=np.int64), np.diff(tokens.offsets)), tokens.values
        present, X = self.vectors_of(rows)
        return np.flatnonzero(present), X

    def by_row(self, rows: IdArray) -> dict[int, FloatArray]:
        """Return what is stored of some rows, by row.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Rows in any order.

        Returns
        -------
        dict of int to ndarray of shape (dim,) or (tokens, dim), float32
            Without the rows of which nothing is stored.
        """
        if self.definition.kind == "tokens":
            present, tokens = self.tokens_of(rows)
            return {int(rows[i]): tokens[i] for i in np.flatnonzero(present).tolist()}
        present, X = self.vectors_of(rows)
        return dict(zip(rows[present].tolist(), X, strict=True))

    def rows_bitmap(self) -> BitmapArray:
        """Return the rows that have a stored vector, dead ones included.

        Returns
        -------
        ndarray of uint64
            Bitmap; O(slots).
        """
        rows = [view.rows for view in self.segments]
        return bitmaps.from_rows(np.concatenate(rows) if rows else np.zeros(0, np.int64))

    def hold(self) -> None:
        """Map every segment now, so that a compaction cannot take it away from a long read."""
        for view in self.segments:
            view.matrix(self.folder)

    def live_count(self, live: BitmapArray, *, below: int | None = None) -> int:
        """Return the number of stored vectors whose row is live.

        Parameters
        ----------
        live : ndarray of uint64
            Live rows.
        below : int, optional
            Count rows below it only.

        Returns
        -------
        int
            Live vectors.
        """
        parts = (
            view.rows if below is None else view.rows[: int(np.searchsorted(view.rows, below))]
            for view in self.segments
        )
        return sum(int(bitmaps.contains_rows(live, rows).sum()) for rows in parts)

    def live_records(self, live: BitmapArray, *, below: int | None = None) -> int:
        """Return the number of live records with a vector, or with tokens.

        Parameters
        ----------
        live : ndarray of uint64
            Live rows.
        below : int, optional
            Count rows below it only.

        Returns
        -------
        int
            At most ``live_count``, which counts tokens one by one.
        """
        return sum(
            int(bitmaps.contains_rows(live, rows if below is None else rows[rows < below]).sum())
            for rows in map(distinct, (view.rows for view in self.segments))
        )


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
    sparse : mapping of str to SparseState
        Spaces of weighted terms by name; no name is in both.
    fusion : StoredFusion or None
        How hybrid searches fuse their legs where a call does not say; None for the default.
    upgrade : UpgradeState
        The open upgrade of a space, if there is one.
    adapters : mapping of str to StoredAdapter
        Corrections of queries by space.
    """

    number: int
    next_row: int
    live: BitmapArray
    columns: Columns
    lexical: Lexical
    spaces: Mapping[str, SpaceState]
    sparse: Mapping[str, SparseState] = field(default_factory=dict)
    fusion: StoredFusion | None = None
    upgrade: UpgradeState = NO_UPGRADE
    adapters: Mapping[str, StoredAdapter] = field(default_factory=dict)
    _indexes: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def count(self) -> int:
        """Number of live records."""
        return bitmaps.count_bits(self.live)

    def at(self, place: str) -> SpaceState | None:
        """Return the space whose vectors lie at a place, whatever its name.

        Parameters
        ----------
        place : str
            Name of the folder.

        Returns
        -------
        SpaceState or None
            None where there is none.
        """
        return next((space for space in self.spaces.values() if space.definition.place == place), None)

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
        return self.kept(("flat", space), lambda: self.spaces[space].flat(self.live))

    def kept(self, key: tuple[str, str], make: Callable[[], _T]) -> _T:
        """Return what was made for this generation under a key, made on first use.

        Parameters
        ----------
        key : (str, str)
            Kind and space.
        make : callable
            Makes it; two threads may both do so, and one result is kept.

        Returns
        -------
        object
            Shared by every search of this generation.
        """
        found: _T | None = self._indexes.get(key)
        return self._indexes.setdefault(key, make()) if found is None else found
