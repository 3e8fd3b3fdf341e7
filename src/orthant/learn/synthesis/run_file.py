"""The file of a synthesis run: one line per finished record, so that a killed run continues where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orthant.errors import InputError, StoreCorruptedError, StoreVersionError, message

__all__ = ["RUN_FORMAT", "RunFile"]

RUN_FORMAT = 1
_KIND = "orthant.synthesis"


class RunFile:
    """Append the outcome of each record to JSON lines, and read back what an earlier run finished.

    Parameters
    ----------
    path : str or Path
        The file; created with its folder if missing. One run writes it at a time.
    settings : mapping of str to str, int or float
        What decides the texts; a file of other settings is refused.

    Raises
    ------
    InputError
        The file holds a run with other settings; they are named.
    StoreCorruptedError
        The file is none of a run, or damaged before its last line.
    StoreVersionError
        A newer release wrote it.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self._path = Path(path)
        self.finished: dict[str, dict[str, Any]] = {}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = self._whole_lines()
        if not lines:
            self._append([{"kind": _KIND, "format": RUN_FORMAT, "settings": dict(settings)}])
            return
        self._check_header(self._parsed(lines[0], 1), settings)
        for number, line in enumerate(lines[1:], 2):
            row = self._parsed(line, number)
            self.finished[row["id"]] = row

    def _whole_lines(self) -> list[bytes]:
        """Return the lines that were written whole; a last one without an end is cut off the file."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return []
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with open(self._path, "r+b") as handle:
                handle.truncate(whole)
        return data[:whole].split(b"\n")[:-1]

    def _parsed(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
            if isinstance(row, dict) and ("kind" in row or {"id", "source", "rows", "rejected"} <= set(row)):
                return row
        except ValueError:
            pass
        raise StoreCorruptedError(
            message(
                f"{self._path}, line {number}, that is no line of a run",
                "what synthesize wrote",
                "restore or delete the file",
            )
        )

    def _check_header(self, header: dict[str, Any], settings: Mapping[str, Any]) -> None:
        if header.get("kind") != _KIND or not isinstance(header.get("settings"), dict):
            raise StoreCorruptedError(
                message(f"{self._path} without a header", "a run of synthesize", "choose another path")
            )
        if header.get("format", 0) > RUN_FORMAT:
            raise StoreVersionError(
                message(f"a run of format {header['format']}", f"at most {RUN_FORMAT}", "upgrade orthant")
            )
        before = header["settings"]
        changed = [
            name for name in {**before, **settings} if before.get(name) != json.loads(json.dumps(settings.get(name)))
        ]
        if changed:
            raise InputError(
                message(
                    f"{self._path}, a run with another {', '.join(sorted(changed))}",
                    "the settings it was begun with",
                    "choose another path, or restore the settings",
                )
            )

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Append finished records and wait until they are on the disk.

        Parameters
        ----------
        rows : list of dict
            With ``id``, ``source`` (hash), ``rows`` and ``rejected``.
        """
        if rows:
            self._append(rows)

    def _append(self, rows: list[dict[str, Any]]) -> None:
        payload = "".join(json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n" for row in rows).encode()
        with open(self._path, "ab") as handle:
            handle.write(payload)
            handle.flush()
            os.fsync(handle.fileno())
