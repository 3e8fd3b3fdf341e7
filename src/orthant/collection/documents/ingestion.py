"""Folders into a collection: read, compare with what is held, divide, write what changed, some documents a commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthant.collection.documents.changes import Changes, Pending
from orthant.collection.documents.held import HeldDocument, held_documents, require_own
from orthant.collection.documents.report import DocumentsReport, Skipped
from orthant.collection.documents.tokens import settings_hash
from orthant.datasets.documents.chunking import Chunking
from orthant.datasets.documents.finding import Found, find_documents
from orthant.datasets.documents.reading import MAX_BYTES
from orthant.encoders.progress import progress_bar
from orthant.errors import InputError, message
from orthant.validate import check_choice, check_count

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = ["DocumentsReport", "Settings", "Skipped", "add_documents"]

# Chunks of checked documents that are kept until they are written; beyond it, files are read a second time.
_KEPT_CHARACTERS = 64 * 2**20
_LONGEST_PREFIX = 128


@dataclass(frozen=True)
class Settings:
    """Checked settings of ``Collection.add_documents``, which explains them.

    Attributes
    ----------
    chunking : Chunking
        The division.
    on_error, truncation : str
        What happens to documents that cannot be read, and to chunks beyond a window.
    prune : bool
        Whether documents whose files are gone are deleted.
    prefix : str
        In front of ids.
    max_bytes, batch_size : int
        Longest document, chunks per commit.
    """

    chunking: Chunking
    on_error: str
    truncation: str
    prune: bool
    prefix: str
    max_bytes: int
    batch_size: int

    @classmethod
    def checked(
        cls,
        *,
        chunk: Chunking | str | None,
        on_error: str,
        truncation: str,
        prune: bool,
        prefix: str,
        max_bytes: int | None,
        batch_size: int,
    ) -> Settings:
        """Check what a user passed.

        Parameters
        ----------
        chunk, on_error, truncation, prune, prefix, max_bytes, batch_size
            As for ``Collection.add_documents``.

        Returns
        -------
        Settings
            Sound.

        Raises
        ------
        InputError
            The first that is not.
        """
        if isinstance(chunk, str):
            chunk = Chunking.parse(chunk)
        elif chunk is not None and not isinstance(chunk, Chunking):
            given = f"chunk of type {type(chunk).__name__}"
            raise InputError(message(given, "a Chunking, or a str such as 'headings:200:20'", "pass one of them"))
        if not isinstance(prefix, str) or len(prefix.encode("utf-8", "replace")) > _LONGEST_PREFIX:
            given = f"prefix={prefix!r}"
            raise InputError(message(given, f"a str of at most {_LONGEST_PREFIX} bytes", "choose a shorter one"))
        return cls(
            chunk or Chunking(),
            check_choice(on_error, ("raise", "skip"), name="on_error"),
            check_choice(truncation, ("chunk", "cut", "error"), name="truncation"),
            bool(prune),
            prefix,
            MAX_BYTES if max_bytes is None else check_count(max_bytes, name="max_bytes"),
            check_count(batch_size, name="batch_size"),
        )


def add_documents(
    collection: Collection,
    paths: str | Path | Sequence[str | Path],
    settings: Settings,
    *,
    root: str | Path | None = None,
    progress: bool = False,
) -> DocumentsReport:
    """Write what changed of some documents; see ``Collection.add_documents``.

    Parameters
    ----------
    collection : Collection
        Where to.
    paths : str, Path or sequence of such
        Files and folders.
    settings : Settings
        Checked.
    root : str or Path, optional
        What sources are relative to.
    progress : bool, default False
        Show a bar.

    Returns
    -------
    DocumentsReport
        What was done.
    """
    began = time.perf_counter()
    with collection._store.writer():
        # A collection that cannot be written is refused even where nothing turns out to have changed.
        pass
    found = find_documents(paths, root=root, without=collection.path.resolve())
    if settings.prune and not found.scopes:
        raise InputError(message("prune=True with files only", "at least one folder", "name the folder, or leave it"))
    held = held_documents(collection)
    _refuse_foreign(found, held, settings.prefix)
    salt = settings_hash(collection, settings.chunking, settings.truncation)

    def changes(advance: Callable[[float], None]) -> Changes:
        return Changes(collection, found, held, settings, salt=salt, advance=advance)

    with progress_bar(len(found.files), shown=progress, label="reading") as advance:
        passed = changes(advance)
        stream: Iterable[Pending] = passed
        if settings.on_error == "raise":
            kept = _rehearsed(passed)
            if kept is None:
                passed = stream = changes(lambda steps: None)
            else:
                stream = kept
        report = DocumentsReport(ignored=found.ignored)
        _write(collection, stream, report, settings.batch_size, progress=progress)
    _take_over(report, passed, held)
    _prune(collection, found, held, passed, report, settings)
    report.generation = collection._store.generation.number
    report.seconds = time.perf_counter() - began
    return report


def _refuse_foreign(found: Found, held: dict[str, HeldDocument], prefix: str) -> None:
    """Refuse documents whose ids are taken by those of another folder, before anything is read."""
    for file in found.files:
        require_own(held, prefix + file.source, prefix + file.folder)


def _rehearsed(changes: Changes) -> list[Pending] | None:
    """Read everything once, so that what cannot be read is met before the first commit; None when too much to keep."""
    kept: list[Pending] | None = []
    characters = 0
    for pending in changes:
        characters += sum(len(text) for text in pending.texts)
        if characters > _KEPT_CHARACTERS:
            kept = None
        if kept is not None:
            kept.append(pending)
    return kept


def _write(
    collection: Collection, stream: Iterable[Pending], report: DocumentsReport, batch_size: int, *, progress: bool
) -> None:
    waiting: Iterator[Pending] = iter(stream)
    first = next(waiting, None)
    if first is None:
        # A bulk load looks after the store at its end; what has not changed is not to be touched.
        return
    batch: list[Pending] = []
    with collection.bulk(progress=progress):
        for pending in chain([first], waiting):
            batch.append(pending)
            if sum(len(one.ids) for one in batch) >= batch_size:
                _commit(collection, batch, report)
                batch = []
        if batch:
            _commit(collection, batch, report)


def _commit(collection: Collection, batch: list[Pending], report: DocumentsReport) -> None:
    """Write new chunks and remove old ones of some documents, all at once."""
    ids = [key for pending in batch for key in pending.ids]
    fresh = set(ids)
    told = collection._upsert(
        ids,
        texts=[text for pending in batch for text in pending.texts],
        metadata=[row for pending in batch for row in pending.metadata],
        remove_ids=[key for pending in batch for key in pending.old_ids if key not in fresh],
    )
    report.chunks_written += told.records
    report.chunks_removed += told.replaced
    report.truncated_items += told.truncated_items
    report.truncated_tokens += told.truncated_tokens
    for counts, more in ((report.vectors, told.vectors), (report.without_vector, told.without_vector)):
        for name, value in more.items():
            counts[name] = counts.get(name, 0) + value
    for pending in batch:
        report.updated += bool(pending.old_ids)
        report.added += not pending.old_ids and bool(pending.ids)
        if pending.ids and pending.encoding:
            report.encodings[pending.encoding] = report.encodings.get(pending.encoding, 0) + 1
            if pending.encoding == "cp1252":
                report.guessed.append(pending.metadata[0]["parent"])


def _take_over(report: DocumentsReport, passed: Changes, held: dict[str, HeldDocument]) -> None:
    report.unchanged, report.blank, report.skipped = passed.unchanged, passed.blank, passed.skipped


def _prune(
    collection: Collection,
    found: Found,
    held: dict[str, HeldDocument],
    passed: Changes,
    report: DocumentsReport,
    settings: Settings,
) -> None:
    scopes = [(settings.prefix + scope.folder, settings.prefix + scope.under) for scope in found.scopes]
    gone = [
        parent
        for parent, document in held.items()
        if parent not in passed.seen
        and not parent.startswith(tuple(passed.unreadable))
        and any(document.folder == folder and parent.startswith(under) for folder, under in scopes)
    ]
    if not settings.prune:
        report.gone = gone
        return
    ids: list[Any] = [key for parent in gone for key in held[parent].chunk_ids(parent)]
    if ids:
        report.chunks_removed += collection._store.commit(remove_ids=ids).removed
    report.removed = len(gone)
