"""Exports read back: checked against their sums and counts before the first record is handed out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthant.datasets.export import (
    EXPORT_FORMAT,
    EXPORT_KIND,
    MANIFEST,
    RECORDS,
    VECTOR_PREFIX,
    file_sha256,
    manifest_sha256,
)
from orthant.datasets.record_batches import Records
from orthant.datasets.records import read_records
from orthant.datasets.sources.rows import place_vectors
from orthant.datasets.sources.tables import import_arrow
from orthant.datasets.sparse_files import SparseReader
from orthant.datasets.vector_files import read_vectors
from orthant.errors import InputError, NotFoundError, StoreCorruptedError, StoreVersionError, message
from orthant.types import Ragged
from orthant.validate import check_count

__all__ = ["Export", "read_export"]


@dataclass(frozen=True)
class Export:
    """An export that was opened and, unless asked otherwise, verified.

    Attributes
    ----------
    path : Path
        Folder or Parquet file.
    records : int
        Records in it.
    spaces : dict of str to dict
        Definition per space, with ``dim``.
    counts : dict of str to int or None
        Vectors per space; None where only reading can tell (Parquet).
    details : dict
        What was kept with it.
    sparse : dict of str to dict
        Definition per space of weighted terms, with ``dim``.
    """

    path: Path
    records: int
    spaces: Mapping[str, Mapping[str, Any]]
    counts: Mapping[str, int | None]
    details: Mapping[str, Any]
    _batches: Callable[[int], Iterator[Records]] = field(repr=False)
    sparse: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def batches(self, batch_size: int = 4096) -> Iterator[Records]:
        """Yield the records with their vectors, in the order they were written.

        Parameters
        ----------
        batch_size : int, default 4096
            Records per batch at most.

        Yields
        ------
        Records
            A space of which no record in the batch has a vector is absent.

        Raises
        ------
        StoreCorruptedError
            Files that do not belong together.
        """
        return self._batches(check_count(batch_size, name="batch_size"))


def read_export(path: str | Path, *, verify: bool = True) -> Export:
    """Open an export: a folder of ``write_export`` or a file of ``write_parquet``.

    Parameters
    ----------
    path : str or Path
        The folder, or the Parquet file.
    verify : bool, default True
        Compare every file of a folder with its SHA-256 first (one read of everything). False checks sizes only.
        Parquet pages carry their own sums, compared while reading.

    Returns
    -------
    Export
        Counts, definitions, and ``batches()``.

    Raises
    ------
    NotFoundError
        Nothing there, or a folder without ``export.json``: not an export, or one that was never finished.
    InputError
        A Parquet file that is not an export; read it with ``read_records``.
    StoreCorruptedError
        Files damaged, missing or exchanged.
    StoreVersionError
        Written by a newer release.
    MissingExtraError
        A Parquet file without pyarrow.

    Examples
    --------
    >>> import tempfile
    >>> from orthant.datasets.export import write_export
    >>> folder = Path(tempfile.mkdtemp()) / "books"
    >>> write_export(folder, [Records(["a"], ["Sand."], [{"year": 1965}])])
    1
    >>> [batch.metadata for batch in read_export(folder).batches()]
    [[{'year': 1965}]]
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, verify)
    if not path.exists():
        raise NotFoundError(message(f"no export at {path}", "a folder or a Parquet file", "check the path"))
    return _open_parquet(path)


def _damaged(path: Path, given: str, expected: str) -> StoreCorruptedError:
    return StoreCorruptedError(f"{path}: " + message(given, expected, "export again or restore the file"))


def _check_manifest(path: Path, manifest: Any) -> dict[str, Any]:
    if not isinstance(manifest, dict) or manifest.get("kind") != EXPORT_KIND:
        raise _damaged(path, "no export record", f"kind {EXPORT_KIND!r}")
    version = manifest.get("format")
    if isinstance(version, int) and version > EXPORT_FORMAT:
        raise StoreVersionError(
            f"{path}: " + message(f"export format {version}", f"at most {EXPORT_FORMAT}", "upgrade orthant")
        )
    return manifest


def _open_folder(folder: Path, verify: bool) -> Export:
    place = folder / MANIFEST
    try:
        content = place.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(
            message(f"{folder} without {MANIFEST}", "a finished export", "check the path or export again")
        ) from error
    except OSError as error:
        raise InputError(
            message(f"{place}, which cannot be read ({error.strerror})", "a readable file", "check its permissions")
        ) from error
    try:
        manifest = _check_manifest(place, json.loads(content))
    except (ValueError, RecursionError) as error:
        raise _damaged(place, "no readable JSON", "the bytes that were written") from error
    if manifest_sha256(manifest) != manifest.get("sha256"):
        raise _damaged(place, "a wrong checksum", "the bytes that were written")
    try:
        spaces = manifest["spaces"]
        files = manifest["files"]
        # Every file that will be read must be among those whose name, size and sum are checked.
        needed = {RECORDS, *(space[kind] for space in spaces.values() for kind in ("vectors", "ids"))}
        terms = manifest.get("sparse", {})
        needed |= {space["file"] for space in terms.values()}
        for name in sorted(needed | files.keys()):
            _check_file(folder, name, files[name], verify)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(place, f"an incomplete record ({error!r})", "every field of an export") from error
    return Export(
        folder,
        manifest["records"],
        {name: space["definition"] for name, space in spaces.items()},
        {name: space["count"] for name, space in spaces.items()},
        manifest["details"],
        lambda batch_size: _folder_batches(folder, manifest, batch_size),
        {name: space["definition"] for name, space in terms.items()},
    )


def _check_file(folder: Path, name: str, entry: Mapping[str, Any], verify: bool) -> None:
    parts = Path(name).parts
    # An export comes from elsewhere: it may not point outside itself.
    if Path(name).is_absolute() or ".." in parts or not parts:
        raise _damaged(folder / MANIFEST, f"the file name {name!r}", "a name inside the export")
    try:
        size = (folder / name).stat().st_size
        if size != entry["bytes"]:
            raise _damaged(folder / name, f"{size} bytes", f"{entry['bytes']} bytes")
        if verify and file_sha256(folder / name) != entry["sha256"]:
            raise _damaged(folder / name, "a wrong checksum", "the bytes that were written")
    except OSError as error:
        raise _damaged(folder / name, f"no readable file ({error.strerror})", f"{entry['bytes']} bytes") from error


class _SpaceRows:
    """Hands out the vectors of one space as its records come by."""

    def __init__(self, folder: Path, space: Mapping[str, Any]) -> None:
        self.dim = int(space["definition"]["dim"])
        self.count = int(space["count"])
        self._several = space["definition"].get("kind") == "tokens"
        self._place = folder / space["vectors"]
        self._vectors = read_vectors(self._place)
        if self._vectors.shape != (self.count, self.dim):
            raise _damaged(self._place, f"shape {self._vectors.shape}", f"{(self.count, self.dim)}")
        self._ids = self._read_ids(folder / space["ids"])
        self._next: str | None = next(self._ids, None)
        self.taken = 0

    def _read_ids(self, path: Path) -> Iterator[str]:
        with open(path, encoding="utf-8", newline="\n") as handle:
            for line in handle:
                yield json.loads(line)

    def take(self, ids: list[str]) -> npt.NDArray[np.float32] | Ragged | None:
        counts = np.zeros(len(ids), dtype=np.int64)
        start = self.taken
        for i, key in enumerate(ids):
            while self._next is not None and key == self._next and (self._several or not counts[i]):
                counts[i] += 1
                self.taken += 1
                self._next = next(self._ids, None)
        if self.taken > self.count:
            raise _damaged(self._place, f"more than {self.count} ids", f"{self.count}, one per vector")
        if not counts.any():
            return None
        rows = np.array(self._vectors[start : self.taken], dtype=np.float32)
        if self._several:
            return Ragged(rows, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
        return place_vectors(counts > 0, rows)

    def finish(self) -> None:
        if self._next is not None or self.taken != self.count:
            raise _damaged(self._place, f"{self.taken} vectors with a record", f"{self.count}")


def _folder_batches(folder: Path, manifest: Mapping[str, Any], batch_size: int) -> Iterator[Records]:
    count = 0
    try:
        spaces = {name: _SpaceRows(folder, space) for name, space in manifest["spaces"].items()}
        terms = {name: SparseReader(folder, space) for name, space in manifest.get("sparse", {}).items()}
        stream = read_records(
            folder / RECORDS, id_field="_id", text_fields="text", metadata_field="metadata", batch_size=batch_size
        )
        for records in stream:
            found = {name: rows.take(records.ids) for name, rows in spaces.items()}
            vectors = {name: X for name, X in found.items() if X is not None}
            count += len(records)
            sparse = {name: one.take(records.ids) for name, one in terms.items()} or None
            yield Records(records.ids, records.texts, records.metadata, vectors if spaces else None, sparse)
        for rows in spaces.values():
            rows.finish()
        for reader in terms.values():
            reader.finish()
    except (ValueError, NotFoundError, OSError) as error:
        raise StoreCorruptedError(str(error)) from error
    if count != manifest["records"]:
        raise _damaged(folder / RECORDS, f"{count} records", f"{manifest['records']}")


def _open_parquet(path: Path) -> Export:
    import_arrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            stored = (file.schema_arrow.metadata or {}).get(EXPORT_KIND.encode())
            count = file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, f"data that is not Parquet ({error})", "a whole Parquet file") from error
    if stored is None:
        raise InputError(
            f"{path}: " + message("a Parquet file that is no export", "one of write_parquet", "use read_records")
        )
    try:
        manifest = _check_manifest(path, json.loads(stored))
    except ValueError as error:
        raise _damaged(path, "no readable export record", "the bytes that were written") from error
    spaces, details = manifest.get("spaces"), manifest.get("details")
    if not isinstance(spaces, dict) or not isinstance(details, dict):
        raise _damaged(path, "an incomplete export record", "spaces and details")
    return Export(
        path,
        count,
        spaces,
        dict.fromkeys(spaces),
        details,
        lambda batch_size: _parquet_batches(path, spaces, count, batch_size),
    )


def _parquet_batches(path: Path, spaces: Mapping[str, Any], count: int, batch_size: int) -> Iterator[Records]:
    seen = 0
    try:
        stream = read_records(
            path,
            format="parquet",
            id_field="id",
            text_fields="text",
            metadata_field="metadata",
            vector_field={name: VECTOR_PREFIX + name for name in spaces} or None,
            batch_size=batch_size,
        )
        for records in stream:
            seen += len(records)
            yield records
    except (InputError, NotFoundError) as error:
        raise StoreCorruptedError(str(error)) from error
    if seen != count:
        raise _damaged(path, f"{seen} records", f"{count}")
