"""``orthant add``: files, folders and tables into a collection."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.adding import AddReport
    from orthant.collection.collection import Collection
    from orthant.datasets.records import ScanReport
    from orthant.datasets.vector_files import VectorFileInfo

__all__ = ["register", "scan_sources"]

_WORTH_TELLING_S = 2.0


def register(app: typer.Typer) -> None:
    """Add the verb ``add``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command(
        "add",
        help="Add JSONL, CSV, TSV, Parquet, a folder of .txt/.md, a vector file (.npy, .fvecs, ...), or --documents.",
    )
    def add(
        collection: str = typer.Argument(help="The collection's folder; created if it does not exist."),
        sources: list[str] = typer.Argument(help="Files or folders."),
        encoder: str = typer.Option(
            None,
            help="static, minilm, minilm-int8 or a folder; for a new collection. Without it: words only.",
        ),
        sparse: str = typer.Option(
            None, help="Folder of a sparse (SPLADE) model: also store sparse vectors, in the space 'sparse'."
        ),
        metric: str = typer.Option(None, help="cosine (default), dot or l2, for a new collection."),
        space: str = typer.Option("default", help="Vector space to put the vectors of a vector file into."),
        id_prefix: str = typer.Option("", help="Prefix of the ids: of row numbers in a vector file, or of documents."),
        id_field: str = typer.Option(None, help="Field with the ids; default _id, else id."),
        text_field: list[str] = typer.Option(None, help="Field of the text; repeatable. '': records without text."),
        vector_field: str = typer.Option(None, help="Field with the vector of each record."),
        ids: str = typer.Option("field", help="Where ids come from: field, hash (of the content) or number."),
        format: str = typer.Option(None, help="jsonl, csv, tsv, parquet or folder; default: by the file name."),
        delimiter: str = typer.Option(None, help="Cell separator of CSV and TSV; default: by the file name."),
        quote: str = typer.Option('"', help="Quote character of CSV and TSV; '': quotes are ordinary characters."),
        encoding: str = typer.Option("utf-8", help="Encoding of text files."),
        batch_size: int = typer.Option(4096, help="Records per commit."),
        documents: bool = typer.Option(
            False,
            "--documents",
            help="Split .txt, .md, .html, .pdf, code and mail into chunks; only files that changed.",
        ),
        chunk: str = typer.Option(
            None,
            help="How to split documents: headings (default), sentences, tokens or whole, then :SIZE and :OVERLAP.",
        ),
        prune: bool = typer.Option(False, "--prune", help="Delete documents whose files are gone."),
        on_error: str = typer.Option(None, help="For documents that cannot be read: raise (default) or skip."),
        truncation: str = typer.Option(
            None, help="For chunks beyond the encoder's window: chunk (default: split further), cut or error."
        ),
        tokens: str = typer.Option(
            None, help="Folder of a late-interaction model: also store token vectors, in a space of their own."
        ),
        token_space: str = typer.Option(
            None, help="Name of that space; default tokens. --space does the same for texts."
        ),
        token_dtype: str = typer.Option(None, help="float32 (default) or float16, for a new token space."),
        token_method: str = typer.Option(
            None, help="How a new token space finds candidates: auto (default), pooled, fde, plaid or exact."
        ),
        token_exact_below: int = typer.Option(
            None, help="Below this number of records it compares everything; default 10000."
        ),
        dry_run: bool = typer.Option(
            False, "--dry-run", help="Check the sources and show how they would be read; write nothing."
        ),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.documents.adding import add_documents, refuse_with_documents, refuse_without_documents
        from orthant.cli.output import sparse_space
        from orthant.cli.spaces.tokens import token_options
        from orthant.collection.storage.store import DATABASE_NAME
        from orthant.validate import check_choice

        settings: dict[str, Any] = {
            "id_field": id_field,
            "text_fields": () if text_field == [""] else text_field or None,
            "vector_field": vector_field and {"default": vector_field},
            "ids": check_choice(ids, ("field", "hash", "number"), name="--ids"),
            "format": format,
            "delimiter": delimiter,
            "quote": quote or None,
            "encoding": encoding,
            "batch_size": batch_size,
        }
        told = {"chunk": chunk, "prune": prune, "on_error": on_error, "truncation": truncation}
        if tokens and token_space is None:
            space, token_space = _space_of_tokens(sources, space)
        late = token_options(tokens, token_space, token_dtype, token_method, token_exact_below)
        if documents:
            told |= {"prefix": id_prefix, "batch_size": batch_size}
            refuse_with_documents(settings, space=space, dry_run=dry_run)
            add_documents(
                collection,
                sources,
                encoder=encoder,
                sparse=sparse,
                metric=metric,
                settings=told,
                tokens=late,
                json=json,
            )
            return
        refuse_without_documents(told)
        _check_vector_options(sources, space=space, id_prefix=id_prefix)
        scans: dict[str, ScanReport | VectorFileInfo] = {}
        # `Collection.add` checks its own source. All are checked here first where one that is refused would leave a
        # new empty collection, or the sources before it, behind.
        if dry_run or len(sources) > 1 or not (Path(collection) / DATABASE_NAME).exists():
            scans = scan_sources(sources, settings)
        if dry_run:
            _show_scans(collection, scans, json=json)
            return
        opening = {"encoder": encoder, "metric": metric, "spaces": sparse_space(sparse)}
        vectors = {"space": space, "id_prefix": id_prefix, "batch_size": batch_size}
        _write(collection, sources, scans, settings, vectors, opening=opening, late=late, json=json)


def _write(
    collection: str,
    sources: Sequence[str],
    scans: Mapping[str, ScanReport | VectorFileInfo],
    settings: Mapping[str, Any],
    vectors: Mapping[str, Any],
    *,
    opening: Mapping[str, Any],
    late: Mapping[str, Any] | None,
    json: bool,
) -> None:
    from orthant.cli.output import nothing_left_if_refused, progress_bar
    from orthant.cli.spaces.tokens import ready_for_texts
    from orthant.collection.opening import open
    from orthant.datasets.vector_files import is_vector_file

    made = nothing_left_if_refused(collection)
    with made, ExitStack() as bars, open(collection, **opening) as opened, opened.bulk():
        if late is not None or not all(map(is_vector_file, sources)):
            ready_for_texts(opened, late)
        reports = _add_all(opened, sources, scans, settings, vectors)
        count, notes = len(opened), _notes(opened) + _left_out(sources)
        # All sources' vectors go into the graph at once, when the two blocks above this one end.
        bars.enter_context(progress_bar("finishing the indexes", None))
        began = time.perf_counter()
    _tell(collection, reports, count, time.perf_counter() - began, notes, json=json)


def _tell(
    collection: str,
    reports: Mapping[str, AddReport],
    count: int,
    finish_s: float,
    notes: Sequence[str],
    *,
    json: bool,
) -> None:
    from orthant.cli.output import note, print_json

    if json:
        added = {name: report.to_dict() for name, report in reports.items()}
        told = {"collection": collection, "records": count, "added": added, "finish_s": finish_s, "notes": notes}
        print_json(told)
        return
    _show(reports)
    if finish_s > _WORTH_TELLING_S:
        print(f"Finishing the indexes and closing took {finish_s:.1f} s.")
    print(f"{collection} holds {count:,} records.")
    for text in notes:
        note(text)


def _add_all(
    opened: Collection,
    sources: Sequence[str],
    scans: Mapping[str, ScanReport | VectorFileInfo],
    settings: Mapping[str, Any],
    vectors: Mapping[str, Any],
) -> dict[str, AddReport]:
    from orthant.cli.output import progress_bar
    from orthant.datasets.vector_files import is_vector_file

    reports: dict[str, AddReport] = {}
    for source in sources:
        total = _count(scans[source]) if source in scans else None
        with progress_bar(f"adding {source}", total) as advance:
            if is_vector_file(source):
                reports[source] = opened.add_vectors(source, **vectors, advance=advance)
            else:
                reports[source] = opened.add(source, **settings, advance=advance)
    return reports


def scan_sources(sources: Sequence[str], settings: Mapping[str, Any]) -> dict[str, ScanReport | VectorFileInfo]:
    """Check sources from end to end without storing anything.

    Parameters
    ----------
    sources : sequence of str
        Files or folders.
    settings : mapping
        As for ``orthant.datasets.records.scan_records``.

    Returns
    -------
    dict of str to (ScanReport or VectorFileInfo)
        By source; of a vector file only the header is looked at.

    Raises
    ------
    InputError
        The first thing that is malformed, with its place.
    """
    from orthant.cli.output import progress_bar
    from orthant.datasets.records import scan_records
    from orthant.datasets.vector_files import describe_vectors, is_vector_file

    scans: dict[str, ScanReport | VectorFileInfo] = {}
    for source in sources:
        if is_vector_file(source):
            scans[source] = describe_vectors(source)
            continue
        with progress_bar(f"checking {source}", None):
            scans[source] = scan_records(source, **settings)
    return scans


def _check_vector_options(sources: Sequence[str], *, space: str, id_prefix: str) -> None:
    from orthant.datasets.vector_files import is_vector_file
    from orthant.errors import InputError, message

    files = [source for source in sources if is_vector_file(source)]
    if len(files) > 1:
        given = f"{len(files)} vector files, whose rows would get the same ids"
        raise InputError(message(given, "one at a time", "add each with an --id-prefix of its own"))
    if not files and (space != "default" or id_prefix):
        option = "--id-prefix" if id_prefix else "--space"
        remedy = f"leave {option} out" + ("" if id_prefix else ", or pass --tokens FOLDER for a space of tokens")
        raise InputError(message(f"{option} without a vector file", "a source it is for", remedy))


def _space_of_tokens(sources: Sequence[str], space: str) -> tuple[str, str | None]:
    """Return where vectors go and where tokens go: without vectors, --space can only mean the tokens."""
    from orthant.datasets.vector_files import is_vector_file

    if space == "default" or any(is_vector_file(source) for source in sources):
        return space, None
    return "default", space


def _count(scan: ScanReport | VectorFileInfo) -> int:
    from orthant.datasets.vector_files import VectorFileInfo

    return scan.count if isinstance(scan, VectorFileInfo) else scan.records


def _notes(opened: Collection) -> list[str]:
    """What a user who expects search by meaning should know about a collection without an encoder."""
    spaces = opened.spaces
    if opened.sparse_spaces and not spaces:
        return []
    if not spaces:
        return [
            "only words are searchable: no encoder was chosen, and none is ever picked silently. To search by meaning "
            "as well, add the same sources once more with --encoder static."
        ]
    if all(space.fingerprint is None for space in spaces.values()):
        return ["the vectors were brought along without an encoder: text queries search by words only."]
    return []


def _left_out(sources: Sequence[str]) -> list[str]:
    """What a user should know who names a folder of documents of many kinds and gets the texts among them."""
    from orthant.datasets.documents.finding import find_documents

    others = [
        file.path.suffix.lower()
        for source in sources
        if Path(source).is_dir()
        for file in find_documents(source).files
        if file.kind not in ("text", "markdown")
    ]
    if not others:
        return []
    endings = ", ".join(sorted(set(others)))
    return [f"{len(others):,} files were left out ({endings}); --documents reads HTML, PDF, code and mail as well."]


def _show(reports: Mapping[str, AddReport]) -> None:
    from orthant.cli.output import print_table

    rows = []
    remarks = []
    for source, report in reports.items():
        vectors = sum(report.vectors.values())
        seconds = sum(report.seconds.values())
        rows.append((source, f"{report.records:,}", f"{report.replaced:,}", f"{vectors:,}", f"{seconds:.1f}"))
        for space, missing in report.without_vector.items():
            if missing:
                why = "no text, or no word that the encoder knows"
                remarks.append(f"{source}: {missing:,} of {report.records:,} without vector in {space!r}: {why}.")
        if report.truncated_items:
            cut = f"{report.truncated_items:,} texts were longer than the encoder reads"
            remarks.append(f"{source}: {cut}; {report.truncated_tokens:,} tokens at their ends got no part in vectors.")
    columns = ("source", "records#", "replaced#", "vectors#", "seconds#")
    print_table("Added", columns, rows, caption="\n".join(remarks))


def _show_scans(collection: str, scans: Mapping[str, ScanReport | VectorFileInfo], *, json: bool) -> None:
    from dataclasses import asdict

    from orthant.cli.output import print_json, print_pairs
    from orthant.datasets.vector_files import VectorFileInfo

    if json:
        scanned = {name: asdict(scan) for name, scan in scans.items()}
        print_json({"collection": collection, "dry_run": True, "scanned": scanned})
        return
    for name, scan in scans.items():
        if isinstance(scan, VectorFileInfo):
            pairs = [("vectors", f"{scan.count:,} of {scan.dim} values, {scan.dtype}"), ("id", "the row's number")]
            print_pairs(pairs, title=f"{name}: header sound, values not looked at")
            continue
        schema = scan.schema
        fields = ", ".join(f"{field} ({count:,})" for field, count in scan.fields.items())
        vectors = ", ".join(
            f"{space}: {count:,} of {scan.dims.get(space)} values" for space, count in scan.vectors.items()
        )
        pairs = [
            (
                "records",
                f"{scan.records:,}, {scan.without_text:,} of them without text; {scan.characters:,} characters",
            ),
            ("id", str(schema.id_field) if schema.ids == "field" else f"made: {schema.ids}"),
            ("text", ", ".join(schema.text_fields) or "none"),
            ("vectors", vectors or "none"),
            ("metadata", fields or "none"),
        ]
        print_pairs(pairs, title=f"{name}: sound")
    print("Nothing was written.")
