"""Vectors as a list of blocks: which rows live, where an id is, which rows a filter leaves.

A ``BlockSet`` is one immutable generation. Arrays that grow in place are seen through views of fixed length, and a
removal is a number written beside the row ("died at generation g"), so a search that started before it is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import numpy.typing as npt

from orthant.errors import InputError, NonFiniteError, message
from orthant.kernels import bitmaps, distances
from orthant.kernels.files.rows import gather
from orthant.types import BitmapArray, FloatArray, IdArray, Metric

__all__ = ["ALIVE", "Selection", "checked_scale", "shown"]

ALIVE = np.iinfo(np.int64).max
"""Generation at which a live row dies: never."""

_GATHER_SHARE = 4
"""Rows are copied out when fewer than one in this many is allowed: a copy reads, writes and reads again."""

BoolArray = npt.NDArray[np.bool_]


class Block:
    """Some rows: vectors, ids and when each died.

    Parameters
    ----------
    matrix : ndarray of shape (n, dim), float32
        Vectors; may be memory-mapped and read-only.
    ids : ndarray of shape (n,), int64
        Their ids.
    metric : {"dot", "cosine", "l2"}
        The score.
    died : ndarray of shape (n,), int64
        Generation of removal, ``ALIVE`` for live rows.
    scale : ndarray of shape (n,), float32, optional
        ``distances.row_scale`` of the rows. Left out, computed by one pass at the first search.
    """

    def __init__(
        self, matrix: FloatArray, ids: IdArray, *, metric: Metric, died: IdArray, scale: FloatArray | None = None
    ) -> None:
        self.matrix = matrix
        self.ids = ids
        self.metric = metric
        self.died = died
        self._given_scale = scale

    def __len__(self) -> int:
        """Return the number of rows, dead ones included."""
        return len(self.ids)

    @cached_property
    def scale(self) -> FloatArray:
        """Per-row factor of the metric, shape (n,), float32."""
        if self._given_scale is not None:
            return self._given_scale
        return checked_scale(self.matrix, self.ids, self.metric)

    def scale_of(self, rows: IdArray, vectors: FloatArray) -> FloatArray:
        """Return the factor of some rows whose vectors are at hand, without a pass over the block."""
        known = self.known_scale
        return known[rows] if known is not None else checked_scale(vectors, self.ids[rows], self.metric)

    @property
    def known_scale(self) -> FloatArray | None:
        """The factors if they were given or computed already."""
        known: FloatArray | None = self.__dict__.get("scale", self._given_scale)
        return known

    @cached_property
    def ascending(self) -> bool:
        """Whether ids rise from row to row."""
        return bool((self.ids[1:] > self.ids[:-1]).all())

    @cached_property
    def contiguous(self) -> bool:
        """Whether ids are first, first + 1, ..., so that a filter over ids is a slice."""
        return len(self) > 0 and self.ascending and int(self.ids[-1] - self.ids[0]) == len(self) - 1

    def mask_of(self, allowed: BitmapArray | BoolArray) -> BoolArray:
        """Return which rows a bitmap or mask over ids allows, shape (n,), bool."""
        if self.contiguous:
            first, stop = int(self.ids[0]), int(self.ids[-1]) + 1
            if allowed.dtype == np.bool_:
                part = allowed[first:stop]
                return np.concatenate([part, np.zeros(len(self) - len(part), dtype=bool)])
            word = first >> 6
            return bitmaps.to_mask(cast(BitmapArray, allowed[word:]), stop - (word << 6))[first & 63 :]
        if allowed.dtype != np.bool_:
            return bitmaps.contains_rows(cast(BitmapArray, allowed), self.ids)
        out = np.zeros(len(self), dtype=bool)
        inside = self.ids < len(allowed)
        out[inside] = allowed[self.ids[inside]]
        return out


@dataclass(frozen=True)
class IdRuns:
    """Where ids are: a few sorted runs, merged as they grow, so that adding n ids costs O(n log n) amortised.

    Attributes
    ----------
    runs : tuple of (ids, rows)
        Each pair sorted by id; newest run last.
    """

    runs: tuple[tuple[IdArray, IdArray], ...] = ()

    def add(self, ids: IdArray, rows: IdArray) -> IdRuns:
        """Return runs that also hold these ids; a row given later wins over an earlier one of the same id."""
        order = np.argsort(ids, kind="stable")
        ids, rows = ids[order], rows[order]
        runs = list(self.runs)
        while runs and len(runs[-1][0]) <= 2 * len(ids):
            ids, rows = _merge_runs(*runs.pop(), ids, rows)
        return IdRuns((*runs, (ids, rows)))

    def find(self, ids: IdArray) -> Iterator[tuple[IdArray, IdArray]]:
        """Yield for each run the places in ``ids`` that it holds and their rows."""
        for known, rows in self.runs:
            if len(known):
                if int(known[-1]) - int(known[0]) == len(known) - 1:
                    # Ids without gaps are their own places.
                    place = np.clip(ids, known[0], known[-1]) - known[0]
                else:
                    place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
                hit = np.flatnonzero(known[place] == ids)
                yield hit, rows[place[hit]]

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(ids.nbytes + rows.nbytes for ids, rows in self.runs)


def _merge_runs(old_ids: IdArray, old_rows: IdArray, ids: IdArray, rows: IdArray) -> tuple[IdArray, IdArray]:
    all_ids, all_rows = np.concatenate([old_ids, ids]), np.concatenate([old_rows, rows])
    if len(old_ids) and len(ids) and old_ids[-1] < ids[0]:
        return all_ids, all_rows
    order = np.argsort(all_ids, kind="stable")
    all_ids, all_rows = all_ids[order], all_rows[order]
    # An id occurs twice when it was removed and added again: only the later row can be alive.
    last = np.ones(len(all_ids), dtype=bool)
    last[:-1] = all_ids[1:] != all_ids[:-1]
    return all_ids[last], all_rows[last]


@dataclass(frozen=True)
class Selection:
    """The rows one search may return.

    Attributes
    ----------
    plan : str
        ``"scan"`` (masks) or ``"scan-allowed"`` (rows).
    masks : tuple of (ndarray of bool or None), one per block
        Rows to keep; None keeps all.
    rows : ndarray of shape (m,), int64, or None
        Rows to copy out, ascending, for ``"scan-allowed"``.
    """

    plan: str
    masks: tuple[BoolArray | None, ...] = ()
    rows: IdArray | None = None


@dataclass(frozen=True)
class BlockSet:
    """One generation of an index: rows are numbered through all blocks.

    Attributes
    ----------
    dim : int
        Dimension of the vectors.
    blocks : tuple of Block
        The rows.
    generation : int
        Rows that died at this generation or before are dead.
    dead : int
        How many are dead.
    given_runs : IdRuns or None
        Lookup kept by the owner. None builds it at the first use.
    """

    dim: int
    blocks: tuple[Block, ...] = ()
    generation: int = 0
    dead: int = 0
    given_runs: IdRuns | None = None

    @cached_property
    def starts(self) -> IdArray:
        """First row number of each block, and the total, shape (blocks + 1,)."""
        return np.concatenate([[0], np.cumsum([len(block) for block in self.blocks])]).astype(np.int64)

    @cached_property
    def runs(self) -> IdRuns:
        """Lookup from id to row."""
        if self.given_runs is not None:
            return self.given_runs
        runs = IdRuns()
        for block, start in zip(self.blocks, self.starts, strict=False):
            kept = np.flatnonzero(block.died > self.generation)
            runs = runs.add(np.asarray(block.ids[kept]), kept + start)
        return runs

    @property
    def total(self) -> int:
        """Rows, dead ones included."""
        return int(self.starts[-1])

    def __len__(self) -> int:
        """Return the number of live rows."""
        return self.total - self.dead

    def parts(self, rows: IdArray) -> Iterator[tuple[Block, npt.NDArray[np.int64], IdArray]]:
        """Yield for each block concerned the places in ``rows`` and the row numbers inside the block."""
        for block, start in zip(self.blocks, self.starts, strict=False):
            at = np.flatnonzero((rows >= start) & (rows < start + len(block)))
            if len(at):
                yield block, at, rows[at] - start

    def locate(self, ids: IdArray) -> IdArray:
        """Return the row of each id, -1 where it is absent or dead, shape (m,), int64."""
        out = np.full(len(ids), -1, dtype=np.int64)
        for at, rows in self.runs.find(ids):
            for block, part, inner in self.parts(rows):
                alive = block.died[inner] > self.generation
                out[at[part[alive]]] = rows[part[alive]]
        return out

    def vectors_of(self, rows: IdArray) -> FloatArray:
        """Return copies of rows, shape (m, dim)."""
        out = np.empty((len(rows), self.dim), dtype=np.float32)
        for block, at, inner in self.parts(rows):
            out[at] = gather(block.matrix, inner)
        return out

    def ids_of(self, rows: IdArray) -> IdArray:
        """Return the ids of rows, shape (m,)."""
        out = np.empty(len(rows), dtype=np.int64)
        for block, at, inner in self.parts(rows):
            out[at] = block.ids[inner]
        return out

    def alive_masks(self) -> tuple[BoolArray | None, ...]:
        """Return per block which rows live; None where nothing died."""
        if not self.dead:
            return (None,) * len(self.blocks)
        return tuple(block.died > self.generation for block in self.blocks)

    def alive_rows(self) -> IdArray:
        """Return the live row numbers, ascending."""
        if not self.dead:
            return np.arange(self.total, dtype=np.int64)
        return np.flatnonzero(np.concatenate([block.died > self.generation for block in self.blocks]))

    def select(self, allowed: BitmapArray | BoolArray | IdArray | None) -> Selection:
        """Choose between scanning with a mask and copying out the few allowed rows.

        Parameters
        ----------
        allowed : ndarray or None
            From ``validate.as_allowed``: uint64 bitmap or bool mask over ids, or int64 ids.

        Returns
        -------
        Selection
            Plan and rows.
        """
        if allowed is None:
            return Selection("scan", masks=self.alive_masks())
        ids = self._few(allowed)
        if ids is not None:
            rows = self.locate(ids)
            return Selection("scan-allowed", rows=np.sort(rows[rows >= 0]))
        if allowed.dtype == np.int64:
            mask = np.zeros(self.total, dtype=bool)
            rows = self.locate(np.unique(allowed))
            mask[rows[rows >= 0]] = True
            return Selection("scan", masks=tuple(np.split(mask, self.starts[1:-1])))
        masks = []
        for block, alive in zip(self.blocks, self.alive_masks(), strict=True):
            kept = block.mask_of(allowed)  # type: ignore[arg-type]
            masks.append(kept if alive is None else kept & alive)
        return Selection("scan", masks=tuple(masks))

    def _few(self, allowed: BitmapArray | BoolArray | IdArray) -> IdArray | None:
        limit = len(self) // _GATHER_SHARE
        if allowed.dtype == np.uint64:
            bitmap = cast(BitmapArray, allowed)
            if bitmaps.count_bits(bitmap) > limit:
                return None
            # Only words with a bit are unpacked: a sparse filter over many rows stays cheap.
            words = np.flatnonzero(bitmap)
            inner = bitmaps.to_rows(bitmap[words])
            return (words[inner >> 6] << 6) + (inner & 63)
        if allowed.dtype == np.bool_:
            return np.flatnonzero(allowed) if np.count_nonzero(allowed) <= limit else None
        distinct = cast(IdArray, np.unique(allowed))
        return distinct if len(distinct) <= limit else None

    @property
    def nbytes(self) -> int:
        """Bytes of vectors, ids, factors and lookup that are held or mapped now."""
        total = self.runs.nbytes if self.given_runs is not None or "runs" in self.__dict__ else 0
        for block in self.blocks:
            total += block.matrix.nbytes + block.ids.nbytes + block.died.nbytes
            known = block.known_scale
            total += 0 if known is None else known.nbytes
        return total


def checked_scale(matrix: FloatArray, ids: IdArray, metric: Metric) -> FloatArray:
    """Return ``distances.row_scale`` of stored rows, refusing what no search could rank.

    Parameters
    ----------
    matrix : ndarray of shape (n, dim), float32
        Vectors.
    ids : ndarray of shape (n,), int64
        Their ids, for the error.
    metric : {"dot", "cosine", "l2"}
        The score.

    Returns
    -------
    ndarray of shape (n,), float32
        The factors.

    Raises
    ------
    NonFiniteError
        NaN or infinity among the vectors.
    InputError
        A zero vector under cosine.
    """
    row_norms = distances.norms(matrix)
    bad = np.flatnonzero(~np.isfinite(row_norms))
    if len(bad):
        raise NonFiniteError(
            message(f"stored vectors with NaN or infinity, ids {shown(ids[bad])}", "finite values", "repair them")
        )
    bad = np.flatnonzero(row_norms == 0)
    if metric == "cosine" and len(bad):
        raise InputError(
            message(f"stored zero vectors, ids {shown(ids[bad])}", "a non-zero norm", "remove them or use 'dot'")
        )
    return distances.row_scale(row_norms, metric)


def shown(ids: IdArray, most: int = 5) -> str:
    """Return the first few ids for an error text.

    Parameters
    ----------
    ids : ndarray of shape (n,), int64
        The ids.
    most : int, default 5
        How many to name; the rest becomes an ellipsis.

    Returns
    -------
    str
        Ids with commas between them.
    """
    return ", ".join(str(i) for i in ids[:most]) + (" ..." if len(ids) > most else "")
