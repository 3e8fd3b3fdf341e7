"""What memory holds of a two-tier index: codes, ids and which rows live, in snapshots that never change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from orthant.index.blocks import IdRuns
from orthant.index.tiers.row_files import DiskRows
from orthant.index.tiers.walking import CodeGraph
from orthant.kernels import bitmaps
from orthant.types import BitmapArray, CodeArray, IdArray

__all__ = ["Light", "Room"]

BoolArray = npt.NDArray[np.bool_]


class Room:
    """Arrays with room behind their rows, so that views of what is there stay valid while more is written.

    Parameters
    ----------
    code_size : int
        Bytes of a code; 0 while there are none.
    capacity : int
        Rows. Memory that was never written costs nothing on most systems.
    """

    def __init__(self, code_size: int, capacity: int) -> None:
        self.codes = np.empty((capacity, code_size), dtype=np.uint8)
        self.ids = np.empty(capacity, dtype=np.int64)
        self.count = 0

    def extended(self, ids: IdArray, codes: CodeArray, capacity: int) -> Room:
        """Return room that also holds these rows; the same arrays where they had room.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
            Ids to append.
        codes : ndarray of shape (m, code_size), uint8
            Their codes.
        capacity : int
            Rows to make room for when the arrays must be made anew.

        Returns
        -------
        Room
            This one, or larger one with copies of its rows.
        """
        start, stop, out = self.count, self.count + len(ids), self
        if stop > len(self.ids):
            out = Room(self.codes.shape[1], max(stop, 2 * len(self.ids), capacity))
            out.codes[:start], out.ids[:start] = self.codes[:start], self.ids[:start]
        out.codes[start:stop], out.ids[start:stop] = codes, ids
        out.count = stop
        return out


@dataclass(frozen=True)
class Light:
    """One generation of the index.

    Attributes
    ----------
    rows : DiskRows
        The full vectors.
    ids : ndarray of shape (n,), int64
        Id of each row.
    codes : ndarray of shape (n, code_size), uint8
        Code of each row; of width 0 while there is no quantizer yet.
    quantizer : Quantizer or None
        What made them.
    live : ndarray of shape (n,), bool, or None
        Rows that were not removed; None where none was.
    runs : IdRuns or None
        Where ids are. None while ids rise from row to row, which then need no lookup.
    graph : CodeGraph or None
        Codes and links in place of ``codes``, where candidates are found by a walk. It may hold further rows already.
    """

    rows: DiskRows
    ids: IdArray
    codes: CodeArray
    quantizer: Any = None
    live: BoolArray | None = None
    runs: IdRuns | None = None
    graph: CodeGraph | None = None

    @property
    def coded(self) -> bool:
        """Whether there are codes."""
        return self.quantizer is not None or self.graph is not None

    @cached_property
    def dead(self) -> int:
        """How many rows were removed."""
        return 0 if self.live is None else int(len(self.live) - np.count_nonzero(self.live))

    def __len__(self) -> int:
        """Return the number of live rows."""
        return len(self.ids) - self.dead

    @property
    def nbytes(self) -> int:
        """Bytes in memory, without the quantizer."""
        marks = 0 if self.live is None else self.live.nbytes
        links = 0 if self.graph is None else self.graph.nbytes
        return self.ids.nbytes + self.codes.nbytes + marks + (0 if self.runs is None else self.runs.nbytes) + links

    def locate(self, ids: IdArray) -> IdArray:
        """Return the row of each id.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
            Ids.

        Returns
        -------
        ndarray of shape (m,), int64
            Row numbers; -1 where an id is absent or removed.
        """
        out = np.full(len(ids), -1, dtype=np.int64)
        if not len(self.ids):
            return out
        if self.runs is None:
            place = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
            hit = self.ids[place] == ids
            out[hit] = place[hit]
        else:
            for at, found in self.runs.find(ids):
                out[at] = found
        if self.live is not None:
            out[(out >= 0) & ~self.live[out]] = -1
        return out

    def alive_rows(self) -> IdArray:
        """Return the live row numbers, ascending."""
        return np.arange(len(self.ids)) if self.live is None else np.flatnonzero(self.live)

    def select(self, allowed: BitmapArray | BoolArray | IdArray | None) -> IdArray | None:
        """Return the rows that a search may return, ascending; None for all of them.

        Parameters
        ----------
        allowed : ndarray of shape (a,), or None
            From ``validate.as_allowed``.

        Returns
        -------
        ndarray of shape (m,), int64, or None
            Row numbers.
        """
        if allowed is None:
            return None if self.live is None else self.alive_rows()
        if allowed.dtype == np.int64:
            found = self.locate(cast(IdArray, np.unique(allowed)))
            return np.sort(found[found >= 0])
        if allowed.dtype == np.bool_:
            kept = np.zeros(len(self.ids), dtype=bool)
            inside = self.ids < len(allowed)
            kept[inside] = allowed[self.ids[inside]]
        else:
            kept = bitmaps.contains_rows(cast(BitmapArray, allowed), self.ids)
        return np.flatnonzero(kept if self.live is None else kept & self.live)

    def with_runs(self, ids: IdArray) -> IdRuns | None:
        """Return the lookup as it is after ids were appended.

        Parameters
        ----------
        ids : ndarray of shape (m,), int64
            Ids behind those of this snapshot.

        Returns
        -------
        IdRuns or None
            None while ids rise from row to row.
        """
        start = len(self.ids)
        rows = np.arange(start, start + len(ids), dtype=np.int64)
        rising = bool((ids[1:] > ids[:-1]).all()) and (not start or bool(ids[0] > self.ids[-1]))
        if self.runs is None:
            if rising:
                return None
            return IdRuns().add(self.ids, np.arange(start, dtype=np.int64)).add(ids, rows)
        return self.runs.add(ids, rows)

    def without(self, rows: IdArray) -> Light:
        """Return a snapshot in which rows are removed.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
            Live rows.

        Returns
        -------
        Light
            Shares everything but the marks.
        """
        live = np.ones(len(self.ids), dtype=bool) if self.live is None else self.live.copy()
        live[rows] = False
        return replace(self, live=live)
