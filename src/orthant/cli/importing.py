"""``orthant import``: an export back into a collection, or another project's store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

    from orthant.collection.importers.report import ForeignReport

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``import``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command(
        "import",
        help="Import an export, or the contents of Chroma, LanceDB, Qdrant, pgvector, FAISS or hnswlib. "
        "The collection is created if it does not exist.",
    )
    def import_(
        source: str = typer.Argument(
            help="An export by `orthant export`; or the folder, file or URL of a vector store."
        ),
        collection: str = typer.Argument(help="The collection's folder."),
        encoder: str = typer.Option(None, help="Encoder of the collection, such as static."),
        encode_again: bool = typer.Option(
            False, "--encode-again", help="Encode the texts with --encoder instead of keeping the vectors."
        ),
        kind: str = typer.Option(
            None, "--from", help="chroma, lancedb, qdrant, pgvector, faiss or hnswlib; default: detected."
        ),
        table: str = typer.Option(None, help="Collection or table of the source, if it has several."),
        id_field: str = typer.Option(None, help="Field with the ids."),
        text_field: str = typer.Option(None, help="Field with the texts."),
        metadata_field: list[str] = typer.Option(None, help="Field to keep; repeatable. Default: all others."),
        records: str = typer.Option(None, help="For FAISS and hnswlib: a .jsonl file, one line per label."),
        space: list[str] = typer.Option(None, help="Space for the vectors, or FIELD=SPACE; repeatable."),
        metric: str = typer.Option(None, help="cosine, dot or l2, for a new space."),
        on_unknown: str = typer.Option("raise", help="For data that cannot be imported: raise or report."),
        existing: str = typer.Option("replace", help="For ids that already exist: replace or skip."),
        api_key_env: str = typer.Option(None, help="Environment variable with the key for Qdrant."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        settings = {
            "table": table,
            "id_field": id_field,
            "text_field": text_field,
            "metadata_fields": metadata_field or None,
            "records": records,
            "space": _spaces(space),
            "metric": metric,
            "on_unknown": None if on_unknown == "raise" else on_unknown,
            "existing": None if existing == "replace" else existing,
            "api_key": _secret(api_key_env),
        }
        _require_encoder(collection, encoder, needed=encode_again)
        if _is_foreign(source, kind):
            given = {name: value for name, value in settings.items() if value is not None}
            _import_foreign(source, collection, encoder, kind, given, vectors=not encode_again, json=json)
            return
        _refuse_settings(settings)
        _import_export(source, collection, encoder, vectors=not encode_again, json=json)


def _is_foreign(source: str, kind: str | None) -> bool:
    from orthant.datasets.foreign.opening import foreign_kind

    return kind is not None or foreign_kind(source) is not None


def _require_encoder(collection: str, encoder: str | None, *, needed: bool) -> None:
    from orthant.collection.storage.store import DATABASE_NAME
    from orthant.errors import InputError, message

    if needed and encoder is None and not (Path(collection) / DATABASE_NAME).exists():
        raise InputError(message("--encode-again for a new collection", "an encoder for it", "add --encoder static"))


def _refuse_settings(settings: dict[str, Any]) -> None:
    from orthant.errors import InputError, message

    given = [name for name, value in settings.items() if value is not None]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise InputError(message(f"{options} for an export", "another project's store", "leave it out, or add --from"))


def _spaces(given: list[str] | None) -> str | dict[str, str] | None:
    from orthant.errors import InputError, message

    if not given:
        return None
    if len(given) == 1 and "=" not in given[0]:
        return given[0]
    pairs = [item.rpartition("=") for item in given]
    if not all(equals and name for _, equals, name in pairs):
        raise InputError(message(f"--space {' --space '.join(given)}", "one space, or FIELD=SPACE each", "correct it"))
    return {field: name for field, _, name in pairs}


def _secret(variable: str | None) -> str | None:
    from orthant.errors import InputError, message

    if variable is None:
        return None
    if not os.environ.get(variable):
        raise InputError(message(f"--api-key-env {variable}, which is not set", "a variable with the key", "set it"))
    return os.environ[variable]


def _import_foreign(
    source: str,
    collection: str,
    encoder: str | None,
    kind: str | None,
    settings: dict[str, Any],
    *,
    vectors: bool,
    json: bool,
) -> None:
    from orthant.cli.output import nothing_left_if_refused, print_json, progress_bar
    from orthant.collection.opening import open
    from orthant.datasets.foreign.opening import open_foreign

    # Refused before the collection is made.
    reading = ("table", "id_field", "text_field", "metadata_fields", "records", "api_key")
    known: Any = {name: settings[name] for name in reading if name in settings}
    looked: Any = open_foreign(source, kind=kind, **known)  # type: ignore[arg-type]
    count = looked.count
    looked.close()
    label = source.rpartition("@")[2]
    made = nothing_left_if_refused(collection)
    with made, open(collection, encoder=encoder) as opened, progress_bar(f"importing {label}", count) as advance:
        report = opened.import_foreign(source, kind=kind, vectors=vectors, advance=advance, **settings)  # type: ignore[arg-type]
    if json:
        print_json(report.to_dict())
    else:
        print("\n".join(_told(report)))


def _told(report: ForeignReport) -> list[str]:
    vectors = ", ".join(f"{count:,} vectors in {name}" for name, count in report.vectors.items()) or "no vectors"
    skipped = f", {report.skipped:,} skipped" if report.skipped else ""
    lines = [
        f"Imported {report.records:,} of {report.found:,} records ({report.replaced:,} replaced{skipped}) from "
        f"{report.kind} {report.table}; {vectors}."
    ]
    if report.without_text:
        bare = report.kind in ("faiss", "hnswlib")
        way = " Import again with --records to bring them." if bare else " Import again with --text-field to name it."
        # Where none has one, the source more likely calls it by a name that is not guessed.
        way = way if report.without_text == report.records else ""
        lines.append(f"Without a text: {report.without_text:,}.{way}")
    if report.without_vector:
        lines.append(f"Without a vector: {report.without_vector:,}.")
    lines += [f"Changed: {reason}: {count:,}." for reason, count in report.converted.items()]
    for reason, count in report.lost.items():
        ids = ", ".join(report.examples.get(reason, ()))
        lines.append(f"Not carried: {reason}: {count:,}{f' (such as {ids})' if ids else ''}.")
    return lines


def _import_export(source: str, collection: str, encoder: str | None, *, vectors: bool, json: bool) -> None:
    from orthant.cli.output import print_json, progress_bar
    from orthant.collection.opening import open
    from orthant.collection.snapshots.archive import is_archive, require_archive
    from orthant.datasets.imports import read_export
    from orthant.errors import InputError, message

    archived = is_archive(Path(source))
    if Path(source).is_file() and not archived and Path(source).suffix != ".parquet":
        expected = "a folder, .parquet or .zip file that `orthant export` made, or another project's store"
        raise InputError(message(source, expected, "use `orthant add` for other files"))
    # Refused before the collection is made; the import itself verifies every byte.
    if archived:
        require_archive(Path(source))
    else:
        read_export(source, verify=False)
    with open(collection, encoder=encoder) as opened, progress_bar(f"importing {source}", None):
        report = opened.import_from(source, vectors=vectors)
    if json:
        print_json(report.to_dict())
        return
    brought = ", ".join(f"{count:,} vectors in {name}" for name, count in report.vectors.items())
    told = f"; {brought}" if brought else "; no vectors"
    print(f"Imported {report.records:,} records ({report.replaced:,} replaced) from {report.path}{told}.")
