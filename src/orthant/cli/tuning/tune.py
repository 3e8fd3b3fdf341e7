"""``orthant tune``: make the graph of a collection suit its queries."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``tune``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("tune", help="Tune the graph to sample queries. Exit 0: held-out queries gain; 1: no gain.")
    def tune(
        collection: str = typer.Argument(help="The collection's folder."),
        queries: str = typer.Option(
            help="Sample queries: queries.jsonl (_id, text), a .txt file with one per line, or vectors as .npy."
        ),
        space: str = typer.Option("default", help="Vector space."),
        encoder: str = typer.Option(None, help="Needed if the collection was created with an encoder from a folder."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, require_collection
        from orthant.cli.spaces.opening import opened_with
        from orthant.cli.tuning.queries import sample_queries

        require_collection(collection)
        given = sample_queries(queries)
        with opened_with(collection, space=space, encoder=encoder, read_only=False) as opened:
            report = opened.tune(given, space=space, progress=sys.stderr.isatty())
        if json:
            print_json({"space": space, **report.as_dict()})
        else:
            print(report)
        raise typer.Exit(0 if report.gained else 1)
