"""From a path or an address to the reader for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from orthant.datasets.foreign.chroma import DATABASE_NAME, ChromaSource
from orthant.datasets.foreign.contents import FieldChoice, ForeignSource
from orthant.datasets.foreign.faiss_files import FaissSource, looks_like_faiss
from orthant.datasets.foreign.hnsw_layout import HEADER_BYTES, HnswlibSource, looks_like_hnswlib
from orthant.datasets.foreign.lance import LanceSource, lance_tables
from orthant.datasets.foreign.postgres import PgvectorSource
from orthant.datasets.foreign.qdrant import QdrantSource
from orthant.datasets.foreign.side_records import SideRecords
from orthant.errors import InputError, message
from orthant.validate import check_choice, check_path

__all__ = ["ForeignKind", "foreign_kind", "open_foreign"]

ForeignKind = Literal["chroma", "lancedb", "qdrant", "pgvector", "faiss", "hnswlib"]

_KINDS: tuple[str, ...] = get_args(ForeignKind)
_NUMBERED = ("faiss", "hnswlib")
_EXPECTED = (
    "a folder of Chroma or LanceDB, the http address of Qdrant, a postgresql address, or a file of FAISS or hnswlib"
)


def foreign_kind(source: str | Path) -> ForeignKind | None:
    """Tell whose store a path or an address is.

    Parameters
    ----------
    source : str or Path
        A folder, a file or an address.

    Returns
    -------
    {"chroma", "lancedb", "qdrant", "pgvector", "faiss", "hnswlib"} or None
        None for something else.

    Notes
    -----
    Reads at most the first 96 bytes of a file; an address is told by its beginning and not called.

    Examples
    --------
    >>> foreign_kind("http://localhost:6333"), foreign_kind("no such file")
    ('qdrant', None)
    """
    text = str(source)
    if text.startswith(("http://", "https://")):
        return "qdrant"
    if text.startswith(("postgresql://", "postgres://")):
        return "pgvector"
    path = Path(source)
    if path.is_dir():
        if (path / DATABASE_NAME).is_file():
            return "chroma"
        return "lancedb" if lance_tables(path) else None
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
        if looks_like_hnswlib(head):
            return "hnswlib"
        return "faiss" if looks_like_faiss(head) else None
    return None


def open_foreign(
    source: str | Path,
    *,
    kind: ForeignKind | None = None,
    table: str | None = None,
    id_field: str | None = None,
    text_field: str | None = None,
    metadata_fields: Sequence[str] | None = None,
    records: Sequence[Mapping[str, Any]] | str | Path | None = None,
    api_key: str | None = None,
) -> ForeignSource:
    """Open another project's store for reading.

    Parameters
    ----------
    source : str or Path
        A folder of Chroma or LanceDB, Qdrant's ``http://`` address, a ``postgresql://`` address, or an index file of
        FAISS or hnswlib.
    kind : {"chroma", "lancedb", "qdrant", "pgvector", "faiss", "hnswlib"}, optional
        Whose it is; told from the source by default.
    table : str, optional
        Collection or table; the only one by default.
    id_field, text_field : str, optional
        Fields with the id and the text; each kind has its own default.
    metadata_fields : sequence of str, optional
        Fields to keep; all others by default.
    records : sequence of mapping, or path of a JSONL file, optional
        For FAISS and hnswlib: ids, texts and fields by number.
    api_key : str, optional
        For Qdrant.

    Returns
    -------
    ForeignSource
        To be closed.

    Raises
    ------
    InputError
        Not such a store, a setting that its kind does not have, or a damaged file.
    MissingExtraError
        The package that reads it is not installed.

    Examples
    --------
    >>> open_foreign("no such file")
    Traceback (most recent call last):
        ...
    orthant.errors.InputError: Got 'no such file', which does not exist; expected ...
    """
    check_path(source, name="source")
    if kind is None:
        kind = foreign_kind(source)
    else:
        check_choice(kind, _KINDS, name="kind")
    if kind is None:
        raise InputError(message(_shown(source), _EXPECTED, "check the path, or name it with kind="))
    _require_effect(kind, table=table, records=records, api_key=api_key, id_field=id_field)
    choice = FieldChoice(id_field, text_field, None if metadata_fields is None else tuple(metadata_fields))
    if kind == "qdrant":
        return QdrantSource(str(source), table, choice, api_key=api_key)
    if kind == "pgvector":
        return PgvectorSource(str(source), table, choice)
    path = Path(source)
    if not path.exists():
        raise InputError(message(_shown(source), _EXPECTED, "check the path"))
    if path.is_dir() == (kind in _NUMBERED):
        wanted = "a file" if kind in _NUMBERED else "a folder"
        given = f"{str(source)!r}, {'a folder' if path.is_dir() else 'a file'}"
        raise InputError(message(given, f"{wanted} for kind={kind!r}", "check the path"))
    if kind == "chroma":
        return ChromaSource(path, table, choice)
    if kind == "lancedb":
        return LanceSource(path, table, choice)
    side = SideRecords(records, choice)
    return FaissSource(path, side) if kind == "faiss" else HnswlibSource(path, side)


def _require_effect(kind: str, **given: Any) -> None:
    without = {
        "table": _NUMBERED,
        "records": tuple(k for k in _KINDS if k not in _NUMBERED),
        "api_key": tuple(k for k in _KINDS if k != "qdrant"),
        "id_field": ("chroma",),
    }
    for name, kinds in without.items():
        if given[name] is not None and kind in kinds:
            raise InputError(message(f"{name} for kind={kind!r}", f"no {name}, which it does not have", "leave it out"))


def _shown(source: str | Path) -> str:
    path = Path(source)
    if not path.exists():
        return f"{str(source)!r}, which does not exist"
    if path.is_dir():
        return f"{str(source)!r}, a folder that is neither Chroma's nor LanceDB's"
    return f"{str(source)!r}, a file that is neither FAISS's nor hnswlib's"
