"""``orthant tokens``: how a space of tokens is searched, and what that loses against comparing every token."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verb ``tokens``.

    Parameters
    ----------
    app : typer.Typer
        The application.
    """
    import typer

    @app.command("tokens", help="Choose how a space of tokens finds candidates, or measure the recall of each way.")
    def tokens(
        collection: str = typer.Argument(help="The collection's folder."),
        model: str = typer.Option(None, "--tokens", help="Folder of the model of the token vectors, for --queries."),
        space: str = typer.Option(None, help="The space of tokens; default the only one."),
        method: str = typer.Option(None, help="auto, pooled, fde, plaid or exact: method to use from now on."),
        exact_below: int = typer.Option(None, help="Below this number of records everything is compared."),
        queries: str = typer.Option(
            None, help="Queries to measure with: queries.jsonl (_id, text), or .txt with one per line."
        ),
        k: int = typer.Option(10, help="Neighbours that recall is measured for."),
        effort: list[int] = typer.Option(None, help="Number of candidates to compare exactly; may be repeated."),
        compare: list[str] = typer.Option(None, help="Method to measure: pooled, fde or plaid; may be repeated."),
        apply: bool = typer.Option(False, "--apply", help="Store the measurements, for searches with --recall."),
        json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    ) -> None:
        from orthant.cli.output import print_json
        from orthant.cli.spaces.tokens import require_model, with_tokens
        from orthant.cli.tuning.queries import sample_queries
        from orthant.collection.opening import open
        from orthant.collection.tokens.queries import token_space

        changes = method is not None or exact_below is not None
        told: dict[str, Any] = {"--effort": effort, "--compare": compare, "--apply": apply}
        _check(collection, queries, [option for option, value in told.items() if value])
        texts = None if queries is None else sample_queries(queries, vectors=False)
        with open(collection, read_only=not (changes or apply)) as opened:
            name = token_space(space, opened.spaces)
            # A model that does not fit is refused before anything is changed.
            if model is not None and texts is not None:
                with_tokens(opened, model, space=name)
            elif texts is not None:
                require_model(opened, name)
            if changes:
                opened.index_tokens(method, exact_below=exact_below, space=name, progress=sys.stderr.isatty())
            report = None
            if texts is not None:
                efforts: Any = {"efforts": tuple(effort)} if effort else {}
                methods = tuple(compare) if compare else None
                report = opened.token_report(texts, space=name, k=k, methods=methods, apply=apply, **efforts)
            now = opened.stats().spaces[name]
        found = {"space": name, **{key: now[key] for key in ("plan", "shortcut", "graph")}}
        if json:
            print_json({**found, "report": None if report is None else report.to_dict()})
            return
        setting = now["shortcut"]
        print(f"{name}: {now['plan']} ({setting['method']}; everything below {setting['exact_below']:,} records)")
        if report is not None:
            print(report)


def _check(collection: str, queries: str | None, idle: list[str]) -> None:
    from orthant.cli.output import require_collection
    from orthant.errors import InputError, message

    require_collection(collection)
    if idle and queries is None:
        raise InputError(message(f"{idle[0]} without --queries", "both", "name the file of queries"))
