"""The documents that are not held as they are now, one after the other, each read and divided."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthant.collection.documents.held import HeldDocument, require_own
from orthant.collection.documents.report import Skipped
from orthant.collection.documents.tokens import Measure, measure
from orthant.datasets.documents.chunking import Chunk, chunk_document
from orthant.datasets.documents.finding import Found, FoundFile
from orthant.datasets.documents.kinds import LONGEST_HEADING, DocumentText
from orthant.datasets.documents.reading import raw_documents, read_document, too_long
from orthant.errors import InputError, MissingExtraError, message

if TYPE_CHECKING:
    from orthant.collection.collection import Collection
    from orthant.collection.documents.ingestion import Settings

__all__ = ["Changes", "Pending"]

# Record ids have at most 512 bytes; "#" and a number must find room.
_LONGEST_PARENT = 490


@dataclass(frozen=True)
class Pending:
    """A document that is to be written.

    Attributes
    ----------
    ids, texts, metadata : list
        Its records; none for a document that has become blank.
    old_ids : list of str
        Records of it that are held.
    encoding : str
        How its bytes were read.
    """

    ids: list[str]
    texts: list[str]
    metadata: list[dict[str, Any]]
    old_ids: list[str]
    encoding: str


class Changes:
    """Iterates over what changed, and counts what did not; to be used once.

    Parameters
    ----------
    collection : Collection
        Whose encoders count tokens.
    found : Found
        Files.
    held : dict of str to HeldDocument
        What is there.
    settings : Settings
        Checked.
    salt : bytes
        Hashed together with each document.
    advance : callable
        Told of every file.

    Attributes
    ----------
    unchanged : int
        Documents that are held as they are.
    blank : list of str
        Documents without a word.
    skipped : list of Skipped
        Documents that could not be read.
    seen : set of str
        Ids of all documents met.
    unreadable : set of str
        Beginnings of the ids of what lies in folders and files that could not be opened; what is held of it is not
        gone.
    """

    def __init__(
        self,
        collection: Collection,
        found: Found,
        held: dict[str, HeldDocument],
        settings: Settings,
        *,
        salt: bytes,
        advance: Callable[[float], None],
    ) -> None:
        self._collection, self._found, self._held, self._settings = collection, found, held, settings
        self._salt, self._advance = salt, advance
        self._measure: Measure | None = None
        self.unchanged = 0
        self.blank: list[str] = []
        self.skipped: list[Skipped] = []
        self.seen: set[str] = set()
        self.unreadable: set[str] = set()

    def __iter__(self) -> Iterator[Pending]:
        for source, why in self._found.unreadable.items():
            self.unreadable.add(self._settings.prefix + source)
            self._fail(source or self._found.scopes[0].folder, InputError(why))
        for file in self._found.files:
            yield from self._file(file)
            self._advance(1)

    def _raw(self, file: FoundFile) -> Iterator[tuple[str, str, bytes | None]]:
        """Yield the documents of a file; one that cannot be opened at all has none."""
        try:
            yield from raw_documents(file.path, file.kind, max_bytes=self._settings.max_bytes)
        except InputError as error:
            whole = self._settings.prefix + file.source
            self.seen.add(whole)
            self.unreadable.add(whole + "/")
            self._fail(file.source, error)

    def _fail(self, source: str, error: InputError | MissingExtraError) -> None:
        if self._settings.on_error == "raise":
            way = "To go on without what cannot be read, pass on_error='skip' (--on-error skip)."
            raise type(error)(f"{source}: {error} {way}") from error
        self.skipped.append(Skipped(source, str(error)))

    def _file(self, file: FoundFile) -> Iterator[Pending]:
        modified: str | None = None
        for key, kind, data in self._raw(file):
            source = f"{file.source}/{key}" if key else file.source
            parent = self._settings.prefix + source
            self.seen.add(parent)
            held = self._held.get(parent)
            try:
                _check_name(parent)
                if key:
                    require_own(self._held, parent, self._settings.prefix + file.folder)
                if data is None:
                    raise InputError(too_long(self._settings.max_bytes))
                mark = hashlib.sha256(self._salt + data).hexdigest()[:32]
                if held is not None and held.hash == mark:
                    self.unchanged += 1
                    continue
                document = read_document(data, kind)
                chunks = self._divide(document)
            except (InputError, MissingExtraError) as error:
                self._fail(source, error)
                continue
            modified = _modified(file.path) if modified is None else modified
            about = {"folder": self._settings.prefix + file.folder, "hash": mark}
            about |= {"modified": modified} if modified else {}
            pending = _pending(parent, source, document, chunks, about, held)
            if not chunks:
                self.blank.append(source)
            if pending.ids or pending.old_ids:
                yield pending

    def _divide(self, document: DocumentText) -> list[Chunk]:
        if self._measure is None:
            self._measure = measure(self._collection)
        settings, how = self._settings, self._measure
        limit = how.limit if settings.truncation == "chunk" else None
        chunks = chunk_document(document, settings.chunking, count=how.count, limit=limit)
        if settings.truncation == "error" and how.limit is not None:
            long = [chunk for chunk in chunks if chunk.size > how.limit]
            if long:
                raise InputError(
                    message(
                        f"{len(long)} chunk(s) longer than an encoder's window, the first of {long[0].size} tokens",
                        f"at most {how.limit}",
                        "choose smaller chunks, or truncation='chunk' or 'cut'",
                    )
                )
        return chunks


def _check_name(parent: str) -> None:
    try:
        size = len(parent.encode())
    except UnicodeEncodeError as error:
        given = f"{parent!r}, a name that is no text"
        raise InputError(message(given, "a name in valid Unicode", "rename the file")) from error
    if size > _LONGEST_PARENT:
        raise InputError(message(f"a name of {size} bytes", f"at most {_LONGEST_PARENT}", "shorten the path"))


def _modified(path: Path) -> str:
    """When a file was written; empty where it has gone since it was read, or has a time beyond the calendar."""
    try:
        moment = datetime.datetime.fromtimestamp(path.stat().st_mtime, datetime.UTC)
    except (OSError, OverflowError, ValueError):
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _pending(
    parent: str,
    source: str,
    document: DocumentText,
    chunks: list[Chunk],
    about: dict[str, Any],
    held: HeldDocument | None,
) -> Pending:
    title = document.title[:LONGEST_HEADING] or Path(source).name
    shared = {
        **document.metadata,
        "parent": parent,
        "chunks": len(chunks),
        "title": title,
        "source": source,
        "kind": document.kind,
        **about,
    }
    metadata = []
    for chunk in chunks:
        row = {**shared, "chunk": chunk.number, "heading": chunk.heading, "start": chunk.start, "end": chunk.end}
        metadata.append(row if chunk.page is None else {**row, "page": chunk.page})
    return Pending(
        [f"{parent}#{chunk.number}" for chunk in chunks],
        [chunk.text for chunk in chunks],
        metadata,
        [] if held is None else held.chunk_ids(parent),
        document.encoding,
    )
