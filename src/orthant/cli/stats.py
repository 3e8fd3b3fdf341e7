"""``orthant stats``: what a collection holds and costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``stats``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("stats", help="Show counts, bytes, spaces and metadata fields of a collection.")
    def stats(
        collection: str = typer.Argument(help="The collection's folder."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json, print_table, readable_bytes
        from orthant.collection.opening import open

        with open(collection, read_only=True) as opened:
            found = opened.stats()
        if json:
            print_json(found.to_dict())
            return
        sizes = [(name, readable_bytes(count)) for name, count in found.bytes.items()]
        figures = [("records", f"{found.records:,}"), ("commits", f"{found.generation:,}"), *sizes]
        figures += [(f"lexical {name}", value) for name, value in found.lexical.items()]
        print_table(f"Collection {found.path}", ("figure", "value#"), figures)
        spaces = [
            (
                name,
                s["dim"],
                s["metric"],
                f"{s['vectors']:,}",
                f"{s['dead_share']:.0%}",
                readable_bytes(s["bytes"]),
                s["fingerprint"],
            )
            for name, s in found.spaces.items()
        ]
        print_table("Vector spaces", ("space", "dim#", "metric", "vectors#", "dead#", "bytes#", "encoder"), spaces)
        fields = [
            (
                name,
                ", ".join(f"{kind} {count:,}" for kind, count in f["types"].items()),
                f["distinct"],
                f["min"],
                f["max"],
            )
            for name, f in found.fields.items()
        ]
        print_table("Metadata fields", ("field", "types", "distinct#", "smallest", "largest"), fields)
