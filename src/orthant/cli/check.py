"""``orthant check``: verify a collection, and mend what can be mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``check``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("check", help="Verify every checksum of a collection. Exit 0: sound; 1: damaged; 2: not readable.")
    def check(
        collection: str = typer.Argument(help="The collection's folder."),
        repair: bool = typer.Option(False, "--repair", help="Rebuild derived files; encode damaged vectors again."),
        encoder: str = typer.Option(None, help="For --repair, if the encoder came from a folder."),
        tokens: str = typer.Option(None, help="For --repair: the folder of the model that made the token vectors."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, print_table, progress_bar, require_collection
        from orthant.cli.spaces.tokens import with_tokens
        from orthant.collection.opening import open

        require_collection(collection)
        with open(collection, encoder=encoder, read_only=not repair) as opened, progress_bar("verifying", None):
            if tokens is not None:
                with_tokens(opened, tokens)
            report = opened.check(repair=repair)
        if json:
            print_json(report.to_dict())
            raise typer.Exit(0 if report.ok else 1)
        rows = [(p.where, p.what, "repaired" if p.repaired else "OPEN") for p in report.problems]
        verdict = "sound" if report.ok else "DAMAGED"
        title = f"{collection}: {verdict}; {report.records:,} records and {report.vectors:,} vectors verified"
        advice = [f"note: {text}" for text in report.notes]
        if not report.ok and not repair and any(p.repairable for p in report.problems):
            advice.append("Run again with --repair to mend what can be mended.")
        print_table(title, ("where", "what", "state!"), rows, caption="\n".join(advice))
        raise typer.Exit(0 if report.ok else 1)
