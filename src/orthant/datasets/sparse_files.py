"""Weighted terms in an export: one JSON line per record that has some, in the order of the records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from orthant.datasets.record_batches import Records
from orthant.errors import StoreCorruptedError, message

__all__ = ["SparseReader", "SparseWriter"]


class SparseWriter:
    """Writes the weighted terms of one sparse space.

    Parameters
    ----------
    handle : binary file
        Open for writing; the caller closes it.
    name : str
        The space.
    """

    def __init__(self, handle: BinaryIO, name: str) -> None:
        self.handle = handle
        self.count = 0
        self._name = name

    def append(self, records: Records) -> None:
        """Write the terms of a batch.

        Parameters
        ----------
        records : Records
            The next records; those without terms are left out.
        """
        rows = (records.sparse or {}).get(self._name, ())
        for key, row in zip(records.ids, rows, strict=False):
            if row is not None:
                line = {"_id": key, "indices": row["indices"], "values": row["values"]}
                self.handle.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
                self.count += 1


class SparseReader:
    """Hands out the weighted terms of one sparse space as its records come by.

    Parameters
    ----------
    folder : Path
        The export.
    space : mapping
        Its entry in the manifest: ``file`` and ``count``.
    """

    def __init__(self, folder: Path, space: Mapping[str, Any]) -> None:
        self._place = folder / space["file"]
        self._count, self._taken = int(space["count"]), 0
        self._lines = self._read()
        self._next: dict[str, Any] | None = next(self._lines, None)

    def _read(self) -> Iterator[dict[str, Any]]:
        with open(self._place, encoding="utf-8", newline="\n") as handle:
            for line in handle:
                row = json.loads(line)
                if not isinstance(row, dict) or set(row) != {"_id", "indices", "values"}:
                    raise self._damaged("a line of another form")
                yield row

    def take(self, ids: list[str]) -> list[dict[str, Any] | None]:
        """Return the terms of a batch.

        Parameters
        ----------
        ids : list of str, length n
            The next records.

        Returns
        -------
        list of (dict or None), length n
            ``indices`` and ``values``; None for a record without terms.
        """
        out: list[dict[str, Any] | None] = []
        for key in ids:
            row = self._next
            if row is None or row["_id"] != key:
                out.append(None)
                continue
            out.append({"indices": row["indices"], "values": row["values"]})
            self._taken += 1
            self._next = next(self._lines, None)
        return out

    def finish(self) -> None:
        """Refuse terms that no record took.

        Raises
        ------
        StoreCorruptedError
            Files that do not belong together.
        """
        if self._next is not None or self._taken != self._count:
            raise self._damaged(f"{self._taken} rows with a record")

    def _damaged(self, given: str) -> StoreCorruptedError:
        text = message(given, f"{self._count} rows of terms, each with its record", "export again or restore the file")
        return StoreCorruptedError(f"{self._place}: {text}")
