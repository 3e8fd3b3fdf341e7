"""What a graph is made of: one row per slot in a handful of arrays, and where the full vectors lie."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.index.blocks import IdRuns
from orthant.index.vamana.space import Space
from orthant.kernels import bitmaps
from orthant.kernels.files.rows import Files, table_of
from orthant.kernels.graph import sketch
from orthant.kernels.graph.beam import NO_SHIFT, VIEW
from orthant.types import FloatArray, IdArray

__all__ = ["SLOT_ARRAYS", "State", "Vectors"]

SLOT_ARRAYS = ("sketches", "codes", "links", "twins", "ids")
"""Arrays with one row per slot that a saved graph consists of."""

_MOST_SLOTS = (1 << 31) - 64


@dataclass
class Vectors:
    """Full float32 vectors: either room of our own, slot by slot, or rows of arrays that somebody else keeps.

    Attributes
    ----------
    own : ndarray of shape (capacity, dim), float32, or None
        Our room; None when the vectors lie elsewhere.
    kept : list of (ndarray, ndarray)
        Arrays whose memory ``State.addresses`` points into, and the slots of their rows, -1 where none.
    files : list of ndarray of int64
        Tables of the files behind these; views have the addresses of all but the last as well.
    """

    own: FloatArray | None
    kept: list[tuple[FloatArray, npt.NDArray[np.int32]]] = field(default_factory=list)
    files: list[Files] = field(default_factory=list)


@dataclass
class State:
    """A graph. Slots below ``used`` are in use, dead, or free; rows beyond are room to grow.

    Attributes
    ----------
    space : Space
        How vectors are encoded.
    sketches, codes : ndarray of shape (capacity, 64) and (capacity, width), uint8
        Codes of both levels.
    links : ndarray of shape (capacity, room), int32
        Neighbours, -1 behind the last.
    twins : ndarray of shape (capacity,), int32
        Next slot with the same codes, or -1.
    ids : ndarray of shape (capacity,), int64
        Ids; -1 in free slots.
    addresses : ndarray of shape (capacity,), int64
        Where each full vector begins in memory.
    scales : ndarray of shape (capacity,), float32
        One over the norm, for cosine.
    dead : ndarray of uint64
        Bitmap over slots: removed, or free.
    linked : ndarray of uint64
        Bitmap over slots: part of the graph, which twins and free slots are not.
    entries : ndarray of shape (e,), int32
        Slots where searches begin.
    free : ndarray of shape (f,), int32
        Free slots, which nothing links to.
    used : int
        Slots that were ever in use.
    dead_count : int
        Slots that are dead and still linked to.
    twin_count : int
        Slots that are another's twin.
    unchecked : int
        Slots added since all nodes were last known to be reachable.
    highest : int
        Largest id ever held.
    runs : IdRuns or None
        Slots by id where ids are too far apart for ``table``.
    hashes : IdRuns or None
        Nodes by the hash of their codes; made when vectors are first added to a graph that exists.
    table : ndarray of int32
        Slot of each id, or of one that had it before.
    """

    space: Space
    sketches: npt.NDArray[Any]
    codes: npt.NDArray[Any]
    links: npt.NDArray[np.int32]
    twins: npt.NDArray[np.int32]
    ids: IdArray
    addresses: IdArray
    scales: FloatArray
    dead: npt.NDArray[np.uint64]
    linked: npt.NDArray[np.uint64]
    vectors: Vectors
    entries: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    free: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    used: int = 0
    dead_count: int = 0
    twin_count: int = 0
    unchecked: int = 0
    highest: int = -1
    runs: IdRuns | None = None
    hashes: IdRuns | None = None
    table: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def sparse(self) -> bool:
        """Whether ids are too far apart for a table by id."""
        return self.runs is not None

    @classmethod
    def empty(cls, space: Space, room: int, capacity: int, *, own: bool) -> State:
        """Return a state without vectors, with room for some.

        Parameters
        ----------
        space : Space
            How vectors are encoded.
        room : int
            Links that fit into a row.
        capacity : int
            Vectors that fit before arrays grow; at least 64 do.
        own : bool
            Whether full vectors are kept here.

        Returns
        -------
        State
            The state.
        """
        capacity = max(64, capacity)
        return cls(
            space=space,
            sketches=sketch.aligned_rows(capacity, sketch.SKETCH_BYTES),
            codes=sketch.aligned_rows(capacity, space.width),
            links=_aligned_ints(capacity, room),
            twins=np.full(capacity, -1, np.int32),
            ids=np.full(capacity, -1, np.int64),
            addresses=np.zeros(capacity, np.int64),
            scales=np.ones(capacity, np.float32),
            dead=np.zeros(bitmaps.words_for(capacity), np.uint64),
            linked=np.zeros(bitmaps.words_for(capacity), np.uint64),
            vectors=Vectors(np.empty((capacity, space.dim), np.float32) if own else None),
        )

    @property
    def capacity(self) -> int:
        """Slots that fit before arrays grow."""
        return len(self.ids)

    @property
    def room(self) -> int:
        """Links that fit into a row."""
        return int(self.links.shape[1])

    @property
    def live(self) -> int:
        """Vectors that a search may return."""
        return self.used - len(self.free) - self.dead_count

    def view(self, *, sketched: bool, filtered: bool = False) -> npt.NDArray[np.int64]:
        """Return the row of addresses and sizes that kernels read; see ``kernels.graph.beam.VIEW``.

        Parameters
        ----------
        sketched : bool
            Whether sketches decide.
        filtered : bool, default False
            Whether filters will be looked up by slot, where ids follow slots: one look at all ids, a millisecond for a
            million.

        Returns
        -------
        ndarray of shape (22,), int64
            Valid while no array of the state is replaced.
        """
        arrays = (self.sketches, self.codes, self.links, self.twins, self.ids, self.addresses, self.scales, self.dead)
        numbers = {
            "slots": self.used,
            "width": self.space.width,
            "degree": self.room,
            "dims": self.space.dims,
            "entries": self.entries.ctypes.data,
            "entry_count": len(self.entries),
            "sketched": int(sketched),
            "dead_count": self.dead_count,
            "full_dim": self.space.dim,
            "twin_count": self.twin_count,
            "bits": self.space.bits,
            "shift": self._shift() if filtered else NO_SHIFT,
            "reduced": int(self.space.basis is not None),
            "files": self._files(),
        }
        return np.array(
            [*(array.__array_interface__["data"][0] for array in arrays), *(numbers[name] for name in VIEW[8:])],
            np.int64,
        )

    def _shift(self) -> int:
        """Return what is to be added to every live slot for its id, where that is one number."""
        slots = np.flatnonzero(~bitmaps.to_mask(self.dead, self.used)) if self.dead_count or len(self.free) else None
        ids = self.ids[: self.used] if slots is None else self.ids[slots]
        if not len(ids):
            return NO_SHIFT
        places = np.arange(self.used) if slots is None else slots
        shift = int(ids[0] - places[0])
        return shift if bool((ids == places + shift).all()) else NO_SHIFT

    def _files(self) -> int:
        """Return the address of the table of files behind full vectors that lie elsewhere, 0 without any."""
        table, held = table_of(X for X, _ in self.vectors.kept), self.vectors.files
        if table is None:
            return 0
        if not held or not np.array_equal(held[-1], table):
            held.append(table)
        return int(held[-1].ctypes.data)

    def locate(self, ids: IdArray) -> IdArray:
        """Find the slots of ids.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
            Any numbers.

        Returns
        -------
        ndarray of shape (m,), int64
            Slots of live vectors, -1 where an id is absent.
        """
        out = np.full(len(ids), -1, dtype=np.int64)
        if self.runs is None:
            inside = np.flatnonzero((ids >= 0) & (ids < len(self.table)))
            slots = self.table[ids[inside]].astype(np.int64)
            fits = (slots >= 0) & (self.ids[slots] == ids[inside]) & ~self.is_dead(np.maximum(slots, 0))
            out[inside[fits]] = slots[fits]
            return out
        for places, slots in self.runs.find(ids):
            # A slot may have been freed and given to another id since.
            fits = (self.ids[slots] == ids[places]) & ~self.is_dead(slots)
            out[places[fits]] = slots[fits]
        return out

    def is_dead(self, slots: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return for each slot whether it was removed.

        Parameters
        ----------
        slots : ndarray of shape (m,), int
            Slots, none negative.

        Returns
        -------
        ndarray of shape (m,), bool
            True where a slot was removed or is free.
        """
        return bitmaps.contains_rows(self.dead, np.asarray(slots, np.int64))

    def live_slots(self) -> IdArray:
        """Return the slots a search may return, ascending."""
        mask = ~bitmaps.to_mask(self.dead, self.used)
        return np.flatnonzero(mask)

    def nodes(self) -> IdArray:
        """Return the slots that are live parts of the graph and equal to no other, ascending."""
        linked = bitmaps.to_mask(self.linked, self.used) & ~bitmaps.to_mask(self.dead, self.used)
        return np.flatnonzero(linked & (self.twins[: self.used] < 0))

    def take_slots(self, count: int) -> npt.NDArray[np.int32]:
        """Hand out slots for new vectors; arrays grow where needed.

        Parameters
        ----------
        count : int
            How many.

        Returns
        -------
        ndarray of shape (count,), int32
            Free ones first, then new ones.
        """
        reused = min(count, len(self.free))
        taken, self.free = self.free[:reused], self.free[reused:]
        fresh = count - reused
        if self.used + fresh > self.capacity:
            self.grow(self.used + fresh)
        slots = np.concatenate([taken, np.arange(self.used, self.used + fresh, dtype=np.int32)])
        self.used += fresh
        self.sketches[taken] = 0
        self.codes[taken] = 0
        self.dead = bitmaps.clear_rows(self.dead, slots.astype(np.int64))
        return slots

    def grow(self, wanted: int, most: int | None = None) -> None:
        """Make room for slots, half again as many as before.

        Parameters
        ----------
        wanted : int
            Slots that must fit.
        most : int, optional
            Slots beyond which there is only room for what must fit.
        """
        size = self.capacity + self.capacity // 2
        self._resize(max(wanted, size if most is None else min(size, most)))

    def _resize(self, capacity: int) -> None:
        capacity = min(capacity, _MOST_SLOTS)
        fresh = State.empty(self.space, self.room, capacity, own=self.vectors.own is not None)
        for name in (*SLOT_ARRAYS, "addresses", "scales"):
            getattr(fresh, name)[: self.used] = getattr(self, name)[: self.used]
            setattr(self, name, getattr(fresh, name))
        for name in ("dead", "linked"):
            # There may be less room than before; bits beyond the slots in use are zero.
            old = getattr(self, name)[: len(getattr(fresh, name))]
            getattr(fresh, name)[: len(old)] = old
            setattr(self, name, getattr(fresh, name))
        if self.vectors.own is not None and fresh.vectors.own is not None:
            fresh.vectors.own[: self.used] = self.vectors.own[: self.used]
            self.vectors = fresh.vectors
            self.point_at_own(np.arange(self.used))

    def copy(self) -> State:
        """Return a state that can be changed while this one is searched; vectors elsewhere are not copied."""
        out = State(**{**vars(self), "vectors": Vectors(None, list(self.vectors.kept)), "table": self.table.copy()})
        if self.vectors.own is not None:
            out.vectors.own = self.vectors.own
        # A quarter of room: whoever copies a graph does so to extend it.
        out._resize(self.used + self.used // 4 + 64)
        return out

    def point_at_own(self, slots: npt.NDArray[Any]) -> None:
        """Let the addresses of slots point into our own room.

        Parameters
        ----------
        slots : ndarray of shape (m,), int
            Slots; nothing happens where vectors lie elsewhere.
        """
        own = self.vectors.own
        if own is not None:
            self.addresses[slots] = own.ctypes.data + np.asarray(slots, np.int64) * (4 * self.space.dim)

    def place(self, slots: npt.NDArray[np.int32], X: FloatArray, ids: IdArray) -> None:
        """Copy full vectors and ids of new slots into our own room.

        Parameters
        ----------
        slots : ndarray of shape (m,), int32
            The slots.
        X : ndarray of shape (m, dim), float32
            Their vectors.
        ids : ndarray of shape (m,), int64
            Their ids.
        """
        if self.vectors.own is not None:
            self.vectors.own[slots] = X
            self.point_at_own(slots)
        self.ids[slots] = ids
        self.note(ids, slots)

    def place_outside(
        self, slots: npt.NDArray[np.int32], X: FloatArray, kept: npt.NDArray[np.int64], ids: IdArray
    ) -> None:
        """Note where the vectors of new slots lie, and their ids.

        Parameters
        ----------
        slots : ndarray of shape (m,), int32
            The slots.
        X : ndarray of shape (n, dim), float32
            Somebody else's array; kept alive.
        kept : ndarray of shape (m,), int64
            The row of each slot.
        ids : ndarray of shape (m,), int64
            Their ids.
        """
        self.point_outside(slots, X, kept)
        self.ids[slots] = ids
        self.note(ids, slots)

    def point_outside(self, slots: npt.NDArray[np.int32], X: FloatArray, kept: npt.NDArray[np.int64]) -> None:
        """Let the addresses of slots point at rows of somebody else's array.

        Parameters
        ----------
        slots : ndarray of shape (m,), int32
            The slots.
        X : ndarray of shape (n, dim), float32
            Somebody else's array; kept alive.
        kept : ndarray of shape (m,), int64
            The row of each slot.
        """
        rows = np.full(len(X), -1, np.int32)
        rows[kept] = slots
        self.vectors.kept.append((X, rows))
        self.addresses[slots] = X.ctypes.data + kept * X.strides[0]

    def swap_outside(self, one: int, other: int) -> None:
        """Exchange which rows of somebody else's arrays two slots stand for, as their addresses were exchanged.

        Parameters
        ----------
        one, other : int
            The slots.
        """
        for i, (X, rows) in enumerate(self.vectors.kept):
            at, to = rows == one, rows == other
            if at.any() or to.any():
                # Other states may share the array.
                rows = rows.copy()
                rows[at], rows[to] = other, one
                self.vectors.kept[i] = (X, rows)

    def note(self, ids: IdArray, slots: npt.NDArray[np.int32]) -> None:
        """Remember where ids are: in a table while they are dense, in sorted runs from then on.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
            Ids.
        slots : ndarray of shape (m,), int32
            Their slots; what was noted of an id before is forgotten.
        """
        highest = int(ids.max(initial=-1))
        self.highest = max(self.highest, highest)
        if self.runs is not None:
            self.runs = self.runs.add(ids, slots.astype(np.int64))
            return
        if highest >= 8 * self.used + 65_536:
            used = np.flatnonzero(self.ids[: self.used] >= 0)
            self.runs = IdRuns().add(self.ids[used], used.astype(np.int64))
            self.table = np.zeros(0, np.int32)
            return
        if highest >= len(self.table):
            grown = np.full(max(highest + 1, len(self.table) + len(self.table) // 2, 1024), -1, np.int32)
            grown[: len(self.table)] = self.table
            self.table = grown
        self.table[ids] = slots

    def encode(self, slots: npt.NDArray[np.int32], X: FloatArray) -> None:
        """Encode the vectors of new slots.

        Parameters
        ----------
        slots : ndarray of shape (m,), int32
            The slots.
        X : ndarray of shape (m, dim), float32
            Their vectors.
        """
        self.sketches[slots], self.codes[slots] = self.space.encode(np.ascontiguousarray(X))

    def own_arrays(self) -> None:
        """Copy what is mapped or shared, so that it can be changed in place."""
        if not all(getattr(self, name).flags.writeable for name in ("sketches", "codes", "links")) or (
            self.vectors.own is not None and not self.vectors.own.flags.writeable
        ):
            self._resize(self.used + self.used // 4 + 64)

    def memory(self) -> dict[str, int]:
        """Return bytes by part; full vectors that lie elsewhere count nothing."""
        out = {name: getattr(self, name)[: self.used].nbytes for name in SLOT_ARRAYS}
        out["addresses"] = self.addresses[: self.used].nbytes + self.scales[: self.used].nbytes
        out["bitmaps"] = self.dead.nbytes + self.linked.nbytes
        out["lookup"] = self.table.nbytes if self.runs is None else self.runs.nbytes
        out["lookup"] += 0 if self.hashes is None else self.hashes.nbytes
        out["vectors"] = 0 if self.vectors.own is None else self.vectors.own[: self.used].nbytes
        out["spare"] = sum(getattr(self, name).nbytes - getattr(self, name)[: self.used].nbytes for name in SLOT_ARRAYS)
        return out


def _aligned_ints(count: int, width: int) -> npt.NDArray[np.int32]:
    out = sketch.aligned_rows(count, 4 * width).view(np.int32)
    out[:] = -1
    return out
