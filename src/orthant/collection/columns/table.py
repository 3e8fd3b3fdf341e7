"""Columns: the metadata of a collection as one immutable value, from which predicates become bitmaps.

A write makes a new value that shares all old arrays, so a reader keeps a consistent state without a lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from orthant.collection.columns.chunks import Chunk, build_chunk, merge_chunks, take_chunk
from orthant.collection.columns.file import read_columns, write_columns
from orthant.collection.columns.metadata import check_metadata
from orthant.collection.columns.predicates import Predicate, Scalar
from orthant.collection.columns.query import evaluate_chunks, rows_in
from orthant.collection.columns.values import FieldStats, count_values, read_values, summarise
from orthant.errors import InputError, message
from orthant.kernels.bitmaps import count_bits
from orthant.types import BitmapArray, IdArray
from orthant.validate import check_count

__all__ = ["MAX_CHUNK_ROWS", "MAX_FIELDS", "Columns", "Evaluation", "FieldStats", "check_metadata"]

MAX_FIELDS = 1000
MAX_CHUNK_ROWS = 131_072


@dataclass(frozen=True)
class Evaluation:
    """The rows that satisfy a predicate.

    Attributes
    ----------
    bitmap : ndarray of shape (words of ``live``,), uint64
        Bit r is set when row r is live and matches.
    count : int
        Rows in the bitmap.
    warnings : tuple of str
        Fields that no live record has, with the nearest known name.
    """

    bitmap: BitmapArray
    count: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, repr=False)
class Columns:
    """Typed columns over the metadata of store rows: filter, count, facet and save them.

    Use it wherever a where-expression must become a set of rows. It is a value: every change returns a new one,
    so it is safe in any number of threads. It does not know which rows are deleted; ``live`` says so on each call.

    Attributes
    ----------
    chunks : tuple of Chunk
        Runs of rows in ascending order, at most about 20 below ``MAX_CHUNK_ROWS`` rows each.
    last_row : int
        The largest row ever added; -1 when there was none. Rows are never reused.
    names : frozenset of str
        Dotted paths of all fields.

    Examples
    --------
    >>> import numpy as np
    >>> from orthant.collection.columns.where import parse_where
    >>> from orthant.kernels.bitmaps import from_rows, to_rows
    >>> rows = np.arange(3)
    >>> columns = Columns.empty().with_batch(rows, [{"year": 1927}, {"year": 1851}, None])
    >>> found = columns.evaluate(parse_where({"year": {"gte": 1900}}), live=from_rows(rows))
    >>> to_rows(found.bitmap).tolist(), found.count
    ([0], 1)
    """

    chunks: tuple[Chunk, ...] = ()
    last_row: int = -1
    names: frozenset[str] = frozenset()

    @classmethod
    def empty(cls) -> Columns:
        """Return columns without a row.

        Returns
        -------
        Columns
            The start of every collection.
        """
        return cls()

    def __len__(self) -> int:
        """Return the number of rows held, live or not."""
        return sum(len(chunk.rows) for chunk in self.chunks)

    def __repr__(self) -> str:
        """Return the size in one line."""
        return f"Columns(rows={len(self)}, fields={len(self.names)}, chunks={len(self.chunks)})"

    def with_batch(self, rows: IdArray, metadata: Sequence[Mapping[str, Any] | None]) -> Columns:
        """Return these columns with more rows; nothing is shared in a way that could change the old value.

        Parameters
        ----------
        rows : ndarray of shape (n,), int64
            Strictly ascending, all beyond ``last_row``.
        metadata : sequence of n mappings or None
            Records as ``check_metadata`` returned them.

        Returns
        -------
        Columns
            The new value. On an error nothing has changed.

        Raises
        ------
        InputError
            Rows out of order, lengths that differ, or more than 1,000 fields in the collection.

        Notes
        -----
        Cost: O(cells) for the batch. Chunks are merged geometrically, so each cell is rewritten O(log n) times over
        the life of the collection, and one call never rewrites more than 131,072 rows beside its own.
        """
        rows = np.array(rows, dtype=np.int64)
        if rows.ndim != 1 or len(rows) != len(metadata):
            raise InputError(
                message(f"rows of shape {rows.shape} for {len(metadata)} records", "one row each", "pass equal lengths")
            )
        if not len(rows):
            return self
        if int(rows[0]) <= self.last_row or (rows[1:] <= rows[:-1]).any():
            raise InputError(
                message(
                    f"rows from {int(rows[0])} after row {self.last_row}",
                    "strictly ascending rows beyond the last one",
                    "give every new or updated record a new row",
                )
            )
        batch = build_chunk(rows, metadata)
        names = self.names if self.names.issuperset(batch.columns) else self.names | frozenset(batch.columns)
        check_fields(self.names, names)
        return Columns(_stack(self.chunks, batch), int(rows[-1]), names)

    def evaluate(self, predicate: Predicate, *, live: BitmapArray) -> Evaluation:
        """Return the live rows that satisfy a predicate.

        The result depends on the live records only: deleted ones, batching and compaction leave no trace.

        Parameters
        ----------
        predicate : Predicate
            From ``parse_where``.
        live : ndarray of uint64
            Bitmap of the rows that exist. Live rows that were never added count as records without metadata.

        Returns
        -------
        Evaluation
            Bitmap of as many words as ``live``, its count, and warnings about unknown fields.

        Raises
        ------
        FilterError
            A comparison with a type that the field never holds in a live record. For ``in``, when none of the
            values fits.

        Notes
        -----
        Cost: O(rows) vectorised steps per condition; about 0.1 ms per condition and 100,000 rows.
        """
        bitmap, warnings = evaluate_chunks(self.chunks, self.names, predicate, live)
        return Evaluation(bitmap, count_bits(bitmap), warnings)

    def fields(self, live: BitmapArray) -> dict[str, FieldStats]:
        """Return what each field holds among the live rows.

        Parameters
        ----------
        live : ndarray of uint64
            Bitmap of rows to look at.

        Returns
        -------
        dict of str to FieldStats
            By dotted path, sorted; fields without a live cell are left out.

        Notes
        -----
        Cost: O(cells), plus one Python step per distinct string.
        """
        masks = [(chunk, rows_in(live, chunk.rows)) for chunk in self.chunks]
        found = ((name, summarise(masks, name)) for name in sorted(self.names))
        return {name: stats for name, stats in found if stats is not None}

    def facet(self, field: str, bitmap: BitmapArray, *, limit: int | None = None) -> list[tuple[Scalar, int]]:
        """Return how many rows of a set hold each value of a field.

        Parameters
        ----------
        field : str
            Dotted path.
        bitmap : ndarray of uint64
            The rows, usually ``Evaluation.bitmap``.
        limit : int, optional
            At most so many values. Left out, all.

        Returns
        -------
        list of (value, count)
            Most frequent first, then by value. A list counts once for each distinct element; an explicit null
            counts as None; objects do not count. 1 and 1.0 are one value.

        Raises
        ------
        InputError
            A limit below 1.
        """
        counted = count_values([(chunk, rows_in(bitmap, chunk.rows)) for chunk in self.chunks], field)
        return counted if limit is None else counted[: check_count(limit, name="limit")]

    def values(self, field: str, rows: IdArray) -> list[Any]:
        """Return a field's value for some rows.

        Parameters
        ----------
        field : str
            Dotted path.
        rows : ndarray of shape (m,), int64
            Rows in any order; repeats are fine.

        Returns
        -------
        list of length m
            Python values; None where the field is null or missing, or the row unknown.

        Raises
        ------
        InputError
            A cell is an object, or a list with an object or a list in it; columns hold only what can be compared.
        """
        return read_values(self.chunks, field, np.asarray(rows, dtype=np.int64))

    def compacted(self, live: BitmapArray) -> Columns:
        """Return these columns without the rows that are gone.

        Parameters
        ----------
        live : ndarray of uint64
            Bitmap of rows to keep.

        Returns
        -------
        Columns
            Same answers for the same ``live``, with ``last_row`` kept; fields without a cell are forgotten.
        """
        chunks: tuple[Chunk, ...] = ()
        for chunk in self.chunks:
            keep = rows_in(live, chunk.rows)
            rest = chunk if keep.all() else take_chunk(chunk, keep)
            if len(rest.rows):
                chunks = _stack(chunks, rest)
        return Columns(chunks, self.last_row, _names(chunks))

    def save(self, path: str | Path) -> None:
        """Write the columns to one file, which replaces an older one in one step.

        Parameters
        ----------
        path : str or Path
            Target; its folder must exist.
        """
        write_columns(path, self.chunks, last_row=self.last_row)

    @classmethod
    def load(cls, path: str | Path) -> Columns:
        """Return columns that were saved; arrays stay in the memory-mapped file, every checksum is verified.

        Parameters
        ----------
        path : str or Path
            A file that ``save`` wrote.

        Returns
        -------
        Columns
            The same value. Rows beyond its ``last_row`` can be added by ``with_batch``.

        Raises
        ------
        NotFoundError
            No such file.
        StoreCorruptedError
            The file is damaged; delete it and rebuild.
        StoreVersionError
            A newer release wrote it.
        """
        chunks, last_row = read_columns(path)
        return cls(chunks, last_row, _names(chunks))


def check_fields(known: Set[str], more: Set[str]) -> None:
    """Refuse more fields than a collection can hold.

    Parameters
    ----------
    known : set of str
        Fields so far.
    more : set of str
        Fields to come; known ones may be among them.

    Raises
    ------
    InputError
        More than 1,000 together.
    """
    names = known | more
    if len(names) > MAX_FIELDS and not known >= more:
        raise InputError(
            message(
                f"{len(names)} metadata fields, with {min(more - known)!r} among the new ones",
                f"at most {MAX_FIELDS} fields in a collection",
                'store varying keys as values, for example {"tags": ["key=value"]}, and filter with contains',
            )
        )


def _names(chunks: Sequence[Chunk]) -> frozenset[str]:
    return frozenset(chain.from_iterable(chunk.columns for chunk in chunks))


def _stack(chunks: tuple[Chunk, ...], batch: Chunk) -> tuple[Chunk, ...]:
    """Append a chunk and merge the tail until sizes at least halve from chunk to chunk."""
    first, size = len(chunks), len(batch.rows)
    while first and len(chunks[first - 1].rows) < 2 * size and size + len(chunks[first - 1].rows) <= MAX_CHUNK_ROWS:
        first -= 1
        size += len(chunks[first].rows)
    tail = (*chunks[first:], batch)
    return (*chunks[:first], merge_chunks(tail) if len(tail) > 1 else batch)
