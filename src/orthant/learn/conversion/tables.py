"""Training tables: plain rows with a name and counts, and their files with a manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orthant.artifact import write_bytes_atomically
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreVersionError, message

__all__ = ["TABLES_FORMAT", "PairTable", "read_tables", "write_tables"]

TABLES_FORMAT = 1
_MANIFEST = "manifest.json"
_KIND = "orthant.training_tables"

Row = dict[str, Any]


@dataclass(frozen=True)
class PairTable:
    """Rows to train on, with what was left out and why.

    Attributes
    ----------
    name : str
        Where the rows come from.
    rows : list of dict
        Text columns (``anchor``, ``positive``, ``negative`` or ``negative_1`` ...), numbers (``score``), and fields
        that say where a row comes from (``id``, ``group``, ``class``).
    dropped : dict of str to int
        How many candidates for a row were left out, by reason.

    Examples
    --------
    >>> table = PairTable("toy", [{"anchor": "a", "positive": "b", "id": "1"}])
    >>> table.select("anchor", "positive")
    [{'anchor': 'a', 'positive': 'b'}]
    """

    name: str
    rows: list[Row]
    dropped: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows."""
        return iter(self.rows)

    def select(self, *columns: str) -> list[Row]:
        """Return the rows with these columns only, in this order: what a text training takes.

        Parameters
        ----------
        columns : str
            Names of columns.

        Returns
        -------
        list of dict
            New rows.

        Raises
        ------
        InputError
            A row lacks a column.
        """
        out = []
        for i, row in enumerate(self.rows):
            missing = [name for name in columns if name not in row]
            if missing:
                raise InputError(
                    message(
                        f"row {i} of {self.name!r} without {missing[0]!r}", f"one of {list(row)}", "correct the name"
                    )
                )
            out.append({name: row[name] for name in columns})
        return out


def _lines(table: PairTable) -> bytes:
    try:
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in table.rows)
        return text.encode()
    except (TypeError, ValueError) as error:
        raise InputError(
            message(
                f"table {table.name!r} with values that are not JSON ({error})", "texts and numbers", "convert them"
            )
        ) from error


def _columns(table: PairTable) -> list[str]:
    return list(dict.fromkeys(name for row in table.rows for name in row))


def write_tables(folder: str | Path, tables: Mapping[str, PairTable]) -> dict[str, Any]:
    """Write tables as JSON lines beside a manifest with counts and hashes.

    Parameters
    ----------
    folder : str or Path
        Created if missing; tables of the same names are replaced.
    tables : mapping of str to PairTable
        By file name without suffix, such as ``"train"`` and ``"test"``.

    Returns
    -------
    dict
        The manifest: per table ``source``, ``rows``, ``columns``, ``dropped``, ``sha256``.

    Raises
    ------
    InputError
        No table, a name that is no file name, or values that are not JSON.

    Notes
    -----
    The manifest is written last, so tables without it are an interrupted write.

    Examples
    --------
    >>> import tempfile
    >>> table = PairTable("toy", [{"anchor": "a", "positive": "b"}])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = write_tables(folder, {"train": table})
    ...     read_tables(folder)["train"].rows == table.rows, manifest["tables"]["train"]["rows"]
    (True, 1)
    """
    if not tables:
        raise InputError(message("no tables", "at least one", "pass {'train': table}"))
    for name in tables:
        if not name.replace("-", "").replace("_", "").isalnum():
            raise InputError(message(f"a table named {name!r}", "letters, digits, - and _", "rename it"))
    payloads = {name: _lines(table) for name, table in tables.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MANIFEST).unlink(missing_ok=True)
    for name, payload in payloads.items():
        write_bytes_atomically(folder / f"{name}.jsonl", payload)
    manifest = {
        "kind": _KIND,
        "format": TABLES_FORMAT,
        "tables": {
            name: {
                "source": table.name,
                "rows": len(table),
                "columns": _columns(table),
                "dropped": dict(table.dropped),
                "sha256": hashlib.sha256(payloads[name]).hexdigest(),
            }
            for name, table in tables.items()
        },
    }
    write_bytes_atomically(folder / _MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False).encode())
    return manifest


def read_tables(folder: str | Path) -> dict[str, PairTable]:
    """Read tables that ``write_tables`` wrote, checking their hashes.

    Parameters
    ----------
    folder : str or Path
        The folder.

    Returns
    -------
    dict of str to PairTable
        In the order they were written.

    Raises
    ------
    NotFoundError
        No manifest there, or a table's file is gone.
    StoreCorruptedError
        A file differs from the manifest.
    StoreVersionError
        A newer release wrote it.
    """
    folder = Path(folder)
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
            raise ValueError("another kind")
        if manifest["format"] > TABLES_FORMAT:
            raise StoreVersionError(
                message(f"tables of format {manifest['format']}", f"at most {TABLES_FORMAT}", "upgrade orthant")
            )
        return {name: _read(folder / f"{name}.jsonl", entry) for name, entry in manifest["tables"].items()}
    except FileNotFoundError as error:
        raise NotFoundError(
            message(f"no {Path(error.filename).name} in {folder}", "training tables", "check the path")
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorruptedError(
            message(f"{folder / _MANIFEST} that is no manifest of tables", "what write_tables wrote", "write them anew")
        ) from error


def _read(path: Path, entry: Mapping[str, Any]) -> PairTable:
    payload = path.read_bytes()
    if hashlib.sha256(payload).hexdigest() != entry["sha256"]:
        raise StoreCorruptedError(message(f"{path} with another hash", "the rows that were written", "write it anew"))
    return PairTable(entry["source"], [json.loads(line) for line in payload.splitlines()], dict(entry["dropped"]))
