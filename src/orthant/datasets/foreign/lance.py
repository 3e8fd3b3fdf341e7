"""LanceDB tables, read through pylance, or through lancedb where that is what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from orthant.datasets.foreign.contents import FieldChoice, ForeignBatch, VectorField, choose_name, require_field
from orthant.errors import InputError, MissingExtraError, message
from orthant.types import Metric

__all__ = ["LanceSource", "lance_tables"]

_METRICS: dict[str, Metric] = {"cosine": "cosine", "l2": "l2", "euclidean": "l2", "dot": "dot"}
_ID_NAMES = ("id", "_id")
_NUMBERS = ("halffloat", "float", "double", "int8", "uint8")


def lance_tables(folder: Path) -> dict[str, Path]:
    """Return the tables of a LanceDB folder.

    Parameters
    ----------
    folder : Path
        The database, or one table of it.

    Returns
    -------
    dict of str to Path
        Folders by name; empty where there are none.
    """
    if folder.suffix == ".lance":
        return {folder.stem: folder}
    return {path.stem: path for path in sorted(folder.glob("*.lance")) if path.is_dir()}


class LanceSource:
    """One table.

    Parameters
    ----------
    folder : Path
        The database's folder, or a table's folder ending in ``.lance``.
    table : str, optional
        The table; the only one by default.
    choice : FieldChoice
        Which columns are the id and the text; by default ``id`` or ``_id``, and a column with a usual name. Without
        an id column the rows are numbered.

    Raises
    ------
    MissingExtraError
        Neither pylance nor lancedb is installed.
    InputError
        No such table or column, or files that cannot be read.
    """

    kind = "lancedb"
    remote = False

    def __init__(self, folder: Path, table: str | None, choice: FieldChoice) -> None:
        tables = lance_tables(folder)
        self.name = choose_name(table, list(tables), str(folder))
        self._path, self._choice = tables[self.name], choice
        self._table = _open_table(self._path)
        schema = self._table.schema
        names = list(schema.names)
        where = f"{self.kind} table {self.name!r}"
        self.count: int | None = self._table.count_rows()
        self.vectors = {
            field.name: VectorField(field.name, field.type.list_size, self._metric(field.name))
            for field in schema
            if _is_vector(field.type)
        }
        self._text = choice.text_among([name for name in names if name not in self.vectors], where)
        if choice.id_field is not None:
            self._id: str | None = require_field(choice.id_field, names, "id_field", where)
        else:
            self._id = next((name for name in _ID_NAMES if name in names), None)
        for name in choice.metadata_fields or ():
            require_field(name, names, "metadata_fields", where)
        self.losses: dict[str, int] = {}
        self.notes: dict[str, int] = {} if self._id else {"rows without an id column, numbered": self.count or 0}

    def _metric(self, column: str) -> Metric | None:
        """Return what the vector index of a column compares by; a table without one does not say."""
        for name, fields in self._indexes():
            if column in fields:
                said = str(self._table.stats.index_stats(name)).lower()
                return next((metric for word, metric in _METRICS.items() if f"'{word}'" in said), None)
        return None

    def _indexes(self) -> list[tuple[str, list[str]]]:
        # What each release calls them.
        if hasattr(self._table, "describe_indices"):
            return [(index.name, list(index.field_names)) for index in self._table.describe_indices()]
        if not hasattr(self._table, "list_indices"):
            return []
        return [
            (index["name"], index["fields"]) if isinstance(index, dict) else (index.name, index.columns)
            for index in self._table.list_indices()
        ]

    def batches(self, size: int) -> Iterator[ForeignBatch]:
        """Yield the rows.

        Parameters
        ----------
        size : int
            Rows per batch at most.

        Yields
        ------
        ForeignBatch
            Fixed-size lists of numbers as vectors, other columns as fields.
        """
        done = 0
        for part in self._table.to_batches(batch_size=size):
            for begin in range(0, part.num_rows, size):
                rows = part.slice(begin, size)
                yield self._batch(rows, done)
                done += rows.num_rows

    def _batch(self, rows: Any, first: int) -> ForeignBatch:
        columns = {name: rows.column(i) for i, name in enumerate(rows.schema.names)}
        out = ForeignBatch()
        out.vectors = {name: _vectors(columns[name], field.dim or 0) for name, field in self.vectors.items()}
        plain = {name: column.to_pylist() for name, column in columns.items() if name not in self.vectors}
        for i in range(rows.num_rows):
            # A null in a column says no more than a field that is not there.
            fields = {name: values[i] for name, values in plain.items() if values[i] is not None}
            out.ids.append(first + i if self._id is None else fields.get(self._id))
            out.texts.append(fields.get(self._text) if self._text else None)
            out.metadata.append(self._choice.kept(fields, without=(self._id, self._text)))
        return out

    def close(self) -> None:
        """Let go of the table."""
        del self._table


def _is_vector(kind: Any) -> bool:
    return hasattr(kind, "list_size") and str(kind.value_type) in _NUMBERS


def _vectors(column: Any, dim: int) -> list[Any]:
    # `flatten` leaves out the values of null lists.
    flat = np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32).reshape(-1, dim)
    rows = iter(flat)
    return [next(rows) if there else None for there in column.is_valid().to_pylist()]


class _WholeTable:
    """A lancedb table read at once, for where pylance is missing."""

    def __init__(self, folder: Path) -> None:
        import lancedb  # type: ignore[import-not-found, unused-ignore]

        self._arrow = lancedb.connect(str(folder.parent)).open_table(folder.stem).to_arrow()
        self.schema = self._arrow.schema

    def count_rows(self) -> int:
        return int(self._arrow.num_rows)

    def to_batches(self, *, batch_size: int) -> list[Any]:
        return self._arrow.combine_chunks().to_batches(max_chunksize=batch_size)  # type: ignore[no-any-return]


def _open_table(path: Path) -> Any:
    try:
        # A folder that is merely called lance, beside a script, has no such name.
        from lance import dataset  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        try:
            return _WholeTable(path)
        except ImportError as error:
            raise MissingExtraError(
                message("a LanceDB table without pylance or lancedb", "either", "pip install 'orthant[lance]'")
            ) from error
    try:
        return dataset(str(path))
    except (OSError, ValueError) as error:
        raise InputError(message(f"{path}: {error}", "a Lance table", "check the path")) from error
