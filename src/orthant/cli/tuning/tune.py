"""``orthant tune``: make the graph of a collection suit its queries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["register"]

_VECTOR_ENDINGS = (".npy", ".fvecs", ".hdf5", ".h5")


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

        require_collection(collection)
        given = _read(queries)
        with opened_with(collection, space=space, encoder=encoder, read_only=False) as opened:
            report = opened.tune(given, space=space, progress=True)
        if json:
            print_json({"space": space, **report.as_dict()})
        else:
            print(report)
        raise typer.Exit(0 if report.gained else 1)


def _read(queries: str) -> Any:
    from orthant.errors import InputError, NotFoundError, message

    path = Path(queries)
    if not path.is_file():
        raise NotFoundError(message(f"no file {path}", "a file of queries", "check the path"))
    if ".npz" in path.name or path.suffix in _VECTOR_ENDINGS:
        from orthant.datasets.vector_files import read_vectors

        return read_vectors(path)
    if path.suffix == ".txt":
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(message(f"{path}, which is not UTF-8", "queries in UTF-8", "convert it")) from error
        return [line for line in lines if line.strip()]
    from orthant.evaluation.trec import read_queries

    return list(read_queries(path).values())
