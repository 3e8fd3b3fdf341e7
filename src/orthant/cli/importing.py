"""``orthant import``: an export back into a collection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``import``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("import", help="Write an export's records into a collection, which is made if it does not exist.")
    def import_(
        source: str = typer.Argument(help="What `orthant export` made."),
        collection: str = typer.Argument(help="The collection's folder."),
        encoder: str = typer.Option(None, help="Encoder of the collection, such as static."),
        encode_again: bool = typer.Option(
            False, "--encode-again", help="Encode the texts with --encoder instead of keeping the exported vectors."
        ),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, progress_bar
        from orthant.collection.opening import open
        from orthant.collection.snapshots.archive import is_archive, require_archive
        from orthant.collection.storage.store import DATABASE_NAME
        from orthant.datasets.imports import read_export
        from orthant.errors import InputError, message

        if encode_again and encoder is None and not (Path(collection) / DATABASE_NAME).exists():
            raise InputError(
                message("--encode-again for a new collection", "an encoder for it", "add --encoder static")
            )
        archived = is_archive(Path(source))
        if Path(source).is_file() and not archived and Path(source).suffix != ".parquet":
            expected = "a folder, .parquet or .zip file that `orthant export` made"
            raise InputError(message(source, expected, "use `orthant add` for other files"))
        # Refused before the collection is made; the import itself verifies every byte.
        if archived:
            require_archive(Path(source))
        else:
            read_export(source, verify=False)
        with open(collection, encoder=encoder) as opened, progress_bar(f"importing {source}", None):
            report = opened.import_from(source, vectors=not encode_again)
        if json:
            print_json(report.to_dict())
        else:
            vectors = ", ".join(f"{count:,} vectors in {name}" for name, count in report.vectors.items())
            told = f"; {vectors}" if vectors else "; no vectors"
            print(f"Imported {report.records:,} records ({report.replaced:,} replaced) from {report.path}{told}.")
