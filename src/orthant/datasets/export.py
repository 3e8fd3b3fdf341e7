"""Records taken away whole: JSON lines, Parquet, or a folder of JSON lines and .npy files with checksums.

Batches stream through; nothing appears under the final name before everything is on the disk.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import quote

import numpy as np

from orthant.artifact import aside, sync_folder, written_aside
from orthant.datasets.record_batches import Records, described
from orthant.datasets.sources.rows import check_encodable, clean_metadata
from orthant.datasets.sources.tables import import_arrow
from orthant.datasets.sparse_files import SparseWriter
from orthant.datasets.vector_files import NpyWriter
from orthant.errors import DimensionError, InputError, NotFoundError, StoreError, message
from orthant.types import FloatArray, Ragged
from orthant.validate import as_vectors, check_choice, check_count

__all__ = [
    "EXPORT_FORMAT",
    "EXPORT_KIND",
    "MANIFEST",
    "file_sha256",
    "manifest_sha256",
    "records_table",
    "write_export",
    "write_jsonl",
    "write_parquet",
]

EXPORT_FORMAT = 2
"""The newest form. Only an export with tokens or weighted terms has it; all releases know the first."""
_FIRST_FORMAT = 1
EXPORT_KIND = "orthant.export"
MANIFEST = "export.json"
RECORDS = "records.jsonl"
VECTOR_PREFIX = "vector_"
_RESERVED = frozenset({"_id", "text"})


class _SourceFailed(Exception):
    """Carries an OSError of the batches past the handler for the target's disk."""


def _guarded(batches: Iterable[Records]) -> Iterator[Records]:
    try:
        yield from batches
    except OSError as error:
        raise _SourceFailed from error


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except _SourceFailed as error:
        raise error.__cause__ or error from None
    except FileNotFoundError as error:
        raise NotFoundError(message(f"no folder at {path.parent}", "an existing folder", "create it first")) from error
    except OSError as error:
        raise StoreError(
            message(
                f"{path}, which cannot be written ({error.strerror or error})",
                "a writable folder with space",
                "free space or choose another place; nothing of the attempt is left",
            )
        ) from error


def _checked(records: Records) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Yield id, text and metadata of each record, in a form that JSON holds without loss."""
    for key, text, metadata in zip(records.ids, records.texts, records.metadata, strict=True):
        try:
            if not isinstance(key, str) or not (text is None or isinstance(text, str)):
                raise InputError(
                    message(
                        f"an id of type {type(key).__name__} and a text of type {type(text).__name__}",
                        "an id of type str and a text of type str or None",
                        "convert them",
                    )
                )
            check_encodable(key, "the id")
            check_encodable(text or "", "the text")
            yield key, text, clean_metadata(dict(metadata))
        except InputError as error:
            raise type(error)(f"record {key!r}: {error}") from error.__cause__


def _lines(records: Records, layout: str) -> Iterator[bytes]:
    for key, text, values in _checked(records):
        if layout == "nested":
            row: dict[str, Any] = {"_id": key, "text": text, "metadata": values}
        else:
            clash = _RESERVED & values.keys()
            if clash:
                raise InputError(
                    f"record {key!r}: "
                    + message(f"a metadata field {min(clash)!r}", "another name, flat as it is", "use layout='nested'")
                )
            row = {"_id": key, "text": text, **values}
        yield _json(row) + b"\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def write_jsonl(path: str | Path, batches: Iterable[Records], *, layout: Literal["nested", "flat"] = "nested") -> int:
    r"""Write records as JSON lines, without their vectors.

    Use it for texts and metadata that other programs read. Use ``write_export`` when vectors belong with them.

    Parameters
    ----------
    path : str or Path
        Target; packed when it ends in ``.gz``. An existing file is replaced.
    batches : iterable of Records
        The records; one batch is in memory at a time.
    layout : {"nested", "flat"}, default "nested"
        ``"nested"``: ``{"_id", "text", "metadata": {...}}``, which ``read_records(path, metadata_field="metadata")``
        restores exactly. ``"flat"``: metadata beside ``_id`` and ``text``, as most benchmarks have it.

    Returns
    -------
    int
        Records written.

    Raises
    ------
    InputError
        A record that JSON cannot hold, or in the flat layout a metadata field called ``_id`` or ``text``.
    NotFoundError
        No such folder.
    StoreError
        The disk refused; the target is as it was.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "books.jsonl"
    >>> write_jsonl(path, [Records(["a"], ["Sand."], [{"year": 1965}])])
    1
    >>> path.read_text(encoding="utf-8")
    '{"_id":"a","text":"Sand.","metadata":{"year":1965}}\n'
    """
    path = Path(path)
    check_choice(layout, ("nested", "flat"), name="layout")
    count = 0
    with _disk_errors(path), written_aside(path) as handle, contextlib.ExitStack() as stack:
        out: Any = handle
        if path.name.lower().endswith(".gz"):
            # No name and no time inside, so that equal records give equal files.
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=handle, mtime=0)
            out = stack.enter_context(io.BufferedWriter(stack.enter_context(packed)))  # type: ignore[type-var]
        for records in _guarded(batches):
            out.writelines(_lines(records, layout))
            count += len(records)
    return count


def _space_matrix(records: Records, space: str, dim: int) -> tuple[np.ndarray[Any, Any], FloatArray]:
    """Return the mask of records with a vector in the space, and those vectors, checked."""
    mask = records.has_vector(space)
    X = (records.vectors or {}).get(space)
    if X is None or isinstance(X, Ragged) or not mask.any():
        return mask, np.zeros((0, dim), dtype=np.float32)
    if X.ndim != 2 or X.shape[1] != dim:
        raise DimensionError(
            message(f"vectors of shape {X.shape} in space {space!r}", f"{dim} columns", "give each space one dimension")
        )
    return mask, as_vectors(X[mask], dim=dim, name=f"vectors of space {space!r}")


def _is_tokens(definition: Mapping[str, Any]) -> bool:
    return definition.get("kind") == "tokens"


def _format(spaces: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the oldest format that can tell what is exported, so that older releases read what they can."""
    return EXPORT_FORMAT if any(map(_is_tokens, spaces.values())) else _FIRST_FORMAT


def _check_spaces(spaces: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for name, definition in (spaces or {}).items():
        if not isinstance(name, str) or not name or not isinstance(definition, Mapping):
            raise InputError(message(f"space {name!r}: {definition!r}", "a name and a mapping", "write {'dim': d}"))
        check_encodable(name, "a space name")
        dim = check_count(definition.get("dim"), name=f"dim of space {name!r}")
        out[name] = clean_metadata({**definition, "dim": dim})
    return out


def _peeled(
    batches: Iterable[Records], spaces: Mapping[str, Mapping[str, Any]] | None
) -> tuple[Iterator[Records], dict[str, dict[str, Any]]]:
    """Return the batches and the space definitions, the latter taken from the first batch when not given."""
    iterator = _guarded(batches)
    if spaces is not None:
        return iterator, _check_spaces(spaces)
    first = next(iterator, None)
    if first is None:
        return iterator, {}

    def chained() -> Iterator[Records]:
        yield first
        yield from iterator

    return chained(), _check_spaces({name: described(X) for name, X in (first.vectors or {}).items()})


def _refuse_unknown_spaces(records: Records, spaces: Mapping[str, Any]) -> None:
    unknown = sorted((records.vectors or {}).keys() - spaces.keys())
    if unknown:
        raise InputError(
            message(
                f"vectors in space {unknown[0]!r}",
                f"only {', '.join(spaces) or 'no space'}, as defined or as in the first batch",
                "pass every space in spaces=",
            )
        )


def write_parquet(
    path: str | Path,
    batches: Iterable[Records],
    *,
    spaces: Mapping[str, Mapping[str, Any]] | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """Write records and vectors as one Parquet file.

    Use it to hand a collection to data tools. ``read_export`` reads it back whole; ``write_export`` needs no pyarrow.

    Parameters
    ----------
    path : str or Path
        Target; an existing file is replaced.
    batches : iterable of Records
        The records; one batch is in memory at a time, and becomes one row group.
    spaces : mapping of str to mapping, optional
        Definition per space with at least ``dim``; further JSON values are kept. Left out, taken from the first batch.
    details : mapping, optional
        JSON values to keep with the file.

    Returns
    -------
    int
        Records written.

    Raises
    ------
    InputError
        A record that JSON cannot hold, a space that is not defined, or one of tokens.
    DimensionError, NonFiniteError
        Vectors that do not fit their space.
    NotFoundError
        No such folder.
    StoreError
        The disk refused; the target is as it was.
    MissingExtraError
        pyarrow is not installed.

    Notes
    -----
    Columns: ``id`` and ``text`` (string), ``metadata`` (JSON text), and ``vector_NAME`` per space, a fixed-size list
    of float32 that is null where a record has no vector. Pages carry checksums.
    """
    path = Path(path)
    import_arrow()
    import pyarrow.parquet as pq

    with _disk_errors(path):
        stream, defined = _peeled(batches, spaces)
    several = [name for name, space in defined.items() if _is_tokens(space)]
    if several:
        given = f"Parquet with the space {several[0]!r}, which holds tokens"
        raise InputError(message(given, "a folder or an archive for it", "export to a folder or to a .zip"))
    schema = _arrow_schema(defined, details)
    count = 0
    with (
        _disk_errors(path),
        written_aside(path) as handle,
        pq.ParquetWriter(handle, schema, write_page_checksum=True) as writer,
    ):
        for records in stream:
            _refuse_unknown_spaces(records, defined)
            if len(records):
                writer.write_batch(_arrow_batch(records, schema, defined))
            count += len(records)
    return count


def records_table(batches: Iterable[Records], *, spaces: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return records and vectors as one Arrow table, with the columns and the header of ``write_parquet``.

    Parameters
    ----------
    batches : iterable of Records
        The records; each batch becomes one chunk.
    spaces : mapping of str to mapping
        Definition per space with at least ``dim``.

    Returns
    -------
    pyarrow.Table
        Columns ``id``, ``text``, ``metadata`` (JSON text) and ``vector_NAME`` (fixed-size lists of float32).

    Raises
    ------
    MissingExtraError
        pyarrow is not installed.
    """
    pa = import_arrow()
    defined = _check_spaces(spaces)
    schema = _arrow_schema(defined, None)
    chunks = [_arrow_batch(records, schema, defined) for records in batches if len(records)]
    return pa.Table.from_batches(chunks, schema=schema)


def _arrow_schema(spaces: Mapping[str, Mapping[str, Any]], details: Mapping[str, Any] | None) -> Any:
    import pyarrow as pa

    manifest = {"kind": EXPORT_KIND, "format": _format(spaces), "spaces": spaces, "details": _plain(details)}
    columns = [pa.field("id", pa.string(), nullable=False), pa.field("text", pa.string())]
    columns.append(pa.field("metadata", pa.string(), nullable=False))
    for name, space in spaces.items():
        one = pa.list_(pa.float32(), space["dim"])
        columns.append(pa.field(VECTOR_PREFIX + name, pa.list_(one) if _is_tokens(space) else one))
    return pa.schema(columns, metadata={EXPORT_KIND: json.dumps(manifest, ensure_ascii=False)})


def _arrow_batch(records: Records, schema: Any, spaces: Mapping[str, Mapping[str, Any]]) -> Any:
    import pyarrow as pa

    metadata = [_json(values).decode() for _, _, values in _checked(records)]
    arrays = [
        pa.array(records.ids, pa.string()),
        pa.array(records.texts, pa.string()),
        pa.array(metadata, pa.string()),
    ]
    for name, space in spaces.items():
        if _is_tokens(space):
            counts, X = records.tokens(name, space["dim"])
            offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
            tokens = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), space["dim"])
            arrays.append(pa.ListArray.from_arrays(offsets, tokens))
            continue
        mask, X = _space_matrix(records, name, space["dim"])
        values = np.zeros((len(records), space["dim"]), dtype=np.float32)
        values[mask] = X
        flat = pa.array(values.reshape(-1))
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, space["dim"], mask=pa.array(~mask)))
    return pa.record_batch(arrays, schema=schema)


def _plain(details: Mapping[str, Any] | None) -> dict[str, Any]:
    return clean_metadata(dict(details or {}))


def write_export(
    folder: str | Path,
    batches: Iterable[Records],
    *,
    spaces: Mapping[str, Mapping[str, Any]] | None = None,
    sparse: Mapping[str, Mapping[str, Any]] | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    r"""Write records and vectors as a folder that any program can read and ``read_export`` can verify.

    Use it for backups, hand-overs and moves between engines. Everything is kept: ids, texts, None, nested metadata,
    vectors bit by bit, records without a vector.

    Parameters
    ----------
    folder : str or Path
        Target; must not exist, or be empty.
    batches : iterable of Records
        The records; one batch is in memory at a time.
    spaces : mapping of str to mapping, optional
        Definition per space with at least ``dim``; further JSON values (metric, fingerprint) are kept. Left out,
        taken from the first batch.
    sparse : mapping of str to mapping, optional
        Definition per space of weighted terms, with at least ``dim``.
    details : mapping, optional
        JSON values to keep with the export.

    Returns
    -------
    int
        Records written.

    Raises
    ------
    InputError
        The folder holds something, a record that JSON cannot hold, or a space that is not defined.
    DimensionError, NonFiniteError
        Vectors that do not fit their space.
    NotFoundError
        The folder above does not exist.
    StoreError
        The disk refused; nothing is left of the attempt.

    Notes
    -----
    ``records.jsonl`` has one ``{"_id", "text", "metadata"}`` per line; ``vectors/NAME.npy`` the float32 rows of the
    records that have one, in the order of ``records.jsonl``; ``vectors/NAME.ids.jsonl`` the id of each row as a JSON
    string, once per token in a space of tokens; ``sparse/NAME.jsonl`` an ``{"_id", "indices", "values"}`` per record
    with weighted terms; ``export.json``, written last, the counts, definitions and SHA-256 sums. The folder is made
    aside and renamed, so a folder under the final name is whole.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> folder = Path(tempfile.mkdtemp()) / "books"
    >>> batch = Records(["a", "b"], ["Sand.", None], [{}, {}], {"text": np.array([[1, 2], [np.nan, np.nan]], "f4")})
    >>> write_export(folder, [batch])
    2
    >>> np.load(folder / "vectors" / "text.npy").tolist(), (folder / "vectors" / "text.ids.jsonl").read_text()
    ([[1.0, 2.0]], '"a"\n')
    """
    folder = Path(os.path.abspath(folder))
    with _disk_errors(folder):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(
                message(f"{folder}, which exists and holds something", "a new or an empty folder", "choose another")
            )
        stream, defined = _peeled(batches, spaces)
        kept = _plain(details)
        with aside(folder) as temporary:
            temporary.mkdir()
            count = _write_folder(temporary, stream, defined, _check_spaces(sparse), kept)
            if folder.exists():
                folder.rmdir()
            os.replace(temporary, folder)
            sync_folder(folder.parent)
    return count


def _write_folder(
    folder: Path,
    batches: Iterable[Records],
    spaces: dict[str, dict[str, Any]],
    sparse: dict[str, dict[str, Any]],
    details: dict[str, Any],
) -> int:
    count = 0
    if sparse:
        (folder / "sparse").mkdir()
    (folder / "vectors").mkdir()
    stems = _file_stems(spaces)
    with contextlib.ExitStack() as stack:

        def create(name: str) -> BinaryIO:
            return stack.enter_context(open(folder / name, "wb"))

        lines = create(RECORDS)
        files = {name: (create(f"vectors/{stem}.npy"), create(f"vectors/{stem}.ids.jsonl")) for name, stem in stems}
        terms = {name: SparseWriter(create(f"sparse/{stem}.jsonl"), name) for name, stem in _file_stems(sparse)}
        writers = {name: NpyWriter(files[name][0], spaces[name]["dim"]) for name in files}
        for records in batches:
            _refuse_unknown_spaces(records, spaces)
            lines.writelines(_lines(records, "nested"))
            for name, writer in writers.items():
                of_tokens = _is_tokens(spaces[name])
                rows_of, X = records.tokens(name, writer.dim) if of_tokens else _space_matrix(records, name, writer.dim)
                writer.append(X)
                named = (_json(key) + b"\n" for key in records.ids)
                files[name][1].writelines(line * int(n) for line, n in zip(named, rows_of, strict=True) if n)
            for one in terms.values():
                one.append(records)
            count += len(records)
        for writer in writers.values():
            writer.finish()
        weighted = (one.handle for one in terms.values())
        for handle in (lines, *(handle for pair in files.values() for handle in pair), *weighted):
            handle.flush()
            os.fsync(handle.fileno())
    counts = {name: writer.count for name, writer in writers.items()}
    told = {name: {"count": terms[name].count, "file": f"sparse/{stem}.jsonl"} for name, stem in _file_stems(sparse)}
    told = {name: {**entry, "definition": sparse[name]} for name, entry in told.items()}
    manifest = _manifest(folder, count, counts, spaces, told, details)
    with open(folder / MANIFEST, "wb") as handle:
        handle.write(json.dumps(manifest, ensure_ascii=False, indent=2).encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())
    for part in ("vectors", *(("sparse",) if sparse else ())):
        sync_folder(folder / part)
    sync_folder(folder)
    return count


def _file_stems(spaces: Iterable[str]) -> list[tuple[str, str]]:
    """Give each space a file name that is safe, and distinct where file systems ignore case."""
    out: list[tuple[str, str]] = []
    taken: set[str] = set()
    for name in spaces:
        plain = quote(name, safe="")[:100]
        stem, n = plain, 1
        while stem.casefold() in taken:
            n += 1
            stem = f"{plain}~{n}"
        taken.add(stem.casefold())
        out.append((name, stem))
    return out


def _manifest(
    folder: Path,
    count: int,
    counts: Mapping[str, int],
    spaces: Mapping[str, Any],
    sparse: Mapping[str, Any],
    details: Mapping[str, Any],
) -> dict[str, Any]:
    stems = _file_stems(spaces)
    names = [RECORDS, *(f"vectors/{stem}{ending}" for _, stem in stems for ending in (".npy", ".ids.jsonl"))]
    names += [entry["file"] for entry in sparse.values()]
    manifest: dict[str, Any] = {
        "kind": EXPORT_KIND,
        "format": EXPORT_FORMAT if sparse else _format(spaces),
        "records": count,
        "spaces": {
            name: {
                "count": counts[name],
                "vectors": f"vectors/{stem}.npy",
                "ids": f"vectors/{stem}.ids.jsonl",
                "definition": spaces[name],
            }
            for name, stem in stems
        },
        **({"sparse": dict(sparse)} if sparse else {}),
        "files": {
            name: {"bytes": (folder / name).stat().st_size, "sha256": file_sha256(folder / name)} for name in names
        },
        "details": dict(details),
    }
    return manifest | {"sha256": manifest_sha256(manifest)}


def manifest_sha256(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest's content, its own sum left out.

    Parameters
    ----------
    manifest : mapping
        Content of ``export.json``.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        Hexadecimal digits.
    """
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
