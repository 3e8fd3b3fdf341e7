"""``orthant import``: an export back into a collection."""

from __future__ import annotations

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
        from orthant.cli.output import print_json
        from orthant.collection.opening import open

        with open(collection, encoder=encoder) as opened:
            report = opened.import_from(source, vectors=not encode_again, progress=not json)
        if json:
            print_json(report.to_dict())
        else:
            print(f"Imported {report.records:,} records ({report.replaced:,} replaced) from {report.path}.")
