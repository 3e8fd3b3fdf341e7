"""Chroma's folder: records and fields from its SQLite file, vectors from its index files and its log.

A collection keeps its vectors in two places: those that were synced lie in an hnswlib index of its own, later ones
in the log. The index numbers them by labels; which id has which label stands in a pickle, of which only the plain
values are read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.foreign.chroma_index import ChromaIndex
from orthant.datasets.foreign.contents import FieldChoice, ForeignBatch, VectorField, choose_name
from orthant.errors import InputError, message
from orthant.types import Metric

__all__ = ["DATABASE_NAME", "ChromaSource"]

DATABASE_NAME = "chroma.sqlite3"

_METRICS: dict[str, Metric] = {"cosine": "cosine", "l2": "l2", "ip": "dot"}
_DOCUMENT, _RESERVED = "chroma:document", "chroma:"
_ADD, _DELETE = 0, 3
_SQL_VARIABLES = 500


class ChromaSource:
    """One collection of a folder that Chroma's ``PersistentClient`` wrote.

    Parameters
    ----------
    folder : Path
        The folder with ``chroma.sqlite3``.
    table : str, optional
        The collection; the only one by default.
    choice : FieldChoice
        ``text_field`` takes a metadata field for the text in place of the document.

    Raises
    ------
    InputError
        No such collection, or files that cannot be read.
    """

    kind = "chroma"
    remote = False

    def __init__(self, folder: Path, table: str | None, choice: FieldChoice) -> None:
        self._folder, self._choice = folder, choice
        path = (folder / DATABASE_NAME).resolve()
        try:
            self._database = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
            self._database.row_factory = sqlite3.Row
            self._open(table)
        except sqlite3.Error as error:
            raise _unreadable(path, error) from error

    def _open(self, table: str | None) -> None:
        # One read transaction for both passes: a client that writes meanwhile is not seen.
        self._database.execute("BEGIN")
        found = self._rows("SELECT * FROM collections")
        self.name = choose_name(table, [row["name"] for row in found], str(self._folder))
        collection = next(row for row in found if row["name"] == self.name)
        segments = self._rows("SELECT id, scope FROM segments WHERE collection = ?", collection["id"])
        by_scope = {row["scope"]: row["id"] for row in segments}
        if "METADATA" not in by_scope:
            raise InputError(message(f"{self._folder} without a metadata segment", "a local collection", "check it"))
        self._segment = by_scope["METADATA"]
        self.count: int | None = self._rows("SELECT count(*) AS n FROM embeddings WHERE segment_id = ?", self._segment)[
            0
        ]["n"]
        metric = self._metric(collection)
        self.vectors = {"": VectorField("", collection["dimension"], _METRICS.get(metric))}
        self._tables = {row["name"] for row in self._rows("SELECT name FROM sqlite_master WHERE type = 'table'")}
        vector_segment = by_scope.get("VECTOR", "none")
        self._index = ChromaIndex(self._folder / vector_segment, normalised=metric == "cosine")
        self._log = self._read_log(collection["id"], vector_segment)
        self.losses: dict[str, int] = {}
        self.notes: dict[str, int] = dict(self._index.notes)

    def _rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        return self._database.execute(sql, values).fetchall()

    def _metric(self, collection: sqlite3.Row) -> str:
        """Return Chroma's name of the distance, which has moved twice between its releases."""
        sql = "SELECT str_value FROM collection_metadata WHERE collection_id = ? AND key = 'hnsw:space'"
        for row in self._rows(sql, collection["id"]):
            return str(row["str_value"])
        for column in ("config_json_str", "schema_str"):
            if column in collection.keys() and collection[column]:  # noqa: SIM118 - a Row iterates over its values
                for space in _spaces_in(json.loads(collection[column])):
                    return space
        return "l2"

    def _read_log(self, collection_id: str, segment: str) -> dict[str, npt.NDArray[np.float32] | None]:
        """Return the vectors that the index does not have yet by id; None where a deletion is not in it yet."""
        seen = self._index.max_seq
        for row in self._rows("SELECT seq_id FROM max_seq_id WHERE segment_id = ?", segment):
            seen = max(seen, _number(row["seq_id"]))
        out: dict[str, npt.NDArray[np.float32] | None] = {}
        sql = "SELECT * FROM embeddings_queue WHERE topic LIKE ? ORDER BY seq_id"
        for row in self._database.execute(sql, (f"%{collection_id}",)):
            if _number(row["seq_id"]) <= seen:
                continue
            if row["operation"] == _DELETE:
                out[row["id"]] = None
            elif row["vector"] is not None and not (row["operation"] == _ADD and self._holds(row["id"], out)):
                # Chroma passes over an add whose id exists; update and upsert replace.
                out[row["id"]] = _decode(row["vector"], row["encoding"])
        return out

    def _holds(self, key: str, log: dict[str, npt.NDArray[np.float32] | None]) -> bool:
        return log[key] is not None if key in log else key in self._index

    def batches(self, size: int) -> Iterator[ForeignBatch]:
        """Yield the records in the order in which Chroma numbered them.

        Parameters
        ----------
        size : int
            Records per batch.

        Yields
        ------
        ForeignBatch
            Documents as texts.

        Raises
        ------
        InputError
            The database is damaged.
        """
        last = -1
        sql = "SELECT id, embedding_id FROM embeddings WHERE segment_id = ? AND id > ? ORDER BY id LIMIT ?"
        try:
            while found := self._rows(sql, self._segment, last, size):
                last = found[-1]["id"]
                yield self._batch(found)
        except sqlite3.Error as error:
            raise _unreadable(self._folder / DATABASE_NAME, error) from error

    def _batch(self, found: list[sqlite3.Row]) -> ForeignBatch:
        fields: dict[int, dict[str, Any]] = {row["id"]: {} for row in found}
        numbers = list(fields)
        for begin in range(0, len(numbers), _SQL_VARIABLES):
            self._read_fields(numbers[begin : begin + _SQL_VARIABLES], fields)
        out = ForeignBatch(vectors={"": []})
        for row in found:
            values, key = fields[row["id"]], row["embedding_id"]
            document = values.pop(_DOCUMENT, None)
            if self._choice.text_field is None:
                text = document
            else:
                text = values.get(self._choice.text_field)
                if document is not None:
                    values["document"] = document
            if any(name.startswith(_RESERVED) for name in values):
                out.losses.append(("a link to data kept elsewhere (chroma:uri)", key))
                values = {name: value for name, value in values.items() if not name.startswith(_RESERVED)}
            out.ids.append(key)
            out.texts.append(text)
            out.metadata.append(self._choice.kept(values, without=(self._choice.text_field,)))
            out.vectors[""].append(self._log[key] if key in self._log else self._index.vector(key))
        return out

    def _read_fields(self, numbers: list[int], fields: dict[int, dict[str, Any]]) -> None:
        places = ",".join("?" * len(numbers))
        for row in self._database.execute(f"SELECT * FROM embedding_metadata WHERE id IN ({places})", numbers):
            fields[row["id"]][row["key"]] = _value(row)
        if "embedding_metadata_array" not in self._tables:
            return
        sql = f"SELECT * FROM embedding_metadata_array WHERE id IN ({places}) ORDER BY rowid"
        for row in self._database.execute(sql, numbers):
            fields[row["id"]].setdefault(row["key"], []).append(_value(row))

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _value(row: sqlite3.Row) -> Any:
    if "bool_value" in row.keys() and row["bool_value"] is not None:  # noqa: SIM118 - a Row iterates over its values
        return bool(row["bool_value"])
    return next((row[name] for name in ("string_value", "int_value", "float_value") if row[name] is not None), None)


def _number(value: Any) -> int:
    """Return a sequence number; older releases store it as big-endian bytes."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value or 0)


def _decode(vector: bytes, encoding: str | None) -> npt.NDArray[np.float32]:
    dtype = "<i4" if encoding == "INT32" else "<f4"
    return np.frombuffer(vector, dtype=dtype).astype(np.float32)


def _spaces_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("space"), str):
            yield value["space"]
        for part in value.values():
            yield from _spaces_in(part)


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        message(f"{path}: {error}", "a database of Chroma 0.5 or newer", "check the path, or open it with Chroma once")
    )
