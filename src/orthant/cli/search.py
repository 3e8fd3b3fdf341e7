"""``orthant search``: the hits of one query, explained."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``search``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("search", help="Search a collection by meaning, by words, or both.")
    def search(
        collection: str = typer.Argument(help="The collection's folder."),
        query: str = typer.Argument(help='Text; "a phrase", prefix*, +must and -not concern the words.'),
        k: int = typer.Option(5, "-k", "--k", help="Hits wanted."),
        mode: str = typer.Option(None, help="dense, lexical or hybrid; default: the richest possible."),
        where: str = typer.Option(None, help='Filter as JSON, such as \'{"year": {"gte": 2000}}\'.'),
        space: str = typer.Option("default", help="Vector space."),
        offset: int = typer.Option(0, help="Hits to skip."),
        min_score: float = typer.Option(None, help="Drop hits below this score."),
        recall: float = typer.Option(None, help="Share of the true neighbours to find."),
        explain: bool = typer.Option(False, "--explain", help="Show matched words and metadata of every hit."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import parse_json_object, print_hits, print_json
        from orthant.collection.opening import open

        with open(collection, read_only=True) as opened:
            result = opened.search(
                query,
                k=k,
                mode=mode,  # type: ignore[arg-type]
                where=parse_json_object(where, name="--where"),
                space=space,
                offset=offset,
                min_score=min_score,
                recall=recall,
                explain=explain,
            )
        if json:
            print_json({"query": query, **result.to_dict()})
        else:
            fields = sorted({name for hit in result for name in hit.metadata}) if explain else ()
            print_hits(f"{len(result)} hits for {query!r}", result, fields=fields)
