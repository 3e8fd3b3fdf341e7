"""``orthant export``: a collection as JSONL + .npy or as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``export``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command(
        "export", help="Write records, metadata and vectors to a folder (JSONL + .npy), a .parquet or a .zip file."
    )
    def export(
        collection: str = typer.Argument(help="The collection's folder."),
        target: str = typer.Argument(help="A new folder, or a file ending in .parquet or .zip."),
        format: str = typer.Option(None, help="folder, parquet or archive; default: by the target's name."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, progress_bar
        from orthant.collection.opening import open

        with open(collection, read_only=True) as opened, progress_bar(f"writing {target}", None):
            report = opened.export(target, format=format)  # type: ignore[arg-type]
        if json:
            print_json(report.to_dict())
        else:
            spaces = ", ".join(f"{name} ({space['dim']} values)" for name, space in report.spaces.items())
            vectors = f", with the vectors of {spaces}" if spaces else ""
            print(f"Wrote {report.records:,} records to {report.path} ({report.format}){vectors}.")
