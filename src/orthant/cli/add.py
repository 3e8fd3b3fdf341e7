"""``orthant add``: files, folders and tables into a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``add``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("add", help="Add JSONL, CSV, TSV, Parquet (plain or .gz) or a folder of .txt/.md to a collection.")
    def add(
        collection: str = typer.Argument(help="The collection's folder; made if it does not exist."),
        sources: list[str] = typer.Argument(help="Files or folders."),
        encoder: str = typer.Option(
            None, help="static, minilm or a folder; needed once, when the collection is made. Without one: words only."
        ),
        metric: str = typer.Option(None, help="cosine (default), dot or l2, when the collection is made."),
        id_field: str = typer.Option(None, help="Field with the ids; default _id, else id."),
        text_field: list[str] = typer.Option(None, help="Field of the text; may be given more than once."),
        vector_field: str = typer.Option(None, help="Field with a vector per record."),
        ids: str = typer.Option("field", help="field, hash (of the content) or number."),
        format: str = typer.Option(None, help="jsonl, csv, tsv, parquet or folder; default: by the ending."),
        batch_size: int = typer.Option(4096, help="Records per commit."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, progress_bar
        from orthant.collection.opening import open
        from orthant.validate import check_choice

        reports = {}
        with open(collection, encoder=encoder, metric=metric) as opened:  # type: ignore[arg-type]
            for source in sources:
                with progress_bar(f"adding {source}", None, quiet=json) as advance:
                    reports[source] = opened.add(
                        source,
                        id_field=id_field,
                        text_fields=text_field or None,
                        vector_field=vector_field,
                        ids=check_choice(ids, ("field", "hash", "number"), name="--ids"),  # type: ignore[arg-type]
                        format=format,  # type: ignore[arg-type]
                        batch_size=batch_size,
                        advance=advance,
                    )
            count = len(opened)
        if json:
            added = {name: report.to_dict() for name, report in reports.items()}
            print_json({"collection": collection, "records": count, "added": added})
            return
        for source, report in reports.items():
            seconds = sum(report.seconds.values())
            print(f"{source}: {report.records:,} records ({report.replaced:,} replaced) in {seconds:.1f} s")
            for space, missing in report.without_vector.items():
                if missing:
                    print(f"  {missing:,} records have no vector in space {space!r}: no text, or no known word")
            if report.truncated_items:
                print(f"  {report.truncated_items:,} texts were cut by {report.truncated_tokens:,} tokens")
        print(f"{collection} holds {count:,} records.")
