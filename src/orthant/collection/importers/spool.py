"""Batches kept in a temporary folder, so that a source behind a network is read once and whole."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from orthant.datasets.record_batches import Records

__all__ = ["Spool"]


class Spool:
    """Batches of records on disk, in order; a context manager that removes them at its end.

    Examples
    --------
    >>> with Spool() as spool:
    ...     spool.append(Records(["a"], ["red"], [{"year": 1900}]))
    ...     [batch.ids for batch in spool]
    [['a']]
    """

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="orthant-import-")
        self._count = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def append(self, batch: Records) -> None:
        """Keep a batch.

        Parameters
        ----------
        batch : Records
            Checked records.
        """
        base = Path(self._folder.name) / f"{self._count}"
        spaces = list(batch.vectors or {})
        for i, X in enumerate((batch.vectors or {}).values()):
            np.save(f"{base}-{i}.npy", X)
        body = {"ids": batch.ids, "texts": batch.texts, "metadata": batch.metadata, "spaces": spaces}
        Path(f"{base}.json").write_text(json.dumps(body), encoding="utf-8")
        self._count += 1

    def __iter__(self) -> Iterator[Records]:
        """Yield the batches as they came."""
        for number in range(self._count):
            base = Path(self._folder.name) / f"{number}"
            body = json.loads(Path(f"{base}.json").read_text(encoding="utf-8"))
            vectors = {space: np.load(f"{base}-{i}.npy", allow_pickle=False) for i, space in enumerate(body["spaces"])}
            yield Records(body["ids"], body["texts"], body["metadata"], vectors or None)
