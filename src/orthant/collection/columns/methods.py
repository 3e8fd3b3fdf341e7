"""What a collection offers for filters alone: records without a query."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from orthant.collection.columns.where import parse_where
from orthant.collection.results import Record
from orthant.collection.storage import tables
from orthant.collection.storage.generation import Generation
from orthant.kernels import bitmaps
from orthant.validate import check_count

if TYPE_CHECKING:
    from orthant.collection.reading import CollectionReader

__all__ = ["FilterReading"]


class FilterReading:
    """The part of a collection that reads records by filter; see :class:`Collection`."""

    def find(self, where: Mapping[str, Any] | None = None, *, limit: int = 100, offset: int = 0) -> list[Record]:
        """Return records by filter alone, in insertion order, without a query.

        Parameters
        ----------
        where : mapping, optional
            A where-expression; None takes every record.
        limit : int, default 100
            Records at most.
        offset : int, default 0
            Records to skip.

        Returns
        -------
        list of Record
            Without vectors.

        Raises
        ------
        FilterError
            A malformed filter.
        InputError
            A limit below 1 or an offset below 0.

        Notes
        -----
        Replaced records count as inserted anew. Cost: the filter, plus one read per record returned.
        """
        me = cast("CollectionReader", self)
        limit, offset = check_count(limit, name="limit"), check_count(offset, name="offset", minimum=0)
        predicate = None if where is None else parse_where(where)

        def run(connection: sqlite3.Connection, now: Generation) -> list[Record]:
            chosen = now.live if predicate is None else now.columns.evaluate(predicate, live=now.live).bitmap
            rows = bitmaps.to_rows(chosen)[offset : offset + limit].tolist()
            found = tables.fetch_records(connection, me._store.database, rows)
            lost = [row for row in rows if row not in found]
            if lost:
                raise me._store.database.corrupted(f"row {lost[0]} is indexed but has no record")
            return [Record(*found[row]) for row in rows]

        return me._store.read(run)
