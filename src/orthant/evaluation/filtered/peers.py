"""The measuring side of other stores: a table each, in a process and, where wanted, an interpreter of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from orthant.errors import message, warn
from orthant.evaluation.ann.process import EngineFailedError, EngineProcess
from orthant.types import FloatArray, IdArray, Metric

__all__ = ["PeerTable", "why_not", "write_columns"]

_MODULE = "orthant.evaluation.filtered.tables"
_ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
_BUILD_S, _ANSWER_S = 3_600.0, 300.0


def write_columns(folder: Path, columns: Mapping[str, Any]) -> None:
    """Write attributes so that a process without this package's dependencies reads them.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    columns : mapping of str to ndarray or list
        Integers or floats of shape (n,), a list of str, or a list of lists of str; at least one row.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            kinds[name] = "integer" if np.issubdtype(values.dtype, np.integer) else "number"
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
        else:
            kinds[name] = "text" if isinstance(values[0], str) else "tags"
            (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "columns.json").write_text(json.dumps(kinds), encoding="utf-8")


class PeerTable:
    """A table of another store.

    Parameters
    ----------
    store : {"lancedb", "milvus-lite", "pgvector", "numpy-table"}
        Which one.
    folder : Path
        Where it lies; one that was built there before is used as it is.
    base : Path
        Vectors, a ``.npy`` file of shape (n, d), float32.
    columns : Path
        As ``write_columns`` leaves them.
    metric : {"cosine", "dot", "l2"}
        Score.
    python : str, optional
        Interpreter that has the store; left out, this one.

    Attributes
    ----------
    took_s : float
        Seconds that the last answer took inside the store's process.
    about : dict
        Versions, set-up, ``build_s``, and ``build_cpu_s`` unless a server of the store did the work.

    Raises
    ------
    EngineFailedError
        The store is not there, or cannot be built; or, when it is first asked, it has lost rows since it was built.
    """

    def __init__(
        self, store: str, *, folder: Path, base: Path, columns: Path, metric: Metric, python: str | None = None
    ) -> None:
        self.store, self.took_s = store, 0.0
        self._rows = len(np.load(base, mmap_mode="r", allow_pickle=False))
        self._spec = {"store": store, "folder": str(folder), "metric": metric}
        self._python = python
        self._process: EngineProcess | None = None
        self._efforts: list[dict[str, Any]] = []
        done = folder / "built.json"
        if not done.is_file():
            # What a build left behind that was cut short would be in the way.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with self._start(one_cpu=False) as process:
                about = process.ask("about", timeout_s=_ANSWER_S)
                about |= process.ask("build", {"base": str(base), "columns": str(columns)}, timeout_s=_BUILD_S)
                process.ask("close", timeout_s=_ANSWER_S)
            done.write_text(json.dumps(about), encoding="utf-8")
        self.about: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))

    def _start(self, *, one_cpu: bool) -> EngineProcess:
        environment = _ALONE if one_cpu else None
        spec = self._spec | {"one_cpu": one_cpu}
        return EngineProcess(spec, module=_MODULE, python=self._python, environment=environment)

    def _opened(self) -> EngineProcess:
        # Opened late, in a fresh process: what the build held is gone, and its threads are.
        if self._process is None:
            process = self._start(one_cpu=True)
            try:
                told = process.ask("open", timeout_s=_ANSWER_S)
                if told["rows"] != self._rows:
                    given = f"{self.store} in {self._spec['folder']} with {told['rows']:,} rows"
                    remedy = "delete that folder to have it built again"
                    raise EngineFailedError(message(given, f"{self._rows:,} rows, as were built", remedy))
            except EngineFailedError:
                self._end(process)
                raise
            self._process, self._efforts = process, told["efforts"]
        return self._process

    def _end(self, process: EngineProcess) -> None:
        try:
            # A store may have a server of its own, which the end of the process would leave behind.
            process.ask("close", timeout_s=_ANSWER_S)
        except EngineFailedError as error:
            warn(f"{self.store} did not end by itself: {error}")
        finally:
            process.close()

    def efforts(self) -> list[dict[str, Any]]:
        """Return settings of a search, by rising effort.

        Returns
        -------
        list of dict
            At least one.
        """
        self._opened()
        return self._efforts

    def ask(self, q: FloatArray, k: int, where: Mapping[str, Any], effort: Mapping[str, Any]) -> IdArray:
        """Answer one query.

        Parameters
        ----------
        q : ndarray of shape (1, d), float32
            Query.
        k : int
            Neighbours.
        where : mapping
            ``column``, ``op`` (``"eq"``, ``"in"``, ``"between"`` or ``"has"``) and ``value``.
        effort : mapping
            One of ``efforts``.

        Returns
        -------
        ndarray of shape (k,), int64
            Rows, best first, padded with -1.
        """
        request = {"vector": q[0].tolist(), "k": k, "where": dict(where), "effort": dict(effort)}
        answer = self._opened().ask("ask", request, timeout_s=_ANSWER_S)
        self.took_s = float(answer["seconds"])
        ids = np.full(k, -1, np.int64)
        ids[: len(answer["ids"])] = answer["ids"][:k]
        return ids

    def close(self) -> None:
        """End its process; the next question starts another."""
        if self._process is not None:
            process, self._process = self._process, None
            self._end(process)


def why_not(store: str, python: str | None) -> str | None:
    """Return why an interpreter cannot run a store, None where it can.

    Parameters
    ----------
    store : {"lancedb", "milvus-lite", "pgvector", "numpy-table"}
        Which one.
    python : str or None
        Interpreter; None for this one.

    Returns
    -------
    str or None
        The reason.
    """
    with TemporaryDirectory() as folder:
        spec = {"store": store, "folder": folder, "metric": "cosine", "one_cpu": False}
        try:
            EngineProcess(spec, module=_MODULE, python=python).close()
        except (EngineFailedError, OSError) as error:
            return str(error)
    return None
