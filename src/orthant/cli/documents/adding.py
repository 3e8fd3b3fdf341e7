"""``orthant add --documents``: folders of documents into a collection."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orthant.collection.documents.report import DocumentsReport

__all__ = ["add_documents", "refuse_with_documents", "refuse_without_documents"]

_NAMED = 10
_SHOWN = 3


def refuse_without_documents(given: Mapping[str, Any]) -> None:
    """Refuse options that only ``--documents`` has a use for.

    Parameters
    ----------
    given : mapping of str to object
        Their values by name; what is false was not given.

    Raises
    ------
    InputError
        One of them was given.
    """
    from orthant.errors import InputError, message

    for name, value in given.items():
        option = "--" + name.replace("_", "-")
        if value:
            raise InputError(message(f"{option} without --documents", "both", f"add it, or leave {option} out"))


def refuse_with_documents(settings: Mapping[str, Any], *, space: str, dry_run: bool) -> None:
    """Refuse options that documents have no use for.

    Parameters
    ----------
    settings : mapping of str to object
        Those for records.
    space : str
        ``--space``.
    dry_run : bool
        ``--dry-run``.

    Raises
    ------
    InputError
        One of them differs from its default.
    """
    from orthant.errors import InputError, message

    usual = {"ids": "field", "encoding": "utf-8", "quote": '"', "batch_size": settings.get("batch_size")}
    odd = [name for name, value in settings.items() if (value or name in usual) and value != usual.get(name)]
    odd += ["space"] * (space != "default") + ["dry_run"] * dry_run
    for name in odd:
        option = "--" + name.removesuffix("s" if name == "text_fields" else "").replace("_", "-")
        raise InputError(message(f"{option} with --documents", "one of them", f"leave {option} out"))


def add_documents(
    collection: str,
    sources: Sequence[str],
    *,
    encoder: str | None,
    sparse: str | None,
    metric: str | None,
    settings: dict[str, Any],
    tokens: Mapping[str, Any] | None = None,
    json: bool,
) -> None:
    """Index documents and print what was done.

    Parameters
    ----------
    collection : str
        The collection's folder.
    sources : sequence of str
        Files and folders.
    encoder, metric : str or None
        As for ``orthant.open``.
    sparse : str or None
        Folder of a sparse model, for the space ``"sparse"``.
    settings : dict
        As for ``Collection.add_documents``.
    tokens : mapping, optional
        The model, space and dtype of token vectors.
    json : bool
        Print one JSON object.
    """
    from orthant.cli.output import note, nothing_left_if_refused, print_json, sparse_space
    from orthant.cli.spaces.tokens import ready_for_texts
    from orthant.collection.documents.ingestion import Settings
    from orthant.collection.opening import open
    from orthant.collection.storage.creating import DATABASE_NAME
    from orthant.datasets.documents.finding import find_documents

    settings = {name: value for name, value in settings.items() if value is not None}
    if not (Path(collection) / DATABASE_NAME).exists():
        # What is refused right away should not leave a new, empty collection behind.
        defaults = {"chunk": None, "on_error": "raise", "truncation": "chunk", "prune": False, "prefix": ""}
        Settings.checked(**{**defaults, "max_bytes": None, "batch_size": 2048, **settings})
        find_documents(sources)
    shown = sys.stderr.isatty()
    weighted = sparse_space(sparse)
    made = nothing_left_if_refused(collection)
    with made, open(collection, encoder=encoder, metric=metric, spaces=weighted) as opened:  # type: ignore[arg-type]
        ready_for_texts(opened, tokens)
        report = opened.add_documents(sources, **settings, progress=shown)
        count, spaces = len(opened), opened.spaces
    notes = _notes(report, meaning=bool(spaces) or sparse is not None)
    if json:
        print_json({"collection": collection, "records": count, "documents": report.to_dict(), "notes": notes})
        return
    _show(report)
    print(f"{collection} holds {count:,} records.")
    for text in notes:
        note(text)


def _notes(report: DocumentsReport, *, meaning: bool) -> list[str]:
    notes = []
    if not meaning:
        notes.append(
            "only words are searchable: no encoder was chosen, and none is ever picked silently. To search by meaning "
            "as well, add the same folder once more with --encoder static."
        )
    if report.gone:
        notes.append(
            f"{len(report.gone):,} documents whose files are gone are still held (first: {report.gone[0]}); "
            "--prune deletes them."
        )
    if report.guessed:
        more = f" and {len(report.guessed) - _SHOWN:,} more" if len(report.guessed) > _SHOWN else ""
        notes.append(
            f"not UTF-8, and read as Windows-1252: {', '.join(report.guessed[:_SHOWN])}{more}. "
            "Where that is wrong, save them as UTF-8 and add them again."
        )
    if report.truncated_items:
        notes.append(
            f"{report.truncated_items:,} chunks were longer than the encoder reads; {report.truncated_tokens:,} tokens "
            "at their ends got no part in vectors."
        )
    return notes


def _show(report: DocumentsReport) -> None:
    from orthant.cli.output import print_pairs

    pairs: list[tuple[str, str]] = [
        ("documents", f"{report.added:,} added, {report.updated:,} updated, {report.unchanged:,} unchanged"),
        ("chunks", f"{report.chunks_written:,} written, {report.chunks_removed:,} replaced or removed"),
    ]
    if report.removed:
        pairs.append(("removed", f"{report.removed:,} documents whose files are gone"))
    if report.blank:
        more = f" and {len(report.blank) - _NAMED:,} more" if len(report.blank) > _NAMED else ""
        pairs.append(("blank", f"{len(report.blank):,} without a word: {', '.join(report.blank[:_NAMED])}{more}"))
    if report.ignored:
        endings = ", ".join(f"{ending} ({count:,})" for ending, count in list(report.ignored.items())[:_NAMED])
        pairs.append(("ignored", f"{sum(report.ignored.values()):,} files that are no documents: {endings}"))
    for number, skipped in enumerate(report.skipped[:_NAMED]):
        pairs.append(("skipped" if not number else "", f"{skipped.source}: {skipped.reason}"))
    if len(report.skipped) > _NAMED:
        pairs.append(("", f"and {len(report.skipped) - _NAMED:,} more"))
    pairs.append(("seconds", f"{report.seconds:.1f}"))
    print_pairs(pairs, title="Documents")
