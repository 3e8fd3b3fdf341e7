"""The methods of a collection that hand its records to other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orthant.validate import check_path

if TYPE_CHECKING:
    from orthant.collection.storage.store import Store
    from orthant.collection.transfer import ExportReport

__all__ = ["ExportReading"]


class ExportReading:
    """The part of :class:`Collection` that writes exports and Arrow tables."""

    _store: Store

    def export(
        self, path: str | Path, *, format: Literal["folder", "parquet", "archive"] | None = None
    ) -> ExportReport:
        """Write every record with its vectors to JSONL + .npy, to one Parquet file, or to one archive.

        Parameters
        ----------
        path : str or Path
            A new folder, or a file ending in ``.parquet`` or ``.zip``.
        format : {"folder", "parquet", "archive"}, optional
            Default: by the path's ending. An archive is the folder in one ``.zip`` file, checksums included.

        Returns
        -------
        ExportReport
            Counts and path.

        Raises
        ------
        InputError
            The target exists.
        MissingExtraError
            Parquet without pyarrow.

        Notes
        -----
        Weighted terms of sparse spaces go into a folder or an archive; Parquet refuses them.
        """
        from orthant.collection.transfer import export

        return export(self._store, check_path(path, name="path"), format=format)

    def to_arrow(self, where: Mapping[str, Any] | None = None, *, vectors: bool = True) -> Any:
        """Return records as an Arrow table, for Polars, pandas, DuckDB or anything that speaks Arrow.

        Parameters
        ----------
        where : mapping, optional
            A where-expression; None takes every record.
        vectors : bool, default True
            Take the vectors along; without them the table is small.

        Returns
        -------
        pyarrow.Table
            As of one commit, in insertion order: ``id`` and ``text`` (string), ``metadata`` (JSON text), and
            ``vector_NAME`` per space, fixed-size lists of float32, null where a record has none. It has
            ``__arrow_c_stream__``, so others take it without a copy.

        Raises
        ------
        FilterError
            A malformed filter.
        MissingExtraError
            pyarrow is not installed.

        Notes
        -----
        Weighted terms of sparse spaces are not in it. Everything lies in memory: 4 bytes per value of a vector, and
        the texts. For files use :meth:`export`.
        ``add(table, metadata_field="metadata", vector_field={"default": "vector_default"})`` reads it back.
        """
        from orthant.collection.transfer import to_arrow

        return to_arrow(self._store, where=where, vectors=vectors)
