"""Tables with pgvector columns, read through psycopg in one read-only transaction."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

from orthant.datasets.foreign.contents import FieldChoice, ForeignBatch, VectorField, choose_name, require_field
from orthant.errors import InputError, MissingExtraError, message
from orthant.types import Metric

__all__ = ["PgvectorSource"]

_DENSE = re.compile(r"(?:\w+\.)?(?:vector|halfvec)(?:\((\d+)\))?")
_ELSEWHERE = re.compile(r"(?:\w+\.)?(sparsevec|bit|bit varying)(?:\(\d+\))?")
_METRICS: dict[str, Metric] = {"cosine_ops": "cosine", "ip_ops": "dot", "l2_ops": "l2"}
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_KEY = """
SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE i.indrelid = %s::regclass AND i.indisprimary
"""
_TABLES = """
SELECT DISTINCT n.nspname, c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_type t ON t.oid = a.atttypid
WHERE t.typname IN ('vector', 'halfvec') AND c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition
AND NOT a.attisdropped ORDER BY 1, 2
"""
_CLASSES = """
SELECT a.attname, o.opcname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
JOIN pg_opclass o ON o.oid = i.indclass[0] WHERE i.indrelid = %s::regclass
"""


class PgvectorSource:
    """One table of a PostgreSQL database.

    Parameters
    ----------
    address : str
        ``postgresql://user:password@host/database``; it is never shown in an error.
    table : str or None
        ``table`` or ``schema.table``; None takes the only table with a column of vectors.
    choice : FieldChoice
        Which columns are the id and the text; by default the primary key, and a column with a usual name.

    Raises
    ------
    MissingExtraError
        psycopg is not installed.
    InputError
        No such table or column, or no connection.
    """

    kind = "pgvector"
    remote = True

    def __init__(self, address: str, table: str | None, choice: FieldChoice) -> None:
        try:
            import psycopg  # type: ignore[import-not-found, unused-ignore]
        except ImportError as error:
            raise MissingExtraError(
                message("a PostgreSQL address without psycopg", "psycopg", "pip install 'orthant[postgres]'")
            ) from error
        self.name, self._choice, self._error = table or "", choice, psycopg.Error
        try:
            self._connection = psycopg.connect(address)
        except psycopg.Error as error:
            raise InputError(
                message(f"a database that gives no connection: {type(error).__name__}", "one", "check the address")
            ) from error
        try:
            self._begin()
            self._choose(table)
            self._describe()
        except BaseException as error:
            self._connection.close()
            if isinstance(error, psycopg.Error):
                raise self._failed(error) from error
            raise

    def _failed(self, error: Exception) -> InputError:
        said = str(error).strip().splitlines() or [type(error).__name__]
        return InputError(message(f"table {self.name!r}: {said[0]}", "a table that can be read", "check its name"))

    def _begin(self) -> None:
        # One snapshot for the description and the rows, and no way to write.
        self._rows("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", fetch=False)

    def _rows(self, sql: str, values: tuple[Any, ...] = (), *, fetch: bool = True) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall()) if fetch else []

    def _choose(self, table: str | None) -> None:
        if table is None:
            held = [".".join(row) for row in self._rows(_TABLES)]
            self.name = choose_name(None, held, "the database")
        elif self._rows("SELECT to_regclass(%s)", (_quoted(table),)) == [(None,)]:
            held = [".".join(row) for row in self._rows(_TABLES)]
            expected = f"a table that exists; those with vectors: {', '.join(held) or 'none'}"
            raise InputError(message(f"table={table!r}", expected, "correct the name, with the schema before it"))

    def _key(self, keys: list[str], where: str) -> str:
        if self._choice.id_field is not None:
            return require_field(self._choice.id_field, self._plain, "id_field", where)
        if len(keys) == 1 and keys[0] in self._plain:
            return keys[0]
        if "id" in self._plain:
            return "id"
        held = f"a primary key of {len(keys)} columns" if keys else "no primary key"
        columns = ", ".join(self._plain) or "none"
        raise InputError(
            message(f"{where} with {held}", "a column that tells the rows apart", f"name it: id_field=, of {columns}")
        )

    def _describe(self) -> None:
        quoted = _quoted(self.name)
        columns = dict(self._rows(_COLUMNS, (quoted,)))
        keys = [name for (name,) in self._rows(_KEY, (quoted,))]
        classes = dict(self._rows(_CLASSES, (quoted,)))
        where = f"table {self.name!r}"
        self.vectors = {}
        self._plain: list[str] = []
        self.losses: dict[str, int] = {}
        self.notes: dict[str, int] = {}
        self.count: int | None = int(self._rows(f"SELECT count(*) FROM {quoted}")[0][0])
        for name, kind in columns.items():
            if dense := _DENSE.fullmatch(kind):
                metric = next((m for end, m in _METRICS.items() if classes.get(name, "").endswith(end)), None)
                self.vectors[name] = VectorField(name, int(dense[1]) if dense[1] else None, metric)
                if classes.get(name, "").endswith("l1_ops"):
                    self.notes[f"vectors {name!r}, compared by the sum of differences there, which no space does"] = (
                        self.count
                    )
            elif other := _ELSEWHERE.fullmatch(kind):
                self.losses[f"column {name!r} of type {other[1]}"] = self.count
            else:
                self._plain.append(name)
        self._text = self._choice.text_among(self._plain, where)
        for name in self._choice.metadata_fields or ():
            require_field(name, self._plain, "metadata_fields", where)
        self._id = self._key(keys, where)

    def batches(self, size: int) -> Iterator[ForeignBatch]:
        """Yield the rows through a cursor of the server.

        Parameters
        ----------
        size : int
            Rows per batch.

        Yields
        ------
        ForeignBatch
            ``vector`` and ``halfvec`` columns as vectors, other columns as fields.
        """
        vectors = [f"{_quoted_name(name)}::text" for name in self.vectors]
        wanted = ", ".join([_quoted_name(name) for name in self._plain] + vectors)
        try:
            with self._connection.cursor(name=f"orthant_{uuid.uuid4().hex}") as cursor:
                cursor.execute(f"SELECT {wanted} FROM {_quoted(self.name)}")
                while rows := cursor.fetchmany(size):
                    yield self._batch(rows)
        except self._error as error:
            raise self._failed(error) from error

    def _batch(self, rows: list[tuple[Any, ...]]) -> ForeignBatch:
        out = ForeignBatch(vectors={name: [] for name in self.vectors})
        for row in rows:
            fields = {name: value for name, value in zip(self._plain, row, strict=False) if value is not None}
            out.ids.append(fields.get(self._id))
            out.texts.append(fields.get(self._text) if self._text else None)
            out.metadata.append(self._choice.kept(fields, without=(self._id, self._text)))
            for name, value in zip(self.vectors, row[len(self._plain) :], strict=True):
                # pgvector writes a vector as a JSON list.
                out.vectors[name].append(None if value is None else json.loads(value))
        return out

    def close(self) -> None:
        """End the transaction and the connection."""
        self._connection.close()


def _quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted(table: str) -> str:
    return ".".join(_quoted_name(part) for part in table.split("."))
